"""Winding numbers: solid angles in closed form, and the tree against the plain sum."""

from __future__ import annotations

import math

import numpy as np
import pytest
import trimesh
from inrbench_shapes.winding import LEAF, WindingNumbers, solid_angles

from inrbench.domains import Array

ORIGIN = np.zeros((1, 3))


def plain_sum(vertices: Array, triangles: Array, points: Array) -> Array:
    return np.asarray(solid_angles(points, np.asarray(vertices)[triangles]).sum(axis=1) / (4 * math.pi))


def test_an_octant_is_an_eighth_of_the_sphere_and_has_a_sign() -> None:
    octant = np.eye(3)[None]  # anticlockwise as seen from outside
    assert solid_angles(ORIGIN, octant)[0, 0] == pytest.approx(math.pi / 2, abs=1e-12)
    assert solid_angles(ORIGIN, octant[:, ::-1])[0, 0] == pytest.approx(-math.pi / 2, abs=1e-12)
    assert solid_angles(np.array([[2.0, 2.0, 2.0]]), octant)[0, 0] < 0.0
    assert solid_angles(np.array([[1.0, 1.0, -1.0]]), octant)[0, 0] == pytest.approx(0.0, abs=1e-12)  # in its plane
    beyond = np.array([[0.3, 0.3, 0.3]])  # nearly on it: half of the sphere
    assert solid_angles(beyond, octant)[0, 0] == pytest.approx(2 * math.pi, abs=0.9)
    flat = np.array([[[0.0, 0.0, 1.0], [0.5, 0.0, 1.0], [1.0, 0.0, 1.0]]])  # without area
    assert solid_angles(ORIGIN, flat)[0, 0] == pytest.approx(0.0, abs=1e-12)


def test_of_a_right_triangle_far_away_it_is_the_area_by_the_square_of_the_distance() -> None:
    corners = np.array([[[0.0, 0.0, 100.0], [0.0, 0.1, 100.0], [0.1, 0.0, 100.0]]])
    # clockwise from below, where the point is, but for the normal pointing down: hence negative
    assert solid_angles(ORIGIN, corners)[0, 0] == pytest.approx(-0.005 / 100**2, rel=1e-4)


def test_within_a_cube_it_is_1_and_without_a_side_5_6_of_that() -> None:
    box = trimesh.creation.box(extents=(2.0, 2.0, 2.0))
    points = np.array([[0.0, 0.0, 0.0], [0.9, -0.9, 0.9], [1.1, 0.0, 0.0], [3.0, 3.0, 3.0]])
    np.testing.assert_allclose(WindingNumbers(box.vertices, box.faces).at(points), [1, 1, 0, 0], atol=0.01)
    open_box = box.faces[box.face_normals[:, 2] < 0.5]
    assert WindingNumbers(box.vertices, open_box).at(ORIGIN)[0] == pytest.approx(5 / 6, abs=1e-9)
    inside_out = box.faces[:, ::-1]
    np.testing.assert_allclose(WindingNumbers(box.vertices, inside_out).at(points), [-1, -1, 0, 0], atol=0.01)


def test_where_solids_overlap_it_counts_them() -> None:
    one, other = trimesh.creation.icosphere(subdivisions=3), trimesh.creation.icosphere(subdivisions=3)
    other.apply_translation([1.0, 0.0, 0.0])
    vertices = np.concatenate([one.vertices, other.vertices])
    triangles = np.concatenate([one.faces, other.faces + len(one.vertices)])
    points = np.array([[-0.5, 0.0, 0.0], [0.5, 0.0, 0.0], [1.5, 0.0, 0.0], [0.5, 0.95, 0.0]])
    np.testing.assert_allclose(WindingNumbers(vertices, triangles).at(points), [1, 2, 1, 0], atol=0.02)


@pytest.mark.parametrize("closed", [True, False])
def test_the_tree_gives_the_plain_sum(closed: bool) -> None:
    mesh = trimesh.creation.torus(major_radius=0.6, minor_radius=0.25, major_sections=40, minor_sections=20)
    triangles = mesh.faces if closed else mesh.faces[mesh.triangles_center[:, 2] < 0.1]
    assert len(triangles) > 20 * LEAF
    rng = np.random.default_rng(0)
    near = mesh.sample(500, seed=1) + 0.01 * rng.standard_normal((500, 3))
    points = np.concatenate([rng.uniform(-1.0, 1.0, (500, 3)), near])
    expected = plain_sum(mesh.vertices, triangles, points)
    found = WindingNumbers(mesh.vertices, triangles).at(points)
    assert np.abs(found - expected).max() < 0.05
    assert np.abs(found - expected).max() > 1e-6  # it is a tree that answered
    sure = np.abs(expected - 0.5) > 0.05
    assert sure.mean() > (0.999 if closed else 0.8)
    np.testing.assert_array_equal((found > 0.5)[sure], (expected > 0.5)[sure])


def test_what_a_point_has_does_not_depend_on_the_others() -> None:
    mesh = trimesh.creation.icosphere(subdivisions=3, radius=0.7)
    points = np.random.default_rng(3).uniform(-1.0, 1.0, (40, 3))
    winding = WindingNumbers(mesh.vertices, mesh.faces)
    np.testing.assert_allclose([winding.at(one[None])[0] for one in points], winding.at(points), rtol=0, atol=1e-13)
    assert winding.at(np.zeros((0, 3))).shape == (0,)
