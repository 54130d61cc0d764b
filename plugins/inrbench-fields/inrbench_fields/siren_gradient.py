"""A SIREN's loss, its gradient and the product with its Hessian, written out.

For one signal, with h_0 = sin(W_0 x + b_0), h_i = sin(W_i h_{i-1} + b_i), y = W h + b and L = Σ s (y - t)², where s is
1 / (points · channels), or each value's weight over the sum of all:

    e = ∂L/∂y = 2 s (y - t)                            q_last = e W        d_i = cos(a_i) ∘ q_i
    ∂L/∂W_i = d_iᵀ h_{i-1}                             ∂L/∂b_i = Σ d_i     q_{i-1} = d_i W_i

where a_i is the argument of the i-th sine and sums run over the points. The product of the Hessian with a direction is
the derivative R of these lines along it (Pearlmutter, 1994, Neural Computation 6(1)): forward
R a_i = W_i R h_{i-1} + V_i h_{i-1} + v_i, and back R d_i = cos(a_i) ∘ R q_i - sin(a_i) ∘ q_i ∘ R a_i. That is nine
products of a layer's size in all, and no more than autograd does; what is saved is memory traffic, since sine, cosine,
d and sine ∘ q are all that is kept, and nothing is kept where `recompute` asks for them to be computed again. Where
signals share their weights, as before the first step of an inner loop, they share the sines and cosines too.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from inrbench.backends.torch.compiled import compilable
from inrbench_fields.points import Shares, over_points, shares_of

__all__ = ["loss_and_gradient"]


class Layers(NamedTuple):
    """Weights [out, in] and biases [out] of sine layers, ω multiplied in; of every signal, or shared by all."""

    weights: Sequence[Tensor]
    biases: Sequence[Tensor]


class Kept(NamedTuple):
    """What a backward pass needs: sin(a_i), cos(a_i), d_i and sin(a_i) ∘ q_i of every sine layer, and e."""

    sines: Sequence[Tensor]
    cosines: Sequence[Tensor]
    slopes: Sequence[Tensor]
    curved: Sequence[Tensor]
    error: Tensor


def loss_and_gradient(
    sine: Layers,
    output: tuple[Tensor, Tensor],
    coords: Float[Tensor, "... points coord_dim"],
    target: Float[Tensor, "signals points channels"],
    *,
    weight: Float[Tensor, "*signals points channels"] | None,
    recompute: bool,
    precision: torch.dtype,
) -> tuple[Float[Tensor, " signals"], list[Tensor]]:
    """(each signal's mean squared error, its gradients to W_0, b_0, W_1, ... and to an output layer of its own).

    ``output`` is (weight, bias), shared [channels, width] or of every signal [signals, channels, width]. Where
    gradients are recorded both results can be differentiated once more, with respect to all arrays.
    """
    pairs = [array for pair in zip(sine.weights, sine.biases, strict=True) for array in pair]
    shares = shares_of(target, weight)
    if torch.is_grad_enabled():
        loss, *gradients = _LossAndGradient.apply(recompute, precision, shares, coords, target, *output, *pairs)  # type: ignore[no-untyped-call]
        return loss, gradients

    def part(coords: Tensor, target: Tensor, shares: Shares) -> tuple[Tensor, list[Tensor]]:
        loss, gradients, _ = _forward_and_back(sine, output, coords, target, shares, precision, keep=False)
        return loss, gradients

    return over_points(part, coords, target, shares, sine.weights[0].shape[-2])


class _LossAndGradient(torch.autograd.Function):
    """The loss and its gradient as one function of all arrays, with its derivative written out."""

    @staticmethod
    def forward(ctx: Any, recompute: bool, precision: torch.dtype, shares, coords, target, weight, bias, *pairs):  # type: ignore[no-untyped-def]
        ctx.set_materialize_grads(False)
        ctx.recompute, ctx.precision, ctx.shares, ctx.depth = recompute, precision, shares, len(pairs) // 2
        loss, gradients, kept = _forward_and_back(
            Layers(pairs[0::2], pairs[1::2]), (weight, bias), coords, target, shares, precision
        )
        stored = () if recompute else (*kept.sines, *kept.cosines, *kept.slopes, *kept.curved, kept.error)
        ctx.save_for_backward(coords, target, weight, bias, *pairs, *gradients, *stored)
        return loss, *gradients

    @staticmethod
    def backward(ctx: Any, to_loss, *direction):  # type: ignore[no-untyped-def]
        with torch.no_grad():
            results = _backward(ctx, to_loss, direction)
        if torch.is_grad_enabled():  # of this no derivative is written out, and none may be taken for zero
            given = [to_loss, *direction, *ctx.saved_tensors]
            results = _Final.apply(len(results), *results, *given)  # type: ignore[no-untyped-call]
        return None, None, None, None, None, *results  # in the order of forward's arguments


class _Final(torch.autograd.Function):
    """The first ``count`` of the values. They depend on the others too, but in a way that cannot be differentiated."""

    @staticmethod
    def forward(ctx: Any, count: int, *values):  # type: ignore[no-untyped-def]
        return tuple(None if value is None else value.view_as(value) for value in values[:count])

    @staticmethod
    def backward(ctx: Any, *upstream):  # type: ignore[no-untyped-def]
        raise RuntimeError(
            "a SIREN's written-out gradient can be differentiated once, and not twice; wrap the field so that it has "
            "no loss_and_gradient of its own"
        )


def _backward(ctx: Any, to_loss: Tensor | None, direction: Sequence[Tensor | None]) -> list[Tensor | None]:
    """The derivative of Σ to_loss · loss + ⟨direction, gradients⟩ to output weight, output bias, W_0, b_0, W_1, ..."""
    depth = ctx.depth
    coords, target, weight, bias, *rest = ctx.saved_tensors
    pairs, rest = rest[: 2 * depth], rest[2 * depth :]
    gradients, stored = rest[: len(direction)], rest[len(direction) :]
    sine, output = Layers(pairs[0::2], pairs[1::2]), (weight, bias)
    if ctx.recompute:
        _, _, kept = _forward_and_back(sine, output, coords, target, ctx.shares, ctx.precision, gradient=False)
    else:
        sines, cosines, slopes, curved = (stored[place * depth : (place + 1) * depth] for place in range(4))
        kept = Kept(sines, cosines, slopes, curved, stored[-1])
    results: list[Tensor | None] = [None] * (2 + 2 * depth)
    if any(part is not None for part in direction):
        given = [torch.zeros_like(g) if part is None else part for part, g in zip(direction, gradients, strict=True)]
        results = list(_hessian_product(sine, output, coords, kept, given, ctx.shares, ctx.precision))
    if to_loss is not None:
        arrays = (*pairs, *output) if output[0].dim() == 3 else pairs
        for place, product in enumerate(_first_order(to_loss, output, arrays, gradients, kept)):
            before = results[place]
            results[place] = product if before is None else before.add_(product)
    return results


@compilable
def _forward_and_back(
    sine: Layers,
    output: tuple[Tensor, Tensor],
    coords: Tensor,
    target: Tensor,
    shares: Shares,
    precision: torch.dtype,
    *,
    gradient: bool = True,
    keep: bool = True,
) -> tuple[Tensor, list[Tensor], Kept]:
    """(loss [signals], gradients in order or none, what was computed on the way; parts of it where nothing is kept)."""
    full, depth = target.dtype, len(sine.weights)
    sines: list[Tensor] = []
    cosines: list[Tensor] = []
    for i in range(depth):
        # the first layer's arguments are large and its product is small: it stays in full precision
        argument = (
            _affine(coords, sine.weights[0], sine.biases[0])
            if i == 0
            else _affine(sines[-1], sine.weights[i].to(precision), sine.biases[i].to(precision))
        )
        sines.append(torch.sin(argument).to(precision))
        cosines.append(torch.cos(argument, out=argument).to(precision))
    weight = output[0].to(precision)
    residual = _affine(sines[-1], weight, output[1].to(precision)).to(full) - target
    loss = (residual.square() * shares).sum((1, 2))
    error = residual.mul_(2.0 * shares)

    gradients: list[Tensor] = []
    if output[0].dim() == 3 and gradient:
        gradients += [_outer(error.to(precision), sines[-1]).to(full), error.sum(1)]
    pulled = _pull(error.to(precision), weight)
    layers: list[Tensor] = []
    slopes: list[Tensor] = []
    curved: list[Tensor] = []
    for i in reversed(range(depth)):
        d = cosines[i] * pulled
        if keep:
            slopes.insert(0, d)
            curved.insert(0, pulled.mul_(sines[i]))
        else:
            del cosines[i]
        if gradient:
            before = coords.to(precision) if i == 0 else sines[i - 1]
            layers = [_outer(d, before).to(full), d.sum(1, dtype=full), *layers]
        if i:
            pulled = _pull(d, sine.weights[i].to(precision))
    return loss, layers + gradients, Kept(sines, cosines, slopes, curved, error)


@compilable
def _hessian_product(
    sine: Layers,
    output: tuple[Tensor, Tensor],
    coords: Tensor,
    kept: Kept,
    direction: Sequence[Tensor],
    shares: Shares,
    precision: torch.dtype,
) -> list[Tensor]:
    """The derivative of ⟨direction, gradient⟩ to output weight, output bias, W_0, b_0, W_1, ..."""
    full, depth = kept.error.dtype, len(sine.weights)
    sines, cosines, slopes, curved, _ = kept
    error, weight = kept.error.to(precision), output[0].to(precision)
    moves = [part.to(precision) for part in direction]
    arguments: list[Tensor] = []  # R a_i
    moved: list[Tensor] = []  # R h_i
    for i in range(depth):
        if i == 0:
            argument = _affine(coords, direction[0], direction[1]).to(precision)
        else:
            argument = _affine(sines[i - 1], moves[2 * i], moves[2 * i + 1])
            argument = _add_product(argument, moved[-1], sine.weights[i].to(precision).mT)
        arguments.append(argument)
        moved.append(cosines[i] * argument)
    moved_error = torch.matmul(moved[-1], weight.mT)
    own_output = output[0].dim() == 3
    if own_output:
        moved_error += _affine(sines[-1], moves[2 * depth], moves[2 * depth + 1])
    moved_error = moved_error.mul_(2.0 * shares)
    if own_output:
        to_weight = _outer(moved_error, sines[-1]).baddbmm_(error.mT, moved[-1]).to(full)
        to_bias = moved_error.sum(1, dtype=full)
    else:
        to_weight = (_outer_over_all(moved_error, sines[-1]) + _outer_over_all(error, moved[-1])).to(full)
        to_bias = moved_error.sum((0, 1), dtype=full)
    back = _pull(moved_error, weight)  # R q_i
    if own_output:
        back.baddbmm_(error, moves[2 * depth])
    layers: list[Tensor] = []
    for i in reversed(range(depth)):
        moved_d = back.mul_(cosines[i]).addcmul_(arguments[i], curved[i], value=-1)  # R d_i
        shared = sine.weights[i].dim() == 2
        outer = _outer_over_all if shared else _outer
        to_layer_bias = moved_d.sum((0, 1) if shared else 1, dtype=full)
        if i == 0:
            layers = [outer(moved_d, coords.to(precision)).to(full), to_layer_bias, *layers]
            break
        product = outer(moved_d, sines[i - 1])
        product = product + outer(slopes[i], moved[i - 1]) if shared else product.baddbmm_(slopes[i].mT, moved[i - 1])
        layers = [product.to(full), to_layer_bias, *layers]
        back = _pull(moved_d, sine.weights[i].to(precision)).baddbmm_(slopes[i], moves[2 * i])
    return [to_weight, to_bias, *layers]


def _first_order(
    to_loss: Tensor, output: tuple[Tensor, Tensor], arrays: Sequence[Tensor], gradients: Sequence[Tensor], kept: Kept
) -> list[Tensor]:
    """The derivative of Σ to_loss · loss to output weight, output bias, W_0, b_0, W_1, ..."""
    layers = [gradient * to_loss.view(-1, *[1] * (gradient.dim() - 1)) for gradient in gradients]
    layers = [layer.sum(0) if array.dim() < layer.dim() else layer for layer, array in zip(layers, arrays, strict=True)]
    if output[0].dim() == 3:
        return [*layers[-2:], *layers[:-2]]
    error = kept.error * to_loss[:, None, None]
    return [_outer_over_all(error, kept.sines[-1].to(error.dtype)), error.sum((0, 1)), *layers]


def _affine(hidden: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """W h + b; [points, out] where neither h nor W is each signal's own, else [signals, points, out]."""
    if weight.dim() == 2:
        return torch.nn.functional.linear(hidden, weight, bias)
    inputs = hidden.expand(len(weight), -1, -1) if hidden.dim() == 2 else hidden
    return torch.baddbmm(bias[:, None], inputs, weight.mT)


def _add_product(values: Tensor, hidden: Tensor, factor: Tensor) -> Tensor:
    """Adds h A in place; A [in, out] may be shared."""
    if factor.dim() == 2:
        values.view(-1, values.shape[-1]).addmm_(hidden.reshape(-1, hidden.shape[-1]), factor)
        return values
    return values.baddbmm_(hidden, factor)


def _pull(upstream: Tensor, weight: Tensor) -> Tensor:
    """Upstream g times W, of g [signals, points, out]."""
    return torch.matmul(upstream, weight) if weight.dim() == 2 else torch.bmm(upstream, weight)


def _outer(upstream: Tensor, inputs: Tensor) -> Tensor:
    """gᵀ h, the sum over the points of each signal, of g [signals, points, out]."""
    own = inputs.expand(len(upstream), -1, -1) if inputs.dim() == 2 else inputs
    if own.shape[-1] < upstream.shape[-1]:  # a product of few columns is several times slower than one of few rows
        return torch.bmm(own.mT, upstream).mT
    return torch.bmm(upstream.mT, own)


def _outer_over_all(upstream: Tensor, inputs: Tensor) -> Tensor:
    """gᵀ h, the sum over the points of all signals, of g [signals, points, out]."""
    if inputs.dim() == 2:
        return upstream.sum(0).mT @ inputs
    return upstream.reshape(-1, upstream.shape[-1]).mT @ inputs.reshape(-1, inputs.shape[-1])
