"""Data on disk: official files, downloads, checks by content, and data sets opened for a cell.

The names are loaded when they are first used, so that importing this package costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from inrbench.data.check import DataCheck as DataCheck
    from inrbench.data.check import Digests as Digests
    from inrbench.data.check import FileCheck as FileCheck
    from inrbench.data.check import check_files as check_files
    from inrbench.data.check import digests as digests
    from inrbench.data.official import AboutData as AboutData
    from inrbench.data.official import Checksum as Checksum
    from inrbench.data.official import OfficialFile as OfficialFile
    from inrbench.data.official import md5 as md5
    from inrbench.data.official import sha256 as sha256
    from inrbench.data.opened import OpenedData as OpenedData
    from inrbench.data.opened import check_dataset as check_dataset
    from inrbench.data.opened import fetch as fetch
    from inrbench.data.opened import open_dataset as open_dataset
    from inrbench.data.root import cache_root as cache_root
    from inrbench.data.root import data_folder as data_folder
    from inrbench.data.root import data_root as data_root
    from inrbench.data.scored import signals_checksum as signals_checksum
    from inrbench.data.unpack import safe_members as safe_members

_HOME = {
    "AboutData": "official",
    "Checksum": "official",
    "DataCheck": "check",
    "Digests": "check",
    "FileCheck": "check",
    "OfficialFile": "official",
    "OpenedData": "opened",
    "cache_root": "root",
    "check_dataset": "opened",
    "check_files": "check",
    "data_folder": "root",
    "data_root": "root",
    "digests": "check",
    "fetch": "opened",
    "md5": "official",
    "open_dataset": "opened",
    "safe_members": "unpack",
    "sha256": "official",
    "signals_checksum": "scored",
}

__all__ = [*_HOME]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
