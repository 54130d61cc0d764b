"""The way the data flows, with a fitter and a reader of a few lines of NumPy."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from inrbench import gathered
from inrbench.cell_run import CellRun
from inrbench.copied import copied
from inrbench.domains import Array, Domain
from inrbench.errors import InrbenchError, Interrupted, NotFinite
from inrbench.interfaces import FitterFacts, Head, ReaderFacts, Run, SubsamplingFitter, Trained
from inrbench.metrics import classification, mean_interval, psnr_db
from inrbench.pipeline import NUM_SAMPLES, Outcome, run_cell
from inrbench.representations import Arrays, Layout, NeuralDataSet, Representations
from inrbench.selection import Selected
from inrbench.settings import Copies
from inrbench.signals import GridSignals, Part, Signals
from inrbench.stages import Stages

SHARD = 8


class MeanFitter:
    """Represents a signal by its mean; every `train` and `fit` is noted."""

    layout = Layout("latent", {"mean": (1,)})
    scope: Any = "global"

    def __init__(self, **behaviour: Any) -> None:
        self.calls: list[str] = []
        self.behaviour = behaviour
        self.shared: Arrays = {}
        self.saw_labels = False

    def train(self, train: Signals, validation: Signals, run: Run, heads: Sequence[Head] = ()) -> Trained:
        self.calls.append(f"train {len(train)}, {len(validation)}")
        self.saw_labels |= train.labels is not None or validation.labels is not None
        states = {head.name: {"classes": np.bincount(head.labels), "share": np.array([head.share])} for head in heads}
        return Trained({"offset": np.array([0.25])}, states, steps=5)

    def load(self, shared: Arrays) -> None:
        self.shared = dict(shared)

    def fit(self, signals: Signals, run: Run) -> Iterator[Representations]:
        self.calls.append(f"fit {len(signals)}")
        self.saw_labels |= signals.labels is not None
        for first in range(0, len(signals) - self.behaviour.get("too_few", 0), SHARD):
            index = range(first, min(first + SHARD, len(signals)))
            means = [signals.observed(i)[0].unit_values().mean() for i in index]
            arrays = {"mean": np.array(means, dtype=np.float32)[:, None]}
            yield Representations(self.layout, arrays, signals.ids[first : first + SHARD], np.zeros(len(means)))

    def query(self, rows: Representations, domain: Domain, run: Run) -> Iterator[Array]:
        for value in rows.arrays["mean"]:
            answer = np.full((1, *domain.shape, 1), value[0], dtype=np.float32)  # type: ignore[union-attr]
            if self.behaviour.get("nan_below", -1.0) > value[0]:
                answer[...] = math.nan
            yield answer

    def facts(self) -> FitterFacts:
        return FitterFacts(7, 1, "shared", self.scope, fit_flops=12.0)


class HoldingOut(MeanFitter):
    """Does not look at some of a signal's points: at the first of its four for odd ids, at two for even ones."""

    def held_out(self, signals: Signals, run: Run) -> Sequence[Array] | None:
        self.calls.append(f"held out of {len(signals)}")
        self.saw_labels |= signals.labels is not None
        if self.behaviour.get("all"):
            return None
        points = {one: [0] if one % 2 else [3, 0] for one in signals.ids.tolist()}
        points[self.behaviour.get("none_of")] = []
        return [np.array(points[one], dtype=np.int64) for one in signals.ids.tolist()]


class Compiling(MeanFitter):
    """Says that each call of `fit` compiled for 100 s, and each of `query` for 10."""

    compile_s = 0.0

    def fit(self, signals: Signals, run: Run) -> Iterator[Representations]:
        self.compile_s += 100.0
        yield from super().fit(signals, run)

    def query(self, rows: Representations, domain: Domain, run: Run) -> Iterator[Array]:
        self.compile_s += 10.0
        yield from super().query(rows, domain, run)


class NearestMean:
    """Reads a mean as the class whose training signals have the nearest one."""

    stages = ("logits",)

    def __init__(self, **behaviour: Any) -> None:
        self.calls: list[str] = []
        self.behaviour = behaviour
        self.state: Arrays = {}
        self.seen: Mapping[str, Any] = {}

    def refuses(self, layout: Layout) -> str | None:
        return None

    def train(self, data: NeuralDataSet, run: Run) -> Arrays:
        self.calls.append("train")
        self.seen = {name: (len(rows), None if y is None else len(y)) for name, (rows, y) in data.splits.items()}
        rows, labels = data.splits["train"]
        assert labels is not None
        means = rows.arrays["mean"][:, 0]
        return {"means": np.array([means[labels == c].mean() for c in range(2)])}

    def load(self, state: Arrays) -> None:
        self.state = dict(state)

    def facts(self) -> ReaderFacts:
        return ReaderFacts(2, flops=4.0)

    def predict(self, rows: Representations, run: Run, *, tap: Any = (), edit: Any = None) -> Arrays:
        means = self.state.get("means", np.array([0.0, 1.0]))
        logits = -np.abs(rows.arrays["mean"] - means[None, :])
        if self.behaviour.get("nan"):
            logits[0, 0] = math.nan
        return {"logits": logits}


def images(count: int, first_id: int = 0, labels: bool = True) -> GridSignals:
    """Dark images of class 0 and bright ones of class 1; a corner of each is 51/255 brighter."""
    values = np.zeros((count, 2, 2, 1), dtype=np.uint8)
    values[1::2] = 102
    values[:, 0, 0] += 51
    return GridSignals(values, np.arange(count) % 2 if labels else None, np.arange(first_id, first_id + count))


def data(scored: int = 20, validation: int = 4, labels: bool = True) -> Selected:
    train = images(12, labels=labels)
    return Selected(train, images(validation, 50, labels), images(scored, 100, labels), train.labels, "test")


KEYS = {"train": "t", "fit": "f", "read": "r", "score": "s"}


def go(
    fitter: MeanFitter, reader: Any = None, share: float | None = None, folder: Path | None = None, **more: Any
) -> tuple[Outcome, CellRun]:
    run = CellRun(0)
    selected = more.pop("selected", None) or data(**more)
    return run_cell(fitter, reader, share, selected, run, Stages(folder, KEYS)), run


# ------------------------------------------------------------------ what comes out


def test_the_metrics_of_a_reconstruction_worked_by_hand() -> None:
    outcome, _ = go(MeanFitter())
    # values a, b, b, b with a - b = 0.2 around their mean: (3/4 · 0.2)² and three times (1/4 · 0.2)², over 4
    mse = (0.15**2 + 3 * 0.05**2) / 4
    np.testing.assert_allclose(outcome.vectors["mse"], mse, rtol=1e-4)
    assert outcome.metrics["psnr_db"] == pytest.approx(float(psnr_db(np.array(mse))), abs=1e-3)
    assert outcome.vectors["ids"].tolist() == list(range(100, 120))
    assert outcome.metrics.keys().isdisjoint({"accuracy"})


def test_the_costs_tell_fitting_and_reading_apart() -> None:
    outcome, run = go(MeanFitter(), NearestMean())
    costs = outcome.costs
    assert (costs["train_steps"], costs["fitter_parameters"], costs["adapted_values"]) == (5.0, 7.0, 1.0)
    assert (costs["reader_parameters"], costs["read_flops_per_signal"], costs["fit_flops_per_signal"]) == (2, 4, 12)
    assert "train_flops_per_signal" not in costs
    assert costs["bytes_per_signal"] == 4.0
    assert costs["fit_s_per_signal"] == pytest.approx(run.seconds["fit"] / 20)
    assert run.seconds.keys() == {"train", "fit_train", "read_train", "fit", "query", "read"}


def test_compiling_is_told_apart_from_fitting_and_querying() -> None:
    outcome, run = go(Compiling(), NearestMean())
    assert outcome.costs["compile_s"] == pytest.approx(330.0, abs=1.0)  # three splits, and three shards to query
    assert run.seconds["fit"] + 100.0 == pytest.approx(0.0, abs=1.0)  # the 100 s were never spent
    assert run.seconds["query"] + 30.0 == pytest.approx(0.0, abs=1.0)


def test_two_stages_fit_both_splits_and_read_the_scored_one() -> None:
    fitter, reader = MeanFitter(), NearestMean()
    outcome, _ = go(fitter, reader)
    assert fitter.calls == ["train 12, 4", "fit 12", "fit 4", "fit 20"]
    assert reader.seen == {"train": (12, 12), "validation": (4, 4)}
    assert outcome.metrics["accuracy"] == 1.0
    again, correct = classification(outcome.vectors["logits"], outcome.vectors["labels"])
    assert again["cross_entropy"] == pytest.approx(outcome.metrics["cross_entropy"], rel=1e-5)
    np.testing.assert_array_equal(correct, outcome.vectors["correct"])


@pytest.mark.parametrize("in_files", [False, True])
def test_a_reader_gets_the_copies_behind_the_signals(
    in_files: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gathered, "IN_MEMORY_BYTES", 0 if in_files else 2**31)
    monkeypatch.setattr("inrbench.copied.PIECE_BYTES", 5 * 4 * 4 * 4)  # five padded images
    seen: list[tuple[Array, Array, Array, Array]] = []

    class Seeing(NearestMean):
        def train(self, data: NeuralDataSet, run: Run) -> Arrays:
            rows, labels = data.splits["train"]
            assert labels is not None
            seen.append((np.array(rows.arrays["mean"])[:, 0], rows.ids, rows.copies, labels))
            return super().train(data, run)

    selected = replace(data(), copies=Copies(count=3, pad=1))
    fitter = MeanFitter()
    go(fitter, Seeing(), folder=tmp_path, selected=selected)
    assert fitter.calls == ["train 12, 4", "fit 12", *["fit 5", "fit 5", "fit 2"] * 2, "fit 4", "fit 20"]
    (means, ids, copies, labels) = seen[0]
    np.testing.assert_array_equal(ids, np.tile(selected.train.ids, 3))
    np.testing.assert_array_equal(copies, np.repeat([0, 1, 2], 12))
    np.testing.assert_array_equal(labels, np.tile(selected.train.labels, 3))  # type: ignore[arg-type]
    for number in (1, 2):
        made = copied(selected.train, selected.copies, number, CellRun(0).rng)
        expected = [made.observed(i)[0].unit_values().mean() for i in range(12)]
        np.testing.assert_array_equal(means[12 * number : 12 * (number + 1)], np.float32(expected))
    assert not np.array_equal(means[:12], means[12:24])
    assert not fitter.saw_labels
    assert not list(tmp_path.rglob("*.npy"))


def test_a_copy_is_fitted_by_draws_of_its_own(tmp_path: Path) -> None:
    class Drawing(MeanFitter):
        def fit(self, signals: Signals, run: Run) -> Iterator[Representations]:
            drawn = [run.rng("start", one).random() for one in signals.ids.tolist()]
            arrays = {"mean": np.array(drawn, dtype=np.float32)[:, None]}
            yield Representations(self.layout, arrays, signals.ids, np.zeros(len(drawn), dtype=np.int64))

    seen: list[Array] = []

    class Seeing(NearestMean):
        def train(self, data: NeuralDataSet, run: Run) -> Arrays:
            seen.append(np.array(data.splits["train"][0].arrays["mean"])[:, 0])
            return super().train(data, run)

    go(Drawing(), Seeing(), folder=tmp_path, selected=replace(data(), copies=Copies(count=3, pad=1)))
    (drawn,) = seen
    ids = data().train.ids.tolist()
    np.testing.assert_array_equal(drawn[:12], np.float32([CellRun(0).rng("start", one).random() for one in ids]))
    assert len(np.unique(drawn)) == 3 * 12


def test_joint_training_gives_the_head_its_labels_and_share_and_fits_no_training_signal() -> None:
    fitter, reader = MeanFitter(), NearestMean()
    go(fitter, reader, share=0.01)
    assert fitter.calls == ["train 12, 4", "fit 20"]
    assert reader.calls == []
    assert reader.state["classes"].tolist() == [6, 6]
    assert reader.state["share"].tolist() == [0.01]


def test_a_fitter_never_sees_a_label() -> None:
    for fitter in (MeanFitter(), HoldingOut()):
        go(fitter, NearestMean())
        assert not fitter.saw_labels


def test_samples_have_no_reconstruction_to_measure() -> None:
    fitter = MeanFitter()
    fitter.scope = "samples"
    outcome, _ = go(fitter, NearestMean())
    assert "psnr_db" not in outcome.metrics
    assert "mse" not in outcome.vectors
    assert outcome.metrics["accuracy"] == 1.0


def test_the_estimate_on_points_that_no_fit_saw_worked_by_hand() -> None:
    fitter = HoldingOut()
    assert isinstance(fitter, SubsamplingFitter)
    assert not isinstance(MeanFitter(), SubsamplingFitter)
    outcome, _ = go(fitter)
    plain, _ = go(MeanFitter())
    # a corner is 3/4 · 0.2 from the mean of its signal, each other point 1/4 · 0.2
    corner, mixed = 0.15**2, (0.15**2 + 0.05**2) / 2
    odd = outcome.vectors["ids"] % 2 == 1
    np.testing.assert_allclose(outcome.vectors["mse_estimate"], np.where(odd, corner, mixed), rtol=1e-4)
    each = -10.0 * np.log10(np.where(odd, corner, mixed))
    assert outcome.metrics["psnr_estimate_db"] == pytest.approx(float(each.mean()), abs=1e-3)
    low, high = mean_interval(each)
    assert outcome.metrics["psnr_estimate_db_low"] == pytest.approx(low, abs=1e-3)
    assert outcome.metrics["psnr_estimate_db_high"] == pytest.approx(high, abs=1e-3)
    estimates = {name for name in outcome.metrics if "estimate" in name}
    assert {name: value for name, value in outcome.metrics.items() if name not in estimates} == plain.metrics
    np.testing.assert_array_equal(outcome.vectors["mse"], plain.vectors["mse"])
    assert [call for call in fitter.calls if call.startswith("held out")] == ["held out of 8"] * 2 + ["held out of 4"]


def test_an_estimate_clamps_what_is_predicted() -> None:
    class Bright(HoldingOut):
        def query(self, rows: Representations, domain: Domain, run: Run) -> Iterator[Array]:
            for answer in super().query(rows, domain, run):
                yield answer + 9.0

    outcome, _ = go(Bright())
    corners = (data().scored.values[:, 0, 0, 0] / 255.0)[1::2]  # type: ignore[attr-defined]
    np.testing.assert_allclose(outcome.vectors["mse_estimate"][1::2], (1.0 - corners) ** 2, rtol=1e-5)


def test_a_signal_of_which_every_point_was_seen_has_no_part_in_the_estimate() -> None:
    outcome, _ = go(HoldingOut(none_of=107))
    each = outcome.vectors["mse_estimate"]
    assert list(outcome.vectors["ids"][np.isnan(each)]) == [107]
    assert outcome.metrics["psnr_estimate_signals"] == len(each) - 1
    expected = -10.0 * np.log10(each[~np.isnan(each)])
    assert outcome.metrics["psnr_estimate_db"] == pytest.approx(float(expected.mean()), abs=1e-6)


def test_there_is_no_estimate_where_every_point_is_seen() -> None:
    outcome, _ = go(HoldingOut(all=True))
    assert outcome.metrics == go(MeanFitter())[0].metrics
    assert outcome.vectors.keys() == {"ids", "mse"}


def test_samples_have_no_estimate_either() -> None:
    fitter = HoldingOut()
    fitter.scope = "samples"
    outcome, _ = go(fitter, NearestMean())
    assert not any("estimate" in name for name in [*outcome.metrics, *outcome.vectors])


def test_signals_on_domains_of_their_own_have_no_estimate() -> None:
    class Apart(GridSignals):
        def stacked(self) -> Any:
            return None

    whole = data()
    scored = images(20, 100)
    apart = cast(Signals, Apart(scored.values, scored.labels, scored.ids))
    selected = Selected(whole.train, whole.validation, apart, whole.train_labels, "test")
    outcome, _ = go(HoldingOut(), selected=selected)
    assert not any("estimate" in name for name in [*outcome.metrics, *outcome.vectors])
    assert outcome.metrics["psnr_db"] == pytest.approx(go(MeanFitter())[0].metrics["psnr_db"])


def test_signals_on_domains_of_their_own_are_scored_one_by_one() -> None:
    class Apart(GridSignals):
        def stacked(self) -> Any:
            return None

        def scored(self, i: int) -> Sequence[Part]:
            (part,) = self.observed(i)
            half = Part(part.domain, part.values, slice(0, 1), part.to_unit)
            return (half, half)

    def apart(signals: GridSignals) -> Apart:
        return Apart(signals.values, signals.labels, signals.ids)

    whole = data()
    scored = cast(Signals, apart(whole.scored))  # type: ignore[arg-type]
    selected = Selected(whole.train, whole.validation, scored, whole.train_labels, "test")
    np.testing.assert_allclose(
        go(MeanFitter(), selected=selected)[0].vectors["mse"], go(MeanFitter())[0].vectors["mse"]
    )


# ------------------------------------------------------------------ stages


def test_a_finished_stage_is_not_done_again(tmp_path: Path) -> None:
    first, _ = go(MeanFitter(), NearestMean(), folder=tmp_path)
    fitter, reader = MeanFitter(), NearestMean()
    second, _ = go(fitter, reader, folder=tmp_path)
    assert fitter.calls == ["fit 20"]
    assert reader.calls == []
    assert fitter.shared["offset"].tolist() == [0.25]
    assert second.metrics == first.metrics
    assert second.costs["train_steps"] == 5.0


def test_a_trained_head_is_not_trained_again(tmp_path: Path) -> None:
    go(MeanFitter(), NearestMean(), share=0.5, folder=tmp_path)
    fitter, reader = MeanFitter(), NearestMean()
    go(fitter, reader, share=0.5, folder=tmp_path)
    assert fitter.calls == ["fit 20"]
    assert reader.state["share"].tolist() == [0.5]


def test_another_reader_shares_the_training(tmp_path: Path) -> None:
    go(MeanFitter(), NearestMean(), folder=tmp_path)
    fitter, reader = MeanFitter(), NearestMean()
    run_cell(fitter, reader, None, data(), CellRun(0), Stages(tmp_path, {**KEYS, "read": "r2", "score": "s2"}))
    assert fitter.calls == ["fit 12", "fit 4", "fit 20"]
    assert reader.calls == ["train"]


def test_the_first_scored_signals_are_kept(tmp_path: Path) -> None:
    go(MeanFitter(), folder=tmp_path)
    sample = Stages(tmp_path, KEYS).sample()
    assert sample is not None
    assert sample.rows.ids.tolist() == list(range(100, 100 + len(sample.rows)))
    assert 1 <= len(sample.rows) <= NUM_SAMPLES
    assert sample.originals is not None
    np.testing.assert_allclose(sample.originals, images(20).values[: len(sample.rows)] / 255, rtol=1e-6)
    assert sample.shared["offset"].tolist() == [0.25]


def test_representations_that_are_too_large_for_memory_are_read_from_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Looking(NearestMean):
        def train(self, data: NeuralDataSet, run: Run) -> Arrays:
            self.mapped = {n: isinstance(rows.arrays["mean"], np.memmap) for n, (rows, _) in data.splits.items()}
            self.files = sorted(path.name for path in tmp_path.rglob("*.npy"))
            return super().train(data, run)

    in_memory, _ = go(MeanFitter(), first := Looking())
    monkeypatch.setattr(gathered, "IN_MEMORY_BYTES", 4 * 15)  # 12 and 4 rows of one number
    in_files, _ = go(MeanFitter(), second := Looking(), folder=tmp_path)
    assert (first.mapped, first.files) == ({"train": False, "validation": False}, [])
    assert (second.mapped, second.files) == ({"train": True, "validation": True}, ["train-0.npy", "validation-0.npy"])
    assert list(tmp_path.rglob("*.npy")) == []
    assert in_files.metrics == in_memory.metrics
    np.testing.assert_array_equal(in_files.vectors["logits"], in_memory.vectors["logits"])


def test_a_stop_between_two_shards_names_the_work() -> None:
    run = CellRun(0)
    run.stop.set()
    with pytest.raises(Interrupted, match="stopped while doing fit test"):
        run_cell(MeanFitter(), None, None, data(), run, Stages(None, KEYS))


# ------------------------------------------------------------------ what goes wrong


def test_too_few_representations_are_an_error() -> None:
    with pytest.raises(InrbenchError, match="the fitter gave 16 representations for 20 "):
        go(MeanFitter(too_few=4))


def test_too_few_representations_of_the_training_signals_are_an_error() -> None:
    with pytest.raises(InrbenchError, match="the fitter gave 8 representations for 12 train signals"):
        go(MeanFitter(too_few=4), NearestMean(), validation=0)


def test_a_reconstruction_that_is_not_finite_names_the_first_signal() -> None:
    with pytest.raises(NotFinite, match=r"the reconstruction of signal 100 is not finite \(4 such in this shard\)"):
        go(MeanFitter(nan_below=0.2))


def test_logits_that_are_not_finite_are_an_error() -> None:
    with pytest.raises(NotFinite, match="the reader's logits are not finite"):
        go(MeanFitter(), NearestMean(nan=True))


def test_a_reader_without_labels_is_an_error_before_any_training() -> None:
    fitter = MeanFitter()
    with pytest.raises(InrbenchError, match="the reader needs labels, and this data set has none"):
        go(fitter, NearestMean(), share=0.1, labels=False)
    assert fitter.calls == []


def test_no_reader_needs_no_labels() -> None:
    assert go(MeanFitter(), labels=False)[0].metrics.keys() >= {"psnr_db", "psnr_median_db"}
