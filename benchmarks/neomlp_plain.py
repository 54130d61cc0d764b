"""NeoMLP in plain PyTorch, as a careful user writes it: what tests and benchmarks compare with.

Batched over points: every token of every layer at every point, queries, keys and values for all of them, linear
attention as q (kᵀ v), autograd. The mathematics is that of Kofinas et al., 2024 (arXiv 2412.08731) with the defaults of
`inrbench_neomlp`, of which nothing is imported.

    model = Plain(arrays, angular, heads=4)      # arrays as the plugin names them; angular: 2 pi times the frequencies
    output = model(coords)                       # [points, inputs] in [-1, 1] to [points, outputs]
    (output - target).square().mean().backward() # gradients are in model.parameters
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional

__all__ = ["Plain"]

ACTIVATIONS = {"gelu": functional.gelu, "relu": functional.relu, "silu": functional.silu}


class Plain:
    """The whole field of one signal."""

    def __init__(
        self,
        arrays: Mapping[str, Tensor],
        angular: Tensor | None,
        heads: int,
        time_scale: float = 1.0,
        activation: str = "gelu",
        attention: str = "linear",
        scaled: bool = True,
    ) -> None:
        self.parameters = {name: array.detach().clone().requires_grad_() for name, array in arrays.items()}
        self.angular, self.heads, self.time_scale = angular, heads, time_scale
        self.activation, self.attention, self.scaled = ACTIVATIONS[activation], attention, scaled
        self.layers = len({name.split(".")[1] for name in arrays if name.startswith("layers.")})

    def __call__(self, coords: Tensor) -> Tensor:
        """The output at all points."""
        own, points = self.parameters, len(coords)
        placed = coords * torch.tensor([self.time_scale] + [1.0] * (coords.shape[1] - 1)).to(coords)
        features = placed[..., None]
        if self.angular is not None:
            angles = placed[..., None] * self.angular
            features = torch.cat([angles.cos(), angles.sin()], dim=-1)
        inputs = self._linear("features", features) + own["input"]
        latents = torch.cat([own["hidden"], own["output"]]).expand(points, -1, -1)
        tokens = torch.cat([inputs, latents], dim=1)
        for i in range(self.layers):
            tokens = tokens + self._attend(f"layers.{i}", self._norm(f"layers.{i}.norm_attention", tokens))
            wide = self._linear(f"layers.{i}.ffn_in", self._norm(f"layers.{i}.norm_ffn", tokens))
            tokens = tokens + self._linear(f"layers.{i}.ffn_out", self.activation(wide))
        return self._linear("readout", tokens[:, -len(own["output"]) :]).squeeze(-1)

    def _attend(self, layer: str, tokens: Tensor) -> Tensor:
        mixed = functional.linear(tokens, self.parameters[f"{layer}.query_key_value.weight"])
        query, key, value = (part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in mixed.chunk(3, dim=-1))
        scale = query.shape[-1] ** -0.5 if self.scaled else 1.0
        if self.attention == "linear":
            query, key = query.softmax(dim=-1) * scale, key.softmax(dim=-2)
            out = query @ (key.transpose(-1, -2) @ value)
        else:
            out = (query @ key.transpose(-1, -2) * scale).softmax(dim=-1) @ value
        return self._linear(f"{layer}.attention", out.transpose(1, 2).flatten(2))

    def _linear(self, name: str, values: Tensor) -> Tensor:
        return functional.linear(values, self.parameters[f"{name}.weight"], self.parameters[f"{name}.bias"])

    def _norm(self, name: str, tokens: Tensor) -> Tensor:
        if f"{name}.weight" not in self.parameters:
            return tokens
        weight, bias = self.parameters[f"{name}.weight"], self.parameters[f"{name}.bias"]
        return functional.layer_norm(tokens, tokens.shape[-1:], weight, bias)
