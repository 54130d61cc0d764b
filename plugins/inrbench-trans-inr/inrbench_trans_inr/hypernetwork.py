"""From weight tokens to a field's weights, by groups of columns (Chen and Wang, 2022, arXiv 2208.02801, section 3.3).

A matrix that maps n_in to n_out values has n_out columns, which share g = min(G, n_out) weight tokens. Each layer's own
head makes a vector u of a column's length from each of its tokens; column j is base_j * u_{token of j}, brought to norm
1, with a base that is learned and the same for all signals. In the arrays of a field, [out, in], a column is a row.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from inrbench.backends.torch.draws import init_linears, torch_generator
from inrbench.backends.torch.fields import Field
from inrbench.interfaces import Run
from inrbench_trans_inr.settings import HypernetworkSettings
from inrbench_trans_inr.tokenizers import ImageTokenizer
from inrbench_trans_inr.transformer import Transformer

__all__ = ["Hypernetwork", "Matrix", "columns_of", "groups_of"]

Tensors = dict[str, Tensor]


@dataclass(frozen=True)
class Matrix:
    """One generated matrix of the field."""

    weight: str  # the array's name
    bias: str | None  # of the array that is its last column in [out, in + 1]; None where biases are learned
    columns: int  # n_out
    length: int  # of a column
    tokens: int  # g
    norm: float  # of a generated column

    @property
    def name(self) -> str:
        """Of its vectors u among the representation's arrays."""
        return f"{self.weight.removesuffix('.weight')}.tokens"


def groups_of(columns: int, tokens: int, grouping: str) -> Int[Tensor, " columns"]:
    """The token of each column: j mod g, or ⌊j g / n⌋, which is ⌊j / k⌋ where g divides n."""
    places = torch.arange(columns)
    return places % tokens if grouping == "modulo" else places * tokens // columns


def columns_of(
    base: Float[Tensor, "columns length"], vectors: Float[Tensor, "signals tokens length"], grouping: str
) -> Float[Tensor, "signals columns length"]:
    """``base`` times the vector of each column's token, each column of norm 1."""
    token = groups_of(len(base), vectors.shape[1], grouping).to(base.device)
    return functional.normalize(base * vectors.index_select(1, token), dim=-1)


class Hypernetwork(nn.Module):
    """A tokenizer, the transformer, a head for each matrix, their base, and the field's shared arrays.

    It has no values before `draw` or a state: who only counts its parameters waits for none.
    """

    def __init__(self, settings: HypernetworkSettings, field: Field, tokenizer: nn.Module) -> None:
        super().__init__()
        self.settings, self.field = settings, field
        example = field.init(torch.Generator().manual_seed(0))
        self.matrices, self.shared_names = _matrices(settings, example)
        self.tokenizer = tokenizer
        num_tokens = sum(matrix.tokens for matrix in self.matrices)
        sizes = (settings.width, settings.blocks, settings.heads, settings.head_dim, settings.feedforward)
        with torch.device("meta"):
            self.transformer = Transformer(num_tokens, *sizes)
            self.heads = nn.ModuleList(
                nn.Sequential(nn.LayerNorm(settings.width), nn.Linear(settings.width, matrix.length))
                for matrix in self.matrices
            )
            self.base = nn.ParameterDict(
                {_key(one.weight): nn.Parameter(torch.empty(one.columns, one.length)) for one in self.matrices}
            )
            self.shared = nn.ParameterDict(
                {_key(name): nn.Parameter(torch.empty(example[name].shape)) for name in self.shared_names}
            )

    @torch.no_grad()
    def draw(self, run: Run) -> None:
        """The initialisation, keyed by the run's seed: linear layers as PyTorch's default, the base as the field's."""
        self.to_empty(device="cpu")
        generator = torch_generator(run.rng("fitter", "initialisation"))
        init_linears(self, generator)
        for module in self.modules():
            if isinstance(module, nn.LayerNorm):
                module.reset_parameters()
            elif isinstance(module, ImageTokenizer | Transformer):
                module.draw(generator)
        drawn = self.field.init(torch_generator(run.rng("fitter", "base")))
        for matrix in self.matrices:
            parts = [drawn[matrix.weight], *([drawn[matrix.bias][:, None]] if matrix.bias else [])]
            self.base[_key(matrix.weight)].copy_(torch.cat(parts, dim=1))
        for name in self.shared_names:
            self.shared[_key(name)].copy_(drawn[name])

    def vectors(self, data: Float[Tensor, "signals tokens features"]) -> Tensors:
        """The vectors u of each matrix, by name [signals, g, length], for data tokens."""
        kept = self.transformer(data).split([matrix.tokens for matrix in self.matrices], dim=1)
        return {
            matrix.name: head(tokens).to(data.dtype)
            for matrix, head, tokens in zip(self.matrices, self.heads, kept, strict=True)
        }

    def arrays(self, vectors: Mapping[str, Tensor]) -> Tensors:
        """The field's arrays: generated ones with the signals in front, shared ones without."""
        found: Tensors = {name: self.shared[_key(name)] for name in self.shared_names}
        for matrix in self.matrices:
            columns = columns_of(self.base[_key(matrix.weight)], vectors[matrix.name], self.settings.grouping)
            if matrix.norm != 1.0:
                columns = columns * matrix.norm
            if matrix.bias is not None:
                found[matrix.bias] = columns[..., -1]
                columns = columns[..., :-1]
            found[matrix.weight] = columns
        return found

    def vector_shapes(self) -> dict[str, tuple[int, ...]]:
        """Of one signal's vectors, by name."""
        return {matrix.name: (matrix.tokens, matrix.length) for matrix in self.matrices}

    def multiply_adds(self, data_tokens: int) -> int:
        """Of the transformer and the heads, for one signal."""
        heads = sum(matrix.tokens * matrix.length for matrix in self.matrices) * self.settings.width
        return self.transformer.multiply_adds(data_tokens) + heads


def _key(name: str) -> str:
    """A name that a module's parameter may have."""
    return name.replace(".", "_")


def _matrices(settings: HypernetworkSettings, example: Mapping[str, Tensor]) -> tuple[list[Matrix], list[str]]:
    """What is generated, in the field's order, and the names of what is learned and shared by all signals."""
    matrices, shared = [], dict.fromkeys(example)
    for name, array in example.items():
        if array.dim() != 2:
            continue
        bias = f"{name.removesuffix('.weight')}.bias"
        joined = settings.biases == "generated" and bias in example
        whole = torch.cat([array, example[bias][:, None]], dim=1) if joined else array
        norm = 1.0 if settings.column_norm == "one" else math.sqrt(float(whole.square().sum(1).mean()))
        columns, length = whole.shape
        tokens = min(settings.groups, columns)
        matrices.append(Matrix(name, bias if joined else None, columns, length, tokens, norm))
        shared.pop(name)
        if joined:
            shared.pop(bias)
    return matrices, list(shared)
