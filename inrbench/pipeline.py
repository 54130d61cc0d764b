"""The way the data flows: signals -> fitter -> neural data set -> reader -> metrics. Read `run_cell` from the top.

This module's source is part of every stage's key.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from inrbench import metrics
from inrbench.cell_run import CellRun
from inrbench.copied import copied, pieces
from inrbench.domains import Array
from inrbench.errors import InrbenchError, NotFinite
from inrbench.gathered import gathered, room_for
from inrbench.interfaces import Classifier, CompilingFitter, Fitter, Head, Reader, Trained
from inrbench.representations import NeuralDataSet, Representations
from inrbench.scoring import Errors, check_finite, errors_of
from inrbench.selection import Selected
from inrbench.settings import Copies
from inrbench.signals import Signals
from inrbench.stages import Stages

__all__ = ["Outcome", "heads_of", "run_cell", "trained_fitter"]

#: Scored signals of which the representations are kept, for pictures and for checking a record.
NUM_SAMPLES = 16


@dataclass(frozen=True)
class Outcome:
    """What a cell leaves behind: metrics, costs, and one value for each scored signal."""

    metrics: dict[str, float]
    costs: dict[str, float]
    vectors: dict[str, Array] = field(default_factory=dict)


def run_cell(
    fitter: Fitter, reader: Reader | None, share: float | None, data: Selected, run: CellRun, stages: Stages
) -> Outcome:
    """One cell. ``share`` is the part of the reader's gradient that reaches the fitter in joint training, or None.

    Every finished stage is kept in ``stages`` under its key and is not done again.
    """
    joint = share is not None and reader is not None
    trained = trained_fitter(fitter, heads_of(reader, share, data), data, run, stages)

    if joint:
        assert reader is not None
        reader.load(trained.heads["reader"])
    elif reader is not None:
        state = stages.trained("read", run)
        if state is None:
            num_rows = len(data.train) * data.copies.count + len(data.validation)
            with room_for(fitter.layout, num_rows, stages.path("fit")) as folder:
                neural = _neural_data_set(fitter, trained, data, run, stages, folder)
                with run.clock("read_train"), run.checkpoints_in(stages.path("read")):
                    state = Trained(reader.train(neural, run))
            stages.keep_trained("read", state, run)
        reader.load(state.shared)

    with run.checkpoints_in(stages.path("score")):
        return _score(fitter, reader, trained, data, run, stages)


def heads_of(reader: Reader | None, share: float | None, data: Selected) -> list[Head]:
    """What trains with the fitter: the reader where it takes a ``share`` in joint training, else nothing."""
    return [] if share is None or reader is None else [Head("reader", reader, share, _labels(data))]


def trained_fitter(fitter: Fitter, heads: Sequence[Head], data: Selected, run: CellRun, stages: Stages) -> Trained:
    """The fitter trained and loaded; what an earlier run kept is taken up."""
    trained = stages.trained("train", run)
    if trained is None:
        with run.clock("train"), run.checkpoints_in(stages.path("train")):
            held_out = data.validation if data.held_out is None else data.held_out
            trained = fitter.train(data.train.unlabelled(), held_out.unlabelled(), run, heads)
        stages.keep_trained("train", trained, run)
    fitter.load(trained.shared)
    return trained


def _neural_data_set(
    fitter: Fitter, trained: Trained, data: Selected, run: CellRun, stages: Stages, folder: Path | None
) -> NeuralDataSet:
    """Training signals with their copies, and validation signals, as representations for a reader of its own."""
    count = data.copies.count
    splits = {"train": (data.train, np.tile(_labels(data), count), count)}
    if len(data.validation):
        splits["validation"] = (data.validation, _checked_labels(data.validation), 1)
    rows = {}
    for name, (signals, labels, copies) in splits.items():
        shards = _fitted_with_copies(fitter, signals, data.copies, copies, run, stages, name)
        fitted = gathered(shards, len(signals) * copies, folder, name)
        if not np.array_equal(fitted.ids, np.tile(signals.ids, copies)):
            raise InrbenchError(f"the fitter gave {len(fitted)} representations for {len(signals)} {name} signals")
        rows[name] = (fitted, labels)
    return NeuralDataSet(trained.shared, rows, {"keys": stages.keys})


def _fitted_with_copies(
    fitter: Fitter, signals: Signals, copies: Copies, count: int, run: CellRun, stages: Stages, name: str
) -> Iterator[Representations]:
    """The rows of ``signals``, then those of their copies from 1 to ``count`` - 1."""
    with run.checkpoints_in(stages.path("fit"), f"{name}-"):
        yield from _fitted(fitter, signals, run, f"fit {name}", clock="fit_train")
    for number in range(1, count):
        for i, piece in enumerate(pieces(signals, copies, whole=fitter.facts().pooled)):
            entries = copied(signals.take(np.arange(piece.start, piece.stop)), copies, number, run.rng)
            # the key of reading knows what copies are
            with run.of_copy(number), run.checkpoints_in(stages.path("read"), f"copy-{number}-{i}-"):
                for rows in _fitted(fitter, entries, run, f"fit copy {number} of {name}", clock="fit_train"):
                    yield replace(rows, copies=np.full(len(rows), number, dtype=np.int64))


def _score(
    fitter: Fitter, reader: Reader | None, trained: Trained, data: Selected, run: CellRun, stages: Stages
) -> Outcome:
    """Fit the scored split shard by shard; query and read each shard while it is there."""
    errors: list[Errors] = []
    logits = []
    represents = fitter.facts().scope != "samples"  # the samples themselves have no reconstruction to measure
    start = 0
    for rows in _fitted(fitter, data.scored, run, f"fit {data.scored_split}", "fit"):
        if not np.array_equal(rows.ids, data.scored.ids[start : start + len(rows)]):
            raise InrbenchError(f"the fitter's rows from {start} on are not those of the scored signals, in order")
        entries = data.scored.take(np.arange(start, start + len(rows)))
        if represents:
            with _clock("query", fitter, run):
                errors.append(errors_of(fitter, rows, entries, run))
            check_finite(errors[-1], entries.ids)
        if isinstance(reader, Classifier):
            with run.clock("read"):
                logits.append(np.asarray(reader.predict(rows, run)["logits"]))
        if start < NUM_SAMPLES:
            stages.keep_sample(rows.take(slice(0, NUM_SAMPLES - start)), trained.shared, start, entries)
        start += len(rows)
    if start != len(data.scored):
        raise InrbenchError(f"the fitter gave {start} representations for {len(data.scored)} scored signals")

    values: dict[str, float] = dict(trained.metrics)
    vectors: dict[str, Array] = {"ids": data.scored.ids}
    if represents:
        vectors |= {"mse": np.concatenate([shard.mse for shard in errors])}
        vectors |= {name: np.concatenate([shard.parts[name] for shard in errors]) for name in errors[0].parts}
        estimate = np.concatenate([shard.unseen for shard in errors])
        if np.isfinite(estimate).any():  # a signal of which every point was seen has none
            vectors["mse_estimate"] = estimate
        values |= metrics.of_vectors(vectors, np.concatenate([shard.unclamped for shard in errors]))
    if logits:
        read = np.concatenate(logits)
        labels = _checked_labels(data.scored)
        if not np.isfinite(read).all():
            raise NotFinite("the reader's logits are not finite")
        accuracy, correct = metrics.classification(read, labels)
        values |= accuracy
        vectors |= {"logits": read.astype(np.float32), "labels": labels, "correct": correct}
    return Outcome(values, _costs(fitter, reader, trained, data, run), vectors)


def _fitted(fitter: Fitter, signals: Signals, run: CellRun, name: str, clock: str) -> Iterator[Representations]:
    """The fitter's shards with progress counted in signals; only the fitter's own time counts on ``clock``."""
    shards = fitter.fit(signals.unlabelled(), run)
    with run.progress.task(name, len(signals)) as task:
        while True:
            with _clock(clock, fitter, run):
                rows = next(shards, None)
            if rows is None:
                return
            yield rows
            task.advance(len(rows))
            run.stop_here(name)


@contextlib.contextmanager
def _clock(name: str, fitter: Fitter, run: CellRun) -> Iterator[None]:
    """As `CellRun.clock`, with what the fitter compiles meanwhile on a clock of its own."""

    def compiled() -> float:
        return fitter.compile_s if isinstance(fitter, CompilingFitter) else 0.0

    before = compiled()
    with run.clock(name):
        yield
    if spent := compiled() - before:
        run.seconds[name] -= spent
        run.seconds["compile"] = run.seconds.get("compile", 0.0) + spent


def _costs(fitter: Fitter, reader: Reader | None, trained: Trained, data: Selected, run: CellRun) -> dict[str, float]:
    """What the cell cost, fitting and reading apart."""
    facts = fitter.facts()
    scored = max(1, len(data.scored))
    seconds = run.seconds
    costs: dict[str, float] = {
        "train_s": seconds.get("train", 0.0) - trained.compile_s,
        "compile_s": trained.compile_s + seconds.get("compile", 0.0),
        "train_steps": float(trained.steps),
        "fit_s": seconds.get("fit", 0.0),
        "fit_s_per_signal": seconds.get("fit", 0.0) / scored,
        "fit_train_s": seconds.get("fit_train", 0.0),
        "query_s": seconds.get("query", 0.0),
        "read_train_s": seconds.get("read_train", 0.0),
        "read_s": seconds.get("read", 0.0),
        "fitter_parameters": float(facts.parameters),
        "adapted_values": float(facts.adapted_values),
        "bytes_per_signal": 4.0 * fitter.layout.num_values,
    }
    optional: dict[str, Any] = {"train_flops_per_signal": facts.train_flops, "fit_flops_per_signal": facts.fit_flops}
    if reader is not None:
        reader_facts = reader.facts()
        optional |= {"reader_parameters": reader_facts.parameters, "read_flops_per_signal": reader_facts.flops}
    return costs | {name: float(value) for name, value in optional.items() if value is not None}


def _labels(data: Selected) -> Array:
    if data.train_labels is None:
        raise InrbenchError("the reader needs labels, and this data set has none")
    return data.train_labels


def _checked_labels(signals: Signals) -> Array:
    if signals.labels is None:
        raise InrbenchError("the reader needs labels, and this data set has none")
    return signals.labels
