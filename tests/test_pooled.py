"""Fitters that pool their draws: the core hands them whole splits, and records say so."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from inrbench.artefacts.fitting import Fitting
from inrbench.cell_run import CellRun
from inrbench.cells import resolve
from inrbench.domains import Array, Domain
from inrbench.facts import facts_of
from inrbench.interfaces import FitterFacts, Head, Run, Trained
from inrbench.pipeline import run_cell
from inrbench.representations import Arrays, Layout, NeuralDataSet, Representations
from inrbench.selection import Selected
from inrbench.settings import Copies
from inrbench.signals import GridSignals, PartSpec, Signals, SignalSpec
from inrbench.stages import Stages


class OffsetFitter:
    """Represents a signal by its mean less that of all signals that it is fitted with."""

    layout = Layout("latent", {"mean": (1,)})

    def __init__(self, pooled: bool) -> None:
        self.pooled = pooled
        self.fitted: list[int] = []

    def train(self, train: Signals, validation: Signals, run: Run, heads: Sequence[Head] = ()) -> Trained:
        return Trained({}, metrics={"fit_psnr_db": 21.5})

    def load(self, shared: Arrays) -> None:
        pass

    def fit(self, signals: Signals, run: Run) -> Iterator[Representations]:
        self.fitted.append(len(signals))
        means = np.array([signals.observed(i)[0].unit_values().mean() for i in range(len(signals))])
        arrays = {"mean": (means - means.mean())[:, None].astype(np.float32)}
        yield Representations(self.layout, arrays, signals.ids, np.zeros(len(means)))

    def query(self, rows: Representations, domain: Domain, run: Run) -> Iterator[Array]:
        yield np.zeros((len(rows), *domain.shape, 1), dtype=np.float32)  # type: ignore[union-attr]

    def facts(self) -> FitterFacts:
        return FitterFacts(0, 1, "auto-decoded", "global", pooled=self.pooled)


class Reader:
    """Learns nothing."""

    def train(self, data: NeuralDataSet, run: Run) -> Arrays:
        return {}

    def load(self, state: Arrays) -> None:
        pass

    def facts(self) -> Any:
        return SimpleNamespace(parameters=0, flops=None)


def images(count: int, first: int = 0) -> GridSignals:
    values = np.arange(count * 16, dtype=np.uint8).reshape(count, 4, 4, 1)
    return GridSignals(values, np.zeros(count, dtype=np.int64), np.arange(first, first + count))


def selected() -> Selected:
    train = images(12)
    return Selected(train, images(4, 50), images(5, 100), train.labels, "test", Copies(count=3, pad=1))


@pytest.mark.parametrize(("pooled", "of_a_copy"), [(True, [12]), (False, [5, 5, 2])])
def test_a_copy_of_a_split_is_fitted_in_one_go_where_draws_are_pooled(
    pooled: bool, of_a_copy: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("inrbench.copied.PIECE_BYTES", 5 * 6 * 6 * 4)  # five padded images
    fitter = OffsetFitter(pooled)
    keys = {"train": "t", "fit": "f", "read": "r", "score": "s"}
    run_cell(fitter, cast(Any, Reader()), None, selected(), CellRun(0), Stages(None, keys))
    assert fitter.fitted == [12, *of_a_copy * 2, 4, 5]


@pytest.mark.parametrize(("pooled", "pieces"), [(True, [12, 12, 12]), (False, [5, 5, 2] * 3)])
def test_a_neural_data_set_has_a_shard_for_each_copy_where_draws_are_pooled(
    pooled: bool, pieces: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("inrbench.artefacts.fitting.shard_rows", lambda *_: 5)
    spec = SignalSpec((PartSpec("grid", (4, 4), 2, 1),))
    built = SimpleNamespace(fitter=OffsetFitter(pooled), spec=spec)
    whole = selected()
    making = Fitting(cast(Any, None), cast(Any, built), cast(Any, None), whole, {"train": whole.train}, {}, "cpu")
    assert [piece.rows for piece in making.pieces("train")] == pieces


def test_a_record_says_that_draws_were_pooled_and_nothing_where_they_were_not() -> None:
    cell = resolve("siren", "digits")
    facts = OffsetFitter(False).facts()
    assert "pooled" not in facts_of(cell, facts, selected())
    assert facts_of(cell, replace(facts, pooled=True), selected())["pooled"] is True
    assert FitterFacts(**asdict(facts)).pooled is False


def test_what_training_measures_on_what_it_throws_away_is_a_metric_of_the_cell() -> None:
    keys = {"train": "t", "fit": "f", "read": "r", "score": "s"}
    outcome = run_cell(OffsetFitter(False), None, None, selected(), CellRun(0), Stages(None, keys))
    assert outcome.metrics["fit_psnr_db"] == 21.5
    assert outcome.metrics["psnr_db"] != 21.5
