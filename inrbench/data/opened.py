"""Data sets as a cell meets them: present, checked, read, and named by what they really are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from inrbench.data.check import DataCheck, check_files, combined_checksum, digests
from inrbench.data.download import download as download_file
from inrbench.data.download import prepare_folder
from inrbench.data.official import OfficialFile
from inrbench.data.root import data_folder
from inrbench.data.scored import signals_checksum
from inrbench.data.unpack import unpack
from inrbench.errors import BadData
from inrbench.interfaces import DataSet
from inrbench.signals import Signals

__all__ = ["OpenedData", "check_dataset", "fetch", "marked_name", "open_dataset"]


@dataclass(frozen=True)
class OpenedData:
    """The splits of a data set, with the name that records and tables use."""

    name: str  # "cifar10"; "cifar10~1a2b3c4d" where the data is not the official one
    splits: Mapping[str, Signals]
    checksum: str  # SHA-256 in hex of the data's content
    official: bool  # False: accepted with --unofficial-data


def marked_name(name: str, checksum: str) -> str:
    """``cifar10~1a2b3c4d``: the name of data that is not official, with the data's own hash."""
    return f"{name}~{checksum[:8]}"


def open_dataset(
    name: str, dataset: DataSet, root: Path | None, *, unofficial: bool, download: bool = True
) -> OpenedData:
    """Find, check and read the data set ``name`` below the data root ``root`` (None: the default one).

    A data set of the user's own offers ``own_files()``: name -> path of what it reads; it has no official form and is
    never marked. One that makes its signals when they are asked for offers ``made_of()``: a checksum of what they are
    made of, so that none has to be made for it. Raises BadData where files are missing and ``download`` is off or
    fails, where they are not the official ones and ``unofficial`` is off, and where they are damaged.
    """
    if not dataset.files:
        splits = dataset.load(None)
        if made_of := getattr(dataset, "made_of", None):
            return OpenedData(name, splits, made_of(), official=True)
        if own_files := getattr(dataset, "own_files", None):
            contents = {entry: digests(path).content["sha256"] for entry, path in own_files().items()}
            return OpenedData(name, splits, combined_checksum(contents), official=True)
        contents = {split: signals_checksum(signals) for split, signals in splits.items()}
        return OpenedData(name, splits, combined_checksum(contents), official=True)
    folder = data_folder(name, root)
    if not all(file.is_there(folder) for file in dataset.files):
        if not download:
            raise BadData(_missing(name, dataset, folder))
        fetch(name, dataset, root)
    found = check_files(dataset.files, folder)
    if found.state == "missing":
        raise BadData(_missing(name, dataset, folder))
    if found.state == "unofficial" and not unofficial:
        raise BadData(_not_official(name, found))
    official = found.state == "official"
    checksum = found.checksum
    shown = name if official else marked_name(name, checksum)
    return OpenedData(shown, dataset.load(folder), checksum, official)


def check_dataset(name: str, dataset: DataSet, root: Path | None) -> DataCheck:
    """Compare what lies below the data root with what was published; nothing is downloaded."""
    return check_files(dataset.files, data_folder(name, root))


def fetch(name: str, dataset: DataSet, root: Path | None) -> Path:
    """Download and unpack what is missing of the data set ``name``; returns its folder.

    An archive that already lies there is unpacked instead of downloaded. Raises BadData where that fails, before the
    first byte where the folder cannot be written.
    """
    folder = data_folder(name, root)
    wanted: list[OfficialFile] = [file for file in dataset.files if not file.is_there(folder)]
    if not wanted:
        return folder
    if not all(file.urls or (folder / file.path).exists() for file in wanted):
        raise BadData(_missing(name, dataset, folder))
    prepare_folder(folder)
    for file in wanted:
        target = folder / file.path
        target.parent.mkdir(parents=True, exist_ok=True)
        own = target.exists()
        if not own:
            # an archive of images or of bytes hardly ever unpacks to more than twice its size
            download_file(file, target, unpacked_bytes=2 * (file.size_bytes or 0) if file.members else 0)
        if file.members:
            if own:
                _check_archive(name, file, target)
            unpack(target, folder, {member.path for member in file.members})
            if not own:
                target.unlink()
    return folder


def _check_archive(name: str, file: OfficialFile, path: Path) -> None:
    stored = digests(path).stored
    for published in file.checksums:
        if stored[published.algorithm] != published.digest:
            raise BadData(
                f"{name}: {path} is not the published archive ({published.algorithm} published {published.digest}, "
                f"found {stored[published.algorithm]}); delete it to have it downloaded"
            )


def _missing(name: str, dataset: DataSet, folder: Path) -> str:
    missing = [f.path for file in dataset.files for f in file.read_files() if f.locate(folder) is None]
    shown = ", ".join(missing[:4]) + (f" and {len(missing) - 4} more" if len(missing) > 4 else "")
    way = f"`inrbench data fetch {name}` downloads the official files"
    about = dataset.about() if hasattr(dataset, "about") else None
    if about and not all(file.urls or file.is_there(folder) for file in dataset.files):
        way = f"get what is missing at {about.homepage} (licence: {about.licence}) and put it there"
    return (
        f"{name}: {shown} missing in {folder}; {way}, "
        f"--data-root DIR or the environment variable INRBENCH_DATA names another data root"
    )


def _not_official(name: str, found: DataCheck) -> str:
    wrong = [file for file in found.files if file.state == "unofficial"]
    first = wrong[0]
    return (
        f"{name}: {first.path} is not the official file: {first.difference()} "
        f"({len(wrong)} of {len(found.files)} files differ); `--unofficial-data` runs it all the same and marks it "
        f"{marked_name(name, found.checksum)} in the record and in every table"
    )
