"""Archives, unpacked so that nothing lands outside their folder and nothing half-done is left in it."""

from __future__ import annotations

import shutil
import tarfile
import tempfile
import zlib
from collections.abc import Collection, Iterator
from pathlib import Path, PurePosixPath

from inrbench.errors import BadData

__all__ = ["safe_members", "unpack"]


def safe_members(archive: tarfile.TarFile, path: Path) -> Iterator[tuple[str, tarfile.TarInfo]]:
    """The regular files of a tar archive with their names, in its order.

    Raises BadData, naming the entry, for an absolute path, a ``..``, a link or a device: no data set has those.
    """
    for entry in archive:
        name = PurePosixPath(entry.name)
        if name.is_absolute() or ".." in name.parts or "\\" in entry.name or ":" in entry.name:
            raise BadData(f"{path}: refused to unpack, its entry {entry.name!r} points outside the archive")
        if entry.isfile():
            yield name.as_posix(), entry
        elif not entry.isdir():
            raise BadData(f"{path}: refused to unpack, its entry {entry.name!r} is neither a file nor a folder")


def unpack(path: Path, folder: Path, wanted: Collection[str]) -> None:
    """Unpack the files ``wanted`` of a tar archive into ``folder``; each appears there whole or not at all.

    Raises BadData for an archive that is damaged, lacks a wanted file, or has an entry that `safe_members` refuses.
    """
    temporary = Path(tempfile.mkdtemp(dir=folder, prefix=".unpacking-"))
    try:
        found = _extract(path, temporary, wanted)
        if missing := sorted(set(wanted) - found):
            raise BadData(f"{path}: the archive lacks {', '.join(missing)}")
        for name in sorted(found):
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            (temporary / name).replace(target)
    except (tarfile.TarError, EOFError, zlib.error, OSError) as error:
        raise BadData(f"{path}: cannot be unpacked into {folder} ({error})") from None
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _extract(path: Path, temporary: Path, wanted: Collection[str]) -> set[str]:
    found: set[str] = set()
    with tarfile.open(path, "r:*") as archive:
        for name, entry in safe_members(archive, path):
            content = archive.extractfile(entry)
            if name not in wanted or content is None:
                continue
            target = temporary / name
            target.parent.mkdir(parents=True, exist_ok=True)
            with target.open("wb") as stream:
                shutil.copyfileobj(content, stream, 1 << 20)
            found.add(name)
    return found
