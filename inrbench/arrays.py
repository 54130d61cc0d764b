"""Named arrays on disk: safetensors with a digest, written atomically. Reading them can run no code."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from inrbench.domains import Array
from inrbench.errors import BadData
from inrbench.representations import Arrays

__all__ = ["digest_of", "load_arrays", "save_arrays", "write_atomically"]


def save_arrays(path: Path, arrays: Arrays, metadata: Mapping[str, str] | None = None) -> None:
    """Write ``arrays`` to ``path``: whole or not at all. Raises OSError where the disk refuses."""
    from safetensors.numpy import save

    whole = {name: _little(array) for name, array in arrays.items()}
    said = dict(metadata or {})
    write_atomically(path, save(whole, metadata={**said, "digest": _digest(whole, said)}))


def load_arrays(path: Path) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """The arrays at ``path`` and their metadata. Raises BadData where the file is damaged."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            metadata = dict(file.metadata() or {})
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise BadData(f"{path} is damaged: {error}") from error
    if metadata.pop("digest", None) != _digest(arrays, metadata):
        raise BadData(f"{path} is damaged: its content does not match its digest")
    return arrays, metadata


def digest_of(arrays: Arrays) -> str:
    """A hash of names, types, shapes and bytes, whatever their order."""
    whole = hashlib.blake2b(digest_size=16)
    for name in sorted(arrays):
        array = _little(arrays[name])
        whole.update(f"{name}|{array.dtype.str}|{array.shape}|".encode())
        whole.update(array.tobytes())
    return whole.hexdigest()


def _digest(arrays: Arrays, metadata: Mapping[str, str]) -> str:
    """The file's digest: damage of a step count is as bad as damage of an array."""
    return hashlib.blake2b(f"{digest_of(arrays)}{sorted(metadata.items())}".encode(), digest_size=16).hexdigest()


def _little(array: Array) -> Array:
    """In C order and little-endian, as safetensors stores it; `np.ascontiguousarray` would give a number an axis."""
    return np.asarray(array, dtype=array.dtype.newbyteorder("<"), order="C")


def write_atomically(path: Path, content: bytes) -> None:
    """Write beside ``path``, flush to the disk, rename: another process sees the old file or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with part.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
