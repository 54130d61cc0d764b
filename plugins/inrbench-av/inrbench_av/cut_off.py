"""Files that end before their own headers say: decoders take what is there without a word."""

from __future__ import annotations

import os
from pathlib import Path
from typing import BinaryIO

__all__ = ["missing_bytes"]

EBML, SEGMENT = b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67"
#: Top-level boxes by which MP4 and MOV files are known.
BOXES = (b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide")
#: An Ogg page has at most so many bytes; the last one begins at most so far before the end.
OGG_PAGE = 65_307


def missing_bytes(path: Path) -> int | None:
    """How many bytes a WAV, AVI, MP4, MOV, MKV or WebM file lacks; None where none is missing or nobody can say.

    Of an Ogg file it is 1 where its last page is missing: how long it was is not written anywhere.
    """
    size = path.stat().st_size
    with path.open("rb") as stream:
        head = stream.read(12)
        if head[:4] == b"RIFF":
            announced = int.from_bytes(head[4:8], "little")
            end = size if announced in (0, 0xFFFFFFFF) else 8 + announced  # a stream's writer could not know
        elif head[:4] == b"OggS":
            end = size if _ends_ogg(stream, size) else size + 1
        elif head[:4] == EBML:
            end = _end_of_segment(stream, size)
        elif head[4:8] in BOXES:
            end = _end_of_boxes(stream, size)
        else:
            return None
    return end - size if end > size else None


def _end_of_boxes(stream: BinaryIO, size: int) -> int:
    """Where the last box of an MP4 file should end."""
    place = 0
    while place + 8 <= size:
        stream.seek(place)
        head = stream.read(16)
        length = int.from_bytes(head[:4], "big")
        if length == 1:
            length = int.from_bytes(head[8:16], "big")
        if length < 8:  # 0: to the end of the file; else no box
            return size
        place += length
    return place


def _end_of_segment(stream: BinaryIO, size: int) -> int:
    """Where the segment of a Matroska file should end; ``size`` where it does not say."""
    stream.seek(len(EBML))
    length = _number(stream)
    if length is None:
        return size
    stream.seek(length, os.SEEK_CUR)
    if stream.read(len(SEGMENT)) != SEGMENT:
        return size
    length = _number(stream)
    return size if length is None else stream.tell() + length


def _number(stream: BinaryIO) -> int | None:
    """A size of EBML: as many bytes follow as the first one has leading zeros; all ones mean unknown."""
    first = stream.read(1)
    if not first or first[0] == 0:
        return None
    more = 8 - first[0].bit_length()
    value = int.from_bytes(bytes([first[0] & (0x7F >> more)]) + stream.read(more), "big")
    return None if value == 2 ** (7 * (more + 1)) - 1 else value


def _ends_ogg(stream: BinaryIO, size: int) -> bool:
    """Whether the last page says that it is the last, and is there whole."""
    start = max(0, size - OGG_PAGE)
    stream.seek(start)
    tail = stream.read()
    place = tail.rfind(b"OggS")
    if place < 0 or place + 27 > len(tail):
        return False
    lengths = tail[place + 27 : place + 27 + tail[place + 26]]
    whole = place + 27 + tail[place + 26] + sum(lengths) <= len(tail)
    return bool(tail[place + 5] & 4) and whole
