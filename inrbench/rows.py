"""Rows of tables: a method with its settings, the records of its seeds, and what may be said of two of them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from inrbench.domains import Array
from inrbench.errors import RecordError
from inrbench.metrics import by_signal, mean_interval
from inrbench.published import SCALES, badge
from inrbench.records import vectors_of

__all__ = ["Record", "Row", "lane_of", "paired_difference", "row_of", "told_apart"]

Record = Mapping[str, Any]
SHOWN_SETTINGS = 3
PARTS_NAMES = ("inr.name", "fitter.name", "reader.name", "reader", "joint")


@dataclass(frozen=True)
class Row:
    """One method with one set of settings: the records of its seeds."""

    name: str
    lane: str
    control: bool
    records: tuple[Record, ...]
    folder: Path | None = None  # of the records, where their vectors can be read

    def values(self, metric: str) -> dict[int, float]:
        """The metric by seed; empty where it was not measured."""
        found = {record["seed"]: record["metrics"].get(metric) for record in self.records}
        return {seed: float(value) for seed, value in found.items() if value is not None}

    def by_signal(self, metric: str, seed: int) -> tuple[Array, Array] | None:
        """The signals' ids, and the metric of each for one seed; None where no vectors hold it."""
        record = next(record for record in self.records if record["seed"] == seed)
        try:
            return None if self.folder is None else by_signal(vectors_of(self.folder, record), metric)
        except RecordError:
            return None  # its vectors were not copied with it

    def mean(self, metric: str) -> float:
        """The mean over seeds; NaN where it was not measured."""
        values = list(self.values(metric).values())
        return float(np.mean(values)) if values else math.nan

    def half_interval(self, metric: str) -> float:
        """Half of the 95 % interval: over seeds, or of a single seed over its signals."""
        values = list(self.values(metric).values())
        if len(values) > 1:
            low, high = mean_interval(np.asarray(values))
        elif values:
            low, high = (self.records[0]["metrics"].get(f"{metric}_{end}") for end in ("low", "high"))
            if low is None or high is None:
                return math.nan
        else:
            return math.nan
        return (high - low) / 2.0

    @property
    def metric(self) -> str:
        """What this row is ranked by."""
        return next((metric for metric in ("accuracy", "iou") if self.values(metric)), "psnr_db")

    @property
    def published(self) -> Mapping[str, Any]:
        """What the newest record that holds a published row says of it; empty where none does."""
        newest = sorted(self.records, key=lambda record: str(record["finished"]), reverse=True)
        return next((record["published"] for record in newest if "published" in record), {})

    @property
    def badge(self) -> str:
        """How this row stands to what was published; empty where nothing was."""
        if not self.published:
            return ""
        ours = {metric: (self.mean(metric), self.half_interval(metric)) for metric in SCALES}
        return badge({**self.records[0], "published": self.published}, ours)


def lane_of(record: Record) -> str:
    """Which rows may be ranked together: how the field was initialised, what it covers, labels, copies, views, draws.

    Computed from the record's facts; ``labels in the fit`` means that the fitter was trained with them, ``rendered
    samples`` are values that a fitter's fields were queried for, and with ``pooled draws`` a row depends on the others.
    """
    facts = record["facts"]
    if facts["scope"] == "samples" and not facts.get("rendered"):
        return "raw samples"
    labels = "labels in the fit" if facts["labels_shape_fit"] else "fit without labels"
    copies = "" if facts["copies"] == 1 else f", {facts['copies']} copies"
    if facts["scope"] == "samples":
        return f"rendered samples, {labels}{copies}"
    views = facts.get("observed_views")
    seen = "" if views is None else f", from {views} view{'s' * (views > 1)}"
    augmented = ", augmented" if facts["augmented"] else ""
    pooled = ", pooled draws" if facts.get("pooled") else ""
    return f"{facts['initialisation']}, {facts['scope']}{seen}, {labels}{copies}{augmented}{pooled}"


def paired_difference(first: Row, second: Row, metric: str) -> tuple[float, float, float]:
    """(mean, low, high) of first − second over the seeds that both have, with its 95 % interval by Student's t.

    Where that is one seed, the interval is over the signals that both are scored on.
    """
    ours, theirs = first.values(metric), second.values(metric)
    seeds = sorted(ours.keys() & theirs.keys())
    differences = np.asarray([ours[seed] - theirs[seed] for seed in seeds])
    if len(differences) == 0:
        return math.nan, math.nan, math.nan
    if len(seeds) == 1:
        one, other = (row.by_signal(metric, seeds[0]) for row in (first, second))
        if one is not None and other is not None and np.array_equal(one[0], other[0]):
            return (float(differences.mean()), *mean_interval(one[1].astype(np.float64) - other[1]))
    return (float(differences.mean()), *mean_interval(differences))


def row_of(records: Sequence[Record], folder: Path | None = None) -> Row:
    """The row of ``records`` in ``folder`` with one set of settings; of each seed the newest counts."""
    newest = {record["seed"]: record for record in sorted(records, key=lambda record: str(record["finished"]))}
    ordered = tuple(newest[seed] for seed in sorted(newest))
    first = ordered[0]
    control = first["facts"]["shuffled_labels"] or first["facts"]["scope"] == "samples"
    name = first["label"] or ("shuffled labels" if first["facts"]["shuffled_labels"] else first["method"])
    if first["method"] not in name:
        name = f"{first['method']}, {name}"
    return Row(name, lane_of(first), control, ordered, folder)


def told_apart(names: Sequence[str], settings: Sequence[Mapping[str, Any]], most: int = SHOWN_SETTINGS) -> list[str]:
    """``names`` with the settings behind them that differ between what shares one: of the parts first, then others.

    ``settings`` are by dotted key; at most ``most`` of a kind are named.
    """
    said: list[list[str]] = [[] for _ in names]
    for kind in (PARTS_NAMES, None):
        shared: dict[str, list[int]] = {}
        for i, name in enumerate(names):
            shared.setdefault(f"{name} {said[i]}", []).append(i)
        for indices in shared.values():
            keys = sorted({key for i in indices for key in settings[i] if kind is None or key in kind})
            differ = [key for key in keys if len({str(settings[i].get(key)) for i in indices}) > 1]
            for i in indices:
                said[i] += [f"{key.removesuffix('.name')}={settings[i].get(key)}" for key in differ[:most]]
    return [f"{name} ({', '.join(parts)})" if parts else name for name, parts in zip(names, said, strict=True)]
