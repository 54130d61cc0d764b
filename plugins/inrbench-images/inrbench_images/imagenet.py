"""ImageNet (ILSVRC 2012): 1,281,167 training and 50,000 validation photographs of 1,000 classes.

The archives are read as they lie. Decoded, the photographs need 394 GB at the default size, so each is decoded when
it is asked for (`inrbench_images.on_demand`). The official validation photographs are the test split: the labels of
the official test photographs were never published. Classes are numbered in the order of their WordNet ids.

This reader is tested on generated archives of the same layout, not on the official ones.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from inrbench.data import AboutData, OfficialFile, md5
from inrbench.domains import Array
from inrbench.errors import BadData, BadSetting
from inrbench.settings import DataSettings, setting
from inrbench.signals import PartSpec, Signals, SignalSpec
from inrbench_images.citations import CITATIONS
from inrbench_images.devkit import Devkit, read_devkit
from inrbench_images.on_demand import PictureSignals, TarPictures
from inrbench_images.tar_index import TarIndex, read_index

__all__ = ["Imagenet", "ImagenetSettings"]

_MD5 = "md5: pytorch/vision, torchvision/datasets/imagenet.py"
_SIZE = "; size: CompVis/taming-transformers, taming/data/imagenet.py"
_PLACE = "; handed out by https://www.image-net.org/download.php to those who register"
NUM_CLASSES = 1000


class ImagenetSettings(DataSettings):
    """How the photographs are made square."""

    size: int = setting(320, "height and width in pixels", ge=1)
    resize: Literal["distort", "crop"] = setting(
        "distort", "map the whole photograph onto the square, or scale its shorter side and cut the middle out"
    )


class Imagenet:
    """1,281,167 training and 50,000 test photographs of a thousand classes, [size, size, 3], uint8."""

    train = OfficialFile(
        path="ILSVRC2012_img_train.tar",
        source=_MD5 + _SIZE + _PLACE,
        checksums=(md5("1d675b47d978889d74fa0da5fadfb00e"),),
        size_bytes=147_897_477_120,
    )
    validation = OfficialFile(
        path="ILSVRC2012_img_val.tar",
        source=_MD5 + _SIZE + _PLACE,
        checksums=(md5("29b22e2961454d5413ddabcf34fc5622"),),
        size_bytes=6_744_924_160,
    )
    devkit = OfficialFile(  # its size, 2.5 MB, was found nowhere to the byte
        path="ILSVRC2012_devkit_t12.tar.gz",
        source=_MD5 + _PLACE,
        checksums=(md5("fa75699e90414af021442c21a62c3abf"),),
    )

    def __init__(self, settings: ImagenetSettings, rest: str = "") -> None:
        if rest:
            raise BadSetting(f"data set 'imagenet' takes nothing behind a colon; given: {rest!r}")
        self.settings = settings

    @property
    def files(self) -> Sequence[OfficialFile]:
        """The archives of the photographs, and the development kit; nobody may offer them for download."""
        return (self.train, self.validation, self.devkit)

    def about(self) -> AboutData:
        """Licence, homepage and citation."""
        return AboutData(
            licence="non-commercial research and education alone; registration",
            licence_source="ImageNet Terms of Access, https://www.image-net.org/download.php, as repeated on "
            "huggingface.co/datasets/timm/imagenet-1k-wds",
            homepage="https://www.image-net.org/download.php",
            download_bytes=sum(file.size_bytes or 0 for file in self.files),
            citation=CITATIONS["imagenet"],
        )

    def spec(self) -> SignalSpec:
        """Square grids of three channels, a thousand classes; their names are in the data alone."""
        return SignalSpec(
            parts=(PartSpec("grid", (self.settings.size, self.settings.size), 2, 3),),
            num_classes=NUM_CLASSES,
            sizes={"train": 1_281_167, "test": 50_000},
        )

    def load(self, folder: Path | None) -> Mapping[str, Signals]:
        """The splits, of which nothing is decoded yet. Raises BadData for archives that are damaged or do not agree."""
        if folder is None:
            raise ValueError("data set 'imagenet' is read from a folder; none was given")
        train, validation, kit = (self._located(file, folder) for file in self.files)
        devkit = read_devkit(kit)
        if len(devkit.wnids) > NUM_CLASSES:
            raise BadData(f"{kit}: lists {len(devkit.wnids):,} classes; allowed are 1 to {NUM_CLASSES:,}")
        trained, scored = read_index(train, nested=True), read_index(validation, nested=False)
        labels = _labels(trained, devkit, train)
        _check_validation(scored, devkit, validation)
        return {
            "train": self._signals(train, trained, labels, first_id=0),
            "test": self._signals(validation, scored, devkit.truth, first_id=len(trained)),
        }

    def _located(self, file: OfficialFile, folder: Path) -> Path:
        path = file.locate(folder)
        if path is None:
            raise BadData(f"imagenet: {file.path} missing in {folder}")
        return path

    def _signals(self, archive: Path, index: TarIndex, labels: Array, first_id: int) -> PictureSignals:
        rows = np.arange(len(index))
        pictures = TarPictures(archive, index, rows, self.settings.size, self.settings.resize)
        return PictureSignals(pictures, labels, ids=rows + first_id)


def _labels(index: TarIndex, devkit: Devkit, path: Path) -> Array:
    """The class of each training photograph: the inner archive in which it lies is named by a WordNet id."""
    classes = np.array([f"{wnid}/".encode() for wnid in devkit.wnids])
    folders = index.names.astype(classes.dtype)  # cut off behind the first slash
    labels = np.minimum(np.searchsorted(classes, folders), len(classes) - 1).astype(np.int64)
    if (wrong := classes[labels] != folders).any():
        name = index.names[wrong.argmax()].decode()
        raise BadData(f"{path}: {name} is of no class that the development kit lists")
    if absent := set(range(len(classes))) - set(np.unique(labels).tolist()):
        raise BadData(f"{path}: lacks the photographs of {len(absent)} classes, as of {devkit.wnids[min(absent)]}")
    return labels


def _check_validation(index: TarIndex, devkit: Devkit, path: Path) -> None:
    """Refuse validation photographs other than those that the ground truth is for."""
    if len(index) != len(devkit.truth):
        raise BadData(
            f"{path}: holds {len(index):,} photographs, and the ground truth of the development kit has "
            f"{len(devkit.truth):,} lines"
        )
    expected = np.array([f"ILSVRC2012_val_{number:08d}.JPEG".encode() for number in range(1, len(index) + 1)])
    if (wrong := index.names != expected).any():
        first = int(wrong.argmax())
        raise BadData(f"{path}: holds {index.names[first].decode()}; expected {expected[first].decode()}")
