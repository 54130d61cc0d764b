"""The error of generated fields on many points: computed by chunks, with the gradient ready when it is done.

The hypernetwork's backward pass needs the gradient of each signal's error to the weights of its field and nothing else
of the field. That gradient is summed over chunks of points, so that what a chunk computes stays in a CPU's cache, and
memory does not grow with the points.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor

from inrbench.backends.torch.fields import (
    DifferentiatedField,
    Field,
    autograd_loss_and_gradient,
    coords_of,
    loss_and_gradient,
)
from inrbench.backends.torch.operators import GridField
from inrbench.backends.torch.precision import precision_here
from inrbench.domains import Grid

__all__ = ["CHUNK_BYTES", "GridOfPoints", "field_loss", "in_front", "points_of", "with_gradients"]

Tensors = Mapping[str, Tensor]
#: One layer's values of a chunk: what a CPU's cache holds, and what a GPU has room for.
CHUNK_BYTES = {"cpu": 2 * 2**20, "cuda": 2**29}


@dataclass(frozen=True)
class GridOfPoints:
    """The points of a grid, for a field that makes use of that: what `GridField.encode_grid` made of its axes."""

    encoded: Sequence[Tensor]


def points_of(field: Field, grid: Grid, like: Tensor) -> GridOfPoints | Tensor:
    """The points of ``grid`` as ``field`` takes them best, on the device and in the precision of ``like``."""
    if isinstance(field, GridField) and not isinstance(field, DifferentiatedField):
        lines = [torch.as_tensor(Grid((axis,)).coords()[:, 0]).to(like) for axis in grid.axes]
        return GridOfPoints(field.encode_grid(lines))
    return coords_of(grid, str(like.device)).to(like)


def field_loss(
    field: Field,
    arrays: Tensors,
    points: GridOfPoints | Tensor,
    target: Float[Tensor, "signals points channels"],
) -> Float[Tensor, " signals"]:
    """Each signal's mean squared error; arrays without signals in front are shared by all.

    ``points`` are those of a grid or [points, coord_dim], with signals in front where each has its own; ``target`` is
    in the field's own range.
    """
    signals, count = target.shape[:2]
    own = in_front(arrays, signals)
    row = count // len(points.encoded[0]) if isinstance(points, GridOfPoints) else 1
    size = _chunk(own, signals, count, row, target.device.type)
    leaves = {name: array.detach() for name, array in own.items()}
    losses = target.new_zeros(signals)
    gradients = {name: torch.zeros_like(array, memory_format=torch.contiguous_format) for name, array in leaves.items()}
    for first in range(0, count, size):
        last = min(first + size, count)
        with torch.no_grad():
            loss, found = _part(field, leaves, points, target, first, last, row)
            losses.add_(loss, alpha=(last - first) / count)
            for name, array in found.items():
                gradients[name].add_(array, alpha=(last - first) / count)
    return with_gradients(losses, own, gradients)


def _part(
    field: Field, arrays: Tensors, points: GridOfPoints | Tensor, target: Tensor, first: int, last: int, row: int
) -> tuple[Tensor, dict[str, Tensor]]:
    """(each signal's error on the points from ``first`` to ``last`` - 1, its gradient to every array)."""
    here, precision = target[:, first:last], precision_here(target.device)
    if isinstance(points, Tensor):
        return loss_and_gradient(field, arrays, points[..., first:last, :], here, list(arrays), precision=precision)
    down, *others = points.encoded
    encoded = [down[first // row : last // row], *others]
    grid = cast(GridField, field)
    return autograd_loss_and_gradient(
        lambda leaves: grid.apply_grid(leaves, encoded), arrays, here, list(arrays), precision=precision
    )


def with_gradients(losses: Float[Tensor, " signals"], arrays: Tensors, gradients: Tensors) -> Float[Tensor, " signals"]:
    """``losses`` of which each one's gradient to ``arrays`` [signals, ...] is known."""
    ready = [gradients[name] for name in arrays]
    return cast(Tensor, _WithGradient.apply(losses, ready, *arrays.values()))  # type: ignore[no-untyped-call]


class _WithGradient(torch.autograd.Function):
    """Losses [signals] of which the gradients to the arrays are known."""

    @staticmethod
    def forward(ctx: Any, losses, gradients, *arrays):  # type: ignore[no-untyped-def]
        ctx.gradients = gradients
        return losses.clone()

    @staticmethod
    def backward(ctx: Any, upstream):  # type: ignore[no-untyped-def]
        found = [array * upstream.view(-1, *[1] * (array.dim() - 1)) for array in ctx.gradients]
        return (None, None, *found)


def in_front(arrays: Tensors, signals: int) -> dict[str, Tensor]:
    """``arrays`` with the signals in front: a matrix of one signal has two dimensions, anything else one."""
    alone = {name: 2 if name.endswith(".weight") else 1 for name in arrays}
    return {name: one.expand(signals, *one.shape) if one.dim() == alone[name] else one for name, one in arrays.items()}


def _chunk(arrays: Tensors, signals: int, points: int, row: int, device: str) -> int:
    """Points of a chunk: whole rows of a grid, and chunks of about equal size."""
    rows, width = points // row, max(array.shape[1] for array in arrays.values())
    most = max(1, CHUNK_BYTES[device] // (4 * width * signals * row))
    chunks = -(-rows // min(most, rows))
    return -(-rows // chunks) * row
