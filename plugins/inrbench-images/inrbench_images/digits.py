"""digits: the 1,797 handwritten digits that come with scikit-learn, 8 x 8 with values 0 to 16.

They are the test set of the Optical Recognition of Handwritten Digits data (Alpaydin and Kaynak, 1998), which has no
split of its own. The one here is fixed: 360 test images, each class in proportion, chosen by a hash of their position
in scikit-learn's order with seed 0 (`inrbench_images.split`); the other 1,437 train.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from inrbench.data import AboutData, OfficialFile
from inrbench.errors import BadData, BadSetting
from inrbench.settings import DataSettings
from inrbench.signals import GridSignals, PartSpec, Signals, SignalSpec
from inrbench_images.citations import CITATIONS
from inrbench_images.split import stratified_split

__all__ = ["Digits", "DigitsSettings"]

NUM_TEST = 360
NUM_IMAGES = 1797


class DigitsSettings(DataSettings):
    """Which of the digits a cell uses."""


class Digits:
    """1,437 training and 360 test images, [8, 8, 1], embedded in scikit-learn."""

    def __init__(self, settings: DigitsSettings, rest: str = "") -> None:
        if rest:
            raise BadSetting(f"data set 'digits' takes nothing behind a colon; given: {rest!r}")
        self.settings = settings

    @property
    def files(self) -> Sequence[OfficialFile]:
        """None: the data is embedded."""
        return ()

    def about(self) -> AboutData:
        """Licence, homepage and citation."""
        return AboutData(
            licence="CC BY 4.0",
            licence_source="doi:10.24432/C50P49 at UCI, as quoted by public repositories that redistribute it",
            homepage="https://scikit-learn.org/stable/datasets/toy_dataset.html#digits-dataset",
            download_bytes=0,
            citation=CITATIONS["digits"],
        )

    def spec(self) -> SignalSpec:
        """8 x 8 grids of one channel, ten classes."""
        return SignalSpec(
            parts=(PartSpec("grid", (8, 8), 2, 1),),
            num_classes=10,
            class_names=tuple("0123456789"),
            sizes={"train": NUM_IMAGES - NUM_TEST, "test": NUM_TEST},
        )

    def load(self, folder: Path | None) -> Mapping[str, Signals]:
        """The splits; ids are positions in scikit-learn's order."""
        from sklearn.datasets import load_digits

        bunch = load_digits()
        values = np.asarray(bunch.images, dtype=np.uint8)[..., None]
        labels = np.asarray(bunch.target, dtype=np.int64)
        if values.shape != (NUM_IMAGES, 8, 8, 1):
            raise BadData(f"scikit-learn's digits have shape {values.shape[:-1]}, not ({NUM_IMAGES}, 8, 8)")
        train, test = stratified_split(labels, [str(i) for i in range(NUM_IMAGES)], NUM_TEST, "digits")
        whole = GridSignals(values, labels, to_unit=(1.0 / 16.0, 0.0))
        return {"train": whole.take(train), "test": whole.take(test)}
