"""The transformers that functa and spatial functa classify latents with (Bauer et al., 2023, arXiv 2302.03130).

Pre-norm blocks over tokens with learned positions. The paper gives widths, blocks, 16 heads and dropout "once before
the logits" for spatial functa, and pre-norm with positional encodings for functa's vectors. It does not say, so that
settings hold it, how tokens are pooled (the mean: it favours no cell), nor how a vector becomes tokens (consecutive
values). GELU, biases, a norm behind the last block and normally distributed positions (0.02) are the usual choices.

The classifier of Table 3 has "64M" parameters. Heads of width / 16 = 48 values give 86.2 million here, and heads of
half of that (``head_dim`` 24) 64.9 million; the paper does not give their size.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from inrbench.backends.torch.draws import torch_generator
from inrbench.backends.torch.reading import Network, Stages, TorchClassifier
from inrbench.interfaces import Run
from inrbench.representations import Layout, Representations
from inrbench.signals import SignalSpec
from inrbench_readers.normalisation import Normalisation
from inrbench_readers.settings import LatentTransformerSettings

__all__ = ["LatentTransformer", "LatentTransformerReader", "patches"]

POSITION_SPREAD = 0.02


def patches(
    values: Float[Tensor, "signals values"], grid: Sequence[int], side: int
) -> Float[Tensor, "signals tokens size"]:
    """Values [signals, (*grid, channels)] as one token for each patch of ``side`` along every axis, in row-major order.

    Within a token values are in row-major order too, the channels last.
    """
    dims = len(grid)
    split = values.view(len(values), *(n for count in grid for n in (count // side, side)), -1)
    outer, inner = range(1, 2 * dims, 2), range(2, 2 * dims + 1, 2)
    tokens = math.prod(count // side for count in grid)
    return split.permute(0, *outer, *inner, 2 * dims + 1).reshape(len(values), tokens, -1)


class LatentTransformer(Network):
    """Linear map and position of each token, pre-norm blocks, pooling, dropout, linear head."""

    def __init__(
        self, settings: LatentTransformerSettings, layout: Layout, grid: Sequence[int], side: int, num_classes: int
    ) -> None:
        super().__init__()
        width = settings.width
        self.grid, self.side = tuple(grid), side
        self.num_tokens = math.prod(count // side for count in grid)
        self.normalise = Normalisation(settings, layout)
        self.embed = nn.Linear(layout.num_values // self.num_tokens, width)
        self.position = nn.Parameter(torch.zeros(self.num_tokens, width))
        self.class_token = nn.Parameter(torch.zeros(width)) if settings.pool == "class-token" else None
        head_dim = settings.head_dim or width // settings.heads
        feedforward = settings.feedforward or 2 * width
        self.blocks = nn.ModuleList(Block(width, settings.heads, head_dim, feedforward) for _ in range(settings.blocks))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, num_classes)
        self.dropout = settings.dropout
        inside = (f"block.{i}.{part}" for i in range(settings.blocks) for part in ("attention", "mlp"))
        self.stages = ("values", "tokens", "embedded", *inside, "pooled", "logits")

    @torch.no_grad()
    def init_tokens(self, generator: torch.Generator) -> None:
        """Draw positions, and the class token if there is one."""
        for parameter in (self.position, self.class_token):
            if parameter is not None:
                parameter.normal_(0.0, POSITION_SPREAD, generator=generator)

    def observe(self, rows: Representations) -> None:
        """The statistics of the training rows."""
        self.normalise.observe(rows)

    def forward(self, rows: Mapping[str, Tensor], stages: Stages) -> Float[Tensor, "signals classes"]:
        """Logits of a batch."""
        values = stages("values", self.normalise(rows))
        tokens = stages("tokens", patches(values, self.grid, self.side))
        hidden = self.embed(tokens) + self.position
        if self.class_token is not None:
            hidden = torch.cat([self.class_token.expand(len(hidden), 1, -1), hidden], dim=1)
        hidden = stages("embedded", hidden)
        for i, block in enumerate(cast("list[Block]", list(self.blocks))):
            hidden = stages(f"block.{i}.attention", block.attend(hidden))
            hidden = stages(f"block.{i}.mlp", block.transform(hidden))
        hidden = self.norm(hidden)
        pooled = stages("pooled", hidden.mean(dim=1) if self.class_token is None else hidden[:, 0])
        return stages("logits", self.head(stages.dropout(pooled, self.dropout)))

    def flops(self) -> float:
        """2 x multiply-adds: the maps of every token, and attention over all pairs of tokens."""
        width, first = self.embed.out_features, self.num_tokens * self.embed.weight.numel()
        tokens = self.num_tokens + (self.class_token is not None)
        blocks = sum(block.multiply_adds(tokens) for block in cast("list[Block]", list(self.blocks)))
        return 2.0 * (first + blocks + width * self.head.out_features)


class Block(nn.Module):
    """Attention and a GELU MLP, each behind a norm and added to what it was given."""

    def __init__(self, width: int, heads: int, head_dim: int, feedforward: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm_attention = nn.LayerNorm(width)
        self.query_key_value = nn.Linear(width, 3 * heads * head_dim)
        self.out = nn.Linear(heads * head_dim, width)
        self.norm_mlp = nn.LayerNorm(width)
        self.mlp_in = nn.Linear(width, feedforward)
        self.mlp_out = nn.Linear(feedforward, width)

    def attend(self, hidden: Float[Tensor, "signals tokens width"]) -> Float[Tensor, "signals tokens width"]:
        """Hidden + attention(norm(hidden))."""
        signals, tokens, _ = hidden.shape
        mixed = self.query_key_value(self.norm_attention(hidden))
        query, key, value = mixed.view(signals, tokens, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        attended = functional.scaled_dot_product_attention(query, key, value)
        return torch.add(hidden, self.out(attended.transpose(1, 2).reshape(signals, tokens, -1)))

    def transform(self, hidden: Float[Tensor, "signals tokens width"]) -> Float[Tensor, "signals tokens width"]:
        """Hidden + mlp(norm(hidden))."""
        return torch.add(hidden, self.mlp_out(functional.gelu(self.mlp_in(self.norm_mlp(hidden)))))

    def multiply_adds(self, tokens: int) -> int:
        """Of one representation."""
        maps = (self.query_key_value, self.out, self.mlp_in, self.mlp_out)
        return tokens * sum(linear.weight.numel() for linear in maps) + 2 * tokens**2 * self.out.in_features


class LatentTransformerReader(TorchClassifier):
    """Reads ``latent-grid`` (a token a cell), ``latent`` (a token for consecutive values), ``samples`` (patches)."""

    network: LatentTransformer

    def __init__(self, settings: LatentTransformerSettings, layout: Layout, spec: SignalSpec) -> None:
        self.problem = _problem(settings, layout, spec)
        if self.problem is None:
            grid, side = _tokens(settings, layout)
        else:
            grid, side = [1], 1
        super().__init__(settings, LatentTransformer(settings, layout, grid, side, spec.num_classes or 1))

    def refuses(self, layout: Layout) -> str | None:
        """Needs classes, and values that divide into tokens."""
        return self.problem

    def start(self, run: Run) -> None:
        """Draw maps, positions and the class token, keyed by the run's seed."""
        super().start(run)
        self.network.init_tokens(torch_generator(run.rng("reader", "positions")))


def _tokens(settings: LatentTransformerSettings, layout: Layout) -> tuple[list[int], int]:
    """The grid that tokens are cut from, and their side on it."""
    if layout.kind == "latent":
        return [layout.num_values // settings.token_size], 1
    (shape,) = layout.shapes.values()
    return list(shape[:-1]), settings.patch if layout.kind == "samples" else 1


def _problem(settings: LatentTransformerSettings, layout: Layout, spec: SignalSpec) -> str | None:
    if spec.num_classes is None:
        return "the data set has no classes"
    if layout.kind == "latent":
        if layout.num_values % settings.token_size:
            allowed = _divisors([layout.num_values])
            return (
                f"reader.token_size={settings.token_size} does not divide a latent of {layout.num_values} values; "
                f"allowed are {allowed}"
            )
        return None
    if len(layout.shapes) != 1 or len(next(iter(layout.shapes.values()))) < 2:
        shapes = ", ".join(f"{name} {tuple(shape)}" for name, shape in layout.shapes.items())
        return f"it needs one array [cells, ..., channels]; the rows have {shapes}"
    grid, side = _tokens(settings, layout)
    if any(count % side for count in grid):
        return (
            f"reader.patch={side} does not divide samples of {' x '.join(map(str, grid))}; "
            f"allowed are {_divisors(grid)}"
        )
    return None


def _divisors(counts: Sequence[int]) -> str:
    common = math.gcd(*counts)
    return ", ".join(str(n) for n in range(1, common + 1) if common % n == 0)
