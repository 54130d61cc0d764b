"""A multilayer perceptron on a representation's values, all of them in one vector."""

from __future__ import annotations

import itertools
from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from inrbench.backends.torch.reading import Network, Stages, TorchClassifier
from inrbench.representations import Layout, Representations
from inrbench.signals import SignalSpec
from inrbench_readers.flat import mean_and_spread
from inrbench_readers.settings import MLPSettings

__all__ = ["MLP", "MLPReader"]


class MLP(Network):
    """Linear layers with SiLU between them.

    Values are standardised by the training split's mean and spread, but not in joint training, where they still move.
    """

    def __init__(self, settings: MLPSettings, layout: Layout, num_classes: int) -> None:
        super().__init__()
        self.names = sorted(layout.shapes)
        sizes = [layout.num_values, *[settings.width] * (settings.depth - 1), num_classes]
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in itertools.pairwise(sizes))
        self.dropout, self.noise = settings.dropout, settings.noise
        self.register_buffer("mean", torch.zeros(layout.num_values))
        self.register_buffer("spread", torch.ones(layout.num_values))
        self.stages = ("values", *(f"layer.{i}" for i in range(settings.depth - 1)), "logits")

    def observe(self, rows: Representations) -> None:
        """Take mean and spread of each value; one that never changes keeps spread 1."""
        mean, spread = mean_and_spread(rows)
        self.mean, self.spread = torch.as_tensor(mean).float(), torch.as_tensor(spread).float()

    def forward(self, rows: Mapping[str, Tensor], stages: Stages) -> Float[Tensor, "signals classes"]:
        """Logits of a batch."""
        hidden = torch.cat([rows[name].flatten(1) for name in self.names], dim=1)
        hidden = stages("values", (hidden - self.mean) / self.spread)
        hidden = stages.noise(hidden, self.noise)
        for i, layer in enumerate(self.layers[:-1]):
            hidden = stages(f"layer.{i}", functional.silu(layer(hidden)))
            hidden = stages.dropout(hidden, self.dropout)
        return stages("logits", self.layers[-1](hidden))

    def flops(self) -> float:
        """2 x multiply-adds."""
        return 2.0 * sum(layer.weight.numel() for layer in self.layers if isinstance(layer, nn.Linear))


class MLPReader(TorchClassifier):
    """Reads any kind of representation whose rows all have the same shapes."""

    def __init__(self, settings: MLPSettings, layout: Layout, spec: SignalSpec) -> None:
        self.problem = None if spec.num_classes else "the data set has no classes"
        super().__init__(settings, MLP(settings, layout, spec.num_classes or 1))

    def refuses(self, layout: Layout) -> str | None:
        """Needs classes."""
        return self.problem
