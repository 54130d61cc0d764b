"""Photographs that are decoded when they are asked for: too many to be kept decoded in memory or on a disk."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path
from typing import Any, Self, cast

import numpy as np

from inrbench.domains import Array, Domain, Grid
from inrbench.errors import BadData
from inrbench.signals import Part
from inrbench_images.pictures import Resize, decode, open_picture, resized
from inrbench_images.tar_index import TarIndex
from inrbench_images.zip_index import ZipIndex

__all__ = ["PictureSignals", "TarPictures", "ZipPictures"]

#: Threads that decode when several photographs are asked for at once; Pillow leaves Python meanwhile.
THREADS = min(8, os.cpu_count() or 1)
#: Formats that are tried, whatever a photograph's name says.
FORMATS = ("JPEG", "PNG")
TO_UNIT = (1.0 / 255.0, 0.0)


@dataclass(frozen=True)
class _Pictures:
    """Photographs in an archive as an array [photographs, size, size, 3] of uint8, read when rows are asked for.

    It has of an array what is asked of stored values: shape, dtype, ndim, nbytes and a length; rows by a number, a
    slice or an array of integers or booleans, as an array in memory; and, for a few photographs, conversion as a whole.
    """

    archive: Path
    index: Any  # names, and where the contents are
    rows: Array  # [photographs], which of the index
    size: int
    resize: Resize

    dtype = np.dtype(np.uint8)
    ndim = 4

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """[photographs, size, size, 3]."""
        return len(self.rows), self.size, self.size, 3

    @property
    def nbytes(self) -> int:
        """Bytes of all photographs once they are decoded."""
        return prod(self.shape)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int | np.integer[Any] | slice | Sequence[int] | Array) -> Array:
        """One photograph [size, size, 3], or several [photographs, size, size, 3].

        Raises BadData that names the first photograph that cannot be decoded.
        """
        if isinstance(index, int | np.integer):
            return self._decoded(int(self.rows[index]))
        if isinstance(index, tuple) or (not isinstance(index, slice) and np.ndim(index) != 1):
            raise IndexError(f"photographs are indexed by an integer, a slice or an array of them; given: {index!r}")
        rows: list[int] = self.rows[index].tolist()
        values = np.empty((len(rows), *self.shape[1:]), dtype=self.dtype)
        if len(rows) == 1:
            values[0] = self._decoded(rows[0])
        elif rows:
            with ThreadPoolExecutor(min(THREADS, len(rows))) as pool:
                for i, picture in enumerate(pool.map(self._decoded, rows)):
                    values[i] = picture
        return values

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        """All photographs, decoded."""
        return self[:].astype(dtype or self.dtype, copy=False)

    def astype(self, dtype: Any) -> Array:
        """All photographs, decoded, as ``dtype``."""
        return self[:].astype(dtype)

    def take(self, indices: Array) -> Self:
        """The photographs at ``indices``, in that order; nothing is decoded."""
        return replace(self, rows=self.rows[indices])

    def _decoded(self, row: int) -> Array:
        title = f"{self.archive}: {self.index.names[row].decode()}"
        try:
            content = self._content(row)
        except OSError as error:
            raise BadData(f"{title}: cannot be read ({error.strerror or error})") from None
        picture = open_picture(content, title, FORMATS).convert("RGB")  # of grey, CMYK and transparent ones too
        return decode(resized(picture, self.size, self.resize), "rgb")

    def _content(self, row: int) -> bytes:
        raise NotImplementedError


@dataclass(frozen=True)
class TarPictures(_Pictures):
    """Photographs in a tar archive."""

    index: TarIndex

    def _content(self, row: int) -> bytes:
        with self.archive.open("rb") as stream:
            stream.seek(int(self.index.offsets[row]))
            return stream.read(int(self.index.sizes[row]))


@dataclass(frozen=True)
class ZipPictures(_Pictures):
    """Photographs in a zip archive."""

    index: ZipIndex

    def _content(self, row: int) -> bytes:
        return self.index.content(self.archive, row)


@dataclass(frozen=True)
class PictureSignals:
    """Photographs of one split as signals on one grid."""

    pictures: _Pictures
    labels: Array | None
    ids: Array

    def __len__(self) -> int:
        return len(self.pictures)

    @property
    def domain(self) -> Grid:
        """The grid that all signals share."""
        return Grid.of(*self.pictures.shape[1:-1])

    def observed(self, i: int) -> Sequence[Part]:
        """The whole of signal ``i``, decoded now."""
        return (Part(self.domain, self.pictures[i], to_unit=TO_UNIT),)

    scored = observed

    def stacked(self) -> tuple[Domain, Array, tuple[float, float]]:
        """(grid, values [signals, size, size, 3], to_unit); the values are decoded where they are indexed."""
        return self.domain, cast(Array, self.pictures), TO_UNIT

    def take(self, indices: Array) -> PictureSignals:
        """The signals at ``indices``, in that order, with their ids."""
        labels = None if self.labels is None else self.labels[indices]
        return PictureSignals(self.pictures.take(indices), labels, self.ids[indices])

    def unlabelled(self) -> PictureSignals:
        """The same signals without labels."""
        return replace(self, labels=None)
