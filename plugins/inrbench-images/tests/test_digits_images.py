"""digits: values, sizes and the fixed split."""

from __future__ import annotations

import numpy as np
import pytest
from inrbench_images.digits import Digits, DigitsSettings
from inrbench_images.split import stratified_split

from inrbench.data import signals_checksum


def test_the_split_has_the_announced_sizes_and_holds_every_digit_once() -> None:
    dataset = Digits(DigitsSettings())
    splits = dataset.load(None)
    assert {name: len(signals) for name, signals in splits.items()} == dataset.spec().sizes
    ids = np.concatenate([splits["train"].ids, splits["test"].ids])
    assert sorted(ids) == list(range(1797))


def test_every_class_gives_its_share_of_the_test_split() -> None:
    splits = Digits(DigitsSettings()).load(None)
    whole = np.bincount(np.concatenate([splits["train"].labels, splits["test"].labels]))
    test = np.bincount(splits["test"].labels)
    assert np.all(np.abs(test - whole * 360 / 1797) < 1)


def test_unit_values_use_the_whole_range_and_nothing_else() -> None:
    splits = Digits(DigitsSettings()).load(None)
    values = np.stack([splits["train"].scored(i)[0].unit_values() for i in range(50)])
    assert values.shape == (50, 8, 8, 1)
    assert (values.min(), values.max()) == (0.0, 1.0)


def test_the_test_split_is_the_same_for_ever() -> None:
    checksum = signals_checksum(Digits(DigitsSettings()).load(None)["test"])
    assert checksum == "b6f525163e2b41c3bbd32043e6aad9199eeec60fa05668a3933e395fab6ca506"


def test_a_split_by_name_moves_nothing_else_when_an_entry_is_added() -> None:
    labels = np.zeros(10, dtype=np.int64)
    names = [f"image-{i}" for i in range(10)]
    _, before = stratified_split(labels, names, 3, "p")
    _, after = stratified_split(np.zeros(11, dtype=np.int64), [*names, "new"], 3, "p")
    assert len(set(before) & set(after)) >= 2


def test_a_split_takes_no_more_than_there_is() -> None:
    with pytest.raises(ValueError, match="a test split of 3 entries: allowed are 0 to 2"):
        stratified_split(np.zeros(2, dtype=np.int64), ["a", "b"], 3, "p")
