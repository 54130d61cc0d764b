"""Files of fit-a-nef and neural-field-arena as neural data sets: which rows are for what, and what is known of them."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from inrbench.artefacts.folder import MORE_BYTES, ArtefactFolder, shard_rows
from inrbench.artefacts.hdf5 import COLUMNS, Foreign, files_of, open_hdf5
from inrbench.artefacts.manifest import SPLITS, signal_of
from inrbench.artefacts.opened import Artefact, replace_reader
from inrbench.cells import Cell
from inrbench.data.check import combined_checksum, digests
from inrbench.data.opened import marked_name
from inrbench.domains import Array
from inrbench.errors import BadData, Refused, UsageError
from inrbench.provenance import commit, versions
from inrbench.representations import Layout, Representations
from inrbench.signals import PartSpec, SignalSpec

__all__ = ["Import", "plan_import"]

#: A method's and a profile's name where nobody knows them.
IMPORTED = "imported"


@dataclass(frozen=True)
class Import:
    """Files that are to become a neural data set, opened and checked."""

    files: Mapping[str, Sequence[tuple[Foreign, Array]]]  # by split: the files with the places of their rows
    checksums: Mapping[str, str]  # SHA-256 by file
    dataset: str
    convention: Mapping[str, Any]
    cell: Cell | None = None  # whose field it is, where the caller says so
    fitter_layout: Layout | None = field(default=None, compare=False)
    signal_of_cell: SignalSpec | None = field(default=None, compare=False)

    @property
    def first(self) -> Foreign:
        """A file; all say the same of their rows."""
        return next(one for files in self.files.values() for one, _ in files)

    @property
    def layout(self) -> Layout:
        """The layout with all that is known of the field's convention."""
        layout = self.first.layout
        known = dict(layout.convention) if self.fitter_layout is None else dict(self.fitter_layout.convention)
        return replace(layout, convention={**known, **self.convention})

    def origin(self) -> dict[str, Any]:
        """Where the rows are from."""
        made = self.first.manifest
        known = {"method": IMPORTED, "dataset": self.dataset, "profile": IMPORTED, "seed": 0, "settings": None}
        if made is not None:
            known = dict(made["origin"])
        if self.cell is not None:
            named = {"dataset": self.cell.dataset, "profile": self.cell.profile, "seed": self.cell.seed}
            known |= {"as": self.cell.method.name, **named, "settings": self.cell.tree()}
        rows = {split: sum(len(places) for _, places in files) for split, files in self.files.items()}
        whose = {"convention": dict(self.convention), "rows": rows, "files": dict(self.checksums)}
        return {**known, "from": known.get("from", ", ".join(self.checksums)), IMPORTED: whose}

    def make(self, folder: ArtefactFolder) -> Artefact:
        """Write it all. Raises BadData where the files are damaged."""
        layout = self.layout
        size = shard_rows(layout.num_values)
        total = {split: sum(len(places) for _, places in files) for split, files in self.files.items()}
        folder.room_for(sum(total.values()) * (4 * layout.num_values + MORE_BYTES))
        columns = {split: self._columns(split) for split in self.files}
        _check_ids(columns)
        shards: dict[str, list[int]] = {}
        for split in self.files:
            shards[split] = [min(size, total[split] - first) for first in range(0, total[split], size)]
            pieces = self._pieces(split, size)
            for number, (first, arrays) in enumerate(zip(range(0, total[split], size), pieces, strict=True)):
                here = {name: values[first : first + size] for name, values in columns[split].items()}
                rows = Representations(layout, arrays, here.pop("ids"), here.pop("copies"))
                folder.write(split, number, rows, here)
        return folder.finish(self._document(columns), self.first.shared, shards)

    def _pieces(self, split: str, size: int) -> Iterator[dict[str, Array]]:
        """The arrays of ``size`` rows at a time."""
        waiting: list[dict[str, Array]] = []
        count = 0
        for one, places in self.files[split]:
            for first in range(0, len(places), size):
                some = places[first : first + size]
                arrays = one.arrays(int(some[0]), int(some[-1]) + 1)
                waiting.append({name: array[some - some[0]] for name, array in arrays.items()})
                count += len(some)
                if count >= size:
                    whole = _joined(waiting)
                    yield {name: array[:size] for name, array in whole.items()}
                    waiting = [{name: array[size:] for name, array in whole.items()}]
                    count -= size
        if count:
            yield _joined(waiting)

    def _columns(self, split: str) -> dict[str, Array]:
        """Ids, copies and what all files say of their rows."""
        files = self.files[split]
        there = [name for name in COLUMNS if all(name in one.columns for one, _ in files)]
        found = {name: np.concatenate([one.columns[name][places] for one, places in files]) for name in there}
        count = sum(len(places) for _, places in files)
        if "ids" not in found:
            before = itertools.takewhile(lambda name: name != split, self.files)
            start = sum(len(places) for name in before for _, places in self.files[name])
            found["ids"] = np.arange(start, start + count)
        found.setdefault("copies", np.zeros(count, dtype=np.int64))
        if "labels" in found:
            labels = found["labels"]
            if not np.array_equal(labels, labels.astype(np.int64)) or labels.min() < 0:
                raise BadData(f"{files[0][0].path}: labels are class numbers from 0 on; given: {labels[:4].tolist()}")
            found["labels"] = labels.astype(np.int64)
        return found

    def _document(self, columns: Mapping[str, Mapping[str, Array]]) -> dict[str, Any]:
        made = self.first.manifest
        kept = ("name", "dataset", "data", "signal", "facts", "fitter", "plugins", "commit", "versions", "machine")
        if made is not None:
            document = {key: made[key] for key in kept if key in made}
            return document | {"layout": self.layout, "signal": signal_of(made)}
        checksum = combined_checksum(self.checksums)
        name = marked_name(self.dataset, checksum)
        return {
            "name": f"{IMPORTED}+{name}",
            "dataset": name,
            "data": {"checksum": checksum, "official": False},
            "layout": self.layout,
            "signal": self._signal(columns),
            "facts": _facts(columns),
            "fitter": None,
            "plugins": {},
            "versions": versions(),
            "commit": commit(),
        }

    def _signal(self, columns: Mapping[str, Mapping[str, Array]]) -> SignalSpec:
        """What the rows tell of the signals: classes, and of a chain of layers its inputs and outputs."""
        labels = [own["labels"] for own in columns.values() if "labels" in own]
        classes = 1 + max(int(one.max()) for one in labels) if labels else None
        sizes = {split: len(own["ids"]) for split, own in columns.items()}
        if self.signal_of_cell is not None:
            return replace(self.signal_of_cell, num_classes=self.signal_of_cell.num_classes or classes)
        shapes = self.layout.shapes
        inputs, outputs = shapes.get("layers.0.weight", (0, 0))[1], shapes.get("output.weight", (0, 0))[0]
        return SignalSpec((PartSpec("grid", (), inputs, outputs),), classes, (), sizes)


def plan_import(
    paths: Sequence[Path],
    *,
    others: Mapping[str, Sequence[Path]] | None = None,
    sizes: Sequence[int] = (),
    kind: str = "weights",
    dataset: str = "",
    convention: Mapping[str, Any] | None = None,
    cell: Cell | None = None,
) -> Import:
    """The files as splits. ``others`` are files of validation and test; ``sizes`` cut ``paths`` in that order.

    ``cell`` says whose field it is that the rows hold. Raises UsageError, BadData or Refused with what does not fit.
    """
    given = {"train": list(paths), **{split: list(more) for split, more in (others or {}).items() if more}}
    opened = {split: [open_hdf5(path, kind) for path in files_of(some)] for split, some in given.items()}
    files = [one for some in opened.values() for one in some]
    for one in files[1:]:
        if one.layout != files[0].layout or one.config != files[0].config:
            raise BadData(f"{one.path} has other arrays or says other things of them than {files[0].path}")
    splits = _splits(opened, sizes)
    checksums = {one.path.name: digests(one.path).content["sha256"] for one in files}
    if len(checksums) < len(files):
        raise UsageError("two of the files have one name; give each file once")
    name = dataset or _named_by(files[0].path)
    planned = Import(splits, checksums, name, convention or {})
    return planned if cell is None else _as(planned, replace_reader(cell))


def _named_by(path: Path) -> str:
    """The name of a data set, from its file's or its folder's."""
    return (path.parent.name if "_" in path.stem and path.stem.startswith("nefs") else path.stem) or IMPORTED


def _splits(opened: Mapping[str, Sequence[Foreign]], sizes: Sequence[int]) -> dict[str, list[tuple[Foreign, Array]]]:
    files = [one for some in opened.values() for one in some]
    if len(opened) == 1 and not sizes and all("split" in one.columns for one in files):
        found = {
            split: [(one, np.flatnonzero(one.columns["split"] == number)) for one in files]
            for number, split in enumerate(SPLITS)
        }
    elif sizes:
        if len(opened) > 1:
            raise UsageError("--splits cuts the files that are given; files of other splits go without it")
        found = _cut(files, sizes)
    else:
        if "test" not in opened:
            raise UsageError(
                f"{files[0].path} does not say which of its {files[0].rows:,} rows are for training and which for "
                "testing: say --test FILE, or --splits 55000,5000,10000 for train, validation and test in this order"
            )
        found = {split: [(one, np.arange(one.rows)) for one in opened[split]] for split in SPLITS if split in opened}
    some = {split: [(one, places) for one, places in rows if len(places)] for split, rows in found.items()}
    return {split: rows for split, rows in some.items() if rows}


def _cut(files: Sequence[Foreign], sizes: Sequence[int]) -> dict[str, list[tuple[Foreign, Array]]]:
    names = SPLITS if len(sizes) == 3 else ("train", "test")
    there = sum(one.rows for one in files)
    if len(sizes) not in (2, 3) or sum(sizes) > there:
        raise UsageError(
            f"--splits takes the rows of train and test, or of train, validation and test; there are {there:,} and "
            f"given are {','.join(map(str, sizes))}"
        )
    found: dict[str, list[tuple[Foreign, Array]]] = {}
    start = 0
    for name, size in zip(names, sizes, strict=True):
        found[name], before = [], 0
        for one in files:
            low, high = max(start, before) - before, min(start + size, before + one.rows) - before
            if low < high:
                found[name].append((one, np.arange(low, high)))
            before += one.rows
        start += size
    return found


def _as(planned: Import, cell: Cell) -> Import:
    """``planned`` with the field of ``cell``. Raises Refused where its rows are others."""
    if planned.first.manifest is not None:
        raise Refused(f"{planned.first.path} says itself what its fields are; --as is for files that do not")
    built = cell.build()
    layout, theirs = built.fitter.layout, planned.first.layout
    if layout.relative_to:
        raise Refused(
            f"rows of {cell.method.name!r} are relative to what its training learned, which {planned.first.path} does "
            "not hold"
        )
    if layout.kind != theirs.kind or layout.shapes != theirs.shapes:
        reason = f"its rows are {theirs.kind!r}, not {layout.kind!r}"
        for name in {**layout.shapes, **theirs.shapes}:
            if layout.shapes.get(name) != theirs.shapes.get(name):
                there, here = (_shape(one.shapes.get(name)) for one in (theirs, layout))
                reason = f"{name!r} is {there} there and {here} here"
                break
        raise Refused(f"{planned.first.path} holds no fields of {cell.method.name}+{cell.dataset}: {reason}")
    return replace(planned, cell=cell, fitter_layout=layout, signal_of_cell=built.spec)


def _shape(shape: tuple[int, ...] | None) -> str:
    return "missing" if shape is None else str(list(shape))


def _joined(parts: Sequence[Mapping[str, Array]]) -> dict[str, Array]:
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _check_ids(columns: Mapping[str, Mapping[str, Array]]) -> None:
    """Raise BadData where two splits share a signal."""
    for one, other in itertools.combinations(columns, 2):
        shared = np.intersect1d(columns[one]["ids"], columns[other]["ids"])
        if len(shared):
            raise BadData(f"signal {shared[0]} is in the splits {one!r} and {other!r}")


def _facts(columns: Mapping[str, Mapping[str, Array]]) -> dict[str, Any]:
    """What lanes are computed from: next to nothing is known."""

    def signals(split: str) -> int:
        return int((columns[split]["copies"] == 0).sum()) if split in columns else 0

    def checksum(split: str) -> str:
        whole = hashlib.sha256()
        for name in ("ids", "labels"):
            whole.update(np.ascontiguousarray(columns.get(split, {}).get(name, np.zeros(0)), dtype="<i8").tobytes())
        return whole.hexdigest() if split in columns else ""

    copies = columns.get("train", {}).get("copies", np.zeros(1))
    return {
        "initialisation": "unknown",
        "scope": "global",
        "labels_shape_fit": False,
        "shuffled_labels": False,
        "copies": int(copies.max()) + 1,
        "train_signals": signals("train"),
        "scored_signals": signals("test"),
        "scored_split": "test",
        "scored_checksum": checksum("test"),
        "validation_checksum": checksum("validation"),
        "augmented": False,
    }
