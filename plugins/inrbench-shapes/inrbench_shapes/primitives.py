"""Primitive solids about the origin, with the z axis as theirs: exact occupancy, and points spread over the surface.

`surface` of each gives candidates that are thinned out where the map onto the surface crowds them, so that what is left
is uniform by area; `envelope` is the area that the candidates stand for. Candidates of several primitives in proportion
to their envelopes are then uniform over all of them together. Everything is computed in float64, element by element.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from inrbench.domains import Array

__all__ = ["Box", "Capsule", "Cone", "Cylinder", "Ellipsoid", "Primitive", "Torus", "Vector"]

Vector = tuple[float, float, float]


class Primitive(Protocol):
    """A closed solid about the origin."""

    @property
    def half(self) -> Vector:
        """Half the sides of the box around it, which has its centre at the origin."""
        ...

    @property
    def envelope(self) -> float:
        """The area that the candidates of `surface` stand for: its own, or more where some are dropped."""
        ...

    def contains(self, x: Array, y: Array, z: Array) -> Array:
        """[points] whether points lie in it."""
        ...

    def surface(self, count: int, rng: np.random.Generator) -> Array:
        """Uniform points of the surface, [at most count, 3]."""
        ...


@dataclass(frozen=True)
class Box:
    """|x| ≤ a, |y| ≤ b, |z| ≤ c for ``half`` = (a, b, c)."""

    half: Vector

    @property
    def envelope(self) -> float:
        """Its area."""
        return 2.0 * sum(self._faces())

    def contains(self, x: Array, y: Array, z: Array) -> Array:
        """Between all three pairs of planes."""
        a, b, c = self.half
        return np.asarray((np.abs(x) <= a) & (np.abs(y) <= b) & (np.abs(z) <= c))

    def surface(self, count: int, rng: np.random.Generator) -> Array:
        """A face by its area, then a point of it."""
        points = rng.uniform(-1.0, 1.0, (count, 3)) * self.half
        across = rng.choice(3, size=count, p=2.0 * np.array(self._faces()) / self.envelope)
        points[np.arange(count), across] = np.array(self.half)[across] * _signs(count, rng)
        return points

    def _faces(self) -> Vector:
        a, b, c = self.half
        return 4.0 * b * c, 4.0 * a * c, 4.0 * a * b


@dataclass(frozen=True)
class Ellipsoid:
    """(x/a)² + (y/b)² + (z/c)² ≤ 1 for ``half`` = (a, b, c)."""

    half: Vector

    @property
    def envelope(self) -> float:
        """The unit sphere's area times how much an ellipsoid stretches it at most."""
        return 4.0 * math.pi * math.prod(self.half) / min(self.half)

    def contains(self, x: Array, y: Array, z: Array) -> Array:
        """By its equation."""
        a, b, c = self.half
        return np.asarray((x / a) ** 2 + (y / b) ** 2 + (z / c) ** 2 <= 1.0)

    def surface(self, count: int, rng: np.random.Generator) -> Array:
        """Of the unit sphere, stretched; a unit of area at the direction n becomes abc |(n_x/a, n_y/b, n_z/c)|."""
        on_sphere = _directions(count, rng)
        stretch = np.sqrt(((on_sphere / self.half) ** 2).sum(axis=1)) * min(self.half)
        return np.asarray((on_sphere * self.half)[rng.random(count) < stretch])


@dataclass(frozen=True)
class Cylinder:
    """x² + y² ≤ radius² and |z| ≤ height / 2, without the points nearer to the axis than ``hole``: a tube."""

    radius: float
    height: float
    hole: float = 0.0

    @property
    def half(self) -> Vector:
        """Of the box around it."""
        return self.radius, self.radius, 0.5 * self.height

    @property
    def envelope(self) -> float:
        """Its area."""
        return sum(self._faces())

    def contains(self, x: Array, y: Array, z: Array) -> Array:
        """Between two mantles and two planes."""
        away = x**2 + y**2
        return np.asarray((away <= self.radius**2) & (away >= self.hole**2) & (np.abs(z) <= 0.5 * self.height))

    def surface(self, count: int, rng: np.random.Generator) -> Array:
        """The outer mantle, the inner one, or an end."""
        face = rng.choice(3, size=count, p=np.array(self._faces()) / self.envelope)
        u = rng.random(count)
        ends = np.sqrt(self.hole**2 + u * (self.radius**2 - self.hole**2))
        away = np.choose(face, [np.full(count, self.radius), np.full(count, self.hole), ends])
        z = np.where(face == 2, 0.5 * self.height * _signs(count, rng), self.height * (u - 0.5))
        return _around(away, z, rng)

    def _faces(self) -> Vector:
        turn = 2.0 * math.pi
        return turn * self.radius * self.height, turn * self.hole * self.height, turn * (self.radius**2 - self.hole**2)


@dataclass(frozen=True)
class Cone:
    """From a disc of ``radius`` at z = -height / 2 to the tip at z = height / 2."""

    radius: float
    height: float

    @property
    def half(self) -> Vector:
        """Of the box around it."""
        return self.radius, self.radius, 0.5 * self.height

    @property
    def envelope(self) -> float:
        """Its area."""
        return sum(self._faces())

    def contains(self, x: Array, y: Array, z: Array) -> Array:
        """Above the disc, and within the radius that shrinks towards the tip."""
        within = self.radius * (0.5 - z / self.height)
        return np.asarray((z >= -0.5 * self.height) & (within >= 0.0) & (x**2 + y**2 <= within**2))

    def surface(self, count: int, rng: np.random.Generator) -> Array:
        """The mantle or the disc; both are wider with the square root."""
        disc = rng.random(count) * self.envelope >= self._faces()[0]
        share = np.sqrt(rng.random(count))
        z = np.where(disc, -0.5 * self.height, self.height * (0.5 - share))
        return _around(self.radius * share, z, rng)

    def _faces(self) -> tuple[float, float]:
        return math.pi * self.radius * math.hypot(self.radius, self.height), math.pi * self.radius**2


@dataclass(frozen=True)
class Torus:
    """All points not farther than ``tube`` from the circle of ``ring`` about the axis; tube < ring."""

    ring: float
    tube: float

    @property
    def half(self) -> Vector:
        """Of the box around it."""
        return self.ring + self.tube, self.ring + self.tube, self.tube

    @property
    def envelope(self) -> float:
        """As if it were everywhere as wide as outside."""
        return 4.0 * math.pi**2 * self.tube * (self.ring + self.tube)

    def contains(self, x: Array, y: Array, z: Array) -> Array:
        """(√(x² + y²) - ring)² + z² ≤ tube²."""
        return np.asarray((np.sqrt(x**2 + y**2) - self.ring) ** 2 + z**2 <= self.tube**2)

    def surface(self, count: int, rng: np.random.Generator) -> Array:
        """By two angles; fewer inside, where the torus is narrow."""
        angle = rng.uniform(0.0, 2.0 * math.pi, count)
        away = self.ring + self.tube * np.cos(angle)
        points = _around(away, self.tube * np.sin(angle), rng)
        return np.asarray(points[rng.random(count) * (self.ring + self.tube) < away])


@dataclass(frozen=True)
class Capsule:
    """All points not farther than ``radius`` from the segment |z| ≤ length / 2 of the axis."""

    radius: float
    length: float

    @property
    def half(self) -> Vector:
        """Of the box around it."""
        return self.radius, self.radius, 0.5 * self.length + self.radius

    @property
    def envelope(self) -> float:
        """Its area."""
        return 2.0 * math.pi * self.radius * (self.length + 2.0 * self.radius)

    def contains(self, x: Array, y: Array, z: Array) -> Array:
        """By the distance from the segment."""
        along = np.maximum(np.abs(z) - 0.5 * self.length, 0.0)
        return np.asarray(x**2 + y**2 + along**2 <= self.radius**2)

    def surface(self, count: int, rng: np.random.Generator) -> Array:
        """The mantle, or the sphere whose halves are its ends."""
        points = self.radius * _directions(count, rng)
        points[:, 2] += 0.5 * self.length * np.where(points[:, 2] < 0.0, -1.0, 1.0)
        mantle = _around(np.full(count, self.radius), self.length * (rng.random(count) - 0.5), rng)
        on_mantle = rng.random(count) * (self.length + 2.0 * self.radius) < self.length
        return np.where(on_mantle[:, None], mantle, points)


def _directions(count: int, rng: np.random.Generator) -> Array:
    """[count, 3], uniform on the unit sphere: heights are uniform (Archimedes)."""
    height = rng.uniform(-1.0, 1.0, count)
    return _around(np.sqrt(1.0 - height**2), height, rng)


def _around(away: Array, z: Array, rng: np.random.Generator) -> Array:
    """Points so far ``away`` from the axis at the heights ``z``, turned about it at random, [points, 3]."""
    angle = rng.uniform(0.0, 2.0 * math.pi, len(z))
    return np.stack([away * np.cos(angle), away * np.sin(angle), z], axis=1)


def _signs(count: int, rng: np.random.Generator) -> Array:
    return np.where(rng.random(count) < 0.5, -1.0, 1.0)
