"""Domains: where a signal has values. Coordinates cross interfaces as cell centres in [-1, 1]^d."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import prod
from typing import Any

import numpy as np

__all__ = ["Array", "Domain", "Grid", "Points", "Rays"]

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Grid:
    """A regular grid of cells, in array order (an image: rows, columns).

    ``axes`` holds (count, low, high) for each axis; [low, high] lies in [-1, 1] and is cut into ``count`` equal
    cells, of which the centres are the coordinates.
    """

    axes: tuple[tuple[int, float, float], ...]

    @classmethod
    def of(cls, *counts: int) -> Grid:
        """The grid of ``counts`` cells over the whole of [-1, 1]^d."""
        return cls(tuple((count, -1.0, 1.0) for count in counts))

    @property
    def shape(self) -> tuple[int, ...]:
        """Cells along each axis."""
        return tuple(count for count, _, _ in self.axes)

    @property
    def num_points(self) -> int:
        """Cells in all."""
        return prod(self.shape)

    @property
    def coord_dim(self) -> int:
        """Number of axes."""
        return len(self.axes)

    def blocks(self, points: int) -> Iterator[tuple[slice, Grid]]:
        """The grid cut along its first axis: (its planes, they as a grid), at most ``points`` cells or one plane each.

        Their centres are those of the whole grid, up to rounding.
        """
        (count, low, high), *others = self.axes
        planes, width = max(1, points // (self.num_points // count)), (high - low) / count
        for first in range(0, count, planes):
            last = min(first + planes, count)
            yield slice(first, last), Grid(((last - first, low + first * width, low + last * width), *others))

    def coords(self) -> Array:
        """Cell centres, [*shape, coord_dim], float32, the last axis in array order."""
        lines = [low + (np.arange(n, dtype=np.float64) + 0.5) * (high - low) / n for n, low, high in self.axes]
        return np.stack(np.meshgrid(*lines, indexing="ij"), axis=-1).astype(np.float32)


@dataclass(frozen=True)
class Points:
    """Free points: ``coords`` of shape [points, coord_dim], each in [-1, 1]."""

    coords: Array

    @property
    def num_points(self) -> int:
        """Points in all."""
        return len(self.coords)

    @property
    def coord_dim(self) -> int:
        """Coordinates of a point."""
        return int(self.coords.shape[-1])


@dataclass(frozen=True)
class Rays:
    """Camera rays: ``origins`` and ``directions`` of shape [views, height, width, 3], in scene units.

    A field is integrated along each ray from ``near`` to ``far`` in front of a constant ``background`` in [0, 1].
    """

    origins: Array
    directions: Array
    near: float
    far: float
    background: float

    @property
    def shape(self) -> tuple[int, ...]:
        """(views, height, width)."""
        return tuple(self.origins.shape[:-1])

    @property
    def num_points(self) -> int:
        """Rays in all."""
        return prod(self.shape)

    coord_dim = 3

    def by_view(self) -> Iterator[Rays]:
        """The rays of each view alone, as a domain of one view."""
        for i in range(len(self.origins)):
            yield replace(self, origins=self.origins[i : i + 1], directions=self.directions[i : i + 1])


Domain = Grid | Points | Rays
