"""Observation operators: from a field's arrays to its values on a domain, by sampling or by rendering along rays."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Protocol, cast, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from inrbench.backends.torch.fields import Field, coords_of
from inrbench.backends.torch.rendering import RadianceField, render
from inrbench.domains import Array, Domain, Grid, Points, Rays

__all__ = ["GridField", "coords_at", "observe", "observer", "rays_of", "shape_of"]

Tensors = Mapping[str, Tensor]

#: Points of a grid or a list that a field is asked for at once by `observe`.
CHUNK_POINTS = 2**17


@runtime_checkable
class GridField(Field, Protocol):
    """A field that is faster where the points form a grid."""

    def encode_grid(self, lines: Sequence[Tensor]) -> Sequence[Tensor]:
        """From the coordinates along each axis to what `apply_grid` takes: a tensor [count, ...] each."""
        ...

    def apply_grid(self, arrays: Tensors, encoded: Sequence[Tensor]) -> Float[Tensor, "signals points channels"]:
        """As `apply` at all points of the grid, in array order, up to rounding."""
        ...


def observer(
    field: Field, domain: Domain, device: str, generator: torch.Generator | None = None
) -> Callable[[Tensors], Tensor]:
    """A function from arrays to the field's values on ``domain``, [signals, points, channels], in its own range.

    What does not depend on the arrays is computed here, once. Gradients are recorded where they are when it is called.
    ``generator`` jitters the samples along rays.
    """
    if isinstance(domain, Rays):
        radiance, (origins, directions) = cast(RadianceField, field), rays_of(domain, device)
        near, far, background, count = domain.near, domain.far, domain.background, radiance.num_samples
        return lambda arrays: render(radiance, arrays, origins, directions, near, far, background, count, generator)
    if isinstance(domain, Grid) and isinstance(field, GridField):
        grid, encoded = field, field.encode_grid(_lines(domain, device))
        return lambda arrays: grid.apply_grid(arrays, encoded)
    coords = coords_of(domain, device)
    return lambda arrays: field.apply(arrays, coords)


@torch.no_grad()
def observe(field: Field, arrays: Tensors, domain: Domain, device: str) -> Float[Tensor, "signals ..."]:
    """The values on ``domain``, [signals, *domain, channels], in [0, 1] up to overshoot: what `query` yields.

    Memory beyond that of the values is bounded, however large the domain.
    """
    if isinstance(domain, Rays) or domain.num_points <= CHUNK_POINTS:
        values = observer(field, domain, device)(arrays)
    else:
        values = torch.cat([field.apply(arrays, coords) for coords in _chunks(domain, device)], dim=-2)
    scale, offset = field.to_unit
    return (values * scale + offset).reshape(len(values), *shape_of(domain), -1)


def shape_of(domain: Domain) -> tuple[int, ...]:
    """A grid's cells, (points,), or (views, height, width)."""
    if isinstance(domain, Grid):
        return domain.shape
    return domain.origins.shape[:-1] if isinstance(domain, Rays) else (domain.num_points,)


def coords_at(domain: Grid | Points, index: Array, device: str) -> Float[Tensor, "... coord_dim"]:
    """The coordinates at flat places ``index`` [...] of a grid or a list: as in `coords_of`, without all the others."""
    if isinstance(domain, Points):
        return torch.as_tensor(domain.coords[index], dtype=torch.float32).to(device)
    places = np.unravel_index(index, domain.shape)
    # cell by cell: a long axis has many that nobody asks for
    centres = [
        low + (place + 0.5) * (high - low) / n for place, (n, low, high) in zip(places, domain.axes, strict=True)
    ]
    return torch.as_tensor(np.stack(centres, axis=-1).astype(np.float32)).to(device)


def rays_of(domain: Rays, device: str) -> tuple[Float[Tensor, "rays 3"], Float[Tensor, "rays 3"]]:
    """(origins, directions) of all views' rays, flat."""
    origins, directions = (np.asarray(array, dtype=np.float32) for array in (domain.origins, domain.directions))
    return torch.tensor(origins).reshape(-1, 3).to(device), torch.tensor(directions).reshape(-1, 3).to(device)


def _lines(grid: Grid, device: str) -> list[Tensor]:
    """The cell centres along each axis."""
    return [torch.as_tensor(Grid((axis,)).coords()[:, 0]).to(device) for axis in grid.axes]


def _chunks(domain: Grid | Points, device: str) -> Iterator[Tensor]:
    for first in range(0, domain.num_points, CHUNK_POINTS):
        yield coords_at(domain, np.arange(first, min(first + CHUNK_POINTS, domain.num_points)), device)
