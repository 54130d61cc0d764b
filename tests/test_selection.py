"""Which signals a cell uses: the same for every seed, disjoint, and never more than there are."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from inrbench.errors import BadSetting
from inrbench.selection import Selected, select
from inrbench.settings import DataSettings
from inrbench.signals import GridSignals

LABELS = np.arange(50) % 5


def selected(seed: int = 0, **settings: Any) -> Selected:
    values = np.zeros((50, 2, 2, 1), dtype=np.uint8)
    splits = {
        "train": GridSignals(values, LABELS, ids=np.arange(50)),
        "test": GridSignals(values[:20], LABELS[:20], ids=np.arange(100, 120)),
    }
    return select(splits, DataSettings(**settings), seed)


def test_without_settings_everything_is_used() -> None:
    data = selected()
    assert data.train.ids.tolist() == list(range(50))
    assert data.scored.ids.tolist() == list(range(100, 120))
    assert (len(data.validation), data.scored_split) == (0, "test")
    np.testing.assert_array_equal(data.train_labels, LABELS)


def test_validation_is_cut_from_train_and_disjoint_from_it() -> None:
    data = selected(validation=0.2)
    assert len(data.validation) == 10
    assert sorted([*data.train.ids, *data.validation.ids]) == list(range(50))
    assert data.train.ids.tolist() == sorted(data.train.ids)
    np.testing.assert_array_equal(data.train_labels, LABELS[data.train.ids])


def test_splits_and_subsets_are_the_same_for_every_seed() -> None:
    sizes: dict[str, Any] = {"validation": 0.2, "train_size": 12, "test_size": 7}
    first, *others = (selected(seed, **sizes) for seed in range(4))
    for other in others:
        for split in ("train", "validation", "scored"):
            assert getattr(other, split).ids.tolist() == getattr(first, split).ids.tolist()


def test_a_subset_is_drawn_from_the_whole_split_and_keeps_its_order() -> None:
    data = selected(train_size=12, test_size=7)
    assert (len(data.train), len(data.scored)) == (12, 7)
    assert data.train.ids.tolist() == sorted(set(data.train.ids))
    assert data.train.ids.tolist() != list(range(12))
    np.testing.assert_array_equal(data.train_labels, LABELS[data.train.ids])


def test_the_validation_split_does_not_depend_on_the_subset() -> None:
    assert (
        selected(validation=0.2, train_size=5).validation.ids.tolist()
        == selected(validation=0.2).validation.ids.tolist()
    )


def test_metrics_can_be_computed_on_validation() -> None:
    data = selected(validation=0.2, scored="validation", test_size=4)
    assert data.scored_split == "validation"
    assert set(data.scored.ids) < set(data.validation.ids)
    assert len(data.scored) == 4


def test_shuffled_labels_keep_their_counts_and_depend_on_the_seed() -> None:
    first, again, other = (selected(seed, labels="shuffled").train_labels for seed in (0, 0, 1))
    assert first is not None
    assert other is not None
    np.testing.assert_array_equal(np.bincount(first), np.bincount(LABELS))
    np.testing.assert_array_equal(first, again)
    assert (first != LABELS).any()
    assert (first != other).any()


def test_shuffling_touches_the_labels_of_training_alone() -> None:
    true, shuffled = selected(), selected(labels="shuffled")
    np.testing.assert_array_equal(true.scored.labels, shuffled.scored.labels)
    np.testing.assert_array_equal(true.train.ids, shuffled.train.ids)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"train_size": 51}, "setting data.train_size=51: there are only 50 signals"),
        ({"train_size": 41, "validation": 0.2}, "setting data.train_size=41: there are only 40 signals"),
        ({"test_size": 21}, "setting data.test_size=21: there are only 20 signals"),
        (
            {"scored": "validation", "validation": 0.2, "test_size": 11},
            "setting data.test_size=11: there are only 10 signals",
        ),
        (
            {"scored": "validation"},
            "data.scored=validation needs held-out signals: say --set data.validation=0.2 too",
        ),
    ],
    ids=repr,
)
def test_more_than_there_is_is_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(BadSetting) as caught:
        selected(**settings)
    assert str(caught.value) == message


def test_a_single_clip_has_nothing_to_train_on() -> None:
    clip = GridSignals(np.zeros((1, 4, 2, 2, 3), dtype=np.uint8))
    data = select({"test": clip}, DataSettings(), 0)
    assert (len(data.train), len(data.scored), data.train_labels) == (0, 1, None)
