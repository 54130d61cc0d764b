"""Fields: what an INR plugin for JAX must offer, and coordinates of a domain."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import jax
import numpy as np
from jaxtyping import Float

from inrbench.domains import Array, Domain, Rays

__all__ = ["Field", "LatentField", "Sampled", "coords_of"]

#: Parameters: an Equinox module, or any tree of arrays.
Parameters = Any


class Field(Protocol):
    """``f(coords; parameters) -> values``. The constructor is ``(settings, spec)``.

    ``to_unit`` is (a, b) of ``a * output + b`` in [0, 1]: fitters compute their losses on the field's own output.
    """

    to_unit: tuple[float, float]

    def init(self, rng: np.random.Generator) -> Parameters:
        """A random initialisation, drawn on the host: the same on every device."""
        ...

    def apply(
        self, parameters: Parameters, latents: jax.Array | None, coords: Float[jax.Array, "... points coord_dim"]
    ) -> Float[jax.Array, "signals points channels"]:
        """The output at ``coords``, each in [-1, 1], of every signal or shared by all.

        ``latents`` have the signals in front; None where the field has none: then neither has the output.
        """
        ...

    def convention(self) -> Mapping[str, Any]:
        """What somebody needs to know to read or query the parameters: omega, initialisation, coordinates, offset."""
        ...

    def flops(self, points: int) -> float:
        """2 x multiply-adds of one forward pass at ``points`` points."""
        ...


class LatentField(Field, Protocol):
    """A field that a latent of each signal modulates, while its parameters are shared."""

    kind: str  # of the latent: "latent" or "latent-grid"
    latent_shape: tuple[int, ...]

    def sampled(self, domain: Domain) -> Sampled:
        """The field on a domain that signals share, laid out for speed."""
        ...


class Sampled(Protocol):
    """A latent field on points. What it works on is *folded*: [sets, shared, points, channels], in any order."""

    own: bool  # whether every signal has points of its own

    def fold(
        self, values: Float[jax.Array, "signals points channels"]
    ) -> Float[jax.Array, "sets shared points_of_set channels"]:
        """Values in the domain's order as `values` gives them."""
        ...

    def unfold(
        self, values: Float[jax.Array, "sets shared points_of_set channels"]
    ) -> Float[jax.Array, "signals points channels"]:
        """The inverse of `fold`."""
        ...

    def values(
        self, parameters: Parameters, latents: Float[jax.Array, "signals *latent"], precision: str
    ) -> Float[jax.Array, "sets shared points_of_set channels"]:
        """The output of every signal, folded; ``precision`` is that of the large products."""
        ...

    def gradient(
        self,
        parameters: Parameters,
        latents: Float[jax.Array, "signals *latent"],
        target: Float[jax.Array, "sets shared points_of_set channels"],
        precision: str,
    ) -> Float[jax.Array, "signals *latent"]:
        """Of half the squared error, summed over a signal's points and channels; can be differentiated once more."""
        ...

    def gradient_at_zero(
        self,
        parameters: Parameters,
        latent_shape: tuple[int, ...],
        target: Float[jax.Array, "sets shared points_of_set channels"],
        precision: str,
    ) -> Float[jax.Array, "signals *latent"]:
        """`gradient` at latents that are all 0, where signals share all but their residuals."""
        ...


def coords_of(domain: Domain) -> Array:
    """The coordinates of a grid's cells or of free points, [points, coord_dim], each in [-1, 1], float32."""
    if isinstance(domain, Rays):
        raise ValueError("rays are rendered, not sampled")
    coords = np.asarray(domain.coords() if callable(domain.coords) else domain.coords, dtype=np.float32)
    return coords.reshape(-1, coords.shape[-1])
