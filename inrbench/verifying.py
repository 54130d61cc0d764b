"""Verifying a record: its metrics computed once more from its vectors, and its kept representations queried again.

The vectors of a record hold the squared error and the logits of every scored signal. Of the first scored signals the
cache keeps the representations: the fitter, loaded as it was trained, answers for them again, and the errors must be
those that were recorded.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from inrbench import metrics
from inrbench.artefacts.opened import replace_reader
from inrbench.cell_run import CellRun
from inrbench.domains import Array
from inrbench.errors import InrbenchError
from inrbench.keys import stage_keys
from inrbench.records import vectors_of
from inrbench.render import cell_of, originals_of
from inrbench.runner import num_threads
from inrbench.scoring import errors_of
from inrbench.stages import Sample, Stages, cache_folder

__all__ = ["Check", "Verified", "verify"]

Record = Mapping[str, Any]
#: How far a metric may be from the same arithmetic on another machine: a share of it, or of 1 where it is smaller.
SAME_ARITHMETIC = 1e-9
#: Cross-entropy is in nats of logits that are stored in single precision: a share of the largest logit.
SINGLE_PRECISION = 1e-6
#: How far the root of a signal's squared error may be where its field is queried again, for values in [0, 1]: no
#: further than the values themselves, which other batches and threads round otherwise.
QUERIED_AGAIN = 1e-5
#: The same on another kind of device, or where products are of bfloat16.
OTHER_PRODUCTS = 1e-2


@dataclass(frozen=True)
class Check:
    """One number: as recorded, as computed now, and how far they may be apart."""

    name: str
    recorded: float
    recomputed: float
    allowed: float = 0.0

    @property
    def difference(self) -> float:
        """Recomputed - recorded; 0 where there is none of both."""
        return 0.0 if math.isnan(self.recorded) and math.isnan(self.recomputed) else self.recomputed - self.recorded

    @property
    def holds(self) -> bool:
        """Whether the record says what was computed now."""
        return abs(self.difference) <= self.allowed


@dataclass(frozen=True)
class Verified:
    """What could be checked of a record, and what could not."""

    cell: str
    checks: tuple[Check, ...]
    queried: int  # signals whose representations were queried again
    notes: tuple[str, ...]

    @property
    def wrong(self) -> list[Check]:
        """What does not hold."""
        return [check for check in self.checks if not check.holds]


def verify(record: Record, folder: Path, *, query: bool = True, data_root: Path | None = None) -> Verified:
    """Check a good record in ``folder``. Without ``query`` the vectors alone are looked at, and no framework is loaded.

    Raises RecordError or BadData for vectors or a kept sample that are missing or damaged.
    """
    arrays = vectors_of(folder, record)
    checks = _from_vectors(record, arrays)
    known = {check.name for check in checks}
    left = sorted(record["metrics"].keys() - known)
    notes = [f"nothing is stored to recompute: {', '.join(left)}"] if left else []
    queried = 0
    if query and "mse" in arrays:
        sample = _sample(record)
        if sample is None:
            notes.append("its representations are not kept in the cache, so they are not queried again")
        else:
            try:
                more, said = _queried_again(record, arrays, sample, data_root)
            except InrbenchError as error:
                notes.append(f"its representations cannot be queried again: {error}")
            else:
                checks += more
                notes += said
                queried = len(sample.rows)
    return Verified(record["cell"], tuple(checks), queried, tuple(notes))


def _from_vectors(record: Record, arrays: Mapping[str, Array]) -> list[Check]:
    """The metrics that the vectors hold all of."""
    found: dict[str, float] = {}
    allowed = dict.fromkeys(("cross_entropy",), SINGLE_PRECISION)
    checks = []
    if "mse" in arrays:
        found |= metrics.of_vectors(arrays)
    if "logits" in arrays:
        values, correct = metrics.classification(arrays["logits"], arrays["labels"])
        found |= values
        allowed["cross_entropy"] *= max(1.0, float(np.abs(arrays["logits"]).max()))
        checks.append(Check("signals classified otherwise", 0.0, float((correct != arrays["correct"]).sum())))
    for name, value in found.items():
        if name not in record["metrics"]:
            continue  # an earlier version did not record it
        recorded = record["metrics"][name]
        share = allowed.get(name, SAME_ARITHMETIC) * max(1.0, 0.0 if math.isnan(value) else abs(value))
        checks.append(Check(name, math.nan if recorded is None else float(recorded), value, share))
    return checks


def _sample(record: Record) -> Sample | None:
    """The representations that the cell kept; the stages of readings of neural data sets keep none."""
    keys = record["keys"]
    return Stages(cache_folder() / "stages", keys).sample() if "score" in keys and "artefact" not in record else None


def _queried_again(
    record: Record, arrays: Mapping[str, Array], sample: Sample, data_root: Path | None
) -> tuple[list[Check], list[str]]:
    """The error that is furthest from the recorded one, and notes. Raises InrbenchError where none can be had."""
    ids, recorded = arrays["ids"][: len(sample.rows)], np.sqrt(arrays["mse"][: len(sample.rows)])
    if not np.array_equal(ids, sample.rows.ids):
        others = len(set(sample.rows.ids.tolist()) - set(ids.tolist()))
        return [Check("kept signals that are not those that were scored first", 0.0, float(max(1, others)))], []
    cell = cell_of(record)
    notes = []
    kind = record["machine"]["device"].partition(":")[0]
    changed = stage_keys(cell, record["data"]["checksum"], kind)["score"] != record["key"]
    if changed:
        notes.append("code or versions have changed since: the fitter that is asked is today's")
    device = kind
    try:
        device = cell.engine().resolve_device(kind)
    except InrbenchError:
        device = "cpu"
        notes.append(f"it was made on {kind}, which is not here; queried on the cpu")
    threads = min(int(record["machine"]["threads"]), num_threads())
    cell.engine().prepare(device, threads)
    fitter = replace_reader(cell).build().fitter
    entries = originals_of(cell, record, sample, data_root)
    run = CellRun(record["seed"], device=device, threads=threads)
    try:
        fitter.load(sample.shared)
        again = np.sqrt(errors_of(fitter, sample.rows, entries, run).mse)
    except Exception as error:
        if not changed or isinstance(error, InrbenchError):
            raise
        raise InrbenchError(f"today's fitter does not take them ({type(error).__name__}: {error})") from error
    worst = np.unravel_index(int(np.abs(again - recorded).argmax()), again.shape)  # (entry,) or (entry, view)
    loose = device.partition(":")[0] != kind or "bfloat16" in str(record["settings"].get("fitter"))
    allowed = OTHER_PRODUCTS if loose else QUERIED_AGAIN
    name = f"root of squared error, signal {ids[worst[0]]} (the furthest of {again.size})"
    return [Check(name, float(recorded[worst]), float(again[worst]), allowed)], notes
