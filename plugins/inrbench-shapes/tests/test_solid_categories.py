"""Solids of ten categories: unions, poses, surfaces, and volumes in closed form."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
from inrbench_shapes.categories import CATEGORIES, Solid, drawn_solid
from inrbench_shapes.primitives import Box, Cylinder, Ellipsoid

from inrbench.domains import Array


def volume_of(solid: Solid, count: int = 200_000) -> tuple[float, float]:
    """The volume within the cube [-1, 1]³ and the standard deviation of the estimate."""
    inside = solid.contains(np.random.default_rng(0).uniform(-1.0, 1.0, (count, 3)))
    return 8 * float(inside.mean()), 8 * float(inside.std()) / math.sqrt(count)


def closed_form(category: str, solid: Solid) -> float:
    """The volume of a table, a cross or a frame from the sides of its boxes."""
    halves = [np.array(part.half) for part, _ in solid.parts]
    boxes = sum(8 * float(np.prod(half)) for half in halves)
    overlaps = 2 * 8 * min(halves[0]) ** 3 if category == "cross" else 0.0  # three bars share one cube
    return (boxes - overlaps) * solid.scale**3


@pytest.mark.parametrize("pose", ["upright", "any"])
@pytest.mark.parametrize("category", ["table", "cross", "frame"])
def test_unions_have_the_volume_in_closed_form_in_any_pose(category: str, pose: str) -> None:
    for seed in range(3):
        solid = drawn_solid(category, pose, np.random.default_rng(seed))  # type: ignore[arg-type]
        volume, deviation = volume_of(solid)
        assert abs(volume - closed_form(category, solid)) < 4.5 * deviation


def test_a_ball_on_a_box_loses_what_both_share() -> None:
    ball, box = (Ellipsoid((0.5, 0.5, 0.5)), (0.0, 0.0, 0.2)), (Box((0.6, 0.6, 0.2)), (0.0, 0.0, 0.0))
    volume, deviation = volume_of(Solid((ball, box)))
    # of the ball, what is above the box's top (z = 0.2: half of it) and below its bottom (z = -0.2: a cap of 0.1)
    cap = math.pi * 0.1**2 * (3 * 0.5 - 0.1) / 3
    assert abs(volume - (8 * 0.6 * 0.6 * 0.2 + 2 / 3 * math.pi * 0.5**3 + cap)) < 4.5 * deviation


def test_a_turned_solid_contains_the_turned_points() -> None:
    half = math.radians(30.0) / 2  # 30 degrees about z: (1, 0) goes to (cos 30, sin 30)
    bar = Solid(
        ((Box((0.5, 0.1, 0.2)), (0.0, 0.0, 0.0)),), (math.cos(half), 0.0, 0.0, math.sin(half)), 2.0, (0.1, 0, 0)
    )
    along = np.array([math.cos(math.radians(30.0)), math.sin(math.radians(30.0)), 0.0])
    points = [0.99 * along, 1.01 * along, [0.99, 0.0, 0.0], [0.0, 0.0, 0.39], [0.0, 0.0, 0.41]]
    assert bar.contains(np.array(points) + bar.shift).tolist() == [True, False, False, True, False]
    about_x = replace(bar, turn=(math.cos(math.pi / 4), math.sin(math.pi / 4), 0.0, 0.0), shift=(0.0, 0.0, 0.0))
    assert about_x.contains(np.array([[0.0, 0.39, 0.0], [0.0, 0.0, 0.39]])).tolist() == [True, False]  # y goes to z


def test_what_a_point_is_does_not_depend_on_the_others() -> None:
    solid = drawn_solid("cross", "any", np.random.default_rng(5))
    points = solid.surface(500, np.random.default_rng(6)).astype(np.float32)  # where rounding decides
    assert [bool(solid.contains(one[None])[0]) for one in points] == solid.contains(points).tolist()


def test_the_surface_of_a_union_is_where_it_meets_the_outside() -> None:
    parts = ((Cylinder(0.3, 1.6), (0.0, 0.0, 0.0)), (Box((0.8, 0.8, 0.1)), (0.0, 0.0, 0.0)))
    solid = Solid(parts, (0.5, 0.5, 0.5, 0.5), 0.9, (0.05, 0.0, -0.05))
    rng = np.random.default_rng(7)
    points = solid.surface(20_000, rng)
    around = points[:, None] + 1e-6 * rng.standard_normal((len(points), 40, 3))
    inside = solid.contains(around.reshape(-1, 3)).reshape(len(points), 40)
    assert (inside.any(axis=1) & ~inside.all(axis=1)).mean() > 0.995
    own = _undone(points, solid)
    on_cylinder = np.isclose(np.hypot(own[:, 0], own[:, 1]), 0.3) | np.isclose(np.abs(own[:, 2]), 0.8)
    mantle, ends = 2 * math.pi * 0.3 * (1.6 - 0.2), 2 * math.pi * 0.3**2
    slab = 2 * (1.6**2 - math.pi * 0.3**2) + 4 * 1.6 * 0.2
    share = (mantle + ends) / (mantle + ends + slab)
    assert abs(on_cylinder.mean() - share) < 4.5 * math.sqrt(share * (1 - share) / len(points))


def _undone(points: Array, solid: Solid) -> Array:
    """Points in the solid's own frame; the turn by (1/2, 1/2, 1/2, 1/2) sends x to y, y to z and z to x."""
    x, y, z = ((points - np.array(solid.shift)) / solid.scale).T
    return np.stack([y, z, x], axis=1)


@pytest.mark.parametrize("category", CATEGORIES)
def test_every_solid_lies_within_the_cube_and_is_neither_empty_nor_full(category: str) -> None:
    for seed, pose in itertools.product(range(10), ("upright", "any")):
        solid = drawn_solid(category, pose, np.random.default_rng(seed))  # type: ignore[arg-type]
        surface = solid.surface(500, np.random.default_rng(seed))
        assert np.abs(surface).max() <= 1.0
        assert np.ptp(surface, axis=0).max() > 0.7  # and is not tiny
        volume, _ = volume_of(solid, 20_000)
        assert 0.005 < volume / 8 < 0.75


def test_an_upright_solid_is_turned_about_the_vertical_axis_alone() -> None:
    for seed in range(5):
        w, x, y, z = drawn_solid("table", "upright", np.random.default_rng(seed)).turn
        assert (x, y) == (0.0, 0.0)
        assert math.isclose(w * w + z * z, 1.0)
        assert math.isclose(sum(part**2 for part in drawn_solid("table", "any", np.random.default_rng(seed)).turn), 1.0)
