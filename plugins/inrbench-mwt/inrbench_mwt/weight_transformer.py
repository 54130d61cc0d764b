"""The weight transformer: each output neuron of a field's hidden layers is a token (arXiv 2503.18123, section 3.3).

Tokens are the neurons of the hidden layers 1 .. depth (the first layer is left out), each with the deltas of its D
input weights and then of its bias, so [depth · D, D + 1]; they are scaled to λ (δ + β) with a learned β, or, in
place of λ, normalised over the whole matrix.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from inrbench.backends.torch.compiled import compilable
from inrbench.backends.torch.reading import Network, Stages, TorchClassifier
from inrbench.representations import Layout
from inrbench.signals import SignalSpec
from inrbench_mwt.settings import WeightTransformerSettings

__all__ = ["WeightTransformer", "WeightTransformerReader", "tokens_of"]


def tokens_of(rows: Mapping[str, Tensor], depth: int) -> Float[Tensor, "signals tokens values"]:
    """The hidden layers' neurons as tokens: [signals, depth · D, D + 1], the bias last."""
    layers = [
        torch.cat([rows[f"layers.{i}.weight"], rows[f"layers.{i}.bias"].unsqueeze(-1)], dim=-1)
        for i in range(1, depth + 1)
    ]
    return torch.cat(layers, dim=1)


#: Scores of a block's attention up to this size are computed as they are written; beyond it the fused form is faster.
CACHED_BYTES = 16 * 2**20


class WeightTransformer(Network):
    """Linear map, pre-norm blocks, mean over tokens, linear head."""

    def __init__(self, settings: WeightTransformerSettings, width: int, depth: int, num_classes: int) -> None:
        super().__init__()
        self.depth, self.width, self.num_tokens = depth, width, depth * width
        self.token_scale = settings.token_scale
        self.normalised = settings.token_norm == "layernorm"  # noqa: S105 (no password)
        self.beta = nn.Parameter(torch.zeros(self.num_tokens, width + 1))
        self.embed = nn.Linear(width + 1, width)
        heads = max(1, width // settings.head_dim)
        self.blocks = nn.ModuleList(Block(width, heads, settings.layer_scale) for _ in range(settings.blocks))
        self.head = nn.Linear(width, num_classes)
        inside = (f"block.{i}.{part}" for i in range(settings.blocks) for part in ("attention", "mlp"))
        self.stages = ("tokens", "scaled", "embedded", *inside, "pooled", "logits")

    def forward(self, rows: Mapping[str, Tensor], stages: Stages) -> Float[Tensor, "signals classes"]:
        """Logits; every named stage can be tapped and edited, ``tokens`` being δ before β and λ."""
        tokens = stages("tokens", tokens_of(rows, self.depth))
        hidden = stages("scaled", self._scaled(tokens + self.beta))
        hidden = stages("embedded", self.embed(hidden))
        for i, block in enumerate(cast("list[Block]", list(self.blocks))):
            hidden = stages(f"block.{i}.attention", block.attend(hidden))
            hidden = stages(f"block.{i}.mlp", block.transform(hidden))
        pooled = stages("pooled", hidden.mean(dim=1))
        return stages("logits", self.head(pooled))

    def _scaled(self, tokens: Float[Tensor, "signals tokens values"]) -> Float[Tensor, "signals tokens values"]:
        if self.normalised:
            # δ is small: its variance is far below the usual 1e-5
            return functional.layer_norm(tokens, tokens.shape[1:], eps=1e-12)
        return self.token_scale * tokens

    def flops(self) -> float:
        """2 x multiply-adds: the maps of every token, and attention over all pairs of tokens."""
        tokens, width = self.num_tokens, self.width
        maps = tokens * width * (width + 1) + len(self.blocks) * tokens * 6 * width**2
        attention = len(self.blocks) * 2 * tokens**2 * width
        return 2.0 * (maps + attention + width * self.head.out_features)


class Block(nn.Module):
    """Attention without biases in query, key and value, and a GELU MLP of ratio 1, each scaled before it is added."""

    def __init__(self, width: int, heads: int, layer_scale: float) -> None:
        super().__init__()
        self.heads = heads
        self.norm_attention = nn.LayerNorm(width)
        self.query_key_value = nn.Linear(width, 3 * width, bias=False)
        self.out = nn.Linear(width, width)
        self.scale_attention = nn.Parameter(torch.full((width,), layer_scale))
        self.norm_mlp = nn.LayerNorm(width)
        self.mlp_in = nn.Linear(width, width)
        self.mlp_out = nn.Linear(width, width)
        self.scale_mlp = nn.Parameter(torch.full((width,), layer_scale))

    @compilable
    def attend(self, hidden: Float[Tensor, "signals tokens width"]) -> Float[Tensor, "signals tokens width"]:
        """Hidden + scale · attention(norm(hidden))."""
        signals, tokens, width = hidden.shape
        mixed = self.query_key_value(self.norm_attention(hidden))
        query, key, value = mixed.view(signals, tokens, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        attended = _attention(query, key, value)
        joined = attended.transpose(1, 2).reshape(signals, tokens, width)
        return torch.addcmul(hidden, self.scale_attention, self.out(joined))

    @compilable
    def transform(self, hidden: Float[Tensor, "signals tokens width"]) -> Float[Tensor, "signals tokens width"]:
        """Hidden + scale · mlp(norm(hidden))."""
        inner = functional.gelu(self.mlp_in(self.norm_mlp(hidden)))
        return torch.addcmul(hidden, self.scale_mlp, self.mlp_out(inner))


def _attention(
    query: Float[Tensor, "signals heads tokens values"],
    key: Float[Tensor, "signals heads tokens values"],
    value: Float[Tensor, "signals heads tokens values"],
) -> Float[Tensor, "signals heads tokens values"]:
    """softmax(q kᵀ / √values) v; on a CPU in three steps where the scores stay in its cache, else fused."""
    scores_bytes = query[..., 0].numel() * key.shape[-2] * query.element_size()
    if query.device.type != "cpu" or scores_bytes > CACHED_BYTES:
        return functional.scaled_dot_product_attention(query, key, value)
    scores = torch.matmul(query * query.shape[-1] ** -0.5, key.mT)
    return torch.matmul(scores.softmax(-1), value)


class WeightTransformerReader(TorchClassifier):
    """Reads ``weights`` of a field whose hidden layers are all D → D."""

    def __init__(self, settings: WeightTransformerSettings, layout: Layout, spec: SignalSpec) -> None:
        problem = _problem(settings, layout, spec)
        self.problem = problem
        hidden = _hidden_layers(layout)
        width = layout.shapes[hidden[0]][0] if hidden and problem is None else settings.head_dim
        classes = spec.num_classes or 1
        super().__init__(settings, WeightTransformer(settings, width, max(1, len(hidden)), classes))

    def refuses(self, layout: Layout) -> str | None:
        """Needs square hidden layers and classes."""
        return self.problem


def _hidden_layers(layout: Layout) -> list[str]:
    """The weights behind the first layer, in order."""
    names = [f"layers.{i}.weight" for i in range(1, len(layout.shapes))]
    return [name for name in names if name in layout.shapes]


def _problem(settings: WeightTransformerSettings, layout: Layout, spec: SignalSpec) -> str | None:
    hidden = _hidden_layers(layout)
    if spec.num_classes is None:
        return "the data set has no classes"
    if not hidden:
        return f"the field has no hidden layers layers.1.weight, ...; it has {', '.join(layout.shapes)}"
    shapes = {layout.shapes[name] for name in hidden}
    if len(shapes) > 1 or any(out != fan_in for out, fan_in in shapes):
        return f"hidden layers must all be D x D; they are {', '.join(map(str, sorted(shapes)))}"
    width = layout.shapes[hidden[0]][0]
    heads = max(1, width // settings.head_dim)
    if width % heads:
        return f"width {width} does not divide into {heads} heads; give a reader.head_dim that divides it"
    return None
