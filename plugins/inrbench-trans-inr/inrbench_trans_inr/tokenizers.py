"""Tokenizers: images and posed views as data tokens (Chen and Wang, 2022, arXiv 2208.02801, section 3.2)."""

from __future__ import annotations

from typing import Literal, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["ImageTokenizer", "ViewTokenizer", "patches_of"]


def patches_of(
    images: Float[Tensor, "signals height width channels"], patch: int
) -> Float[Tensor, "signals patches values"]:
    """Square patches in reading order; a patch's values are in the order row, column, channel."""
    signals, height, width, channels = images.shape
    tiles = images.reshape(signals, height // patch, patch, width // patch, patch, channels)
    return tiles.transpose(2, 3).reshape(signals, -1, patch * patch * channels)


class ImageTokenizer(nn.Module):
    """Zero-padded images, cut into patches, mapped linearly, with a learned embedding of each position."""

    def __init__(
        self,
        shape: tuple[int, int],
        channels: int,
        patch: int,
        pad: int,
        width: int,
        embedding: Literal["after", "before"],
    ) -> None:
        super().__init__()
        self.patch, self.pad, self.before = patch, pad, embedding == "before"
        self.rows, self.columns = ((side + 2 * pad) // patch for side in shape)
        self.num_tokens = self.rows * self.columns
        values = patch * patch * channels
        self.linear = nn.Linear(values, width)
        self.position = nn.Parameter(torch.empty(self.num_tokens, values if self.before else width))

    def forward(
        self, images: Float[Tensor, "signals height width channels"]
    ) -> Float[Tensor, "signals tokens features"]:
        """The tokens of images with values in [0, 1], in reading order."""
        padded = functional.pad(images, (0, 0, self.pad, self.pad, self.pad, self.pad))
        patches = patches_of(padded, self.patch)
        found = self.linear(patches + self.position) if self.before else self.linear(patches) + self.position
        return cast(Tensor, found)

    @torch.no_grad()
    def draw(self, generator: torch.Generator) -> None:
        """Positions from N(0, 1)."""
        self.position.normal_(generator=generator)

    def multiply_adds(self) -> int:
        """Of the linear map of one image."""
        return self.num_tokens * self.linear.in_features * self.linear.out_features


class ViewTokenizer(nn.Module):
    """Posed views: colour, ray origin and ray direction, cut into patches and mapped linearly.

    No position is added: a patch's rays say where it is. The tokens of several views are joined.
    """

    def __init__(self, shape: tuple[int, int], patch: int, width: int, *, unit_directions: bool) -> None:
        super().__init__()
        self.patch, self.unit_directions = patch, unit_directions
        self.tokens_a_view = (shape[0] // patch) * (shape[1] // patch)
        self.linear = nn.Linear(patch * patch * 9, width)

    def forward(
        self,
        colours: Float[Tensor, "signals views height width 3"],
        origins: Float[Tensor, "signals views height width 3"],
        directions: Float[Tensor, "signals views height width 3"],
    ) -> Float[Tensor, "signals tokens features"]:
        """The tokens of all views of each signal, view by view."""
        if self.unit_directions:
            directions = functional.normalize(directions, dim=-1)
        images = torch.cat([colours, origins, directions], dim=-1)
        patches = patches_of(images.flatten(0, 1), self.patch)
        return cast(Tensor, self.linear(patches.reshape(len(colours), -1, patches.shape[-1])))

    def multiply_adds(self, views: int) -> int:
        """Of the linear map of one signal's views."""
        return views * self.tokens_a_view * self.linear.in_features * self.linear.out_features
