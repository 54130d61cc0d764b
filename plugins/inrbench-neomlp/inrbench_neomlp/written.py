"""The derivative of NeoMLP's layers, written out: what autograd finds, in fewer passes over less memory.

For one layer, with x its tokens, y = x + W_o a + b_o, h = W_1 y + b_1 and x' = y + W_2 φ(h) + b_2:

    ∂φ = g W_2            ∂W_2 = gᵀ φ(h)       ∂h = φ'(h) ∘ ∂φ
    g ← g + ∂h W_1        ∂W_1 = ∂hᵀ y         (the gradient to y)
    ∂a = g W_o            ∂W_o = gᵀ a          from ∂a to queries, keys and values: `inrbench_neomlp.attention`
    g ← g + ∂qkv W_qkv    ∂W_qkv = ∂qkvᵀ x     (the gradient to x)

where g is the gradient to x' at first. Gradients to weights add to what other points left there. What points share, the
latents before the first layer, gets the sum of their gradients before any product.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from inrbench_neomlp.attention import attention_gradients
from inrbench_neomlp.network import Kept, Tensors, scale_of
from inrbench_neomlp.settings import NeoMLPSettings

__all__ = ["layer_gradients", "through_linear"]

#: From the gradient behind an activation and what the activation was of to that before it, in place of the former.
SLOPES: Mapping[str, Callable[[Tensor, Tensor], Tensor]] = {
    "gelu": lambda upstream, wide: torch.ops.aten.gelu_backward.grad_input(upstream, wide, grad_input=upstream),
    "relu": lambda upstream, wide: torch.ops.aten.threshold_backward.grad_input(upstream, wide, 0, grad_input=upstream),
    "silu": lambda upstream, wide: torch.ops.aten.silu_backward.grad_input(upstream, wide, grad_input=upstream),
}


def layer_gradients(
    settings: NeoMLPSettings, arrays: Tensors, kept: Sequence[Kept], upstream: Tensor, into: Tensors
) -> tuple[Tensor, Tensor]:
    """(the gradient to the inputs, to the latents), in the shapes in which the first layer kept them.

    ``upstream`` [signals, points, outputs, D] is that to the output tokens, and is written over. Gradients to the
    arrays that ``into`` names are added there.
    """
    dim, count = settings.dim, upstream.shape[-2]
    for i in reversed(range(settings.layers)):
        layer, step, last = f"layers.{i}", kept[i], i == settings.layers - 1
        _through_feed_forward(settings, arrays, layer, step, upstream, into)
        query, key, value = _through_attention(settings, arrays, layer, step, upstream, into)
        name, shape = f"{layer}.query_key_value", upstream.shape[:2]
        if last:
            below = _through_maps(name, slice(dim, None), _mapped([key, value], shape), step.read, arrays, into)
            tail = step.read[-1][..., -count:, :]
            (to_tail,) = _through_maps(name, slice(dim), _mapped([query], shape), [tail], arrays, into)
            below[-1][..., -count:, :] += to_tail
        else:
            below = _through_maps(name, slice(None), _mapped([query, key, value], shape), step.read, arrays, into)
        norm = f"{layer}.norm_attention"
        below = [_through_norm(settings, arrays, norm, *one, into) for one in zip(step.parts, below, strict=True)]
        if last:
            below[-1][..., -count:, :] += _shared(upstream, step.parts[-1])
        else:
            for part, beside in zip(below, _apart(upstream, step.parts), strict=True):
                part += beside
        upstream = below[0]
    return below[0], below[1]


def through_linear(name: str, upstream: Tensor, tokens: Tensor, into: Tensors, scale: float = 1.0) -> None:
    """Add the gradients to weight and bias of the map ``name``, behind which ``upstream`` is and ``scale`` was."""
    flat = upstream.reshape(-1, upstream.shape[-1])
    if f"{name}.weight" in into:
        into[f"{name}.weight"].addmm_(flat.T, tokens.reshape(-1, tokens.shape[-1]), alpha=scale)
    if f"{name}.bias" in into:
        into[f"{name}.bias"].add_(flat.sum(0))


def _through_feed_forward(
    settings: NeoMLPSettings, arrays: Tensors, layer: str, step: Kept, upstream: Tensor, into: Tensors
) -> None:
    """``upstream`` becomes the gradient to what the feed-forward part adds to."""
    through_linear(f"{layer}.ffn_out", upstream, step.active, into)
    wide = SLOPES[settings.activation](upstream @ arrays[f"{layer}.ffn_out.weight"], step.wide)
    through_linear(f"{layer}.ffn_in", wide, step.read_tokens, into)
    to_read = wide @ arrays[f"{layer}.ffn_in.weight"]
    upstream += _through_norm(settings, arrays, f"{layer}.norm_ffn", step.tokens, to_read, into)


def _through_attention(
    settings: NeoMLPSettings, arrays: Tensors, layer: str, step: Kept, upstream: Tensor, into: Tensors
) -> tuple[Tensor, Tensor, Tensor]:
    """The gradients to queries, keys and values [heads of all points, tokens, features]."""
    scale = scale_of(settings)
    behind = scale if settings.attention == "linear" else 1.0
    through_linear(f"{layer}.attention", upstream, step.together, into, behind)
    together = upstream @ (arrays[f"{layer}.attention.weight"] * behind)
    apart = together.view(-1, together.shape[-2], settings.heads, settings.dim // settings.heads)
    by_head = apart.transpose(1, 2).reshape(step.attended.output.shape)
    return attention_gradients(settings.attention, step.attended, by_head, scale)


def _through_maps(
    name: str, rows: slice, upstream: Tensor, tokens: Sequence[Tensor], arrays: Tensors, into: Tensors
) -> list[Tensor]:
    """The gradients to ``tokens``, through ``rows`` of their common map."""
    key = f"{name}.weight"
    own = {key: into[key][rows]} if key in into else {}
    pieces = _apart(upstream, tokens)
    for piece, part in zip(pieces, tokens, strict=True):
        through_linear(name, piece, part, own)
    maps = arrays[key][rows]
    return [(piece.reshape(-1, len(maps)) @ maps).view(part.shape) for piece, part in zip(pieces, tokens, strict=True)]


def _through_norm(
    settings: NeoMLPSettings, arrays: Tensors, name: str, tokens: Tensor, upstream: Tensor, into: Tensors
) -> Tensor:
    """The gradient to what a LayerNorm was of; without LayerNorm that behind it."""
    if not settings.layer_norm:
        return upstream
    weight, bias = arrays[f"{name}.weight"], arrays[f"{name}.bias"]
    shape = [tokens.shape[-1]]
    _, mean, deviation = torch.native_layer_norm(tokens, shape, weight, bias, 1e-5)
    found = torch.ops.aten.native_layer_norm_backward(
        upstream, tokens, shape, mean, deviation, weight, bias, [True, True, True]
    )
    for key, gradient in zip((f"{name}.weight", f"{name}.bias"), found[1:], strict=True):
        if key in into:
            into[key].add_(gradient)
    result: Tensor = found[0]
    return result


def _mapped(parts: Sequence[Tensor], shape: Sequence[int]) -> Tensor:
    """From [signals · points · heads, tokens, features] each to [signals, points, tokens, parts · D] side by side."""
    rows, tokens, features = parts[0].shape
    points = shape[0] * shape[1]
    whole = parts[0].new_empty(points, tokens, len(parts), rows // points, features)
    for i, part in enumerate(parts):
        whole[:, :, i] = part.view(points, -1, tokens, features).transpose(1, 2)
    return whole.view(*shape, tokens, -1)


def _apart(joined: Tensor, parts: Sequence[Tensor]) -> list[Tensor]:
    """The gradients [signals, points, tokens, width] of joined tokens as those of their ``parts``."""
    pieces = torch.split(joined, [part.shape[-2] for part in parts], dim=-2)
    return [_shared(piece, part) for piece, part in zip(pieces, parts, strict=True)]


def _shared(gradient: Tensor, part: Tensor) -> Tensor:
    """``gradient`` summed over the signals and over the points that share ``part``."""
    for axis in (0, 1):
        if part.shape[axis] < gradient.shape[axis]:
            gradient = gradient.sum(axis, keepdim=True)
    return gradient
