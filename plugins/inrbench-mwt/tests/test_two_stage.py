"""wt-two-stage: the field is wt's to the bit, and the reader trains behind it, on its fits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from inrbench_mwt.meta_sgd import MetaSGD
from inrbench_mwt.weight_transformer import WeightTransformerReader

import inrbench
from inrbench import draws, gathered
from inrbench.cell_run import CellRun
from inrbench.cells import Cell, resolve
from inrbench.interfaces import Head, Run, Trained
from inrbench.keys import STAGES, stage_keys
from inrbench.pipeline import Outcome, run_cell
from inrbench.representations import Arrays, NeuralDataSet, Representations
from inrbench.selection import Selected
from inrbench.signals import GridSignals, Signals
from inrbench.stages import Stages

TINY: dict[str, Any] = {
    "inr": {"width": 6, "depth": 2},
    "fitter": {"steps": 2, "lr": 1e-3, "train": {"steps": 6, "batch_size": 4}},
    "reader": {"blocks": 1, "train": {"steps": 5, "batch_size": 4}},
}
KEYS = {stage: stage for stage in STAGES}


def cell_of(method: str, **fitter: Any) -> Cell:
    return resolve(method, "digits", overrides=[TINY, {"fitter": fitter}])


def images(count: int, first: int) -> GridSignals:
    values = draws.generator(first, "images").integers(0, 256, (count, 8, 8, 1), dtype=np.uint8)
    return GridSignals(values, np.arange(count) % 3, np.arange(first, first + count))


def data() -> Selected:
    train = images(9, 0)
    return Selected(train, images(3, 50), images(5, 100), train.labels, "test")


class Watched:
    """What one cell's parts were called with and gave."""

    def __init__(self, method: str, folder: Path | None = None, share: float | None = None, **fitter: Any) -> None:
        cell = cell_of(method, **fitter)
        built = cell.build()
        assert isinstance(built.fitter, MetaSGD)
        assert isinstance(built.reader, WeightTransformerReader)
        self.fitter, self.reader, self.calls = built.fitter, built.reader, list[str]()
        self.heads: list[Head] = []
        self.neural: NeuralDataSet | None = None
        fit_train, fit, read_train = self.fitter.train, self.fitter.fit, self.reader.train

        def train(train: Signals, validation: Signals, run: Run, heads: Any = ()) -> Trained:
            self.calls.append("train the fitter")
            self.heads = list(heads)
            self.trained = fit_train(train, validation, run, heads)
            return self.trained

        def fitted(signals: Signals, run: Run) -> Any:
            self.calls.append(f"fit {len(signals)}")
            return fit(signals, run)

        def read(data: NeuralDataSet, run: Run) -> Arrays:
            self.calls.append("train the reader")
            self.neural = data
            self.seen = {
                name: Representations.joined([rows.take(np.arange(len(rows)))])
                for name, (rows, _) in data.splits.items()
            }
            self.state = read_train(data, run)
            return self.state

        self.fitter.train, self.fitter.fit, self.reader.train = train, fitted, read  # type: ignore[method-assign,assignment]
        if share is None and cell.joint is not None:
            share = cell.joint.share
        self.run = CellRun(0)
        self.outcome: Outcome = run_cell(self.fitter, self.reader, share, data(), self.run, Stages(folder, KEYS))


def test_the_method_trains_one_after_the_other_and_is_wt_otherwise() -> None:
    wt, apart = resolve("wt", "cifar10"), resolve("wt-two-stage", "cifar10")
    assert wt.joint is not None
    assert wt.joint.share == 0.0
    assert apart.joint is None
    for part in ("data", "inr", "fitter", "reader"):
        assert apart.settings[part] == wt.settings[part], part
        assert apart.plugins[part] == wt.plugins[part], part
    for dataset in ("digits", "mnist", "cifar10", "imagenette"):
        for profile in ("paper", "laptop", "smoke"):
            assert resolve("wt-two-stage", dataset, profile=profile).joint is None


def test_the_fitter_trains_without_heads_and_the_reader_on_its_fits() -> None:
    cell = Watched("wt-two-stage")
    assert cell.calls == ["train the fitter", "fit 9", "fit 3", "train the reader", "fit 5"]
    assert cell.heads == []
    assert cell.trained.heads == {}
    assert cell.neural is not None
    rows, labels = cell.neural.splits["train"]
    np.testing.assert_array_equal(labels, np.arange(9) % 3)
    assert list(rows.ids) == list(range(9))
    fresh = cell_of("wt-two-stage").build().fitter
    fresh.load(cell.trained.shared)
    expected = Representations.joined(fresh.fit(data().train.unlabelled(), CellRun(0)))
    for name, array in expected.arrays.items():
        np.testing.assert_array_equal(cell.seen["train"].arrays[name], array)
    for name, array in cell.reader.state().items():
        np.testing.assert_array_equal(cell.state[name], array)
    assert {"fit_train", "read_train", "train", "fit", "query", "read"} == set(cell.run.seconds)
    assert {"psnr_db", "accuracy", "cross_entropy"} <= set(cell.outcome.metrics)


@pytest.mark.parametrize(
    "more", [{}, {"subsample": 0.3}, {"recompute": True}], ids=["all points", "s = 0.3", "recompute"]
)
def test_its_field_is_that_of_wt_to_the_bit(more: dict[str, Any]) -> None:
    apart, wt = Watched("wt-two-stage", **more), Watched("wt", **more)
    assert wt.calls == ["train the fitter", "fit 5"]
    assert [head.share for head in wt.heads] == [0.0]
    assert apart.trained.shared.keys() == wt.trained.shared.keys()
    for name, array in apart.trained.shared.items():
        np.testing.assert_array_equal(array, wt.trained.shared[name], err_msg=name)
    np.testing.assert_array_equal(apart.outcome.vectors["mse"], wt.outcome.vectors["mse"])
    assert any((array != wt.reader.state()[name]).any() for name, array in apart.reader.state().items())
    start = cell_of("wt", **more).build().fitter
    start.start(CellRun(0))  # type: ignore[attr-defined]
    assert all((array != start.state()[name]).any() for name, array in wt.trained.shared.items())  # type: ignore[attr-defined]
    joint = Watched("wt", share=0.5, **more)
    assert any((array != joint.trained.shared[name]).any() for name, array in wt.trained.shared.items())


def test_fits_that_are_kept_in_files_train_the_same_reader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    in_memory = Watched("wt-two-stage")
    monkeypatch.setattr(gathered, "IN_MEMORY_BYTES", 0)
    in_files = Watched("wt-two-stage", tmp_path)
    assert in_files.neural is not None
    rows, _ = in_files.neural.splits["train"]
    assert all(isinstance(array, np.memmap) for array in rows.arrays.values())
    for name, array in in_memory.state.items():
        np.testing.assert_array_equal(array, in_files.state[name], err_msg=name)
    assert in_files.outcome.metrics == in_memory.outcome.metrics
    assert list(tmp_path.rglob("*.npy")) == []


def test_another_reader_uses_the_same_training_of_the_field() -> None:
    one = stage_keys(cell_of("wt-two-stage"), "c", "cpu")
    other = stage_keys(resolve("wt-two-stage", "digits", overrides=[TINY, {"reader": {"blocks": 2}}]), "c", "cpu")
    assert [stage for stage in STAGES if one[stage] != other[stage]] == ["read", "score"]
    assert one["train"] != stage_keys(cell_of("wt"), "c", "cpu")["train"]


@pytest.mark.cells
def test_a_cell_of_it_is_run_and_recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("inrbench.runner.num_threads", lambda asked=None: 1)
    cells = [f"{method}+digits" for method in ("wt", "wt-two-stage")]
    frames = [inrbench.run(cell, profile="smoke", device="cpu", records=tmp_path, quiet=True) for cell in cells]
    wt, apart = (frame.iloc[0] for frame in frames)
    assert wt["status"] == apart["status"] == "ok"
    assert apart["metrics.psnr_db"] == wt["metrics.psnr_db"]
    assert 0.0 <= apart["metrics.accuracy"] <= 1.0
    assert apart["costs.read_train_s"] > 0.0 == wt["costs.read_train_s"]
