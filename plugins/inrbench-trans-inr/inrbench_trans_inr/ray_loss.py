"""The error of generated fields along rays: rendered by chunks, with the gradient ready when it is done.

As in `inrbench_trans_inr.field_loss`, all that is needed of the fields is the gradient to their weights. Rendering
signal after signal keeps what it computes in a CPU's cache, and each signal's field is differentiated where its own
density says.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor

from inrbench.backends.torch.fields import autograd_loss_and_gradient
from inrbench.backends.torch.precision import precision_here
from inrbench.backends.torch.rendering import RadianceField, render
from inrbench_trans_inr.field_loss import CHUNK_BYTES, in_front, with_gradients
from inrbench_trans_inr.seen_rays import SeenRays

__all__ = ["ray_loss"]

Tensors = Mapping[str, Tensor]


def ray_loss(
    field: RadianceField, arrays: Tensors, seen: SeenRays, jitter: int | None = None
) -> Float[Tensor, " signals"]:
    """Each signal's mean squared error along its rays, in the field's own range.

    Arrays without signals in front are shared by all. ``jitter`` is the seed of moves of the samples, which are the
    same for every signal; without it none moves.
    """
    scale, offset = field.to_unit
    target = (seen.values - offset) / scale
    signals, count = target.shape[:2]
    own = in_front(arrays, signals)
    leaves = {name: array.detach() for name, array in own.items()}
    losses, precision = target.new_zeros(signals), precision_here(target.device)
    gradients = {name: torch.zeros_like(array, memory_format=torch.contiguous_format) for name, array in leaves.items()}
    together, some = _chunk(leaves, signals, count, field.num_samples, target.device.type)
    for first in range(0, signals, together):
        these = slice(first, first + together)
        generator = None if jitter is None else torch.Generator().manual_seed(jitter)
        for start in range(0, count, some):
            rays = slice(start, start + some)
            origins, directions = seen.origins[these, rays], seen.directions[these, rays]

            def predict(arrays: Tensors, origins: Tensor = origins, directions: Tensor = directions) -> Tensor:
                return render(field, arrays, origins, directions, *seen.bounds, field.num_samples, generator)  # noqa: B023

            with torch.no_grad():
                part = {name: array[these] for name, array in leaves.items()}
                loss, found = autograd_loss_and_gradient(
                    predict, part, target[these, rays], list(part), precision=precision
                )
                share = origins.shape[1] / count
                losses[these].add_(loss, alpha=share)
                for name, gradient in found.items():
                    gradients[name][these].add_(gradient, alpha=share)
    return with_gradients(losses, own, gradients)


def _chunk(arrays: Tensors, signals: int, rays: int, samples: int, device: str) -> tuple[int, int]:
    """(signals, rays of each) that are rendered together: one layer's values are `CHUNK_BYTES`."""
    width = max(array.shape[1] for array in arrays.values())
    most = max(1, CHUNK_BYTES[device] // (4 * width * samples))
    if most < rays:
        parts = -(-rays // most)
        return 1, -(-rays // parts)
    return min(signals, most // rays), rays
