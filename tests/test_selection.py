"""Which signals a cell uses: the same for every seed, disjoint, and never more than there are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

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


# ------------------------------------------------------------------ signals that are listed several times


@dataclass(frozen=True)
class Episodic(GridSignals):
    """Two episodes of each signal."""

    def as_episodes(self) -> Episodic:
        return cast(Episodic, self.take(np.repeat(np.arange(len(self)), 2)))


def episodic(**settings: Any) -> Selected:
    values = np.zeros((50, 2, 2, 1), dtype=np.uint8)
    train = Episodic(values, LABELS, ids=np.arange(50))
    test = Episodic(values[:20], LABELS[:20], ids=np.arange(100, 120)).as_episodes()
    return select({"train": train, "test": test}, DataSettings(**settings), 0)


def test_sizes_count_signals_and_keep_all_their_episodes() -> None:
    data, plain = episodic(test_size=7), selected(test_size=7)
    assert data.scored.ids.tolist() == np.repeat(plain.scored.ids, 2).tolist()
    with pytest.raises(BadSetting, match="test_size=21: there are only 20 signals"):
        episodic(test_size=21)


def test_validation_is_scored_as_episodes_and_chosen_on_as_training_signals() -> None:
    data, plain = episodic(validation=0.2, scored="validation", test_size=4), selected(validation=0.2)
    assert data.validation.ids.tolist() == np.repeat(plain.validation.ids, 2).tolist()
    assert data.held_out is not None
    assert data.held_out.ids.tolist() == plain.validation.ids.tolist()
    assert data.train.ids.tolist() == plain.train.ids.tolist()
    assert (len(data.scored), len(set(data.scored.ids.tolist()))) == (8, 4)
    assert set(data.scored.ids.tolist()) < set(data.validation.ids.tolist())


def test_a_share_of_signals_is_held_out_with_all_their_episodes() -> None:
    values = np.zeros((30, 2, 2, 1), dtype=np.uint8)
    three_each = GridSignals(values, ids=np.repeat([5, 3, 9, 1, 7, 0, 2, 4, 6, 8], 3))
    data = select({"train": three_each, "test": images_of([20, 21])}, DataSettings(validation=0.3), 0)
    held_out, kept = set(data.validation.ids.tolist()), data.train.ids.tolist()
    assert (len(held_out), len(data.validation), len(kept)) == (3, 9, 21)
    assert not held_out & set(kept)
    assert kept == [one for one in three_each.ids.tolist() if one not in held_out]


def images_of(ids: list[int]) -> GridSignals:
    return GridSignals(np.zeros((len(ids), 2, 2, 1), dtype=np.uint8), ids=np.array(ids))
