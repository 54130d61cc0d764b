"""The layers of NeoMLP: from input tokens and latents to output tokens.

A layer is x + attention(x), then x + ffn(x). Rewrites leave what it computes as it is, up to rounding:

- before the first layer the hidden and output tokens are the same at all points of a signal, so their queries, keys and
  values are computed once for them all;
- behind the last layer only the output tokens are read, so its queries, its attention's output map and its feed-forward
  part are computed for these alone;
- linear attention takes its products in the cheaper order (`inrbench_neomlp.attention`), and its scale is multiplied
  into the map behind it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import gelu, layer_norm, linear, relu, silu

from inrbench_neomlp.attention import Attended, attended
from inrbench_neomlp.settings import NeoMLPSettings

__all__ = ["Kept", "Tensors", "output_tokens", "scale_of"]

Tensors = Mapping[str, Tensor]
ACTIVATIONS: Mapping[str, Callable[[Tensor], Tensor]] = {"gelu": gelu, "relu": relu, "silu": silu}


class Kept(NamedTuple):
    """What one layer computed on the way, for its derivative."""

    parts: Sequence[Tensor]  # its tokens; of the first layer inputs [own, points, ...] and latents [own, 1, ...]
    read: Sequence[Tensor]  # the same as attention reads them, behind a LayerNorm
    attended: Attended
    together: Tensor  # the output of all heads [signals, points, tokens, D]
    tokens: Tensor  # behind the attention
    read_tokens: Tensor  # the same as the feed-forward part reads them
    wide: Tensor  # before its activation
    active: Tensor  # and behind it


def scale_of(settings: NeoMLPSettings) -> float:
    """What the queries or the scores are multiplied by."""
    return (settings.dim // settings.heads) ** -0.5 if settings.attention_scale == "head-width" else 1.0


def output_tokens(
    settings: NeoMLPSettings,
    arrays: Tensors,
    inputs: Float[Tensor, "own points inputs dim"],
    latents: Float[Tensor, "signals nodes dim"],
    count: int,
    kept: list[Kept] | None = None,
) -> Float[Tensor, "own_or_signals points {count} dim"]:
    """The last ``count`` of the tokens behind the last layer; signals may share ``inputs``, which then has one.

    Each layer appends to ``kept`` what it computed.
    """
    dim, heads, scale = settings.dim, settings.heads, scale_of(settings)
    parts: list[Tensor] = [inputs, latents[:, None]]
    for i in range(settings.layers):
        layer, given = f"layers.{i}", parts
        read = [_normed(settings, arrays, f"{layer}.norm_attention", part) for part in parts]
        maps = arrays[f"{layer}.query_key_value.weight"]
        if i < settings.layers - 1:
            query, key, value = _in_heads(_joined([linear(part, maps) for part in read]), heads, 3)
            tokens = _joined(parts)
        else:
            key, value = _in_heads(_joined([linear(part, maps[dim:]) for part in read]), heads, 2)
            tokens, last = (_joined(each)[..., -count:, :] for each in (parts, read))
            (query,) = _in_heads(linear(last, maps[:dim]), heads, 1)
        mixed = attended(settings.attention, query, key, value, scale)
        together = mixed.output.view(-1, heads, *mixed.output.shape[1:]).transpose(1, 2).reshape(tokens.shape)
        out = arrays[f"{layer}.attention.weight"]
        if settings.attention == "linear":
            out = out * scale
        tokens = tokens + linear(together, out, arrays[f"{layer}.attention.bias"])
        read_tokens = _normed(settings, arrays, f"{layer}.norm_ffn", tokens)
        wide = linear(read_tokens, arrays[f"{layer}.ffn_in.weight"], arrays[f"{layer}.ffn_in.bias"])
        active = ACTIVATIONS[settings.activation](wide)
        parts = [tokens + linear(active, arrays[f"{layer}.ffn_out.weight"], arrays[f"{layer}.ffn_out.bias"])]
        if kept is not None:
            kept.append(Kept(given, read, mixed, together, tokens, read_tokens, wide, active))
    return parts[0]


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


def _normed(settings: NeoMLPSettings, arrays: Tensors, name: str, tokens: Tensor) -> Tensor:
    if not settings.layer_norm:
        return tokens
    return layer_norm(tokens, tokens.shape[-1:], arrays[f"{name}.weight"], arrays[f"{name}.bias"])
