"""Arrays of safetensors files, mapped and not read: what is indexed is what the disk has to give."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin

from inrbench.domains import Array
from inrbench.errors import BadData

__all__ = ["ShardedArray", "mapped_arrays", "stacked"]

#: The number types of safetensors that NumPy has.
TYPES = dict(
    zip(
        ["F64", "F32", "F16", "I64", "I32", "I16", "I8", "U64", "U32", "U16", "U8", "BOOL"],
        ["<f8", "<f4", "<f2", "<i8", "<i4", "<i2", "|i1", "<u8", "<u4", "<u2", "|u1", "|b1"],
        strict=True,
    )
)


def mapped_arrays(path: Path) -> dict[str, Array]:
    """The arrays of the safetensors file ``path``, mapped. Writing to one changes memory alone, never the file.

    Raises BadData where the file is missing or is none.
    """
    try:
        whole = np.memmap(path, dtype=np.uint8, mode="c")
        start = 8 + int(whole[:8].view("<u8")[0])
        header = json.loads(bytes(whole[8:start]))
        return {
            name: _view(whole, start, entry["dtype"], entry["shape"], *entry["data_offsets"])
            for name, entry in header.items()
            if name != "__metadata__"
        }
    except OSError as error:
        raise BadData(f"{path} cannot be read: {error.strerror or error}") from error
    except (ValueError, KeyError, TypeError, IndexError, AttributeError, OverflowError) as error:
        raise BadData(f"{path} is damaged: it is no safetensors file that NumPy can hold ({error})") from error


def _view(whole: Array, start: int, dtype: str, shape: Sequence[int], first: int, last: int) -> Array:
    kind = np.dtype(TYPES[dtype])
    if not 0 <= first <= last <= len(whole) - start or last - first != kind.itemsize * prod(shape):
        raise ValueError(f"an array of shape {shape} and type {dtype} has no room at bytes {first} to {last}")
    return np.asarray(whole[start + first : start + last]).view(kind).reshape(shape)


def stacked(parts: Sequence[Array]) -> Array:
    """``parts`` as one array along axis 0: the part itself where there is one, else a `ShardedArray`."""
    if len(parts) == 1:
        return parts[0]
    return ShardedArray(parts)  # type: ignore[return-value]  # it answers to what an array is asked


class ShardedArray(NDArrayOperatorsMixin):
    """Arrays that follow each other along axis 0, indexed like the one array that they are.

    ``array[i]``, ``array[a:b]``, ``array[indices]`` and ``array[mask]``, each perhaps with more axes behind, read the
    rows asked for; whatever else it is asked is asked of the whole, read into memory.
    """

    def __init__(self, parts: Sequence[Array]) -> None:
        if not parts or len({(part.shape[1:], part.dtype) for part in parts}) > 1:
            raise ValueError(f"parts of one shape and type are needed; given: {[(p.shape, p.dtype) for p in parts]}")
        self.parts = list(parts)
        self.starts = np.concatenate([[0], np.cumsum([len(part) for part in parts])])
        self.dtype = parts[0].dtype
        self.shape: tuple[int, ...] = (int(self.starts[-1]), *parts[0].shape[1:])

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """Number of values."""
        return prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes of all values."""
        return self.size * int(self.dtype.itemsize)

    def __len__(self) -> int:
        return int(self.shape[0])

    def __iter__(self) -> Iterator[Any]:
        return (row for part in self.parts for row in part)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        if copy is False:
            raise ValueError("an array of several files cannot be had without a copy")
        return np.concatenate(self.parts).astype(self.dtype if dtype is None else dtype, copy=False)

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **extra: Any) -> Any:
        plain = [np.asarray(one) if isinstance(one, ShardedArray) else one for one in inputs]
        return getattr(ufunc, method)(*plain, **extra)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or name in ("parts", "starts", "shape", "dtype"):
            raise AttributeError(name)
        return getattr(np.asarray(self), name)

    def __getitem__(self, key: Any) -> Any:
        first, rest = (key[0], key[1:]) if isinstance(key, tuple) and key else (key, ())
        if first is None or first is Ellipsis or isinstance(first, tuple):
            return np.asarray(self)[key]
        if isinstance(first, slice):
            rows = self._slice(first)
        else:
            index = np.asarray(first)
            if index.dtype == bool and index.shape != (len(self),):
                raise IndexError(f"a mask of shape {index.shape} for {len(self)} rows")
            if not len(index.shape) and index.dtype.kind in "iu":
                part, place = self._place(int(index))
                row = self.parts[part][place]
                return row[rest] if rest else row
            rows = self._rows(np.flatnonzero(index) if index.dtype == bool else index)
        return rows[(slice(None), *rest)] if rest else rows

    def _place(self, index: int) -> tuple[int, int]:
        if not -len(self) <= index < len(self):
            raise IndexError(f"row {index} of {len(self)}")
        index %= len(self)
        part = int(np.searchsorted(self.starts, index, side="right")) - 1
        return part, index - int(self.starts[part])

    def _slice(self, key: slice) -> Array:
        start, stop, step = key.indices(len(self))
        if step != 1:
            return self._rows(np.arange(start, stop, step))
        found = [
            part[max(0, start - first) : max(0, stop - first)]
            for part, first in zip(self.parts, self.starts[:-1].tolist(), strict=True)
            if first < stop and first + len(part) > start
        ]
        return found[0] if len(found) == 1 else np.concatenate(found or [self.parts[0][:0]])

    def _rows(self, index: Array) -> Array:
        if index.size == 0:
            return np.empty((*index.shape, *self.shape[1:]), self.dtype)
        if index.dtype.kind not in "iu":
            raise IndexError(f"rows are indexed by integers, slices and masks, not by {index.dtype}")
        if index.min() < -len(self) or index.max() >= len(self):
            raise IndexError(f"rows {index.min()} to {index.max()} of {len(self)}")
        flat = index.reshape(-1) % len(self)
        result = np.empty((len(flat), *self.shape[1:]), self.dtype)
        parts = np.searchsorted(self.starts, flat, side="right") - 1
        for part in np.unique(parts):
            chosen = parts == part
            result[chosen] = self.parts[part][flat[chosen] - self.starts[part]]
        return result.reshape(*index.shape, *self.shape[1:])
