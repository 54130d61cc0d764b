"""MAML: its inner step by hand, its gradients against finite differences, its fits, and resumed training."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from inrbench_fields.settings import SirenSettings
from inrbench_fields.siren import Siren
from inrbench_learned_init.maml import Maml, adapt
from inrbench_learned_init.settings import MamlSettings
from torch import Tensor

from inrbench import draws
from inrbench.backends.torch.fields import DifferentiatedField, Field, coords_of
from inrbench.backends.torch.observed import GridOfSignals
from inrbench.cell_run import CellRun
from inrbench.cells import resolve
from inrbench.domains import Grid
from inrbench.errors import Interrupted
from inrbench.interfaces import SteppingFitter
from inrbench.representations import Representations
from inrbench.settings import SignalTrainingSettings
from inrbench.signals import GridSignals, PartSpec, SignalSpec

GRID = Grid.of(6, 5)
SPEC = SignalSpec((PartSpec("grid", (6, 5), 2, 2),))
#: Learned Init's conventions at a frequency that finite differences can follow.
SIREN: dict[str, Any] = {"coordinates": "unit-corners", "values": "centred", "bias_init": "all-zero"}
Tensors = Mapping[str, Tensor]


def siren(width: int = 5, depth: int = 1, omega: float = 10.0) -> Siren:
    return Siren(SirenSettings(width=width, depth=depth, omega_0=omega, omega_hidden=omega, **SIREN), SPEC)


class Plain:
    """A field with Field's methods alone, so that its gradient is autograd's."""

    def __init__(self, field: Field) -> None:
        self.to_unit, self.init, self.apply = field.to_unit, field.init, field.apply
        self.convention, self.flops = field.convention, field.flops


def fitter_of(field: Field | None = None, outer_steps: int = 0, **settings: Any) -> Maml:
    """A fitter with θ drawn for seed 0."""
    train = SignalTrainingSettings(steps=outer_steps, batch_size=3)
    fitter = Maml(MamlSettings(train=train, **settings), SPEC, field or siren())
    fitter.start(CellRun(0))
    return fitter


def images(count: int = 5) -> GridSignals:
    return GridSignals(draws.generator(0, "images").integers(0, 256, (count, 6, 5, 2), dtype=np.uint8))


def observed(signals: GridSignals, dtype: torch.dtype = torch.float64) -> GridOfSignals:
    values = torch.as_tensor(signals.values).to(dtype).div(255).reshape(len(signals), 30, 2)
    return GridOfSignals(signals.ids, coords_of(GRID, "cpu").to(dtype), values, lambda one: draws.generator(0, one))


def fitted(fitter: Maml, signals: GridSignals, run: CellRun | None = None) -> Representations:
    return Representations.joined(fitter.fit(signals.unlabelled(), run or CellRun(0)))


def assert_rows_close(one: Representations, other: Representations, tolerance: float) -> None:
    assert list(one.ids) == list(other.ids)
    for name, array in one.arrays.items():
        np.testing.assert_allclose(array, other.arrays[name], rtol=0, atol=tolerance, err_msg=name)


def in_double(fitter: Maml) -> dict[str, Tensor]:
    """θ of the fitter as float64 leaves, with noise so that no array is 0."""
    rng = draws.generator(0, "noise")
    fitter.theta = {
        name: (array.double() + 0.1 * torch.as_tensor(rng.standard_normal(tuple(array.shape)))).requires_grad_()
        for name, array in fitter.theta.items()
    }
    return fitter.theta


# ------------------------------------------------------------------ the inner loop


def test_an_inner_step_is_that_of_the_formula() -> None:
    """f = W₁ sin(ω (W₀ x + b₀)) + b₁ + 0.5 of a signal's own W and b, one step down its mean squared error."""
    field = siren(width=3, depth=0, omega=4.0)
    theta = in_double(fitter_of(field))
    target = observed(images(2)).values - 0.5
    (found,) = adapt(field, theta, (coords_of(GRID, "cpu").double(), target), 1, 0.3)

    x = torch.tensor([[row / 6, column / 5] for row in range(6) for column in range(5)], dtype=torch.float64)
    with torch.no_grad():
        argument = 4.0 * (x @ theta["layers.0.weight"].T + theta["layers.0.bias"])
        error = torch.sin(argument) @ theta["output.weight"].T + theta["output.bias"] - target
        up = 2.0 * error / (30 * 2)  # ∂L/∂f of each signal
        back = (up @ theta["output.weight"]) * 4.0 * torch.cos(argument)
        for signal in range(2):
            steepest = {
                "output.weight": up[signal].T @ torch.sin(argument),
                "output.bias": up[signal].sum(0),
                "layers.0.weight": back[signal].T @ x,
                "layers.0.bias": back[signal].sum(0),
            }
            for name, gradient in steepest.items():
                expected = theta[name] - 0.3 * gradient
                torch.testing.assert_close(found[name][signal], expected, rtol=0, atol=1e-7, msg=name)  # x is float32's


@pytest.mark.parametrize("steps", [1, 3])
def test_a_fields_own_gradient_adapts_as_autograds_does(steps: int) -> None:
    own, plain = fitter_of(), fitter_of(Plain(siren()))
    assert isinstance(own.field, DifferentiatedField)
    assert not isinstance(plain.field, DifferentiatedField)
    outer = {}
    for name, fitter in {"own": own, "plain": plain}.items():
        fitter.settings = MamlSettings(steps=steps, inner_lr=0.1)
        theta = in_double(fitter)
        loss, delta, _ = fitter.loss(observed(images(3)))
        outer[name] = loss, delta, torch.autograd.grad(loss, list(theta.values()))
    torch.testing.assert_close(outer["own"], outer["plain"], rtol=1e-9, atol=1e-12)


# ------------------------------------------------------------------ the outer gradient


def central(fitter: Maml, array: Tensor, place: int, step: float = 1e-5) -> float:
    """The central difference of the outer loss, of fourth order, in one entry of ``array``."""
    found, flat = [], array.detach().view(-1)
    kept = float(flat[place])
    for factor in (1, -1, 2, -2):
        flat[place] = kept + factor * step
        found.append(float(fitter.loss(observed(images(3)))[0].detach()))
    flat[place] = kept
    return (8.0 * (found[0] - found[1]) - (found[2] - found[3])) / (12.0 * step)


def outer_gradient(fitter: Maml) -> dict[str, Tensor]:
    theta = in_double(fitter)
    loss, _, _ = fitter.loss(observed(images(3)))
    return dict(zip(theta, torch.autograd.grad(loss, list(theta.values())), strict=True))


def test_the_outer_gradient_is_that_of_finite_differences() -> None:
    fitter = fitter_of(inner_lr=0.3)
    found = outer_gradient(fitter)
    for name, gradient in found.items():
        for place in {0, gradient.numel() // 2, gradient.numel() - 1}:
            expected = central(fitter, fitter.theta[name], place)
            assert float(gradient.flatten()[place]) == pytest.approx(expected, rel=1e-6, abs=1e-9), (name, place)


def test_first_order_takes_the_gradient_where_the_inner_loop_ends() -> None:
    fitter = fitter_of(inner_lr=0.3, second_order=False)
    found = outer_gradient(fitter)
    target = observed(images(3)).values - 0.5
    coords = coords_of(GRID, "cpu").double()
    *_, ends = adapt(fitter.field, fitter.theta, (coords, target), 2, 0.3)
    leaves = {name: array.detach().requires_grad_() for name, array in ends.items()}
    loss = (fitter.field.apply(leaves, coords) - target).square().mean()
    expected = torch.autograd.grad(loss, list(leaves.values()))
    whole = outer_gradient(fitter_of(inner_lr=0.3))
    for (name, gradient), of_each in zip(found.items(), expected, strict=True):
        torch.testing.assert_close(gradient, of_each.sum(0), rtol=1e-9, atol=1e-13, msg=name)
        assert float((gradient - whole[name]).norm()) > 1e-3 * float(whole[name].norm()), name


def test_the_outer_loss_is_the_error_after_the_last_step() -> None:
    fitter, signals = fitter_of(inner_lr=0.3), images(3)
    loss, delta, logs = fitter.loss(observed(signals, torch.float32))
    rows = fitted(fitter, signals)
    for name, array in delta.items():
        np.testing.assert_allclose(rows.arrays[name], array.detach().numpy(), rtol=0, atol=1e-6)
    errors = mse(fitter, rows, signals)
    assert float(loss) == pytest.approx(errors.mean(), rel=1e-5)
    assert float(logs["psnr_db"]) == pytest.approx(float(np.mean(-10.0 * np.log10(errors))), rel=1e-5)


# ------------------------------------------------------------------ fitting


def mse(fitter: Maml, rows: Representations, signals: GridSignals) -> np.ndarray:
    values = np.concatenate(list(fitter.query(rows, GRID, CellRun(0))))
    assert values.shape == signals.values.shape
    return np.asarray(np.square(values - signals.values / 255.0).mean(axis=(1, 2, 3)))


def test_training_lowers_the_error_after_the_inner_steps() -> None:
    signals = images(6)
    fitter = fitter_of(outer_steps=150, lr=3e-3, inner_lr=1e-2)
    before = mse(fitter, fitted(fitter, signals), signals)
    trained = fitter.train(signals, images(0), CellRun(0))
    assert trained.steps == 150
    assert set(trained.shared) == {f"theta/{name}" for name in fitter.shapes}
    fitter.load(trained.shared)
    assert mse(fitter, fitted(fitter, signals), signals).mean() < 0.9 * before.mean()


def test_a_signals_result_does_not_depend_on_the_others() -> None:
    fitter, signals = fitter_of(shard=2, inner_lr=0.1), images()
    together = fitted(fitter, signals)
    for order in ([2], [4, 1], [3, 0, 2, 4, 1]):
        part = fitted(fitter, signals.take(np.array(order)))
        assert_rows_close(part, together.take(np.array(order)), 1e-6)


def test_more_steps_and_another_rate_at_test_time_share_the_training() -> None:
    signals, theta = images(3), fitter_of().state()
    for settings in ({"test_steps": 4, "test_lr": 0.05}, {"steps": 4, "inner_lr": 0.05}):
        fitter = fitter_of(**settings)
        np.testing.assert_equal(fitter.state(), theta)
        rows = fitted(fitter, signals)
        expected = fitted(fitter_of(test_steps=4, inner_lr=0.05), signals)
        assert_rows_close(rows, expected, 0.0)
    assert not np.array_equal(rows.arrays["output.bias"], fitted(fitter_of(), signals).arrays["output.bias"])


def test_a_way_starts_at_the_initialisation_and_ends_at_the_fit() -> None:
    fitter, signals = fitter_of(test_steps=3, shard=2), images(3)
    assert isinstance(fitter, SteppingFitter)
    way = fitter.trace(signals, CellRun(0))
    assert len(way) == 4
    assert not any(array.any() for array in way[0].arrays.values())
    assert_rows_close(way[-1], fitted(fitter, signals), 0.0)
    errors = [mse(fitter, rows, signals).mean() for rows in way]
    assert errors == sorted(errors, reverse=True)


def test_query_gives_unit_values_at_any_resolution() -> None:
    fitter, signals = fitter_of(shard=2), images(3)
    rows = fitted(fitter, signals)
    fine = np.concatenate(list(fitter.query(rows, Grid.of(18, 15), CellRun(0))))
    coarse = np.concatenate(list(fitter.query(rows, GRID, CellRun(0))))
    assert fine.shape == (3, 18, 15, 2)
    np.testing.assert_allclose(fine[:, 1::3, 1::3], coarse, rtol=0, atol=2e-5)


# ------------------------------------------------------------------ resumed training, counts, recipes


class StoppedAfter(CellRun):
    """A run that is asked to stop within its ``after``-th step."""

    def __init__(self, after: int, folder: Path) -> None:
        super().__init__(0, folder=folder, stop=threading.Event())
        self.after = after

    def steps(self, *arguments: Any) -> Iterator[int]:
        for step in super().steps(*arguments):
            self.after -= 1
            if self.after == 0:
                self.stop.set()
            yield step


@pytest.mark.parametrize("after", [1, 5])
def test_resumed_training_is_that_of_one_go(tmp_path: Path, after: int) -> None:
    signals = images()
    whole = fitter_of(outer_steps=8).train(signals, images(0), CellRun(0)).shared
    with pytest.raises(Interrupted):
        fitter_of(outer_steps=8).train(signals, images(0), StoppedAfter(after, tmp_path))
    resumed = fitter_of(outer_steps=8).train(signals, images(0), CellRun(0, folder=tmp_path)).shared
    for name, array in whole.items():
        np.testing.assert_array_equal(array, resumed[name])


def test_learned_inits_siren_counts_198915() -> None:
    facts = resolve("learned-init", "celeba").build().fitter.facts()
    assert facts.parameters == facts.adapted_values == 198_915
    assert facts.initialisation == "meta-learned"
    forward = 2.0 * 178 * 178 * (2 * 256 + 3 * 256 * 256 + 256 * 3)
    assert facts.fit_flops == 2 * 3 * forward
    assert facts.train_flops == (2 * 9 + 3) * forward
    first_order = resolve("learned-init", "celeba", overrides=[{"fitter": {"second_order": False}}])
    assert first_order.build().fitter.facts().train_flops == (2 * 3 + 3) * forward


def test_the_methods_settings_for_images_are_the_papers() -> None:
    tree = resolve("learned-init", "celeba").tree()
    expected = {"width": 256, "depth": 3, "omega_0": 200.0, "omega_hidden": 200.0, "coordinates": "unit-corners"}
    assert {name: tree["inr"][name] for name in expected} == expected
    assert {name: tree["fitter"][name] for name in ("steps", "inner_lr", "lr")} == {
        "steps": 2,
        "inner_lr": 1e-2,
        "lr": 1e-5,
    }
    assert tree["fitter"]["train"]["steps"] == 150_000
    assert tree["fitter"]["train"]["batch_size"] == 3
