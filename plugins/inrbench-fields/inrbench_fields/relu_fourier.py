"""ReLU layers behind Fourier features of the coordinates (Tancik et al., 2020, arXiv 2006.10739).

The frequencies are fixed and the same for every axis, spaced in equal ratios, as in Trans-INR's image field (Chen and
Wang, ECCV 2022, arXiv 2208.02801).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from inrbench.signals import SignalSpec
from inrbench_fields.fourier_network import FourierNetwork
from inrbench_fields.settings import ReluFourierSettings

__all__ = ["ReluFourier"]


class ReluFourier:
    """f(x) = network(x) + offset, with frequencies π w; see `FourierNetwork` for the arrays."""

    def __init__(self, settings: ReluFourierSettings, spec: SignalSpec) -> None:
        self.settings = settings
        angular = math.pi * torch.exp(torch.linspace(0.0, math.log(settings.highest), settings.frequencies))
        self.network = FourierNetwork(spec.coord_dim, angular, settings.width, settings.depth, spec.channels)
        self.to_unit = (1.0 / spec.parts[0].span, 0.0)

    def init(self, generator: torch.Generator) -> dict[str, Tensor]:
        """Weights and biases uniform in ±1/√in, PyTorch's default."""
        return self.network.init(generator)

    def apply(
        self, arrays: Mapping[str, Tensor], coords: Float[Tensor, "... points coord_dim"]
    ) -> Float[Tensor, "*signals points channels"]:
        """The output at ``coords`` for every signal; arrays without signals in front are shared by all."""
        return self.network.apply(arrays, self.network.encode(coords)) + self.settings.output_offset

    def encode_grid(self, lines: Sequence[Float[Tensor, "_"]]) -> list[Float[Tensor, "_ axis_features"]]:
        """The features of the coordinates along each axis of a grid: all of `apply_grid` that knows no arrays."""
        return [self.network.encode(line.unsqueeze(-1)) for line in lines]

    def apply_grid(
        self, arrays: Mapping[str, Tensor], encoded: Sequence[Float[Tensor, "_ axis_features"]]
    ) -> Float[Tensor, "*signals points channels"]:
        """As `apply` at all points of the grid whose axes were ``encoded``, in array order."""
        return self.network.apply_grid(arrays, encoded) + self.settings.output_offset

    def convention(self) -> Mapping[str, Any]:
        """The features, their order, the layers, their initialisation, the coordinates' frame, the output's range."""
        settings = self.settings
        return {
            "field": "relu-fourier",
            "layer": "relu(W x + b)",
            "features": "cos(pi w x) for each coordinate in turn and all frequencies w, then sin(pi w x) likewise",
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
        return self.network.flops(points)
