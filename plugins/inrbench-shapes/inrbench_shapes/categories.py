"""Solids: unions of primitives with a pose, and ten categories of them with proportions drawn at random."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from inrbench.domains import Array
from inrbench_shapes.primitives import Box, Capsule, Cone, Cylinder, Ellipsoid, Primitive, Torus, Vector

__all__ = ["CATEGORIES", "Pose", "Solid", "drawn_solid"]

Pose = Literal["upright", "any"]
#: A primitive and where its own origin is.
Placed = tuple[Primitive, Vector]
Quaternion = tuple[float, float, float, float]

ORIGIN = (0.0, 0.0, 0.0)
#: How far the box around a solid, turned as it is, reaches from its centre along an axis of the cube [-1, 1]³.
REACH = (0.7, 0.95)


@dataclass(frozen=True)
class Solid:
    """A union of primitives, turned, then scaled, then moved."""

    parts: tuple[Placed, ...]
    turn: Quaternion = (1.0, 0.0, 0.0, 0.0)  # a unit quaternion: the real part first
    scale: float = 1.0
    shift: Vector = ORIGIN

    def contains(self, points: Array) -> Array:
        """[points] whether ``points`` [points, 3] lie in it, computed in float64."""
        away = (np.asarray(points, dtype=np.float64) - self.shift) / self.scale
        own = _products(away, _matrix(self.turn).T)  # a rotation's inverse is its transpose
        return np.asarray(np.logical_or.reduce([_within(part, own) for part in self.parts]))

    def surface(self, count: int, rng: np.random.Generator) -> Array:
        """``count`` uniform points of the surface, [count, 3]: of its parts, where they are within no other part."""
        areas = np.array([primitive.envelope for primitive, _ in self.parts])
        found = [np.zeros((0, 3))]
        while sum(map(len, found)) < count:
            asked = rng.multinomial(max(count, 64), areas / areas.sum())
            points = np.concatenate([self._outside_of_others(k, int(n), rng) for k, n in enumerate(asked)])
            found.append(rng.permutation(points))
        own = np.concatenate(found)[:count]
        return np.asarray(_products(own, _matrix(self.turn)) * self.scale + self.shift)

    def _outside_of_others(self, number: int, count: int, rng: np.random.Generator) -> Array:
        primitive, centre = self.parts[number]
        points = primitive.surface(count, rng) + centre
        hidden = [_within(part, points) for k, part in enumerate(self.parts) if k != number]
        return points[~np.logical_or.reduce(hidden)] if hidden else points


def drawn_solid(category: str, pose: Pose, rng: np.random.Generator) -> Solid:
    """A solid of ``category`` with proportions, turn, size and place drawn from ``rng``, within the cube [-1, 1]³.

    ``pose`` upright: turned about the vertical axis alone.
    """
    parts = CATEGORIES[category](rng)
    corners = np.array(
        [
            np.add(centre, np.multiply(signs, primitive.half))
            for primitive, centre in parts
            for signs in itertools.product((-1.0, 1.0), repeat=3)
        ]
    )
    middle = 0.5 * (corners.min(axis=0) + corners.max(axis=0))
    turn = _drawn_turn(pose, rng)
    turned = np.abs(_products(corners - middle, _matrix(turn))).max(axis=0)
    reach = rng.uniform(*REACH)
    scale = reach / float(turned.max())
    room = 1.0 - scale * turned
    x, y, z = (rng.uniform(-1.0, 1.0, 3) * room).tolist()
    centred = tuple((primitive, _vector(np.subtract(centre, middle))) for primitive, centre in parts)
    return Solid(centred, turn, scale, (x, y, z))


def _ellipsoid(rng: np.random.Generator) -> Sequence[Placed]:
    return [(Ellipsoid(_vector(rng.uniform(0.4, 1.0, 3))), ORIGIN)]


def _box(rng: np.random.Generator) -> Sequence[Placed]:
    return [(Box(_vector(rng.uniform(0.3, 1.0, 3))), ORIGIN)]


def _cylinder(rng: np.random.Generator) -> Sequence[Placed]:
    return [(Cylinder(rng.uniform(0.3, 0.8), rng.uniform(0.6, 2.0)), ORIGIN)]


def _cone(rng: np.random.Generator) -> Sequence[Placed]:
    return [(Cone(rng.uniform(0.5, 1.0), rng.uniform(0.8, 2.0)), ORIGIN)]


def _torus(rng: np.random.Generator) -> Sequence[Placed]:
    return [(Torus(1.0, rng.uniform(0.2, 0.5)), ORIGIN)]


def _capsule(rng: np.random.Generator) -> Sequence[Placed]:
    return [(Capsule(rng.uniform(0.3, 0.6), rng.uniform(0.6, 1.5)), ORIGIN)]


def _tube(rng: np.random.Generator) -> Sequence[Placed]:
    radius = rng.uniform(0.5, 0.9)
    return [(Cylinder(radius, rng.uniform(0.6, 2.0), radius * rng.uniform(0.5, 0.8)), ORIGIN)]


def _table(rng: np.random.Generator) -> Sequence[Placed]:
    """A top on four legs of square section, which end where the top begins."""
    a, b = rng.uniform(0.6, 1.0, 2).tolist()
    thick, leg, tall = rng.uniform(0.08, 0.18), rng.uniform(0.08, 0.18), rng.uniform(0.4, 0.7)
    legs = [
        (Box((leg, leg, tall)), (x * (a - leg), y * (b - leg), -tall - thick))
        for x, y in itertools.product((-1.0, 1.0), repeat=2)
    ]
    return [(Box((a, b, thick)), ORIGIN), *legs]


def _cross(rng: np.random.Generator) -> Sequence[Placed]:
    """Three bars of the same square section along the axes."""
    thick = rng.uniform(0.12, 0.3)
    lengths = rng.uniform(0.7, 1.0, 3)
    halves = np.where(np.eye(3, dtype=bool), lengths[:, None], thick)
    return [(Box(_vector(half)), ORIGIN) for half in halves]


def _frame(rng: np.random.Generator) -> Sequence[Placed]:
    """An upright rectangle of bars around a window: two uprights between two beams."""
    a, c = rng.uniform(0.6, 1.0, 2).tolist()
    bar, deep = rng.uniform(0.12, 0.25), rng.uniform(0.12, 0.35)
    beams: list[Placed] = [(Box((a, deep, bar)), (0.0, 0.0, z * (c - bar))) for z in (-1.0, 1.0)]
    uprights: list[Placed] = [(Box((bar, deep, c - 2.0 * bar)), (x * (a - bar), 0.0, 0.0)) for x in (-1.0, 1.0)]
    return [*beams, *uprights]


#: What draws the parts of a solid of each category; the order is that of the classes.
CATEGORIES: dict[str, Callable[[np.random.Generator], Sequence[Placed]]] = {
    "ellipsoid": _ellipsoid,
    "box": _box,
    "cylinder": _cylinder,
    "cone": _cone,
    "torus": _torus,
    "capsule": _capsule,
    "tube": _tube,
    "table": _table,
    "cross": _cross,
    "frame": _frame,
}


def _drawn_turn(pose: Pose, rng: np.random.Generator) -> Quaternion:
    if pose == "upright":
        angle = rng.uniform(0.0, math.pi)  # half of the turn
        return math.cos(angle), 0.0, 0.0, math.sin(angle)
    drawn = rng.standard_normal(4)  # a normalised one is uniform over all rotations
    w, x, y, z = (drawn / np.sqrt((drawn**2).sum())).tolist()
    return w, x, y, z


def _matrix(turn: Quaternion) -> Array:
    """The rotation [3, 3] of a unit quaternion."""
    w, x, y, z = turn
    return np.array(
        [
            [1.0 - 2.0 * (y * y + z * z), 2.0 * (x * y - w * z), 2.0 * (x * z + w * y)],
            [2.0 * (x * y + w * z), 1.0 - 2.0 * (x * x + z * z), 2.0 * (y * z - w * x)],
            [2.0 * (x * z - w * y), 2.0 * (y * z + w * x), 1.0 - 2.0 * (x * x + y * y)],
        ]
    )


def _products(points: Array, matrix: Array) -> Array:
    """``matrix`` times each of ``points`` [points, 3]; no matrix product, whose last bit depends on their number."""
    x, y, z = points.T
    return np.stack([row[0] * x + row[1] * y + row[2] * z for row in matrix], axis=1)


def _within(part: Placed, points: Array) -> Array:
    primitive, (x, y, z) = part
    return primitive.contains(points[:, 0] - x, points[:, 1] - y, points[:, 2] - z)


def _vector(values: Array) -> Vector:
    x, y, z = values.tolist()
    return x, y, z
