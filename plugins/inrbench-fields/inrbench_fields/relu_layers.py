"""ReLU layers behind features of the coordinates: what `relu-fourier`, `nerf` and `rffnet` are made of."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor

from inrbench_fields.linear import affine, uniform

__all__ = ["ReluLayers"]


class ReluLayers:
    """W_out h + b_out, h_0 = relu(W_0 γ(x) + b_0), h_i = relu(W_i h_{i-1} + b_i).

    Arrays are ``layers.0.weight`` [out, in], ``layers.0.bias`` [out], ... and ``output.weight``, ``output.bias``;
    batched ones have the signals in front.
    """

    def __init__(self, features: int, width: int, depth: int, outputs: int) -> None:
        self.outputs = outputs
        self.sizes = [features, *[width] * (depth + 1)]

    @property
    def names(self) -> list[str]:
        """Of the linear layers, in order."""
        return [*(f"layers.{i}" for i in range(len(self.sizes) - 1)), "output"]

    def init(self, generator: torch.Generator) -> dict[str, Tensor]:
        """Weights and biases uniform in ±1/√in, PyTorch's default."""
        arrays = {}
        for name, fan_in, fan_out in zip(self.names, self.sizes, [*self.sizes[1:], self.outputs], strict=True):
            bound = 1.0 / math.sqrt(fan_in)
            arrays[f"{name}.weight"] = uniform(bound, generator, fan_out, fan_in)
            arrays[f"{name}.bias"] = uniform(bound, generator, fan_out)
        return arrays

    def apply(
        self, arrays: Mapping[str, Tensor], features: Float[Tensor, "... points features"]
    ) -> Float[Tensor, "*signals points outputs"]:
        """The output where γ is ``features``."""
        return self.behind_first(arrays, affine(features, arrays["layers.0.weight"], arrays["layers.0.bias"]))

    def behind_first(self, arrays: Mapping[str, Tensor], hidden: Tensor) -> Tensor:
        """From W_0 γ + b_0, which is overwritten, to the output."""
        for i in range(1, len(self.sizes) - 1):
            hidden = affine(torch.relu_(hidden), arrays[f"layers.{i}.weight"], arrays[f"layers.{i}.bias"])
        return affine(torch.relu_(hidden), arrays["output.weight"], arrays["output.bias"])

    def flops(self, points: int) -> float:
        """2 x multiply-adds of the linear layers at ``points`` points."""
        pairs = zip(self.sizes, [*self.sizes[1:], self.outputs], strict=True)
        return 2.0 * points * sum(fan_in * fan_out for fan_in, fan_out in pairs)
