"""ReLU layers behind Fourier features at fixed frequencies: what the fields `relu-fourier` and `nerf` are made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from inrbench_fields.relu_layers import ReluLayers

__all__ = ["FourierNetwork"]


class FourierNetwork(ReluLayers):
    """ReLU layers where γ(x) holds cos(w x) for each coordinate in turn and each of the ``angular`` frequencies w.

    Then come the sines likewise: the order of Trans-INR's public code.
    """

    def __init__(self, coord_dim: int, angular: Tensor, width: int, depth: int, outputs: int) -> None:
        super().__init__(2 * len(angular) * coord_dim, width, depth, outputs)
        self.coord_dim, self.angular = coord_dim, angular

    def encode(self, coords: Float[Tensor, "*points coord_dim"]) -> Float[Tensor, "*points features"]:
        """γ at ``coords``."""
        angles = (coords.unsqueeze(-1) * self.angular.to(coords)).flatten(-2)
        return torch.cat([angles.cos(), angles.sin()], dim=-1)

    def apply_grid(
        self, arrays: Mapping[str, Tensor], features: Sequence[Float[Tensor, "_ axis_features"]]
    ) -> Float[Tensor, "*signals points outputs"]:
        """The output on a grid, in array order; ``features`` are γ of each axis' coordinates alone.

        Each feature depends on one coordinate, so W_0 γ(x) is a sum over the axes: each is multiplied for the
        coordinates along its axis, not for all points.
        """
        weight, bias = arrays["layers.0.weight"], arrays["layers.0.bias"]
        blocks = weight.reshape(*weight.shape[:-1], 2, self.coord_dim, len(self.angular))
        before = bias.reshape(*bias.shape[:-1], *[1] * self.coord_dim, bias.shape[-1])
        for axis, along in enumerate(features):
            own = torch.matmul(along, blocks.select(-2, axis).flatten(-2).mT)  # [.., count, out]
            shape = [len(along) if other == axis else 1 for other in range(self.coord_dim)]
            before = before + own.reshape(*own.shape[:-2], *shape, own.shape[-1])
        return self.behind_first(arrays, before.flatten(-1 - self.coord_dim, -2))
