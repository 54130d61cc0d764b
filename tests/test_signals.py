"""Signals: entries keep their ids and their labels, and lose the labels where a fitter looks."""

from __future__ import annotations

import numpy as np
import pytest

from inrbench.domains import Grid
from inrbench.signals import GridSignals, Part, PartSpec, SignalSpec, numbered


def images(count: int = 4) -> GridSignals:
    values = np.arange(count * 6, dtype=np.uint8).reshape(count, 2, 3, 1)
    return GridSignals(values, labels=np.arange(count) % 2)


def test_signals_without_ids_are_numbered() -> None:
    assert images().ids.tolist() == [0, 1, 2, 3]


def test_taking_keeps_order_ids_and_labels() -> None:
    taken = images().take(np.array([3, 1]))
    assert taken.ids.tolist() == [3, 1]
    assert taken.labels is not None
    assert taken.labels.tolist() == [1, 1]
    np.testing.assert_array_equal(taken.values, images().values[[3, 1]])
    assert taken.take(np.array([1])).ids.tolist() == [1]


def test_taking_none_leaves_no_signals() -> None:
    taken = images().take(np.zeros(0, dtype=np.int64))
    assert len(taken) == 0
    assert len(taken.ids) == 0


def test_unlabelled_signals_keep_all_but_the_labels() -> None:
    signals = images().take(np.array([2, 0]))
    assert signals.unlabelled().labels is None
    assert signals.unlabelled().ids.tolist() == [2, 0]
    assert signals.labels is not None


def test_lengths_that_do_not_agree_are_refused() -> None:
    with pytest.raises(ValueError, match="4 signals with 4 ids and 3 labels"):
        GridSignals(images().values, labels=np.zeros(3))
    with pytest.raises(ValueError, match="4 signals with 2 ids and None labels"):
        GridSignals(images().values, ids=np.zeros(2))


def test_an_image_is_scored_on_what_is_observed() -> None:
    signals = images()
    (observed,), (scored,) = signals.observed(2), signals.scored(2)
    assert observed.domain == scored.domain == Grid.of(2, 3)
    np.testing.assert_array_equal(observed.values, signals.values[2])
    np.testing.assert_array_equal(scored.values, signals.values[2])


def test_stored_bytes_become_values_between_0_and_1() -> None:
    part = Part(Grid.of(3), np.array([[0], [51], [255]], dtype=np.uint8), to_unit=(1 / 255, 0.0))
    np.testing.assert_allclose(part.unit_values().ravel(), [0.0, 0.2, 1.0], rtol=1e-6)
    symmetric = Part(Grid.of(2), np.array([[-1.0], [1.0]]), to_unit=(0.5, 0.5))
    assert symmetric.unit_values().ravel().tolist() == [0.0, 1.0]
    assert symmetric.unit_values().dtype == np.float32


def test_stacked_signals_are_the_parts_one_by_one() -> None:
    signals = images()
    domain, values, to_unit = signals.stacked()
    for i in range(len(signals)):
        (part,) = signals.scored(i)
        assert (part.domain, part.to_unit) == (domain, to_unit)
        np.testing.assert_array_equal(part.values, values[i])


def test_a_spec_of_two_parts_adds_their_channels() -> None:
    video = PartSpec("grid", (10, 8, 8), 3, 3, "video")
    sound = PartSpec("points", (100,), 3, 2, "sound")
    spec = SignalSpec((video, sound, video))
    assert (spec.coord_dim, spec.channels, spec.domains) == (3, 8, ("grid", "points"))


def test_numbered_splits_share_no_id_and_keep_their_order() -> None:
    splits = numbered({"train": GridSignals(np.zeros((3, 2, 1))), "test": GridSignals(np.zeros((2, 2, 1)))})
    assert splits["train"].ids.tolist() == [0, 1, 2]
    assert splits["test"].ids.tolist() == [3, 4]
