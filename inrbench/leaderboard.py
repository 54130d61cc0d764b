"""Leaderboards: tables of records. Rows rank together only within a lane, and a lane is computed from facts.

A table holds one data set at one profile, scored on the same signals. A row is a method with its settings; it shows the
mean over its seeds and a 95 % interval. Rows whose paired difference is not significant share a rank.
"""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from inrbench.arrays import write_atomically
from inrbench.metrics import mean_interval
from inrbench.records import read_records
from inrbench.settings import flatten

__all__ = ["Row", "Table", "lane_of", "paired_difference", "tables", "write"]

Record = Mapping[str, Any]
SHOWN_SETTINGS = 3
PARTS_NAMES = ("inr.name", "fitter.name", "reader.name", "reader", "joint")
HEADERS = ("rank", "method", "accuracy, %", "PSNR, dB", "adapted values", "reader parameters", "seeds", "lane")
NOTE = (
    "Mean over seeds ± half of its 95 % interval (Student's t; with one seed: over signals). Rows rank within a lane "
    "by accuracy, else by PSNR; rows whose paired difference over seeds is not significant share a rank. Controls are "
    "not ranked."
)


@dataclass(frozen=True)
class Row:
    """One method with one set of settings: the records of its seeds."""

    name: str
    lane: str
    control: bool
    records: tuple[Record, ...]

    def values(self, metric: str) -> dict[int, float]:
        """The metric by seed; empty where it was not measured."""
        found = {record["seed"]: record["metrics"].get(metric) for record in self.records}
        return {seed: float(value) for seed, value in found.items() if value is not None}

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
        return "accuracy" if self.values("accuracy") else "psnr_db"


@dataclass(frozen=True)
class Table:
    """One data set at one profile on the same scored signals."""

    dataset: str
    profile: str
    scored: str
    num_scored: int
    rows: tuple[Row, ...]
    ranks: tuple[int | None, ...] = field(default=())

    @property
    def title(self) -> str:
        """``digits, profile laptop: test split, 360 signals``."""
        return f"{self.dataset}, profile {self.profile}: {self.scored} split, {self.num_scored:,} signals"

    def cells(self) -> list[list[str]]:
        """The table's body as text."""
        body = []
        for row, rank in zip(self.rows, self.ranks, strict=True):
            costs = row.records[0]["costs"]
            body.append(
                [
                    "control" if row.control else str(rank),
                    row.name,
                    _shown(100 * row.mean("accuracy"), 100 * row.half_interval("accuracy"), 1),
                    _shown(row.mean("psnr_db"), row.half_interval("psnr_db"), 2),
                    f"{costs['adapted_values']:,.0f}",
                    f"{costs['reader_parameters']:,.0f}" if "reader_parameters" in costs else "–",
                    ", ".join(map(str, sorted(record["seed"] for record in row.records))),
                    row.lane,
                ]
            )
        return body

    def markdown(self) -> str:
        """The table in Markdown, under its title."""
        from tabulate import tabulate

        text = tabulate(self.cells(), HEADERS, tablefmt="github", disable_numparse=True)
        notes = [NOTE, *self._unofficial(), *self.differences()]
        return f"## {self.title}\n\n{text}\n\n" + "\n\n".join(notes) + "\n"

    def csv(self) -> str:
        """One line a row, with unrounded values."""
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        metrics = ("accuracy", "psnr_db")
        writer.writerow(
            ["dataset", "profile", "rank", "method", "lane", "control"]
            + [f"{metric}{part}" for metric in metrics for part in ("", "_half_interval")]
            + ["adapted_values", "reader_parameters", "train_s", "seeds", "records"]
        )
        for row, rank in zip(self.rows, self.ranks, strict=True):
            costs = row.records[0]["costs"]
            measured = [value for metric in metrics for value in (row.mean(metric), row.half_interval(metric))]
            writer.writerow(
                [self.dataset, self.profile, rank or "", row.name, row.lane, row.control]
                + ["" if math.isnan(value) else repr(value) for value in measured]
                + [costs["adapted_values"], costs.get("reader_parameters", ""), _mean_cost(row, "train_s")]
                + [" ".join(str(r["seed"]) for r in row.records), " ".join(r["key"][:8] for r in row.records)]
            )
        return out.getvalue()

    def differences(self) -> list[str]:
        """Paired differences over seeds of the first row against each other one, with their 95 % intervals."""
        lines = []
        for row in self.rows[1:]:
            metric = "accuracy" if self.rows[0].metric == row.metric == "accuracy" else "psnr_db"
            mean, low, high = paired_difference(self.rows[0], row, metric)
            if math.isnan(low):
                continue
            scale, unit = (100, "points of accuracy") if metric == "accuracy" else (1, "dB")
            lines.append(
                f"- {self.rows[0].name} − {row.name}: {scale * mean:+.1f} {unit} "
                f"[{scale * low:+.1f}, {scale * high:+.1f}]"
            )
        return ["Paired differences over seeds, with 95 % intervals:\n\n" + "\n".join(lines)] if lines else []

    def _unofficial(self) -> list[str]:
        if all(record["data"]["official"] for row in self.rows for record in row.records):
            return []
        return [f"`{self.dataset}` is not the official data set: the mark behind `~` is the hash of the data used."]


def tables(folder: Path) -> list[Table]:
    """The tables of all good records in ``folder``, by data set and profile. Raises RecordError for a damaged one."""
    grouped: dict[tuple[str, str, str], dict[str, list[Record]]] = {}
    for record in read_records(folder):
        if record["status"] != "ok":
            continue
        place = (record["dataset"], record["profile"], record["facts"]["scored_checksum"])
        same = json.dumps([record["method"], record["label"], record["settings"]], sort_keys=True)
        grouped.setdefault(place, {}).setdefault(same, []).append(record)
    found = []
    for (dataset, profile, _), by_settings in sorted(grouped.items()):
        rows = _ordered(_told_apart([_row(records) for records in by_settings.values()]))
        facts = rows[0].records[0]["facts"]
        ranks = tuple(_ranks(rows))
        found.append(Table(dataset, profile, facts["scored_split"], facts["scored_signals"], tuple(rows), ranks))
    return found


def write(found: Sequence[Table], out: Path, title: str = "Leaderboard") -> list[Path]:
    """Write the tables to ``out`` as Markdown and as CSV; returns both paths.

    ``out`` is a folder, which gets ``leaderboard.md`` and ``leaderboard.csv``, or the Markdown file itself.
    """
    page = out if out.suffix == ".md" else out / "leaderboard.md"
    text = f"# {title}\n\nMade from records by `inrbench leaderboard`; not edited by hand.\n\n"
    text += "\n".join(table.markdown() for table in found)
    lines = [table.csv() for table in found]
    body = "".join([*lines[:1], *(line.partition("\n")[2] for line in lines[1:])])
    paths = [page, page.with_suffix(".csv")]
    for path, content in zip(paths, (text, body), strict=True):
        write_atomically(path, content.encode())
    return paths


def lane_of(record: Record) -> str:
    """Which rows may be ranked together: how the field was initialised, what one representation covers, labels, copies.

    Computed from the record's facts; ``labels in the fit`` means that the fitter was trained with them.
    """
    facts = record["facts"]
    if facts["scope"] == "samples":
        return "raw samples"
    labels = "labels in the fit" if facts["labels_shape_fit"] else "fit without labels"
    copies = "" if facts["copies"] == 1 else f", {facts['copies']} copies"
    return f"{facts['initialisation']}, {facts['scope']}, {labels}{copies}" + (
        ", augmented" if facts["augmented"] else ""
    )


def paired_difference(first: Row, second: Row, metric: str) -> tuple[float, float, float]:
    """(mean, low, high) of first − second over the seeds that both have, with its 95 % interval by Student's t."""
    ours, theirs = first.values(metric), second.values(metric)
    seeds = sorted(ours.keys() & theirs.keys())
    differences = np.asarray([ours[seed] - theirs[seed] for seed in seeds])
    if len(differences) == 0:
        return math.nan, math.nan, math.nan
    return (float(differences.mean()), *mean_interval(differences))


def _row(records: Sequence[Record]) -> Row:
    newest = {record["seed"]: record for record in sorted(records, key=lambda record: str(record["finished"]))}
    ordered = tuple(newest[seed] for seed in sorted(newest))
    first = ordered[0]
    control = first["facts"]["shuffled_labels"] or first["facts"]["scope"] == "samples"
    name = first["label"] or ("shuffled labels" if first["facts"]["shuffled_labels"] else first["method"])
    if first["method"] not in name:
        name = f"{first['method']}, {name}"
    return Row(name, lane_of(first), control, ordered)


def _told_apart(rows: Sequence[Row]) -> list[Row]:
    """The rows with names of their own: where some share one, the settings that differ between them follow it."""
    result = []
    for row in rows:
        same = [dict(flatten(other.records[0]["settings"])) for other in rows if other.name == row.name]
        own = dict(flatten(row.records[0]["settings"]))
        keys = sorted({key for settings in same for key in settings.keys() | own.keys()})
        differ = [key for key in keys if any(settings.get(key) != own.get(key) for settings in same)]
        parts = [key for key in differ if key in PARTS_NAMES]
        said = ", ".join(f"{key.removesuffix('.name')}={own.get(key)}" for key in (parts or differ)[:SHOWN_SETTINGS])
        result.append(replace(row, name=f"{row.name} ({said})") if said else row)
    return result


def _ordered(rows: Sequence[Row]) -> list[Row]:
    """Lanes by their best row, best row first; controls last."""

    def score(row: Row) -> tuple[bool, float]:
        return row.metric == "accuracy", row.mean(row.metric)

    best: dict[str, tuple[bool, float]] = {}
    for row in rows:
        if not row.control:
            best[row.lane] = max(best.get(row.lane, (False, -math.inf)), score(row))

    def place(row: Row) -> tuple[Any, ...]:
        lane = best.get(row.lane, (False, -math.inf))
        return (row.control, not lane[0], -lane[1], row.lane, not score(row)[0], -score(row)[1], row.name)

    return sorted(rows, key=place)


def _ranks(rows: Sequence[Row]) -> list[int | None]:
    """Within a lane, 1 is best; a row that the row before it does not significantly beat shares that row's rank."""
    ranks: list[int | None] = []
    for i, row in enumerate(rows):
        place = [r for r in rows[:i] if r.lane == row.lane and not r.control]
        if row.control:
            ranks.append(None)
        elif not place:
            ranks.append(1)
        else:
            _, low, _ = paired_difference(place[-1], row, row.metric)
            beaten = low > 0.0 and place[-1].metric == row.metric
            ranks.append(len(place) + 1 if beaten or place[-1].metric != row.metric else ranks[i - 1])
    return ranks


def _shown(mean: float, half: float, digits: int) -> str:
    if math.isnan(mean):
        return "–"
    return f"{mean:.{digits}f}" + ("" if math.isnan(half) else f" ± {half:.{digits}f}")


def _mean_cost(row: Row, cost: str) -> float:
    return float(np.mean([record["costs"].get(cost, math.nan) for record in row.records]))
