"""Going through signals and points some at a time, so that what is computed on the way stays in the cache."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

__all__ = ["Work", "loss_and_gradient", "part_of", "points_in"]

Tensors = Mapping[str, Tensor]


@dataclass(frozen=True)
class Work:
    """``num_points`` points of each of ``num_signals`` signals, of which ``most`` are worked on at once; None: all.

    With ``alone`` signals are taken one by one, since each has a backbone of its own.
    """

    num_signals: int
    num_points: int
    most: int | None
    alone: bool

    def signals(self) -> list[slice]:
        """Signals that are taken together."""
        if self.alone:
            return _parts(self.num_signals, 1)
        return _parts(self.num_signals, self.num_signals if self.most is None else self.most // self.num_points)

    def points(self) -> list[slice]:
        """The points of such signals that are taken together."""
        return _parts(self.num_points, self.num_points if self.most is None else self.most)


def _parts(total: int, most: int) -> list[slice]:
    """0 .. total in equal parts of at most ``most``, or of one."""
    count = -(-total // max(1, most))
    size = -(-total // max(1, count))
    return [slice(first, min(first + size, total)) for first in range(0, total, size)] if total else [slice(0, 0)]


def part_of(array: Tensor, dims: int, chosen: slice) -> Tensor:
    """The ``chosen`` signals of an array of ``dims`` dimensions that may have signals in front; of one it has none."""
    if array.dim() == dims:
        return array
    return array[chosen.start] if chosen.stop - chosen.start == 1 else array[chosen]


def points_in(values: Tensor, chosen: slice, points: slice) -> Tensor:
    """Of [points, ...] or [signals, points, ...] those of the ``chosen`` signals; shared ones have one in front."""
    return values[chosen, points] if values.dim() == 3 else values[None, points]


def loss_and_gradient(
    values: Callable[[Tensors, Tensor], Tensor],
    work: Work,
    arrays: Tensors,
    dims: Mapping[str, int],
    coords: Float[Tensor, "... points coord_dim"],
    target: Float[Tensor, "signals points channels"],
    adapted: Sequence[str],
    weight: Float[Tensor, "... points channels"] | None,
    precision: torch.dtype | None,
) -> tuple[Float[Tensor, " signals"], dict[str, Tensor]]:
    """(each signal's error, its gradient to the ``adapted`` arrays, which have signals in front).

    ``values`` maps arrays of ``dims`` dimensions and coordinates to outputs; the error is as in
    `inrbench.backends.torch.fields.DifferentiatedField`.
    """
    device = target.device.type
    total = target.new_tensor(float(target[0].numel())) if weight is None else weight.sum((-2, -1))
    totals = total.expand(len(target))
    loss = target.new_zeros(len(target))
    gradients = {name: torch.zeros_like(arrays[name], memory_format=torch.contiguous_format) for name in adapted}
    for chosen in work.signals():
        own = {name: part_of(array, dims[name], chosen).detach() for name, array in arrays.items()}
        into = [part_of(gradients[name], dims[name], chosen) for name in adapted]
        for points in work.points():
            with torch.enable_grad(), torch.autocast(device, enabled=False):  # the precision is that which is asked for
                leaves = [own[name].detach().requires_grad_() for name in adapted]
                with torch.autocast(device, torch.bfloat16, enabled=precision == torch.bfloat16):
                    output = values(
                        {**own, **dict(zip(adapted, leaves, strict=True))}, points_in(coords, chosen, points)
                    )
                squares = (output.to(target.dtype) - target[chosen, points]).square()
                counted = squares if weight is None else squares * points_in(weight, chosen, points)
                error = counted.sum((1, 2)) / totals[chosen]
                found = torch.autograd.grad(error.sum(), leaves)
            loss[chosen] += error.detach()
            for whole, part in zip(into, found, strict=True):
                whole += part
    return loss, gradients
