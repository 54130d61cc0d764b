"""Photographs as their publisher has them, of all sizes: what training cuts windows out of, anew at each step.

Their files' contents are kept one behind the other in the user's cache, since an archive that is compressed as a whole
cannot be read here and there. They are written when the first window is asked for.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from inrbench.domains import Array
from inrbench.errors import BadData
from inrbench.signals import GridSignals
from inrbench_images.pictures import decode, open_picture

__all__ = ["Originals", "WindowedPhotographs"]

THREADS = min(8, os.cpu_count() or 1)


@dataclass(frozen=True)
class Originals:
    """The photographs of one split in the order of its signals; ``read`` yields (row, content) of each, once."""

    place: Path  # a folder of the cache
    count: int
    read: Callable[[], Iterator[tuple[int, bytes]]]

    def keep(self) -> None:
        """Write what is not in the cache yet: before several threads ask for it at once."""
        self._kept()

    def window(self, row: int, size: int, rng: np.random.Generator) -> Array:
        """[size, size, 3] of photograph ``row``, anywhere in it; one that is too small is enlarged first."""
        from PIL import Image

        picture = open_picture(self._content(row), f"{self.place}: photograph {row}").convert("RGB")
        if min(picture.size) < size:
            grown = [max(size, round(side * size / min(picture.size))) for side in picture.size]
            picture = picture.resize((grown[0], grown[1]), Image.Resampling.BICUBIC)
        left, top = (int(rng.integers(0, side - size + 1)) for side in picture.size)
        return decode(picture.crop((left, top, left + size, top + size)), "rgb")

    def _content(self, row: int) -> bytes:
        ends, contents = self._kept()
        return contents[ends[row] : ends[row + 1]].tobytes()

    def _kept(self) -> tuple[Array, Array]:
        """(where each photograph begins, and the last one ends; all bytes), mapped from the cache."""
        for _ in range(2):
            if (kept := self._mapped()) is not None:
                return kept
            self._write()
        raise BadData(f"photographs that were kept cannot be read back from {self.place}")

    def _mapped(self) -> tuple[Array, Array] | None:
        try:
            ends = np.load(self.place / "ends.npy", mmap_mode="r", allow_pickle=False)
            contents = np.load(self.place / "contents.npy", mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError, EOFError):
            return None
        whole = ends.shape == (self.count + 1,) and contents.shape == (int(ends[-1]),)
        return (ends, contents) if whole else None

    def _write(self) -> None:
        contents: list[bytes | None] = [None] * self.count
        for row, content in self.read():
            contents[row] = content
        if lost := sum(content is None for content in contents):
            raise BadData(f"{lost} photographs could not be found again")
        whole = b"".join(content for content in contents if content is not None)
        ends = np.cumsum([0, *(len(content or b"") for content in contents)], dtype=np.int64)
        try:
            self.place.parent.mkdir(parents=True, exist_ok=True)
            temporary = Path(tempfile.mkdtemp(dir=self.place.parent, prefix=".keeping-"))
        except OSError as error:
            raise BadData(
                f"cannot write the cache {self.place.parent} ({error.strerror or error}); "
                "name another folder with the environment variable INRBENCH_CACHE"
            ) from None
        try:
            np.save(temporary / "contents.npy", np.frombuffer(whole, dtype=np.uint8))
            np.save(temporary / "ends.npy", ends)
            if self._mapped() is None:  # else another process was faster, with the same content
                shutil.rmtree(self.place, ignore_errors=True)
                temporary.rename(self.place)
        except OSError:
            if self._mapped() is None:  # else another process was faster just now
                raise
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


@dataclass(frozen=True)
class WindowedPhotographs(GridSignals):
    """Photographs made square, with their originals; implements `inrbench.signals.WindowedSignals`."""

    originals: Originals | None = None
    rows: Array | None = None  # [signals] of the originals; the first ones, in order, if empty

    def take(self, indices: Array) -> WindowedPhotographs:
        """The signals at ``indices``, in that order, with their ids and originals."""
        rows = np.arange(len(self)) if self.rows is None else self.rows
        labels = None if self.labels is None else self.labels[indices]
        return WindowedPhotographs(
            self.values[indices], labels, self.ids[indices], self.to_unit, self.originals, rows[indices]
        )

    def windows(self, indices: Array, rngs: Callable[[int], np.random.Generator]) -> Array:
        """[signals, size, size, 3] cut out of the originals of the signals at ``indices``; draws are by id."""
        assert self.originals is not None
        originals, size = self.originals, self.values.shape[1]
        rows = np.asarray(indices) if self.rows is None else self.rows[indices]
        drawn = [rngs(int(one)) for one in self.ids[indices]]
        originals.keep()
        with ThreadPoolExecutor(max(1, min(THREADS, len(rows)))) as pool:
            found = pool.map(lambda row, rng: originals.window(int(row), size, rng), rows, drawn)
            return np.stack(list(found))
