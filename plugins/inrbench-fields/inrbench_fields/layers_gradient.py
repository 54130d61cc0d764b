"""The gradient of an error of linear layers with an activation between them, written out.

For one signal, with h_0 = g(W_0 x + b_0), h_i = g(W_i h_{i-1} + b_i), y = W h + b and L = Σ s (y - t)²:

    e = ∂L/∂y = 2 s (y - t)        q_last = e W        d_i = g'(a_i) ∘ q_i
    ∂L/∂W_i = d_iᵀ h_{i-1}         ∂L/∂b_i = Σ d_i     q_{i-1} = d_i W_i

where a_i is the argument of the i-th activation and sums run over the points. Nothing else is kept, and each array is
written once: autograd does the same products, and more passes over memory between them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from inrbench.backends.torch.fields import autograd_loss_and_gradient
from inrbench_fields.points import Shares, over_points, shares_of

__all__ = ["Activation", "damped_sine", "layers_loss_and_gradient", "relu"]

Tensors = Mapping[str, Tensor]


@dataclass(frozen=True)
class Activation:
    """``forward`` maps an argument, which it may overwrite, to (value, what ``back`` needs).

    ``back`` maps (∂L/∂value, which it may overwrite, and what was kept) to ∂L/∂argument.
    """

    forward: Callable[[Tensor], tuple[Tensor, Tensor]]
    back: Callable[[Tensor, Tensor], Tensor]


def _relu(argument: Tensor) -> tuple[Tensor, Tensor]:
    value = argument.relu_()
    return value, value


relu = Activation(_relu, lambda upstream, value: torch.ops.aten.threshold_backward(upstream, value, 0.0))


def damped_sine(damping: Callable[[Tensor], tuple[Tensor, Tensor]]) -> Activation:
    """sin(x) δ(x), of a function from x to δ(x) and sin(x) δ'(x) / sin(x): (δ, δ'), both finite everywhere."""

    def forward(argument: Tensor) -> tuple[Tensor, Tensor]:
        factor, slope = damping(argument)
        sine = torch.sin(argument)
        slope.mul_(sine).addcmul_(argument.cos_(), factor)
        return sine.mul_(factor), slope

    return Activation(forward, lambda upstream, slope: upstream.mul_(slope))


def layers_loss_and_gradient(
    activation: Activation,
    apply: Callable[[Tensors, Tensor], Tensor],
    inputs: Callable[[Tensor], Tensor],
    factors: Sequence[float],
    arrays: Tensors,
    coords: Float[Tensor, "... points coord_dim"],
    target: Float[Tensor, "signals points channels"],
    adapted: Sequence[str],
    weight: Float[Tensor, "... points channels"] | None,
    precision: torch.dtype | None,
) -> tuple[Float[Tensor, " signals"], dict[str, Tensor]]:
    """As a field's `loss_and_gradient`: written out, or autograd's of ``apply``.

    It is autograd's where gradients are recorded, in another precision, and with a scale behind the output. ``arrays``
    are ``layers.0.weight``, ``layers.0.bias``, ..., ``output.weight``, ``output.bias`` and perhaps ``output.scale``.
    ``inputs`` maps coordinates to what the first layer takes; the i-th layer's W and b are multiplied by
    ``factors[i]``.
    """
    lone = {name: 2 if name.endswith("weight") else 1 for name in adapted}  # dimensions without signals in front
    every = {n: arrays[n].expand(len(target), *arrays[n].shape) for n in adapted if arrays[n].dim() == lone[n]}
    arrays = {**arrays, **every}
    if torch.is_grad_enabled() or precision not in (None, target.dtype) or "output.scale" in arrays:
        return autograd_loss_and_gradient(
            lambda leaves: apply(leaves, coords), arrays, target, adapted, weight=weight, precision=precision
        )
    names = [f"layers.{i}" for i in range(len(factors))]
    layers = [
        tuple(_times(factor, arrays[f"{name}.{kind}"]) for kind in ("weight", "bias"))
        for factor, name in zip(factors, names, strict=True)
    ]
    output = arrays["output.weight"], arrays["output.bias"]

    def part(coords: Tensor, target: Tensor, shares: Shares) -> tuple[Tensor, list[Tensor]]:
        return _forward_and_back(activation, [*layers, output], inputs(coords), target, shares)

    with torch.autocast(target.device.type, enabled=False):
        loss, found = over_points(part, coords, target, shares_of(target, weight), layers[0][0].shape[-2])
    gradients: dict[str, Tensor] = {}
    for i, name in enumerate([*names, "output"]):
        factor = factors[i] if i < len(factors) else 1.0
        gradients |= {f"{name}.weight": _times(factor, found[2 * i]), f"{name}.bias": _times(factor, found[2 * i + 1])}
    return loss, {name: gradients[name] for name in adapted}


def _forward_and_back(
    activation: Activation,
    layers: Sequence[tuple[Tensor, ...]],
    inputs: Tensor,
    target: Tensor,
    shares: Shares,
) -> tuple[Tensor, list[Tensor]]:
    """(each signal's error, its gradients to W_0, b_0, W_1, ...)."""
    count = len(target)
    values = [inputs.expand(count, *inputs.shape[-2:])]
    kept: list[Tensor] = []
    for weight, bias in layers[:-1]:
        value, more = activation.forward(_affine(values[-1], weight, bias))
        values.append(value)
        kept.append(more)
    residual = _affine(values[-1], *layers[-1]) - target
    loss = (residual.square() * shares).sum((1, 2))
    upstream = residual.mul_(2.0 * shares)
    gradients: list[Tensor] = []
    for i in reversed(range(len(layers))):
        gradients = [_outer(upstream, values.pop()), upstream.sum(1), *gradients]
        if i:
            upstream = activation.back(_pull(upstream, layers[i][0]), kept.pop())
    return loss, gradients


def _affine(hidden: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """W h + b, [signals, points, out]; the layer may be shared."""
    weight, bias = (array.expand(len(hidden), *array.shape[-n:]) for array, n in ((weight, 2), (bias, 1)))
    return torch.baddbmm(bias[:, None], hidden, weight.mT)


def _pull(upstream: Tensor, weight: Tensor) -> Tensor:
    """Upstream g times W."""
    return torch.bmm(upstream, weight.expand(len(upstream), *weight.shape[-2:]))


def _outer(upstream: Tensor, inputs: Tensor) -> Tensor:
    """gᵀ h, the sum over the points of each signal."""
    if inputs.shape[-1] < upstream.shape[-1]:  # a product of few columns is several times slower than one of few rows
        return torch.bmm(inputs.mT, upstream).mT
    return torch.bmm(upstream.mT, inputs)


def _times(factor: float, array: Tensor) -> Tensor:
    return array if factor == 1.0 else factor * array
