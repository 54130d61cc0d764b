"""Plots: how metrics depend on one setting, from records.

A panel is a metric. A line is what is equal in all but that setting: method, data set, profile, scored signals and
every other setting. Its points are means over seeds with 95 % intervals; what a paper printed for them, open markers.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from inrbench import drawing
from inrbench.errors import UnknownName, UsageError, nearest
from inrbench.published import SCALES
from inrbench.rows import Record, Row, row_of, told_apart
from inrbench.trees import flatten

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["Line", "Panel", "Plot", "Point", "axis_of", "draw", "plot_of"]

AXES = {
    "accuracy": "accuracy, %",
    "psnr_db": "PSNR, dB",
    "iou": "IoU",
    "si_snr_db": "SI-SNR, dB",
    "cross_entropy": "cross-entropy, nats",
    "fid": "FID",
    "frechet_classifier": "Fréchet distance, small classifier",
    "frechet_inception": "Fréchet distance, Inception-v3",
    "frechet_latent": "Fréchet distance, latents",
    "frechet_latent_by_class": "Fréchet distance, latents by class",
    "asked_class": "samples of the class asked for, share",
}
#: The panels where none is asked for, as far as they were measured.
PANELS = ("accuracy", "psnr_db", "iou", "fid", "frechet_classifier", "frechet_latent_by_class")
PARTS_NAMES = ("inr.name", "fitter.name", "reader.name")
#: Settings that a line's name, or an error, tells at most.
NAMED_SETTINGS = 6


@dataclass(frozen=True)
class Point:
    """One value of the setting: the mean over seeds and half of its 95 % interval, in the units of the axis."""

    x: Any
    mean: float
    half_interval: float  # NaN where there is none
    published: float | None = None


@dataclass(frozen=True)
class Line:
    """Points that are equal in all but the setting, in its order; the name says how the line differs from others."""

    name: str
    points: tuple[Point, ...]


@dataclass(frozen=True)
class Panel:
    """One metric over the setting."""

    metric: str
    lines: tuple[Line, ...]

    @property
    def axis(self) -> str:
        """The metric with its unit."""
        return axis_of(self.metric)


@dataclass(frozen=True)
class Plot:
    """Panels over one setting."""

    setting: str
    values: tuple[Any, ...]  # all that are drawn, in order
    panels: tuple[Panel, ...]
    tables: tuple[str, ...]  # from which published values come
    left_out: int  # records that no other one equals in all but the setting

    @property
    def numeric(self) -> bool:
        """Whether the values lie on an axis of numbers; else they are categories."""
        return all(_is_number(value) for value in self.values)


def axis_of(metric: str) -> str:
    """What an axis says of a metric, with its unit."""
    unit = ", dB" if metric.endswith("_db") else ""
    name = metric.removesuffix("_db").replace("_", " ")
    return AXES.get(metric, ("PSNR" + name[4:] if name.startswith("psnr") else name) + unit)


def plot_of(records: Iterable[Record], against: str, metrics: Sequence[str] = ()) -> Plot:
    """The good ``records`` as lines against the setting ``against``, a dotted key as `inrbench show` prints it.

    ``metrics`` are names of a record's metrics; of `PANELS` those that there are, if none is given. A part's name
    (``reader.name``) takes that part's other settings with it. Raises UnknownName for a setting or a metric that no
    record holds, UsageError where no two records differ in the setting alone.
    """
    good = [record for record in records if record["status"] == "ok"]
    settings = [dict(flatten(record["settings"])) for record in good]
    known = {key for one in settings for key in one}
    if against not in known:
        raise UnknownName(f"no record holds a setting {against!r}; {nearest(against, known)}")
    measured = {m for record in good for m in record["metrics"] if not m.endswith(("_low", "_high"))}
    if wrong := [metric for metric in metrics if metric not in measured]:
        raise UnknownName(f"no record holds a metric {wrong[0]!r}; {nearest(wrong[0], measured)}")
    groups = _grouped(good, settings, against)
    drawn = [group for group in groups if len(group) > 1]
    if not drawn:
        raise UsageError(_why_no_line(groups, against))
    names = told_apart(
        [_base(group) for group in drawn], [_others(_settings(group), against) for group in drawn], NAMED_SETTINGS
    )
    panels = []
    for metric in dict.fromkeys(metrics) or [metric for metric in PANELS if metric in measured]:
        lines = [Line(name, _points(group, against, metric)) for name, group in zip(names, drawn, strict=True)]
        panels.append(Panel(metric, tuple(line for line in lines if line.points)))
    if not any(panel.lines for panel in panels):
        raise UsageError(f"nothing was measured over {against!r}; known metrics: {', '.join(sorted(measured))}")
    values = _in_order([_value(row, against) for group in drawn for row in group])
    tables = dict.fromkeys(row.published["table"] for group in drawn for row in group if row.published)
    left_out = sum(len(row.records) for group in groups for row in group) - sum(
        len(row.records) for group in drawn for row in group
    )
    return Plot(against, values, tuple(panel for panel in panels if panel.lines), tuple(tables), left_out)


def draw(plot: Plot, out: Path, *, log: bool = False) -> Path:
    """Write ``plot`` as a PNG; the same plot gives the same file. ``log`` is the setting's axis, which can hold 0.

    Raises UsageError where ``log`` is asked of categories, InrbenchError where the file cannot be written.
    """
    if log and not plot.numeric:
        raise UsageError(f"--log needs numbers; {plot.setting} has {', '.join(map(_shown, plot.values))}")
    names = list(dict.fromkeys(line.name for panel in plot.panels for line in panel.lines))
    with drawing.panels(out, 1, len(plot.panels), len(names) + bool(plot.tables)) as (figure, (row,)):
        for panel, axes in zip(plot.panels, row, strict=True):
            _draw_panel(axes, plot, panel, names)
            _scale(axes, plot, log)
        _legend(figure, plot)
    return out


# ------------------------------------------------------------------ records to lines

Group = list[Row]  # equal in all but the setting, in its order


def _grouped(good: Sequence[Record], settings: Sequence[Mapping[str, Any]], against: str) -> list[Group]:
    found: dict[str, dict[str, list[Record]]] = {}
    for record, own in zip(good, settings, strict=True):
        if against in own:
            place = (record["method"], record["dataset"], record["profile"], record["facts"]["scored_checksum"])
            same = json.dumps([place, _others(own, against)], sort_keys=True)
            found.setdefault(same, {}).setdefault(json.dumps(own[against]), []).append(record)
    rows = [[row_of(records) for records in by_value.values()] for by_value in found.values()]
    return [sorted(group, key=lambda row: _place(_value(row, against))) for group in rows]


def _points(group: Group, against: str, metric: str) -> tuple[Point, ...]:
    scale = SCALES.get(metric, 1.0)
    points = []
    for row in group:
        published = row.published.get("metrics", {}).get(metric)
        if row.values(metric):
            half = scale * row.half_interval(metric)
            printed = None if published is None else scale * published
            points.append(Point(_value(row, against), scale * row.mean(metric), half, printed))
    return tuple(points)


def _base(group: Group) -> str:
    """The name that a line starts from; the mark of unofficial data is part of the data set's."""
    record = group[0].records[0]
    return f"{record['method']}, {record['dataset']}, {record['profile']}"


def _settings(group: Group) -> dict[str, Any]:
    return dict(flatten(group[0].records[0]["settings"]))


def _others(settings: Mapping[str, Any], against: str) -> dict[str, Any]:
    """All settings but ``against``, and where that is a part's name, those of the part."""
    part = against.removesuffix("name") if against in PARTS_NAMES else None
    return {key: value for key, value in settings.items() if key != against and not (part and key.startswith(part))}


def _value(row: Row, against: str) -> Any:
    return dict(flatten(row.records[0]["settings"]))[against]


def _why_no_line(groups: Sequence[Group], against: str) -> str:
    values = _in_order([_value(row, against) for group in groups for row in group])
    if len(values) == 1:
        return f"{against} has one value in all records, {_shown(values[0])}; a line needs two"
    differ: set[str] = set()
    for base in {_base(group) for group in groups}:
        same = [_others(_settings(group), against) for group in groups if _base(group) == base]
        differ |= {key for one in same for key in one if any(other.get(key) != one[key] for other in same)}
    named = [*sorted(differ)[:NAMED_SETTINGS], *(["..."] if len(differ) > NAMED_SETTINGS else [])]
    besides = ", ".join(named) or "method, data set, profile or scored signals"
    return f"no two records differ in {against} alone; they differ in {besides} too"


def _in_order(values: Sequence[Any]) -> tuple[Any, ...]:
    """Each value once: numbers by size, then others by their text."""
    return tuple(sorted({json.dumps(value): value for value in values}.values(), key=_place))


def _place(value: Any) -> tuple[bool, float, str]:
    return (not _is_number(value), value if _is_number(value) else 0.0, _shown(value))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _shown(value: Any) -> str:
    if _is_number(value):
        return f"{value:g}"
    return value if isinstance(value, str) else json.dumps(value)


# ------------------------------------------------------------------ lines to a picture


def _draw_panel(axes: Axes, plot: Plot, panel: Panel, names: Sequence[str]) -> None:
    for line in panel.lines:
        style = drawing.style(names.index(line.name))
        where = [point.x if plot.numeric else plot.values.index(point.x) for point in line.points]
        half = [0.0 if math.isnan(point.half_interval) else point.half_interval for point in line.points]
        means = [point.mean for point in line.points]
        axes.errorbar(where, means, half, linestyle=_joined(plot), capsize=3, markersize=5, **style)
        printed = [(x, p.published) for x, p in zip(where, line.points, strict=True) if p.published is not None]
        if printed:
            places = tuple(zip(*printed, strict=True))
            axes.plot(*places, linestyle="none", markersize=9, markerfacecolor="none", **style)
    axes.set_xlabel(plot.setting)
    axes.set_ylabel(panel.axis)
    axes.grid(alpha=0.3)


def _scale(axes: Axes, plot: Plot, log: bool) -> None:
    """The setting's axis: categories, numbers, or their logarithm, linear between 0 and the smallest."""
    from matplotlib.ticker import MaxNLocator

    if not plot.numeric:
        axes.set_xticks(range(len(plot.values)), [_shown(value) for value in plot.values])
        axes.margins(x=0.1)
    elif log:
        smallest = min((abs(value) for value in plot.values if value), default=1.0)
        if min(plot.values) > 0:
            axes.set_xscale("log")
        else:
            axes.set_xscale("symlog", linthresh=smallest)
        axes.set_xticks(list(plot.values), [_shown(value) for value in plot.values])
        axes.set_xticks([], minor=True)
    elif all(isinstance(value, int) for value in plot.values):
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))


def _joined(plot: Plot) -> Literal["-", "none"]:
    """Nothing lies between categories."""
    return "-" if plot.numeric else "none"


def _legend(figure: Figure, plot: Plot) -> None:
    names = dict.fromkeys(line.name for panel in plot.panels for line in panel.lines)
    styles = {name: {"linestyle": _joined(plot), **drawing.style(number)} for number, name in enumerate(names)}
    if plot.tables:
        open_marker = {"color": "grey", "linestyle": "none", "markerfacecolor": "none", "marker": "o", "markersize": 9}
        styles[f"open: published ({', '.join(plot.tables)})"] = open_marker
    drawing.legend(figure, styles)
