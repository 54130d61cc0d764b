"""SIREN: a network of sine layers (Sitzmann et al., 2020, arXiv 2006.09661).

A sine layer computes sin(ω (W x + b)). With ω in the hidden layers and W drawn from ±√(6/in)/ω it is the paper's;
with ω = 1 there and W from ±√(6/in) it is MWT's (Gielisse and van Gemert, 2025, arXiv 2503.18123), where the same
function moves ω² times slower under gradient descent.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor

from inrbench.backends.torch.batched_linear import batched_linear
from inrbench.signals import SignalSpec
from inrbench_fields.settings import SirenSettings

__all__ = ["Siren", "sine"]


class Siren:
    """f(x) = scale · (W_out h + b_out), h_0 = sin(ω_0 (W_0 x + b_0)), h_i = sin(ω (W_i h_{i-1} + b_i)).

    Arrays are ``layers.0.weight`` [out, in], ``layers.0.bias`` [out], ... and ``output.weight``, ``output.bias``,
    ``output.scale`` [channels].
    """

    def __init__(self, settings: SirenSettings, spec: SignalSpec) -> None:
        self.settings = settings
        self.coord_dim, self.channels = spec.coord_dim, spec.channels
        self.sizes = [self.coord_dim, *[settings.width] * (settings.depth + 1)]
        part = spec.parts[0]
        self.counts = part.shape if part.domain == "grid" and settings.coordinates == "corners" else None
        self.to_unit = (1.0, 0.0) if settings.values == "unit" else (0.5, 0.5)

    def init(self, generator: torch.Generator) -> dict[str, Tensor]:
        """Sine layers as the settings say; the output layer's scale starts at a constant."""
        settings, arrays = self.settings, {}
        for i, (fan_in, fan_out) in enumerate(zip(self.sizes[:-1], self.sizes[1:], strict=True)):
            bound = 1.0 / fan_in if i == 0 else math.sqrt(6.0 / fan_in) / settings.omega_hidden
            arrays[f"layers.{i}.weight"] = _uniform(bound, generator, fan_out, fan_in)
            bias_bound = 0.0 if settings.bias_init == "zero" else 1.0 / math.sqrt(fan_in)
            arrays[f"layers.{i}.bias"] = _uniform(bias_bound, generator, fan_out)
        width = self.sizes[-1]
        bound = math.sqrt(6.0 / width) / settings.omega_hidden
        default = 1.0 / math.sqrt(width)
        weight_bound = bound if settings.output_init == "siren" else default
        arrays["output.weight"] = _uniform(weight_bound, generator, self.channels, width)
        arrays["output.bias"] = _uniform(default, generator, self.channels)
        if settings.output_scale is not None:
            arrays["output.scale"] = torch.full((self.channels,), settings.output_scale)
        return arrays

    def apply(
        self, arrays: Mapping[str, Tensor], coords: Float[Tensor, "... points coord_dim"]
    ) -> Float[Tensor, "signals points channels"]:
        """The output at ``coords`` for every signal; arrays without signals in front are shared by all."""
        if self.counts is not None:
            coords = coords * coords.new_tensor([n / max(1, n - 1) for n in self.counts])
        hidden = coords
        for i in range(len(self.sizes) - 1):
            omega = self.settings.omega_0 if i == 0 else self.settings.omega_hidden
            before = _affine(hidden, arrays[f"layers.{i}.weight"], arrays[f"layers.{i}.bias"])
            hidden = sine(before if omega == 1.0 else omega * before)
        output = _affine(hidden, arrays["output.weight"], arrays["output.bias"])
        scale = arrays.get("output.scale")
        return output if scale is None else output * scale.unsqueeze(-2)

    def convention(self) -> Mapping[str, Any]:
        """Where ω stands, how it was initialised, the coordinates' frame, and the output's range."""
        settings = self.settings
        return {
            "field": "siren",
            "layer": "sin(omega * (W x + b))",
            "omega_0": settings.omega_0,
            "omega_hidden": settings.omega_hidden,
            "first_init": "W uniform in ±1/in",
            "hidden_init": "W uniform in ±sqrt(6/in)/omega_hidden",
            "bias_init": settings.bias_init,
            "output_init": settings.output_init,
            "coordinates": settings.coordinates,
            "coordinate_counts": None if self.counts is None else list(self.counts),
            "to_unit": list(self.to_unit),
        }

    def flops(self, points: int) -> float:
        """2 x multiply-adds of the linear layers at ``points`` points."""
        pairs = zip(self.sizes, [*self.sizes[1:], self.channels], strict=True)
        return 2.0 * points * sum(fan_in * fan_out for fan_in, fan_out in pairs)


class _SineAndCosine(torch.autograd.Function):
    """sin and cos of one argument, each the other's derivative, so that neither is computed again in a backward pass.

    Differentiable to any order: the backward pass is made of the two outputs.
    """

    @staticmethod
    def forward(ctx, argument):  # type: ignore[no-untyped-def]
        ctx.set_materialize_grads(False)
        values = torch.sin(argument), torch.cos(argument)
        ctx.save_for_backward(*values)
        return values

    @staticmethod
    def backward(ctx, to_sine, to_cosine):  # type: ignore[no-untyped-def]
        sin, cos = ctx.saved_tensors
        if to_cosine is None:
            return None if to_sine is None else to_sine * cos
        if to_sine is None:
            return -to_cosine * sin
        return torch.addcmul(to_sine * cos, to_cosine, sin, value=-1)


def sine(argument: Tensor) -> Tensor:
    """sin(argument), elementwise; where gradients are taken its cosine is kept beside it."""
    if not torch.is_grad_enabled():
        return torch.sin(argument)
    return cast(Tensor, _SineAndCosine.apply(argument)[0])  # type: ignore[no-untyped-call]


def _affine(hidden: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """W h + b; weight [signals, out, in] or shared [out, in], hidden [signals, points, in] or shared [points, in]."""
    if weight.dim() == 2:
        return torch.nn.functional.linear(hidden, weight, bias)
    if hidden.dim() == 2:
        hidden = hidden.expand(len(weight), -1, -1)
    return batched_linear(hidden, weight, bias)


def _uniform(bound: float, generator: torch.Generator, *shape: int) -> Tensor:
    return (2.0 * torch.rand(shape, generator=generator) - 1.0) * bound
