"""The error of generated fields on many points: computed by chunks, with the gradient ready when it is done.

The hypernetwork's backward pass needs the gradient of each signal's error to the weights of its field and nothing else
of the field. That gradient is summed over chunks of points, so that what a chunk computes stays in a CPU's cache, and
memory does not grow with the points.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor

from inrbench.backends.torch.fields import Field, loss_and_gradient
from inrbench.backends.torch.precision import precision_here

__all__ = ["field_loss"]

#: One layer's values of a chunk: what a CPU's cache holds, and what a GPU has room for.
CHUNK_BYTES = {"cpu": 2 * 2**20, "cuda": 2**29}


def field_loss(
    field: Field,
    arrays: Mapping[str, Tensor],
    coords: Float[Tensor, "... points coord_dim"],
    target: Float[Tensor, "signals points channels"],
    row: int = 1,
) -> Float[Tensor, " signals"]:
    """Each signal's mean squared error; arrays without signals in front are shared by all.

    ``target`` is in the field's own range. A chunk holds whole rows of ``row`` points, of which a field may make use.
    """
    signals, points = target.shape[:2]
    own = {name: _in_front(array, signals, name) for name, array in arrays.items()}
    size = _chunk(own, signals, points, row, target.device.type)
    precision = precision_here(target.device)
    leaves = {name: array.detach() for name, array in own.items()}
    losses: Tensor | None = None
    gradients: dict[str, Tensor] = {}
    for first in range(0, points, size):
        last = min(first + size, points)
        share = (last - first) / points
        with torch.no_grad():
            here = coords[..., first:last, :], target[:, first:last]
            loss, found = loss_and_gradient(field, leaves, *here, list(leaves), precision=precision)
            if losses is None:
                losses = share * loss
                gradients = {name: array.mul_(share) if share < 1.0 else array for name, array in found.items()}
            else:
                losses = losses.add(loss, alpha=share)
                for name, array in found.items():
                    gradients[name].add_(array, alpha=share)
    names = list(own)
    return cast(
        Tensor,
        _WithGradient.apply(  # type: ignore[no-untyped-call]
            losses, [gradients[name] for name in names], *(own[name] for name in names)
        ),
    )


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


def _in_front(array: Tensor, signals: int, name: str) -> Tensor:
    """``array`` with the signals in front: a matrix of one signal has two dimensions, anything else one."""
    alone = 2 if name.endswith(".weight") else 1
    return array.expand(signals, *array.shape) if array.dim() == alone else array


def _chunk(arrays: Mapping[str, Tensor], signals: int, points: int, row: int, device: str) -> int:
    """Points of a chunk: whole rows, and chunks of about equal size."""
    width = max(array.shape[1] for array in arrays.values())
    rows = points // row if points % row == 0 else points
    most = max(1, CHUNK_BYTES[device] // (4 * width * signals * (points // rows)))
    chunks = -(-rows // min(most, rows))
    return -(-rows // chunks) * (points // rows)
