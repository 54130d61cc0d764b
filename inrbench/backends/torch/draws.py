"""Keyed draws in PyTorch: generators on the CPU, so that every device starts from the same numbers."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import nn

__all__ = ["init_linears", "torch_generator"]


def torch_generator(rng: np.random.Generator) -> torch.Generator:
    """A CPU generator seeded from the keyed ``rng``."""
    return torch.Generator().manual_seed(int(rng.integers(2**63)))


@torch.no_grad()
def init_linears(module: nn.Module, generator: torch.Generator) -> None:
    """Draw every linear layer of ``module`` anew: PyTorch's default, uniform in ±1/√in for weights and biases."""
    for layer in module.modules():
        if isinstance(layer, nn.Linear):
            bound = 1.0 / math.sqrt(layer.in_features)
            layer.weight.uniform_(-bound, bound, generator=generator)
            if layer.bias is not None:
                layer.bias.uniform_(-bound, bound, generator=generator)
