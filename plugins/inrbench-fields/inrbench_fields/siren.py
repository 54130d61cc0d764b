"""SIREN: a network of sine layers (Sitzmann et al., 2020, arXiv 2006.09661).

A sine layer computes sin(ω (W x + b)). With ω in the hidden layers and W drawn from ±√(6/in)/ω it is the paper's;
with ω = 1 there and W from ±√(6/in) it is MWT's (Gielisse and van Gemert, 2025, arXiv 2503.18123), where the same
function moves ω² times slower under gradient descent.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from inrbench.signals import SignalSpec
from inrbench_fields import siren_gradient
from inrbench_fields.frames import coordinate_counts, frame, to_unit
from inrbench_fields.linear import affine, uniform
from inrbench_fields.settings import SirenSettings

__all__ = ["Siren"]


class Siren:
    """f(x) = scale · (W_out h + b_out), h_0 = sin(ω_0 (W_0 x + b_0)), h_i = sin(ω (W_i h_{i-1} + b_i)).

    Arrays are ``layers.0.weight`` [out, in], ``layers.0.bias`` [out], ... and ``output.weight``, ``output.bias``,
    ``output.scale`` [channels].
    """

    def __init__(self, settings: SirenSettings, spec: SignalSpec) -> None:
        self.settings = settings
        self.coord_dim, self.channels = spec.coord_dim, spec.channels
        self.sizes = [self.coord_dim, *[settings.width] * (settings.depth + 1)]
        self.counts, self.frame = coordinate_counts(settings, spec), frame(settings, spec)
        self.to_unit = to_unit(settings, spec.parts[0])

    def init(self, generator: torch.Generator) -> dict[str, Tensor]:
        """Sine layers as the settings say; the output layer's scale starts at a constant."""
        settings, arrays = self.settings, {}
        for i, (fan_in, fan_out) in enumerate(zip(self.sizes[:-1], self.sizes[1:], strict=True)):
            bound = 1.0 / fan_in if i == 0 else math.sqrt(6.0 / fan_in) / settings.omega_hidden
            arrays[f"layers.{i}.weight"] = uniform(bound, generator, fan_out, fan_in)
            bias_bound = 1.0 / math.sqrt(fan_in) if settings.bias_init == "default" else 0.0
            arrays[f"layers.{i}.bias"] = uniform(bias_bound, generator, fan_out)
        width = self.sizes[-1]
        bound = math.sqrt(6.0 / width) / settings.omega_hidden
        default = 1.0 / math.sqrt(width)
        weight_bound = bound if settings.output_init == "siren" else default
        arrays["output.weight"] = uniform(weight_bound, generator, self.channels, width)
        arrays["output.bias"] = uniform(0.0 if settings.bias_init == "all-zero" else default, generator, self.channels)
        if settings.output_scale is not None:
            arrays["output.scale"] = torch.full((self.channels,), settings.output_scale)
        return arrays

    def apply(
        self, arrays: Mapping[str, Tensor], coords: Float[Tensor, "... points coord_dim"]
    ) -> Float[Tensor, "signals points channels"]:
        """The output at ``coords`` for every signal; arrays without signals in front are shared by all."""
        hidden = self.placed(coords)
        for i, omega in enumerate(self.omegas()):
            before = affine(hidden, arrays[f"layers.{i}.weight"], arrays[f"layers.{i}.bias"])
            hidden = self.activation(before if omega == 1.0 else omega * before)
        output = affine(hidden, arrays["output.weight"], arrays["output.bias"])
        scale = arrays.get("output.scale")
        return output if scale is None else output * scale.unsqueeze(-2)

    def activation(self, argument: Tensor) -> Tensor:
        """What a layer makes of ω (W x + b)."""
        return torch.sin(argument)

    def loss_and_gradient(
        self,
        arrays: Mapping[str, Tensor],
        coords: Float[Tensor, "... points coord_dim"],
        target: Float[Tensor, "signals points channels"],
        adapted: Sequence[str],
        *,
        weight: Float[Tensor, "... points channels"] | None = None,
        recompute: bool = False,
        precision: torch.dtype | None = None,
    ) -> tuple[Float[Tensor, " signals"], dict[str, Tensor]]:
        """Each signal's mean squared error, weighted or not, and its gradient to the ``adapted`` arrays, written out.

        See `inrbench_fields.siren_gradient`. ω and the output's scale are multiplied into the weights, so that what is
        written out is a plain chain of sines.
        """
        omegas = self.omegas()
        weights, biases = [], []
        for i, omega in enumerate(omegas):
            matrix, bias = arrays[f"layers.{i}.weight"], arrays[f"layers.{i}.bias"]
            if matrix.dim() == 3 or bias.dim() == 2:  # of every signal, both of them
                matrix = matrix.expand(len(target), *matrix.shape[-2:])
                bias = bias.expand(len(target), *bias.shape[-1:])
            weights.append(_times(omega, matrix))
            biases.append(_times(omega, bias))
        layers = siren_gradient.Layers(weights, biases)
        matrix, bias, scale = arrays["output.weight"], arrays["output.bias"], arrays.get("output.scale")
        own_output = (
            matrix.dim() == 3
            or bias.dim() == 2
            or (scale is not None and scale.dim() == 2)
            or any(name.startswith("output.") for name in adapted)
        )
        if own_output:
            matrix = matrix.expand(len(target), *matrix.shape[-2:])
            bias = bias.expand(len(target), *bias.shape[-1:])
        scaled = (matrix, bias) if scale is None else (matrix * scale.unsqueeze(-1), bias * scale)
        with torch.autocast(target.device.type, enabled=False):  # the precision is chosen product by product
            loss, found = siren_gradient.loss_and_gradient(
                layers,
                scaled,
                self.placed(coords),
                target,
                weight=weight,
                recompute=recompute,
                precision=target.dtype if precision is None else precision,
            )
        gradients: dict[str, Tensor] = {}
        for i, omega in enumerate(omegas):
            gradients[f"layers.{i}.weight"] = _times(omega, found[2 * i])
            gradients[f"layers.{i}.bias"] = _times(omega, found[2 * i + 1])
        if own_output:
            to_weight, to_bias = found[2 * len(omegas) :]
            if scale is not None:
                gradients["output.scale"] = (to_weight * matrix).sum(-1) + to_bias * bias
                to_weight, to_bias = to_weight * scale.unsqueeze(-1), to_bias * scale
            gradients |= {"output.weight": to_weight, "output.bias": to_bias}
        return loss, {name: gradients[name] for name in adapted}

    def omegas(self) -> list[float]:
        """What each sine layer multiplies its argument by."""
        return [self.settings.omega_0, *[self.settings.omega_hidden] * self.settings.depth]

    def placed(self, coords: Tensor) -> Tensor:
        """The coordinates in the frame of the settings."""
        if self.frame is None:
            return coords
        # axis by axis: a tensor made from numbers would be copied to a GPU each time
        return torch.stack(
            [coords[..., axis] * scale + shift for axis, (scale, shift) in enumerate(self.frame)], dim=-1
        )

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
            "time_scale": settings.time_scale,
            "to_unit": list(self.to_unit),
        }

    def flops(self, points: int) -> float:
        """2 x multiply-adds of the linear layers at ``points`` points."""
        pairs = zip(self.sizes, [*self.sizes[1:], self.channels], strict=True)
        return 2.0 * points * sum(fan_in * fan_out for fan_in, fan_out in pairs)


def _times(omega: float, array: Tensor) -> Tensor:
    return array if omega == 1.0 else omega * array
