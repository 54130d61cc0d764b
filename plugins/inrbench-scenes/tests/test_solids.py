"""Coloured solids: depths against closed forms and against a walk along the ray, normals against differences."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from inrbench_scenes.solids import AMBIENT, LIGHT, Box, Cylinder, Solid, Sphere, cast, placed

from inrbench.domains import Array

RED = (1.0, 0.0, 0.0)
BOX = Box((-0.3, -0.2, 0.1), (0.5, 0.4, 0.6), RED)
CYLINDER = Cylinder((0.1, -0.2), 0.35, -0.4, 0.3, RED)
SPHERE = Sphere((0.2, 0.1, -0.1), 0.45, RED)
SOLIDS = pytest.mark.parametrize("solid", [BOX, CYLINDER, SPHERE], ids=["box", "cylinder", "sphere"])


def inside(solid: Any, points: Array) -> Array:
    """[points] whether ``points`` [points, 3] are within the solid."""
    if isinstance(solid, Box):
        return ((points >= solid.low) & (points <= solid.high)).all(axis=-1)
    if isinstance(solid, Cylinder):
        flat = np.linalg.norm(points[..., :2] - solid.centre, axis=-1) <= solid.radius
        return flat & (points[..., 2] >= solid.low) & (points[..., 2] <= solid.high)
    return np.linalg.norm(points - solid.centre, axis=-1) <= solid.radius


def rays(count: int, seed: int = 0) -> tuple[Array, Array]:
    """From all around at a distance of 3, towards points near the centre: some hit and some miss."""
    rng = np.random.default_rng(seed)
    origins = rng.normal(size=(count, 3))
    origins *= 3.0 / np.linalg.norm(origins, axis=1, keepdims=True)
    return origins, rng.uniform(-0.7, 0.7, size=(count, 3)) - origins


def seen(solid: Solid, origin: Any, direction: Any) -> float:
    return float(cast([solid], np.array([origin]), np.array([direction]), 1.0)[1][0])


# ------------------------------------------------------------------ depths


def test_depths_by_hand() -> None:
    assert seen(BOX, (3.0, 0.0, 0.3), (-1.0, 0.0, 0.0)) == pytest.approx(2.5)
    assert seen(BOX, (3.0, 0.0, 0.3), (-2.0, 0.0, 0.0)) == pytest.approx(1.25)  # in units of the direction
    assert seen(BOX, (0.0, 0.0, 5.0), (0.0, 0.0, -1.0)) == pytest.approx(4.4)
    assert seen(BOX, (0.0, 0.0, 5.0), (0.0, 0.0, 1.0)) == math.inf  # it is behind
    assert seen(BOX, (0.0, 0.41, 5.0), (0.0, 0.0, -1.0)) == math.inf
    assert seen(CYLINDER, (0.1, -3.2, 0.0), (0.0, 1.0, 0.0)) == pytest.approx(2.65)
    assert seen(CYLINDER, (0.2, -0.2, 2.0), (0.0, 0.0, -1.0)) == pytest.approx(1.7)
    assert seen(CYLINDER, (0.46, -0.2, 2.0), (0.0, 0.0, -1.0)) == math.inf
    assert seen(SPHERE, (0.2, 0.1, 3.9), (0.0, 0.0, -1.0)) == pytest.approx(4.0 - 0.45)


@SOLIDS
def test_depths_are_where_a_walk_along_the_ray_enters(solid: Solid) -> None:
    origins, directions = rays(400)
    _, depths = cast([solid], origins, directions, 1.0)
    steps = np.linspace(0.0, 1.6, 4001)
    within = inside(solid, origins[:, None] + steps[:, None] * directions[:, None])
    hit = within.any(axis=1)
    assert 60 < hit.sum() < 380
    first = steps[within.argmax(axis=1)]
    assert (np.isfinite(depths) | ~hit).all()  # a walk may miss what is thinner than its steps, never the contrary
    assert (np.isfinite(depths) & ~hit).sum() <= 2
    np.testing.assert_allclose(depths[hit], first[hit], atol=1.6 / 4000 + 1e-12)
    assert (depths[hit] <= first[hit]).all()


@SOLIDS
def test_normals_are_outward_and_across_the_surface(solid: Solid) -> None:
    """Of three rays side by side the hits span the surface: both differences are orthogonal to the normal."""
    origins, directions = rays(400, seed=1)
    step = 1e-6
    depths = [cast([solid], origins, directions + step * np.array(move), 1.0)[1] for move in np.eye(4, 3, k=-1)]
    there = np.isfinite(np.stack(depths)).all(axis=0)
    points = [
        (origins + depth[:, None] * (directions + step * np.array(move)))[there]
        for depth, move in zip(depths, np.eye(4, 3, k=-1), strict=True)
    ]
    o, d = origins[there].T, directions[there].T
    normals = solid.normals(points[0].T, o, d).T
    np.testing.assert_allclose(np.linalg.norm(normals, axis=1), 1.0, atol=1e-9)
    assert ((normals * directions[there]).sum(axis=1) < 0.0).all()
    along = np.abs([((one - points[0]) / step * normals).sum(axis=1) for one in points[1:]]).max(axis=0)
    assert (along < 1e-3).mean() > 0.97  # but where the rays side by side meet another face
    assert not inside(solid, points[0] + 1e-6 * normals).any()
    assert inside(solid, points[0] - 1e-6 * normals).mean() > 0.99


def test_the_nearest_solid_is_seen() -> None:
    near, far = Sphere((0.0, 0.0, 1.0), 0.5, RED), Box((-1.0, -1.0, -1.0), (1.0, 1.0, 0.0), (0.0, 1.0, 0.0))
    origins, directions = (
        np.array([[0.0, 0.0, 4.0], [0.8, 0.0, 4.0], [2.0, 0.0, 4.0]]),
        np.tile([0.0, 0.0, -1.0], (3, 1)),
    )
    for solids in ([near, far], [far, near]):
        colours, depths = cast(solids, origins, directions, 0.75)
        assert depths.tolist() == [2.5, 4.0, math.inf]
        assert (colours[0, 1], colours[1, 0]) == (0.0, 0.0)
        assert colours[2].tolist() == [0.75, 0.75, 0.75]


def test_a_colour_is_lamberts_and_the_same_from_everywhere() -> None:
    assert np.linalg.norm(LIGHT) == pytest.approx(1.0)
    top = AMBIENT + (1 - AMBIENT) * LIGHT[2]
    origins = np.array([[0.0, 0.0, 4.0], [1.0, 1.0, 3.0], [0.0, 0.0, -4.0]])
    point = np.array([[0.1, 0.1, 0.6], [0.1, 0.1, 0.6], [0.1, 0.1, 0.1]])
    colours, _ = cast([BOX], origins, point - origins, 1.0)
    np.testing.assert_allclose(colours[:, 0], [top, top, AMBIENT], atol=1e-12)
    assert not colours[:, 1:].any()


def test_what_is_placed_is_within_the_unit_sphere_and_touches_its_box() -> None:
    moved = placed([BOX, CYLINDER, SPHERE])
    corners = np.array([one.bounds() for one in moved])
    low, high = corners[:, 0].min(axis=0), corners[:, 1].max(axis=0)
    np.testing.assert_allclose(low, -high, atol=1e-12)
    assert np.linalg.norm(high) == pytest.approx(1.0)
    ratio = (moved[0].bounds()[1][0] - moved[0].bounds()[0][0]) / 0.8
    assert isinstance(moved[1], Cylinder)
    assert isinstance(moved[2], Sphere)
    assert (moved[1].radius / 0.35, moved[2].radius / 0.45) == pytest.approx((ratio, ratio))
    assert moved[1].centre[0] - moved[2].centre[0] == pytest.approx(-0.1 * ratio)
