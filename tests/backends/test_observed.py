"""Observed signals: all points or draws of some, the same for a signal whatever it is looked at with."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from inrbench import draws
from inrbench.backends.torch.fields import coords_of
from inrbench.backends.torch.observed import (
    DrawnSignals,
    GridOfSignals,
    Observed,
    Sample,
    num_drawn,
    shards,
    subset,
)
from inrbench.domains import Array, Grid, Points
from inrbench.errors import Refused
from inrbench.settings import Augmentation
from inrbench.signals import DrawableSignals, GridSignals, Part

GRID, CELLS = Grid.of(4, 5), 20


def keyed(one: int) -> np.random.Generator:
    return draws.generator(0, "points", one)


@dataclass(frozen=True)
class Ramps:
    """Signals with a value anywhere: signal i at (y, x) is (i + (y + 1) / 2) / 100; a copy is `scale` brighter."""

    ids: Array
    labels: Array | None = None
    num_points: int = 30

    def __len__(self) -> int:
        return len(self.ids)

    def value(self, i: int, coords: Array) -> Array:
        return np.asarray((self.ids[i] + (coords[..., :1] + 1.0) / 2.0) / 100.0, dtype=np.float32)

    def observed(self, i: int) -> Sequence[Part]:
        coords = draws.generator(7, "listed", int(self.ids[i])).uniform(-1.0, 1.0, (self.num_points, 2))
        return (Part(Points(coords.astype(np.float32)), self.value(i, coords)),)

    scored = observed

    def draw(
        self, i: int, sets: int, count: int, rng: np.random.Generator, augmentation: Augmentation | None = None
    ) -> tuple[Array, Array]:
        coords = rng.uniform(-1.0, 1.0, (sets, count, 2)).astype(np.float32)
        brighter = 0.0 if augmentation is None else augmentation.scale
        return coords, self.value(i, coords) + np.float32(brighter)

    def stacked(self) -> None:
        return None

    def take(self, indices: Array) -> Ramps:
        return replace(self, ids=self.ids[indices])

    def unlabelled(self) -> Ramps:
        return replace(self, labels=None)


class OneByOne(GridSignals):
    """Signals that do not say that they share a grid."""

    def stacked(self) -> Any:
        return None


def images(count: int = 5, channels: int = 2) -> GridSignals:
    values = draws.generator(0, "images").integers(0, 256, (count, 4, 5, channels), dtype=np.uint8)
    return GridSignals(values, np.arange(count), np.arange(count) + 10)


def grid(signals: GridSignals | None = None) -> Observed:
    (found,) = shards(signals or images(), 16, "cpu", keyed)
    return found


def assert_samples_equal(one: Sequence[Sample], other: Sequence[Sample]) -> None:
    assert len(one) == len(other)
    for (coords, values), (other_coords, other_values) in zip(one, other, strict=True):
        assert torch.equal(coords, other_coords)
        assert torch.equal(values, other_values)


# ------------------------------------------------------------------ how many points


@pytest.mark.parametrize(
    ("share", "num_points", "count"),
    [
        (1.0, 100, 100),
        (0.3, 64, 19),
        (0.29, 100, 29),  # 0.29 * 100 is 28.999999999999996
        (0.57, 100, 57),  # 56.99999999999999
        (0.07, 100, 7),  # 7.000000000000001
        (0.1, 102_400, 10_240),
        (0.02, 102_400, 2048),
        (0.0, 100, 1),
        (0.0001, 100, 1),
        (0.00005, 32_768, 1),  # 1.6384
        (0.999, 10, 9),
        (1.0, 1, 1),
    ],
)
def test_a_draw_is_the_share_rounded_down_and_at_least_one_point(share: float, num_points: int, count: int) -> None:
    assert num_drawn(share, num_points) == count
    assert subset(keyed(0), 2, share, num_points).shape == (2, count)


def test_a_share_in_percent_never_loses_a_point_to_rounding() -> None:
    for percent in range(1, 101):
        for num_points in (100, 1000, 102_400):
            assert num_drawn(percent / 100, num_points) == percent * num_points // 100


def test_a_subset_is_drawn_without_replacement_and_afresh_for_each_set() -> None:
    found = subset(keyed(3), 6, 0.5, 40)
    assert all(len(np.unique(one)) == 20 for one in found)
    assert found.min() >= 0
    assert found.max() < 40
    assert len({tuple(sorted(one)) for one in found}) == 6


def test_more_sets_begin_with_the_fewer() -> None:
    np.testing.assert_array_equal(subset(keyed(3), 7, 0.3, 64)[:4], subset(keyed(3), 4, 0.3, 64))


def test_all_of_the_points_are_a_permutation() -> None:
    (one,) = subset(keyed(3), 1, 1.0, 12)
    assert sorted(one) == list(range(12))


# ------------------------------------------------------------------ signals on one grid


def test_the_whole_of_a_grid_is_its_cells_in_order_in_unit_range() -> None:
    signals = images()
    coords, values = grid(signals).whole()
    np.testing.assert_array_equal(coords.numpy(), GRID.coords().reshape(CELLS, 2))
    assert values.dtype == torch.float32
    np.testing.assert_allclose(values.numpy(), signals.values.reshape(5, CELLS, 2) / 255.0, atol=1e-7)


def test_a_draw_of_a_grid_is_some_of_its_cells_with_their_values() -> None:
    observed = grid()
    coords, values = observed.whole()
    drawn = observed.drawn(3, 0.3)
    assert len(drawn) == 3
    for places, found in drawn:
        assert places.shape == (5, 6, 2)
        assert found.shape == (5, 6, 2)
        for i in range(5):
            where = [int((coords == place).all(1).nonzero()) for place in places[i]]
            assert len(set(where)) == 6
            assert torch.equal(found[i], values[i][where])


def test_each_signal_of_a_grid_has_draws_of_its_own() -> None:
    first, second = grid().drawn(2, 0.5)
    for places in (first[0], second[0]):
        assert not any(torch.equal(places[0], other) for other in places[1:])
    assert not torch.equal(first[0], second[0])


@pytest.mark.parametrize("make", [lambda: images(), lambda: Ramps(np.arange(5) + 10)], ids=["a grid", "drawn"])
def test_a_signals_draws_do_not_depend_on_the_others(make: Any) -> None:
    signals = make()
    (together,) = shards(signals, 16, "cpu", keyed)
    whole = together.drawn(2, 0.3)
    for size in (1, 2, 3):
        parts = list(shards(signals, size, "cpu", keyed))
        assert [list(part.ids) for part in parts] == [
            list(signals.ids[first : first + size]) for first in range(0, 5, size)
        ]
        places, values = (torch.cat([part.drawn(2, 0.3)[1][k] for part in parts]) for k in (0, 1))
        assert_samples_equal([(places, values)], [whole[1]])
    (mixed,) = shards(signals.take(np.array([4, 0])), 16, "cpu", keyed)
    assert_samples_equal(mixed.drawn(2, 0.3), [(places[[4, 0]], values[[4, 0]]) for places, values in whole])
    (other,) = shards(signals, 16, "cpu", lambda one: draws.generator(1, "points", one))
    assert not torch.equal(other.drawn(2, 0.3)[0][0], whole[0][0])


@pytest.mark.parametrize("make", [lambda: images(), lambda: Ramps(np.arange(5) + 10)], ids=["a grid", "drawn"])
def test_a_part_is_those_signals_alone(make: Any) -> None:
    (together,) = shards(make(), 16, "cpu", keyed)
    part = together.part(1, 4)
    assert len(part) == 3
    assert list(part.ids) == [11, 12, 13]
    coords, values = together.whole()
    assert_samples_equal([part.whole()], [(coords if coords.dim() == 2 else coords[1:4], values[1:4])])
    expected = [(places[1:4], found[1:4]) for places, found in together.drawn(2, 0.3)]
    assert_samples_equal(part.drawn(2, 0.3), expected)
    assert_samples_equal(part.part(1, 2).drawn(2, 0.3), [(p[1:2], v[1:2]) for p, v in expected])


# ------------------------------------------------------------------ shards


def test_signals_of_one_grid_come_in_shards_of_the_size() -> None:
    found = list(shards(images(), 2, "cpu", keyed))
    assert [list(one.ids) for one in found] == [[10, 11], [12, 13], [14]]
    assert all(isinstance(one, GridOfSignals) for one in found)
    values = torch.cat([one.whole()[1] for one in found])
    assert torch.equal(values, grid().whole()[1])


def test_signals_on_domains_of_their_own_come_one_by_one() -> None:
    stacked = images()
    apart = OneByOne(stacked.values, None, stacked.ids)
    found = list(shards(apart, 16, "cpu", keyed))
    assert [list(one.ids) for one in found] == [[10], [11], [12], [13], [14]]
    coords, values = grid().whole()
    for i, one in enumerate(found):
        own_coords, own_values = one.whole()
        assert torch.equal(own_coords, coords)
        torch.testing.assert_close(own_values, values[i : i + 1], rtol=0, atol=1e-7)
        drawn, expected = one.drawn(2, 0.3), grid().drawn(2, 0.3)
        assert all(torch.equal(mine[0][0], theirs[0][i]) for mine, theirs in zip(drawn, expected, strict=True))


def test_signals_of_two_parts_are_refused() -> None:
    class TwoParts(OneByOne):
        def observed(self, i: int) -> Sequence[Part]:
            (part,) = super().observed(i)
            return (part, part)

    with pytest.raises(Refused, match=r"^this fitter takes signals of one part; signal 10 has 2$"):
        list(shards(TwoParts(images().values, None, images().ids), 16, "cpu", keyed))


def test_values_that_may_not_be_written_are_read_without_a_warning(tmp_path: Path) -> None:
    signals = images()
    np.save(tmp_path / "values.npy", signals.values)
    mapped = np.load(tmp_path / "values.npy", mmap_mode="r")
    assert not mapped.flags.writeable
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = list(shards(replace(signals, values=mapped), 2, "cpu", keyed))
    assert torch.equal(torch.cat([one.whole()[1] for one in found]), grid(signals).whole()[1])


def test_values_that_are_made_on_demand_are_asked_for_by_the_shard() -> None:
    class OnDemand:
        def __init__(self, values: Array) -> None:
            self.values, self.shape, self.asked = values, values.shape, list[slice]()

        def __len__(self) -> int:
            return len(self.values)

        def __getitem__(self, index: Any) -> Array:
            assert isinstance(index, slice)
            self.asked.append(index)
            return self.values[index]

    signals = images()
    values: Any = OnDemand(signals.values)
    found = shards(replace(signals, values=values), 2, "cpu", keyed)
    assert values.asked == []
    first = next(found)
    assert values.asked == [slice(0, 2)]
    assert torch.equal(torch.cat([one.whole()[1] for one in (first, *found)]), grid(signals).whole()[1])
    assert values.asked == [slice(0, 2), slice(2, 4), slice(4, 6)]


# ------------------------------------------------------------------ signals that are drawn


def test_drawn_signals_are_what_the_protocol_asks_for() -> None:
    assert isinstance(Ramps(np.arange(3)), DrawableSignals)
    assert not isinstance(images(), DrawableSignals)


def test_a_draw_computes_the_values_at_its_points() -> None:
    signals = Ramps(np.array([3, 8]))
    (observed,) = shards(signals, 16, "cpu", keyed)
    assert isinstance(observed, DrawnSignals)
    drawn = observed.drawn(4, 0.5)
    assert len(drawn) == 4
    for coords, values in drawn:
        assert (coords.shape, values.shape) == ((2, 15, 2), (2, 15, 1))  # half of 30
        assert coords.dtype == values.dtype == torch.float32
        assert float(coords.abs().max()) <= 1.0
        expected = (torch.tensor([3.0, 8.0])[:, None] + (coords[..., 0] + 1.0) / 2.0) / 100.0
        torch.testing.assert_close(values[..., 0], expected, rtol=1e-5, atol=1e-7)
    assert not torch.equal(drawn[0][0], drawn[1][0])
    assert not torch.equal(drawn[0][0][0], drawn[0][0][1])


def test_the_whole_of_drawn_signals_is_what_they_list() -> None:
    signals = Ramps(np.array([3, 8]))
    (observed,) = shards(signals, 16, "cpu", keyed)
    coords, values = observed.whole()
    assert (coords.shape, values.shape) == ((2, 30, 2), (2, 30, 1))
    for i in range(2):
        (part,) = signals.observed(i)
        assert torch.equal(coords[i], coords_of(part.domain, "cpu"))
        np.testing.assert_array_equal(values[i].numpy(), part.unit_values())


def test_the_whole_of_drawn_signals_of_two_parts_or_on_a_grid_is_refused() -> None:
    class TwoParts(Ramps):
        def observed(self, i: int) -> Sequence[Part]:
            return (*super().observed(i), *super().observed(i))

    class OnAGrid(Ramps):
        def observed(self, i: int) -> Sequence[Part]:
            return (Part(Grid.of(5, 6), np.zeros((5, 6, 1), dtype=np.float32)),)

    for signals in (TwoParts(np.arange(2)), OnAGrid(np.arange(2))):
        (observed,) = shards(signals, 16, "cpu", keyed)
        with pytest.raises(Refused, match="takes signals of one part on free points"):
            observed.whole()


def test_copies_are_asked_for_where_there_is_an_augmentation() -> None:
    signals = Ramps(np.array([3, 8]))
    plain = DrawnSignals(signals, "cpu", keyed)
    brighter = DrawnSignals(signals, "cpu", keyed, Augmentation(scale=0.25))
    for (coords, values), (same, more) in zip(plain.drawn(2, 0.5), brighter.part(0, 2).drawn(2, 0.5), strict=True):
        assert torch.equal(coords, same)
        torch.testing.assert_close(more, values + 0.25, rtol=0, atol=1e-6)


def test_a_take_that_loses_the_drawing_is_an_error_that_says_so() -> None:
    class Lost(Ramps):
        def take(self, indices: Array) -> Any:
            return images().take(indices)

    with pytest.raises(TypeError, match=r"^Lost\.take\(\) lost draw\(\)$"):
        DrawnSignals(Lost(np.arange(2)), "cpu", keyed).part(0, 1)
