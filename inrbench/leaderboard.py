"""Leaderboards: tables of records. Rows rank together only within a lane, and a lane is computed from facts.

A table holds one data set at one profile, scored on the same signals. A row is a method with its settings; it shows the
mean over its seeds and a 95 % interval. Rows whose paired difference is not significant share a rank. What a paper
printed for a row stands beside ours.
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
from inrbench.errors import UsageError
from inrbench.matching import picked, picks, values_of
from inrbench.published import SCALES, PublishedRow
from inrbench.records import read_records
from inrbench.rows import Record, Row, paired_difference, row_of, told_apart
from inrbench.trees import flatten

__all__ = ["Table", "tables", "write"]

HEADERS = ("rank", "method", "accuracy, %", "PSNR, dB", "adapted values", "reader parameters", "seeds", "lane")
#: Behind the measured ones, where a row has something published.
PUBLISHED_HEADERS = {
    "accuracy": "published accuracy, %",
    "psnr_db": "published PSNR, dB",
    "psnr_estimate_db": "published PSNR estimate, dB",
    "psnr_video_db": "published PSNR of the picture, dB",
    "psnr_audio_db": "published PSNR of the sound, dB",
    "iou": "published IoU",
    "fit_psnr_db": "published fit PSNR, dB",
}
#: Metrics that have a column where a row of the table has them: its heading and its digits.
MORE = {
    "psnr_estimate_db": ("PSNR estimate, dB", 2),
    "psnr_video_db": ("PSNR of the picture, dB", 2),
    "psnr_audio_db": ("PSNR of the sound, dB", 2),
    "si_snr_db": ("SI-SNR, dB", 2),
    "iou": ("IoU", 3),
    "fit_psnr_db": ("fit PSNR, dB", 2),
}
NOTE = (
    "Mean over seeds ± half of its 95 % interval (Student's t; with one seed: over signals). Rows rank within a lane "
    "by accuracy, else by IoU or PSNR; rows whose paired difference over seeds (over signals where both "
    "have one seed) is not significant share a rank. Controls are not ranked."
)
#: What is said of a metric where a row of the table has it.
NOTES = {
    "psnr_estimate_db": (
        "PSNR estimate: on points that no step of the fit drew, as many as a step draws or are left over, of the "
        "signals that have such points. Papers that subsample print one."
    ),
    "fit_psnr_db": "Fit PSNR: of training signals by latents that were learned with the fitter and end with that.",
}
BASELINE_NOTE = (
    "− NAME: the mean of the row's paired difference to the row of that name over the seeds that both have (over "
    "signals where that is one), ± half of its 95 % interval."
)
HALVES = ("", "_half_interval")
#: The metrics of the CSV file.
MEASURED = ("accuracy", "psnr_db", *MORE)
#: What rows are compared by with a baseline: as a column's name, its scale and its digits.
COMPARED = {"accuracy": ("accuracy", "points", 100.0, 1), "psnr_db": ("PSNR", "dB", 1.0, 2)}
PUBLISHED_NOTE = (
    "Published: the value as printed (its standard deviation), from {sources}. `reproduced`: it lies in our 95 % "
    "interval, or within 2 of its standard deviations of our mean; else ours is `above` or `below` it. A cell of "
    "another profile, on unofficial data or with other settings is not what was published and is not compared."
)


@dataclass(frozen=True)
class Table:
    """One data set at one profile on the same scored signals."""

    dataset: str
    profile: str
    scored: str
    num_scored: int
    rows: tuple[Row, ...]
    ranks: tuple[int | None, ...] = field(default=())
    only_published: tuple[PublishedRow, ...] = field(default=())
    baselines: Mapping[str, Row | None] = field(default_factory=dict)  # by name; None where this table has no such row

    @property
    def title(self) -> str:
        """``digits, profile laptop: test split, 360 signals``."""
        return f"{self.dataset}, profile {self.profile}: {self.scored} split, {self.num_scored:,} signals"

    def headers(self) -> list[str]:
        """The names of the columns of `cells`."""
        first, last = HEADERS[:4], HEADERS[4:]
        return [
            *first,
            *(MORE[metric][0] for metric in self._more()),
            *(f"{COMPARED[metric][0]} − {name}, {COMPARED[metric][1]}" for name, _, metric in self._compared()),
            *(PUBLISHED_HEADERS[metric] for metric in self._printed()),
            *self._badges("badge"),
            *last,
        ]

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
                    *(_shown(row.mean(metric), row.half_interval(metric), MORE[metric][1]) for metric in self._more()),
                    *(_compared(row, baseline, metric) for _, baseline, metric in self._compared()),
                    *(_as_printed(row.published.get("metrics", {}), metric) for metric in self._printed()),
                    *self._badges(row.badge),
                    f"{costs['adapted_values']:,.0f}",
                    f"{costs['reader_parameters']:,.0f}" if "reader_parameters" in costs else "–",
                    ", ".join(map(str, sorted(record["seed"] for record in row.records))),
                    row.lane,
                ]
            )
        for other in self.only_published:
            printed = [_as_printed(other.metrics, metric) for metric in self._printed()]
            none = ["–"] * (2 + len(self._more()) + len(self._compared()))
            body.append(["published", other.name, *none, *printed, *self._badges(""), "–", "–", "–", "–"])
        return body

    def markdown(self) -> str:
        """The table in Markdown, under its title."""
        from tabulate import tabulate

        text = tabulate(self.cells(), self.headers(), tablefmt="github", disable_numparse=True)
        notes = [
            NOTE,
            *(note for metric, note in NOTES.items() if metric in self._more()),
            *([BASELINE_NOTE] if self._compared() else []),
            *self._sources(),
            *self._unofficial(),
            *self.differences(),
        ]
        return f"## {self.title}\n\n{text}\n\n" + "\n\n".join(notes) + "\n"

    def csv(self) -> str:
        """One line a row, with unrounded values."""
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        printed = [f"{metric}{part}" for metric in SCALES for part in ("", "_sd")]
        writer.writerow(
            ["dataset", "profile", "rank", "method", "lane", "control"]
            + [f"{metric}{part}" for metric in MEASURED for part in HALVES]
            + ["adapted_values", "reader_parameters", "train_s", "seeds", "records"]
            + [f"published_{column}" for column in (*printed, "table")]
            + ["badge"]
            + [f"{metric}_minus_{name}{part}" for name in self.baselines for metric in COMPARED for part in HALVES]
        )
        for row, rank in zip(self.rows, self.ranks, strict=True):
            costs = row.records[0]["costs"]
            measured = [value for metric in MEASURED for value in (row.mean(metric), row.half_interval(metric))]
            metrics = row.published.get("metrics", {})
            writer.writerow(
                [self.dataset, self.profile, rank or "", row.name, row.lane, row.control]
                + ["" if math.isnan(value) else repr(value) for value in measured]
                + [costs["adapted_values"], costs.get("reader_parameters", ""), _mean_cost(row, "train_s")]
                + [" ".join(str(r["seed"]) for r in row.records), " ".join(r["key"][:8] for r in row.records)]
                + [metrics.get(column, "") for column in printed]
                + [row.published.get("table", ""), row.badge]
                + [
                    "" if math.isnan(value) else repr(value)
                    for baseline in self.baselines.values()
                    for metric in COMPARED
                    for value in _difference(row, baseline, metric)
                ]
            )
        for other in self.only_published:
            values = [other.metrics.get(column, "") for column in printed]
            line = [
                self.dataset,
                self.profile,
                "published",
                other.name,
                *[""] * (2 + 2 * len(MEASURED) + 5),
                *values,
                other.table.name,
                *[""] * (1 + len(HALVES) * len(COMPARED) * len(self.baselines)),
            ]
            writer.writerow(line)
        return out.getvalue()

    def differences(self) -> list[str]:
        """Paired differences of the first row against each other one, with their 95 % intervals.

        None where baselines say what to compare with.
        """
        lines: list[str] = []
        if self._compared():
            return lines
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
        over = "seeds" if any(len(row.records) > 1 for row in self.rows) else "signals"
        return [f"Paired differences over {over}, with 95 % intervals:\n\n" + "\n".join(lines)] if lines else []

    def _compared(self) -> list[tuple[str, Row, str]]:
        """The columns that compare rows with a baseline: its name, its row and the metric, where another row has it."""
        return [
            (name, baseline, metric)
            for name, baseline in self.baselines.items()
            for metric in COMPARED
            if baseline is not None and any(row.values(metric) for row in self.rows if row is not baseline)
            if baseline.values(metric)
        ]

    def _more(self) -> list[str]:
        """The metrics beside accuracy and PSNR that a row of this table has."""
        return [metric for metric in MORE if any(row.values(metric) for row in self.rows)]

    def _printed(self) -> list[str]:
        """The metrics of which something was published for a row of this table."""
        found = [row.published.get("metrics", {}) for row in self.rows] + [row.metrics for row in self.only_published]
        return [metric for metric in SCALES if any(metric in metrics for metrics in found)]

    def _badges(self, badge: str) -> list[str]:
        """The badge's column, where this table has one."""
        return [badge] if self._printed() else []

    def _sources(self) -> list[str]:
        """The note on what was published, where this table holds such a thing."""
        tables = {row.published["table"]: row.published["source"] for row in self.rows if row.published}
        tables |= {row.table.name: row.table.source for row in self.only_published}
        sources = "; ".join(f"`{table}` ({source})" for table, source in tables.items())
        return [PUBLISHED_NOTE.format(sources=sources)] if tables else []

    def _unofficial(self) -> list[str]:
        if all(record["data"]["official"] for row in self.rows for record in row.records):
            return []
        return [f"`{self.dataset}` is not the official data set: the mark behind `~` is the hash of the data used."]


def tables(
    folder: Path,
    only_published: Sequence[PublishedRow] = (),
    baselines: Mapping[str, Mapping[str, Any]] | None = None,
) -> list[Table]:
    """The tables of all good records in ``folder``, by data set and profile. Raises RecordError for a damaged one.

    ``only_published`` stand below the rows of their data set, in tables where a row is from their published table.
    ``baselines`` name rows (`inrbench.matching`) that all others of their table are compared with; raises UsageError
    where one picks several rows of a table.
    """
    grouped: dict[tuple[str, str, str], dict[str, list[Record]]] = {}
    for record in read_records(folder):
        if record["status"] != "ok":
            continue
        place = (record["dataset"], record["profile"], record["facts"]["scored_checksum"])
        same = json.dumps([record["method"], record["label"], record["settings"]], sort_keys=True)
        grouped.setdefault(place, {}).setdefault(same, []).append(record)
    found = []
    for (dataset, profile, _), by_settings in sorted(grouped.items()):
        rows = [row_of(records, folder) for records in by_settings.values()]
        names = told_apart([row.name for row in rows], [dict(flatten(row.records[0]["settings"])) for row in rows])
        rows = _ordered([replace(row, name=name) for row, name in zip(rows, names, strict=True)])
        facts = rows[0].records[0]["facts"]
        ranks = tuple(_ranks(rows))
        known = {row.published["table"] for row in rows if row.published}
        called = (dataset, dataset.partition("~")[0])  # unofficial data has its hash behind its name
        below = tuple(row for row in only_published if row.table.name in known and row.dataset in called)
        scored = facts["scored_split"], facts["scored_signals"]
        compared = {name: _baseline(name, wanted, rows) for name, wanted in (baselines or {}).items()}
        found.append(Table(dataset, profile, *scored, tuple(rows), ranks, below, compared))
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


def _baseline(name: str, wanted: Mapping[str, Any], rows: Sequence[Row]) -> Row | None:
    """The one row that is all of ``wanted``; None where none is. Raises UsageError for several."""
    asked = picks(wanted)
    found = []
    for row in rows:
        first = row.records[0]
        if picked(asked, values_of(first["method"], first["dataset"], first["settings"], first["label"])):
            found.append(row)
    if len(found) > 1:
        raise UsageError(
            f"baseline {name!r} is {len(found)} rows of {found[0].records[0]['dataset']}: "
            f"{', '.join(row.name for row in found)}; name more of the one"
        )
    return found[0] if found else None


def _difference(row: Row, baseline: Row | None, metric: str) -> tuple[float, float]:
    """The mean paired difference of ``row`` to ``baseline``, and half of its 95 % interval; NaN where there is none."""
    if baseline is None or row is baseline:
        return math.nan, math.nan
    mean, low, high = paired_difference(row, baseline, metric)
    return mean, (high - low) / 2.0


def _compared(row: Row, baseline: Row, metric: str) -> str:
    _, _, scale, digits = COMPARED[metric]
    mean, half = (scale * value for value in _difference(row, baseline, metric))
    return ("+" if mean > 0 else "") + _shown(mean, half, digits)


def _shown(mean: float, half: float, digits: int) -> str:
    if math.isnan(mean):
        return "–"
    return f"{mean:.{digits}f}" + ("" if math.isnan(half) else f" ± {half:.{digits}f}")


def _as_printed(metrics: Mapping[str, float], metric: str) -> str:
    """The published ``metric`` in the units of a paper's table, its standard deviation behind it."""
    if metric not in metrics:
        return "–"
    scale = SCALES[metric]
    sd = metrics.get(f"{metric}_sd")
    return f"{scale * metrics[metric]:.2f}" + ("" if sd is None else f" ({scale * sd:.2f})")


def _mean_cost(row: Row, cost: str) -> float:
    return float(np.mean([record["costs"].get(cost, math.nan) for record in row.records]))
