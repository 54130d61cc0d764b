"""Point clouds in the user's cache: float32 arrays that are written once and mapped into memory afterwards."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import numpy as np

from inrbench.domains import Array
from inrbench.errors import BadData

__all__ = ["Clouds"]

#: Free space that is left alone.
RESERVE_BYTES = 32 << 20


class Clouds:
    """The clouds of one data set, ``points`` each, in the folder ``place``; it is there whole or not at all."""

    def __init__(self, place: Path, points: int) -> None:
        self.place, self.points = place, points

    def read(self, splits: Iterable[str]) -> dict[str, tuple[Array, Array]] | None:
        """(clouds [signals, points, 3], mapped into memory, and labels [signals]) of each of ``splits``.

        None where the cache does not hold them or holds something damaged.
        """
        found: dict[str, tuple[Array, Array]] = {}
        for split in splits:
            try:
                clouds = np.load(self.place / f"{split}.npy", mmap_mode="r", allow_pickle=False)
                labels = np.load(self.place / f"{split}-labels.npy", allow_pickle=False)
            except (OSError, ValueError, EOFError):
                return None
            if clouds.dtype != np.float32 or clouds.shape != (len(labels), self.points, 3) or labels.dtype != np.int64:
                return None
            found[split] = clouds, labels
        return found

    def write(self, splits: Mapping[str, tuple[Array, Iterable[Array]]]) -> None:
        """Write labels [signals] and as many clouds [points, 3] of each split; they appear together at the end.

        Raises BadData where the cache cannot be written or the disk is too full.
        """
        signals = sum(len(labels) for labels, _ in splits.values())
        with self._temporary(signals * self.points * 3 * 4) as folder:
            for split, (labels, clouds) in splits.items():
                stored = np.lib.format.open_memmap(
                    folder / f"{split}.npy", mode="w+", dtype=np.float32, shape=(len(labels), self.points, 3)
                )
                for row, cloud in zip(stored, clouds, strict=True):
                    row[...] = cloud
                stored.flush()
                np.save(folder / f"{split}-labels.npy", labels.astype(np.int64))

    @contextlib.contextmanager
    def _temporary(self, needed_bytes: int) -> Iterator[Path]:
        """A folder that takes its place when the block ends without an error, and goes away in any case."""
        parent = self.place.parent
        try:
            parent.mkdir(parents=True, exist_ok=True)
            free = shutil.disk_usage(parent).free
            temporary = Path(tempfile.mkdtemp(dir=parent, prefix=".sampling-"))
        except OSError as error:
            raise BadData(
                f"cannot write the cache {parent} ({error.strerror or error}); "
                f"name another folder with the environment variable INRBENCH_CACHE"
            ) from None
        try:
            if free < needed_bytes + RESERVE_BYTES:
                raise BadData(
                    f"surface points need {needed_bytes / 1e6:,.0f} MB and the cache {parent} has "
                    f"{free / 1e6:,.0f} MB free; name another folder with the environment variable INRBENCH_CACHE"
                )
            new, old = temporary / "new", temporary / "old"
            new.mkdir()
            yield new
            with contextlib.suppress(FileNotFoundError):
                self.place.rename(old)  # damaged, or another process was faster with the same content
            try:
                new.rename(self.place)
            except OSError:
                if not self.place.exists():  # else another process was faster just now
                    raise
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
