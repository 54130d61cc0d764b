"""Free points of the cube [-1, 1]³, uniform or near a surface, and occupancies there as parts of a signal."""

from __future__ import annotations

import numpy as np

from inrbench.domains import Array, Points
from inrbench.settings import DataSettings, setting
from inrbench.signals import Part, PartSpec

__all__ = ["OccupancySettings", "moved", "occupancy_part", "occupancy_spec", "uniform"]


class OccupancySettings(DataSettings):
    """How many points of a solid are observed and scored, and how near to its surface."""

    random_points: int = setting(4_096, "observed points that are uniform in the cube", ge=1)
    near_points: int = setting(4_096, "observed points near the surface", ge=0)
    near_deviation: float = setting(
        0.05, "standard deviation along each axis of the observed points near the surface from it", gt=0.0, le=1.0
    )
    scored_points: int = setting(8_192, "uniform points that a signal is scored on", stage="score", ge=1)


def uniform(rng: np.random.Generator, count: int) -> Array:
    """[count, 3] in [-1, 1), float32."""
    return 2.0 * rng.random((count, 3), dtype=np.float32) - np.float32(1.0)


def moved(surface: Array, deviation: float, rng: np.random.Generator) -> Array:
    """``surface`` [points, 3], each moved by N(0, deviation²) along each axis and back into the cube; float32."""
    return np.clip(surface + deviation * rng.standard_normal(surface.shape), -1.0, 1.0).astype(np.float32)


def occupancy_spec(count: int) -> PartSpec:
    """``count`` points of the cube with one occupancy each."""
    return PartSpec("points", (count,), 3, 1, measure="occupancy")


def occupancy_part(coords: Array, inside: Array) -> Part:
    """Occupancies ``inside`` [points], 0 or 1, at ``coords`` [points, 3] as a part of values [points, 1], uint8."""
    return Part(Points(coords), inside.astype(np.uint8)[:, None], measure="occupancy")
