"""The denoising network for one vector: residual blocks of linear layers, as functa (2022, arXiv 2201.12204) has it.

The paper names residual MLP blocks and their width; where layer norm, SiLU and the time step stand is ours.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from inrbench_ddpm.denoising import Conditioning, Denoiser, dropout

__all__ = ["ResidualMLP"]

SINUSOIDS = 128


class ResidualMLP(Denoiser):
    """h = in(z); h = block(h, time and class) for each block; out(h).

    No norm stands on the way past the blocks: it would hide how long z is, which the noise in it depends on.
    """

    def __init__(self, values: int, width: int, blocks: int, share: float, num_classes: int | None) -> None:
        super().__init__()
        self.conditioning = Conditioning(SINUSOIDS, width, num_classes)
        self.inner = nn.Linear(values, width)
        self.blocks = nn.ModuleList(Block(width, share) for _ in range(blocks))
        self.outer = nn.Linear(width, values)
        self.outer.starts_at_zero = True  # type: ignore[assignment]

    def forward(
        self,
        z: Float[Tensor, "rows values"],
        t: Int[Tensor, " rows"],
        classes: Int[Tensor, " rows"] | None,
        generator: torch.Generator | None = None,
    ) -> Float[Tensor, "rows values"]:
        """The noise in ``z``."""
        condition = functional.silu(self.conditioning(t, classes))
        hidden = self.inner(z)
        for block in self.blocks:
            hidden = block(hidden, condition, generator)
        noise: Tensor = self.outer(hidden)
        return noise


class Block(nn.Module):
    """h + second(dropout(silu(norm(first(silu(norm(h))) + projected time and class))))."""

    def __init__(self, width: int, share: float) -> None:
        super().__init__()
        self.share = share
        self.norm_first = nn.LayerNorm(width)
        self.first = nn.Linear(width, width)
        self.condition = nn.Linear(width, width)
        self.norm_second = nn.LayerNorm(width)
        self.second = nn.Linear(width, width)
        self.second.starts_at_zero = True  # type: ignore[assignment]

    def forward(
        self,
        hidden: Float[Tensor, "rows width"],
        condition: Float[Tensor, "rows width"],
        generator: torch.Generator | None,
    ) -> Float[Tensor, "rows width"]:
        """[rows, width]."""
        inner = self.first(functional.silu(self.norm_first(hidden))) + self.condition(condition)
        inner = dropout(functional.silu(self.norm_second(inner)), self.share, generator)
        sum_: Tensor = hidden + self.second(inner)
        return sum_
