"""Why a cell is taken from its record, or is run: the parts in which its key differs from that of a record."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from inrbench.cells import Cell, resolve
from inrbench.errors import RecordError, UsageError
from inrbench.keys import STAGES, Codes, stage_ingredients
from inrbench.matching import unmarked
from inrbench.planning import Foreseen, foresee
from inrbench.records import file_stem, read_record
from inrbench.runner import Options
from inrbench.trees import flatten

__all__ = ["Difference", "Explanation", "cell_of", "differences", "explain", "named_records"]

Record = Mapping[str, Any]
#: What a stage's ingredients are called, one by one; `before` only repeats what an earlier stage says.
PARTS = {
    "settings": "setting",
    "seed": "seed",
    "data": "data checksum",
    "device": "device",
    "code": "module",
    "versions": "version of",
}
ABSENT: Any = object()
#: More records of one method, data set, profile and seed are not all compared: the newest are.
MOST_COMPARED = 200


@dataclass(frozen=True)
class Difference:
    """One part in which two keys differ, at the first stage where it counts. ``ABSENT`` is what one of them lacks."""

    stage: str
    what: str  # setting, module, version of, ...
    name: str
    here: Any
    there: Any

    def line(self) -> str:
        """``train: setting fitter.lr is 0.001, there 0.003``."""
        name = f" {self.name}" if self.name else ""
        if self.there is ABSENT:
            return f"{self.stage}: {self.what}{name} is {_shown(self.here)}, there is none there"
        if self.here is ABSENT:
            return f"{self.stage}: {self.what}{name} is gone; there it was {_shown(self.there)}"
        return f"{self.stage}: {self.what}{name} is {_shown(self.here)}, there {_shown(self.there)}"

    def document(self) -> dict[str, Any]:
        """The same for ``--json``; what one of them lacks is left out."""
        values = {"here": self.here, "there": self.there}
        known = {key: value for key, value in values.items() if value is not ABSENT}
        return {"stage": self.stage, "what": self.what, "name": self.name, **known}


@dataclass(frozen=True)
class Explanation:
    """Why a cell is done or not."""

    one: Foreseen
    summary: str  # what follows the cell's name
    file: str | None  # the record that it was compared with
    differences: tuple[Difference, ...]

    def lines(self) -> Iterator[str]:
        """One line for the cell, one for each stage that is not done, one for each difference."""
        yield f"{self.one.name}: {self.summary}"
        if not self.one.done:
            for stage, state in self.one.stages.items():
                if state in ("kept", "shared", "interrupted"):
                    yield f"  {stage}: {STATES[state]}"
        for difference in self.differences:
            yield f"  {difference.line()}"

    def document(self) -> dict[str, Any]:
        """The same for ``--json``."""
        return {
            "cell": self.one.name,
            "label": self.one.cell.label,
            "key": self.one.planned.key if self.one.planned else None,
            "done": self.one.done,
            "summary": self.summary,
            "record": self.file,
            "stages": dict(self.one.stages),
            "differences": [one.document() for one in self.differences],
        }


STATES = {
    "kept": "kept in the cache",
    "shared": "shared with a cell before it",
    "interrupted": "goes on from a checkpoint in the cache",
}


def explain(cells: Sequence[Cell], options: Options, known: Sequence[Record] | None = None) -> list[Explanation]:
    """Why each of ``cells`` is done or not, against the nearest of the records in ``options.records``, or of ``known``.

    The nearest is of the same method, data set, profile and seed. Raises UsageError or BadData, as a run would.
    """
    found = foresee(cells, options)
    places = {_place(one.cell.method.name, one.cell.dataset, one.cell.profile, one.cell.seed) for one in found}
    records: dict[tuple[Any, ...], list[Record]] = {}
    for record in _records(options.records, found) if known is None else known:
        place = _place(record["method"], record["dataset"], record["profile"], record["seed"])
        if place in places and isinstance(record.get("ingredients"), Mapping):
            records.setdefault(place, []).append(record)
    for some in records.values():
        some.sort(key=lambda record: str(record.get("finished")), reverse=True)
    codes: Codes = {}
    return [_explained(one, records, options.records, codes) for one in found]


def differences(here: Mapping[str, Any], there: Mapping[str, Any]) -> list[Difference]:
    """What differs of the ingredients by stage (`inrbench.keys.stage_ingredients`), each part once."""
    found: dict[tuple[str, str, str], Difference] = {}
    for stage in STAGES:
        ours, theirs = _flat(here.get(stage)), _flat(there.get(stage))
        for what, name in [*ours, *(place for place in theirs if place not in ours)]:
            one, other = (side.get((what, name), ABSENT) for side in (ours, theirs))
            if not _same(one, other):
                place = (what, name, json.dumps([one, other], default=str))
                found.setdefault(place, Difference(stage, what, name, one, other))
    return list(found.values())


def named_records(text: str, folder: Path) -> list[dict[str, Any]]:
    """The records of the cell that ``text`` names: its name, its file's name or path; none where it names none.

    Raises RecordError for a damaged one.
    """
    if text.endswith(".json"):
        if not Path(text).is_file():
            raise UsageError(f"there is no record at {text!r}")
        return [read_record(Path(text))]
    stem = file_stem(text, "").removesuffix("-")
    paths = [
        path
        for path in sorted(folder.glob("*.json"))
        if path.stem == text or re.sub(r"-[0-9a-f]{8}(\.failed)?$", "", path.stem) == stem
    ]
    return [read_record(path) for path in paths]


def cell_of(record: Record) -> Cell:
    """The cell that today's code makes of a record's request. Raises UsageError where there is none."""
    if "artefact" in record:
        raise UsageError(f"{record['cell']} was read from a neural data set: `inrbench read --dry-run` tells of it")
    try:
        return resolve(
            record["method"],
            unmarked(record["dataset"]),
            profile=record["profile"],
            seed=record["seed"],
            overrides=[record["settings"]],
            label=record.get("label", ""),
        )
    except UsageError as error:
        raise type(error)(f"{record['cell']} can no longer be asked for: {error}") from error


def _explained(
    one: Foreseen, records: Mapping[tuple[Any, ...], Sequence[Record]], folder: Path, codes: Codes
) -> Explanation:
    cell, planned = one.cell, one.planned
    if planned is None:
        return Explanation(one, f"to do, and its key is not known: its data is missing in {one.data.folder}", None, ())
    if one.done:
        return Explanation(one, f"nothing differs: it is taken from the record {_file(planned.record)}", None, ())
    if one.before == "ok":
        return Explanation(one, f"to do: --rerun passes over the record {_file(planned.record)}", None, ())
    if one.before is not None:
        return Explanation(one, f"to do: the record {_file(planned.record)} says {one.before}", None, ())
    others = records.get(_place(cell.method.name, cell.dataset, cell.profile, cell.seed), ())
    if not others:
        what = f"{cell.method.name}+{cell.dataset} at profile {cell.profile} with seed {cell.seed}"
        return Explanation(one, f"to do: there is no record of {what} in {folder}", None, ())
    here = stage_ingredients(cell, planned.data.checksum, one.device.partition(":")[0], codes)
    record, found = _nearest(one, here, others)
    file = _file(record)
    if not found:  # the same key: filed under another name
        if record["status"] != "ok":
            return Explanation(one, f"to do: the record {file} has its key and says {record['status']}", file, ())
        label = Difference("record", "label", "", cell.label, record.get("label", ""))
        return Explanation(one, f"to do, with the key of the record {file} and another name", file, (label,))
    return Explanation(
        one, f"to do; it differs from the record {file} ({record.get('finished')}) in", file, tuple(found)
    )


def _nearest(one: Foreseen, here: Mapping[str, Any], others: Sequence[Record]) -> tuple[Record, list[Difference]]:
    """The record with the fewest settings that differ, then of its label, then the newest; and all that differs."""
    tree = {key: json.dumps(value, default=str) for key, value in flatten(one.cell.tree())}

    def distance(record: Record) -> tuple[int, bool]:
        theirs = {key: json.dumps(value, default=str) for key, value in flatten(record["settings"])}
        return len(tree.items() ^ theirs.items()), record.get("label", "") != one.cell.label

    record = min(others[:MOST_COMPARED], key=distance)
    return record, differences(here, record["ingredients"])


def _records(folder: Path, cells: Iterable[Foreseen]) -> Iterator[Record]:
    """The records in ``folder`` of the methods and data sets of ``cells``; damaged ones are passed over."""
    begin = {file_stem(f"{one.cell.method.name}+{one.cell.dataset}", "").removesuffix("-") for one in cells}
    for path in sorted(folder.glob("*.json")):
        if path.name.startswith(tuple(begin)):
            try:
                yield read_record(path)
            except RecordError:
                continue


def _flat(ingredients: Any) -> dict[tuple[str, str], Any]:
    found: dict[tuple[str, str], Any] = {}
    for part, what in PARTS.items() if isinstance(ingredients, Mapping) else ():
        value = ingredients.get(part)
        if isinstance(value, Mapping):
            found |= {(what, name): inner for name, inner in value.items()}
        else:
            found[what, ""] = value
    return found


def _same(one: Any, other: Any) -> bool:
    """Equal as a key sees them: as JSON."""
    if one is ABSENT or other is ABSENT:
        return one is other
    return json.dumps(one, sort_keys=True, default=str) == json.dumps(other, sort_keys=True, default=str)


def _place(method: str, dataset: str, profile: str, seed: int) -> tuple[Any, ...]:
    return method, unmarked(dataset), profile, seed


def _file(record: Record | None) -> str:
    assert record is not None
    return f"{file_stem(record['cell'], record['key'])}.json"


def _shown(value: Any) -> str:
    return json.dumps(value, default=str) if not isinstance(value, str) or not value else value
