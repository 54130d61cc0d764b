"""Unsigned distance functions of point clouds, as signals.

Every random number is keyed: the points that a signal is observed and scored on are the same for every cell.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from inrbench import draws
from inrbench.domains import Array, Points
from inrbench.signals import Part
from inrbench_shapes.points import uniform

if TYPE_CHECKING:
    from scipy.spatial import cKDTree

    from inrbench.settings import Augmentation

__all__ = ["OBSERVED_POINTS", "SEED", "SPAN", "DistanceSignals", "Surfaces"]

#: What [0, 1] spans: the diagonal of the cube [-1, 1]³, the largest distance in it.
SPAN = 2.0 * math.sqrt(3.0)
OBSERVED_POINTS = 32_768
#: Fixed points are the same for every cell: their seed is never the cell's.
SEED = 20250318
#: k-d trees that are kept, of 1.2 MB each for 32,768 points.
TREES_KEPT = 64
#: Signals whose distances at the scored points are kept; the checksum of the scored data asks before the metrics do.
SCORED_KEPT = 4096


class Surfaces:
    """The surfaces of a split as points, ``clouds`` [signals, points, 3], with the k-d trees that were used last."""

    def __init__(self, clouds: Array) -> None:
        self.clouds = clouds
        self._tree = lru_cache(maxsize=TREES_KEPT)(self._grown)
        self._scored = lru_cache(maxsize=SCORED_KEPT)(self._measured)

    def distances(self, row: int, coords: Array) -> Array:
        """[points] float64: how far each of ``coords`` [points, 3] is from the nearest point of surface ``row``."""
        return _nearest(self._tree(row), coords)

    def scored(self, row: int, number: int, count: int) -> Array:
        """[count, 1] float32: the distances at the scored points of signal ``number``, in units of SPAN."""
        return self._scored(row, number, count).copy()

    def _grown(self, row: int) -> cKDTree:
        return _tree_of(self.clouds[row])

    def _measured(self, row: int, number: int, count: int) -> Array:
        return _unit(self.distances(row, _fixed("scored", number, count)))


@dataclass(frozen=True)
class DistanceSignals:
    """Distances to the nearest surface point in units of SPAN; entry i is the surface in row ``rows[i]``."""

    surfaces: Surfaces  # shared by all subsets of a split
    rows: Array
    ids: Array
    labels: Array | None
    scored_points: int

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def num_points(self) -> int:
        """Points that each signal lists: a share of its points is one of these."""
        return OBSERVED_POINTS

    def observed(self, i: int) -> Sequence[Part]:
        """The same 32,768 uniform points of entry ``i`` each time, for fitters that draw none."""
        coords = _fixed("observed", int(self.ids[i]), OBSERVED_POINTS)
        return (Part(Points(coords), _unit(self.surfaces.distances(int(self.rows[i]), coords))),)

    def scored(self, i: int) -> Sequence[Part]:
        """The same uniform points of entry ``i`` each time, others than the observed ones."""
        number = int(self.ids[i])
        values = self.surfaces.scored(int(self.rows[i]), number, self.scored_points)
        return (Part(Points(_fixed("scored", number, self.scored_points)), values),)

    def draw(
        self, i: int, sets: int, count: int, rng: np.random.Generator, augmentation: Augmentation | None = None
    ) -> tuple[Array, Array]:
        """Coords [sets, count, 3] and distances [sets, count, 1] of one copy of entry ``i``, float32.

        The copy's surface is scaled by U(1 - scale, 1 + scale) about the origin, then each of its points is moved by
        N(0, jitter²) along each axis. The coords are the same with and without an augmentation.
        """
        coords = uniform(rng, sets * count)
        scale, jitter = (augmentation.scale, augmentation.jitter) if augmentation is not None else (0.0, 0.0)
        factor = rng.uniform(1.0 - scale, 1.0 + scale) if scale > 0.0 else 1.0
        row = int(self.rows[i])
        if jitter > 0.0:
            cloud = self.surfaces.clouds[row]
            moved = factor * np.asarray(cloud, dtype=np.float64) + jitter * rng.standard_normal(cloud.shape)
            distances = _nearest(_tree_of(moved), coords)
        else:  # min |x - s p| = s min |x / s - p|: the tree of the unscaled surface serves all scales
            distances = factor * self.surfaces.distances(row, coords.astype(np.float64) / factor)
        return coords.reshape(sets, count, 3), _unit(distances).reshape(sets, count, 1)

    def stacked(self) -> None:
        """None: every signal has points of its own."""
        return

    def take(self, indices: Array) -> DistanceSignals:
        """The entries at ``indices``, in that order, with their ids."""
        labels = None if self.labels is None else self.labels[indices]
        return replace(self, rows=self.rows[indices], ids=self.ids[indices], labels=labels)

    def unlabelled(self) -> DistanceSignals:
        """The same entries without labels."""
        return replace(self, labels=None)


def _fixed(purpose: str, number: int, count: int) -> Array:
    return uniform(draws.generator(SEED, purpose, number), count)


def _tree_of(points: Array) -> cKDTree:
    from scipy.spatial import cKDTree  # not at the top: listing data sets needs no scipy

    # most points asked for are far from the surface; there, full cells are faster than tight ones, by half
    return cKDTree(points, leafsize=32, balanced_tree=False, compact_nodes=False)


def _nearest(tree: cKDTree, points: Array) -> Array:
    # one thread: whoever draws signals side by side has threads of its own
    _, index = tree.query(points, workers=1)
    away = points - tree.data[index]  # computed again, since scipy's last bit differs between processors
    return np.asarray(np.sqrt(away[:, 0] ** 2 + away[:, 1] ** 2 + away[:, 2] ** 2))


def _unit(distances: Array) -> Array:
    """[points, 1] float32 in [0, 1]; a copy that was scaled beyond the cube could exceed 1."""
    return np.minimum(distances / SPAN, 1.0).astype(np.float32)[:, None]
