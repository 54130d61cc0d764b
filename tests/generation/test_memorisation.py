"""Memorisation: nearest images by hand, and how many distinct ones to expect."""

from __future__ import annotations

import numpy as np
import pytest

from inrbench import draws
from inrbench.generation.memorisation import distinct, expected_distinct, nearest

IMAGES = np.array([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]])
CLASSES = np.array([0, 0, 1, 1])


def test_the_nearest_image_and_how_far_it_is() -> None:
    place, away = nearest(np.array([[0.1, 0.0], [0.9, 0.8], [1.0, 1.0]]), [(IMAGES, CLASSES)])
    assert place.tolist() == [0, 2, 2]
    np.testing.assert_allclose(away, [np.sqrt(0.005), np.sqrt(0.025), 0.0], atol=1e-7)


def test_images_may_come_in_chunks_of_any_size() -> None:
    rng = draws.generator(0, "images")
    images, rows = rng.random((300, 20)), rng.random((700, 20))
    whole = nearest(rows, [(images, np.zeros(300))])
    chunks = [(images[first : first + 70], np.zeros(70)[: 300 - first]) for first in range(0, 300, 70)]
    parts = nearest(rows, chunks)
    np.testing.assert_array_equal(parts[0], whole[0])
    np.testing.assert_allclose(parts[1], whole[1], rtol=1e-6)
    squares = np.square(rows[:, None] - images[None]).mean(axis=2)
    np.testing.assert_array_equal(whole[0], squares.argmin(axis=1))
    np.testing.assert_allclose(whole[1], np.sqrt(squares.min(axis=1)), rtol=1e-5)


def test_only_images_of_a_rows_own_class_count() -> None:
    row = np.array([[0.9, 0.1]])
    assert nearest(row, [(IMAGES, CLASSES)])[0].tolist() == [1]
    assert nearest(row, [(IMAGES, CLASSES)], np.array([1]))[0].tolist() == [2]
    place, away = nearest(row, [(IMAGES, CLASSES)], np.array([5]))
    assert place.tolist() == [-1]
    assert distinct(place) == 0
    assert np.isinf(away).all()


def test_an_image_met_again_is_at_no_distance() -> None:
    """Where a product of large norms would leave its rounding."""
    images = draws.generator(0, "images").random((10, 3072)) + 100.0
    assert nearest(images, [(images, np.zeros(10))])[1].tolist() == [0.0] * 10


def test_distinct_images_are_counted_once() -> None:
    assert distinct(np.array([3, 3, 1, 7, 1])) == 3


def test_the_expected_number_is_that_of_the_paper_and_its_deviation_that_of_occupancy() -> None:
    mean, spread = expected_distinct(5000, 5000)
    assert round(mean) == 3161
    assert spread == pytest.approx(22.05, abs=0.005)


@pytest.mark.parametrize(("images", "count"), [(1, 3), (2, 2), (3, 2), (4, 3)])
def test_the_expected_number_is_the_mean_over_all_draws(images: int, count: int) -> None:
    grid = np.indices((images,) * count).reshape(count, -1).T
    found = np.array([len(set(draw)) for draw in grid.tolist()])
    mean, spread = expected_distinct(images, count)
    assert mean == pytest.approx(found.mean())
    assert spread == pytest.approx(found.std(), abs=1e-7)


def test_of_no_images_none_are_expected() -> None:
    assert expected_distinct(0, 10) == (0.0, 0.0)
