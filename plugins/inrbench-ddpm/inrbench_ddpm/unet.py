"""The denoising network for a grid of latents: the UNet of Dhariwal and Nichol (2021, arXiv 2105.05233) on cells.

Residual blocks of two 3x3 convolutions with group norm and SiLU, told the time step and the class by a scale and a
shift behind the second norm; blocks that halve and double; self-attention at the sides that are asked for and in the
middle, heads of 64 channels. Bauer et al. (2023) do not say which UNet theirs is: with these parts it has 277.4 million
parameters at their ImageNet setting, and they print 277.

A grid of odd side is halved to the next larger one, 7 to 4: cells are averaged by two, and the last one stands alone.
On the way back each of the 7 takes the nearest of the 4.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from inrbench_ddpm.denoising import Conditioning, Denoiser, dropout

__all__ = ["Attention", "ResBlock", "UNet"]

#: Channels of an attention head.
HEAD = 64
Grid = Float[Tensor, "rows _ height width"]


class UNet(Denoiser):
    """Down ``len(multiplier)`` resolutions and up again; ``sides`` are those of the grids, from the finest."""

    def __init__(
        self,
        sides: Sequence[int],
        latent_channels: int,
        channels: int,
        multiplier: Sequence[int],
        res_blocks: int,
        attention_res: Sequence[int],
        share: float,
        num_classes: int | None,
    ) -> None:
        super().__init__()
        self.side, self.latent_channels = sides[0], latent_channels
        width = 4 * channels
        self.conditioning = Conditioning(channels, width, num_classes)
        self.inner = nn.Conv2d(latent_channels, channels, 3, padding=1)

        def level(ins: Sequence[int], out: int, side: int) -> nn.ModuleList:
            attends = side in attention_res
            return nn.ModuleList(Stage(ResBlock(count, out, width, share), attends) for count in ins)

        self.down, self.shrink = nn.ModuleList(), nn.ModuleList()
        kept, now = [channels], channels  # channels of what is kept for the way up
        for place, (times, side) in enumerate(zip(multiplier, sides, strict=True)):
            out = channels * times
            self.down.append(level([now, *[out] * (res_blocks - 1)], out, side))
            kept += [out] * res_blocks
            now = out
            if place < len(sides) - 1:
                self.shrink.append(ResBlock(now, now, width, share))
                kept.append(now)
        self.middle = nn.ModuleList(Stage(ResBlock(now, now, width, share), attends) for attends in (True, False))
        self.up, self.grow = nn.ModuleList(), nn.ModuleList()
        for place, (times, side) in reversed(list(enumerate(zip(multiplier, sides, strict=True)))):
            out = channels * times
            ins = []
            for _ in range(res_blocks + 1):
                ins.append(now + kept.pop())
                now = out
            self.up.append(level(ins, out, side))
            if place > 0:
                self.grow.append(ResBlock(now, now, width, share))
        self.norm = _norm(now)
        self.outer = nn.Conv2d(now, latent_channels, 3, padding=1)
        self.outer.starts_at_zero = True  # type: ignore[assignment]

    def forward(
        self,
        z: Float[Tensor, "rows values"],
        t: Int[Tensor, " rows"],
        classes: Int[Tensor, " rows"] | None,
        generator: torch.Generator | None = None,
    ) -> Float[Tensor, "rows values"]:
        """The noise in ``z``, whose values are [side, side, channels], cells first."""
        condition = functional.silu(self.conditioning(t, classes))
        grid = z.reshape(-1, self.side, self.side, self.latent_channels).permute(0, 3, 1, 2).contiguous()
        hidden = self.inner(grid)
        kept = [hidden]
        for place, stages in enumerate(self.down):
            for stage in stages:  # type: ignore[attr-defined]
                hidden = stage(hidden, condition, generator)
                kept.append(hidden)
            if place < len(self.shrink):
                side = -(-hidden.shape[-1] // 2)
                hidden = self.shrink[place](hidden, condition, generator, side)
                kept.append(hidden)
        for stage in self.middle:
            hidden = stage(hidden, condition, generator)
        for place, stages in enumerate(self.up):
            for stage in stages:  # type: ignore[attr-defined]
                hidden = stage(torch.cat([hidden, kept.pop()], dim=1), condition, generator)
            if place < len(self.grow):
                hidden = self.grow[place](hidden, condition, generator, kept[-1].shape[-1])
        noise: Tensor = self.outer(functional.silu(self.norm(hidden)))
        return noise.permute(0, 2, 3, 1).reshape(z.shape)


class Stage(nn.Module):
    """A residual block, with attention behind it where that is asked for."""

    def __init__(self, block: ResBlock, attends: bool) -> None:
        super().__init__()
        self.block = block
        self.attention = Attention(block.second.out_channels) if attends else None

    def forward(self, hidden: Grid, condition: Tensor, generator: torch.Generator | None) -> Grid:
        """[rows, channels of the block, height, width]."""
        hidden = self.block(hidden, condition, generator)
        return hidden if self.attention is None else self.attention(hidden)


class ResBlock(nn.Module):
    """skip(h') + second(dropout(silu((1 + scale) norm(first(silu(norm(h))')) + shift))), where ' takes another side.

    Scale and shift are projections of the time step and the class.
    """

    def __init__(self, ins: int, out: int, condition: int, share: float) -> None:
        super().__init__()
        self.share = share
        self.norm_first = _norm(ins)
        self.first = nn.Conv2d(ins, out, 3, padding=1)
        self.condition = nn.Linear(condition, 2 * out)
        self.norm_second = _norm(out)
        self.second = nn.Conv2d(out, out, 3, padding=1)
        self.second.starts_at_zero = True  # type: ignore[assignment]
        self.skip = nn.Identity() if ins == out else nn.Conv2d(ins, out, 1)

    def forward(
        self, hidden: Tensor, condition: Tensor, generator: torch.Generator | None, side: int | None = None
    ) -> Tensor:
        """[rows, out, side, side]; the side is that of ``hidden`` if None."""
        inner = functional.silu(self.norm_first(hidden))
        if side is not None:
            inner, hidden = _resized(inner, side), _resized(hidden, side)
        scale, shift = self.condition(condition)[:, :, None, None].chunk(2, dim=1)
        inner = functional.silu((1.0 + scale) * self.norm_second(self.first(inner)) + shift)
        grid: Tensor = self.skip(hidden) + self.second(dropout(inner, self.share, generator))
        return grid


class Attention(nn.Module):
    """h + out(attention(norm(h))) over all cells; heads of 64 channels, or one where that does not divide them."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.heads = max(1, channels // HEAD) if channels % HEAD == 0 else 1
        self.norm = _norm(channels)
        self.qkv = nn.Conv2d(channels, 3 * channels, 1)
        self.out = nn.Conv2d(channels, channels, 1)
        self.out.starts_at_zero = True  # type: ignore[assignment]

    def forward(self, hidden: Grid) -> Grid:
        """[rows, channels, height, width]."""
        query, key, value = (
            part.unflatten(1, (self.heads, -1)).mT for part in self.qkv(self.norm(hidden)).flatten(2).chunk(3, dim=1)
        )
        mixed = functional.scaled_dot_product_attention(query, key, value)
        grid: Tensor = hidden + self.out(mixed.mT.reshape(hidden.shape))
        return grid


def _norm(channels: int) -> nn.GroupNorm:
    """Group norm of 32 groups, or of the most that divide the channels and leave 4 to a group.

    A group of one channel would forget how large it is.
    """
    groups = next(count for count in range(min(32, max(1, channels // 4)), 0, -1) if channels % count == 0)
    return nn.GroupNorm(groups, channels)


def _resized(grid: Tensor, side: int) -> Tensor:
    """Cells averaged by two, the last of an odd number alone; or each the nearest of fewer."""
    if side < grid.shape[-1]:
        return functional.avg_pool2d(grid, 2, ceil_mode=True)
    return functional.interpolate(grid, size=(side, side), mode="nearest")
