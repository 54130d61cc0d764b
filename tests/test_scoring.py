"""Scoring of signals of several parts: film with sound, occupancy, and grids that are queried in blocks."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import pytest

from inrbench import metrics, scoring
from inrbench.cell_run import CellRun
from inrbench.domains import Array, Domain, Grid, Points
from inrbench.errors import NotFinite
from inrbench.representations import Layout, Representations
from inrbench.signals import Part

FILM = Grid.of(4, 2, 3)
SOUND = Grid(((8, -1.0, 1.0), (1, -1.0, 1.0), (1, -1.0, 1.0)))


@dataclass
class Slope:
    """Its four channels are time times what a row says; three are the picture's."""

    layout: Layout = field(default_factory=lambda: Layout("weights", {"slope": (4,)}))
    asked: list[tuple[int, ...]] = field(default_factory=list)

    def query(self, rows: Representations, domain: Domain, run: CellRun) -> Iterator[Array]:
        coords = domain.coords if isinstance(domain, Points) else domain.coords()
        self.asked.append(coords.shape[:-1])
        yield (0.5 + coords[None, ..., :1] * rows.arrays["slope"].reshape(-1, *[1] * (coords.ndim - 1), 4)).astype("f4")


@dataclass
class Clips:
    """Signals of the parts given."""

    parts: Sequence[Sequence[Part]]

    @property
    def ids(self) -> Array:
        return np.arange(len(self.parts)) + 5

    def __len__(self) -> int:
        return len(self.parts)

    def scored(self, i: int) -> Sequence[Part]:
        return self.parts[i]

    def stacked(self) -> None:
        return None


def film(rng: np.random.Generator) -> list[Part]:
    picture = Part(FILM, rng.integers(256, size=(4, 2, 3, 3)), slice(0, 3), (1 / 255, 0.0), "video")
    return [picture, Part(SOUND, rng.integers(-99, 100, (8, 1, 1, 1)), slice(3, 4), (0.5 / 99, 0.5), "audio")]


def rows(count: int, slope: float = 0.3) -> Representations:
    slopes = slope * np.arange(1, 4 * count + 1, dtype=np.float32).reshape(count, 4)
    return Representations(Slope().layout, {"slope": slopes}, np.arange(count) + 5, np.zeros(count))


def errors(clips: Clips, fitter: Slope | None = None, slope: float = 0.3) -> scoring.Errors:
    return scoring.errors_of(fitter or Slope(), rows(len(clips), slope), clips, CellRun(0))  # type: ignore[arg-type]


def test_each_modality_has_an_error_of_its_own_on_its_own_channels() -> None:
    clips = Clips([film(np.random.default_rng(i)) for i in range(2)])
    found = errors(clips)
    for i, (picture, sound) in enumerate(clips.parts):
        slopes = rows(2).arrays["slope"][i]
        shown = np.clip(0.5 + FILM.coords()[..., :1] * slopes[:3], 0, 1) - picture.values / 255
        heard = np.clip(0.5 + SOUND.coords()[..., :1] * slopes[3:], 0, 1) - (sound.values * 0.5 / 99 + 0.5)
        assert found.parts["mse_video"][i] == pytest.approx(np.square(shown).mean(), rel=1e-5)
        assert found.parts["mse_audio"][i] == pytest.approx(np.square(heard).mean(), rel=1e-5)
        total = np.square(shown).sum() + np.square(heard).sum()
        assert found.mse[i] == pytest.approx(total / (4 * 2 * 3 * 3 + 8), rel=1e-5)
    assert (found.unclamped > found.mse).all()
    assert np.isnan(found.unseen).all()
    values = metrics.of_vectors({"ids": clips.ids, "mse": found.mse, **found.parts})
    assert values["psnr_video_db"] == pytest.approx((-10 * np.log10(found.parts["mse_video"])).mean())
    assert values["si_snr_db"] == pytest.approx(found.parts["si_snr_db"].mean())
    assert values["psnr_audio_db_low"] < values["psnr_audio_db"] < values["psnr_audio_db_high"]


def test_a_large_grid_is_queried_in_blocks_of_planes_with_the_same_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    clips = Clips([film(np.random.default_rng(0))])
    whole = errors(clips)
    for points, planes in ((12, 2), (3, 1), (18, 3)):
        monkeypatch.setattr(scoring, "BLOCK_POINTS", points)
        fitter = Slope()
        found = errors(clips, fitter)
        assert sum(shape[0] for shape in fitter.asked if shape[1:] == (2, 3)) == 4
        assert max(shape[0] for shape in fitter.asked if shape[1:] == (2, 3)) == planes
        for name, value in whole.parts.items():
            np.testing.assert_allclose(found.parts[name], value, rtol=1e-5)


def test_blocks_of_a_grid_have_its_centres() -> None:
    grid = Grid(((7, -0.5, 1.0), (3, -1.0, 1.0)))
    blocks = list(grid.blocks(6))
    assert [(planes.start, planes.stop) for planes, _ in blocks] == [(0, 2), (2, 4), (4, 6), (6, 7)]
    np.testing.assert_allclose(np.concatenate([block.coords() for _, block in blocks]), grid.coords(), atol=1e-7)


def test_occupancy_is_measured_by_intersection_over_union() -> None:
    coords = np.array([[-0.9, 0, 0], [-0.1, 0, 0], [0.2, 0, 0], [0.8, 0, 0]], dtype=np.float32)
    inside = np.array([[1], [0], [1], [1]], dtype=np.uint8)
    one = Part(Points(coords), inside, slice(0, 1), measure="occupancy")  # positive time is said to be inside
    none = Part(Points(coords[:2]), np.zeros((2, 1), dtype=np.uint8), slice(0, 1), measure="occupancy")
    found = errors(Clips([[one], [none]]))
    assert found.parts["iou"].tolist() == [2 / 3, 1.0]
    assert metrics.of_vectors({"ids": np.arange(2), "mse": found.mse, **found.parts})["iou"] == pytest.approx(5 / 6)


def test_what_is_not_finite_is_named() -> None:
    clips = Clips([film(np.random.default_rng(0)), film(np.random.default_rng(1))])
    with np.errstate(invalid="ignore"), pytest.raises(NotFinite, match="of signal 5 is not finite"):
        scoring.check_finite(errors(clips, slope=math.inf), clips.ids)


# ------------------------------------------------------------------ sound


def si_snr(predicted: Array, values: Array) -> float:
    tally = metrics.Tally(values.shape[-1])
    for first in range(0, len(values), 7):
        tally.add(predicted[first : first + 7], values[first : first + 7])
    return tally.si_snr_db()


def test_si_snr_is_that_of_its_definition_and_ignores_scale_and_offset() -> None:
    rng = np.random.default_rng(0)
    values, noise = rng.uniform(0.2, 0.8, (50, 2)), rng.normal(0.0, 0.01, (50, 2))
    predicted = 0.1 + 0.7 * values + noise
    p, t = predicted - predicted.mean(0), values - values.mean(0)
    target = (p * t).sum(0) / (t * t).sum(0) * t
    expected = 10 * np.log10((target**2).sum(0) / ((p - target) ** 2).sum(0)).mean()
    assert si_snr(predicted, values) == pytest.approx(expected, abs=1e-9)
    assert si_snr(0.05 + 0.9 * predicted, values) == pytest.approx(expected, abs=1e-9)


def test_si_snr_has_bounds() -> None:
    values = np.random.default_rng(0).uniform(0.2, 0.8, (50, 1))
    assert si_snr(values, values) == 100.0
    assert si_snr(np.full_like(values, 0.5), values) == -100.0
    assert si_snr(values, np.full_like(values, 0.5)) == -100.0


def test_a_silent_channel_has_no_si_snr() -> None:
    rng = np.random.default_rng(0)
    values, predicted = rng.random((100, 2)), rng.random((100, 2))
    silent, noise = np.full((100, 1), 0.3), rng.random((100, 1))
    joined = si_snr(np.hstack([predicted, noise]), np.hstack([values, silent]))
    assert joined == pytest.approx(si_snr(predicted, values), abs=1e-9)
