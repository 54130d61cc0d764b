"""The parameters of a modulated SIREN as an Equinox module, and what is computed of them."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float
from scipy.special import ndtr, ndtri

from inrbench.backends.jax.precision import product
from inrbench.backends.jax.sine import sin_cos

__all__ = ["Linear", "Network", "drawn"]

#: Added to the output, so that a field that gives 0 stands in the middle of [0, 1].
OUTPUT_OFFSET = 0.5


class Linear(eqx.Module):
    """x ↦ W x + b."""

    weight: Float[Array, "out in"]
    bias: Float[Array, " out"]


class Network(eqx.Module):
    """Sine layers, the output layer, and the map from a latent to the shifts of all sine layers, layer by layer."""

    sines: tuple[Linear, ...]
    output: Linear
    shift: Linear  # [layers * width, latent]
    omega_0: float = eqx.field(static=True)

    def offsets(self, latents: Float[Array, "*sets latent"]) -> Float[Array, "*sets layers width"]:
        """ω (b_i + m_i) of every sine layer: all that is added to ω W_i h. One product for all layers."""
        shifts = latents @ self.shift.weight.T + self.shift.bias
        bias = jnp.stack([layer.bias for layer in self.sines])
        return self.omega_0 * (shifts.reshape(*latents.shape[:-1], *bias.shape) + bias)

    def forward(
        self,
        inputs: Float[Array | np.ndarray, "shared points in"],
        offset: Callable[[int], Float[Array, "sets shared one_or_points width"]],
        precision: str = "float32",
    ) -> tuple[Float[Array, "rows channels"], list[Float[Array, "rows width"]]]:
        """(output, the cosines of every sine layer), a row for each point of (sets, shared).

        ``offset`` maps a layer to what is added to its product. The first layer's product is the same for all sets.
        Products are of two axes, since XLA copies and transposes on a CPU what has more.
        """
        hidden, cosines = jnp.asarray(inputs).reshape(-1, inputs.shape[-1]), []
        for i, layer in enumerate(self.sines):
            turned = product(hidden, self.omega_0 * layer.weight.T, precision)
            width = turned.shape[-1]
            moved = turned.reshape(-1, *inputs.shape[:-1], width) + offset(i)
            hidden, cosine = sin_cos(moved.reshape(-1, width))
            cosines.append(cosine)
        return product(hidden, self.output.weight.T, precision) + (self.output.bias + OUTPUT_OFFSET), cosines

    def backward(
        self,
        gradient: Float[Array, "rows channels"],
        cosines: Sequence[Float[Array, "*broadcastable width"]],
        rows: tuple[int, ...],
        precision: str = "float32",
    ) -> list[Float[Array, "*rows width"]]:
        """From a gradient to the output to those of every layer's sum, point by point: `forward` transposed.

        ``rows`` is the shape that rows are given, to which the cosines broadcast.
        """
        found: list[Array] = []
        back = product(gradient, self.output.weight, precision)
        for layer, cosine in zip(reversed(self.sines), reversed(cosines), strict=True):
            found.append(back.reshape(*rows, -1) * cosine)
            if layer is not self.sines[0]:
                flat = found[-1].reshape(len(back), -1)
                back = product(flat, self.omega_0 * layer.weight, precision)
        return found[::-1]


def drawn(rng: np.random.Generator, sizes: Sequence[int], latent_dim: int, channels: int, omega_0: float) -> Network:
    """An initialisation: ``sizes`` are those of the input and of every sine layer.

    Weights are uniform in ±1/in in the first layer and ±√(6/in)/ω in the others; those of the shifts a normal of
    deviation 1/√latent, cut off at twice that. All biases are 0.
    """

    def linear(fan_in: int, fan_out: int, bound: float) -> Linear:
        weight = rng.uniform(-bound, bound, (fan_out, fan_in))
        return Linear(jnp.asarray(weight, jnp.float32), jnp.zeros(fan_out))

    def bound(fan_in: int) -> float:
        return math.sqrt(6.0 / fan_in) / omega_0

    sines = [linear(sizes[0], sizes[1], 1.0 / sizes[0])]
    sines += [linear(a, b, bound(a)) for a, b in itertools.pairwise(sizes[1:])]
    output = linear(sizes[-1], channels, bound(sizes[-1]))
    shifts = sum(sizes[1:])
    normal = ndtri(rng.uniform(ndtr(-2.0), ndtr(2.0), (shifts, latent_dim))) / math.sqrt(latent_dim)
    return Network(tuple(sines), output, Linear(jnp.asarray(normal, jnp.float32), jnp.zeros(shifts)), omega_0)
