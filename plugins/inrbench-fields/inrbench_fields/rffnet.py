"""RFFNet: ReLU layers behind random Fourier features (Tancik et al., 2020, arXiv 2006.10739).

γ(x) holds cos(2π B x), then sin(2π B x), with B from N(0, σ²). Its seed is a setting, and of NumPy's generators the one
whose stream never changes draws it: what is learned and the settings are all that a query needs.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from inrbench.signals import SignalSpec
from inrbench_fields.frames import to_unit
from inrbench_fields.layers_gradient import layers_loss_and_gradient, relu
from inrbench_fields.relu_layers import ReluLayers
from inrbench_fields.settings import RffNetSettings

__all__ = ["RffNet"]


class RffNet:
    """f(x) = W_out h + b_out, h_0 = relu(W_0 γ(x) + b_0), ...; see `ReluLayers` for the arrays. B is none of them."""

    def __init__(self, settings: RffNetSettings, spec: SignalSpec) -> None:
        self.settings = settings
        drawn = np.random.RandomState(settings.feature_seed).standard_normal((settings.rff_dim // 2, spec.coord_dim))
        turns = settings.sigma * drawn
        turns[:, 0] *= settings.time_scale
        self.turns = torch.tensor(turns, dtype=torch.float32)  # [features / 2, coord_dim]
        self.layers = ReluLayers(settings.rff_dim, settings.width, settings.depth, spec.channels)
        self.to_unit = to_unit(settings, spec.parts[0])

    def init(self, generator: torch.Generator) -> dict[str, Tensor]:
        """Weights and biases uniform in ±1/√in, PyTorch's default."""
        return self.layers.init(generator)

    def encode(self, coords: Float[Tensor, "... points coord_dim"]) -> Float[Tensor, "... points features"]:
        """γ at ``coords``; whole turns are left out before the sine, which is more exact at small angles."""
        turns = torch.matmul(coords, self.turns.to(coords).mT)
        angles = (turns - turns.round()).mul_(2.0 * math.pi)
        return torch.cat([angles.cos(), angles.sin()], dim=-1)

    def apply(
        self, arrays: Mapping[str, Tensor], coords: Float[Tensor, "... points coord_dim"]
    ) -> Float[Tensor, "*signals points channels"]:
        """The output at ``coords`` for every signal; arrays without signals in front are shared by all."""
        with torch.autocast(coords.device.type, enabled=False):
            features = self.encode(coords)
        return self.layers.apply(arrays, features)

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
        """Written out where no gradient is recorded, else autograd's."""
        factors = [1.0] * (len(self.layers.sizes) - 1)
        return layers_loss_and_gradient(
            relu, self.apply, self.encode, factors, arrays, coords, target, adapted, weight, precision
        )

    def convention(self) -> Mapping[str, Any]:
        """The features, how their frequencies were drawn, the layers, their initialisation, and the output's range."""
        settings = self.settings
        return {
            "field": "rffnet",
            "layer": "relu(W x + b)",
            "features": "cos(2 pi B x), then sin(2 pi B x); x is time_scale times the first coordinate, and the others",
            "frequencies": "B = sigma * numpy.random.RandomState(feature_seed).standard_normal((rff_dim/2, coord_dim))",
            "rff_dim": settings.rff_dim,
            "sigma": settings.sigma,
            "feature_seed": settings.feature_seed,
            "time_scale": settings.time_scale,
            "init": "W and b uniform in ±1/sqrt(in)",
            "coordinates": "centres",
            "to_unit": list(self.to_unit),
        }

    def flops(self, points: int) -> float:
        """2 x multiply-adds of B x and of the linear layers at ``points`` points."""
        return 2.0 * points * self.turns.numel() + self.layers.flops(points)
