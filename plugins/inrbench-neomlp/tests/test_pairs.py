"""Pairs: their numbers, their keyed order, and what is gathered of signals wherever these have their points."""

from __future__ import annotations

from types import ModuleType

import numpy as np
import pytest
from inrbench_neomlp import pairs as pairs_module
from inrbench_neomlp.pairs import Order, located, pairs_of

from inrbench import draws
from inrbench.domains import Grid, Points
from inrbench.errors import Refused


def test_pairs_are_counted_signal_by_signal() -> None:
    signals, points = located(np.array([2, 1, 3]), np.array([[0, 1, 2], [3, 4, 5]]))
    assert signals.tolist() == [[0, 0, 1], [2, 2, 2]]
    assert points.tolist() == [[0, 1, 0], [0, 1, 2]]


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 17, 64, 1000, 4097])
def test_an_order_holds_each_number_once(count: int) -> None:
    order = Order(count, draws.generator(0, "order"))
    assert sorted(order(np.arange(count)).tolist()) == list(range(count))
    assert order(np.array([count - 1])).tolist() == order(np.arange(count))[-1:].tolist()  # any part alone


def test_an_order_is_keyed() -> None:
    one, again, other = (Order(500, draws.generator(0, key))(np.arange(500)) for key in ("a", "a", "b"))
    np.testing.assert_array_equal(one, again)
    assert (one != other).mean() > 0.9


def test_an_order_looks_like_a_random_one() -> None:
    """Over many keys each number stands at each place equally often, and neighbours are not followed by neighbours."""
    count, keys = 24, 6000
    found = np.array([Order(count, draws.generator(0, "key", key))(np.arange(count)) for key in range(keys)])
    seen = np.zeros((count, count))
    for place in range(count):
        seen[place] = np.bincount(found[:, place], minlength=count)
    expected = keys / count
    chi_squared = ((seen - expected) ** 2 / expected).sum()
    degrees = (count - 1) ** 2
    assert abs(chi_squared - degrees) < 5 * np.sqrt(2 * degrees)
    follows = ((found[:, 1:] - found[:, :-1]) == 1).mean()  # 1 / count of all pairs of places
    assert follows == pytest.approx(1 / count, rel=0.1)


def test_an_order_of_more_pairs_than_memory_holds_is_drawn_in_parts() -> None:
    order = Order(5_800_000_000, draws.generator(0, "order"))
    found = order(np.arange(5_000_000_000, 5_000_000_000 + 20_000))
    assert len(np.unique(found)) == 20_000
    assert 0 <= found.min() < found.max() < 5_800_000_000
    assert found.mean() == pytest.approx(2_900_000_000, rel=0.03)


def test_pairs_of_images_are_their_pixels(double: ModuleType) -> None:
    signals = double.images(4)
    pairs = pairs_of(signals, "cpu")
    assert pairs.counts.tolist() == [20] * 4
    coords, values = pairs.at(np.array([3, 0]), np.array([19, 5]))
    np.testing.assert_allclose(coords.numpy(), Grid.of(5, 4).coords().reshape(20, 2)[[19, 5]])
    np.testing.assert_allclose(values[:, 0], np.array([signals.values[3, 4, 3, 0], signals.values[0, 1, 1, 0]]) / 255)
    coords, values = pairs.at(np.array([[1], [2]]), np.array([[0, 1, 2], [3, 4, 5]]))
    assert (tuple(coords.shape), tuple(values.shape)) == ((2, 3, 2), (2, 3, 1))
    np.testing.assert_allclose(values[1, 0], signals.values[2, 0, 3] / 255)


@pytest.mark.parametrize("resident", [True, False])
def test_pairs_of_clouds_are_their_own_points(
    double: ModuleType, resident: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not resident:
        monkeypatch.setattr(pairs_module, "RESIDENT_BYTES", 0)
    clouds = double.Clouds([3, 5, 4])
    pairs = pairs_of(clouds, "cpu")
    assert pairs.counts.tolist() == [3, 5, 4]
    signals, points = np.array([2, 1, 2, 0]), np.array([3, 4, 0, 1])
    coords, values = pairs.at(signals, points)
    for k, (i, j) in enumerate(zip(signals, points, strict=True)):
        (part,) = clouds.observed(int(i))
        assert isinstance(part.domain, Points)
        np.testing.assert_array_equal(coords[k], part.domain.coords[j])
        np.testing.assert_array_equal(values[k], part.unit_values()[j])
    apart = pairs.at(np.array([[2], [1]]), np.array([[0, 3], [4, 0]]))
    np.testing.assert_array_equal(apart[1][0, 1], clouds.observed(2)[0].unit_values()[3])
    np.testing.assert_array_equal(apart[1][1, 0], clouds.observed(1)[0].unit_values()[4])


@pytest.mark.parametrize("resident", [True, False])
def test_images_that_are_not_held_on_the_device_give_the_same(
    double: ModuleType, resident: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    signals = double.images(4)
    whole = pairs_of(signals, "cpu").at(np.array([[1], [3]]), np.array([[0, 7], [2, 9]]))
    monkeypatch.setattr(pairs_module, "RESIDENT_BYTES", 2**20 if resident else 0)
    found = pairs_of(signals, "cpu").at(np.array([[1], [3]]), np.array([[0, 7], [2, 9]]))
    for one, other in zip(whole, found, strict=True):
        np.testing.assert_array_equal(one, other)


def test_signals_of_several_parts_are_refused(double: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    one = double.Clouds([3]).observed(0)
    monkeypatch.setattr(double.Clouds, "observed", lambda self, i: (*one, *one))
    with pytest.raises(Refused, match=r"takes signals of one part on points; signal 0 has 2 parts"):
        pairs_of(double.Clouds([3]), "cpu")
