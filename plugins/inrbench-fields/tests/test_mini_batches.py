"""Gradient descent by mini-batches: what a step sees, resumed fits, signals that do not see each other, views."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from inrbench_fields import gradient_descent_jax
from inrbench_fields.gradient_descent import GradientDescent
from inrbench_fields.nerf import Nerf
from inrbench_fields.relu_fourier import ReluFourier
from inrbench_fields.settings import GradientDescentSettings, NerfSettings, ReluFourierSettings, SirenSettings
from inrbench_fields.siren import Siren

from inrbench import draws
from inrbench.backends.torch.draws import torch_generator
from inrbench.backends.torch.fields import coords_of
from inrbench.backends.torch.rendering import render
from inrbench.cell_run import CellRun
from inrbench.domains import Array, Grid, Points, Rays
from inrbench.errors import BadSetting, Interrupted
from inrbench.representations import Representations
from inrbench.schedules import cosine
from inrbench.signals import GridSignals, Part, PartSpec, SignalSpec

SPEC = SignalSpec((PartSpec("grid", (6, 6), 2, 1),))
VIEWS = SignalSpec((PartSpec("rays", (3, 4, 4), 3, 3),))
IMAGES = GridSignals(draws.generator(0, "images").integers(0, 256, (5, 6, 6, 1), dtype=np.uint8))


def fitter_of(field: str = "siren", **settings: Any) -> GradientDescent:
    chosen = GradientDescentSettings(**{"steps": 20, "lr": 1e-3, "batch_points": 8, **settings})
    if field == "nerf":
        return GradientDescent(chosen, VIEWS, Nerf(NerfSettings(width=8, depth=1, samples=8), VIEWS))
    if field == "relu-fourier":
        model = ReluFourier(ReluFourierSettings(width=8, depth=1, frequencies=4, highest=8.0), SPEC)
        return GradientDescent(chosen, SPEC, model)
    return GradientDescent(chosen, SPEC, Siren(SirenSettings(width=8, depth=1), SPEC))


def fitted(fitter: GradientDescent, signals: Any = IMAGES, run: CellRun | None = None) -> Representations:
    return Representations.joined(fitter.fit(signals.unlabelled(), run or CellRun(0)))


def assert_rows_close(one: Representations, other: Representations, tolerance: float) -> None:
    assert list(one.ids) == list(other.ids)
    for name, array in one.arrays.items():
        np.testing.assert_allclose(array, other.arrays[name], rtol=0, atol=tolerance, err_msg=name)


class Views:
    """Scenes of 3 views of 4 x 4 pixels of a disc before a white background, each with cameras of its own."""

    def __init__(self, ids: Array) -> None:
        self.ids = ids

    def __len__(self) -> int:
        return len(self.ids)

    def observed(self, i: int) -> tuple[Part, ...]:
        rng = draws.generator(1, "scene", int(self.ids[i]))
        origins = np.broadcast_to([0.0, 0.0, 4.0], (3, 4, 4, 3)) + 0.1 * rng.standard_normal((3, 1, 1, 3))
        directions = 0.3 * rng.uniform(-1.0, 1.0, (3, 4, 4, 3)) - [0.0, 0.0, 1.0]
        colour = rng.integers(0, 200, 3)
        seen = np.linalg.norm(origins + 4.0 * directions, axis=-1, keepdims=True) < 0.8
        values = np.where(seen, colour, 255).astype(np.uint8)
        rays = Rays(origins.astype(np.float32), directions.astype(np.float32), 2.0, 6.0, 1.0)
        return (Part(rays, values, to_unit=(1.0 / 255.0, 0.0)),)

    def stacked(self) -> None:
        return None

    def take(self, indices: Array) -> Views:
        return Views(self.ids[indices])

    def unlabelled(self) -> Views:
        return self


SCENES = Views(np.array([4, 7]))


# ------------------------------------------------------------------ what a step sees


def step_by_hand(index: Array, i: int) -> dict[str, np.ndarray]:
    """One step of SGD at the rate 0.1 on the mean squared error of image ``i`` at the places ``index``."""
    start, field = fitted(fitter_of(steps=0)), fitter_of().field
    arrays = {name: torch.tensor(array[i : i + 1], requires_grad=True) for name, array in start.arrays.items()}
    target = 2.0 * torch.as_tensor(IMAGES.values[i].reshape(36, 1)[index]).float() / 255.0 - 1.0
    loss = (field.apply(arrays, coords_of(Grid.of(6, 6), "cpu")[index]) - target).square().mean()
    gradients = torch.autograd.grad(loss, list(arrays.values()))
    return {n: (a - 0.1 * g).detach().numpy() for (n, a), g in zip(arrays.items(), gradients, strict=True)}


def test_a_step_sees_a_draw_of_each_signals_points() -> None:
    rows = fitted(fitter_of(steps=1, optimiser="sgd", lr=0.1))
    for i in range(len(IMAGES)):
        index = CellRun(0).rng("points", i, 0).choice(36, 8, replace=False, shuffle=False)
        assert len(set(index)) == 8
        for name, expected in step_by_hand(index, i).items():
            np.testing.assert_allclose(rows.arrays[name][i], expected[0], rtol=0, atol=1e-6, err_msg=name)


def test_steps_see_other_points_each_time() -> None:
    drawn = [tuple(CellRun(0).rng("points", 3, step).choice(36, 8, replace=False, shuffle=False)) for step in range(4)]
    assert len(set(drawn)) == 4


def test_a_batch_of_all_points_or_more_is_the_whole() -> None:
    whole = fitted(fitter_of(batch_points=None))
    assert_rows_close(fitted(fitter_of(batch_points=36)), whole, 0.0)
    assert_rows_close(fitted(fitter_of(batch_points=1000)), whole, 0.0)


def test_listed_points_are_drawn_from() -> None:
    class Listed(Views):
        def observed(self, i: int) -> tuple[Part, ...]:
            return (Part(Points(Grid.of(6, 6).coords().reshape(-1, 2)), IMAGES.values[i].reshape(36, 1) / 255.0),)

    rows = fitted(fitter_of(), Listed(np.arange(5)))
    assert_rows_close(rows, fitted(fitter_of(shard=1)), 1e-6)  # the same points as of the grid


def test_a_step_sees_a_draw_of_a_scenes_rays() -> None:
    fitter = fitter_of("nerf", steps=1, optimiser="sgd", lr=0.1)
    start, rows = fitted(fitter_of("nerf", steps=0), SCENES), fitted(fitter, SCENES)
    for i, one in enumerate(SCENES.ids):
        ((part,), run) = SCENES.observed(i), CellRun(0)
        index = run.rng("points", int(one), 0).choice(48, 8, replace=False, shuffle=False)
        arrays = {name: torch.tensor(array[i : i + 1], requires_grad=True) for name, array in start.arrays.items()}
        assert isinstance(part.domain, Rays)
        ends = [torch.as_tensor(a.reshape(-1, 3)[index]) for a in (part.domain.origins, part.domain.directions)]
        generator = torch_generator(run.rng("jitter", int(one), 0))
        field = fitter.field
        assert isinstance(field, Nerf)
        image = render(field, arrays, ends[0], ends[1], 2.0, 6.0, 1.0, 8, generator)
        loss = (image - torch.as_tensor(part.unit_values().reshape(-1, 3)[index])).square().mean()
        for (name, array), gradient in zip(arrays.items(), torch.autograd.grad(loss, [*arrays.values()]), strict=True):
            expected = (array - 0.1 * gradient).detach()[0].numpy()
            np.testing.assert_allclose(rows.arrays[name][i], expected, rtol=0, atol=1e-6, err_msg=name)


def test_draws_are_keyed_by_scene_and_step() -> None:
    asked: list[tuple[object, ...]] = []

    class Watched(CellRun):
        def rng(self, *purpose: object) -> np.random.Generator:
            asked.append(purpose)
            return super().rng(*purpose)

    fitted(fitter_of("nerf", steps=3), SCENES, Watched(0))
    for purpose in ("points", "jitter"):
        expected = [(purpose, int(one), step) for one in SCENES.ids for step in range(3)]
        assert [one for one in asked if one[0] == purpose] == expected


def test_jitter_and_the_foreground_change_what_is_seen() -> None:
    usual = fitted(fitter_of("nerf"), SCENES)
    for other in ({"jitter": False}, {"foreground_steps": 20}):
        changed = fitted(fitter_of("nerf", **other), SCENES)
        assert any(not np.array_equal(a, changed.arrays[name]) for name, a in usual.arrays.items()), other


def test_half_of_the_first_rays_are_of_the_foreground(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a background pixel among them, the share of the disc's pixels in a batch tells."""
    from inrbench_fields import objective

    seen: list[Array] = []
    whole = objective.StoredSignals.values

    def watched(self: Any, index: Array) -> torch.Tensor:
        values = whole(self, index)
        seen.append((values != 1.0).any(-1)[0].numpy())
        return values

    monkeypatch.setattr(objective.StoredSignals, "values", watched)
    fitted(fitter_of("nerf", foreground_steps=3, steps=5), SCENES.take(np.array([0])))
    assert [int(one[:4].sum()) for one in seen[:3]] == [4, 4, 4]
    assert len(seen) == 5
    assert not all(one[:4].all() for one in seen[3:])


# ------------------------------------------------------------------ results


@pytest.mark.parametrize("field", ["siren", "relu-fourier"])
def test_a_signals_result_does_not_depend_on_the_others(field: str) -> None:
    together = fitted(fitter_of(field))
    for order in ([2], [4, 1], [3, 0, 2, 4, 1]):
        part = fitted(fitter_of(field, shard=2), IMAGES.take(np.array(order)))
        assert_rows_close(part, together.take(np.array(order)), 2e-5)


def test_a_scenes_result_does_not_depend_on_the_others() -> None:
    together = fitted(fitter_of("nerf"), SCENES)
    assert_rows_close(fitted(fitter_of("nerf"), SCENES.take(np.array([1]))), together.take(np.array([1])), 0.0)


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


@pytest.mark.parametrize(("field", "after"), [("siren", 1), ("siren", 33), ("relu-fourier", 7), ("nerf", 26)])
def test_a_resumed_fit_is_that_of_one_go(field: str, after: int, tmp_path: Path) -> None:
    settings: dict[str, Any] = {"shard": 2, "schedule": "one-cycle", "warmup": 0.3, "foreground_steps": 10}
    signals: Any = SCENES if field == "nerf" else IMAGES
    whole = fitted(fitter_of(field, **settings), signals)
    with pytest.raises(Interrupted, match="of 20 is kept: the same command goes on from there"):
        fitted(fitter_of(field, **settings), signals, StoppedAfter(after, tmp_path))
    resumed = fitted(fitter_of(field, **settings), signals, CellRun(0, folder=tmp_path))
    assert_rows_close(resumed, whole, 0.0)


def test_the_rate_follows_the_schedule() -> None:
    """With SGD and one gradient for all steps the way is the sum of the rates."""
    rows = [fitted(fitter_of(steps=k, optimiser="sgd", lr=1e-6, batch_points=None)) for k in (0, 1, 10)]
    bent = fitted(fitter_of(steps=10, optimiser="sgd", lr=1e-6, batch_points=None, schedule="cosine", warmup=0.3))
    rates = sum(cosine(step, 10, 0.3) for step in range(10))
    start, one, ten = ({n: a.astype(np.float64) for n, a in r.arrays.items()} for r in rows)
    name = "output.bias"
    assert (ten[name] - start[name]).sum() == pytest.approx(10 * (one[name] - start[name]).sum(), rel=0.1)
    assert (bent.arrays[name] - start[name]).sum() == pytest.approx(
        rates * (ten[name] - start[name]).sum() / 10, rel=0.1
    )


def test_one_cycle_moves_the_momentum_too(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Any] = []

    class Watched(torch.optim.Adam):
        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **options)
            made.append(self)

    monkeypatch.setattr(torch.optim, "Adam", Watched)
    fitted(fitter_of(schedule="one-cycle", warmup=0.3, lr=1e-3), IMAGES.take(np.array([0])))
    (options,) = made[0].param_groups
    assert options["lr"] == pytest.approx(1e-3 / 2.5e5)
    assert options["betas"] == (pytest.approx(0.95), 0.999)


def test_the_error_of_a_long_fit_is_logged() -> None:
    run = CellRun(0)
    fitted(fitter_of(steps=101), IMAGES.take(np.array([0])), run)
    assert [values["step"] for values in run.history] == [0.0, 50.0, 100.0]
    assert run.history[0]["loss"] > run.history[2]["loss"] > 0.0


@pytest.mark.parametrize("field", ["siren", "relu-fourier", "nerf"])
def test_fits_come_closer_to_their_signals(field: str) -> None:
    signals: Any = SCENES if field == "nerf" else IMAGES
    errors = []
    for steps in (0, 150):
        fitter = fitter_of(field, steps=steps, lr=1e-2, batch_points=16)
        rows, error = fitted(fitter, signals), 0.0
        for i in range(len(signals)):
            (part,) = signals.observed(i)
            (values,) = fitter.query(rows.take(slice(i, i + 1)), part.domain, CellRun(0))
            assert values.shape == (1, *part.values.shape)
            error += float(np.square(values[0] - part.unit_values()).mean())
        errors.append(error / len(signals))
    assert errors[1] < 0.5 * errors[0]


def test_the_twin_in_jax_refuses_what_it_cannot_do() -> None:
    for settings in ({"batch_points": 8}, {"schedule": "cosine"}):
        with pytest.raises(BadSetting, match="in JAX a step sees all points, at a constant rate"):
            gradient_descent_jax.GradientDescent(GradientDescentSettings(**settings), SPEC, None)  # type: ignore[arg-type]
    with pytest.raises(BadSetting, match=r"setting fitter\.evaluate=3 on signals of 1 parts: in JAX allowed are 0 and"):
        gradient_descent_jax.GradientDescent(GradientDescentSettings(evaluate=3), SPEC, None)  # type: ignore[arg-type]
