"""Where the photographs of a zip archive lie in it; they are read from there one by one, and nothing is unpacked."""

from __future__ import annotations

import struct
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from inrbench.domains import Array
from inrbench.errors import BadData

__all__ = ["ZipIndex", "read_zip_index"]

#: The fixed part of what stands before each file: signature, 22 bytes, length of the name, length of more.
_HEADER = struct.Struct("<4s22xHH")


@dataclass(frozen=True)
class ZipIndex:
    """The photographs of an archive, in the order of their names."""

    names: Array  # [photographs], bytes
    offsets: Array  # [photographs], int64: where the header before the content begins
    sizes: Array  # [photographs], int64: bytes of the content as it is stored
    methods: Array  # [photographs], int64: 0 as it is, 8 deflated
    checksums: Array  # [photographs], int64: CRC-32 of the content

    def __len__(self) -> int:
        return len(self.names)

    def content(self, archive: Path, row: int) -> bytes:
        """One photograph. Raises BadData where it is not what the archive's directory says."""
        with archive.open("rb") as stream:
            stream.seek(int(self.offsets[row]))
            signature, name, more = _HEADER.unpack(stream.read(_HEADER.size).ljust(_HEADER.size))
            stream.seek(name + more, 1)
            stored = stream.read(int(self.sizes[row]))
        try:
            found = zlib.decompress(stored, -zlib.MAX_WBITS) if self.methods[row] else stored
        except zlib.error:
            found = b""
        if signature != b"PK\x03\x04" or zlib.crc32(found) != self.checksums[row]:
            raise BadData(f"{archive}: {self.names[row].decode()} is damaged; fetch the archive again")
        return found


def read_zip_index(path: Path, folder: str, suffix: str) -> ZipIndex:
    """The files ``folder``/NAME``suffix`` in the archive at ``path``, by NAME``suffix``.

    Raises BadData for an archive that is damaged or holds none of them, or one that is encrypted or packed otherwise.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
    except (zipfile.BadZipFile, OSError, EOFError, NotImplementedError) as error:
        raise BadData(f"{path}: damaged archive ({error}); fetch it again") from None
    found = {}
    for entry in entries:
        place, _, name = entry.filename.rpartition("/")
        if place != folder or not name.endswith(suffix) or not name.isascii():
            continue
        if entry.flag_bits & 1 or entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise BadData(f"{path}: {name} is encrypted or packed by method {entry.compress_type}; allowed are 0 and 8")
        found[name] = (entry.header_offset, entry.compress_size, entry.compress_type, entry.CRC)
    if not found:
        raise BadData(f"{path}: holds no photographs; looked for {folder}/*{suffix}")
    names = sorted(found)
    numbers = np.array([found[name] for name in names], dtype=np.int64)
    return ZipIndex(np.array([name.encode() for name in names]), *numbers.T)
