"""Representations: rows that are cut and joined stay what they were."""

from __future__ import annotations

import numpy as np
import pytest

from inrbench.representations import Layout, Representations

LAYOUT = Layout("weights", {"w": (2, 3), "b": (2,)})


def rows(count: int, first: int = 0) -> Representations:
    rng = np.random.default_rng(first)
    arrays = {"w": rng.normal(size=(count, 2, 3)), "b": rng.normal(size=(count, 2))}
    return Representations(LAYOUT, arrays, np.arange(first, first + count), np.full(count, first))


def test_a_layout_counts_its_values() -> None:
    assert LAYOUT.num_values == 8
    assert Layout("latent", {"z": ()}).num_values == 1


def test_joined_shards_are_the_rows_in_order() -> None:
    whole = Representations.joined(iter([rows(2), rows(3, first=2)]))
    assert len(whole) == 5
    assert whole.layout is LAYOUT
    assert whole.ids.tolist() == [0, 1, 2, 3, 4]
    assert whole.copies.tolist() == [0, 0, 2, 2, 2]
    for name in ("w", "b"):
        np.testing.assert_array_equal(whole.arrays[name][2:], rows(3, first=2).arrays[name])


def test_rows_cut_apart_and_joined_are_the_same_rows() -> None:
    whole = rows(5)
    again = Representations.joined([whole.take(slice(0, 2)), whole.take(np.array([2, 3, 4]))])
    assert again.ids.tolist() == whole.ids.tolist()
    np.testing.assert_array_equal(again.arrays["w"], whole.arrays["w"])


def test_joining_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="no representations to join: the fitter yielded no shard"):
        Representations.joined([])
