"""Trans-INR on images in plain PyTorch, as a careful user writes it: what tests and benchmarks compare with.

Batched over signals: patches by `unfold`, attention as softmax(q kᵀ / √values) v, every block for all tokens, each
signal's coordinates encoded at every step, the field's matrices with their biases as a last row, as the paper has them,
and an einsum for each layer of the field, whose inputs have a 1 at their end; autograd. The mathematics is that of Chen
and Wang, 2022 (arXiv 2208.02801) with the defaults of `inrbench_trans_inr`, of which nothing is imported.

    model = Plain(state, patch=9, pad=1, heads=12)
    loss = model.loss(images, coords)  # [signals, height, width, channels] in [0, 1]; [height, width, 2] in [-1, 1]
    loss.backward()                    # gradients are in model.parameters, named as `state`

``state`` has the names and arrays of the plugin's hypernetwork; the field has ReLU layers ``layers.0``, ... and
``output``, behind 64 frequencies from 1 to 1024.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

__all__ = ["Plain"]

FREQUENCIES, HIGHEST, OFFSET = 64, 1024.0, 0.5


class Plain:
    """The hypernetwork and its field."""

    def __init__(self, state: Mapping[str, Any], patch: int, pad: int, heads: int, device: str = "cpu") -> None:
        self.parameters = {n: torch.tensor(array, device=device, requires_grad=True) for n, array in state.items()}
        self.patch, self.pad, self.heads = patch, pad, heads
        self.blocks = len({name.split(".")[2] for name in state if name.startswith("transformer.blocks.")})
        self.layers = [name.removeprefix("base.").removesuffix("_weight") for name in state if name.startswith("base.")]

    def loss(self, images: Tensor, coords: Tensor) -> Tensor:
        """The mean squared error over all images."""
        tokens = self.transformed(self.tokens(images))
        predicted = self.values(self.fields(tokens), coords)
        return (predicted - images).square().mean()

    def tokens(self, images: Tensor) -> Tensor:
        """Patches, mapped linearly, with their positions."""
        planes = functional.pad(images.movedim(-1, 1), (self.pad,) * 4)
        columns = functional.unfold(planes, self.patch, stride=self.patch)  # [signals, channels row column, patches]
        patches = columns.unflatten(1, (planes.shape[1], -1)).permute(0, 3, 2, 1).flatten(2)
        return self._linear("tokenizer.linear", patches) + self.parameters["tokenizer.position"]

    def transformed(self, data: Tensor) -> Tensor:
        """The weight tokens behind the last block."""
        learned = self.parameters["transformer.weight_tokens"]
        hidden = torch.cat([data, learned.repeat(len(data), 1, 1)], dim=1)
        for i in range(self.blocks):
            block = f"transformer.blocks.{i}"
            mixed = self._norm(f"{block}.norm_attention", hidden) @ self.parameters[f"{block}.query_key_value.weight"].T
            query, key, value = (part.unflatten(2, (self.heads, -1)).transpose(1, 2) for part in mixed.chunk(3, dim=-1))
            scores = torch.matmul(query, key.transpose(-1, -2)) / math.sqrt(query.shape[-1])
            attended = torch.matmul(scores.softmax(dim=-1), value).transpose(1, 2).flatten(2)
            hidden = hidden + self._linear(f"{block}.out", attended)
            widened = functional.gelu(self._linear(f"{block}.widen", self._norm(f"{block}.norm_feed", hidden)))
            hidden = hidden + self._linear(f"{block}.narrow", widened)
        return hidden[:, -len(learned) :]

    def fields(self, tokens: Tensor) -> list[Tensor]:
        """The matrix of each layer, [signals, in + 1, out], the bias last."""
        found, first = [], 0
        total = tokens.shape[1]
        sizes = [len(self.parameters[f"base.{layer}_weight"]) for layer in self.layers]
        groups = next(g for g in range(1, total + 1) if sum(min(g, size) for size in sizes) == total)
        for i, layer in enumerate(self.layers):
            base = self.parameters[f"base.{layer}_weight"]
            g = min(groups, len(base))
            own = tokens[:, first : first + g]
            vectors = self._linear(f"heads.{i}.1", self._norm(f"heads.{i}.0", own))
            columns = base * vectors[:, torch.arange(len(base)) % g]
            bias = self.parameters[f"shared.{layer}_bias"].expand(len(columns), 1, -1)
            found.append(torch.cat([functional.normalize(columns, dim=-1).transpose(1, 2), bias], dim=1))
            first += g
        return found

    def values(self, fields: list[Tensor], coords: Tensor) -> Tensor:
        """The fields' values at the pixels ``coords``, [signals, height, width, channels]."""
        frequencies = math.pi * torch.exp(torch.linspace(0.0, math.log(HIGHEST), FREQUENCIES))
        every = coords.flatten(0, 1).repeat(len(fields[0]), 1, 1)
        angles = (every[..., None] * frequencies.to(coords)).flatten(2)
        hidden = torch.cat([angles.cos(), angles.sin()], dim=-1)
        for i, matrix in enumerate(fields):
            hidden = torch.cat([hidden, torch.ones_like(hidden[..., :1])], dim=-1)
            hidden = torch.einsum("spi,sio->spo", hidden, matrix)
            if i < len(fields) - 1:
                hidden = torch.relu(hidden)
        return (hidden + OFFSET).unflatten(1, coords.shape[:2])

    def _linear(self, name: str, values: Tensor) -> Tensor:
        return functional.linear(values, self.parameters[f"{name}.weight"], self.parameters[f"{name}.bias"])

    def _norm(self, name: str, values: Tensor) -> Tensor:
        weight, bias = self.parameters[f"{name}.weight"], self.parameters[f"{name}.bias"]
        return functional.layer_norm(values, weight.shape, weight, bias)
