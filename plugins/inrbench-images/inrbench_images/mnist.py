"""MNIST (LeCun et al., 1998) and Fashion-MNIST (Xiao et al., 2017, arXiv:1708.07747), from their IDX files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from inrbench.data import AboutData, OfficialFile, md5, sha256
from inrbench.errors import BadData, BadSetting
from inrbench.settings import DataSettings
from inrbench.signals import GridSignals, PartSpec, Signals, SignalSpec, numbered
from inrbench_images.citations import CITATIONS
from inrbench_images.idx import read_idx

__all__ = ["FashionMnist", "FashionMnistSettings", "Mnist", "MnistSettings"]

_STEMS = {
    "train images": "train-images-idx3-ubyte",
    "train labels": "train-labels-idx1-ubyte",
    "test images": "t10k-images-idx3-ubyte",
    "test labels": "t10k-labels-idx1-ubyte",
}


class MnistSettings(DataSettings):
    """Which of the digits a cell uses."""


class FashionMnistSettings(DataSettings):
    """Which of the articles a cell uses."""


# LeCun's own page no longer serves the files; these are the mirrors of torchvision and of tensorflow-datasets.
_MNIST_MIRRORS = (
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
)
_MNIST_SOURCE = (
    "url and md5 of the .gz: pytorch/vision, torchvision/datasets/mnist.py; second mirror, size and sha256 of the .gz: "
    "tensorflow/datasets, tensorflow_datasets/url_checksums/mnist.txt; sha256 of the content: not published by LeCun, "
    "taken from matraass11/mygrad (CMake targets of its v0.1.0 assets) and found equal in two more public repositories "
    "that list it beside the sha256 of the official .gz"
)
_MNIST = {  # md5, sha256 and size of the .gz, sha256 of the content
    "train images": (
        "f68b3c2dcbeaaa9fbdd348bbdeb94873",
        "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
        9_912_422,
        "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    ),
    "train labels": (
        "d53e105ee54ea40749a09fcbcd1e9432",
        "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
        28_881,
        "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    ),
    "test images": (
        "9fb629c4189551a2d022fa330f9573f3",
        "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
        1_648_877,
        "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    ),
    "test labels": (
        "ec29112dd5afa0611ce80d1b7f02629c",
        "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
        4_542,
        "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
    ),
}

_FASHION_MIRRORS = (
    "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
    "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
)
# Nobody was found to publish checksums of the decompressed files: a decompressed or re-compressed copy is unofficial.
_FASHION_SOURCE = (
    "url and md5 of the .gz: the table in zalandoresearch/fashion-mnist, README.md, which also names data/fashion of "
    "that repository as a second place; size and sha256: tensorflow/datasets, "
    "tensorflow_datasets/url_checksums/fashion_mnist.txt"
)
_FASHION = {  # md5, sha256 and size of the .gz
    "train images": (
        "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
        "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
        26_421_880,
    ),
    "train labels": (
        "25c81989df183df01b3e8a0aad5dffbe",
        "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
        29_515,
    ),
    "test images": (
        "bef4ecab320f06d8554ea6380940ec79",
        "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
        4_422_102,
    ),
    "test labels": (
        "bb300cfdad3c16e7a12a480ee83cd310",
        "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
        5_148,
    ),
}


def _file(
    part: str, mirrors: Sequence[str], source: str, old: str, new: str, size_bytes: int, content: str = ""
) -> OfficialFile:
    stem = _STEMS[part]
    return OfficialFile(
        path=f"{stem}.gz",
        source=source,
        urls=tuple(f"{mirror}{stem}.gz" for mirror in mirrors),
        checksums=(md5(old), sha256(new)),
        content_checksums=(sha256(content),) if content else (),
        size_bytes=size_bytes,
        alternatives=(stem,),
    )


class Mnist:
    """60,000 training and 10,000 test images of handwritten digits, [28, 28, 1], uint8."""

    name = "mnist"
    class_names: tuple[str, ...] = tuple("0123456789")

    def __init__(self, settings: DataSettings, rest: str = "") -> None:
        if rest:
            raise BadSetting(f"data set {self.name!r} takes nothing behind a colon; given: {rest!r}")
        self.settings = settings

    @property
    def files(self) -> Sequence[OfficialFile]:
        """Images and labels of both splits."""
        return tuple(_file(part, _MNIST_MIRRORS, _MNIST_SOURCE, *known) for part, known in _MNIST.items())

    def about(self) -> AboutData:
        """Licence, homepage and citation."""
        return AboutData(
            licence="CC BY-SA 3.0",
            licence_source="keras-team/keras, keras/src/datasets/mnist.py (LeCun's own page was not looked at)",
            homepage="http://yann.lecun.com/exdb/mnist/",
            download_bytes=sum(file.size_bytes or 0 for file in self.files),
            citation=CITATIONS[self.name],
        )

    def spec(self) -> SignalSpec:
        """28 x 28 grids of one channel, ten classes."""
        return SignalSpec(
            parts=(PartSpec("grid", (28, 28), 2, 1),),
            num_classes=10,
            class_names=self.class_names,
            sizes={"train": 60_000, "test": 10_000},
        )

    def load(self, folder: Path | None) -> Mapping[str, Signals]:
        """The official splits. Raises BadData for files that are missing, damaged or do not belong together."""
        if folder is None:
            raise ValueError(f"data set {self.name!r} is read from a folder; none was given")
        paths: dict[str, Path] = {}
        for part, file in zip(_STEMS, self.files, strict=True):
            path = file.locate(folder)
            if path is None:
                raise BadData(f"{self.name}: {file.path} missing in {folder}")
            paths[part] = path
        return numbered(
            {split: _signals(paths[f"{split} images"], paths[f"{split} labels"]) for split in ("train", "test")}
        )


def _signals(images: Path, labels: Path) -> GridSignals:
    values, classes = read_idx(images, 3), read_idx(labels, 1)
    if values.shape[1:] != (28, 28):
        raise BadData(f"{images}: images of {values.shape[1]} x {values.shape[2]}; expected 28 x 28")
    if len(values) != len(classes) or not len(values):
        raise BadData(f"{images} holds {len(values):,} images and {labels} {len(classes):,} labels")
    if classes.max() > 9:
        raise BadData(f"{labels}: label {classes.max()}; allowed are 0 to 9")
    return GridSignals(values[..., None], classes.astype(np.int64))


class FashionMnist(Mnist):
    """60,000 training and 10,000 test images of articles of clothing, [28, 28, 1], uint8."""

    name = "fashion-mnist"
    class_names = (
        *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
        *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
    )

    @property
    def files(self) -> Sequence[OfficialFile]:
        """Images and labels of both splits."""
        return tuple(_file(part, _FASHION_MIRRORS, _FASHION_SOURCE, *known) for part, known in _FASHION.items())

    def about(self) -> AboutData:
        """Licence, homepage and citation."""
        return AboutData(
            licence="MIT",
            licence_source="LICENSE of zalandoresearch/fashion-mnist",
            homepage="https://github.com/zalandoresearch/fashion-mnist",
            download_bytes=sum(file.size_bytes or 0 for file in self.files),
            citation=CITATIONS[self.name],
        )
