"""Generalised winding numbers of triangle meshes (Jacobson et al., 2013), by a tree (Barill et al., 2018).

The winding number of a point is the sum of the signed solid angles of all triangles, over 4π: 1 within a closed surface
whose triangles are anticlockwise from outside, 0 outside of it; near a hole it goes from one to the other, so that 1/2
is the surface that closes it. It needs no library, no ray that may hit an edge, and no watertight mesh. Triangles that
are far away count together, as a dipole, those that are near exactly: the sum is off by some hundredths at most.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from inrbench.domains import Array

__all__ = ["WindingNumbers", "solid_angles"]

#: Triangles of a leaf, at most.
LEAF = 32
#: A node counts as one dipole for points farther away than so many of its radii.
FAR = 3.0
#: Pairs of a point and a triangle that are looked at together.
PAIRS = 2**18


@dataclass(frozen=True)
class _Node:
    first: int  # its triangles are those from here
    last: int  # up to here, without it
    centre: Array  # [3], their middle by area
    radius: float  # of the ball about it that holds them
    area: Array  # [3], the sum of their normals, each as long as its triangle's area
    children: tuple[int, int] | None


class WindingNumbers:
    """Of the mesh of ``vertices`` [vertices, 3] and ``triangles`` [triangles, 3] in float64."""

    def __init__(self, vertices: Array, triangles: Array) -> None:
        corners = np.asarray(vertices, dtype=np.float64)[triangles]
        self._nodes: list[_Node] = []
        order = np.arange(len(corners))
        self._grow(corners, order, 0, len(order))
        self._corners = corners[order]

    def at(self, points: Array) -> Array:
        """The winding number of each of ``points`` [points, 3]."""
        points = np.asarray(points, dtype=np.float64)
        total = np.zeros(len(points))
        waiting = [(0, np.arange(len(points)))]
        while waiting:
            number, which = waiting.pop()
            node = self._nodes[number]
            away = node.centre - points[which]
            squared = away[:, 0] ** 2 + away[:, 1] ** 2 + away[:, 2] ** 2
            far = squared > (FAR * node.radius) ** 2
            x, y, z = away[far].T
            total[which[far]] += (x * node.area[0] + y * node.area[1] + z * node.area[2]) / squared[far] ** 1.5
            near = which[~far]
            if not len(near):
                continue
            if node.children is None:
                for some in _chunks(near, node.last - node.first):
                    total[some] += solid_angles(points[some], self._corners[node.first : node.last]).sum(axis=1)
            else:
                waiting += [(child, near) for child in node.children]
        return np.asarray(total / (4.0 * np.pi))

    def _grow(self, corners: Array, order: Array, first: int, last: int) -> int:
        """Add the node of the triangles ``order[first:last]``, with its children; these are sorted into halves."""
        mine = corners[order[first:last]]
        normals = 0.5 * np.cross(mine[:, 1] - mine[:, 0], mine[:, 2] - mine[:, 0])
        areas, middles = np.linalg.norm(normals, axis=1), mine.mean(axis=1)
        weights = areas if areas.sum() > 0.0 else np.ones(len(mine))
        centre = (weights[:, None] * middles).sum(axis=0) / weights.sum()
        radius = float(np.linalg.norm(mine - centre, axis=2).max())
        number = len(self._nodes)
        node = _Node(first, last, centre, radius, normals.sum(axis=0), None)
        self._nodes.append(node)
        if last - first > LEAF:
            half = (last - first) // 2
            along = int(np.ptp(middles, axis=0).argmax())
            order[first:last] = order[first:last][np.argpartition(middles[:, along], half)]
            children = self._grow(corners, order, first, first + half), self._grow(corners, order, first + half, last)
            self._nodes[number] = _Node(first, last, centre, radius, node.area, children)
        return number


def solid_angles(points: Array, corners: Array) -> Array:
    """[points, triangles], signed: what ``corners`` [triangles, 3, 3] cover seen from ``points`` [points, 3].

    By van Oosterom and Strackee (1983): positive where a triangle's corners are clockwise as seen from the point. With
    a, b, c from the point to the corners a · (b × c) is a times the triangle's normal, 2 a · b = a² + b² - (a - b)².
    """
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    volume = np.zeros((len(points), len(corners)))
    squared = np.zeros((3, len(points), len(corners)))
    for axis in range(3):
        for k in range(3):
            away = corners[None, :, k, axis] - points[:, None, axis]
            squared[k] += away * away
            if k == 0:
                volume += away * normals[:, axis]
    a, b, c = np.sqrt(squared)
    below = a * b * c
    for k, (i, j) in enumerate(((1, 2), (2, 0), (0, 1))):
        side = ((corners[:, i] - corners[:, j]) ** 2).sum(axis=1)
        below += (a, b, c)[k] * (0.5 * (squared[i] + squared[j] - side))
    return np.asarray(2.0 * np.arctan2(volume, below))


def _chunks(which: Array, triangles: int) -> Iterator[Array]:
    size = max(1, PAIRS // triangles)
    for first in range(0, len(which), size):
        yield which[first : first + size]
