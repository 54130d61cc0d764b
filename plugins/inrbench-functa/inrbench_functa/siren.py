"""The modulated SIREN of functa and spatial functa, as a field of the JAX engine.

Dupont et al., 2022 (arXiv 2201.12204), sections 2 and 3; Bauer et al., 2023 (arXiv 2302.03130), section 3:
h_0 = x, h_i = sin(ω (W_i h_{i-1} + b_i + m_i)), output W h + b + 0.5. One linear map gives the shifts m_i of all layers
from the whole latent, or one convolution those of each cell from its own latent and, with kernel 3, its neighbours'.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from jax import Array
from jaxtyping import Float

from inrbench.domains import Domain
from inrbench.errors import BadSetting
from inrbench.signals import SignalSpec
from inrbench_functa import placement
from inrbench_functa.network import OUTPUT_OFFSET, Network, drawn
from inrbench_functa.sampled import Sampled, Weighted, sampled
from inrbench_functa.settings import ModulatedSirenSettings

__all__ = ["Located", "ModulatedSiren"]

#: How each setting of the coordinates is written in a convention.
COORDINATES = {
    "global": "pixel centres in [0, 1], ij",
    "cell": "pixel centres in [0, 1] of their cell, ij",
    "binary": "binary digits of pixel centres in [0, 1], most significant first, ij",
}


class Located(NamedTuple):
    """Points as the field takes them."""

    inputs: Any  # [..., points, in]
    weights: Any  # [..., points, cells], of a spatial latent; else None


class ModulatedSiren:
    """Its parameters are a `Network`; a latent is [latent_dim] or [cells, ..., latent_channels]."""

    to_unit = (1.0, 0.0)

    def __init__(self, settings: ModulatedSirenSettings, spec: SignalSpec) -> None:
        self.settings = settings
        part = spec.parts[0]
        self.coord_dim, self.channels = spec.coord_dim, spec.channels
        self.longest = max(part.shape)
        self.latent_shape: tuple[int, ...]
        if settings.latent == "global":
            self.kind, self.latent_shape = "latent", (settings.latent_dim,)
            self.map_dim = settings.latent_dim
        else:
            if part.domain == "grid":
                _check_cells(settings.cells, part.shape)
            self.kind = "latent-grid"
            self.latent_shape = (*[settings.cells] * self.coord_dim, settings.latent_channels)
            self.map_dim = settings.kernel**self.coord_dim * settings.latent_channels
        if settings.placed == "binary" and settings.digits is None and part.domain != "grid":
            raise BadSetting("setting 'inr.digits' must be given for binary coordinates of free points, from 1 on")
        first = placement.input_dim(settings, self.coord_dim, self.longest)
        self.sizes = [first, *[settings.width] * (settings.depth - 1)]

    def init(self, rng: np.random.Generator) -> Network:
        """Weights of a SIREN, biases of 0, and a normal map of the latent."""
        return drawn(rng, self.sizes, self.map_dim, self.channels, self.settings.omega_0)

    def located(self, coords: Float[np.ndarray, "... points coord_dim"]) -> Located:
        """What `at` needs to know of points, each in [-1, 1]: computed on the host, once for all signals there."""
        inputs = placement.inputs_at(coords, self.settings, self.longest)
        if self.settings.latent == "global":
            return Located(inputs, None)
        flat = placement.cell_weights(coords.reshape(-1, coords.shape[-1]), self.settings)
        return Located(inputs, flat.reshape(*coords.shape[:-1], -1))

    def at(self, located: Located) -> Weighted:
        """The field at points that `located` was asked about."""
        return Weighted(self.settings, located.inputs, located.weights)

    def apply(
        self,
        parameters: Network,
        latents: Float[Array, "signals *latent"],
        coords: Float[np.ndarray, "... points coord_dim"],
    ) -> Float[Array, "signals points channels"]:
        """The output at ``coords``, each in [-1, 1], of every signal or shared by all."""
        points = self.at(self.located(coords))
        return points.unfold(points.values(parameters, latents))

    def sampled(self, domain: Domain) -> Sampled:
        """The field on a domain that signals share, laid out for speed."""
        return sampled(self.settings, domain, self.longest)

    def convention(self) -> Mapping[str, Any]:
        """ω and where it stands, initialisation, coordinates, output offset, and how the latent is used."""
        settings = self.settings
        said: dict[str, Any] = {
            "field": "modulated-siren",
            "width": settings.width,
            "depth": settings.depth,
            "omega": settings.omega_0,
            "omega_multiplies": "W x + b + shift of every sine layer",
            "output_offset": OUTPUT_OFFSET,
            "coordinates": COORDINATES[settings.placed],
            "initialisation": "W ±1/in first, ±√(6/in)/ω after; biases 0; shifts normal 1/√in, cut off at twice that",
            "latent": settings.latent,
            "latent_start": 0.0,
        }
        if settings.placed == "binary":
            said["digits"] = placement.num_digits(settings, self.longest)
        if settings.latent == "spatial":
            said |= {"cells": settings.cells, "interpolation": settings.interpolation, "kernel": settings.kernel}
        return said

    def flops(self, points: int) -> float:
        """2 x multiply-adds of one forward pass at ``points`` points, with the latent's map."""
        pairs = zip(self.sizes, [*self.sizes[1:], self.channels], strict=True)
        shifts = sum(self.sizes[1:]) * self.map_dim
        cells = 1 if self.settings.latent == "global" else self.settings.cells**self.coord_dim
        return 2.0 * (points * sum(a * b for a, b in pairs) + cells * shifts)

    def num_parameters(self) -> int:
        """All that signals share."""
        pairs = zip(self.sizes, [*self.sizes[1:], self.channels], strict=True)
        return sum((a + 1) * b for a, b in pairs) + sum(self.sizes[1:]) * (self.map_dim + 1)


def _check_cells(cells: int, shape: tuple[int, ...]) -> None:
    """Raise BadSetting where the cells do not cut every side into equal parts."""
    if any(side % cells for side in shape):
        allowed = ", ".join(str(n) for n in range(1, min(shape) + 1) if not any(side % n for side in shape))
        sides = " x ".join(map(str, shape))
        raise BadSetting(f"setting inr.cells={cells}: does not divide a grid of {sides}; allowed are {allowed}")
