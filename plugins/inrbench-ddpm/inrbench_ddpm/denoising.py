"""What the denoising networks share: how they are told the time step and the class, and their initialisation."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["Conditioning", "Denoiser", "dropout", "init_network", "sinusoidal"]


class Denoiser(nn.Module):
    """ε(z_t, t, class): from normalised values of one layout to noise of the same shape.

    Rows come as [rows, values]; classes are 0 ... num_classes - 1, and num_classes where the class is withheld.
    ``generator`` is where training's dropout is drawn from; without one nothing is dropped.
    """

    def forward(
        self,
        z: Float[Tensor, "rows values"],
        t: Int[Tensor, " rows"],
        classes: Int[Tensor, " rows"] | None,
        generator: torch.Generator | None = None,
    ) -> Float[Tensor, "rows values"]:
        """The noise in ``z``."""
        raise NotImplementedError


class Conditioning(nn.Module):
    """A vector of the time step: sinusoids, two linear layers with SiLU; the class adds a learned vector to it."""

    def __init__(self, sinusoids: int, width: int, num_classes: int | None) -> None:
        super().__init__()
        self.sinusoids = sinusoids
        self.inner = nn.Linear(sinusoids, width)
        self.outer = nn.Linear(width, width)
        self.classes = None if num_classes is None else nn.Embedding(num_classes + 1, width)

    def forward(self, t: Int[Tensor, " rows"], classes: Int[Tensor, " rows"] | None) -> Float[Tensor, "rows width"]:
        """[rows, width]."""
        vector: Tensor = self.outer(functional.silu(self.inner(sinusoidal(t, self.sinusoids))))
        return vector if self.classes is None else vector + self.classes(classes)


def sinusoidal(t: Int[Tensor, " rows"], size: int) -> Float[Tensor, "rows size"]:
    """Cosines and sines of t at ``size`` / 2 frequencies from 1 to 1e-4, as in Transformers; zero for an odd rest."""
    half = size // 2
    frequencies = torch.exp(-math.log(10_000.0) * torch.arange(half, device=t.device) / max(1, half - 1))
    angles = t[:, None].float() * frequencies
    return functional.pad(torch.cat([angles.cos(), angles.sin()], dim=1), (0, size - 2 * half))


def dropout(value: Tensor, share: float, generator: torch.Generator | None) -> Tensor:
    """``value`` with ``share`` of its entries zeroed and the others scaled up; untouched without a generator."""
    if generator is None or share == 0.0:
        return value
    kept = torch.rand(value.shape, generator=generator, device=value.device) >= share
    return value * kept / (1.0 - share)


@torch.no_grad()
def init_network(network: nn.Module, generator: torch.Generator) -> None:
    """Draw all layers anew: ±1/√in for linear layers and convolutions, N(0, 1) for what a class adds.

    Layers with the mark ``starts_at_zero`` do: each block is the identity at first, and the network's answer 0.
    """
    for layer in network.modules():
        if isinstance(layer, nn.Embedding):
            layer.weight.normal_(generator=generator)
        elif isinstance(layer, nn.Linear | nn.Conv2d):
            bound = 1.0 / math.sqrt(layer.weight[0].numel())
            for parameter in (layer.weight, layer.bias):
                if parameter is not None:
                    parameter.uniform_(-bound, bound, generator=generator)
                    if getattr(layer, "starts_at_zero", False):
                        parameter.zero_()
