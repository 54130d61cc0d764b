"""The development kit of ILSVRC 2012: its classes, and the classes of the validation photographs.

``data/meta.mat`` lists synsets, each with its number (ILSVRC2012_ID) and its WordNet id; those without children are
the classes. ``data/ILSVRC2012_validation_ground_truth.txt`` has a line with such a number for each photograph. Both
are read from the archive as it lies, without unpacking, and whatever the number of classes is.
"""

from __future__ import annotations

import io
import re
import tarfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from inrbench.data import safe_members
from inrbench.domains import Array
from inrbench.errors import BadData

__all__ = ["Devkit", "read_devkit"]

FOLDER = "ILSVRC2012_devkit_t12/data"
META = f"{FOLDER}/meta.mat"
TRUTH = f"{FOLDER}/ILSVRC2012_validation_ground_truth.txt"


@dataclass(frozen=True)
class Devkit:
    """What is read of the development kit."""

    wnids: tuple[str, ...]  # the WordNet ids of the classes, sorted: a class's number is its place here
    truth: Array  # [validation photographs], int64 class numbers, in the order of the photographs' names


def read_devkit(path: Path) -> Devkit:
    """The development kit at ``path``. Raises BadData where it is damaged or its files are not as documented."""
    contents = _contents(path)
    classes = _classes(contents[META], f"{path}: {META}")
    wnids = tuple(sorted(classes.values()))
    places = {str(number).encode(): wnids.index(wnid) for number, wnid in classes.items()}
    truth = []
    for line, text in enumerate(contents[TRUTH].splitlines(), 1):
        place = places.get(text.strip())
        if place is None:
            raise BadData(f"{path}: {TRUTH}, line {line}: {text[:20].decode(errors='replace')!r} is no class's number")
        truth.append(place)
    return Devkit(wnids, np.array(truth, dtype=np.int64))


def _contents(path: Path) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    try:
        with tarfile.open(path, "r:gz") as archive:
            for name, entry in safe_members(archive, path):
                content = archive.extractfile(entry) if name in (META, TRUTH) else None
                if content is not None:
                    found[name] = content.read()
    except (tarfile.TarError, EOFError, zlib.error, OSError) as error:
        raise BadData(f"{path}: damaged archive ({error}); fetch it again") from None
    if missing := {META, TRUTH} - set(found):
        raise BadData(f"{path}: the archive lacks {', '.join(sorted(missing))}")
    return found


def _classes(content: bytes, title: str) -> dict[int, str]:
    """The WordNet id of each class by its number; MATLAB's format holds data alone, and reading it runs none of it."""
    from scipy.io import loadmat

    try:
        synsets: Any = np.atleast_1d(
            loadmat(io.BytesIO(content), squeeze_me=True, variable_names=["synsets"])["synsets"]
        )
        rows = [(int(row["ILSVRC2012_ID"]), str(row["WNID"])) for row in synsets if int(row["num_children"]) == 0]
    except Exception as error:  # SciPy's reader has no error of its own for a damaged file: anything may come of it
        raise BadData(f"{title}: no list of synsets ({type(error).__name__}: {error})") from None
    classes = dict(rows)
    if not rows or len(classes) < len(rows) or len(set(classes.values())) < len(rows):
        raise BadData(f"{title}: {len(rows)} synsets without children; expected classes, each listed once")
    if wrong := [wnid for wnid in classes.values() if not re.fullmatch(r"n\d{8}", wnid)]:
        raise BadData(f"{title}: {wrong[0][:20]!r} is no WordNet id of a noun, as n01440764 is")
    return classes
