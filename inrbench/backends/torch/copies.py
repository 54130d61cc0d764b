"""Copies: augmented versions of a batch of images, made on the device from keyed draws."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from inrbench.settings import Augmentation

__all__ = ["augment"]


def augment(
    images: Float[Tensor, "signals height width channels"], settings: Augmentation, rng: np.random.Generator
) -> Float[Tensor, "signals height width channels"]:
    """Each image reflect-padded and cropped back at a place of its own, and mirrored half of the time."""
    if settings.pad:
        height, width = images.shape[1:3]
        planes = images.movedim(-1, 1)
        planes = functional.pad(planes, (settings.pad,) * 4, mode="reflect")
        top = torch.as_tensor(rng.integers(0, 2 * settings.pad + 1, len(images))).to(images.device)
        left = torch.as_tensor(rng.integers(0, 2 * settings.pad + 1, len(images))).to(images.device)
        rows = (top[:, None] + torch.arange(height, device=images.device))[:, :, None]
        columns = (left[:, None] + torch.arange(width, device=images.device))[:, None, :]
        signals = torch.arange(len(images), device=images.device)[:, None, None]
        images = planes.movedim(1, -1)[signals, rows, columns]
    if settings.flip:
        mirrored = torch.as_tensor(rng.random(len(images)) < 0.5).to(images.device)
        images = torch.where(mirrored[:, None, None, None], images.flip(2), images)
    return images
