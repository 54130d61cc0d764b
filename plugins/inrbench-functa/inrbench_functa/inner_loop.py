"""The inner loop: a few steps of gradient descent on the latents alone, from 0, with a learned rate for each value.

Dupont et al., 2022 (arXiv 2201.12204), section 3 and algorithm 1; Li et al., 2017 (arXiv 1707.03835). The loss of a
signal is its mean squared error over points and channels, so that no signal's steps depend on the others'.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from inrbench_functa.network import Network
from inrbench_functa.sampled import Sampled

__all__ = ["InnerLoop"]


@dataclass(frozen=True)
class InnerLoop:
    """Some signals' latents on their way, as functions of the network and the rates.

    ``rates`` [*latent] are for the signal's mean error; ``values`` are [signals, points, channels] in [0, 1].
    """

    sampled: Sampled
    network: Network
    rates: Array
    values: Array
    first_order: bool = False
    precision: str = "float32"

    @property
    def start(self) -> Float[Array, "signals *latent"]:
        """Latents of 0."""
        return jnp.zeros((len(self.values), *self.rates.shape), self.values.dtype)

    @property
    def target(self) -> Array:
        """The values as the field gives them."""
        return self.sampled.fold(self.values)

    def begun(self) -> tuple[Float[Array, "signals *latent"], int]:
        """(latents, steps that are done): the first one, where it costs less for all signals together."""
        passes = 1 + self.values.shape[-1]  # over the points that signals share, against two over every signal's
        if self.sampled.own or passes >= 2 * len(self.target):
            return self.start, 0
        slope = self.sampled.gradient_at_zero(self.network, self.rates.shape, self.target, self.precision)
        return self._moved(self.start, slope), 1

    def steps(self, latents: Float[Array, "signals *latent"], count: int) -> Iterator[Float[Array, "signals *latent"]]:
        """The latents after each of ``count`` more steps; they carry the steps' own gradients, or not (first order)."""
        for _ in range(count):
            latents = self._moved(latents, self.sampled.gradient(self.network, latents, self.target, self.precision))
            yield latents

    def errors(self, latents: Float[Array, "signals *latent"]) -> Float[Array, " signals"]:
        """The mean squared error of each signal."""
        error = jnp.square(self.sampled.values(self.network, latents, self.precision) - self.target)
        return self.sampled.unfold(error).mean(axis=(1, 2))

    def _moved(self, latents: Array, slope: Array) -> Array:
        """A step against the gradient of half the sum of squares, from which ``2 / size`` makes the mean's."""
        slope = jax.lax.stop_gradient(slope) if self.first_order else slope
        size = self.values.shape[1] * self.values.shape[2]
        return latents - (2.0 / size) * self.rates * slope
