"""CelebA (Liu et al., 2015): 202,599 aligned faces of 178 x 218, of which the middle 178 x 178 are used.

The archive is read as it lies; each face is decoded when it is asked for (`inrbench_images.on_demand`). The official
``list_eval_partition.txt`` says which face is of which split; of its three, training and test are splits here, and its
19,867 validation faces are left out, since validation is cut from training for all data sets alike (`data.validation`).
The crop of the middle square is the one of Trans-INR's public code (Chen and Wang, 2022, arXiv 2208.02801). Attributes
are no classes, and are not read.

This reader is tested on generated archives of the same layout, not on the official one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from inrbench.data import AboutData, OfficialFile, md5
from inrbench.domains import Array
from inrbench.errors import BadData, BadSetting
from inrbench.settings import DataSettings, setting
from inrbench.signals import PartSpec, Signals, SignalSpec
from inrbench_images.citations import CITATIONS
from inrbench_images.on_demand import PictureSignals, ZipPictures
from inrbench_images.zip_index import read_zip_index

__all__ = ["Celeba", "CelebaSettings"]

FOLDER, SUFFIX = "img_align_celeba", ".jpg"
#: The numbers of the parts in the official list that are splits here; 1 is validation.
PARTS = {"train": 0, "test": 2}
_MD5 = "md5: pytorch/vision, torchvision/datasets/celeba.py"
_BY_HAND = "; handed out at https://mmlab.ie.cuhk.edu.hk/projects/CelebA.html"


class CelebaSettings(DataSettings):
    """How large the faces are."""

    size: int = setting(178, "height and width in pixels; other than 178 the middle square is resized", ge=1)


class Celeba:
    """162,770 training and 19,962 test faces, [size, size, 3], uint8, without classes."""

    sizes = (162_770, 19_962)
    archive = OfficialFile(
        path=f"{FOLDER}.zip",
        source=_MD5 + "; size: given beside that md5 in public repositories that downloaded it" + _BY_HAND,
        checksums=(md5("00d2c5bc6d35e252742224ab0c1e8fcb"),),
        size_bytes=1_443_490_838,
    )
    partition = OfficialFile(
        path="list_eval_partition.txt",
        source=_MD5 + "; size: shown by torchvision's download" + _BY_HAND,
        checksums=(md5("d32c9cbf5e040fd4025c592c306e6668"),),
        size_bytes=2_836_386,
    )

    def __init__(self, settings: CelebaSettings, rest: str = "") -> None:
        if rest:
            raise BadSetting(f"data set 'celeba' takes nothing behind a colon; given: {rest!r}")
        self.settings = settings

    @property
    def files(self) -> Sequence[OfficialFile]:
        """The archive and the list of the splits; they are to be fetched by hand."""
        return (self.archive, self.partition)

    def about(self) -> AboutData:
        """Licence, homepage and citation."""
        return AboutData(
            licence="non-commercial research alone",
            licence_source="as given on huggingface.co/datasets/flwrlabs/celeba for the publisher's agreement",
            homepage="https://mmlab.ie.cuhk.edu.hk/projects/CelebA.html",
            download_bytes=sum(file.size_bytes or 0 for file in self.files),
            citation=CITATIONS["celeba"],
        )

    def spec(self) -> SignalSpec:
        """Square grids of three channels, no classes."""
        part = PartSpec("grid", (self.settings.size, self.settings.size), 2, 3)
        return SignalSpec((part,), sizes=dict(zip(PARTS, self.sizes, strict=True)))

    def load(self, folder: Path | None) -> Mapping[str, Signals]:
        """The splits, of which nothing is decoded yet. Raises BadData where the files do not agree."""
        if folder is None:
            raise ValueError("data set 'celeba' is read from a folder; none was given")
        archive, listed = (self._located(file, folder) for file in self.files)
        index = read_zip_index(archive, FOLDER, SUFFIX)
        names, parts = _read_partition(listed)
        rows = np.minimum(np.searchsorted(index.names, names), len(index) - 1)
        if (absent := index.names[rows] != names).any():
            raise BadData(f"{archive}: lacks {names[absent.argmax()].decode()}, which {listed.name} lists")
        splits = {}
        for split, part in PARTS.items():
            places = np.flatnonzero(parts == part)
            if not len(places):
                raise BadData(f"{listed}: lists no faces of part {part} ({split})")
            pictures = ZipPictures(archive, index, rows[places], self.settings.size, "crop")
            splits[split] = PictureSignals(pictures, None, ids=places)
        return splits

    def _located(self, file: OfficialFile, folder: Path) -> Path:
        path = file.locate(folder)
        if path is None:
            raise BadData(f"celeba: {file.path} missing in {folder}")
        return path


def _read_partition(path: Path) -> tuple[Array, Array]:
    """(names [faces] as bytes, parts [faces]) of ``000001.jpg 0``, a line a face. Raises BadData with the line."""
    names, parts = [], []
    try:
        lines = path.read_text(encoding="ascii").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise BadData(f"{path}: cannot be read ({error})") from None
    for number, line in enumerate(lines, start=1):
        name, _, part = line.strip().partition(" ")
        if not name.endswith(SUFFIX) or part.strip() not in ("0", "1", "2"):
            raise BadData(f"{path}, line {number}: {line[:60]!r}; expected a name *{SUFFIX} and 0, 1 or 2")
        names.append(name.encode())
        parts.append(int(part))
    if len(set(names)) != len(names):
        raise BadData(f"{path}: lists a face twice")
    return np.array(names, dtype=bytes), np.array(parts, dtype=np.int64)
