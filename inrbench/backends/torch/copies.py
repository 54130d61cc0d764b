"""Copies: augmented versions of a batch of images, made on the device from keyed draws.

Padding, cropping and mirroring move whole pixels. Where an image is turned or resized as well, its geometry is composed
into one map from places of the copy to places of the image, and the image is sampled there once.
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from inrbench.domains import Array
from inrbench.settings import Augmentation

__all__ = ["augment"]

#: Width over height of what a resized crop cuts out: between these, as in the field's usual random resized crop.
RATIOS = (3.0 / 4.0, 4.0 / 3.0)


def augment(
    images: Float[Tensor, "signals height width channels"], settings: Augmentation, rng: np.random.Generator
) -> Float[Tensor, "signals height width channels"]:
    """Each image padded, turned, cropped, resized and mirrored, in this order and at random as ``settings`` say."""
    if settings.rotate or settings.resized_crop < 1.0:
        images = _sampled(images, settings, rng)
    elif settings.pad and settings.crop == "random":
        images = _shifted(images, settings.pad, rng)
    if settings.flip:
        mirrored = torch.as_tensor(rng.random(len(images)) < 0.5).to(images.device)
        images = torch.where(mirrored[:, None, None, None], images.flip(2), images)
    return images


def _shifted(
    images: Float[Tensor, "signals height width channels"], pad: int, rng: np.random.Generator
) -> Float[Tensor, "signals height width channels"]:
    """Each image reflect-padded and cropped back at a place of its own."""
    height, width = images.shape[1:3]
    planes = images.movedim(-1, 1)
    planes = functional.pad(planes, (pad,) * 4, mode="reflect")
    top = torch.as_tensor(rng.integers(0, 2 * pad + 1, len(images))).to(images.device)
    left = torch.as_tensor(rng.integers(0, 2 * pad + 1, len(images))).to(images.device)
    rows = (top[:, None] + torch.arange(height, device=images.device))[:, :, None]
    columns = (left[:, None] + torch.arange(width, device=images.device))[:, None, :]
    signals = torch.arange(len(images), device=images.device)[:, None, None]
    return planes.movedim(1, -1)[signals, rows, columns]


def _sampled(
    images: Float[Tensor, "signals height width channels"], settings: Augmentation, rng: np.random.Generator
) -> Float[Tensor, "signals height width channels"]:
    """Each image padded, turned, cropped and resized at once: one bilinear look-up a pixel.

    Places are in pixels, from the centre of the image, which is also that of the padded one. From the copy back to
    the image: the resized crop is a scaling of each axis, held within the box as resizing it alone would; the crop a
    shift; the turn a rotation. Reflecting the place that is looked up is the same as padding by reflection.
    """
    count, height, width = images.shape[:3]
    pad = settings.pad
    limit = np.deg2rad(settings.rotate)
    angles = rng.uniform(-limit, limit, count) if settings.rotate else np.zeros(count)
    moved = pad if settings.crop == "random" else 0
    top, left = (rng.integers(-moved, moved + 1, (count, 1)) if moved else np.zeros((count, 1)) for _ in range(2))
    rows, columns = (np.arange(side, dtype=np.float64)[None] for side in (height, width))
    if settings.resized_crop < 1.0:
        first_row, tall, first_column, wide = _boxes(count, height, width, settings.resized_crop, rng)
        rows = first_row + np.clip((rows + 0.5) * tall / height - 0.5, 0.0, tall - 1.0)
        columns = first_column + np.clip((columns + 0.5) * wide / width - 0.5, 0.0, wide - 1.0)

    def on_device(values: Array) -> Tensor:
        return torch.as_tensor(values).to(images)

    y = on_device(rows + top - (height - 1) / 2)[:, :, None]
    x = on_device(columns + left - (width - 1) / 2)[:, None, :]
    cosine, sine = (on_device(turn(angles))[:, None, None] for turn in (np.cos, np.sin))
    y, x = cosine * y + sine * x, cosine * x - sine * y  # counter-clockwise for a positive angle: rows count downwards
    grid = []
    inside = torch.ones_like(y, dtype=torch.bool)
    for place, side in ((x, width), (y, height)):
        inside = inside & (place.abs() <= side / 2 + pad)
        held = place.clamp(-(side - 1) / 2 - pad, (side - 1) / 2 + pad)  # the outermost pixels reach to the frame
        grid.append(held / max((side - 1) / 2, 0.5))
    planes = functional.grid_sample(
        images.movedim(-1, 1), torch.stack(grid, dim=-1), mode="bilinear", padding_mode="reflection", align_corners=True
    )
    return torch.where(inside[..., None], planes.movedim(1, -1), 0.0)


def _boxes(
    count: int, height: int, width: int, share: float, rng: np.random.Generator
) -> tuple[Array, Array, Array, Array]:
    """(first row, rows, first column, columns) of ``count`` boxes of whole pixels, each [count, 1].

    Shares of the area are uniform in [share, 1], ratios log-uniform in `RATIOS`, places uniform. A box that is too
    long for the image is given the nearest ratio that fits; to draw again, as the field's usual random resized crop
    does, would make large areas rarer than they should be.
    """
    area = rng.uniform(share, 1.0, (count, 1)) * height * width
    ratio = np.exp(rng.uniform(np.log(RATIOS[0]), np.log(RATIOS[1]), (count, 1)))
    ratio = np.clip(ratio, area / height**2, width**2 / area)
    tall = np.clip(np.round(np.sqrt(area / ratio)), 1, height).astype(np.int64)
    wide = np.clip(np.round(np.sqrt(area * ratio)), 1, width).astype(np.int64)
    return rng.integers(0, height - tall + 1), tall, rng.integers(0, width - wide + 1), wide
