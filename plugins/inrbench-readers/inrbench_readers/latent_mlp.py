"""functa's classifier: an MLP with residual connections (Dupont et al., 2022, arXiv 2201.12204; its settings for
CIFAR-10 are in Bauer et al., 2023, arXiv 2302.03130).

The papers name residual connections, SiLU and dropout, not where they stand. Here h_0 = W_in z + b_in,
h_i+1 = h_i + dropout(SiLU(W_i h_i + b_i)) for ``depth`` layers of one width, and the logits are W_out h + b_out.
"""

from __future__ import annotations

from collections.abc import Mapping

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from inrbench.backends.torch.reading import Network, Stages, TorchClassifier
from inrbench.representations import Layout, Representations
from inrbench.signals import SignalSpec
from inrbench_readers.normalisation import Normalisation
from inrbench_readers.settings import LatentMLPSettings

__all__ = ["LatentMLP", "LatentMLPReader"]


class LatentMLP(Network):
    """A linear map, residual layers, a linear map."""

    def __init__(self, settings: LatentMLPSettings, layout: Layout, num_classes: int) -> None:
        super().__init__()
        self.normalise = Normalisation(settings, layout)
        self.embed = nn.Linear(layout.num_values, settings.width)
        self.layers = nn.ModuleList(nn.Linear(settings.width, settings.width) for _ in range(settings.depth))
        self.head = nn.Linear(settings.width, num_classes)
        self.dropout = settings.dropout
        self.stages = ("values", "embedded", *(f"layer.{i}" for i in range(settings.depth)), "logits")

    def observe(self, rows: Representations) -> None:
        """The statistics of the training rows."""
        self.normalise.observe(rows)

    def forward(self, rows: Mapping[str, Tensor], stages: Stages) -> Float[Tensor, "signals classes"]:
        """Logits of a batch."""
        hidden = stages("embedded", self.embed(stages("values", self.normalise(rows))))
        for i, layer in enumerate(self.layers):
            hidden = stages(f"layer.{i}", hidden + stages.dropout(functional.silu(layer(hidden)), self.dropout))
        return stages("logits", self.head(hidden))

    def flops(self) -> float:
        """2 x multiply-adds."""
        width = self.embed.out_features
        return 2.0 * width * (self.embed.in_features + len(self.layers) * width + self.head.out_features)


class LatentMLPReader(TorchClassifier):
    """Reads all values of a representation as one vector."""

    def __init__(self, settings: LatentMLPSettings, layout: Layout, spec: SignalSpec) -> None:
        self.problem = None if spec.num_classes else "the data set has no classes"
        super().__init__(settings, LatentMLP(settings, layout, spec.num_classes or 1))

    def refuses(self, layout: Layout) -> str | None:
        """Needs classes."""
        return self.problem
