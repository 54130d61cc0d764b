"""The layers of NeoMLP: from input tokens and latents to output tokens.

A layer is x + attention(x), then x + ffn(x). Three rewrites leave what it computes as it is, up to rounding:

- before the first layer the hidden and output tokens are the same at all points of a signal, so their queries, keys and
  values are computed once for them all;
- behind the last layer only the output tokens are read, so its queries, its attention's output map and its feed-forward
  part are computed for these alone;
- linear attention is (q kᵀ) v or q (kᵀ v), whichever needs fewer multiply-adds: there are often fewer tokens than
  features in a head.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import gelu, layer_norm, linear, relu, silu

from inrbench_neomlp.settings import NeoMLPSettings

__all__ = ["linear_attention", "output_tokens", "softmax_attention"]

ACTIVATIONS: Mapping[str, Callable[[Tensor], Tensor]] = {"gelu": gelu, "relu": relu, "silu": silu}


def output_tokens(
    settings: NeoMLPSettings,
    arrays: Mapping[str, Tensor],
    inputs: Float[Tensor, "own points inputs dim"],
    latents: Float[Tensor, "signals nodes dim"],
    count: int,
) -> Float[Tensor, "own_or_signals points {count} dim"]:
    """The last ``count`` of the tokens behind the last layer; signals may share ``inputs``, which then has one."""
    dim = settings.dim
    scale = (dim // settings.heads) ** -0.5 if settings.attention_scale == "head-width" else 1.0
    parts: list[Tensor] = [inputs, latents[:, None]]
    for i in range(settings.layers):
        layer = f"layers.{i}"
        read = [_normed(settings, arrays, f"{layer}.norm_attention", part) for part in parts]
        maps = arrays[f"{layer}.query_key_value.weight"]
        key, value = _in_heads(_joined([linear(part, maps[dim:]) for part in read]), settings.heads, 2)
        if i == settings.layers - 1:
            parts, read = ([_joined(tokens)[..., -count:, :]] for tokens in (parts, read))
        (query,) = _in_heads(_joined([linear(part, maps[:dim]) for part in read]), settings.heads, 1)
        tokens, out = _joined(parts), arrays[f"{layer}.attention.weight"]
        if settings.attention == "linear":
            mixed, out = linear_attention(query, key, value), out * scale  # of the queries, but there are more of them
        else:
            mixed = softmax_attention(query, key, value, scale)
        together = mixed.view(-1, settings.heads, *mixed.shape[1:]).transpose(1, 2).reshape(tokens.shape)
        tokens = tokens + linear(together, out, arrays[f"{layer}.attention.bias"])
        read_tokens = _normed(settings, arrays, f"{layer}.norm_ffn", tokens)
        wide = linear(read_tokens, arrays[f"{layer}.ffn_in.weight"], arrays[f"{layer}.ffn_in.bias"])
        active = ACTIVATIONS[settings.activation](wide)
        parts = [tokens + linear(active, arrays[f"{layer}.ffn_out.weight"], arrays[f"{layer}.ffn_out.bias"])]
    return parts[0]


def linear_attention(
    query: Float[Tensor, "heads queries features"],
    key: Float[Tensor, "heads tokens features"],
    value: Float[Tensor, "heads tokens features"],
) -> Float[Tensor, "heads queries features"]:
    """softmax(q, over features) softmax(k, over tokens)ᵀ v (Shen et al., 2021, arXiv 1812.01243), not scaled."""
    query, key = query.softmax(-1), key.softmax(-2)
    queries, tokens, features = query.shape[1], *key.shape[1:]
    if 2 * queries * tokens <= (queries + tokens) * features:
        return torch.bmm(torch.bmm(query, key.mT), value)
    return torch.bmm(query, torch.bmm(key.mT, value))


def softmax_attention(
    query: Float[Tensor, "heads queries features"],
    key: Float[Tensor, "heads tokens features"],
    value: Float[Tensor, "heads tokens features"],
    scale: float,
) -> Float[Tensor, "heads queries features"]:
    """softmax(scale · q kᵀ, over tokens) v."""
    return torch.bmm((torch.bmm(query, key.mT) * scale).softmax(-1), value)


def _joined(parts: Sequence[Tensor]) -> Tensor:
    """Tokens [..., tokens, width] of all parts, each repeated over the signals and points that it is shared by."""
    if len(parts) == 1:
        return parts[0]
    signals, points = (max(part.shape[axis] for part in parts) for axis in (0, 1))
    return torch.cat([part.expand(signals, points, -1, -1) for part in parts], dim=-2)


def _in_heads(tokens: Tensor, heads: int, count: int) -> Tensor:
    """From [signals, points, tokens, ``count`` · D] to [``count``, signals · points · heads, tokens, features]."""
    apart = tokens.reshape(-1, tokens.shape[-2], count, heads, tokens.shape[-1] // (count * heads))
    return apart.permute(2, 0, 3, 1, 4).reshape(count, -1, tokens.shape[-2], apart.shape[-1])


def _normed(settings: NeoMLPSettings, arrays: Mapping[str, Tensor], name: str, tokens: Tensor) -> Tensor:
    if not settings.layer_norm:
        return tokens
    return layer_norm(tokens, tokens.shape[-1:], arrays[f"{name}.weight"], arrays[f"{name}.bias"])
