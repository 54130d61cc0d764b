"""Reptile: an outer step by hand, an inner step against autograd, fits of views, resumed runs, controls."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from inrbench_fields.nerf import Nerf
from inrbench_fields.settings import NerfSettings
from inrbench_learned_init.reptile import Reptile, SeenRays, inner_step
from inrbench_learned_init.settings import ReptileSettings

from inrbench import draws
from inrbench.backends.torch.draws import torch_generator
from inrbench.backends.torch.rendering import render
from inrbench.cell_run import CellRun
from inrbench.domains import Array, Grid, Rays
from inrbench.errors import Interrupted, NotFinite, Refused
from inrbench.representations import Representations
from inrbench.settings import SignalTrainingSettings
from inrbench.signals import GridSignals, Part, PartSpec, PosedViews, SignalSpec

SPEC = SignalSpec((PartSpec("rays", (1, 4, 4), 3, 3),))


@dataclass(frozen=True)
class Cameras:
    """Objects seen from around: views of 4 x 4 pixels whose colours are an object's own and change with the height."""

    ids: Array
    labels: Array | None = None
    count: int = 3  # views of each

    def __len__(self) -> int:
        return len(self.ids)

    def num_views(self, i: int) -> int:
        return self.count

    def views(self, i: int, chosen: Array) -> Part:
        """View number v looks from the angle v at the origin; pixels fan out."""
        angles = 2.0 * np.pi * np.asarray(chosen) / self.count
        centres = 3.0 * np.stack([np.cos(angles), np.sin(angles), np.zeros(len(angles))], axis=-1)
        fan = np.linspace(-0.3, 0.3, 4)
        sideways = np.stack([-np.sin(angles), np.cos(angles), np.zeros(len(angles))], axis=-1)[:, None, None]
        up = np.array([0.0, 0.0, 1.0])
        directions = -centres[:, None, None] / 3.0 + sideways * fan[None, None, :, None] + up * fan[None, :, None, None]
        origins = np.broadcast_to(centres[:, None, None], directions.shape)
        colour = draws.generator(5, int(self.ids[i])).uniform(0.2, 0.6, 3)
        values = np.broadcast_to(255.0 * (colour + fan[:, None, None]), directions.shape).round().astype(np.uint8)
        domain = Rays(origins.astype(np.float32), directions.astype(np.float32), 1.0, 5.0, 1.0)
        return Part(domain, values, to_unit=(1.0 / 255.0, 0.0))

    def observed(self, i: int) -> list[Part]:
        return [self.views(i, np.arange(self.count))]

    scored = observed

    def stacked(self) -> None:
        return None

    def take(self, indices: Array) -> Cameras:
        return replace(self, ids=self.ids[indices])

    def unlabelled(self) -> Cameras:
        return replace(self, labels=None)


def objects(count: int = 3) -> Cameras:
    return Cameras(np.arange(10, 10 + count))


def fitter_of(outer_steps: int = 0, batch_size: int = 1, **settings: Any) -> Reptile:
    """A small fitter with θ drawn for seed 0."""
    given = {"steps": 2, "rays": 5, "inner_lr": 0.3, "test_steps": 4, "test_rays": 5, "test_lr": 0.3, **settings}
    train = SignalTrainingSettings(steps=outer_steps, batch_size=batch_size)
    field = Nerf(NerfSettings(width=8, depth=2, samples=6), SPEC)
    fitter = Reptile(ReptileSettings(train=train, **given), SPEC, field)  # type: ignore[arg-type]
    fitter.start(CellRun(0))
    return fitter


def fitted(fitter: Reptile, signals: Cameras, run: CellRun | None = None) -> Representations:
    return Representations.joined(fitter.fit(signals.unlabelled(), run or CellRun(0)))


def assert_rows_close(one: Representations, other: Representations, tolerance: float) -> None:
    assert list(one.ids) == list(other.ids)
    for name, array in one.arrays.items():
        np.testing.assert_allclose(array, other.arrays[name], rtol=0, atol=tolerance, err_msg=name)


def errors(fitter: Reptile, rows: Representations, signals: Cameras) -> np.ndarray:
    found = []
    for i in range(len(signals)):
        (part,) = signals.scored(i)
        (values,) = fitter.query(rows.take(slice(i, i + 1)), part.domain, CellRun(0))
        assert values.shape == (1, *part.values.shape)
        found.append(np.square(values[0] - part.unit_values()).mean())
    return np.array(found)


# ------------------------------------------------------------------ the inner and the outer step


def test_an_inner_step_descends_the_rendered_error_of_the_drawn_rays() -> None:
    fitter, (part,) = fitter_of(), objects().observed(0)
    seen, index = SeenRays.of([part]), np.array([3, 40, 3, 17])
    arrays = {name: array.unsqueeze(0) for name, array in fitter.theta.items()}
    error, found = inner_step(fitter.radiance, arrays, seen, index, 0.3, torch.Generator().manual_seed(1))

    leaves = {name: array.clone().requires_grad_() for name, array in arrays.items()}
    assert isinstance(part.domain, Rays)
    flat = [each.reshape(-1, 3)[index] for each in (part.domain.origins, part.domain.directions, part.unit_values())]
    origins, directions, values = map(torch.as_tensor, flat)
    jitter = torch.Generator().manual_seed(1)
    seen_colours = render(fitter.radiance, leaves, origins, directions, 1.0, 5.0, 1.0, 6, jitter)
    loss = (seen_colours[0] - values).square().mean()
    assert float(error) == pytest.approx(float(loss.detach()), rel=1e-6)
    for (name, leaf), gradient in zip(leaves.items(), torch.autograd.grad(loss, [*leaves.values()]), strict=True):
        torch.testing.assert_close(found[name], (leaf - 0.3 * gradient).detach(), rtol=0, atol=1e-7)
        assert gradient.any()


class Watching(CellRun):
    """A run that keeps the state behind each step; Adam's first moment in it tells the gradient of the first."""

    def steps(self, name: str, total: int, state: Any, restore: Any) -> Iterator[int]:
        for step in range(total):
            yield step
            self.states = {key: array.copy() for key, array in state().items()}


@pytest.mark.parametrize("batch_size", [1, 2])
def test_the_outer_gradient_is_theta_less_where_the_inner_steps_end(batch_size: int) -> None:
    signals, run = objects(), Watching(0)
    fitter = fitter_of(1, batch_size)
    start = {name: array.clone() for name, array in fitter.theta.items()}
    fitter.train(signals, objects(0), run)

    expected = {name: torch.zeros_like(array) for name, array in start.items()}
    for i in run.rng("order", 0).permutation(3)[:batch_size]:
        seen, one = SeenRays.of(signals.observed(int(i))), int(signals.ids[i])
        drawn = run.rng("rays", 0, one).integers(48, size=(2, 5))
        jitter = torch_generator(run.rng("jitter", 0, one))
        phi = {name: array.unsqueeze(0) for name, array in start.items()}
        for index in drawn:
            _, phi = inner_step(fitter.radiance, phi, seen, index, 0.3, jitter)
        for name in expected:
            expected[name] += (start[name] - phi[name][0]) / batch_size
    for name, gradient in expected.items():
        found = run.states[f"exp_avg/theta/{name}"] / 0.1
        np.testing.assert_allclose(found, gradient.numpy(), rtol=1e-4, atol=1e-8, err_msg=name)
        assert gradient.any()


def test_an_outer_step_sees_some_of_many_views() -> None:
    fitter, run = fitter_of(views=2), CellRun(0)
    signals = replace(objects(), count=5)
    chosen = [fitter._views(signals, 0, step, run).domain.origins[:, 0, 0] for step in range(8)]
    assert all(len(origins) == 2 for origins in chosen)
    assert all(not np.array_equal(*origins) for origins in chosen)
    assert len({origins.tobytes() for origins in chosen}) > 3
    all_of_them = fitter_of(views=5)._views(signals, 0, 0, run).domain
    assert isinstance(signals, PosedViews)
    (part,) = signals.observed(0)
    assert isinstance(part.domain, Rays)
    np.testing.assert_array_equal(all_of_them.origins, part.domain.origins)


# ------------------------------------------------------------------ training and fitting


def test_a_learned_initialisation_fits_better_in_as_many_steps() -> None:
    signals = objects(2)
    found = {}
    for name, steps in (("learned", 40), ("untrained", 0)):
        fitter = fitter_of(steps, lr=1e-2, steps=8, rays=16, test_steps=6)
        trained = fitter.train(signals, objects(0), CellRun(0))
        assert trained.steps == steps
        fitter.load(trained.shared)
        found[name] = errors(fitter, fitted(fitter, signals), signals).mean()
    assert found["learned"] < 0.7 * found["untrained"]


def test_an_entrys_result_does_not_depend_on_the_others() -> None:
    fitter, signals = fitter_of(), objects(4)
    together = fitted(fitter, signals)
    for order in ([2], [3, 1], [3, 0, 2, 1]):
        part = fitted(fitter, signals.take(np.array(order)))
        assert_rows_close(part, together.take(np.array(order)), 0.0)
    assert not np.array_equal(together.arrays["layers.0.weight"][0], together.arrays["layers.0.weight"][1])


def test_rows_are_what_sgd_adds_to_the_learned_initialisation() -> None:
    fitter, signals = fitter_of(test_steps=1), objects(1)
    (rows,) = fitter.fit(signals, CellRun(0))
    run, seen = CellRun(0), SeenRays.of(signals.observed(0))
    index = run.rng("fit rays", 10, 0).integers(48, size=5)
    theta = {name: array.unsqueeze(0) for name, array in fitter.theta.items()}
    _, phi = inner_step(fitter.radiance, theta, seen, index, 0.3, torch_generator(run.rng("fit jitter", 10, 0)))
    for name, array in rows.arrays.items():
        np.testing.assert_allclose(array, (phi[name] - theta[name]).numpy(), rtol=0, atol=1e-8)
    (at_start,) = fitter_of(test_steps=0).fit(signals, CellRun(0))
    assert not any(array.any() for array in at_start.arrays.values())


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


@pytest.mark.parametrize("after", [1, 3])
def test_resumed_training_is_that_of_one_go(tmp_path: Path, after: int) -> None:
    signals = objects()
    whole = fitter_of(5).train(signals, objects(0), CellRun(0)).shared
    with pytest.raises(Interrupted):
        fitter_of(5).train(signals, objects(0), StoppedAfter(after, tmp_path))
    resumed = fitter_of(5).train(signals, objects(0), CellRun(0, folder=tmp_path)).shared
    assert whole.keys() == resumed.keys()
    for name, array in whole.items():
        np.testing.assert_array_equal(array, resumed[name])


@pytest.mark.parametrize("after", [2, 6])
def test_a_resumed_fit_is_that_of_one_go(tmp_path: Path, after: int) -> None:
    signals = objects(2)
    whole = fitted(fitter_of(), signals)
    with pytest.raises(Interrupted):
        fitted(fitter_of(), signals, StoppedAfter(after, tmp_path))
    assert list(tmp_path.glob("*.checkpoint.safetensors"))
    assert_rows_close(fitted(fitter_of(), signals, CellRun(0, folder=tmp_path)), whole, 0.0)


def test_a_fit_that_diverges_names_the_signal() -> None:
    with pytest.raises(NotFinite, match=r"^fitting diverged on signal 10$"):
        fitted(fitter_of(test_lr=1e30), objects(1))


# ------------------------------------------------------------------ controls, refusals, counts


def test_a_matched_initialisation_gives_the_learned_ones_outputs_along_training_rays() -> None:
    trained = fitter_of(3).train(objects(), objects(0), CellRun(0)).shared
    found = {}
    for steps in (0, 300):
        fitter = fitter_of(initialisation="matched", match_steps=steps, match_lr=1e-2)
        fitter.load(trained)
        run = CellRun(0)
        points = fitter.places(10**6, run)  # at which no step was made
        assert 0.6 < float(points.norm(dim=-1).max()) < 6.0
        outputs = [
            fitter.field.apply({name: array.unsqueeze(0) for name, array in arrays.items()}, points)
            for arrays in (fitter.theta, fitter.initial(np.array([10]), run))
        ]
        found[steps] = float((outputs[0] - outputs[1]).square().mean())
    assert found[300] < 0.1 * found[0]


def test_a_standard_initialisation_is_each_signals_own_and_needs_no_training_signals() -> None:
    fitter = fitter_of(initialisation="standard", test_steps=0)
    assert dict(fitter.train(objects(0), objects(0), CellRun(0)).shared) == {}
    rows = fitted(fitter, objects(2))
    assert fitter.layout.relative_to is None
    assert not np.array_equal(rows.arrays["layers.0.weight"][0], rows.arrays["layers.0.weight"][1])


def test_what_it_cannot_take_is_refused_in_one_line() -> None:
    fitter, images = fitter_of(1), GridSignals(np.zeros((2, 4, 4, 3), dtype=np.uint8))
    with pytest.raises(Refused, match=r"^there is no training signal"):
        fitter.train(objects(0), objects(0), CellRun(0))
    with pytest.raises(Refused, match=r"^fitter 'reptile' trains on posed views"):
        fitter.train(images, images, CellRun(0))
    with pytest.raises(Refused, match=r"^fitter 'reptile' takes views: signals of one part, on rays"):
        list(fitter.fit(images, CellRun(0)))
    with pytest.raises(Refused, match=r"seen along rays, not on Grid$"):
        list(fitter.query(fitted(fitter, objects(1)), Grid.of(4, 4), CellRun(0)))


def test_its_facts_are_those_of_the_field_and_of_its_rays() -> None:
    fitter = fitter_of()
    facts = fitter.facts()
    assert facts.parameters == facts.adapted_values == sum(array.numel() for array in fitter.theta.values())
    assert facts.train_flops == 3 * fitter.field.flops(6) * 5 * 2
    assert facts.fit_flops == 3 * fitter.field.flops(6) * 5 * 4
