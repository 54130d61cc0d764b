"""Meshes in ModelNet's layout, ``ModelNet40/CLASS/SPLIT/NAME.off``, in its archive or in the unpacked folder."""

from __future__ import annotations

import io
import re
import zipfile
import zlib
from collections.abc import Collection, Iterable
from pathlib import Path, PurePosixPath
from types import TracebackType

import numpy as np

from inrbench.domains import Array
from inrbench.errors import BadData, nearest

__all__ = ["ROOT", "SPLITS", "Meshes", "class_of", "read_off"]

ROOT = "ModelNet40"
SPLITS = ("train", "test")

#: Some of ModelNet's headers run into the counts: ``OFF28048 35408 0``. Comments and blank lines may come anywhere.
_COUNTS = re.compile(rb"(?:\s|#[^\n]*\n)*C?OFF(?:\s|#[^\n]*\n)*(\d+)\s+(\d+)")


class Meshes:
    """The meshes of ``classes`` in the archive or folder ``source``; nothing is unpacked.

    Raises BadData for a damaged archive, for a folder that is no class, and for a split without meshes.
    """

    def __init__(self, source: Path, classes: Collection[str]) -> None:
        self.source = source
        self._archive: zipfile.ZipFile | None = None
        try:
            if source.is_dir():
                names = [path.relative_to(source).as_posix() for path in source.glob("*/*/*.off")]
                entries = [f"{ROOT}/{name}" for name in names]
            else:
                self._archive = zipfile.ZipFile(source)
                entries = self._archive.namelist()
        except (zipfile.BadZipFile, OSError) as error:
            raise BadData(f"{source}: damaged archive ({error}); fetch it again") from None
        self.names = {split: sorted(found) for split, found in _by_split(entries, classes, source).items()}

    def __enter__(self) -> Meshes:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._archive is not None:
            self._archive.close()

    def read(self, name: str) -> tuple[Array, Array]:
        """(vertices [vertices, 3], triangles [triangles, 3]) of the mesh ``name``."""
        try:
            if self._archive is not None:
                content = self._archive.read(name)
            else:
                content = (self.source / name.partition("/")[2]).read_bytes()
        except (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError) as error:  # RuntimeError: encrypted
            raise BadData(f"{self.source}: {name}: cannot be read ({error}); fetch it again") from None
        return read_off(content, f"{self.source}: {name}")


def class_of(name: str) -> str:
    """``airplane`` for ``ModelNet40/airplane/train/airplane_0001.off``."""
    return name.split("/")[1]


def _by_split(entries: Iterable[str], classes: Collection[str], source: Path) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {split: set() for split in SPLITS}
    for entry in entries:
        parts = PurePosixPath(entry).parts  # the archive also holds what macOS adds: .DS_Store, __MACOSX/..., ._NAME
        if len(parts) != 4 or parts[0] != ROOT or not parts[3].endswith(".off") or parts[3].startswith("."):
            continue
        if parts[2] not in SPLITS:
            continue
        if parts[1] not in classes:
            raise BadData(f"{source}: {entry}: no class is named {parts[1]!r}; {nearest(parts[1], classes)}")
        found[parts[2]].add(entry)
    for split, names in found.items():
        if not names:
            raise BadData(f"{source}: holds no meshes of the split {split!r} ({ROOT}/CLASS/{split}/NAME.off)")
    return found


def read_off(content: bytes, where: str) -> tuple[Array, Array]:
    """(vertices [vertices, 3] float64, triangles [triangles, 3] integers) of an OFF file; polygons are cut up.

    Raises BadData, naming ``where``, for a file that is no OFF mesh, is cut off, or has no surface.
    """
    from trimesh.exchange.off import load_off  # takes a second, which listing data sets should not cost

    counts = _COUNTS.match(content)
    if counts is None:
        raise BadData(f"{where}: not a readable OFF mesh (it has no header with counts)")
    try:
        loaded = load_off(io.BytesIO(content))
        vertices = np.asarray(loaded["vertices"], dtype=np.float64)
        triangles = np.asarray(loaded["faces"], dtype=np.int64).reshape(-1, 3)
    except Exception as error:  # whatever a parser stumbles over in a damaged file
        raise BadData(f"{where}: not a readable OFF mesh ({str(error).splitlines()[0]})") from None
    announced = int(counts[2])
    if len(triangles) < announced:  # the parser takes what is there
        raise BadData(f"{where}: cut off, it has {len(triangles)} of {announced} faces")
    if len(triangles) == 0:
        raise BadData(f"{where}: has no faces")
    if triangles.min() < 0 or triangles.max() >= len(vertices):
        raise BadData(f"{where}: a face names a vertex that is not one of the {len(vertices)}")
    if not np.isfinite(vertices).all():
        raise BadData(f"{where}: has vertices that are not finite")
    return vertices, triangles
