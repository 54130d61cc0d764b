"""Surfaces as points: drawn uniformly from a mesh, and moved into the cube [-1, 1]³."""

from __future__ import annotations

import numpy as np

from inrbench.domains import Array

__all__ = ["drawn_from", "normalised"]


def drawn_from(vertices: Array, triangles: Array, count: int, rng: np.random.Generator) -> Array:
    """``count`` uniform points of the surface, [count, 3]: triangles by area, then a uniform point in each.

    Raises ValueError for a surface without a finite area.
    """
    corner, second, third = (vertices[triangles[:, k]] for k in range(3))
    along, across = second - corner, third - corner
    with np.errstate(over="ignore", invalid="ignore"):
        areas = np.cumsum(np.linalg.norm(np.cross(along, across), axis=1))  # twice the area: only shares matter
    if not 0.0 < areas[-1] < np.inf:
        raise ValueError("its surface has no area, or no finite one")
    chosen = np.searchsorted(areas, rng.random(count) * areas[-1], side="right")  # right: never one without area
    chosen = np.minimum(chosen, len(areas) - 1)
    u, v = rng.random((2, count, 1))
    outside = u + v > 1.0  # the parallelogram's other half, folded back
    u, v = np.where(outside, 1.0 - u, u), np.where(outside, 1.0 - v, v)
    return np.asarray(corner[chosen] + u * along[chosen] + v * across[chosen])


def normalised(points: Array) -> Array:
    """Points [points, 3] with mean 0 and largest absolute value 1, float32.

    Raises ValueError where all points are one.
    """
    centred = points - points.mean(axis=0)
    largest = np.abs(centred).max()
    if not largest > 0.0:
        raise ValueError("its surface is a single point")
    return np.asarray((centred / largest).astype(np.float32))
