"""Which signals a cell uses: validation cut from train, subsets, and the labels that a control shuffles."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from inrbench import draws
from inrbench.domains import Array
from inrbench.errors import BadData, BadSetting
from inrbench.settings import Copies, DataSettings
from inrbench.signals import Signals

__all__ = ["Selected", "select"]

#: Index lists are the same for every cell: their seed is never the cell's.
INDEX_SEED = 20260101


@dataclass(frozen=True)
class Selected:
    """The signals of one cell. ``train_labels`` may be shuffled; the fitter sees no labels at all."""

    train: Signals
    validation: Signals
    scored: Signals
    train_labels: Array | None
    scored_split: str
    copies: Copies = field(default_factory=Copies)  # of the training signals, for a reader that trains on its own


def select(splits: Mapping[str, Signals], settings: DataSettings, seed: int) -> Selected:
    """Cut ``splits`` (train and test; a single clip has only test) as ``settings`` say.

    Raises BadSetting where more signals are asked for than there are, BadData where splits share signals.
    """
    test = splits["test"]
    whole = splits.get("train", test.take(np.zeros(0, dtype=np.int64)))
    if np.intersect1d(whole.ids, test.ids).size:
        raise BadData("the data set gives signals of train and of test the same ids; ids must be unique over splits")
    order = draws.generator(INDEX_SEED, "validation").permutation(len(whole))
    held_out = round(settings.validation * len(whole))
    if 0 < len(whole) <= held_out:
        raise BadSetting(f"setting data.validation={settings.validation}: that leaves none of {len(whole)} to train on")
    validation = whole.take(np.sort(order[:held_out]))
    train = _subset(whole.take(np.sort(order[held_out:])), settings.train_size, "data.train_size")
    if settings.scored == "validation" and held_out == 0:
        raise BadSetting("data.scored=validation needs held-out signals: say --set data.validation=0.2 too")
    scored = _subset(validation if settings.scored == "validation" else test, settings.test_size, "data.test_size")
    labels = train.labels
    if labels is not None and settings.labels == "shuffled":
        labels = draws.generator(seed, "shuffled labels").permutation(labels)
    return Selected(train, validation, scored, labels, settings.scored, settings.copies)


def _subset(signals: Signals, size: int | None, key: str) -> Signals:
    if size is None:
        return signals
    if size > len(signals):
        raise BadSetting(f"setting {key}={size}: there are only {len(signals)} signals")
    chosen = draws.generator(INDEX_SEED, key, len(signals)).choice(len(signals), size, replace=False)
    return signals.take(np.sort(chosen))
