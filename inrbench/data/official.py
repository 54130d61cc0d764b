"""Official files: what a publisher published, where it is downloaded from, and how it is recognised."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

__all__ = ["AboutData", "Checksum", "OfficialFile", "md5", "sha256"]


@dataclass(frozen=True)
class Checksum:
    """A published checksum: the algorithm and the digest in lower-case hexadecimal."""

    algorithm: Literal["md5", "sha256"]
    digest: str

    def __post_init__(self) -> None:
        """Refuse what cannot be a digest, so that a slip of the pen never reads as wrong data."""
        length = {"md5": 32, "sha256": 64}[self.algorithm]
        if len(self.digest) != length or set(self.digest) - set("0123456789abcdef"):
            raise ValueError(f"{self.digest!r} is no {self.algorithm}: allowed are {length} lower-case hex digits")

    def __str__(self) -> str:
        return f"{self.algorithm} {self.digest}"


def md5(digest: str) -> Checksum:
    """A published MD5."""
    return Checksum("md5", digest)


def sha256(digest: str) -> Checksum:
    """A published SHA-256."""
    return Checksum("sha256", digest)


@dataclass(frozen=True, kw_only=True)
class OfficialFile:
    """One file as its publisher offers it, below the data set's own folder.

    A file with ``members`` is an archive: it is downloaded, checked and unpacked, and then only its members are read.
    Any other file is read as it lies at ``path``, or at the first of ``alternatives`` that exists (the same content
    without its ``.gz``, an archive's unpacked folder, a folder that data sets share: ``../audio/clip.wav``).
    """

    path: str  # with forward slashes
    source: str  # where the urls and checksums were found
    urls: tuple[str, ...] = ()  # mirrors, the first is tried first
    checksums: tuple[Checksum, ...] = ()  # of the bytes that are downloaded
    content_checksums: tuple[Checksum, ...] = ()  # of the content of a `.gz`, whoever compressed it
    size_bytes: int | None = None  # of the download
    alternatives: tuple[str, ...] = ()
    members: tuple[OfficialFile, ...] = ()

    def read_files(self) -> Iterator[OfficialFile]:
        """What is read: the members of an archive, else the file itself."""
        if self.members:
            yield from self.members
        else:
            yield self

    def locate(self, folder: Path) -> Path | None:
        """Where the content lies below ``folder``; None where it is missing (or is an archive: ask its members)."""
        if not self.members:
            for name in (self.path, *self.alternatives):
                place = folder / name
                if name.startswith("../"):  # out of a folder that need not exist
                    place = Path(os.path.normpath(place))
                if place.exists():
                    return place
        return None

    def is_there(self, folder: Path) -> bool:
        """Whether everything that is read lies below ``folder``, whatever its content."""
        return all(file.locate(folder) is not None for file in self.read_files())


@dataclass(frozen=True, kw_only=True)
class AboutData:
    """What a user wants to know of a data set before downloading it."""

    licence: str  # "not stated by the publisher" where so
    licence_source: str  # where the licence was found
    homepage: str
    download_bytes: int  # 0 where nothing is downloaded
    citation: str  # BibTeX
