"""Gradient descent on films with sound: what a step sees, masked channels, resumed fits, signals by themselves."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from inrbench_fields.gradient_descent import GradientDescent
from inrbench_fields.rffnet import RffNet
from inrbench_fields.settings import GradientDescentSettings, RffNetSettings, SirenSettings, SpderSettings
from inrbench_fields.siren import Siren
from inrbench_fields.spder import Spder

from inrbench import draws
from inrbench.backends.torch.fields import coords_of
from inrbench.cell_run import CellRun
from inrbench.domains import Array, Grid
from inrbench.errors import Interrupted
from inrbench.representations import Representations
from inrbench.signals import Part, PartSpec, SignalSpec

LINE = Grid(((30, -1.0, 1.0), (1, -1.0, 1.0), (1, -1.0, 1.0)))
VIDEO, AUDIO, POINTS = 4 * 3 * 5, 30, 4 * 3 * 5 + 30
SPEC = SignalSpec(
    (PartSpec("grid", (4, 3, 5), 3, 3, "video"), PartSpec("grid", (30, 1, 1), 3, 2, "audio")), sizes={"test": 2}
)


class Films:
    """Clips of 4 frames of 3 x 5 pixels with 30 samples of two channels, as they are stored."""

    def __init__(self, ids: Array) -> None:
        self.ids, self.labels = ids, None

    def __len__(self) -> int:
        return len(self.ids)

    def observed(self, i: int) -> Sequence[Part]:
        rng = draws.generator(5, "film", int(self.ids[i]))
        ramp = np.add.outer(np.add.outer(np.arange(4) * 20, np.arange(3) * 30), np.arange(5) * 10)
        film = (ramp[..., None] + rng.integers(0, 76, 3)).astype(np.uint8)
        sound = (900 * np.sin(np.arange(30) / 5)[:, None] * rng.uniform(0.5, 1.0, 2)).astype(np.int16)[:, None, None]
        return (
            Part(Grid.of(4, 3, 5), film, slice(0, 3), (1 / 255, 0.0), "video"),
            Part(LINE, sound, slice(3, 5), (0.5 / 900, 0.5), "audio"),
        )

    scored = observed

    def stacked(self) -> None:
        return None

    def take(self, indices: Array) -> Films:
        return Films(self.ids[indices])

    def unlabelled(self) -> Films:
        return self


FILMS = Films(np.array([3, 8]))
FIELDS = {
    "siren": lambda: Siren(SirenSettings(width=12, depth=1, time_scale=3.0), SPEC),
    "spder": lambda: Spder(SpderSettings(width=12, depth=1), SPEC),
    "rffnet": lambda: RffNet(RffNetSettings(width=12, depth=1, rff_dim=16, sigma=1.0), SPEC),
}
each_field = pytest.mark.parametrize("field", FIELDS)


def fitter_of(field: str = "siren", **settings: Any) -> GradientDescent:
    chosen = GradientDescentSettings(**{"steps": 20, "lr": 1e-3, "batch_points": 24, **settings})
    return GradientDescent(chosen, SPEC, FIELDS[field]())


def fitted(fitter: GradientDescent, signals: Films = FILMS, run: CellRun | None = None) -> Representations:
    return Representations.joined(fitter.fit(signals, run or CellRun(0)))  # type: ignore[arg-type]


def whole(i: int) -> tuple[Array, Array, Array]:
    """(coordinates, targets in [-1, 1], weights) of all points of film ``i``, the other part's channels NaN."""
    values = np.full((POINTS, 5), np.nan)
    film, sound = FILMS.observed(i)
    values[:VIDEO, :3], values[VIDEO:, 3:] = (
        part.unit_values().reshape(n, -1) for part, n in ((film, 60), (sound, 30))
    )
    coords = np.concatenate([coords_of(part.domain, "cpu").numpy() for part in (film, sound)])
    return coords, 2.0 * np.nan_to_num(values) - 1.0, (~np.isnan(values)).astype(np.float64)


@each_field
@pytest.mark.parametrize("batch", [24, None, 90])
def test_a_step_descends_the_mean_over_the_values_of_the_points_it_sees(field: str, batch: int | None) -> None:
    start = fitted(fitter_of(field, steps=0))
    rows = fitted(fitter_of(field, steps=1, optimiser="sgd", lr=0.1, batch_points=batch))
    for i, one in enumerate(FILMS.ids):
        index = np.arange(POINTS)
        if batch == 24:
            index = CellRun(0).rng("points", int(one), 0).choice(POINTS, 24, replace=False, shuffle=False)
            assert 0 < (index < VIDEO).sum() < 24
        coords, target, weight = (torch.as_tensor(array[index]).float() for array in whole(i))
        arrays = {name: torch.tensor(array[i : i + 1], requires_grad=True) for name, array in start.arrays.items()}
        squares = (fitter_of(field).field.apply(arrays, coords)[0] - target).square()
        seen = squares[weight.bool()]
        assert len(seen) == (index < VIDEO).sum() * 3 + (index >= VIDEO).sum() * 2
        for (name, array), slope in zip(
            arrays.items(), torch.autograd.grad(seen.mean(), [*arrays.values()]), strict=True
        ):
            expected = (array - 0.1 * slope).detach()[0].numpy()
            np.testing.assert_allclose(rows.arrays[name][i], expected, rtol=0, atol=2e-6, err_msg=name)


def test_a_part_that_no_step_sees_leaves_its_outputs_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """The loss masks the other modality: without a point of the sound its output rows stay as they were drawn."""

    class VideoAlone(CellRun):
        def rng(self, *purpose: object) -> np.random.Generator:
            rng = super().rng(*purpose)
            return _First(VIDEO) if purpose[0] == "points" else rng  # type: ignore[return-value]

    start, rows = fitted(fitter_of(steps=0)), fitted(fitter_of(), run=VideoAlone(0))
    moved = np.abs(rows.arrays["output.weight"] - start.arrays["output.weight"])
    assert moved[:, :3].min() > 1e-5
    assert not moved[:, 3:].any()
    assert not np.abs(rows.arrays["output.bias"] - start.arrays["output.bias"])[:, 3:].any()


class _First:
    """A generator that chooses among the first ``count`` alone."""

    def __init__(self, count: int) -> None:
        self.count, self.rng = count, draws.generator(0, "first")

    def choice(self, total: int, count: int, **how: Any) -> Array:
        return self.rng.choice(self.count, count, replace=False)


@each_field
def test_a_clips_result_does_not_depend_on_the_others(field: str) -> None:
    together = fitted(fitter_of(field))
    for order in ([1], [1, 0]):
        part = fitted(fitter_of(field), FILMS.take(np.array(order)))
        assert list(part.ids) == [FILMS.ids[i] for i in order]
        for name, array in part.arrays.items():
            assert np.array_equal(array, together.arrays[name][order]), name


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


@each_field
@pytest.mark.parametrize("after", [1, 25])
def test_a_resumed_fit_is_that_of_one_go(field: str, after: int, tmp_path: Path) -> None:
    expected = fitted(fitter_of(field))
    with pytest.raises(Interrupted, match="of 20 is kept"):
        fitted(fitter_of(field), run=StoppedAfter(after, tmp_path))
    resumed = fitted(fitter_of(field), run=CellRun(0, folder=tmp_path))
    for name, array in expected.arrays.items():
        assert np.array_equal(resumed.arrays[name], array), name


@each_field
def test_both_parts_come_closer_and_are_queried_on_their_own_grids(field: str) -> None:
    errors = []
    for steps in (0, 400):
        fitter = fitter_of(field, steps=steps, lr=5e-3)
        rows, found = fitted(fitter).take(np.array([0])), []
        for part in FILMS.observed(0):
            (values,) = fitter.query(rows, part.domain, CellRun(0))
            assert values.shape == (1, *part.domain.shape, 5)  # type: ignore[union-attr]
            found.append(float(np.square(values[0, ..., part.channels] - part.unit_values()).mean()))
        errors.append(found)
    (video, audio), (video_after, audio_after) = errors
    assert video_after < 0.6 * video
    assert audio_after < 0.6 * audio


def test_a_step_costs_the_points_that_it_sees_of_all_parts() -> None:
    forward = 2 * (3 * 12 + 12 * 12 + 12 * 5)
    assert fitter_of(steps=7).facts().fit_flops == 3 * 7 * 24 * forward
    assert fitter_of(steps=7, batch_points=None).facts().fit_flops == 3 * 7 * POINTS * forward
    assert fitter_of(steps=7, batch_points=1000).facts().fit_flops == 3 * 7 * POINTS * forward
