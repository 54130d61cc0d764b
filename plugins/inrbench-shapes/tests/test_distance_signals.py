"""Distance functions: against closed forms, against brute force, and the same for every cell."""

from __future__ import annotations

import numpy as np
import pytest
import trimesh
from inrbench_shapes.distances import OBSERVED_POINTS, SPAN, DistanceSignals, Surfaces
from inrbench_shapes.surfaces import drawn_from

from inrbench.data import signals_checksum
from inrbench.domains import Array, Points
from inrbench.selection import select
from inrbench.settings import Augmentation, DataSettings
from inrbench.signals import DrawableSignals

HALF = np.array([0.5, 0.7, 0.9])
RADIUS = 0.8
COUNT = 8000


def signals(*clouds: Array, scored_points: int = 64) -> DistanceSignals:
    stacked = np.stack(clouds).astype(np.float32)
    numbers = np.arange(len(stacked))
    return DistanceSignals(Surfaces(stacked), numbers, numbers + 10, numbers % 2, scored_points)


def surface(mesh: trimesh.Trimesh, count: int = COUNT) -> Array:
    return drawn_from(mesh.vertices, mesh.faces, count, np.random.default_rng(0))


def spheres(count: int = 3, points: int = 200) -> DistanceSignals:
    sphere = trimesh.creation.icosphere(subdivisions=2, radius=RADIUS)
    return signals(*(drawn_from(sphere.vertices, sphere.faces, points, np.random.default_rng(i)) for i in range(count)))


def to_box(coords: Array) -> Array:
    """The closed form: how far a point is from the surface of the box of half extents HALF."""
    beyond = np.abs(coords) - HALF
    return np.linalg.norm(np.maximum(beyond, 0.0), axis=-1) + np.maximum(-beyond.max(axis=-1), 0.0)


def to_sphere(coords: Array) -> Array:
    return np.abs(np.linalg.norm(coords, axis=-1) - RADIUS)


@pytest.mark.parametrize(
    ("mesh", "exact", "inset"),
    [
        (trimesh.creation.box(extents=2 * HALF), to_box, 0.0),
        (trimesh.creation.icosphere(subdivisions=4, radius=RADIUS), to_sphere, 2e-3),  # facets lie inside the sphere
    ],
    ids=["box", "sphere"],
)
def test_distances_agree_with_the_closed_form_within_the_error_of_sampling(
    mesh: trimesh.Trimesh, exact: object, inset: float
) -> None:
    coords, values = signals(surface(mesh)).draw(0, 1, 2000, np.random.default_rng(1))
    expected = exact(coords[0])  # type: ignore[operator]
    error = SPAN * values[0, :, 0] - expected
    assert error.min() > -inset - 1e-6  # sampled points are a subset of the surface: never nearer than it
    # the nearest of n points of a surface of area A is r away along it: E r = sqrt(A / n) / 2
    spacing = np.sqrt(mesh.area / COUNT)
    assert error.max() < 3.5 * spacing + inset
    assert np.mean(error[expected > 0.2]) < 2 * spacing**2 / 0.2 + inset  # far away it adds r² / 2d alone


def brute(coords: Array, points: Array) -> Array:
    return np.linalg.norm(coords[..., None, :] - points, axis=-1).min(axis=-1)


def test_drawn_distances_are_those_to_the_nearest_point() -> None:
    data = spheres()
    coords, values = data.draw(1, 2, 50, np.random.default_rng(2))
    assert (coords.shape, values.shape) == ((2, 50, 3), (2, 50, 1))
    assert coords.dtype == values.dtype == np.float32
    assert np.all(np.abs(coords) <= 1.0)
    assert np.all((values >= 0.0) & (values <= 1.0))
    np.testing.assert_allclose(SPAN * values[..., 0], brute(coords, data.surfaces.clouds[1]), rtol=1e-6)


def test_draws_depend_on_the_generator_alone() -> None:
    data, again = spheres(), spheres()
    first = data.draw(0, 2, 30, np.random.default_rng(3), Augmentation(scale=0.1, jitter=0.01))
    data.draw(2, 1, 5, np.random.default_rng(4))
    second = again.draw(0, 2, 30, np.random.default_rng(3), Augmentation(scale=0.1, jitter=0.01))
    other = again.draw(0, 2, 30, np.random.default_rng(5), Augmentation(scale=0.1, jitter=0.01))
    np.testing.assert_array_equal(first[0], second[0])
    np.testing.assert_array_equal(first[1], second[1])
    assert not np.array_equal(first[0], other[0])


def test_drawn_points_are_uniform_in_the_cube() -> None:
    coords, _ = spheres(1).draw(0, 3, 5000, np.random.default_rng(6))
    np.testing.assert_allclose(coords.mean(axis=(0, 1)), 0.0, atol=4 / np.sqrt(3 * 15_000))
    np.testing.assert_allclose(coords.var(axis=(0, 1)), 1 / 3, atol=0.02)
    assert not np.array_equal(coords[0], coords[1])


def test_all_sets_of_a_draw_show_one_scaled_copy() -> None:
    data = signals(surface(trimesh.creation.icosphere(subdivisions=4, radius=RADIUS)))
    radii = []
    for seed in range(40):
        coords, values = data.draw(0, 3, 40, np.random.default_rng(seed), Augmentation(scale=0.2))
        outside = np.linalg.norm(coords, axis=-1) > 1.2 * RADIUS
        each = np.where(outside, np.linalg.norm(coords, axis=-1) - SPAN * values[..., 0], np.nan)
        assert np.nanmax(each) - np.nanmin(each) < 0.03  # the radius, as seen from every point of every set
        radii.append(np.nanmean(each))
    assert min(radii) > 0.8 * RADIUS - 0.03
    assert max(radii) < 1.2 * RADIUS
    assert np.std(radii) == pytest.approx(RADIUS * 0.4 / np.sqrt(12), rel=0.35)


def test_a_scaled_copy_has_the_distances_of_its_scaled_points() -> None:
    data = spheres()
    rng = np.random.default_rng(7)
    coords, values = data.draw(2, 1, 50, rng, Augmentation(scale=0.3))
    known = np.random.default_rng(7)
    known.random((50, 3), dtype=np.float32)
    factor = known.uniform(0.7, 1.3)
    np.testing.assert_allclose(SPAN * values[..., 0], brute(coords, factor * data.surfaces.clouds[2]), rtol=1e-6)


def test_a_jittered_point_moves_by_the_deviation_that_was_asked_for() -> None:
    place, jitter = np.array([0.3, -0.2, 0.1]), 0.05
    data = signals(place[None])
    steps = []
    for seed in range(150):
        coords, values = data.draw(0, 2, 8, np.random.default_rng(seed), Augmentation(jitter=jitter))
        # |x - m|² = d² is linear in (m, |m|²): where the only surface point was moved to, seen from both sets
        flat, squared = coords.reshape(-1, 3).astype(np.float64), (SPAN * values.reshape(-1)) ** 2
        system = np.concatenate([-2 * flat, np.ones((len(flat), 1))], axis=1)
        solved, *_ = np.linalg.lstsq(system, squared - np.square(flat).sum(axis=1), rcond=None)
        np.testing.assert_allclose(system @ solved, squared - np.square(flat).sum(axis=1), atol=1e-5)
        steps.append(solved[:3] - place)
    np.testing.assert_allclose(np.mean(steps, axis=0), 0.0, atol=4 * jitter / np.sqrt(150))
    np.testing.assert_allclose(np.std(steps, axis=0), jitter, rtol=0.25)


def test_an_augmentation_leaves_the_points_and_later_draws_as_they_were() -> None:
    data = spheres()
    plain, plain_values = data.draw(0, 2, 20, np.random.default_rng(8))
    copy, copy_values = data.draw(0, 2, 20, np.random.default_rng(8), Augmentation(scale=0.1, jitter=0.01))
    same, same_values = data.draw(0, 2, 20, np.random.default_rng(8), Augmentation())
    np.testing.assert_array_equal(plain, copy)
    np.testing.assert_array_equal(plain, same)
    np.testing.assert_array_equal(plain_values, same_values)
    assert not np.array_equal(plain_values, copy_values)


def test_values_stay_in_the_unit_interval_however_far_a_copy_is_scaled() -> None:
    corners = signals(np.array([[1.0, 1.0, 1.0], [-1.0, -1.0, -1.0]]))
    for seed in range(20):
        _, values = corners.draw(0, 1, 500, np.random.default_rng(seed), Augmentation(scale=0.99, jitter=0.5))
        assert np.all((values >= 0.0) & (values <= 1.0))


def test_signals_can_be_drawn_and_share_no_domain() -> None:
    assert isinstance(spheres(), DrawableSignals)
    assert spheres().stacked() is None


def test_fixed_points_belong_to_the_signal_not_to_its_place() -> None:
    data = spheres(scored := 3)
    taken = data.take(np.array([2, 0]))
    assert len(data) == scored
    assert taken.ids.tolist() == [12, 10]
    assert taken.labels is not None
    assert taken.labels.tolist() == [0, 0]
    for part in ("observed", "scored"):
        (first,), (second,) = getattr(data, part)(2), getattr(taken.unlabelled(), part)(0)
        assert isinstance(first.domain, Points)
        np.testing.assert_array_equal(first.domain.coords, second.domain.coords)
        np.testing.assert_array_equal(first.values, second.values)
        assert not np.array_equal(first.domain.coords, getattr(data, part)(0)[0].domain.coords)
    assert taken.unlabelled().labels is None
    assert len(data.take(np.zeros(0, dtype=np.int64))) == 0


def test_observed_and_scored_parts_have_values_at_their_own_points() -> None:
    data = spheres(1)
    (observed,), (scored,) = data.observed(0), data.scored(0)
    assert isinstance(observed.domain, Points)
    assert isinstance(scored.domain, Points)
    assert observed.values.shape == (OBSERVED_POINTS, 1)
    assert scored.values.shape == (64, 1)
    assert not np.isin(scored.domain.coords, observed.domain.coords).all(axis=1).any()
    nearest = brute(scored.domain.coords, data.surfaces.clouds[0])
    np.testing.assert_allclose(SPAN * scored.unit_values()[:, 0], nearest, rtol=1e-6)


def test_writing_into_scored_values_changes_no_later_ones() -> None:
    data = spheres(1)
    expected = data.scored(0)[0].values.copy()
    data.scored(0)[0].values[...] = 9.0
    np.testing.assert_array_equal(data.scored(0)[0].values, expected)


def test_the_checksum_names_what_is_scored() -> None:
    data = spheres()
    assert signals_checksum(data) == signals_checksum(spheres())
    assert signals_checksum(data) != signals_checksum(data.take(np.array([0, 1])))
    other = DistanceSignals(data.surfaces, data.rows, data.ids, data.labels, scored_points=65)
    assert signals_checksum(data) != signals_checksum(other)


def test_cells_can_select_from_shapes() -> None:
    data = spheres(12)
    splits = {"train": data.take(np.arange(8)), "test": data.take(np.arange(8, 12))}
    chosen = select(splits, DataSettings(validation=0.25, train_size=4, labels="shuffled"), seed=0)
    assert (len(chosen.train), len(chosen.validation), len(chosen.scored)) == (4, 2, 4)
    assert chosen.train_labels is not None
    assert len(chosen.train_labels) == 4
    assert not np.intersect1d(chosen.train.ids, chosen.validation.ids).size
