"""Linear and softmax attention, with their derivatives written out; all arrays are [heads of all points, tokens, ...].

Linear attention (Shen et al., 2021, arXiv 1812.01243) is q̃ (k̃ᵀ v) with q̃ the softmax of the queries over features and k̃
that of the keys over tokens. It is computed as (q̃ k̃ᵀ) v where that needs fewer multiply-adds: there are often fewer
tokens than features in a head.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

__all__ = ["Attended", "attended", "attention_gradients", "linear_attention", "softmax_attention", "softmax_gradient"]


class Attended(NamedTuple):
    """What an attention computed: its arguments (of linear attention their softmaxes), what is between, its output."""

    query: Tensor
    key: Tensor
    value: Tensor
    between: Tensor  # q̃ k̃ᵀ, or k̃ᵀ v; of softmax attention the softmax of its scores
    output: Tensor


def linear_attention(
    query: Float[Tensor, "heads queries features"],
    key: Float[Tensor, "heads tokens features"],
    value: Float[Tensor, "heads tokens features"],
) -> Attended:
    """softmax(q, over features) softmax(k, over tokens)ᵀ v, not scaled."""
    query, key = query.softmax(-1), key.softmax(-2)
    if _tokens_first(query, key):
        between = torch.bmm(query, key.mT)
        return Attended(query, key, value, between, torch.bmm(between, value))
    between = torch.bmm(key.mT, value)
    return Attended(query, key, value, between, torch.bmm(query, between))


def softmax_attention(
    query: Float[Tensor, "heads queries features"],
    key: Float[Tensor, "heads tokens features"],
    value: Float[Tensor, "heads tokens features"],
    scale: float,
) -> Attended:
    """softmax(scale · q kᵀ, over tokens) v."""
    between = (torch.bmm(query, key.mT) * scale).softmax(-1)
    return Attended(query, key, value, between, torch.bmm(between, value))


def attended(kind: str, query: Tensor, key: Tensor, value: Tensor, scale: float) -> Attended:
    """Attention of one ``kind``; linear attention leaves ``scale`` to what comes behind it."""
    return linear_attention(query, key, value) if kind == "linear" else softmax_attention(query, key, value, scale)


def attention_gradients(kind: str, kept: Attended, upstream: Tensor, scale: float) -> tuple[Tensor, Tensor, Tensor]:
    """The gradients to the queries, keys and values that `attended` was given."""
    query, key, value, between, _ = kept
    if kind == "linear" and not _tokens_first(query, key):
        to_between = torch.bmm(query.mT, upstream)
        to_query, to_key = torch.bmm(upstream, between.mT), torch.bmm(value, to_between.mT)
        to_value = torch.bmm(key, to_between)
    else:
        to_between = torch.bmm(upstream, value.mT)
        if kind != "linear":
            to_between = softmax_gradient(to_between, between, -1) * scale
        to_query, to_key = torch.bmm(to_between, key), torch.bmm(to_between.mT, query)
        to_value = torch.bmm(between.mT, upstream)
    if kind == "linear":
        to_query, to_key = softmax_gradient(to_query, query, -1), softmax_gradient(to_key, key, -2)
    return to_query, to_key, to_value


def softmax_gradient(upstream: Tensor, softmax: Tensor, axis: int) -> Tensor:
    """(g - Σ g y) y, with the sum along ``axis``."""
    result: Tensor = torch.ops.aten._softmax_backward_data(upstream, softmax, axis, softmax.dtype)
    return result


def _tokens_first(query: Tensor, key: Tensor) -> bool:
    """Whether (q kᵀ) v needs fewer multiply-adds than q (kᵀ v)."""
    queries, tokens, features = query.shape[1], key.shape[1], key.shape[2]
    return 2 * queries * tokens <= (queries + tokens) * features
