"""Where the photographs of a tar archive lie in it: found once, then remembered in the user's cache.

An archive of archives (a class each) is looked through to the photographs in the inner ones. Nothing is unpacked.
"""

from __future__ import annotations

import hashlib
import itertools
import logging
import os
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path, PurePosixPath
from typing import IO

import numpy as np

from inrbench.data import cache_root, digests, safe_members
from inrbench.domains import Array
from inrbench.errors import BadData

__all__ = ["TarIndex", "read_index"]

log = logging.getLogger("inrbench")
SUFFIX = ".JPEG"
#: Bytes from which on looking through an archive takes long enough to say so.
LARGE = 4 << 30


@dataclass(frozen=True)
class TarIndex:
    """The photographs of an archive, in the order of their names."""

    names: Array  # [photographs], bytes: NAME.JPEG, or CLASS/NAME.JPEG out of an inner archive CLASS.tar
    offsets: Array  # [photographs], int64: where the content begins in the (outer) archive
    sizes: Array  # [photographs], int64: bytes of the content

    def __len__(self) -> int:
        return len(self.names)


def read_index(path: Path, *, nested: bool) -> TarIndex:
    """The photographs in the archive at ``path``; with ``nested``, those in the archives in it.

    Raises BadData for an archive that is damaged, holds no photographs or one name twice, or has an entry that
    `safe_members` refuses.
    """
    # the content decides, not the place: an archive that was moved or copied keeps its index
    parts = ("1", digests(path).content["sha256"], nested)
    key = hashlib.sha256("|".join(map(str, parts)).encode()).hexdigest()[:24]
    place = cache_root() / "archives" / f"{path.stem}-{key}.npz"
    index = _remembered(place)
    if index is None:
        if path.stat().st_size >= LARGE:
            log.warning("%s: looking up where its photographs lie; this takes minutes, once", path)
        index = _looked_up(path, nested)
        _remember(place, index)
    return index


def _looked_up(path: Path, nested: bool) -> TarIndex:
    found: list[tuple[bytes, int, int]] = []
    try:
        with path.open("rb") as stream:
            for name, offset, size, inner in _files(stream, path, path.name):
                if not nested:
                    found.append((name.encode(), offset, size))
                elif name.endswith(".tar"):
                    folder = PurePosixPath(name).stem
                    for part, place, length, _ in _files(inner, path, name):
                        found.append((f"{folder}/{part}".encode(), offset + place, length))
    except (tarfile.TarError, EOFError, OSError, UnicodeEncodeError) as error:
        raise BadData(f"{path}: damaged archive ({error}); fetch it again") from None
    found = sorted(entry for entry in found if entry[0].endswith(SUFFIX.encode()))
    if not found:
        raise BadData(f"{path}: holds no photographs; looked for *{SUFFIX}{' in *.tar' if nested else ''}")
    names, offsets, sizes = zip(*found, strict=True)
    for one, other in itertools.pairwise(names):
        if one == other:
            raise BadData(f"{path}: holds {one.decode()} twice")
    return TarIndex(np.array(names), np.array(offsets, dtype=np.int64), np.array(sizes, dtype=np.int64))


def _files(stream: IO[bytes], path: Path, title: str) -> Iterator[tuple[str, int, int, IO[bytes]]]:
    """(name, where its content begins, its size, its content) of each file of the archive in ``stream``."""
    with tarfile.open(fileobj=stream, mode="r:") as archive:
        for name, entry in safe_members(archive, path):
            content = archive.extractfile(entry)
            assert content is not None  # a regular file
            yield name, entry.offset_data, entry.size, content
        stream.seek(archive.offset)
        if stream.read(tarfile.BLOCKSIZE).strip(b"\0"):  # tarfile takes a damaged header for the end of the archive
            raise tarfile.ReadError(f"{title} has a damaged header at byte {archive.offset:,}")


def _remembered(place: Path) -> TarIndex | None:
    try:
        with place.open("rb") as stream, np.load(stream, allow_pickle=False) as stored:
            index = TarIndex(*(stored[field.name] for field in fields(TarIndex)))
    except (OSError, ValueError, EOFError, KeyError, zlib.error, zipfile.BadZipFile):  # none yet, or damaged
        return None
    kinds = (index.names.dtype.kind, index.offsets.dtype, index.sizes.dtype)
    shapes = {index.names.shape, index.offsets.shape, index.sizes.shape}
    return index if kinds == ("S", np.int64, np.int64) and len(shapes) == 1 and index.names.ndim == 1 else None


def _remember(place: Path, index: TarIndex) -> None:
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=place.parent, suffix=".tmp")
    except OSError:  # a cache that cannot be written costs time, never a result
        return
    try:
        with os.fdopen(handle, "wb") as stream:
            np.savez(stream, names=index.names, offsets=index.offsets, sizes=index.sizes)
        Path(temporary).replace(place)
    except OSError:
        Path(temporary).unlink(missing_ok=True)
