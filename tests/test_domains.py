"""Domains: cell centres worked by hand."""

from __future__ import annotations

import numpy as np
import pytest

from inrbench.domains import Grid, Points, Rays


def test_cell_centres_of_two_rows_and_four_columns() -> None:
    coords = Grid.of(2, 4).coords()
    assert coords.shape == (2, 4, 2)
    assert coords.dtype == np.float32
    assert coords[:, 0, 0].tolist() == [-0.5, 0.5]  # the first coordinate goes down the rows
    assert coords[0, :, 1].tolist() == [-0.75, -0.25, 0.25, 0.75]


def test_a_grid_over_a_part_of_the_space_cuts_that_part() -> None:
    assert Grid(((2, 0.0, 1.0),)).coords().ravel().tolist() == [0.25, 0.75]


def test_a_grid_twice_as_fine_has_centres_around_those_of_the_coarse_one() -> None:
    coarse, fine = Grid.of(3).coords().ravel(), Grid.of(6).coords().ravel()
    np.testing.assert_allclose(fine.reshape(3, 2).mean(axis=1), coarse, atol=1e-7)


@pytest.mark.parametrize(("counts", "points"), [((5,), 5), ((2, 3), 6), ((2, 3, 4), 24)])
def test_a_grid_counts_its_cells_and_axes(counts: tuple[int, ...], points: int) -> None:
    grid = Grid.of(*counts)
    assert (grid.shape, grid.num_points, grid.coord_dim) == (counts, points, len(counts))
    assert np.abs(grid.coords()).max() < 1.0


def test_points_and_rays_count_themselves() -> None:
    points = Points(np.zeros((5, 2)))
    assert (points.num_points, points.coord_dim) == (5, 2)
    rays = Rays(np.zeros((2, 3, 4, 3)), np.zeros((2, 3, 4, 3)), 0.0, 1.0, 1.0)
    assert (rays.num_points, rays.coord_dim) == (24, 3)
