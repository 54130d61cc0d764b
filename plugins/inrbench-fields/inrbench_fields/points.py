"""Sums over a signal's points: each value's share of the error, and gradients that are added up part by part."""

from __future__ import annotations

from collections.abc import Callable

from jaxtyping import Float
from torch import Tensor

__all__ = ["Shares", "over_points", "shares_of"]

#: What each squared error counts, so that they make up a signal's: a number, or [signals or none, points, channels].
Shares = float | Tensor
#: From coordinates, targets and shares of some points to what they add to (each signal's error, gradients in order).
OfPoints = Callable[[Tensor, Tensor, Shares], tuple[Tensor, list[Tensor]]]

#: What a hidden layer's values may take up at once, in bytes; a step needs some ten times as much.
CPU_BYTES, GPU_BYTES = 2**25, 2**29


def shares_of(
    target: Float[Tensor, "signals points channels"], weight: Float[Tensor, "*signals points channels"] | None
) -> Shares:
    """Equal shares of a mean, or each weight over the sum of the signal's."""
    if weight is None:
        return 1.0 / (target.shape[1] * target.shape[2])
    return weight / weight.sum((-2, -1), keepdim=True)


def over_points(
    part: OfPoints,
    coords: Float[Tensor, "*signals points inputs"],
    target: Float[Tensor, "signals points channels"],
    shares: Shares,
    width: int,
) -> tuple[Float[Tensor, " signals"], list[Tensor]]:
    """``part`` of all points; where hidden layers of ``width`` are large there, of some points at a time, added up.

    So the memory that a step needs is bounded, however many points it sees.
    """
    signals, points, _ = target.shape
    most = CPU_BYTES if target.device.type == "cpu" else GPU_BYTES
    parts = -(-signals * points * width * target.element_size() // most)
    if parts <= 1:
        return part(coords, target, shares)
    size = -(-points // parts)
    loss: Tensor | None = None
    sums: list[Tensor] = []
    for first in range(0, points, size):
        some = slice(first, first + size)
        own = shares if isinstance(shares, float) else shares[..., some, :]
        more, gradients = part(coords[..., some, :], target[:, some], own)
        loss = more if loss is None else loss + more
        sums = [one.add_(other) for one, other in zip(sums, gradients, strict=True)] if sums else gradients
    assert loss is not None
    return loss, sums
