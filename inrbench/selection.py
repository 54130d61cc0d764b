"""Which signals a cell uses: validation cut from train, subsets, and the labels that a control shuffles."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from inrbench import draws
from inrbench.domains import Array
from inrbench.errors import BadData, BadSetting
from inrbench.settings import Copies, DataSettings
from inrbench.signals import EpisodicSignals, Signals

__all__ = ["Selected", "select"]

#: Index lists are the same for every cell: their seed is never the cell's.
INDEX_SEED = 20260101


@dataclass(frozen=True)
class Selected:
    """The signals of one cell. ``train_labels`` may be shuffled; the fitter sees no labels at all.

    Validation has the form of the test split, as episodes where the signals have some; ``held_out`` are the same
    signals in the form of the training ones, for a fitter to choose on while it trains (None: these do not differ).
    """

    train: Signals
    validation: Signals
    scored: Signals
    train_labels: Array | None
    scored_split: str
    copies: Copies = field(default_factory=Copies)  # of the training signals, for a reader that trains on its own
    held_out: Signals | None = None


def select(splits: Mapping[str, Signals], settings: DataSettings, seed: int) -> Selected:
    """Cut ``splits`` (train and test; a single clip has only test) as ``settings`` say.

    Shares and sizes are of signals: all episodes of one are on the same side. Raises BadSetting where more signals are
    asked for than there are, BadData where splits share signals.
    """
    test = splits["test"]
    whole = splits.get("train", test.take(np.zeros(0, dtype=np.int64)))
    if np.intersect1d(whole.ids, test.ids).size:
        raise BadData("the data set gives signals of train and of test the same ids; ids must be unique over splits")
    signals = _signals(whole)
    order = draws.generator(INDEX_SEED, "validation").permutation(len(signals))
    held_out = round(settings.validation * len(signals))
    if 0 < len(signals) <= held_out:
        raise BadSetting(
            f"setting data.validation={settings.validation}: that leaves none of {len(signals)} to train on"
        )
    unseen = _of(whole, signals[order[:held_out]])
    validation = unseen.as_episodes() if isinstance(unseen, EpisodicSignals) else unseen
    train = _subset(_of(whole, signals[order[held_out:]]), settings.train_size, "data.train_size")
    if settings.scored == "validation" and held_out == 0:
        raise BadSetting("data.scored=validation needs held-out signals: say --set data.validation=0.2 too")
    scored = _subset(validation if settings.scored == "validation" else test, settings.test_size, "data.test_size")
    labels = train.labels
    if labels is not None and settings.labels == "shuffled":
        labels = draws.generator(seed, "shuffled labels").permutation(labels)
    return Selected(train, validation, scored, labels, settings.scored, settings.copies, unseen)


def _subset(signals: Signals, size: int | None, key: str) -> Signals:
    if size is None:
        return signals
    there = _signals(signals)
    if size > len(there):
        raise BadSetting(f"setting {key}={size}: there are only {len(there)} signals")
    chosen = draws.generator(INDEX_SEED, key, len(there)).choice(len(there), size, replace=False)
    return _of(signals, there[chosen])


def _signals(entries: Signals) -> Array:
    """The ids of ``entries``, each once, in the order in which they come."""
    ids, first = np.unique(entries.ids, return_index=True)
    return np.asarray(ids[np.argsort(first)])


def _of(entries: Signals, chosen: Array) -> Signals:
    """All entries of the signals with the ids ``chosen``, in their own order."""
    return entries.take(np.flatnonzero(np.isin(entries.ids, chosen)))
