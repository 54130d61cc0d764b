"""What fields share: a linear layer whose arrays may have signals in front, and uniform draws."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["affine", "uniform"]


def affine(hidden: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """W h + b; each of weight [out, in], bias [out] and hidden [points, in] is shared, or has signals in front."""
    if bias.dim() == 2:
        bias = bias[:, None]
    if weight.dim() == 2:
        if bias.dim() == 1:
            return torch.nn.functional.linear(hidden, weight, bias)
        return torch.nn.functional.linear(hidden, weight) + bias
    if hidden.dim() == 2:
        hidden = hidden.expand(len(weight), -1, -1)
    return torch.baddbmm(bias, hidden, weight.mT)


def uniform(bound: float, generator: torch.Generator, *shape: int) -> Tensor:
    """Uniform draws in ±``bound`` of the given shape."""
    return (2.0 * torch.rand(shape, generator=generator) - 1.0) * bound
