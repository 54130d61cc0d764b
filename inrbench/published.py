"""Published values: rows of the papers' tables, selected by a sweep, carried into records, and compared with ours.

They stand in ``published.yaml`` beside the sweep: papers, each with its source and its tables. Accuracy is printed
there in %, PSNR in dB, IoU in [0, 1], ``[mean, sd]`` where the paper prints both, null where it prints none.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

from inrbench.errors import UnknownName, UsageError, nearest
from inrbench.plain_yaml import read_plain

__all__ = ["FILE", "SCALES", "PublishedRow", "PublishedTable", "badge", "load_table", "selected"]

FILE = "published.yaml"
#: What a table prints of a metric, for 1 in a record: accuracy in %, PSNR in dB, IoU in [0, 1].
SCALES = {
    "accuracy": 100.0,
    "psnr_db": 1.0,
    "psnr_estimate_db": 1.0,
    "psnr_video_db": 1.0,
    "psnr_audio_db": 1.0,
    "iou": 1.0,
    "fit_psnr_db": 1.0,
}
#: A metric's name in a badge.
NAMES = {
    "accuracy": "accuracy",
    "psnr_db": "PSNR",
    "psnr_estimate_db": "PSNR estimate",
    "psnr_video_db": "PSNR of the picture",
    "psnr_audio_db": "PSNR of the sound",
    "iou": "IoU",
    "fit_psnr_db": "fit PSNR",
}
#: More than any paper prints: 55.79 % is 0.5579.
DIGITS = 8


@dataclass(frozen=True)
class PublishedTable:
    """One table of a paper: its rows by column, as printed."""

    name: str  # mwt.table4
    title: str
    source: str
    rows: tuple[Mapping[str, Any], ...]

    @property
    def columns(self) -> list[str]:
        """Every column that a row has."""
        return list(dict.fromkeys(column for row in self.rows for column in row))

    def row(self, wanted: Mapping[str, Any]) -> Mapping[str, Any]:
        """The row whose columns have the values of ``wanted``. Raises UsageError where that is not exactly one."""
        left = list(self.rows)
        for column, value in wanted.items():
            if column not in self.columns:
                raise UnknownName(f"{self.name} has no column {column!r}; {nearest(column, self.columns)}")
            found = [row for row in left if column in row and _same(row[column], value)]
            if not found:
                there = ", ".join(dict.fromkeys(str(row[column]) for row in left if column in row))
                raise UsageError(f"no row of {self.name} has {column} {value}; there are: {there or 'none'}")
            left = found
        if len(left) != 1:
            raise UsageError(f"{len(left)} rows of {self.name} fit {dict(wanted)}; name more of: {self._columns()}")
        return left[0]

    def metrics(self, row: Mapping[str, Any], columns: Mapping[str, str | None]) -> dict[str, float]:
        """What ``row`` prints, in the units of a record: ``accuracy`` in [0, 1], PSNR in dB, and each one's ``_sd``.

        ``columns`` names the column of a metric; without a name it is the column called as the metric, if there is one.
        Raises UnknownName for a named column that the table does not have.
        """
        found: dict[str, float] = {}
        for metric, scale in SCALES.items():
            column = columns.get(metric)
            if column is not None and column not in self.columns:
                raise UnknownName(f"{self.name} has no column {column!r}; {nearest(column, self.columns)}")
            printed = row.get(column or metric)
            if printed is None or (column is None and metric in columns.values()):
                continue
            mean, *sd = printed if isinstance(printed, list) else [printed]
            if not all(isinstance(number, int | float) for number in (mean, *sd)):
                raise UsageError(f"column {column or metric!r} of {self.name} holds no number: {printed!r}")
            found[metric] = round(mean / scale, DIGITS)
            if sd:
                found[f"{metric}_sd"] = round(sd[0] / scale, DIGITS)
        return found

    def _columns(self) -> str:
        return ", ".join(self.columns)


@dataclass(frozen=True)
class PublishedRow:
    """A row of a paper's table without a cell of ours: another paper's method, on one data set."""

    table: PublishedTable
    name: str
    dataset: str
    metrics: Mapping[str, float]


def load_table(folder: Path, name: str) -> PublishedTable:
    """The table ``PAPER.TABLE`` of ``published.yaml`` in ``folder``. Raises UsageError where there is none."""
    path = folder / FILE
    try:
        papers = _read(path, path.stat().st_mtime_ns)
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"published values {str(path)!r} cannot be read: {error}") from error
    except (yaml.YAMLError, ValueError) as error:
        raise UsageError(f"published values {str(path)!r} are not YAML: {' '.join(str(error).split())}") from error
    tables = {
        f"{paper}.{table}": PublishedTable(
            f"{paper}.{table}", str(values.get("title", "")), str(content.get("source", "")), tuple(values["rows"])
        )
        for paper, content in papers.items()
        for table, values in content["tables"].items()
        if isinstance(values, Mapping) and _are_rows(values.get("rows"))
    }
    if name not in tables:
        raise UnknownName(f"no table {name!r} in {str(path)!r}; {nearest(name, tables)}")
    return tables[name]


def selected(table: PublishedTable, wanted: Mapping[str, Any], columns: Mapping[str, str | None]) -> dict[str, Any]:
    """What a cell and its record carry of the one row that ``wanted`` selects. Raises UsageError where it prints none.

    ``changed`` is for the settings in which the cell differs from what the sweep says: it is not compared then.
    """
    metrics = table.metrics(table.row(wanted), columns)
    if not metrics:
        raise UsageError(f"the row {dict(wanted)} of {table.name} prints no accuracy, PSNR or IoU in these columns")
    what = {"table": table.name, "title": table.title, "source": table.source}
    return {**what, "row": dict(wanted), "metrics": metrics, "changed": []}


def badge(record: Mapping[str, Any], ours: Mapping[str, tuple[float, float]]) -> str:
    """How ``ours``, (mean, half of its 95 % interval) by metric, stands to what ``record`` carries as published.

    ``reproduced``: the published mean lies in our interval, or within 2 published standard deviations of our mean;
    else ours is ``above`` or ``below``. A cell that differs from the published one in more than its result is not
    compared: the badge says what differs.
    """
    published = record["published"]
    reasons = {
        "other profile": record["profile"] != "paper",
        "unofficial data": not record["data"]["official"],
        f"other settings: {', '.join(published['changed'])}": bool(published["changed"]),
    }
    if any(reasons.values()):
        return ", ".join(reason for reason, holds in reasons.items() if holds)
    said = []
    for metric, name in NAMES.items():
        mean, half = ours.get(metric, (math.nan, math.nan))
        if metric not in published["metrics"] or math.isnan(mean):
            continue
        difference = mean - published["metrics"][metric]
        near = max(0.0 if math.isnan(half) else half, 2.0 * published["metrics"].get(f"{metric}_sd", 0.0))
        said.append(f"{name} " + ("reproduced" if abs(difference) <= near else "above" if difference > 0 else "below"))
    return ", ".join(said)


@lru_cache(maxsize=4)
def _read(path: Path, _mtime_ns: int) -> Mapping[str, Any]:
    """The papers of the file. Raises ValueError where it is laid out otherwise."""
    tree = read_plain(path.read_text(encoding="utf-8"))
    papers: Sequence[Any] = list(tree.values()) if isinstance(tree, Mapping) else [None]
    if not all(isinstance(paper, Mapping) and isinstance(paper.get("tables"), Mapping) for paper in papers):
        raise ValueError("it must map papers to their `source` and `tables`")
    return dict(tree)


def _are_rows(rows: Any) -> bool:
    return isinstance(rows, list) and all(isinstance(row, Mapping) for row in rows)


def _same(printed: Any, wanted: Any) -> bool:
    """Equal, where true is not 1."""
    return bool(printed == wanted) and isinstance(printed, bool) == isinstance(wanted, bool)
