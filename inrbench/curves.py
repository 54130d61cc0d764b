"""Curves: how good fits were on their way, against steps and against seconds of fitting, from the logs of records.

A point is an evaluation that a fit logged with ``fit_s``, its seconds until then without evaluations. A line is what is
equal in all but the seed, a point of it the mean over the seeds after the same number of steps, with a 95 % interval.
All lines of one data set share a panel; there is a row of panels for each data set and metric, a column for each axis.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from inrbench import drawing
from inrbench.cell_run import on_curve
from inrbench.errors import UnknownName, UsageError, nearest
from inrbench.metrics import mean_interval
from inrbench.plot import NAMED_SETTINGS, axis_of
from inrbench.rows import Record, told_apart
from inrbench.trees import flatten

__all__ = ["AGAINST", "Curve", "CurvePanel", "CurvePoint", "Curves", "curves_of", "draw_curves"]

Against = Literal["step", "fit_s"]
#: What a curve can be drawn against, and what its axis says.
AGAINST: Mapping[Against, str] = {"step": "steps", "fit_s": "seconds of fitting"}


@dataclass(frozen=True)
class CurvePoint:
    """After ``step`` steps, which took ``fit_s`` seconds: the mean over seeds and half of its 95 % interval."""

    step: float
    fit_s: float
    mean: float
    half_interval: float  # NaN where there is none


@dataclass(frozen=True)
class Curve:
    """One method with one set of settings; the name says how it differs from the others of its data set."""

    name: str
    points: tuple[CurvePoint, ...]


@dataclass(frozen=True)
class CurvePanel:
    """All curves of one metric on one data set."""

    dataset: str
    metric: str
    curves: tuple[Curve, ...]


@dataclass(frozen=True)
class Curves:
    """Panels, each drawn against each axis."""

    against: tuple[Against, ...]
    panels: tuple[CurvePanel, ...]
    left_out: int  # good records without a curve


def curves_of(records: Iterable[Record], against: Sequence[str], metrics: Sequence[str] = ()) -> Curves:
    """The curves of the good ``records``, of ``metrics``, or of all that were evaluated where none is given.

    Raises UsageError where ``against`` is not of `AGAINST` alone or no record holds a curve, UnknownName for a metric
    that no curve has.
    """
    if wrong := [key for key in against if key not in AGAINST]:
        raise UsageError(f"curves are drawn against {' and '.join(AGAINST)}, not together with {wrong[0]!r}")
    good = [record for record in records if record["status"] == "ok"]
    with_curve = [record for record in good if any(on_curve(point) for point in record.get("log", []))]
    if not with_curve:
        raise UsageError("no record holds a curve; a fit that is run with --set fitter.evaluate=30 logs one")
    known = list(dict.fromkeys(name for record in with_curve for point in _curve(record) for name in point))
    known = [name for name in known if name not in AGAINST]
    if missing := [metric for metric in metrics if metric not in known]:
        raise UnknownName(f"no curve holds a metric {missing[0]!r}; {nearest(missing[0], known)}")
    groups: dict[str, dict[str, list[Record]]] = {}
    for record in with_curve:
        same = json.dumps([record["method"], record["profile"], record["settings"]], sort_keys=True)
        place = json.dumps([record["dataset"], record["facts"]["scored_checksum"]])
        groups.setdefault(place, {}).setdefault(same, []).append(record)
    panels = []
    for own in groups.values():
        dataset = next(iter(own.values()))[0]["dataset"]
        names = _names(list(own.values()))
        for metric in dict.fromkeys(metrics) or known:
            curves = [Curve(name, _points(same, metric)) for name, same in zip(names, own.values(), strict=True)]
            if any(curve.points for curve in curves):
                panels.append(CurvePanel(dataset, metric, tuple(curve for curve in curves if curve.points)))
    keys: tuple[Any, ...] = tuple(dict.fromkeys(against))
    return Curves(keys, tuple(panels), len(good) - len(with_curve))


def draw_curves(curves: Curves, out: Path, *, log: bool = False) -> Path:
    """Write ``curves`` as a PNG; the same curves give the same file. ``log`` is the axis of steps and seconds."""
    names = list(dict.fromkeys(curve.name for panel in curves.panels for curve in panel.curves))
    styles = {name: drawing.style(number) for number, name in enumerate(names)}
    with drawing.panels(out, len(curves.panels), len(curves.against), len(names)) as (figure, rows):
        for panel, row in zip(curves.panels, rows, strict=True):
            for against, axes in zip(curves.against, row, strict=True):
                for curve in panel.curves:
                    where = [getattr(point, against) for point in curve.points]
                    half = [0.0 if math.isnan(point.half_interval) else point.half_interval for point in curve.points]
                    means = [point.mean for point in curve.points]
                    axes.errorbar(where, means, half, capsize=3, markersize=4, **styles[curve.name])
                if log:
                    axes.set_xscale("log")
                axes.set_xlabel(AGAINST[against])
                axes.set_ylabel(axis_of(panel.metric))
                axes.set_title(panel.dataset)
                axes.grid(alpha=0.3, which="both")
        drawing.legend(figure, styles)
    return out


def _curve(record: Record) -> list[Mapping[str, float]]:
    return [point for point in record["log"] if on_curve(point)]


def _names(groups: Sequence[Sequence[Record]]) -> list[str]:
    first = [group[0] for group in groups]
    names = [f"{record['method']}, {record['profile']}" for record in first]
    return told_apart(names, [dict(flatten(record["settings"])) for record in first], NAMED_SETTINGS)


def _points(group: Sequence[Record], metric: str) -> tuple[CurvePoint, ...]:
    """Of each seed the newest record counts; steps that not all seeds have are none."""
    newest = {record["seed"]: record for record in sorted(group, key=lambda record: str(record["finished"]))}
    seeds = [_by_step(record, metric) for _, record in sorted(newest.items())]
    points = []
    for step in sorted(set.intersection(*(set(one) for one in seeds))):
        seconds, values = (np.asarray(found) for found in zip(*(one[step] for one in seeds), strict=True))
        low, high = mean_interval(values)
        points.append(CurvePoint(step, float(seconds.mean()), float(values.mean()), (high - low) / 2.0))
    return tuple(points)


def _by_step(record: Record, metric: str) -> dict[float, tuple[float, float]]:
    """(seconds, value) by step; of signals that were fitted one after the other the mean."""
    found: dict[float, list[tuple[float, float]]] = {}
    for point in _curve(record):
        if point.get(metric) is not None:
            found.setdefault(point["step"], []).append((point["fit_s"], point[metric]))
    means = {step: np.mean(values, axis=0) for step, values in found.items()}
    return {step: (float(seconds), float(value)) for step, (seconds, value) in means.items()}
