"""The data set solids: its points, labels and draws, and that all of it depends on numbers alone."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
from inrbench_shapes.solids import CLASSES, FIRST_TEST, Solids, SolidSignals, SolidsSettings

from inrbench.data import open_dataset
from inrbench.domains import Points
from inrbench.errors import BadSetting, Refused
from inrbench.settings import Augmentation
from inrbench.signals import DrawableSignals


def made(**settings: Any) -> Solids:
    return Solids(SolidsSettings(**{"train_solids": 40, "test_solids": 20} | settings))


@pytest.fixture(scope="module")
def train() -> SolidSignals:
    return made().load(None)["train"]


def test_ids_are_unique_over_splits_and_labels_are_balanced() -> None:
    splits = Solids(SolidsSettings()).load(None)
    ids = np.concatenate([signals.ids for signals in splits.values()])
    assert len(np.unique(ids)) == len(ids) == 2_500
    for signals, count in ((splits["train"], 200), (splits["test"], 50)):
        assert signals.labels is not None
        assert np.bincount(signals.labels).tolist() == [count] * len(CLASSES) == [count] * 10


def test_a_signal_is_a_list_of_points_with_zeros_and_ones(train: SolidSignals) -> None:
    spec = made().spec()
    assert isinstance(train, DrawableSignals)
    assert train.stacked() is None
    (observed,), (scored,) = train.observed(3), train.scored(3)
    for part, count in ((observed, 8_192), (scored, 8_192)):
        assert isinstance(part.domain, Points)
        assert part.domain.coords.shape == (count, 3)
        assert part.domain.coords.dtype == np.float32
        assert np.abs(part.domain.coords).max() <= 1.0
        assert part.values.shape == (count, 1)
        assert part.values.dtype == np.uint8
        assert set(np.unique(part.unit_values())) == {0.0, 1.0}
        assert part.measure == "occupancy" == spec.parts[0].measure
    assert train.num_points == observed.domain.num_points == spec.parts[0].shape[0]


def test_mean_occupancy_is_far_from_0_and_from_1(train: SolidSignals) -> None:
    scored = np.array([train.scored(i)[0].values.mean() for i in range(len(train))])
    observed = np.array([train.observed(i)[0].values.mean() for i in range(len(train))])
    assert 0.01 < scored.min() < scored.max() < 0.6
    assert 0.05 < scored.mean() < 0.3
    assert 0.15 < observed.mean() < 0.5  # near the surface about half are inside


def test_half_of_the_observed_points_are_near_the_surface() -> None:
    deviation = 0.01
    signals = made(random_points=500, near_points=500, near_deviation=deviation).load(None)["train"]
    for i in range(10):
        (part,) = signals.observed(i)
        coords = part.domain.coords  # type: ignore[union-attr]
        surface = signals.solid(i).surface(40_000, np.random.default_rng(i))
        away = np.array([np.sqrt(((surface - one) ** 2).sum(axis=1).min()) for one in coords[::10]])
        uniform, near = away[:50], away[50:]
        assert near.max() < 5 * deviation  # N(0, deviation²) along three axes
        assert near.mean() < 1.6 * deviation + 0.01  # the mean length of such a step, and gaps between the samples
        assert uniform.mean() > 0.1


def test_scored_points_are_uniform_and_not_the_observed_ones(train: SolidSignals) -> None:
    coords = np.concatenate([train.scored(i)[0].domain.coords for i in range(8)])  # type: ignore[union-attr]
    deviation = 1.0 / np.sqrt(3.0 * len(coords))
    assert np.abs(coords.mean(axis=0)).max() < 4.5 * deviation
    assert np.abs((coords**2).mean(axis=0) - 1 / 3).max() < 4.5 * deviation
    seen = {tuple(one) for one in train.observed(0)[0].domain.coords.tolist()}  # type: ignore[union-attr]
    assert not seen & {tuple(one) for one in coords.tolist()}


def test_a_signal_depends_on_its_number_alone(train: SolidSignals) -> None:
    more = made(train_solids=1_000, scored_points=100).load(None)["train"].take(np.array([7, 3]))
    again = pickle.loads(pickle.dumps(train)).take(np.array([3])).unlabelled()
    assert again.labels is None
    for signals, i in ((more, 1), (again, 0), (train, 3)):
        (part,) = signals.observed(i)
        np.testing.assert_array_equal(part.values, train.observed(3)[0].values)
        np.testing.assert_array_equal(part.domain.coords, train.observed(3)[0].domain.coords)
    np.testing.assert_array_equal(more.scored(1)[0].values, train.scored(3)[0].values[:100])
    assert more.labels is not None
    assert more.labels.tolist() == [7, 3]


def test_drawn_points_are_occupied_as_listed_ones_and_as_often_near_the_surface() -> None:
    signals = made(random_points=300, near_points=100, near_deviation=1e-4).load(None)["train"]
    coords, values = signals.draw(4, 3, 2_000, np.random.default_rng(0))
    assert coords.shape == (3, 2_000, 3)
    assert values.shape == (3, 2_000, 1)
    assert coords.dtype == values.dtype == np.float32
    solid = signals.solid(4)
    np.testing.assert_array_equal(values[..., 0].ravel() > 0.5, solid.contains(coords.reshape(-1, 3)))
    moves = np.random.default_rng(1).standard_normal((30, 1, 3)) * 4e-4
    around = np.stack([solid.contains(coords.reshape(-1, 3) + move) for move in moves])
    at_surface = around.any(axis=0) & ~around.all(axis=0)
    assert abs(at_surface.mean() - 0.25) < 0.03
    np.testing.assert_array_equal(signals.draw(4, 3, 2_000, np.random.default_rng(0))[0], coords)


def test_a_scaled_copy_is_the_same_solid_at_another_size(train: SolidSignals) -> None:
    coords, values = train.draw(2, 1, 3_000, np.random.default_rng(5), Augmentation(scale=0.5))
    factor = np.random.default_rng(5).uniform(0.5, 1.5)
    assert abs(factor - 1.0) > 0.05
    points = coords[0].astype(np.float64)
    np.testing.assert_array_equal(values[0, :, 0] > 0.5, train.solid(2).contains(points / factor))
    assert (train.solid(2).contains(points) != (values[0, :, 0] > 0.5)).any()
    with pytest.raises(Refused, match=r"jitter=0\.1; allowed is 0"):
        train.draw(2, 1, 10, np.random.default_rng(0), Augmentation(jitter=0.1))


def test_the_checksum_is_of_the_solids() -> None:
    known = made().made_of()
    assert open_dataset("solids", made(), None, unofficial=False).checksum == known == made().made_of()
    assert made(scored_points=10, near_points=0).made_of() == known  # settings that stages know of anyway
    changed = [made(train_solids=41), made(test_solids=21), made(pose="any")]
    assert len({known, *(one.made_of() for one in changed)}) == 4


def test_the_first_test_solids_are_what_they_were() -> None:
    """Draws and closed forms that change would make recorded numbers those of another data set."""
    signals = made().load(None)["test"]
    assert signals.ids[0] == FIRST_TEST
    counts = [int(signals.scored(i)[0].values.sum()) for i in range(10)]
    assert counts == [698, 1660, 1414, 240, 426, 449, 1365, 212, 712, 473]


def test_without_points_near_the_surface_all_are_uniform() -> None:
    signals = made(near_points=0, random_points=64).load(None)["train"]
    assert signals.num_points == len(signals.observed(0)[0].values) == 64
    assert signals.draw(0, 1, 8, np.random.default_rng(0))[0].shape == (1, 8, 3)


def test_a_name_that_takes_no_place_refuses_one() -> None:
    with pytest.raises(BadSetting, match="takes nothing behind a colon; given: 'place'"):
        Solids(SolidsSettings(), "place")
