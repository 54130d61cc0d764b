"""Signals that are scored on views: one PSNR for each held-out image, then episodes, then signals."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from inrbench import metrics
from inrbench.cell_run import CellRun
from inrbench.cells import resolve
from inrbench.domains import Array, Domain, Rays
from inrbench.errors import InrbenchError, NotFinite
from inrbench.facts import facts_of
from inrbench.interfaces import FitterFacts, Head, Run, Trained
from inrbench.pipeline import Outcome, run_cell
from inrbench.planning import Counts
from inrbench.representations import Arrays, Layout, Representations
from inrbench.rows import lane_of
from inrbench.scoring import errors_of
from inrbench.selection import Selected, select
from inrbench.signals import GridSignals, Part, Signals
from inrbench.stages import Stages
from inrbench.views import Cameras, DrawnEpisodes, Episodes, EpisodeSettings, ViewSignals

KEYS = {"train": "t", "fit": "f", "read": "r", "score": "s"}


class Greys:
    """View v of object r is the grey 40 r + 10 v."""

    size = (2, 3)

    def num_views(self, row: int) -> int:
        return 5

    def images(self, row: int, views: Array) -> Array:
        return np.broadcast_to((40 * row + 10 * views)[:, None, None, None], (len(views), 2, 3, 3)).astype(np.uint8)

    def poses(self, row: int, views: Array) -> Array:
        return np.tile(np.eye(4), (len(views), 1, 1))

    def focal(self, row: int) -> float:
        return 3.0


class MeanColour:
    """Represents a signal by the mean colour of what it observes, and renders that from everywhere."""

    layout = Layout("latent", {"colour": (3,)})

    def __init__(self) -> None:
        self.saw: list[Signals] = []
        self.asked: list[tuple[int, ...]] = []
        self.broken = -1

    def train(self, train: Signals, validation: Signals, run: Run, heads: Sequence[Head] = ()) -> Trained:
        self.saw += [train, validation]
        return Trained({})

    def load(self, shared: Arrays) -> None:
        pass

    def fit(self, signals: Signals, run: Run) -> Iterator[Representations]:
        for first in range(0, len(signals), 4):
            index = range(first, min(first + 4, len(signals)))
            colours = [signals.observed(i)[0].unit_values().mean(axis=(0, 1, 2)) for i in index]
            arrays = {"colour": np.array(colours, dtype=np.float32)}
            yield Representations(self.layout, arrays, signals.ids[first : first + 4], np.zeros(len(colours)))

    def query(self, rows: Representations, domain: Domain, run: Run) -> Iterator[Array]:
        assert isinstance(domain, Rays)
        self.asked.append((len(rows), *domain.shape))
        for one, colour in zip(rows.ids, rows.arrays["colour"], strict=True):
            bad = np.nan if one == self.broken else 0.0
            yield np.broadcast_to(colour + bad, (1, *domain.shape, 3))

    def facts(self) -> FitterFacts:
        return FitterFacts(0, 3, "none", "global")


def views(rows: Sequence[int], parted: Episodes) -> ViewSignals:
    places = np.array(rows)
    return ViewSignals(Greys(), places, places + 7, None, Cameras(2.0, 6.0), parted)


def data(parted: Episodes) -> Selected:
    train, test = views([0, 1], parted), views([2, 3, 4], parted).as_episodes()
    return Selected(train, train.take(np.arange(0)), test, None, "test")


def go(fitter: MeanColour, selected: Selected, folder: Path | None = None) -> Outcome:
    return run_cell(fitter, None, None, selected, CellRun(0), Stages(folder, KEYS))


def expected_errors(scored: ViewSignals) -> Array:
    """[entries, views] from the greys: what is observed has mean m, an image g: ((m - g) / 255)²."""
    found = []
    for i in range(len(scored)):
        mean = scored.observed(i)[0].values.mean()
        found.append([((mean - image.mean()) / 255.0) ** 2 for image in scored.scored(i)[0].values])
    return np.array(found)


# ------------------------------------------------------------------ metrics


def test_psnr_is_averaged_over_images_then_episodes_then_signals() -> None:
    mse = np.array([[1e-1, 1e-3], [1e-2, 1e-2], [1e-4, 1e-4]])  # 10 and 30, 20 and 20, 40 and 40 dB
    values = metrics.of_vectors({"ids": np.array([7, 3, 7]), "mse": mse}, 10 * mse)
    first, second = (20 + 40) / 2, 20.0
    assert values["psnr_db"] == pytest.approx((first + second) / 2)
    assert values["psnr_unclamped_db"] == pytest.approx((first + second) / 2 - 10)
    assert (values["psnr_db_low"], values["psnr_db_high"]) == pytest.approx(metrics.mean_interval(np.array([30, 20.0])))
    assert values["psnr_global_db"] == pytest.approx(-10 * np.log10(mse.mean()))


def test_one_view_each_is_as_one_error_each() -> None:
    mse, ids = np.array([1e-1, 1e-2, 1e-3]), np.array([1, 1, 2])
    assert metrics.of_vectors({"ids": ids, "mse": mse[:, None]}) == metrics.of_vectors({"ids": ids, "mse": mse})


# ------------------------------------------------------------------ the pipeline


@pytest.mark.parametrize(("count", "support", "query"), [(1, 1, 1), (2, 2, 1), (3, 1, 3)])
def test_each_held_out_image_has_an_error(count: int, support: int, query: int) -> None:
    selected, fitter = data(DrawnEpisodes(count, support, query)), MeanColour()
    outcome = go(fitter, selected)
    assert outcome.vectors["mse"].shape == (3 * count, query)
    assert outcome.vectors["ids"].tolist() == np.repeat([9, 10, 11], count).tolist()
    errors = expected_errors(selected.scored)  # type: ignore[arg-type]
    np.testing.assert_allclose(outcome.vectors["mse"], errors, rtol=1e-4)
    decibels = -10 * np.log10(errors).mean(axis=1).reshape(3, count).mean(axis=1)
    assert outcome.metrics["psnr_db"] == pytest.approx(decibels.mean(), abs=1e-3)
    assert outcome.costs["fit_s_per_signal"] == pytest.approx(outcome.costs["fit_s"] / (3 * count))


def test_views_are_asked_for_one_by_one() -> None:
    fitter = MeanColour()
    go(fitter, data(DrawnEpisodes(2, 1, 3)))
    assert set(fitter.asked) == {(1, 1, 2, 3)}
    assert len(fitter.asked) == 3 * 2 * 3


def test_predictions_beyond_the_range_are_clamped_in_one_of_both() -> None:
    scored = views([0], DrawnEpisodes()).as_episodes()
    colour = np.full((1, 3), -0.5, dtype=np.float32)
    rows = Representations(MeanColour.layout, {"colour": colour}, scored.ids, np.zeros(1))
    found = errors_of(MeanColour(), rows, scored, CellRun(0))  # type: ignore[arg-type]
    grey = scored.scored(0)[0].values.mean() / 255.0
    assert (found.mse.shape, found.unclamped.shape, found.unseen.shape) == ((1, 1), (1, 1), (1,))
    assert found.mse[0, 0] == pytest.approx(grey**2, rel=1e-5)
    assert found.unclamped[0, 0] == pytest.approx((grey + 0.5) ** 2, rel=1e-5)
    assert np.isnan(found.unseen).all()


def test_a_signal_of_which_a_view_is_not_finite_is_named() -> None:
    fitter = MeanColour()
    fitter.broken = 10
    with pytest.raises(NotFinite, match=r"the reconstruction of signal 10 is not finite \(2 such in this shard\)"):
        go(fitter, data(DrawnEpisodes(2, 1, 2)))


def test_views_beside_another_part_have_no_common_metric() -> None:
    class Both(ViewSignals):
        def scored(self, i: int) -> Sequence[Part]:
            image = GridSignals(np.zeros((1, 2, 2, 3), dtype=np.uint8)).scored(0)
            return (*super().scored(i), *image)

    plain = views([0], DrawnEpisodes()).as_episodes()
    both = Both(**{name: getattr(plain, name) for name in plain.__dataclass_fields__})
    with pytest.raises(InrbenchError, match="signal 7 is scored on views and on other parts"):
        go(MeanColour(), replace(data(DrawnEpisodes()), scored=both))


def test_a_fitter_chooses_on_signals_that_observe_all_their_views() -> None:
    parted = DrawnEpisodes(2, 1, 1)
    splits = {"train": views(range(10), parted), "test": views([20, 21], parted).as_episodes()}
    selected = select(splits, EpisodeSettings(validation=0.3, scored="validation"), 0)
    fitter = MeanColour()
    outcome = go(fitter, selected)
    train, held_out = fitter.saw
    assert (len(train), len(held_out)) == (7, 3)
    assert all(held_out.observed(i)[0].values.shape[0] == 5 for i in range(3))
    assert outcome.vectors["mse"].shape == (6, 1)
    assert set(outcome.vectors["ids"].tolist()) == set(held_out.ids.tolist())


@pytest.mark.parametrize(("support", "lane"), [(1, "from 1 view"), (2, "from 2 views")])
def test_how_many_views_were_observed_is_a_fact_and_a_lane(support: int, lane: str) -> None:
    cell = resolve("pixels", "digits", profile="smoke")
    facts = facts_of(cell, MeanColour().facts(), data(DrawnEpisodes(2, support, 1)))
    assert facts["observed_views"] == support
    assert f", {lane}, " in lane_of({"facts": facts})


# ------------------------------------------------------------------ what is foreseen


@pytest.mark.parametrize(
    ("settings", "counts"),
    [
        ({}, Counts(10, 0, 4)),
        ({"episodes": 3}, Counts(10, 0, 12)),
        ({"episodes": 3, "test_size": 2, "validation": 0.2}, Counts(8, 6, 6)),
        ({"episodes": 3, "scored": "validation", "validation": 0.2}, Counts(8, 6, 6)),
    ],
)
def test_counts_are_of_episodes(settings: dict[str, Any], counts: Counts) -> None:
    chosen = EpisodeSettings(**settings)
    parted = DrawnEpisodes.of(chosen)
    splits = {"train": views(range(10), parted), "test": views(range(20, 24), parted).as_episodes()}
    assert Counts.of({"train": 10, "test": 4}, chosen) == counts
    assert Counts.found(splits, chosen, 0) == counts
