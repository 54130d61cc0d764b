"""Copies: augmented versions of a batch of images, made on the device from keyed draws.

The draws are those of `inrbench.backends.torch.copies`, number for number, and moving whole pixels gives the same bits.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from inrbench.domains import Array
from inrbench.errors import Refused
from inrbench.settings import Augmentation

__all__ = ["Moves", "augment", "check_augmentation", "draw_moves"]


class Moves(NamedTuple):
    """What a batch of copies drew: the first row and column of each crop, and whether it is mirrored."""

    top: Array | jax.Array
    left: Array | jax.Array
    mirrored: Array | jax.Array


def check_augmentation(settings: Augmentation) -> None:
    """Raise Refused for what moves no whole pixels: this engine has it not."""
    for name in ("window", "rotate", "resized_crop", "scale", "jitter"):
        value, allowed = getattr(settings, name), getattr(Augmentation(), name)
        if value != allowed:
            raise Refused(
                f"setting fitter.train.augmentation.{name}={value}: the JAX engine has the copies pad, crop and flip; "
                f"allowed is {allowed}"
            )


def draw_moves(count: int, settings: Augmentation, rng: np.random.Generator) -> Moves:
    """The draws of ``count`` copies, in the order in which the PyTorch engine makes them."""
    centre = np.full(count, settings.pad)
    top, left, mirrored = centre, centre, np.zeros(count, dtype=bool)
    if settings.pad and settings.crop == "random":
        top = rng.integers(0, 2 * settings.pad + 1, count)
        left = rng.integers(0, 2 * settings.pad + 1, count)
    if settings.flip:
        mirrored = rng.random(count) < 0.5
    return Moves(top.astype(np.int32), left.astype(np.int32), mirrored)


def augment(
    images: Float[jax.Array, "signals height width channels"], settings: Augmentation, moves: Moves
) -> Float[jax.Array, "signals height width channels"]:
    """Each image reflect-padded, cropped at its place and mirrored, as ``moves`` say."""
    height, width = images.shape[1:3]
    if settings.pad and settings.crop == "random":
        signals = jnp.arange(len(images))[:, None, None]
        rows = _reflected(jnp.asarray(moves.top)[:, None] + jnp.arange(height) - settings.pad, height)
        columns = _reflected(jnp.asarray(moves.left)[:, None] + jnp.arange(width) - settings.pad, width)
        images = images[signals, rows[:, :, None], columns[:, None, :]]
    if settings.flip:
        images = jnp.where(jnp.asarray(moves.mirrored)[:, None, None, None], images[:, :, ::-1], images)
    return images


def _reflected(places: jax.Array, side: int) -> jax.Array:
    """Places of a padded line, from -pad on, as those of the line that is reflected at its outermost pixels."""
    return (side - 1) - jnp.abs((side - 1) - jnp.abs(places))
