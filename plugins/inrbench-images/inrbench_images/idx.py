"""IDX, the format of MNIST: a magic number, big-endian dimensions, then bytes; compressed or not."""

from __future__ import annotations

import gzip
import math
import zlib
from pathlib import Path

import numpy as np

from inrbench.domains import Array
from inrbench.errors import BadData

__all__ = ["read_idx"]

_TYPES = {0x08: "uint8", 0x09: "int8", 0x0B: "int16", 0x0C: "int32", 0x0D: "float32", 0x0E: "float64"}
_LARGEST_BYTES = 1 << 30


def read_idx(path: Path, num_dims: int) -> Array:
    """The bytes of an IDX file, uint8 with ``num_dims`` dimensions.

    Raises BadData, naming the file, where it is no IDX file, holds another type or number of dimensions, or is shorter
    or longer than its own header says.
    """
    try:
        # the header is believed only as far as bytes follow: no more than it announces is ever decompressed
        with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as stream:
            magic = stream.read(4)
            if len(magic) < 4 or magic[:2] != b"\0\0":
                raise BadData(f"{path}: no IDX file, it starts with {magic.hex(' ') or 'nothing'}, not with 00 00")
            if magic[2] != 0x08:
                kind = _TYPES.get(magic[2], f"unknown type {magic[2]:#04x}")
                raise BadData(f"{path}: holds {kind}; allowed is uint8")
            if magic[3] != num_dims:
                raise BadData(f"{path}: has {magic[3]} dimensions; expected {num_dims}")
            header = stream.read(4 * num_dims)
            if len(header) < 4 * num_dims:
                raise BadData(f"{path}: truncated within its header")
            shape = tuple(int(n) for n in np.frombuffer(header, dtype=">u4"))
            size = math.prod(shape)
            if size > _LARGEST_BYTES:
                raise BadData(
                    f"{path}: its header announces {shape}, {size:,} bytes; at most {_LARGEST_BYTES:,} are read"
                )
            content = stream.read(size + 1)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise BadData(f"{path}: damaged gzip file ({error})") from None
    except OSError as error:
        raise BadData(f"{path}: cannot be read ({error.strerror or error})") from None
    if len(content) != size:
        excess = "more" if len(content) > size else f"{len(content):,}"
        raise BadData(f"{path}: {excess} bytes follow the header, which announces {size:,} for {shape}")
    return np.frombuffer(bytearray(content), dtype=np.uint8).reshape(shape)  # writable, as frameworks want it
