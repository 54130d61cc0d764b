"""Where points stand in a signal and in its cell, and how cells mix: by hand."""

from __future__ import annotations

import numpy as np
import pytest
from inrbench_functa import placement
from inrbench_functa.settings import ModulatedSirenSettings

from inrbench.domains import Array, Grid

LINE = Grid.of(8).coords()  # the centres of 8 cells, in [-1, 1]


def settings(**given: object) -> ModulatedSirenSettings:
    """Of a spatial latent."""
    return ModulatedSirenSettings.model_validate({"latent": "spatial", **given})


def test_coordinates_in_the_signal_are_pixel_centres_in_0_1() -> None:
    found = placement.inputs_at(Grid.of(2, 4).coords(), ModulatedSirenSettings(latent="global"), longest=4)
    rows, columns = [0.25, 0.75], [0.125, 0.375, 0.625, 0.875]
    assert found.tolist() == [[[y, x] for x in columns] for y in rows]  # ij order: the row first


def test_coordinates_in_the_cell_are_pixel_centres_of_the_cell() -> None:
    found = placement.inputs_at(LINE, settings(cells=2), longest=8)
    assert found.ravel().tolist() == [0.125, 0.375, 0.625, 0.875] * 2


def test_binary_coordinates_are_the_digits_of_the_position_most_significant_first() -> None:
    found = placement.inputs_at(LINE, settings(cells=2, interpolation="linear"), longest=8)
    assert ["".join(str(int(bit)) for bit in row) for row in found] == [f"{n:03b}" for n in range(8)]


def test_binary_coordinates_of_a_plane_stand_one_axis_after_the_other() -> None:
    found = placement.inputs_at(Grid.of(4, 4).coords(), settings(cells=2, interpolation="linear"), longest=4)
    assert found.shape == (4, 4, 4)
    assert found[2, 1].tolist() == [1, 0, 0, 1]  # row 2 is 10, column 1 is 01


@pytest.mark.parametrize(("longest", "digits"), [(1, 1), (2, 1), (28, 5), (32, 5), (33, 6), (64, 6)])
def test_there_are_as_many_digits_as_number_the_points_of_the_longest_side(longest: int, digits: int) -> None:
    assert placement.num_digits(settings(), longest) == digits
    assert placement.num_digits(settings(digits=9), longest) == 9


def test_the_far_edge_belongs_to_the_last_digit_and_cell() -> None:
    edge = np.array([[1.0]], dtype=np.float32)
    assert placement.inputs_at(edge, settings(cells=2, interpolation="linear"), longest=8).tolist() == [[1, 1, 1]]
    assert placement.cell_weights(edge, settings(cells=4)).tolist() == [[0, 0, 0, 1]]


def test_nearest_takes_one_cell() -> None:
    found = placement.cell_weights(LINE, settings(cells=4))
    assert found.argmax(axis=1).tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    assert np.count_nonzero(found) == 8
    assert found.sum() == 8.0


def test_linear_mixes_the_two_nearest_centres_by_their_distance() -> None:
    # centres of 2 cells are 1/4 and 3/4; those of 8 pixels 1/16, 3/16, ...
    second = [0.0, 0.0, 1 / 8, 3 / 8, 5 / 8, 7 / 8, 1.0, 1.0]
    found = placement.cell_weights(LINE, settings(cells=2, interpolation="linear"))
    assert found[:, 1] == pytest.approx(second)
    assert found.sum(axis=1) == pytest.approx(np.ones(8))


def test_bilinear_weights_are_products_of_the_axes() -> None:
    points = np.array([[-0.25, 0.5], [0.9, -0.9]], dtype=np.float32)
    found = placement.cell_weights(points, settings(cells=2, interpolation="linear"))
    rows, columns = ([1 - w, w] for w in (0.25, 1.0))  # positions 0.375 and 0.75 between 0.25 and 0.75
    assert found[0] == pytest.approx([a * b for a in rows for b in columns])
    assert found[1].tolist() == [0, 0, 1, 0]


def test_pixels_are_listed_by_cell_in_the_grids_order() -> None:
    found = placement.by_cell(Grid.of(4, 4), 2)
    assert found is not None
    assert found.tolist() == [[0, 1, 4, 5], [2, 3, 6, 7], [8, 9, 12, 13], [10, 11, 14, 15]]


@pytest.mark.parametrize("domain", [Grid.of(4, 6), Grid.of(5, 5), Grid(((4, -1.0, 0.0), (4, -1.0, 1.0)))])
def test_pixels_that_cells_do_not_share_out_evenly_are_not_listed(domain: Grid) -> None:
    assert placement.by_cell(domain, 4) is None


@pytest.mark.parametrize("interpolation", ["nearest", "linear"])
def test_weights_along_axes_are_those_of_points(interpolation: str) -> None:
    given = settings(cells=3, interpolation=interpolation)
    coords = Grid.of(6, 9).coords()

    def along(axis: int) -> Array:
        line = coords[:, 0, 0] if axis == 0 else coords[0, :, 1]
        return placement.line_weights((line.astype(np.float64) + 1) / 2, given)

    expected = np.einsum("ra,cb->rcab", along(0), along(1)).reshape(54, 9)
    assert placement.cell_weights(coords.reshape(-1, 2), given) == pytest.approx(expected, abs=1e-6)
