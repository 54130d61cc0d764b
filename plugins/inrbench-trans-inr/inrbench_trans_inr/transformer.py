"""The transformer: pre-norm blocks over [data tokens; weight tokens], of which the weight tokens are kept.

Chen and Wang, 2022 (arXiv 2208.02801), section 3.2. No normalisation follows the last block. Nobody reads what the last
block makes of the data tokens, so it is computed for the weight tokens alone; the first one is given the same weight
tokens for all signals, so their query, key and value are computed once.
"""

from __future__ import annotations

from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["Transformer"]


class Transformer(nn.Module):
    """Learned weight tokens attend to data tokens and to each other."""

    def __init__(self, num_weight_tokens: int, width: int, blocks: int, heads: int, head_dim: int, feed: int) -> None:
        super().__init__()
        self.weight_tokens = nn.Parameter(torch.empty(num_weight_tokens, width))
        self.blocks = nn.ModuleList(Block(width, heads, head_dim, feed) for _ in range(blocks))

    def forward(
        self, data: Float[Tensor, "signals tokens features"]
    ) -> Float[Tensor, "signals weight_tokens features"]:
        """What the last block makes of the weight tokens."""
        blocks = self._blocks()
        return cast(Tensor, blocks[-1](self._before(data, len(blocks) - 1), len(self.weight_tokens)))

    def attention(
        self, data: Float[Tensor, "signals tokens features"], layer: int
    ) -> Float[Tensor, "signals heads weight_tokens all_tokens"]:
        """How the weight tokens attend in block ``layer``, by head: to the data tokens, then to the weight tokens."""
        return self._blocks()[layer].attention(self._before(data, layer), len(self.weight_tokens))

    @torch.no_grad()
    def draw(self, generator: torch.Generator) -> None:
        """Weight tokens from N(0, 1)."""
        self.weight_tokens.normal_(generator=generator)

    def multiply_adds(self, data_tokens: int) -> int:
        """Of a forward pass with ``data_tokens`` data tokens, as the definition has it: all blocks for all tokens."""
        block, tokens = self._blocks()[0], data_tokens + len(self.weight_tokens)
        width, inner, feed = block.out.out_features, block.out.in_features, block.narrow.in_features
        return len(self.blocks) * tokens * (4 * width * inner + 2 * tokens * inner + 2 * width * feed)

    def _before(self, data: Tensor, layer: int) -> Tensor:
        """What block ``layer`` is given."""
        learned = len(self.weight_tokens)
        hidden = torch.cat([data, self.weight_tokens.expand(len(data), -1, -1)], dim=1)
        for i, block in enumerate(self._blocks()[:layer]):
            hidden = block(hidden, hidden.shape[1], learned if i == 0 else 0)
        return hidden

    def _blocks(self) -> list[Block]:
        return cast("list[Block]", list(self.blocks))


class Block(nn.Module):
    """Attention without biases in query, key and value, then a GELU feed-forward part."""

    def __init__(self, width: int, heads: int, head_dim: int, feed: int) -> None:
        super().__init__()
        self.heads, self.inner = heads, heads * head_dim
        self.norm_attention = nn.LayerNorm(width)
        self.query_key_value = nn.Linear(width, 3 * self.inner, bias=False)
        self.out = nn.Linear(self.inner, width)
        self.norm_feed = nn.LayerNorm(width)
        self.widen = nn.Linear(width, feed)
        self.narrow = nn.Linear(feed, width)

    def forward(
        self, hidden: Float[Tensor, "signals tokens features"], kept: int, same: int = 0
    ) -> Float[Tensor, "signals kept features"]:
        """The last ``kept`` tokens, which attend to all; the last ``same`` are the same for all signals."""
        attended = functional.scaled_dot_product_attention(*self._query_key_value(hidden, kept, same))
        hidden = hidden[:, -kept:] + self.out(attended.transpose(1, 2).flatten(2))
        return cast(Tensor, hidden + self.narrow(functional.gelu(self.widen(self.norm_feed(hidden)))))

    def attention(
        self, hidden: Float[Tensor, "signals tokens features"], kept: int
    ) -> Float[Tensor, "signals heads kept tokens"]:
        """How the last ``kept`` tokens attend to all."""
        query, key, _ = self._query_key_value(hidden, kept)
        return torch.softmax(query @ key.mT * query.shape[-1] ** -0.5, -1)

    def _query_key_value(self, hidden: Tensor, kept: int, same: int = 0) -> tuple[Tensor, Tensor, Tensor]:
        """[signals, heads, kept, values] and twice [signals, heads, tokens, values]."""
        signals, tokens, _ = hidden.shape
        normed = self.norm_attention(hidden)
        if kept < tokens:
            weight = self.query_key_value.weight
            query = functional.linear(normed[:, -kept:], weight[: self.inner]).view(signals, kept, self.heads, -1)
            mixed = functional.linear(normed, weight[self.inner :]).view(signals, tokens, 2, self.heads, -1)
            key, value = mixed.permute(2, 0, 3, 1, 4)
            return query.transpose(1, 2), key, value
        if same and signals > 1:  # mapped once
            shared = self.query_key_value(normed[:1, -same:]).expand(signals, -1, -1)
            mixed = torch.cat([self.query_key_value(normed[:, :-same]), shared], dim=1)
        else:
            mixed = self.query_key_value(normed)
        mixed = mixed.view(signals, tokens, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        return mixed[0], mixed[1], mixed[2]
