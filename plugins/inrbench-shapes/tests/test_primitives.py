"""Primitive solids: volumes, areas and moments in closed form, and surfaces that part inside from outside."""

from __future__ import annotations

import math

import numpy as np
import pytest
from inrbench_shapes.primitives import Box, Capsule, Cone, Cylinder, Ellipsoid, Primitive, Torus

from inrbench.domains import Array

PI = math.pi


def box(a: float, b: float, c: float) -> tuple[Primitive, float, float, float, float]:
    """The solid, its volume and area, and the means of x² + y² and of z² over its surface."""
    x, y, z = 8 * b * c, 8 * a * c, 8 * a * b  # areas of its pairs of sides
    area = x + y + z
    around = (a * a * (x + (y + z) / 3) + b * b * (y + (x + z) / 3)) / area
    return Box((a, b, c)), 8 * a * b * c, area, around, c * c * (z + (x + y) / 3) / area


def spheroid(a: float, c: float) -> tuple[Primitive, float, float, float, float]:
    angle = np.linspace(0.0, PI, 20_001)
    ring = 2 * PI * a * np.sin(angle) * np.sqrt((a * np.cos(angle)) ** 2 + (c * np.sin(angle)) ** 2)
    area = np.trapezoid(ring, angle)
    around = np.trapezoid(ring * (a * np.sin(angle)) ** 2, angle) / area
    along = np.trapezoid(ring * (c * np.cos(angle)) ** 2, angle) / area
    return Ellipsoid((a, a, c)), 4 / 3 * PI * a * a * c, float(area), float(around), float(along)


def tube(r: float, h: float, hole: float) -> tuple[Primitive, float, float, float, float]:
    mantles, ends = 2 * PI * h * (r + hole), 2 * PI * (r**2 - hole**2)
    around = (2 * PI * h * (r**3 + hole**3) + PI * (r**4 - hole**4)) / (mantles + ends)
    along = h * h * (mantles / 12 + ends / 4) / (mantles + ends)
    return Cylinder(r, h, hole), PI * (r**2 - hole**2) * h, mantles + ends, around, along


def cone(r: float, h: float) -> tuple[Primitive, float, float, float, float]:
    mantle, disc = PI * r * math.hypot(r, h), PI * r * r
    return (
        *(Cone(r, h), PI * r * r * h / 3, mantle + disc, r * r / 2),
        h * h * (mantle / 12 + disc / 4) / (mantle + disc),
    )


def torus(ring: float, r: float) -> tuple[Primitive, float, float, float, float]:
    return Torus(ring, r), 2 * PI**2 * ring * r * r, 4 * PI**2 * ring * r, ring**2 + 1.5 * r * r, r * r / 2


def capsule(r: float, length: float) -> tuple[Primitive, float, float, float, float]:
    mantle, ends = 2 * PI * r * length, 4 * PI * r * r
    around = r * r * (mantle + ends * 2 / 3) / (mantle + ends)
    along = (mantle * length**2 / 12 + ends * (r * r / 3 + r * length / 2 + length**2 / 4)) / (mantle + ends)
    return Capsule(r, length), PI * r * r * length + 4 / 3 * PI * r**3, mantle + ends, around, along


KNOWN = [
    *(box(0.4, 0.7, 0.9), spheroid(0.8, 0.3), spheroid(0.4, 1.0), tube(0.6, 1.0, 0.0), tube(0.8, 1.2, 0.5)),
    *(cone(0.7, 1.5), torus(0.7, 0.25), capsule(0.3, 0.8)),
]
NAMES = [type(known[0]).__name__ for known in KNOWN]


def within(values: Array, expected: float, deviations: float = 4.5) -> bool:
    """Whether the mean of ``values`` is within its Monte Carlo error of what is expected."""
    return abs(values.mean() - expected) < deviations * max(values.std(), 1e-9) / math.sqrt(len(values))


@pytest.mark.parametrize(("solid", "volume"), [known[:2] for known in KNOWN], ids=NAMES)
def test_occupancy_has_the_volume_in_closed_form(solid: Primitive, volume: float) -> None:
    points = np.random.default_rng(1).uniform(-1.0, 1.0, (200_000, 3)) * solid.half
    inside = solid.contains(*points.T)
    assert within(inside, volume / (8 * math.prod(solid.half)))


@pytest.mark.parametrize(("solid", "area"), [(known[0], known[2]) for known in KNOWN], ids=NAMES)
def test_candidates_that_are_kept_stand_for_the_area(solid: Primitive, area: float) -> None:
    count = 100_000
    kept = np.arange(count) < len(solid.surface(count, np.random.default_rng(2)))
    assert within(kept, area / solid.envelope)


@pytest.mark.parametrize(("solid", "around", "along"), [(k[0], k[3], k[4]) for k in KNOWN], ids=NAMES)
def test_points_of_the_surface_are_uniform_by_area(solid: Primitive, around: float, along: float) -> None:
    x, y, z = solid.surface(100_000, np.random.default_rng(3)).T
    assert within(x**2 + y**2, around)
    assert within(z**2, along)
    assert within(x, 0.0)
    assert within(x * y, 0.0)


@pytest.mark.parametrize("solid", [known[0] for known in KNOWN], ids=NAMES)
def test_the_surface_parts_inside_from_outside_and_fills_its_box(solid: Primitive) -> None:
    rng = np.random.default_rng(4)
    points = solid.surface(2_000, rng)
    around = points[:, None] + 1e-6 * rng.standard_normal((len(points), 40, 3))
    inside = solid.contains(*around.reshape(-1, 3).T).reshape(len(points), 40)
    assert (inside.any(axis=1) & ~inside.all(axis=1)).mean() > 0.995  # but for edges and tips
    extents = np.abs(points).max(axis=0)
    assert np.all(extents <= np.array(solid.half) + 1e-12)
    assert np.all(extents > 0.95 * np.array(solid.half))
