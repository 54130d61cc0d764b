"""Where data lies and where what was computed from it is remembered."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["cache_root", "data_folder", "data_root"]


def data_root(given: Path | None = None) -> Path:
    """The folder that holds one folder per data set; it may be read-only.

    ``given`` (``--data-root``), else the environment variable INRBENCH_DATA, else the user's data directory.
    """
    if given is not None:
        return given.expanduser().absolute()
    if named := os.environ.get("INRBENCH_DATA"):
        return Path(named).expanduser().absolute()
    import platformdirs

    return Path(platformdirs.user_data_dir("inrbench", appauthor=False))


def cache_root() -> Path:
    """The folder for checksums and decoded images, which can be deleted at any time.

    The environment variable INRBENCH_CACHE, else the user's cache directory.
    """
    if named := os.environ.get("INRBENCH_CACHE"):
        return Path(named).expanduser().absolute()
    import platformdirs

    return Path(platformdirs.user_cache_dir("inrbench", appauthor=False))


def data_folder(name: str, root: Path | None = None) -> Path:
    """The folder of the data set ``name`` below the data root; where it is not there, ``nerf/lego`` for nerf-lego."""
    own = data_root(root) / name.partition(":")[0]
    family, dash, member = own.name.partition("-")
    nested = own.parent / family / member
    return nested if dash and not own.exists() and nested.is_dir() else own
