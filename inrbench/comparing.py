"""Comparing two folders of records: cells that both have, by what they are, metric by metric and paired over seeds.

A cell is its method, data set, profile, settings and seed. Its key may differ, since code or versions moved: the
comparison says which. A setting that only one of two versions knows keeps no cells apart where all others are equal
and no third cell could be meant. A row is a cell over its seeds.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from inrbench.errors import UnknownName, UsageError, nearest
from inrbench.metrics import mean_interval
from inrbench.progress import Progress
from inrbench.records import read_record
from inrbench.rows import told_apart
from inrbench.trees import flatten

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Comparison", "Pair", "Paired", "compare", "comparison", "key_differences"]

Record = Mapping[str, Any]
Flat = dict[str, Any]  # settings by dotted key
#: Settings that are named where a cell is in one folder alone.
NAMED_SETTINGS = 3


@dataclass(frozen=True)
class Paired:
    """One metric of a row: its values by seed, first and second."""

    metric: str
    values: Mapping[int, tuple[float, float]]

    @property
    def means(self) -> tuple[float, float]:
        """Over the seeds that both have."""
        first, second = np.asarray(list(self.values.values())).mean(axis=0)
        return float(first), float(second)

    @property
    def difference(self) -> tuple[float, float, float]:
        """(mean, low, high) of second - first, with its 95 % interval by Student's t; NaN for one seed."""
        differences = np.asarray([second - first for first, second in self.values.values()])
        return (float(differences.mean()), *mean_interval(differences))

    @property
    def equal(self) -> int:
        """The seeds with equal values, to the last bit."""
        return sum(first == second for first, second in self.values.values())


@dataclass(frozen=True)
class Pair:
    """A row that both folders have good records of."""

    name: str
    seeds: tuple[int, ...]
    metrics: tuple[Paired, ...]
    other_keys: int  # seeds whose keys differ
    differences: Mapping[str, tuple[str, ...]]  # in what: code, versions, ...; and the machine, which is in no key


@dataclass(frozen=True)
class Comparison:
    """Two folders of records."""

    pairs: tuple[Pair, ...]
    other_status: tuple[tuple[str, str, str], ...]  # (cell, first status, second status), where one is not ok
    only_first: tuple[str, ...]
    only_second: tuple[str, ...]

    @property
    def cells(self) -> int:
        """How many good ones are in both."""
        return sum(len(pair.seeds) for pair in self.pairs)


def compare(first: str | Path, second: str | Path, metrics: Sequence[str] = ()) -> pd.DataFrame:
    """Compare the records of two folders; one line a row and metric, with the 95 % interval of the difference.

    ``metrics`` are names of metrics or costs; all metrics if none is given. Raises UsageError for a folder that is not
    there, UnknownName for a metric that no record holds, RecordError for a damaged record.
    """
    import pandas as pd

    columns = ["row", "metric", "seeds", "first", "second", "difference", "low", "high", "equal", "differing"]
    lines = []
    for pair in comparison(first, second, metrics).pairs:
        differing = ", ".join(f"{what} {', '.join(some)}" for what, some in pair.differences.items())
        for one in pair.metrics:
            values = [*one.means, *one.difference, one.equal, differing]
            lines.append([pair.name, one.metric, sorted(one.values), *values])
    return pd.DataFrame(lines, columns=columns)


def comparison(
    first: str | Path, second: str | Path, metrics: Sequence[str] = (), progress: Progress | None = None
) -> Comparison:
    """As `compare`, with what is in one folder alone and what ended otherwise. Of several records the newest counts."""
    ours, theirs = (_newest(Path(folder), progress or Progress(quiet=True)) for folder in (first, second))
    known = {name for record in (*ours, *theirs) for name in _numbers(record)}
    if wrong := [metric for metric in metrics if metric not in known]:
        raise UnknownName(f"no record holds a metric {wrong[0]!r}; {nearest(wrong[0], known)}")
    matched = _matched(ours, theirs)
    rows: dict[tuple[str, str], dict[int, tuple[Record, Record]]] = {}
    for one, other in matched:
        if one["status"] == other["status"] == "ok":
            rows.setdefault((_row(one), _row(other)), {})[one["seed"]] = one, other
    some = [next(iter(pairs.values()))[0] for pairs in rows.values()]
    names = told_apart([_name(record) for record in some], [_flat(record) for record in some])
    pairs = [_pair(name, records, metrics) for name, records in zip(names, rows.values(), strict=True)]
    other_status = [
        (_cell_name(one), one["status"], other["status"])
        for one, other in matched
        if one["status"] != "ok" or other["status"] != "ok"
    ]
    return Comparison(
        tuple(sorted(pairs, key=lambda pair: pair.name)),
        tuple(sorted(other_status)),
        _alone(ours, [one for one, _ in matched], theirs),
        _alone(theirs, [other for _, other in matched], ours),
    )


def key_differences(first: Record, second: Record) -> dict[str, tuple[str, ...]]:
    """In which ingredients the keys of two records differ: modules of code, versions, device, data, ..."""
    found: dict[str, set[str]] = {}
    ours, theirs = first.get("ingredients") or {}, second.get("ingredients") or {}
    for stage in (*ours, *(stage for stage in theirs if stage not in ours)):
        one, other = ours.get(stage, {}), theirs.get(stage, {})
        for what in sorted((one.keys() | other.keys()) - {"before", "stage"}):
            if one.get(what) != other.get(what):
                found.setdefault(what, set()).update(_changes(what, one.get(what), other.get(what)))
    if not found:
        keys, others = first.get("keys") or {}, second.get("keys") or {}
        if stages := {stage for stage in keys.keys() | others.keys() if keys.get(stage) != others.get(stage)}:
            found["stages"] = stages  # of which nothing more is recorded
    return {what: tuple(sorted(changes)) for what, changes in found.items()}


def _changes(what: str, one: Any, other: Any) -> list[str]:
    if not isinstance(one, Mapping) or not isinstance(other, Mapping):
        return [f"{_shown(one)} → {_shown(other)}"]
    differ = sorted(key for key in one.keys() | other.keys() if one.get(key) != other.get(key))
    if what == "code":
        return differ
    return [f"{key} {_shown(one.get(key))} → {_shown(other.get(key))}" for key in differ]


def _shown(value: Any) -> str:
    return "none" if value is None else f"{value[:8]}..." if isinstance(value, str) and len(value) > 20 else str(value)


def _newest(folder: Path, progress: Progress) -> list[Record]:
    """The records of a folder, one a cell: the newest good one, else the newest."""
    if not folder.is_dir():
        raise UsageError(f"there is no folder of records at {str(folder)!r}")
    paths = sorted(folder.glob("*.json"))
    records = []
    with progress.task(f"read {folder.name}", len(paths)) as task:
        for path in paths:
            records.append({key: value for key, value in read_record(path).items() if key != "log"})
            task.advance()
    found: dict[str, Record] = {}
    for record in sorted(records, key=lambda one: (one["status"] == "ok", str(one.get("finished")))):
        found[json.dumps([_row(record), record["seed"]])] = record
    return list(found.values())


def _matched(ours: Sequence[Record], theirs: Sequence[Record]) -> list[tuple[Record, Record]]:
    """Pairs of the same cell: of equal settings; then of settings that are equal as far as both know them."""
    exact = {(_row(record), record["seed"]): record for record in theirs}
    pairs = [(one, exact[cell]) for one in ours if (cell := (_row(one), one["seed"])) in exact]
    done = {id(record) for pair in pairs for record in pair}
    candidates: dict[int, list[Record]] = {}
    left, right = (_by_place_and_shape(one for one in some if id(one) not in done) for some in (ours, theirs))
    for place in left.keys() & right.keys():
        for shape, records in left[place].items():
            for other_shape, others in right[place].items():
                if _alike(shape, other_shape):
                    common = sorted(shape & other_shape)
                    there: dict[str, list[Record]] = {}
                    for other in others:
                        there.setdefault(_at(other, common), []).append(other)
                    for record in records:
                        candidates.setdefault(id(record), []).extend(there.get(_at(record, common), ()))
    wanted = Counter(id(other) for found in candidates.values() for other in found)
    for record in ours:
        found = candidates.get(id(record), [])
        if len(found) == 1 and wanted[id(found[0])] == 1:
            pairs.append((record, found[0]))
    return pairs


def _by_place_and_shape(records: Iterable[Record]) -> dict[str, dict[frozenset[str], list[Record]]]:
    """Records by what they are but for their settings, and then by the settings that they know."""
    found: dict[str, dict[frozenset[str], list[Record]]] = {}
    for record in records:
        shapes = found.setdefault(json.dumps([*_place(record), record["seed"]]), {})
        shapes.setdefault(frozenset(_flat(record)), []).append(record)
    return found


def _alike(shape: frozenset[str], other: frozenset[str]) -> bool:
    """Whether no key of one has keys below it in the other: a part that is null there is another part here."""
    return not (shape & _above(other) or other & _above(shape))


def _above(keys: Iterable[str]) -> set[str]:
    """The parts that ``keys`` are in: reader.train and reader for reader.train.steps."""
    return {key[:i] for key in keys for i, letter in enumerate(key) if letter == "."}


def _at(record: Record, keys: Sequence[str]) -> str:
    flat = _flat(record)
    return json.dumps([flat[key] for key in keys], sort_keys=True)


def _flat(record: Record) -> Flat:
    return dict(flatten(record["settings"]))


def _place(record: Record) -> list[Any]:
    """What a record is of, but for settings and seed; what was read of a neural data set says so in its label."""
    scored = record.get("facts", {}).get("scored_split") or record["settings"].get("data", {}).get("scored")
    read = [record["label"], record["artefact"].get("seed")] if "artefact" in record else None
    return [record["method"], record["dataset"], record["profile"], scored, read]


def _row(record: Record) -> str:
    """What a record is of, but for its seed."""
    return json.dumps([*_place(record), record["settings"]], sort_keys=True)


def _name(record: Record) -> str:
    label = f", {record['label']}" if record.get("label") else ""
    return f"{record['method']}+{record['dataset']}-{record['profile']}{label}"


def _cell_name(record: Record) -> str:
    label = f" ({record['label']})" if record.get("label") else ""
    return f"{record['cell']}{label}"


def _numbers(record: Record) -> dict[str, float]:
    """The metrics and the costs of a record by name."""
    found = {**record["costs"], **record["metrics"]}
    return {name: value for name, value in found.items() if value is not None}


def _pair(name: str, records: Mapping[int, tuple[Record, Record]], metrics: Sequence[str]) -> Pair:
    measured = [metric for pair in records.values() for record in pair for metric in record["metrics"]]
    wanted = metrics or sorted({metric for metric in measured if not metric.endswith(("_low", "_high"))})
    paired = []
    for metric in wanted:
        values = {}
        for seed, (first, second) in sorted(records.items()):
            one, other = (_numbers(record).get(metric, math.nan) for record in (first, second))
            if not math.isnan(one) and not math.isnan(other):
                values[seed] = (one, other)
        if values:
            paired.append(Paired(metric, values))
    differences: dict[str, set[str]] = {}
    for first, second in records.values():
        found = key_differences(first, second)
        machine = _changes("machine", first.get("machine") or {}, second.get("machine") or {})
        found.pop("settings", None)  # they differ at most in what one of both does not know
        known = [*_unknown(first, second), *_unknown(second, first)]
        for what, changes in (*found.items(), ("settings of one alone", known), ("machine", machine)):
            if changes:
                differences.setdefault(what, set()).update(changes)
    other_keys = sum(first["key"] != second["key"] for first, second in records.values())
    said = {what: tuple(sorted(some)) for what, some in differences.items()}
    return Pair(name, tuple(sorted(records)), tuple(paired), other_keys, said)


def _unknown(record: Record, other: Record) -> list[str]:
    """The settings of ``record`` that ``other`` does not know."""
    its = _flat(other)
    return [f"{key}={value}" for key, value in _flat(record).items() if key not in its]


def _alone(records: Sequence[Record], matched: Sequence[Record], others: Sequence[Record]) -> tuple[str, ...]:
    """The names of ``records`` but for the ``matched``; with how the only other one of the same name differs."""
    done = {id(record) for record in matched}
    there: dict[str, list[Record]] = {}
    for other in others:
        there.setdefault(json.dumps([*_place(other), other["seed"]]), []).append(other)
    names = []
    for record in records:
        if id(record) in done:
            continue
        name, found = _cell_name(record), there.get(json.dumps([*_place(record), record["seed"]]), [])
        if len(found) == 1:
            own, its = _flat(record), _flat(found[0])
            differ = sorted(key for key in own.keys() & its.keys() if own[key] != its[key])
            shown = [f"{key}={its[key]}, not {own[key]}" for key in differ[:NAMED_SETTINGS]]
            more = f" and {len(differ) - NAMED_SETTINGS} more" if len(differ) > NAMED_SETTINGS else ""
            name += f": the other has it with {'; '.join(shown)}{more}" if shown else ""
        names.append(name)
    return tuple(sorted(names))
