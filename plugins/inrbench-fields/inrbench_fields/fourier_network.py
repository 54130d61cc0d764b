"""ReLU layers behind Fourier features at fixed frequencies: what the fields `relu-fourier` and `nerf` are made of."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from inrbench_fields.linear import affine, uniform

__all__ = ["FourierNetwork"]


class FourierNetwork:
    """W_out h + b_out, h_0 = relu(W_0 γ(x) + b_0), h_i = relu(W_i h_{i-1} + b_i).

    γ(x) holds cos(w x) for each coordinate in turn and each of the ``angular`` frequencies w, and then likewise the
    sines: the order of Trans-INR's public code. Arrays are ``layers.0.weight`` [out, in], ``layers.0.bias`` [out], ...
    and ``output.weight``, ``output.bias``; batched ones have the signals in front.
    """

    def __init__(self, coord_dim: int, angular: Tensor, width: int, depth: int, outputs: int) -> None:
        self.coord_dim, self.angular, self.outputs = coord_dim, angular, outputs
        self.sizes = [2 * len(angular) * coord_dim, *[width] * (depth + 1)]

    def init(self, generator: torch.Generator) -> dict[str, Tensor]:
        """Weights and biases uniform in ±1/√in, PyTorch's default."""
        arrays = {}
        names = [*(f"layers.{i}" for i in range(len(self.sizes) - 1)), "output"]
        for name, fan_in, fan_out in zip(names, self.sizes, [*self.sizes[1:], self.outputs], strict=True):
            bound = 1.0 / math.sqrt(fan_in)
            arrays[f"{name}.weight"] = uniform(bound, generator, fan_out, fan_in)
            arrays[f"{name}.bias"] = uniform(bound, generator, fan_out)
        return arrays

    def encode(self, coords: Float[Tensor, "*points coord_dim"]) -> Float[Tensor, "*points features"]:
        """γ at ``coords``."""
        angles = (coords.unsqueeze(-1) * self.angular.to(coords)).flatten(-2)
        return torch.cat([angles.cos(), angles.sin()], dim=-1)

    def apply(
        self, arrays: Mapping[str, Tensor], features: Float[Tensor, "... points features"]
    ) -> Float[Tensor, "*signals points outputs"]:
        """The output where γ is ``features``."""
        return self._behind_first(arrays, affine(features, arrays["layers.0.weight"], arrays["layers.0.bias"]))

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
        return self._behind_first(arrays, before.flatten(-1 - self.coord_dim, -2))

    def _behind_first(self, arrays: Mapping[str, Tensor], hidden: Tensor) -> Tensor:
        """From W_0 γ + b_0, which is overwritten, to the output."""
        for i in range(1, len(self.sizes) - 1):
            hidden = affine(torch.relu_(hidden), arrays[f"layers.{i}.weight"], arrays[f"layers.{i}.bias"])
        return affine(torch.relu_(hidden), arrays["output.weight"], arrays["output.bias"])

    def flops(self, points: int) -> float:
        """2 x multiply-adds of the linear layers at ``points`` points."""
        pairs = zip(self.sizes, [*self.sizes[1:], self.outputs], strict=True)
        return 2.0 * points * sum(fan_in * fan_out for fan_in, fan_out in pairs)
