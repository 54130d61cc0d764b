"""Disk: what lies in the cache and beside records, what of it is still referred to, and removing the rest.

The cache can be deleted at any time; what goes is computed again where it is needed. A stage stays while a record
refers to it: pictures and `verify` need it, and an interrupted cell goes on from it. Files that inrbench does not know
are never touched, nor is what was written within the last hour: a running cell writes there.
"""

from __future__ import annotations

import json
import math
import os
import re
import stat
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from inrbench.merging import ASIDE
from inrbench.progress import Progress
from inrbench.records import read_record

__all__ = ["IN_USE_S", "Entry", "Survey", "remove", "survey"]

#: What was written so many seconds ago or less may be in use.
IN_USE_S = 3600.0
Kind = Literal["stage", "checksum", "vectors", "leftover"]

STAGE = re.compile(r"[0-9a-f]{32}")
STAGE_FILES = re.compile(r"(trained|sample|.+\.checkpoint)\.safetensors")
#: A folder of representations that were too large for memory; a reader that was killed leaves it.
TEMPORARY = re.compile(r"representations-[a-z0-9_]+")
CHECKSUM = re.compile(r"[0-9a-f]{32}\.json")
VECTORS = re.compile(r".+-[0-9a-f]{8}\.[0-9a-f]{8}\.safetensors")
#: What an atomic write leaves where it was killed, in stages and records and beside checksums.
LEFTOVER = re.compile(r"\..+\.\d+\.part|\.\d+\.probe|tmp[a-z0-9_]+\.tmp")


@dataclass(frozen=True)
class Entry:
    """Files that are kept or removed together."""

    kind: Kind
    path: Path  # the folder of a stage, else the file
    files: tuple[Path, ...]
    size_bytes: int
    written: float  # when the newest file was, in seconds since 1970
    records: int = 0  # that refer to it
    wanted: bool = False  # for another reason: the data of a checksum is there


@dataclass(frozen=True)
class Survey:
    """What there is. ``others`` are the bytes of what is not looked into, by name."""

    cache: Path
    now: float
    entries: tuple[Entry, ...]
    others: Mapping[str, int] = field(default_factory=dict)

    def removable(self, older_than_s: float, *, in_use_s: float = IN_USE_S) -> list[Entry]:
        """What nothing refers to and is older than ``older_than_s``, or ``in_use_s`` where it is of no use at all."""
        return [
            entry
            for entry in self.entries
            if not entry.records
            and not entry.wanted
            and self.now - entry.written > in_use_s
            and (self.now - entry.written > older_than_s or entry.kind in ("vectors", "leftover"))
        ]


def survey(cache: Path, records: Sequence[Path], now: float | None = None, progress: Progress | None = None) -> Survey:
    """Look at the cache and at the folders of ``records``. Raises RecordError for a record that cannot be read."""
    folders = [place for folder in records for place in (folder, folder / ASIDE) if place.is_dir()]
    entries: list[Entry] = []
    keys: dict[str, int] = {}
    shown = progress or Progress(quiet=True)
    for folder in folders:
        named = set()
        paths = sorted(folder.glob("*.json"))
        with shown.task(f"read {folder.name}", len(paths)) as task:
            for path in paths:
                record = read_record(path)
                for key in set((record.get("keys") or {}).values()):
                    keys[key] = keys.get(key, 0) + 1
                named.add((record.get("vectors") or {}).get("file"))
                task.advance()
        entries += _files("vectors", folder, VECTORS, named)
        entries += _files("leftover", folder, LEFTOVER)
    for folder in _folders(cache / "stages"):
        if STAGE.fullmatch(folder.name):
            entries += _files("leftover", folder, LEFTOVER)
            entries += _stage(folder, keys.get(folder.name, 0))
    entries += _checksums(cache / "checksums")
    there = tuple(entry for entry in entries if math.isfinite(entry.written))
    return Survey(cache, time.time() if now is None else now, there, _others(cache, there))


def remove(entries: Iterable[Entry]) -> tuple[int, list[str]]:
    """Remove ``entries`` but for those that were written to since; returns the bytes, and what could not be removed."""
    freed, refused = 0, []
    stages: list[Entry] = []
    for entry in sorted(entries, key=lambda one: one.kind != "stage"):  # a file less is a change of its folder too
        if any(status.st_mtime > entry.written for path in (entry.path, *entry.files) if (status := _status(path))):
            continue  # somebody came back to it
        if entry.kind == "stage":
            stages.append(entry)
        for path in entry.files:
            status = _status(path)
            try:
                path.unlink(missing_ok=True)
                freed += status.st_size if status else 0
            except OSError as error:
                refused.append(f"{path}: {error.strerror or error}")
    for entry in stages:
        for folder in (*{path.parent for path in entry.files if path.parent != entry.path}, entry.path):
            with suppress(OSError):  # it holds something else
                folder.rmdir()
    return freed, refused


def _stage(folder: Path, records: int) -> Iterator[Entry]:
    """A stage; where it holds files that are not known, these are not in its entry."""
    files = [path for path in _children(folder) if path.is_file() and STAGE_FILES.fullmatch(path.name)]
    for inner in _folders(folder):
        if TEMPORARY.fullmatch(inner.name):
            files += [path for path in _children(inner) if path.suffix == ".npy"]
    if files or not any(folder.iterdir()):
        yield _entry("stage", folder, files, records)


def _checksums(folder: Path) -> Iterator[Entry]:
    for path in _children(folder):
        if CHECKSUM.fullmatch(path.name) and path.is_file():
            with suppress(OSError, ValueError, KeyError, TypeError):  # another's file
                of = Path(json.loads(path.read_bytes())["path"])
                yield _entry("checksum", path, [path], wanted=of.exists())
    yield from _files("leftover", folder, LEFTOVER)


def _files(kind: Kind, folder: Path, names: re.Pattern[str], but: Iterable[str | None] = ()) -> Iterator[Entry]:
    for path in _children(folder):
        if names.fullmatch(path.name) and path.name not in but and path.is_file():
            yield _entry(kind, path, [path])


def _entry(kind: Kind, path: Path, files: Sequence[Path], records: int = 0, *, wanted: bool = False) -> Entry:
    there = [(file, status) for file in files if (status := _status(file))]  # a running cell removes some
    times = [status.st_mtime for _, status in there] + ([status.st_mtime] if (status := _status(path)) else [])
    size = sum(status.st_size for _, status in there)
    return Entry(kind, path, tuple(file for file, _ in there), size, max(times, default=math.inf), records, wanted)


def _others(cache: Path, entries: Iterable[Entry]) -> dict[str, int]:
    """The bytes of all other files in the cache, by the folder that they are in."""
    known = {file for entry in entries for file in entry.files}
    found: dict[str, int] = {}
    for path in cache.rglob("*"):
        status = _status(path)
        if status is not None and stat.S_ISREG(status.st_mode) and path not in known:
            top = path.relative_to(cache).parts[0]
            found[top] = found.get(top, 0) + status.st_size
    return found


def _status(path: Path) -> os.stat_result | None:
    try:
        return path.lstat()
    except FileNotFoundError:
        return None


def _folders(folder: Path) -> list[Path]:
    return [path for path in _children(folder) if path.is_dir()]


def _children(folder: Path) -> list[Path]:
    """What is in ``folder``, but for links: what they lead to is not ours."""
    return sorted(path for path in folder.iterdir() if not path.is_symlink()) if folder.is_dir() else []
