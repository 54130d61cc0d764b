"""Merging folders of records: afterwards one of them has what all of them have, nothing lost and nothing twice.

A record is filed by its cell and its key. The same record in two folders is there once. A good one takes the place of
a failure, and a newer failure that of an older one. Two good records of one key that differ, of two machines say: the
first stays, and the other is kept in the folder ``aside`` below, where no table looks. All is read and checked before
anything is written; vectors are written before the record that names them, each file atomically, so that a merge that
was killed is finished by the same call.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from inrbench.arrays import digest_of, load_arrays, write_atomically
from inrbench.errors import BadData, RecordError, UsageError
from inrbench.progress import Progress
from inrbench.records import file_stem, read_record, record_text, vectors_of

__all__ = ["ASIDE", "Merged", "merge"]

#: Below a folder of records: other good records of keys that it has one of.
ASIDE = "aside"
Record = Mapping[str, Any]
Identity = tuple[str, str]  # cell and key


@dataclass
class Merged:
    """What a merge did, in records."""

    folder: Path
    added: int = 0
    there: int = 0  # the same one was there before
    replaced: int = 0  # failures whose place a good record or a newer failure took
    left_out: int = 0  # failures beside a good record or a newer failure
    aside: list[Path] = field(default_factory=list)  # good, of a key that the folder has another good record of
    differing: list[Path] = field(default_factory=list)  # of these, the ones with other metrics or vectors


@dataclass(frozen=True)
class _Held:
    """A record in a folder, without what it holds."""

    path: Path
    identity: Identity
    good: bool
    aside: bool


def merge(folders: Iterable[str | Path], into: str | Path | None = None, *, progress: Progress | None = None) -> Merged:
    """Merge ``folders`` into the folder ``into``, which may hold records and may be new; into the first one if None.

    Of two records that cannot both stay the earlier named folder's does, ``into`` before all. Raises UsageError for a
    folder that is not there, and before anything is written RecordError that names damaged records.
    """
    named = [Path(folder) for folder in folders]
    for folder in named:
        if not folder.is_dir():
            raise UsageError(f"there is no folder of records at {str(folder)!r}")
    if into is None and len(named) < 2:
        raise UsageError("a merge takes two folders of records or more, or one and the folder to merge it into")
    target = named[0] if into is None else Path(into)
    if target.exists() and not target.is_dir():
        raise UsageError(f"{str(target)!r} is a file; a merge writes to a folder")
    sources = [one for i, one in enumerate(named) if one.resolve() not in {other.resolve() for other in named[:i]}]
    sources = [one for one in sources if one.resolve() != target.resolve()]
    return _Merge(target, sources, progress or Progress(quiet=True)).run()


class _Merge:
    def __init__(self, target: Path, sources: Sequence[Path], progress: Progress) -> None:
        self.target, self.sources, self.progress = target, sources, progress
        self.done = Merged(target)
        self.places: dict[tuple[Identity, bool], Path] = {}  # of the target's records, by identity and whether good

    def run(self) -> Merged:
        """Check all, then write."""
        found = self._checked()
        order = sorted(found, key=lambda held: (held.aside, not held.good))  # stable: by folder, as they are named
        with self.progress.task("merge", len(order)) as task:
            for held in order:
                record = read_record(held.path)
                try:
                    (self._good if held.good else self._failure)(held, record)
                except OSError as error:
                    raise RecordError(
                        f"cannot write to {self.target}: {error.strerror or error}; what was merged is whole, and the "
                        "same command goes on behind it"
                    ) from error
                task.advance()
        return self.done

    # -------------------------------------------------------------- before anything is written

    def _checked(self) -> list[_Held]:
        """The records of the sources. Raises RecordError where one of them or of the target cannot be read."""
        listed = [(folder, path, aside) for folder in (self.target, *self.sources) for path, aside in _files(folder)]
        found: list[_Held] = []
        damaged: list[str] = []
        owners: dict[str, Identity] = {}
        with self.progress.task("check", len(listed)) as task:
            for folder, path, aside in listed:
                try:
                    record = read_record(path)
                    arrays = vectors_of(path.parent, record)
                    held = _Held(path, (record["cell"], record["key"]), record["status"] == "ok", aside)
                    if owners.setdefault(file_stem(*held.identity), held.identity) != held.identity:
                        raise RecordError(f"record {path} would have the file name of a record of another cell")
                    if folder == self.target and not aside:
                        self.places.setdefault((held.identity, held.good), path)
                    elif folder != self.target:
                        self._check_place(record, arrays)
                        found.append(held)
                except (RecordError, BadData) as error:
                    damaged.append(str(error))
                task.advance()
        if damaged:
            more = f"; and {len(damaged) - 1} more" if len(damaged) > 1 else ""
            raise RecordError(f"nothing was merged: {damaged[0]}{more}")
        return found

    def _check_place(self, record: Record, arrays: Mapping[str, Any]) -> None:
        """Raise RecordError where a file that is no vectors of this record lies where these would be written."""
        for folder in (self.target, self.target / ASIDE) if arrays else ():
            path = folder / record["vectors"]["file"]
            if path.exists() and digest_of(load_arrays(path)[0]) != record["vectors"]["digest"]:
                raise RecordError(f"{path} is in the way: it holds other vectors than those of {record['cell']}")

    # -------------------------------------------------------------- one record

    def _good(self, held: _Held, record: Record) -> None:
        found = self._there(held.identity, good=True)
        if found is None and not held.aside:
            failed = self._there(held.identity, good=False) is not None
            path = self._write(self.target / f"{file_stem(*held.identity)}.json", held, record)
            self.places[held.identity, True] = path
            self.done.added += 1
            self.done.replaced += failed
            self._drop_older_failures(held.identity, record)
            return
        content = _content(record)
        if found is None or _content(found[1]) != content:
            differs = found is None or _result(found[1]) != _result(record)
            self._set_aside(held, record, content, differs=differs)
            return
        path, there = found
        self.done.there += 1
        if "published" in record and "published" not in there:
            write_atomically(path, record_text({**there, "published": record["published"]}))
        self._drop_older_failures(held.identity, there)

    def _failure(self, held: _Held, record: Record) -> None:
        found = self._there(held.identity, good=False)
        if self._there(held.identity, good=True) is not None:
            self.done.left_out += 1
        elif found is None:
            path = self.target / f"{file_stem(*held.identity)}.json"
            self.places[held.identity, False] = self._write(path, held, record)
            self.done.added += 1
        elif _content(found[1]) == _content(record):
            self.done.there += 1
        elif _finished(found[1]) < _finished(record):
            self._write(found[0], held, record)
            self.done.replaced += 1
        else:
            self.done.left_out += 1

    def _there(self, identity: Identity, *, good: bool) -> tuple[Path, Record] | None:
        """The target's record of ``identity``, read anew: a sweep may be writing there."""
        path = self.places.get((identity, good), self.target / f"{file_stem(*identity)}.json")
        if not path.exists():
            return None
        record = read_record(path)
        return (path, record) if (record["status"] == "ok") == good else None

    def _drop_older_failures(self, identity: Identity, good: Record) -> None:
        """Remove what failed before the good record was made; a failure behind it stays beside it."""
        beside = self.target / f"{file_stem(*identity)}.failed.json"
        for path in {beside, self.places.get((identity, False), beside)}:
            if path.exists():
                there = read_record(path)
                if there["status"] != "ok" and _finished(there) <= _finished(good):
                    path.unlink()

    def _set_aside(self, held: _Held, record: Record, content: str, *, differs: bool) -> None:
        path = self.target / ASIDE / f"{file_stem(*held.identity)}.{content[:8]}.json"
        if not path.exists():
            self._write(path, held, record)
        if path not in self.done.aside:
            self.done.aside.append(path)
            if differs:
                self.done.differing.append(path)

    def _write(self, path: Path, held: _Held, record: Record) -> Path:
        """Copy the vectors and then the record that names them; they are checked where they arrived."""
        if record.get("vectors"):
            file = record["vectors"]["file"]
            if not (path.parent / file).exists():
                write_atomically(path.parent / file, (held.path.parent / file).read_bytes())
            vectors_of(path.parent, record)
        write_atomically(path, held.path.read_bytes())
        return path


def _files(folder: Path) -> Iterator[tuple[Path, bool]]:
    """The records in ``folder``, and whether each is one that was set aside."""
    for place in (folder, folder / ASIDE):
        for path in sorted(place.glob("*.json")):
            yield path, place != folder


def _content(record: Record) -> str:
    """A hash of a record but for what a paper printed, which a sweep adds without running anything."""
    own = {key: value for key, value in record.items() if key != "published"}
    return hashlib.blake2b(json.dumps(own, sort_keys=True).encode(), digest_size=16).hexdigest()


def _result(record: Record) -> Any:
    """What must be equal for two good records to say the same."""
    return record["metrics"], (record.get("vectors") or {}).get("digest")


def _finished(record: Record) -> str:
    return str(record.get("finished", ""))
