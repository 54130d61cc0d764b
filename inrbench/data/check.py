"""Whether the files of a data set are the official ones: by content, and once."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import tempfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal

from inrbench.data.official import OfficialFile
from inrbench.data.root import cache_root
from inrbench.errors import BadData

__all__ = ["DataCheck", "Digests", "FileCheck", "check_files", "combined_checksum", "digests"]

State = Literal["official", "unofficial", "missing"]
_CHUNK = 1 << 20


@dataclass(frozen=True)
class Digests:
    """MD5 and SHA-256 in hex, by algorithm, of a file as it lies there and of its content.

    They differ for a ``.gz`` only. A folder has a ``content`` SHA-256, over the names and contents in it.
    """

    stored: Mapping[str, str]
    content: Mapping[str, str]


@dataclass(frozen=True)
class FileCheck:
    """What was found for one official file; ``published`` and ``actual`` are of the same bytes and algorithm."""

    file: OfficialFile
    path: Path | None  # where it lies
    state: State
    algorithm: str = ""
    published: str = ""  # empty where the publisher gives no checksum of this form
    actual: str = ""
    content_sha256: str = ""

    def difference(self) -> str:
        """``md5 published 1a.., found 2b..``; why it is not official."""
        if not self.published:
            return f"{self.algorithm} found {self.actual}, and no checksum of this form is published"
        return f"{self.algorithm} published {self.published}, found {self.actual}"


@dataclass(frozen=True)
class DataCheck:
    """What was found for all files of a data set."""

    folder: Path
    files: tuple[FileCheck, ...]

    @property
    def state(self) -> State:
        """The worst of the files' states."""
        states = {found.state for found in self.files}
        return "missing" if "missing" in states else "unofficial" if "unofficial" in states else "official"

    @property
    def checksum(self) -> str:
        """The data's own hash: SHA-256 in hex over (path, SHA-256 of the content) of all files that are there.

        The same for a ``.gz``, a re-compressed ``.gz`` and the decompressed file.
        """
        return combined_checksum({found.file.path: found.content_sha256 for found in self.files if found.path})


def check_files(files: Iterable[OfficialFile], folder: Path) -> DataCheck:
    """Compare what lies in ``folder`` with what was published.

    Raises BadData for a file that cannot be read or whose compression is damaged.
    """
    return DataCheck(folder, tuple(_check_file(part, folder) for file in files for part in file.read_files()))


def _check_file(file: OfficialFile, folder: Path) -> FileCheck:
    path = file.locate(folder)
    if path is None:
        return FileCheck(file, None, "missing")
    found = digests(path)
    as_published = path == folder / file.path
    comparisons = [(c, found.content.get(c.algorithm, "")) for c in file.content_checksums]
    if as_published:
        comparisons += [(c, found.stored.get(c.algorithm, "")) for c in file.checksums]
    for published, actual in comparisons:
        if published.digest == actual:
            return FileCheck(file, path, "official", published.algorithm, actual, actual, found.content["sha256"])
    own = found.content["sha256"]
    if not comparisons:
        return FileCheck(file, path, "unofficial", "sha256", "", own, own)
    published, actual = comparisons[0]
    return FileCheck(file, path, "unofficial", published.algorithm, published.digest, actual, own)


def combined_checksum(contents: Mapping[str, str]) -> str:
    """SHA-256 in hex over the (name, SHA-256 of the content) pairs of ``contents``, in the order of the names."""
    whole = hashlib.sha256()
    for name in sorted(contents):
        whole.update(f"{contents[name]}  {name}\n".encode())
    return whole.hexdigest()


def digests(path: Path) -> Digests:
    """The checksums of a file or a folder, computed once and then remembered in the user's cache.

    The memory is keyed by absolute path, size and times of change; a folder's by those of all files in it.
    """
    path = path.absolute()
    try:
        stamp = _stamp(path)
        memo = cache_root() / "checksums" / (hashlib.sha256(str(path).encode()).hexdigest()[:32] + ".json")
        known = _remembered(memo, str(path), stamp)
        if known is None:
            known = _folder_digests(path) if path.is_dir() else _file_digests(path)
            _remember(memo, str(path), stamp, known)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise BadData(f"{path}: damaged gzip file ({error}); fetch it again") from None
    except OSError as error:
        raise BadData(f"{path}: cannot be read ({error.strerror or error})") from None
    return known


def _file_digests(path: Path) -> Digests:
    with path.open("rb") as stream:
        stored = _hash(stream)
    if path.suffix != ".gz":
        return Digests(stored, stored)
    with gzip.open(path, "rb") as stream:
        return Digests(stored, _hash(stream))


def _folder_digests(path: Path) -> Digests:
    contents: dict[str, str] = {}
    for file in _files_in(path):
        with file.open("rb") as stream:
            contents[file.relative_to(path).as_posix()] = hashlib.file_digest(stream, "sha256").hexdigest()
    return Digests({}, {"sha256": combined_checksum(contents)})


def _hash(stream: IO[bytes] | gzip.GzipFile) -> dict[str, str]:
    first, second = hashlib.md5(usedforsecurity=False), hashlib.sha256()
    while chunk := stream.read(_CHUNK):
        first.update(chunk)
        second.update(chunk)
    return {"md5": first.hexdigest(), "sha256": second.hexdigest()}


def _files_in(folder: Path) -> Iterator[Path]:
    for parent, folders, names in os.walk(folder):
        folders.sort()
        yield from (Path(parent, name) for name in sorted(names))


def _stamp(path: Path) -> str:
    files = list(_files_in(path)) if path.is_dir() else [path]
    lines = hashlib.sha256()
    for file in files:
        status = file.stat()
        # the time of the last status change catches what was swapped in with its old modification time
        line = f"{file.relative_to(path)}|{status.st_size}|{status.st_mtime_ns}|{status.st_ctime_ns}\n"
        lines.update(line.encode())
    return lines.hexdigest()


def _remembered(memo: Path, path: str, stamp: str) -> Digests | None:
    try:
        entry: Any = json.loads(memo.read_text(encoding="utf-8"))
    except (OSError, ValueError):  # none yet, or damaged: it is written anew
        return None
    if not isinstance(entry, dict) or entry.get("path") != path or entry.get("stamp") != stamp:
        return None
    stored, content = _as_digests(entry.get("stored")), _as_digests(entry.get("content"))
    return None if stored is None or not content or "sha256" not in content else Digests(stored, content)


def _as_digests(value: Any) -> dict[str, str] | None:
    if not isinstance(value, dict) or not all(isinstance(part, str) for item in value.items() for part in item):
        return None
    return value


def _remember(memo: Path, path: str, stamp: str, known: Digests) -> None:
    entry = {"path": path, "stamp": stamp, "stored": dict(known.stored), "content": dict(known.content)}
    try:
        memo.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=memo.parent, suffix=".tmp")
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            json.dump(entry, stream)
        Path(temporary).replace(memo)
    except OSError:  # a cache that cannot be written costs time, never a result
        return
