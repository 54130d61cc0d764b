"""Fields: what an INR plugin for PyTorch must offer, and the observation operator that samples one on a domain."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from inrbench.domains import Domain, Rays

__all__ = [
    "DifferentiatedField",
    "Field",
    "LatentField",
    "autograd_loss_and_gradient",
    "coords_of",
    "loss_and_gradient",
    "to_device",
]

Tensors = Mapping[str, Tensor]


class Field(Protocol):
    """``f(coords; named arrays) -> values``, batched over signals. The constructor is ``(settings, spec)``.

    Weights are [out, in] and biases [out]; batched ones have the signals in front. ``to_unit`` is (a, b) of
    ``a * output + b`` in [0, 1]: fitters compute their losses on the field's own output.
    """

    to_unit: tuple[float, float]

    def init(self, generator: torch.Generator) -> dict[str, Tensor]:
        """A random initialisation, without signals in front."""
        ...

    def apply(
        self, arrays: Tensors, coords: Float[Tensor, "... points coord_dim"]
    ) -> Float[Tensor, "signals points channels"]:
        """The output at ``coords``, each in [-1, 1]; an array without signals in front is shared by all.

        Where no array has signals in front, neither has the output.
        """
        ...

    def convention(self) -> Mapping[str, Any]:
        """What somebody needs to know to read or query the arrays: omega, initialisation, coordinates, offset."""
        ...

    def flops(self, points: int) -> float:
        """2 x multiply-adds of one forward pass at ``points`` points."""
        ...


@runtime_checkable
class LatentField(Field, Protocol):
    """A field of which some arrays, the latents, belong to a signal; all others are a backbone that signals share."""

    latents: tuple[str, ...]


@runtime_checkable
class DifferentiatedField(Field, Protocol):
    """A field that brings its own loss and gradient, faster than autograd's and equal to them up to rounding."""

    def loss_and_gradient(
        self,
        arrays: Tensors,
        coords: Float[Tensor, "... points coord_dim"],
        target: Float[Tensor, "signals points channels"],
        adapted: Sequence[str],
        *,
        weight: Float[Tensor, "*signals points channels"] | None = None,
        recompute: bool = False,
        precision: torch.dtype | None = None,
    ) -> tuple[Float[Tensor, " signals"], dict[str, Tensor]]:
        """(mean squared error of each signal, its gradient to the ``adapted`` arrays, with the signals in front).

        With ``weight``, at least 0 and not 0 for the whole of a signal, each error is Σ weight (output - target)² /
        Σ weight instead of the mean. Adapted arrays may come without signals in front, the same for all, as before the
        first of many steps. Where gradients are recorded, both results can be differentiated once more with respect to
        every array, though not to ``coords``, ``target`` or ``weight``. ``recompute`` keeps nothing for that and
        computes it again; ``precision`` is that of the large products (None: the arrays').
        """
        ...


def loss_and_gradient(
    field: Field,
    arrays: Tensors,
    coords: Float[Tensor, "... points coord_dim"],
    target: Float[Tensor, "signals points channels"],
    adapted: Sequence[str],
    *,
    weight: Float[Tensor, "*signals points channels"] | None = None,
    recompute: bool = False,
    precision: torch.dtype | None = None,
) -> tuple[Float[Tensor, " signals"], dict[str, Tensor]]:
    """(each signal's mean squared error, its gradient to the ``adapted`` arrays): the field's own way, or autograd's.

    With ``weight`` the error is Σ weight (output - target)² / Σ weight: what has none, such as the channels of another
    part of the signal, does not count. Every signal has its own ``adapted`` arrays; where gradients are recorded both
    results carry theirs, to all arrays.
    """
    if isinstance(field, DifferentiatedField):
        return field.loss_and_gradient(
            arrays, coords, target, adapted, weight=weight, recompute=recompute, precision=precision
        )
    return autograd_loss_and_gradient(
        lambda leaves: field.apply(leaves, coords), arrays, target, adapted, weight=weight, precision=precision
    )


def autograd_loss_and_gradient(
    predict: Callable[[Tensors], Tensor],
    arrays: Tensors,
    target: Float[Tensor, "signals points channels"],
    adapted: Sequence[str],
    *,
    weight: Float[Tensor, "*signals points channels"] | None = None,
    precision: torch.dtype | None = None,
) -> tuple[Float[Tensor, " signals"], dict[str, Tensor]]:
    """As `loss_and_gradient`, of what ``predict`` makes of the arrays."""
    recorded, device = torch.is_grad_enabled(), target.device.type
    with torch.enable_grad(), torch.autocast(device, enabled=False):  # autograd's own products would follow one outside
        leaves = dict(arrays)
        for name in adapted:
            if not (recorded and arrays[name].requires_grad):
                leaves[name] = arrays[name].detach().requires_grad_()
        with torch.autocast(device, torch.bfloat16, enabled=precision == torch.bfloat16):
            output = predict(leaves)
        squares = (output.to(target.dtype) - target).square()
        loss = squares.mean((1, 2)) if weight is None else (weight * squares).sum((1, 2)) / weight.sum((-2, -1))
        gradients = torch.autograd.grad(loss.sum(), [leaves[name] for name in adapted], create_graph=recorded)
    return (loss if recorded else loss.detach()), dict(zip(adapted, gradients, strict=True))


def coords_of(domain: Domain, device: str) -> Float[Tensor, "points coord_dim"]:
    """The coordinates of a grid's cells or of free points, flat, each in [-1, 1]."""
    if isinstance(domain, Rays):
        raise ValueError("rays are rendered, not sampled")
    coords = torch.as_tensor(domain.coords() if callable(domain.coords) else domain.coords, dtype=torch.float32)
    return coords.reshape(-1, coords.shape[-1]).to(device)


def to_device(arrays: Mapping[str, Any], device: str) -> dict[str, Tensor]:
    """NumPy arrays as tensors on ``device``."""
    return {name: torch.as_tensor(array).to(device) for name, array in arrays.items()}
