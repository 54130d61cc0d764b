"""Pickles of plain values and uint8 arrays, read without running anything that they name.

CIFAR is published as Python 2 pickles of NumPy arrays. A pickle names functions to be called; here those names lead to
inert stand-ins that only keep their arguments, and any other name is an error. NumPy's own unpickling code is never
reached: the array is made afterwards, from bytes whose length was compared with the shape.
"""

from __future__ import annotations

import io
import math
import pickle
import pickletools
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from inrbench.domains import Array
from inrbench.errors import BadData

__all__ = ["read_plain_pickle"]

#: What a damaged pickle makes the unpickler raise (the pickle module's documentation: not only its own errors).
_DAMAGE = (
    pickle.UnpicklingError,
    EOFError,
    ValueError,
    TypeError,
    KeyError,
    IndexError,
    AttributeError,
    OverflowError,
    MemoryError,
    RecursionError,
)


def read_plain_pickle(path: Path) -> Any:
    """The value in the file ``path``, built of None, bool, int, float, bytes, str, list, tuple, dict and uint8 arrays.

    Python 2's strings come back as bytes. Raises BadData, naming the file, for a damaged pickle, for an array of
    another type, and for one that names anything but NumPy's arrays, with the name.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise BadData(f"{path}: cannot be read ({error.strerror or error})") from None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of odd escapes in a damaged pickle's strings
            _check_memo(content, path)
            value = _PlainUnpickler(content, path).load()
        return _Finisher(path).finished(value)
    except _DAMAGE as error:
        raise BadData(f"{path}: damaged pickle ({type(error).__name__}: {error})") from None


def _check_memo(content: bytes, path: Path) -> None:
    """Refuse a pickle that remembers values under huge numbers: the unpickler would reserve memory up to them."""
    for count, (opcode, argument, _) in enumerate(pickletools.genops(content)):
        if opcode.name in ("PUT", "BINPUT", "LONG_BINPUT") and isinstance(argument, int) and argument > count + 1:
            raise BadData(f"{path}: damaged pickle (it numbers a value {argument:,} after {count:,} steps)")


class _PickledType:
    """Stands for ``numpy.dtype``: keeps the name of the type."""

    def __init__(self, name: object = None, *_: object) -> None:
        self.name = name.decode("ascii", "replace") if isinstance(name, bytes) else str(name)

    def __setstate__(self, state: object) -> None:
        """Byte order and alignment mean nothing for one-byte values."""


class _PickledArray:
    """Stands for ``numpy.ndarray``: keeps shape, type and bytes."""

    def __init__(self) -> None:
        self.state: object = None

    def __setstate__(self, state: object) -> None:
        self.state = state

    def __hash__(self) -> NoReturn:
        raise TypeError("an array is no key")

    def array(self, path: Path) -> Array:
        if not isinstance(self.state, tuple) or len(self.state) != 5:
            raise BadData(f"{path}: an array without shape, type and values")
        _, shape, kind, fortran, content = self.state
        if not isinstance(kind, _PickledType) or kind.name not in ("u1", "|u1", "uint8"):
            raise BadData(f"{path}: an array of {getattr(kind, 'name', kind)!r}; allowed is uint8")
        if not isinstance(shape, tuple) or not all(type(n) is int and n >= 0 for n in shape):
            raise BadData(f"{path}: an array of shape {shape!r}")
        if not isinstance(content, bytes) or len(content) != math.prod(shape):
            size = f"{len(content):,} bytes" if isinstance(content, bytes) else type(content).__name__
            raise BadData(f"{path}: an array of shape {shape} with {size} of values")
        return np.frombuffer(content, dtype=np.uint8).reshape(shape, order="F" if fortran else "C")


class _StandIn:
    """A function that a pickle may name; it has no attributes that the pickle could change."""

    __slots__ = ("_function",)

    def __init__(self, function: Callable[..., object]) -> None:
        self._function = function

    def __call__(self, *arguments: object) -> object:
        return self._function(*arguments)

    def __setstate__(self, state: object) -> NoReturn:
        raise ValueError("it changes a function")


def _reconstruct(*_: object) -> _PickledArray:
    return _PickledArray()


def _encode(text: object, encoding: object = "latin1") -> bytes:
    """Stands for ``_codecs.encode``, with which Python 3 writes bytes in Python 2's protocol."""
    if not isinstance(text, str) or encoding not in ("latin1", "latin-1", b"latin1", b"latin-1"):
        raise ValueError(f"bytes encoded as {encoding!r}")
    return text.encode("latin1")


_STAND_INS: dict[tuple[str, str], Any] = {
    ("numpy.core.multiarray", "_reconstruct"): _StandIn(_reconstruct),
    ("numpy._core.multiarray", "_reconstruct"): _StandIn(_reconstruct),
    ("numpy", "ndarray"): _PickledArray,
    ("numpy", "dtype"): _PickledType,
    ("_codecs", "encode"): _StandIn(_encode),
}


class _PlainUnpickler(pickle.Unpickler):
    def __init__(self, content: bytes, path: Path) -> None:
        super().__init__(io.BytesIO(content), encoding="bytes")
        self._path = path

    def find_class(self, module: str, name: str) -> Any:
        """The inert stand-in for a name that is allowed."""
        try:
            return _STAND_INS[module, name]
        except KeyError:
            raise BadData(
                f"{self._path}: refused, the pickle names {module}.{name}; allowed are NumPy arrays and plain values"
            ) from None

    def persistent_load(self, pid: Any) -> NoReturn:
        """Refuse references to outside of the pickle."""
        raise BadData(f"{self._path}: refused, the pickle refers to something outside of it ({pid!r})")


class _Finisher:
    """Puts arrays in place of their stand-ins; what occurs twice is finished once, so that nothing grows."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._done: dict[int, Any] = {}
        self._kept: list[Any] = []  # an id is only unique among the living

    def finished(self, value: Any) -> Any:
        """``value`` with arrays. Raises BadData for any other kind of object."""
        if value is None or isinstance(value, bool | int | float | bytes | str):
            return value
        if id(value) in self._done:
            if self._done[id(value)] is _UNDER_WAY:
                raise BadData(f"{self._path}: holds a value that contains itself")
            return self._done[id(value)]
        self._kept.append(value)
        self._done[id(value)] = _UNDER_WAY
        self._done[id(value)] = result = self._container(value)
        return result

    def _container(self, value: Any) -> Any:
        if isinstance(value, _PickledArray):
            return value.array(self._path)
        if isinstance(value, dict):
            return {key: self.finished(item) for key, item in value.items()}
        if isinstance(value, list):
            return [self.finished(item) for item in value]
        if isinstance(value, tuple):
            return tuple(self.finished(item) for item in value)
        raise BadData(f"{self._path}: holds a {type(value).__name__}; allowed are NumPy arrays and plain values")


_UNDER_WAY = object()
