"""Points of a surface: by area, uniform within a triangle, centred and scaled."""

from __future__ import annotations

import numpy as np
import pytest
import trimesh
from inrbench_shapes.surfaces import drawn_from, normalised

EXTENTS = np.array([1.0, 1.4, 1.8])


def test_points_lie_on_a_box_and_its_sides_get_points_by_area() -> None:
    count = 20_000
    box = trimesh.creation.box(extents=EXTENTS)
    points = drawn_from(box.vertices, box.faces, count, np.random.default_rng(0))
    on_side = np.isclose(np.abs(points), EXTENTS / 2)
    assert on_side.any(axis=1).all()
    assert np.all(np.abs(points) <= EXTENTS / 2 + 1e-12)
    areas = np.prod(EXTENTS) / EXTENTS
    shares = areas / areas.sum()
    deviations = np.sqrt(shares * (1 - shares) / count)
    assert np.all(np.abs(on_side.mean(axis=0) - shares) < 4 * deviations)


def test_points_are_uniform_within_a_triangle() -> None:
    count = 20_000
    vertices = np.array([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    points = drawn_from(vertices, np.array([[0, 1, 2]]), count, np.random.default_rng(1))
    u, v = points[:, 0], points[:, 1]
    assert np.all((u >= 0) & (v >= 0) & (u + v <= 1 + 1e-12))
    # E u = 1/3, Var u = 1/18, Cov(u, v) = -1/36
    np.testing.assert_allclose([u.mean(), v.mean()], 1 / 3, atol=4 * np.sqrt(1 / 18 / count))
    np.testing.assert_allclose(np.cov(u, v), [[1 / 18, -1 / 36], [-1 / 36, 1 / 18]], atol=2e-3)


def test_a_triangle_without_area_gets_no_points() -> None:
    vertices = np.array([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [9.0, 9.0, 9.0]])
    triangles = np.array([[3, 3, 3], [0, 1, 2], [3, 3, 3]])
    assert drawn_from(vertices, triangles, 500, np.random.default_rng(2)).max() <= 1.0


@pytest.mark.parametrize("scale", [0.0, 1e200])
def test_a_surface_without_a_finite_area_is_refused(scale: float) -> None:
    box = trimesh.creation.box(extents=EXTENTS)
    with pytest.raises(ValueError, match="has no area, or no finite one"):
        drawn_from(scale * box.vertices, box.faces, 10, np.random.default_rng(0))


def test_normalised_points_are_centred_and_just_fill_the_cube() -> None:
    sphere = trimesh.creation.icosphere(subdivisions=2, radius=30.0)
    points = drawn_from(sphere.vertices + np.array([100.0, -7.0, 3.0]), sphere.faces, 4000, np.random.default_rng(3))
    cloud = normalised(points)
    assert cloud.dtype == np.float32
    assert np.abs(cloud).max() == 1.0
    np.testing.assert_allclose(cloud.mean(axis=0), 0.0, atol=1e-6)
    ratio = np.linalg.norm(cloud[1:] - cloud[0], axis=1) / np.linalg.norm(points[1:] - points[0], axis=1)
    np.testing.assert_allclose(ratio, ratio[0], rtol=1e-3)  # one factor for all axes: the shape stays


def test_a_surface_that_is_a_single_point_is_refused() -> None:
    with pytest.raises(ValueError, match="its surface is a single point"):
        normalised(np.ones((5, 3)))
