"""Linear maps batched over signals, whose gradients of every order are contiguous.

PyTorch differentiates ``bmm`` twice through transposed views; elementwise work on those is several times slower on a
CPU. The three products below are each other's derivatives, so that differentiating never leaves them.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

__all__ = ["batched_linear"]


def batched_linear(
    inputs: Float[Tensor, "signals points in_dim"],
    weight: Float[Tensor, "signals out_dim in_dim"],
    bias: Float[Tensor, "signals out_dim"],
) -> Float[Tensor, "signals points out_dim"]:
    """W h + b for every signal's own W and b."""
    if not torch.is_grad_enabled():
        return torch.baddbmm(bias[:, None], inputs, weight.mT)
    return _apply(inputs, weight) + bias[:, None]


class _Apply(torch.autograd.Function):
    """h Wᵀ of h [signals, points, in] and W [signals, out, in]."""

    @staticmethod
    def forward(ctx, inputs, weight):  # type: ignore[no-untyped-def]
        ctx.save_for_backward(inputs, weight)
        return torch.bmm(inputs, weight.mT)

    @staticmethod
    def backward(ctx, upstream):  # type: ignore[no-untyped-def]
        inputs, weight = ctx.saved_tensors
        to_inputs = _pull(upstream, weight) if ctx.needs_input_grad[0] else None
        return to_inputs, _outer(upstream, inputs) if ctx.needs_input_grad[1] else None


class _Pull(torch.autograd.Function):
    """g W of g [signals, points, out] and W [signals, out, in]."""

    @staticmethod
    def forward(ctx, upstream, weight):  # type: ignore[no-untyped-def]
        ctx.save_for_backward(upstream, weight)
        return torch.bmm(upstream, weight)

    @staticmethod
    def backward(ctx, direction):  # type: ignore[no-untyped-def]
        upstream, weight = ctx.saved_tensors
        to_upstream = _apply(direction, weight) if ctx.needs_input_grad[0] else None
        return to_upstream, _outer(upstream, direction) if ctx.needs_input_grad[1] else None


class _Outer(torch.autograd.Function):
    """gᵀ h of g [signals, points, out] and h [signals, points, in]: the sum of outer products over the points."""

    @staticmethod
    def forward(ctx, upstream, inputs):  # type: ignore[no-untyped-def]
        ctx.save_for_backward(upstream, inputs)
        return torch.bmm(upstream.mT, inputs)

    @staticmethod
    def backward(ctx, direction):  # type: ignore[no-untyped-def]
        upstream, inputs = ctx.saved_tensors
        to_upstream = _apply(inputs, direction) if ctx.needs_input_grad[0] else None
        return to_upstream, _pull(upstream, direction) if ctx.needs_input_grad[1] else None


_apply: Callable[..., Tensor] = _Apply.apply
_pull: Callable[..., Tensor] = _Pull.apply
_outer: Callable[..., Tensor] = _Outer.apply
