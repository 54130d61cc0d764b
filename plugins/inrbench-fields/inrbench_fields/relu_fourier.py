"""ReLU layers behind Fourier features of the coordinates (Tancik et al., 2020, arXiv 2006.10739).

The frequencies are fixed and the same for every axis, spaced in equal ratios, as in Trans-INR's image field (Chen and
Wang, ECCV 2022, arXiv 2208.02801).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from inrbench.signals import SignalSpec
from inrbench_fields.linear import affine, uniform
from inrbench_fields.settings import ReluFourierSettings

__all__ = ["ReluFourier"]


class ReluFourier:
    """f(x) = W_out h + b_out + offset, h_0 = relu(W_0 γ(x) + b_0), h_i = relu(W_i h_{i-1} + b_i).

    γ(x) holds, for each coordinate in turn, cos(π w x) of all frequencies w and then sin(π w x). Arrays are
    ``layers.0.weight`` [out, in], ``layers.0.bias`` [out], ... and ``output.weight``, ``output.bias``.
    """

    def __init__(self, settings: ReluFourierSettings, spec: SignalSpec) -> None:
        self.settings = settings
        self.coord_dim, self.channels = spec.coord_dim, spec.channels
        features = 2 * settings.frequencies * self.coord_dim
        self.sizes = [features, *[settings.width] * (settings.depth + 1)]
        self.angular = math.pi * torch.exp(torch.linspace(0.0, math.log(settings.highest), settings.frequencies))
        self.to_unit = (1.0 / spec.parts[0].span, 0.0)

    def init(self, generator: torch.Generator) -> dict[str, Tensor]:
        """Weights and biases uniform in ±1/√in, PyTorch's default."""
        arrays = {}
        names = [*(f"layers.{i}" for i in range(len(self.sizes) - 1)), "output"]
        for name, fan_in, fan_out in zip(names, self.sizes, [*self.sizes[1:], self.channels], strict=True):
            bound = 1.0 / math.sqrt(fan_in)
            arrays[f"{name}.weight"] = uniform(bound, generator, fan_out, fan_in)
            arrays[f"{name}.bias"] = uniform(bound, generator, fan_out)
        return arrays

    def encode(self, coords: Float[Tensor, "... coord_dim"]) -> Float[Tensor, "... features"]:
        """γ at ``coords``: [..., coord_dim times (cosines, sines)]."""
        angles = coords.unsqueeze(-1) * self.angular.to(coords)
        return torch.cat([angles.cos(), angles.sin()], dim=-1).flatten(-2)

    def apply(
        self, arrays: Mapping[str, Tensor], coords: Float[Tensor, "... points coord_dim"]
    ) -> Float[Tensor, "*signals points channels"]:
        """The output at ``coords`` for every signal; arrays without signals in front are shared by all."""
        hidden = self.encode(coords)
        for i in range(len(self.sizes) - 1):
            hidden = torch.relu(affine(hidden, arrays[f"layers.{i}.weight"], arrays[f"layers.{i}.bias"]))
        return affine(hidden, arrays["output.weight"], arrays["output.bias"]) + self.settings.output_offset

    def convention(self) -> Mapping[str, Any]:
        """The features, their order, the layers, their initialisation, the coordinates' frame, the output's range."""
        settings = self.settings
        return {
            "field": "relu-fourier",
            "layer": "relu(W x + b)",
            "features": "for each coordinate in turn cos(pi w x) of all frequencies w, then sin(pi w x)",
            "frequencies": "w = exp(linspace(0, ln highest, frequencies))",
            "num_frequencies": settings.frequencies,
            "highest": settings.highest,
            "init": "W and b uniform in ±1/sqrt(in)",
            "coordinates": "centres",
            "output_offset": settings.output_offset,
            "to_unit": list(self.to_unit),
        }

    def flops(self, points: int) -> float:
        """2 x multiply-adds of the linear layers at ``points`` points."""
        pairs = zip(self.sizes, [*self.sizes[1:], self.channels], strict=True)
        return 2.0 * points * sum(fan_in * fan_out for fan_in, fan_out in pairs)
