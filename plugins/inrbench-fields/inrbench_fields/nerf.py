"""NeRF: colour and density of a scene at points in space, and of its points and directions where asked for.

Mildenhall et al., 2020 (arXiv 2003.08934); layers and frequencies as in Trans-INR's field for views (Chen and Wang,
ECCV 2022, arXiv 2208.02801): one network of all coordinates, with view directions in the paper, without in its code.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from inrbench.signals import SignalSpec
from inrbench_fields.fourier_network import FourierNetwork
from inrbench_fields.settings import NerfSettings

__all__ = ["Nerf"]


class Nerf:
    """f(x) = network(x), raw colour and raw density at x in scene units; see `FourierNetwork` for the arrays.

    With ``settings.directions`` x is [position; unit direction of the ray].
    """

    to_unit = (1.0, 0.0)

    def __init__(self, settings: NerfSettings, spec: SignalSpec) -> None:
        if spec.coord_dim != 3 or spec.channels != 3:
            raise ValueError(f"nerf renders 3 channels from 3 coordinates, not {spec.channels} from {spec.coord_dim}")
        self.settings, self.num_samples = settings, settings.samples
        angular = settings.highest ** torch.linspace(0.0, 1.0, settings.frequencies)
        self.takes_directions = settings.directions
        self.network = FourierNetwork(6 if settings.directions else 3, angular, settings.width, settings.depth, 4)

    def init(self, generator: torch.Generator) -> dict[str, Tensor]:
        """Weights and biases uniform in ±1/√in, PyTorch's default, and the density's bias moved."""
        arrays = self.network.init(generator)
        arrays["output.bias"][3] += self.settings.density_bias
        return arrays

    def apply(
        self, arrays: Mapping[str, Tensor], coords: Float[Tensor, "... points coord_dim"]
    ) -> Float[Tensor, "*signals points 4"]:
        """Raw red, green, blue and density at ``coords``; arrays without signals in front are shared by all."""
        return self.network.apply(arrays, self.network.encode(coords))

    def radiance(self, raw: Float[Tensor, "*points 4"]) -> tuple[Float[Tensor, "*points 3"], Float[Tensor, "*points"]]:
        """(colour in [0, 1], density from 0 on)."""
        return torch.sigmoid(raw[..., :3]), self.density(raw)

    def density(self, raw: Float[Tensor, "*points 4"]) -> Float[Tensor, "*points"]:
        """The density alone."""
        value = raw[..., 3]
        return torch.relu(value) if self.settings.density == "relu" else torch.nn.functional.softplus(value)

    def convention(self) -> Mapping[str, Any]:
        """The features, their order, the layers, their initialisation, and how rays are rendered."""
        settings = self.settings
        return {
            "field": "nerf",
            "layer": "relu(W x + b)",
            "features": "cos(w x) for each coordinate in turn and all frequencies w, then sin(w x) likewise",
            "frequencies": "w = highest ** linspace(0, 1, frequencies)",
            "num_frequencies": settings.frequencies,
            "highest": settings.highest,
            "init": "W and b uniform in ±1/sqrt(in), plus density_bias",
            "density_bias": settings.density_bias,
            "coordinates": "scene units" + (", then the ray's unit direction" if settings.directions else ""),
            "output": f"sigmoid(red, green, blue), {settings.density}(density)",
            "samples": settings.samples,
            "rendering": "samples at linspace(near, far, samples); alpha = 1 - exp(-density * step); last step 1e-3",
            "to_unit": list(self.to_unit),
        }

    def flops(self, points: int) -> float:
        """2 x multiply-adds of the linear layers at ``points`` points in space; a ray has `num_samples` of them."""
        return self.network.flops(points)
