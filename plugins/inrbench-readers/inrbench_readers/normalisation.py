"""Values as functa's and spatial functa's readers take them: divided or multiplied by a scale, or standardised."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor, nn

from inrbench.representations import Layout, Representations
from inrbench_readers.flat import mean_and_spread
from inrbench_readers.settings import NormalisedSettings

__all__ = ["Normalisation"]


class Normalisation(nn.Module):
    """All values of a batch in one vector, the arrays in the order of their names, normalised.

    The papers give a "normalisation scale" and do not say which way it works; dividing makes latents of a small spread
    about as large as 1, which is what their scales of 0.005 to 0.1 suggest. Standardising is ours, for latents without
    such a setting; its statistics are those of the training rows, and in joint training, where values still move, none.
    """

    def __init__(self, settings: NormalisedSettings, layout: Layout) -> None:
        super().__init__()
        self.names, self.num_values = sorted(layout.shapes), layout.num_values
        self.scale = settings.normalisation
        self.divide = settings.normalisation_mode == "divide"
        if self.scale is None:
            self.register_buffer("mean", torch.zeros(self.num_values))
            self.register_buffer("spread", torch.ones(self.num_values))

    def observe(self, rows: Representations) -> None:
        """Take mean and spread of each value where no scale is given."""
        if self.scale is None:
            mean, spread = mean_and_spread(rows)
            self.mean, self.spread = torch.as_tensor(mean).float(), torch.as_tensor(spread).float()

    def forward(self, rows: Mapping[str, Tensor]) -> Float[Tensor, "signals values"]:
        """The batch's values."""
        values = torch.cat([rows[name].flatten(1) for name in self.names], dim=1)
        if self.scale is None:
            return (values - self.mean) / self.spread
        return values / self.scale if self.divide else values * self.scale
