"""PSNR on the way of a fit: by the protocol, at all points or as an estimate; it changes neither results nor costs."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from inrbench_fields import evaluation
from inrbench_fields.gradient_descent import GradientDescent
from inrbench_fields.nerf import Nerf
from inrbench_fields.settings import GradientDescentSettings, NerfSettings, SirenSettings
from inrbench_fields.siren import Siren

from inrbench import draws
from inrbench.cell_run import CellRun
from inrbench.domains import Grid, Points
from inrbench.errors import BadSetting, Interrupted
from inrbench.metrics import psnr_db, squared_error
from inrbench.representations import Representations
from inrbench.schedules import evaluations
from inrbench.settings import stage_of
from inrbench.signals import GridSignals, Part, PartSpec, SignalSpec

SPEC = SignalSpec((PartSpec("grid", (6, 6), 2, 1),))
IMAGES = GridSignals(draws.generator(0, "images").integers(0, 256, (5, 6, 6, 1), dtype=np.uint8))
LINE = Grid(((30, -1.0, 1.0), (1, -1.0, 1.0)))
FILM = SignalSpec((PartSpec("grid", (4, 15), 2, 3, "video"), PartSpec("grid", (30, 1), 2, 1, "audio")))


class Listed:
    """Signals of the parts that are given."""

    labels = None

    def __init__(self, *entries: tuple[Part, ...]) -> None:
        self.entries, self.ids = entries, 4 + np.arange(len(entries))

    def __len__(self) -> int:
        return len(self.entries)

    def observed(self, i: int) -> Sequence[Part]:
        return self.entries[i]

    def stacked(self) -> None:
        return None

    def unlabelled(self) -> Listed:
        return self


def film() -> Listed:
    rng = draws.generator(1, "film")
    video = rng.integers(0, 256, (4, 15, 3), dtype=np.uint8)
    audio = rng.integers(-900, 901, (30, 1, 1), dtype=np.int16)
    return Listed(
        (
            Part(Grid.of(4, 15), video, slice(0, 3), (1 / 255, 0.0), "video"),
            Part(LINE, audio, slice(3, 4), (0.5 / 900, 0.5), "audio"),
        )
    )


def fitter_of(spec: SignalSpec = SPEC, **settings: Any) -> GradientDescent:
    chosen = GradientDescentSettings(**{"steps": 20, "lr": 1e-2, "evaluate": 3, "batch_points": 8, **settings})
    return GradientDescent(chosen, spec, Siren(SirenSettings(width=8, depth=1), spec))


def fitted(fitter: GradientDescent, signals: Any = IMAGES, run: CellRun | None = None) -> Representations:
    return Representations.joined(fitter.fit(signals.unlabelled(), run or CellRun(0)))


def curve_of(fitter: GradientDescent, signals: Any = IMAGES) -> list[dict[str, float]]:
    run = CellRun(0)
    fitted(fitter, signals, run)
    return [point for point in run.history if "fit_s" in point]


def errors(fitter: GradientDescent, rows: Representations, i: int, parts: Sequence[Part]) -> list[tuple[float, int]]:
    """(mean squared error, values) of each part of signal ``i``, as where a cell is scored."""
    found = []
    for part in parts:
        predicted = np.concatenate(list(fitter.query(rows.take(np.array([i])), part.domain, CellRun(0))))
        error = squared_error(predicted[..., part.channels], part.unit_values()[None])[0]
        found.append((float(error), part.values.size))
    return found


# ------------------------------------------------------------------ what is logged


@pytest.mark.parametrize("batch", [8, None])
def test_points_of_the_curve_are_the_psnr_of_a_fit_of_so_many_steps(batch: int | None) -> None:
    curve = curve_of(fitter_of(batch_points=batch))
    assert [point["step"] for point in curve] == [2.0, 9.0, 20.0] == sorted(evaluations(20, 3))
    for point in curve:
        alone = fitter_of(steps=int(point["step"]), evaluate=0, batch_points=batch)
        rows = fitted(alone)
        expected = [float(psnr_db(np.array(errors(alone, rows, i, IMAGES.observed(i))[0][0]))) for i in range(5)]
        assert point["psnr_db"] == pytest.approx(np.mean(expected), abs=1e-4)
        assert point.keys() == {"step", "psnr_db", "fit_s"}
    assert 0.0 < curve[0]["fit_s"] < curve[1]["fit_s"] < curve[2]["fit_s"]


def test_each_named_part_has_its_own_and_the_whole_is_over_all_values() -> None:
    fitter, signals = fitter_of(FILM), film()
    point = curve_of(fitter, signals)[-1]
    (video, n), (audio, m) = errors(fitter, fitted(fitter, signals), 0, signals.observed(0))
    assert point["psnr_video_db"] == pytest.approx(float(psnr_db(np.array(video))), abs=1e-4)
    assert point["psnr_audio_db"] == pytest.approx(float(psnr_db(np.array(audio))), abs=1e-4)
    whole = float(psnr_db(np.array((n * video + m * audio) / (n + m))))
    assert point["psnr_db"] == pytest.approx(whole, abs=1e-4)
    assert (n, m) == (180, 30)
    assert abs(video - audio) > 1e-3


def test_a_single_part_needs_no_name() -> None:
    samples = draws.generator(2, "sound").integers(-90, 91, (40, 1), dtype=np.int16)
    signals = Listed((Part(Grid.of(40), samples, to_unit=(0.5 / 90, 0.5), name="audio"),))
    spec = SignalSpec((PartSpec("grid", (40,), 1, 1, "audio"),))
    assert all(point.keys() == {"step", "psnr_db", "fit_s"} for point in curve_of(fitter_of(spec), signals))


def test_predictions_are_clamped() -> None:
    """All white: at the start the field is too dark, and what overshoots later is no error."""
    white = GridSignals(np.full((1, 6, 6, 1), 255, dtype=np.uint8))
    fitter = fitter_of(lr=5e-2, steps=10, evaluate=10)
    run = CellRun(0)
    rows = Representations.joined(fitter.fit(white, run))
    (predicted,) = fitter.query(rows, white.domain, CellRun(0))
    assert predicted.max() > 1.0
    expected = float(psnr_db(squared_error(predicted, np.ones_like(predicted)))[0])
    assert run.history[-1]["psnr_db"] == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize("at_once", [1, 7, 2**16])
def test_memory_is_bounded_and_the_value_the_same(at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = curve_of(fitter_of(FILM), film())[-1]
    monkeypatch.setattr(evaluation, "POINTS_AT_ONCE", at_once)
    found = curve_of(fitter_of(FILM), film())[-1]
    for name in ("psnr_db", "psnr_video_db", "psnr_audio_db"):
        assert found[name] == pytest.approx(expected[name], abs=1e-5)


def test_signals_that_list_points_are_measured_there() -> None:
    coords = draws.generator(3, "places").uniform(-1.0, 1.0, (50, 2)).astype(np.float32)
    part = Part(Points(coords), (0.5 + 0.4 * coords[:, :1]).astype(np.float32))
    spec = SignalSpec((PartSpec("points", (50,), 2, 1),))
    fitter = fitter_of(spec)
    point = curve_of(fitter, Listed((part,)))[-1]
    ((error, _),) = errors(fitter, fitted(fitter, Listed((part,))), 0, (part,))
    assert point["psnr_db"] == pytest.approx(float(psnr_db(np.array(error))), abs=1e-4)


# ------------------------------------------------------------------ estimates


def test_of_a_large_part_some_points_are_looked_at_and_these_stay() -> None:
    signals, asked = film(), []

    class Watched(CellRun):
        def rng(self, *purpose: object) -> np.random.Generator:
            asked.append(purpose)
            return super().rng(*purpose)

    run = Watched(0)
    fitter = fitter_of(FILM, evaluate_points=40)
    rows = fitted(fitter, signals, run)
    curve = [point for point in run.history if "fit_s" in point]
    assert [one for one in asked if one[0] == "evaluation"] == [("evaluation", "video")]
    assert all(
        point.keys() == {"step", "fit_s", "psnr_estimate_db", "psnr_video_estimate_db", "psnr_audio_db"}
        for point in curve
    )
    index = CellRun(0).rng("evaluation", "video").choice(60, 40, replace=False, shuffle=False)
    part, sound = signals.observed(0)
    (predicted,) = fitter.query(rows, part.domain, CellRun(0))
    some, values = (a.reshape(60, -1)[index][:, :3] for a in (predicted[0], part.unit_values()))
    error = squared_error(some[None], values[None])
    assert curve[-1]["psnr_video_estimate_db"] == pytest.approx(float(psnr_db(error)[0]), abs=1e-4)
    ((audio, m),) = errors(fitter, rows, 0, (sound,))
    whole = (180 * float(error[0]) + m * audio) / (180 + m)  # by the parts' values, not by those looked at
    assert curve[-1]["psnr_estimate_db"] == pytest.approx(float(psnr_db(np.array(whole))), abs=1e-4)


def test_signals_of_one_domain_are_estimated_at_the_same_points() -> None:
    point = curve_of(fitter_of(evaluate_points=12))[-1]
    assert point.keys() == {"step", "fit_s", "psnr_estimate_db"}
    assert point["psnr_estimate_db"] == pytest.approx(curve_of(fitter_of())[-1]["psnr_db"], abs=3.0)


# ------------------------------------------------------------------ what it must not change


@pytest.mark.parametrize("spec", [SPEC, FILM], ids=["images", "a film"])
def test_looking_changes_no_bit_of_the_result(spec: SignalSpec) -> None:
    signals: Any = IMAGES if spec is SPEC else film()
    expected = fitted(fitter_of(spec, evaluate=0), signals)
    for more in ({"evaluate": 20}, {"evaluate": 5, "evaluate_points": 9}):
        rows = fitted(fitter_of(spec, **more), signals)
        for name, array in expected.arrays.items():
            assert np.array_equal(rows.arrays[name], array), name


def test_looking_costs_no_seconds_of_fitting(monkeypatch: pytest.MonkeyPatch) -> None:
    def slow(*given: Any) -> dict[str, float]:
        time.sleep(0.4)
        return {"psnr_db": 1.0}

    monkeypatch.setattr("inrbench_fields.gradient_descent.measured", slow)
    run = CellRun(0)
    with run.clock("fit"):
        fitted(fitter_of(), IMAGES, run)
    assert run.seconds["evaluate"] >= 1.2 > run.seconds["fit"]
    assert run.history[-1]["fit_s"] < run.seconds["fit"]


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


def test_a_resumed_fit_has_the_curve_of_one_go(tmp_path: Path) -> None:
    expected = curve_of(fitter_of(FILM, evaluate=6), film())
    with pytest.raises(Interrupted):
        fitted(fitter_of(FILM, evaluate=6), film(), StoppedAfter(13, tmp_path))
    run = CellRun(0, folder=tmp_path)
    fitted(fitter_of(FILM, evaluate=6), film(), run)
    curve = [point for point in run.history if "fit_s" in point]
    assert len(curve) == 6
    seconds = [point.pop("fit_s") for point in curve]
    assert seconds == sorted(seconds)
    assert curve == [{k: v for k, v in point.items() if k != "fit_s"} for point in expected]


def test_views_have_no_curve() -> None:
    spec = SignalSpec((PartSpec("rays", (3, 4, 4), 3, 3),))
    field = Nerf(NerfSettings(width=8, depth=1, samples=8), spec)
    with pytest.raises(BadSetting, match=r"^setting fitter\.evaluate=2: allowed is 0 for views"):
        GradientDescent(GradientDescentSettings(batch_points=8, evaluate=2), spec, field)


def test_a_cells_fit_is_keyed_by_it_only_where_it_is_scored() -> None:
    for name in ("evaluate", "evaluate_points"):
        assert stage_of(GradientDescentSettings, [name], "train") == "score"
