"""A small convolutional classifier of pixels: a control, and what the Fréchet distance of samples is taken on."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from inrbench.backends.torch.draws import torch_generator
from inrbench.backends.torch.reading import Network, Stages, TorchClassifier
from inrbench.interfaces import Run
from inrbench.representations import Layout, Representations
from inrbench.signals import SignalSpec
from inrbench_ddpm.denoising import init_network
from inrbench_ddpm.settings import CNNSettings

__all__ = ["CNNReader"]

#: Convolutions halve the sides until they are at most this.
SMALLEST_SIDE = 4


class CNN(Network):
    """3x3 convolutions with group norm and SiLU, the first as fine as the image, then halving; two linear layers."""

    stages = ("pixels", "features", "logits")

    def __init__(self, settings: CNNSettings, shape: tuple[int, int, int], num_classes: int) -> None:
        super().__init__()
        height, width, ins = shape
        out = settings.channels
        layers: list[nn.Module] = [nn.Conv2d(ins, out, 3, padding=1), nn.GroupNorm(1, out), nn.SiLU()]
        while max(height, width) > SMALLEST_SIDE:
            layers += [nn.Conv2d(out, 2 * out, 3, stride=2, padding=1), nn.GroupNorm(1, 2 * out), nn.SiLU()]
            height, width, out = -(-height // 2), -(-width // 2), 2 * out
        self.convolutions = nn.Sequential(*layers)
        self.hidden = nn.Linear(height * width * out, settings.features)
        self.out = nn.Linear(settings.features, num_classes)
        self.register_buffer("mean", torch.zeros(ins))
        self.register_buffer("spread", torch.ones(ins))

    def observe(self, rows: Representations) -> None:
        """Take mean and spread of each channel."""
        values = next(iter(rows.arrays.values()))
        axes = tuple(range(values.ndim - 1))
        self.mean = torch.as_tensor(np.asarray(values.mean(axis=axes, dtype=np.float64))).float()
        self.spread = torch.as_tensor(np.maximum(values.std(axis=axes, dtype=np.float64), 1e-6)).float()

    def forward(self, rows: Mapping[str, Tensor], stages: Stages) -> Float[Tensor, "signals classes"]:
        """Logits of a batch of images [signals, height, width, channels] in [0, 1]."""
        (values,) = rows.values()
        pixels = stages("pixels", (values - self.mean) / self.spread)
        hidden = self.convolutions(pixels.permute(0, 3, 1, 2).contiguous()).flatten(1)
        features = stages("features", functional.silu(self.hidden(hidden)))
        return stages("logits", self.out(features))


class CNNReader(TorchClassifier):
    """Reads images: the layout of the fitter ``samples`` on a grid of two axes."""

    def __init__(self, settings: CNNSettings, layout: Layout, spec: SignalSpec) -> None:
        shapes = list(layout.shapes.values())
        self.problem = None if spec.num_classes else "the data set has no classes"
        if len(shapes) != 1 or len(shapes[0]) != 3:
            self.problem = (
                f"it reads images [height, width, channels]; given: {', '.join(str(list(s)) for s in shapes)}"
            )
        shape = (1, 1, 1) if self.problem else (shapes[0][0], shapes[0][1], shapes[0][2])
        super().__init__(settings, CNN(settings, shape, spec.num_classes or 1))

    def refuses(self, layout: Layout) -> str | None:
        """Needs images and classes."""
        return self.problem

    def start(self, run: Run) -> None:
        """Draw the initialisation, keyed by the run's seed; convolutions too."""
        init_network(self.network, torch_generator(run.rng("reader", "initialisation")))
