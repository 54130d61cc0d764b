"""Places: where a point stands in the signal and in its cell, and which cells' shifts it takes.

Positions are in [0, 1]; cell i of s along an axis is [i / s, (i + 1) / s], and its latent stands at its centre.
"""

from __future__ import annotations

from math import prod

import numpy as np

from inrbench.backends.jax.fields import coords_of
from inrbench.domains import Array, Domain, Grid
from inrbench_functa.settings import ModulatedSirenSettings

__all__ = ["by_cell", "cell_weights", "coords_in_full", "input_dim", "inputs_at", "line_weights", "num_digits"]


def coords_in_full(domain: Domain) -> Array:
    """[points, coord_dim] in [-1, 1]; those of a grid in float64, so that what is computed of them is rounded once."""
    if not isinstance(domain, Grid):
        return coords_of(domain)
    lines = [low + (np.arange(n) + 0.5) * (high - low) / n for n, low, high in domain.axes]
    return np.stack(np.meshgrid(*lines, indexing="ij"), axis=-1).reshape(-1, len(lines))


def num_digits(settings: ModulatedSirenSettings, longest: int) -> int:
    """Binary digits of a coordinate: as many as number the ``longest`` side's points, or those of the settings."""
    return settings.digits or max(1, (longest - 1).bit_length())


def input_dim(settings: ModulatedSirenSettings, coord_dim: int, longest: int) -> int:
    """What the first layer takes of a point."""
    return coord_dim * (num_digits(settings, longest) if settings.placed == "binary" else 1)


def inputs_at(coords: Array, settings: ModulatedSirenSettings, longest: int) -> Array:
    """What the first layer takes, [..., input_dim], of points at ``coords``, each in [-1, 1].

    The position in [0, 1]; the position in the cell, in [0, 1]; or the position's binary digits, 0 or 1, the most
    significant first, one coordinate after the other.
    """
    position = (coords.astype(np.float64) + 1.0) / 2.0
    if settings.placed == "cell":
        position = position * settings.cells
        position = position - _cell_of(position, settings.cells)
    elif settings.placed == "binary":
        digits = num_digits(settings, longest)
        number = np.clip(np.floor(position * 2**digits), 0, 2**digits - 1).astype(np.int64)
        position = (number[..., None] >> np.arange(digits)[::-1]) & 1
        position = position.reshape(*coords.shape[:-1], -1)
    return position.astype(np.float32)


def line_weights(centres: Array, settings: ModulatedSirenSettings) -> Array:
    """[points, cells]: the weight of each cell of an axis at ``centres``, positions in [0, 1]; rows sum to 1.

    One cell, or the two whose centres are around the position, by the distance to them; the outermost reach the edge.
    """
    cells = settings.cells
    place = np.asarray(centres, dtype=np.float64) * cells
    if settings.interpolation == "nearest":
        return np.eye(cells, dtype=np.float32)[_cell_of(place, cells)]
    place = np.clip(place - 0.5, 0.0, cells - 1.0)
    return np.maximum(0.0, 1.0 - np.abs(place[:, None] - np.arange(cells))).astype(np.float32)


def cell_weights(coords: Array, settings: ModulatedSirenSettings) -> Array:
    """[points, cells of all axes]: the weight of each cell, the last axis fastest, at ``coords`` in [-1, 1]."""
    weights = np.ones((len(coords), 1), dtype=np.float32)
    for axis in coords.T:
        along = line_weights((axis.astype(np.float64) + 1.0) / 2.0, settings)
        weights = (weights[:, :, None] * along[:, None, :]).reshape(len(coords), -1)
    return weights


def by_cell(domain: Grid, cells: int) -> Array | None:
    """[cells of all axes, points of a cell]: the points of ``domain`` in each cell, in the grid's order.

    None where the cells do not cut the grid into equal parts.
    """
    whole = all((low, high) == (-1.0, 1.0) for _, low, high in domain.axes)
    if not whole or any(count % cells for count in domain.shape):
        return None
    index = np.arange(domain.num_points).reshape([n for count in domain.shape for n in (cells, count // cells)])
    axes = len(domain.shape)
    index = index.transpose([*range(0, 2 * axes, 2), *range(1, 2 * axes, 2)])
    return index.reshape(cells**axes, prod(domain.shape) // cells**axes)


def _cell_of(place: Array, cells: int) -> Array:
    """The cell of a place in [0, cells]; the far edge belongs to the last one."""
    return np.clip(np.floor(place), 0, cells - 1).astype(np.int64)
