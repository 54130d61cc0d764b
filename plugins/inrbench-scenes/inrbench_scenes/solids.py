"""Coloured solids, and rays cast at them: exact intersections of boxes, upright cylinders and spheres, in float64.

All solids are convex, so that a ray is within one between two depths: the largest depth at which it enters a half-space
or a surface, and the smallest at which it leaves one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from inrbench.domains import Array

__all__ = ["AMBIENT", "LIGHT", "Box", "Cylinder", "Solid", "Sphere", "cast", "placed"]

#: Where the light is, and the share of a colour that faces away from it keep. A point looks the same from everywhere.
LIGHT = (0.48, 0.36, 0.8)
AMBIENT = 0.5

Vector = tuple[float, float, float]
#: In place of a direction's 0: what is divided by it, or by its square, stays finite.
TINY = 1e-120


class Solid(Protocol):
    """A convex solid of one colour."""

    @property
    def colour(self) -> Vector:
        """In [0, 1]."""
        ...

    def bounds(self) -> tuple[Vector, Vector]:
        """The lowest and the highest corner of the box around it."""
        ...

    def moved(self, offset: Vector, scale: float) -> Solid:
        """The solid with every point p at (p + offset) * scale."""
        ...

    def depths(self, origins: Array, directions: Array) -> tuple[Array, Array]:
        """(entering, leaving) [rays] for rays [3, rays]; a ray misses where it leaves before it enters."""
        ...

    def normals(self, points: Array, origins: Array, directions: Array) -> Array:
        """[3, rays], outward: at the ``points`` [3, rays] where rays enter."""
        ...


@dataclass(frozen=True)
class Box:
    """From corner ``low`` to corner ``high``, along the axes."""

    low: Vector
    high: Vector
    colour: Vector

    def bounds(self) -> tuple[Vector, Vector]:
        """Its corners."""
        return self.low, self.high

    def moved(self, offset: Vector, scale: float) -> Box:
        """Its corners, moved."""
        return replace(self, low=_moved(self.low, offset, scale), high=_moved(self.high, offset, scale))

    def depths(self, origins: Array, directions: Array) -> tuple[Array, Array]:
        """Within all three slabs."""
        slabs = [_slab(*self._side(axis), origins[axis], directions[axis]) for axis in range(3)]
        enter = np.maximum(np.maximum(slabs[0][0], slabs[1][0]), slabs[2][0])
        return enter, np.minimum(np.minimum(slabs[0][1], slabs[1][1]), slabs[2][1])

    def normals(self, points: Array, origins: Array, directions: Array) -> Array:
        """Of the face of the slab that is entered last."""
        enter = np.stack([_slab(*self._side(axis), origins[axis], directions[axis])[0] for axis in range(3)])
        last = enter.argmax(axis=0)
        found = np.zeros_like(points)
        rays = np.arange(points.shape[1])
        found[last, rays] = -np.sign(directions[last, rays])
        return found

    def _side(self, axis: int) -> tuple[float, float]:
        return self.low[axis], self.high[axis]


@dataclass(frozen=True)
class Cylinder:
    """Upright about (x, y), closed at the heights ``low`` and ``high``."""

    centre: tuple[float, float]
    radius: float
    low: float
    high: float
    colour: Vector

    def bounds(self) -> tuple[Vector, Vector]:
        """The box around it."""
        (x, y), r = self.centre, self.radius
        return (x - r, y - r, self.low), (x + r, y + r, self.high)

    def moved(self, offset: Vector, scale: float) -> Cylinder:
        """Its axis and ends, moved."""
        x, y, low = _moved((*self.centre, self.low), offset, scale)
        high = (self.high + offset[2]) * scale
        return replace(self, centre=(x, y), radius=self.radius * scale, low=low, high=high)

    def depths(self, origins: Array, directions: Array) -> tuple[Array, Array]:
        """Within its mantle and between its ends."""
        bottom, top = _slab(self.low, self.high, origins[2], directions[2])
        enter, leave = _round(self.centre, self.radius, origins[:2], directions[:2])
        return np.maximum(enter, bottom), np.minimum(leave, top)

    def normals(self, points: Array, origins: Array, directions: Array) -> Array:
        """Up or down where an end is entered, else away from the axis."""
        ends, _ = _slab(self.low, self.high, origins[2], directions[2])
        mantle, _ = _round(self.centre, self.radius, origins[:2], directions[:2])
        found = np.zeros_like(points)
        found[:2] = np.where(mantle >= ends, (points[:2] - np.array(self.centre)[:, None]) / self.radius, 0.0)
        found[2] = np.where(mantle >= ends, 0.0, -np.sign(directions[2]))
        return found


@dataclass(frozen=True)
class Sphere:
    """About ``centre``."""

    centre: Vector
    radius: float
    colour: Vector

    def bounds(self) -> tuple[Vector, Vector]:
        """The box around it."""
        x, y, z = self.centre
        r = self.radius
        return (x - r, y - r, z - r), (x + r, y + r, z + r)

    def moved(self, offset: Vector, scale: float) -> Sphere:
        """Its centre, moved."""
        return replace(self, centre=_moved(self.centre, offset, scale), radius=self.radius * scale)

    def depths(self, origins: Array, directions: Array) -> tuple[Array, Array]:
        """Within its surface."""
        return _round(self.centre, self.radius, origins, directions)

    def normals(self, points: Array, origins: Array, directions: Array) -> Array:
        """Away from the centre."""
        return np.asarray((points - np.array(self.centre)[:, None]) / self.radius)


def placed(solids: Sequence[Solid]) -> list[Solid]:
    """The same solids, moved and scaled together: the box around all of them has its centre at 0 and its corners at 1.

    All of them are then within the unit sphere.
    """
    corners = [solid.bounds() for solid in solids]
    low = np.min([one for one, _ in corners], axis=0)
    high = np.max([one for _, one in corners], axis=0)
    x, y, z = (-0.5 * (low + high)).tolist()
    scale = 2.0 / float(np.linalg.norm(high - low))
    return [solid.moved((x, y, z), scale) for solid in solids]


def cast(solids: Sequence[Solid], origins: Array, directions: Array, background: float) -> tuple[Array, Array]:
    """(colours [rays, 3] in [0, 1], depths [rays]) of the nearest solid along rays [rays, 3]; infinity where none is.

    Depths are in units of a direction. Colours are Lambert's for one light, and so the same from everywhere.
    """
    colours = np.full(directions.shape, background)
    depths = np.full(len(directions), np.inf)
    corners = [solid.bounds() for solid in solids]
    low = np.min([one for one, _ in corners], axis=0).tolist()
    high = np.max([one for _, one in corners], axis=0).tolist()
    o = np.ascontiguousarray(np.asarray(origins).T, dtype=np.float64)
    d = np.ascontiguousarray(np.asarray(directions).T, dtype=np.float64)
    d[d == 0.0] = TINY
    enter, leave = Box((low[0], low[1], low[2]), (high[0], high[1], high[2]), (0.0, 0.0, 0.0)).depths(o, d)
    there = np.flatnonzero(enter <= leave)
    o, d = o[:, there], d[:, there]
    nearest = np.full(len(there), np.inf)
    which = np.full(len(there), -1)
    for number, solid in enumerate(solids):
        enter, leave = solid.depths(o, d)
        closer = (enter <= leave) & (enter > 0.0) & (enter < nearest)
        nearest[closer] = enter[closer]
        which[closer] = number
    for number, solid in enumerate(solids):
        hit = np.flatnonzero(which == number)
        if len(hit):
            from_, along = o[:, hit], d[:, hit]
            facing = np.array(LIGHT) @ solid.normals(from_ + nearest[hit] * along, from_, along)
            shade = AMBIENT + (1.0 - AMBIENT) * np.maximum(facing, 0.0)
            colours[there[hit]] = shade[:, None] * np.array(solid.colour)
    depths[there] = nearest
    return colours, depths


def _moved(point: Vector, offset: Vector, scale: float) -> Vector:
    x, y, z = ((p + o) * scale for p, o in zip(point, offset, strict=True))
    return x, y, z


def _slab(low: float, high: float, origins: Array, directions: Array) -> tuple[Array, Array]:
    """(entering, leaving) depths of the slab between two planes across one axis."""
    one, other = (low - origins) / directions, (high - origins) / directions
    return np.minimum(one, other), np.maximum(one, other)


def _round(centre: Sequence[float], radius: float, origins: Array, directions: Array) -> tuple[Array, Array]:
    """(entering, leaving) depths of a circle or a sphere: |o + t d - c|² = r²."""
    away = origins - np.array(centre)[:, None]
    a = (directions**2).sum(axis=0)
    b = (away * directions).sum(axis=0)
    square = b**2 - a * ((away**2).sum(axis=0) - radius**2)
    root = np.sqrt(np.maximum(square, 0.0))
    missed = square < 0.0
    return np.where(missed, np.inf, (-b - root) / a), np.where(missed, -np.inf, (-b + root) / a)
