"""Plain gradient descent: steps by hand, resumed fits, and signals that do not see each other."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from inrbench_fields.gradient_descent import GradientDescent
from inrbench_fields.settings import GradientDescentSettings, SirenSettings
from inrbench_fields.siren import Siren

from inrbench import draws
from inrbench.backends.torch.fields import DifferentiatedField, Field, coords_of
from inrbench.cell_run import CellRun
from inrbench.domains import Array, Grid, Points
from inrbench.errors import Interrupted, NotFinite
from inrbench.representations import Representations
from inrbench.signals import DrawableSignals, GridSignals, Part, PartSpec, SignalSpec

SPEC = SignalSpec((PartSpec("grid", (6, 6), 2, 1),))


def images(count: int = 5) -> GridSignals:
    return GridSignals(draws.generator(0, "images").integers(0, 256, (count, 6, 6, 1), dtype=np.uint8))


def fitter_of(**settings: Any) -> GradientDescent:
    field = Siren(SirenSettings(width=8, depth=1), SPEC)
    return GradientDescent(GradientDescentSettings(**{"steps": 20, "lr": 1e-3, **settings}), SPEC, field)


def fitted(fitter: GradientDescent, signals: GridSignals, run: CellRun | None = None) -> Representations:
    return Representations.joined(fitter.fit(signals.unlabelled(), run or CellRun(0)))


def assert_rows_close(one: Representations, other: Representations, tolerance: float) -> None:
    assert list(one.ids) == list(other.ids)
    for name, array in one.arrays.items():
        np.testing.assert_allclose(array, other.arrays[name], rtol=0, atol=tolerance, err_msg=name)


def mse(fitter: GradientDescent, rows: Representations, signals: GridSignals) -> np.ndarray:
    values = np.concatenate(list(fitter.query(rows, signals.domain, CellRun(0))))
    return np.asarray(np.square(values - signals.values / 255.0).mean(axis=(1, 2, 3)))


def test_one_step_of_sgd_is_the_gradient_of_the_mean_squared_error() -> None:
    fitter, signals = fitter_of(steps=1, optimiser="sgd", lr=0.1), images(2)
    start, rows = fitted(fitter_of(steps=0), signals), fitted(fitter, signals)
    coords = coords_of(signals.domain, "cpu")
    for i in range(2):
        arrays = {name: torch.tensor(array[i : i + 1], requires_grad=True) for name, array in start.arrays.items()}
        target = 2.0 * torch.as_tensor(signals.values[i].reshape(1, 36, 1)).float() / 255.0 - 1.0
        loss = (fitter.field.apply(arrays, coords) - target).square().mean()
        for (name, array), gradient in zip(arrays.items(), torch.autograd.grad(loss, [*arrays.values()]), strict=True):
            expected = (array - 0.1 * gradient).detach()
            np.testing.assert_allclose(rows.arrays[name][i], expected[0].numpy(), rtol=0, atol=1e-6)


class Plain:
    """A field with Field's methods alone, so that its gradient is autograd's."""

    def __init__(self, field: Field) -> None:
        self.to_unit, self.init, self.apply = field.to_unit, field.init, field.apply
        self.convention, self.flops = field.convention, field.flops


@pytest.mark.parametrize(("optimiser", "lr", "tolerance"), [("sgd", 1e-2, 1e-5), ("adam", 1e-3, 1e-4)])
def test_a_fields_own_gradient_descends_as_autograds_does(optimiser: str, lr: float, tolerance: float) -> None:
    fitter, plain = (fitter_of(optimiser=optimiser, lr=lr) for _ in range(2))
    plain.field = Plain(plain.field)
    assert isinstance(fitter.field, DifferentiatedField)
    assert not isinstance(plain.field, DifferentiatedField)
    rows, start = fitted(fitter, images()), fitted(fitter_of(steps=0), images())
    assert_rows_close(rows, fitted(plain, images()), tolerance)
    for name, array in rows.arrays.items():
        assert np.abs(array - start.arrays[name]).max() > 20 * tolerance, name


def test_a_fit_keeps_nothing_for_a_backward_pass() -> None:
    fitter = fitter_of(steps=3)
    with torch.autograd.graph.saved_tensors_hooks(pytest.fail, lambda value: value):
        rows = fitted(fitter, images(2))
    assert len(rows) == 2


@dataclass(frozen=True)
class Slopes:
    """Signals with a value anywhere; signal i lists 30 points of (i + 1) / 10 · (x + 1)."""

    ids: Array
    labels: Array | None = None
    num_points: int = 30

    def __len__(self) -> int:
        return len(self.ids)

    def observed(self, i: int) -> Sequence[Part]:
        coords = draws.generator(1, int(self.ids[i])).uniform(-1.0, 1.0, (self.num_points, 2)).astype(np.float32)
        return (Part(Points(coords), np.float32((self.ids[i] + 1) / 10) * (coords[:, 1:] + 1.0)),)

    scored = observed

    def draw(self, *arguments: Any) -> Any:
        raise AssertionError("this fitter looks at the points that are listed")

    def stacked(self) -> None:
        return None

    def take(self, indices: Array) -> Slopes:
        return replace(self, ids=self.ids[indices])

    def unlabelled(self) -> Slopes:
        return replace(self, labels=None)


def test_signals_that_can_be_drawn_are_fitted_at_the_points_that_they_list() -> None:
    signals = Slopes(np.arange(3))
    assert isinstance(signals, DrawableSignals)

    def errors(steps: int, shard: int = 16) -> list[float]:
        fitter = fitter_of(steps=steps, lr=1e-2, shard=shard)
        rows, found = Representations.joined(fitter.fit(signals, CellRun(0))), []
        assert list(rows.ids) == [0, 1, 2]
        for i in range(3):
            (part,) = signals.observed(i)
            (values,) = fitter.query(rows.take(slice(i, i + 1)), part.domain, CellRun(0))
            found.append(float(np.square(values[0] - part.unit_values()).mean()))
        return found

    after = errors(100)
    assert all(now < 0.1 * before for now, before in zip(after, errors(0), strict=True))
    np.testing.assert_allclose(errors(100, shard=2), after, rtol=1e-2)


@pytest.mark.parametrize("optimiser", ["adam", "sgd"])
def test_fitting_lowers_the_error_of_every_signal(optimiser: str) -> None:
    signals = images()
    before = fitter_of(steps=0)
    after = fitter_of(steps=100, optimiser=optimiser, lr=1e-3 if optimiser == "adam" else 1e-2)
    assert (mse(after, fitted(after, signals), signals) < 0.9 * mse(before, fitted(before, signals), signals)).all()


@pytest.mark.parametrize("optimiser", ["adam", "sgd"])
def test_a_signals_result_does_not_depend_on_the_others(optimiser: str) -> None:
    signals = images()
    together = fitted(fitter_of(optimiser=optimiser), signals)
    for order in ([2], [4, 1], [3, 0, 2, 4, 1]):
        part = fitted(fitter_of(optimiser=optimiser, shard=2), signals.take(np.array(order)))
        assert_rows_close(part, together.take(np.array(order)), 2e-5)


def test_each_signal_starts_from_a_draw_of_its_own_or_all_from_one() -> None:
    signals = images(3)
    own = fitted(fitter_of(steps=0), signals).arrays["layers.0.weight"]
    one = fitted(fitter_of(steps=0, initialisation="shared"), signals).arrays["layers.0.weight"]
    assert not np.array_equal(own[0], own[1])
    assert np.array_equal(one[0], one[1])
    assert np.array_equal(one[0], one[2])
    again = fitted(fitter_of(steps=0), signals.take(np.array([1]))).arrays["layers.0.weight"]
    np.testing.assert_array_equal(again[0], own[1])  # keyed by the id, not by the place
    assert not np.array_equal(own, fitted(fitter_of(steps=0), signals, CellRun(1)).arrays["layers.0.weight"])


class StoppedAfter(CellRun):
    """A run that is asked to stop within its ``after``-th step."""

    def __init__(self, after: int, folder: Path) -> None:
        super().__init__(0, folder=folder)
        self.after = after

    def steps(self, *arguments: Any) -> Any:
        for step in super().steps(*arguments):
            self.after -= 1
            if self.after == 0:
                self.stop.set()
            yield step


@pytest.mark.parametrize("optimiser", ["adam", "sgd"])
@pytest.mark.parametrize("after", [1, 7, 20, 33])
def test_a_resumed_fit_is_that_of_one_go(tmp_path: Path, optimiser: str, after: int) -> None:
    signals = images(4)
    whole = fitted(fitter_of(optimiser=optimiser, shard=2), signals)
    with pytest.raises(Interrupted, match="of 20 is kept: the same command goes on from there"):
        fitted(fitter_of(optimiser=optimiser, shard=2), signals, StoppedAfter(after, tmp_path))
    assert list(tmp_path.glob("*.checkpoint.safetensors"))
    resumed = fitted(fitter_of(optimiser=optimiser, shard=2), signals, CellRun(0, folder=tmp_path))
    assert_rows_close(resumed, whole, 0.0)


def test_a_fit_that_diverges_names_the_signal() -> None:
    signals = images(3)
    with pytest.raises(NotFinite, match=r"^fitting diverged on signal [012]$"):
        fitted(fitter_of(optimiser="sgd", lr=1e30, steps=5), signals)


def test_a_fit_that_diverges_ends_long_before_its_last_step() -> None:
    with pytest.raises(NotFinite, match=r"^fitting diverged"):
        fitted(fitter_of(optimiser="sgd", lr=1e30, steps=10**9), images(1))


def test_query_gives_unit_values_at_any_resolution() -> None:
    fitter, signals = fitter_of(), images(3)
    rows = fitted(fitter, signals)
    fine = np.concatenate(list(fitter.query(rows, Grid.of(18, 18), CellRun(0))))
    coarse = np.concatenate(list(fitter.query(rows, Grid.of(6, 6), CellRun(0))))
    assert fine.shape == (3, 18, 18, 1)
    np.testing.assert_allclose(fine[:, 1::3, 1::3], coarse, rtol=0, atol=2e-5)


def test_its_facts_are_those_of_the_field() -> None:
    facts = fitter_of(steps=7).facts()
    assert facts.parameters == facts.adapted_values == 2 * 8 + 8 + 8 * 8 + 8 + 8 + 1
    assert facts.initialisation == "independent"
    assert fitter_of(initialisation="shared").facts().initialisation == "shared"
    assert facts.fit_flops == 3 * 7 * 2 * 36 * (2 * 8 + 8 * 8 + 8)
    assert facts.train_flops == 0.0


def test_nothing_is_shared() -> None:
    trained = fitter_of().train(images(), images(0), CellRun(0))
    assert dict(trained.shared) == {}
    assert trained.steps == 0


def test_a_stop_before_the_first_step_leaves_the_run_undone(tmp_path: Path) -> None:
    run = CellRun(0, folder=tmp_path, stop=threading.Event())
    run.stop.set()
    with pytest.raises(Interrupted, match="step 1 of 20 is kept"):
        fitted(fitter_of(), images(2), run)
