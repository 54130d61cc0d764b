"""Decoded images in the user's cache: uint8 arrays that are written once and mapped into memory afterwards."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from inrbench.domains import Array
from inrbench.errors import BadData
from inrbench.signals import GridSignals, numbered

__all__ = ["Decoded", "Writer"]


class Writer:
    """Arrays on their way into the cache, by split: images [images, size, size, 3] and labels [images]."""

    def __init__(self, folder: Path, counts: Mapping[str, int], size: int) -> None:
        self._labels = {split: np.full(count, -1, dtype=np.int64) for split, count in counts.items()}
        self._images = {
            split: np.lib.format.open_memmap(
                folder / f"{split}.npy", mode="w+", dtype=np.uint8, shape=(count, size, size, 3)
            )
            for split, count in counts.items()
        }
        self._folder = folder

    def put(self, split: str, i: int, image: Array, label: int) -> None:
        """Image ``i`` of a split, [size, size, 3] uint8, with its class."""
        self._images[split][i] = image
        self._labels[split][i] = label

    def finish(self) -> None:
        """Write everything to the disk. Raises BadData where images were announced and never came."""
        for split, labels in self._labels.items():
            if (labels < 0).any():
                raise BadData(f"{int((labels < 0).sum())} images of the split {split!r} could not be found again")
            self._images[split].flush()
            np.save(self._folder / f"{split}-labels.npy", labels)
        self._images.clear()


class Decoded:
    """One decoded data set, in the folder ``place`` of the cache; it is there whole or not at all."""

    def __init__(self, place: Path) -> None:
        self.place = place

    def read(self, size: int, splits: tuple[str, ...] = ("train", "test")) -> dict[str, GridSignals] | None:
        """The splits, memory-mapped; None where the cache does not hold them or holds something damaged."""
        found: dict[str, GridSignals] = {}
        for split in splits:
            try:
                # copy on write: frameworks want writable arrays, and what they write never reaches the file
                images = np.load(self.place / f"{split}.npy", mmap_mode="c", allow_pickle=False)
                labels = np.load(self.place / f"{split}-labels.npy", allow_pickle=False)
            except (OSError, ValueError, EOFError):
                return None
            if images.dtype != np.uint8 or images.shape != (len(labels), size, size, 3) or labels.dtype != np.int64:
                return None
            found[split] = GridSignals(images, labels)
        return numbered(found)

    @contextmanager
    def writing(self, counts: Mapping[str, int], size: int) -> Iterator[Writer]:
        """Write the splits of ``counts`` images each; they appear when the block ends without an error."""
        needed = sum(counts.values()) * size * size * 3
        try:
            self.place.parent.mkdir(parents=True, exist_ok=True)
            free = shutil.disk_usage(self.place.parent).free
            temporary = Path(tempfile.mkdtemp(dir=self.place.parent, prefix=".decoding-"))
        except OSError as error:
            raise BadData(
                f"cannot write the cache {self.place.parent} ({error.strerror or error}); "
                f"name another folder with the environment variable INRBENCH_CACHE"
            ) from None
        try:
            if free < needed:
                raise BadData(
                    f"decoded images need {needed / 1e6:,.0f} MB and the cache {self.place.parent} has "
                    f"{free / 1e6:,.0f} MB free; name another folder with the environment variable INRBENCH_CACHE"
                )
            writer = Writer(temporary, counts, size)
            yield writer
            writer.finish()
            if self.place.exists():  # damaged, or another process was faster: what is there is replaced as a whole
                os.replace(self.place, temporary / "replaced")  # noqa: PTH105
            try:
                temporary.rename(self.place)
            except OSError:
                if not self.place.exists():  # else another process was faster just now, with the same content
                    raise
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
            shutil.rmtree(self.place / "replaced", ignore_errors=True)
