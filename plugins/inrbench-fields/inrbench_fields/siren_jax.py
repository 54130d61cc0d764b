"""SIREN in Equinox: the twin of `inrbench_fields.siren`, with the same settings, names, layouts and initial values."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float

from inrbench.backends.jax.sine import sin
from inrbench.signals import SignalSpec
from inrbench_fields.frames import coordinate_counts, frame, to_unit
from inrbench_fields.settings import SirenSettings

__all__ = ["Linear", "Siren", "SirenParameters"]


class Linear(eqx.Module):
    """x ↦ scale · (W x + b); signals may stand in front of each array."""

    weight: Float[Array | np.ndarray, "*signals out in"]
    bias: Float[Array | np.ndarray, "*signals out"]
    scale: Float[Array | np.ndarray, "*signals out"] | None = None

    def __call__(self, x: Float[Array, "*inputs points in"]) -> Float[Array, "*all_signals points out"]:
        """Of every signal; what has no signals in front is shared by all."""
        found = x @ self.weight.mT + self.bias[..., None, :]
        return found if self.scale is None else found * self.scale[..., None, :]


class SirenParameters(eqx.Module):
    """Sine layers and the output layer; the paths to the arrays, joined by dots, are the PyTorch twin's names."""

    layers: tuple[Linear, ...]
    output: Linear


class Siren:
    """f(x) = scale · (W_out h + b_out), h_0 = sin(ω_0 (W_0 x + b_0)), h_i = sin(ω (W_i h_{i-1} + b_i)).

    Arrays are ``layers.0.weight`` [out, in], ``layers.0.bias`` [out], ... and ``output.weight``, ``output.bias``,
    ``output.scale`` [channels].
    """

    def __init__(self, settings: SirenSettings, spec: SignalSpec) -> None:
        self.settings = settings
        self.coord_dim, self.channels = spec.coord_dim, spec.channels
        self.sizes = [self.coord_dim, *[settings.width] * (settings.depth + 1)]
        self.counts, self.frame = coordinate_counts(settings, spec), frame(settings, spec)
        self.to_unit = to_unit(settings, spec.parts[0])

    def init(self, rng: np.random.Generator) -> SirenParameters:
        """What the PyTorch twin draws from a generator that is seeded from ``rng``, bit for bit, as NumPy arrays."""
        settings, stream = self.settings, _Stream(rng)
        layers = []
        for i, (fan_in, fan_out) in enumerate(zip(self.sizes[:-1], self.sizes[1:], strict=True)):
            bound = 1.0 / fan_in if i == 0 else math.sqrt(6.0 / fan_in) / settings.omega_hidden
            bias_bound = 1.0 / math.sqrt(fan_in) if settings.bias_init == "default" else 0.0
            layers.append(Linear(stream.uniform(bound, fan_out, fan_in), stream.uniform(bias_bound, fan_out)))
        width = self.sizes[-1]
        default = 1.0 / math.sqrt(width)
        bound = math.sqrt(6.0 / width) / settings.omega_hidden if settings.output_init == "siren" else default
        weight = stream.uniform(bound, self.channels, width)
        bias = stream.uniform(0.0 if settings.bias_init == "all-zero" else default, self.channels)
        scale = settings.output_scale
        scales = None if scale is None else np.full(self.channels, scale, dtype=np.float32)
        return SirenParameters(tuple(layers), Linear(weight, bias, scales))

    def apply(
        self, parameters: SirenParameters, latents: None, coords: Float[Array, "... points coord_dim"]
    ) -> Float[Array, "... points channels"]:
        """The output at ``coords``, each in [-1, 1]. Signals in front of any array stand in front of it too."""
        hidden = self._placed(coords)
        for omega, layer in zip(self._omegas(), parameters.layers, strict=True):
            before = layer(hidden)
            hidden = sin(before if omega == 1.0 else omega * before)
        return parameters.output(hidden)

    def convention(self) -> Mapping[str, Any]:
        """Where ω stands, how it was initialised, the coordinates' frame, and the output's range."""
        settings = self.settings
        return {
            "field": "siren",
            "layer": "sin(omega * (W x + b))",
            "omega_0": settings.omega_0,
            "omega_hidden": settings.omega_hidden,
            "first_init": "W uniform in ±1/in",
            "hidden_init": "W uniform in ±sqrt(6/in)/omega_hidden",
            "bias_init": settings.bias_init,
            "output_init": settings.output_init,
            "coordinates": settings.coordinates,
            "coordinate_counts": None if self.counts is None else list(self.counts),
            "time_scale": settings.time_scale,
            "to_unit": list(self.to_unit),
        }

    def flops(self, points: int) -> float:
        """2 x multiply-adds of the linear layers at ``points`` points."""
        pairs = zip(self.sizes, [*self.sizes[1:], self.channels], strict=True)
        return 2.0 * points * sum(fan_in * fan_out for fan_in, fan_out in pairs)

    def _omegas(self) -> list[float]:
        """What each sine layer multiplies its argument by."""
        return [self.settings.omega_0, *[self.settings.omega_hidden] * self.settings.depth]

    def _placed(self, coords: Array) -> Array:
        """The coordinates in the frame of the settings."""
        if self.frame is None:
            return coords
        scale, shift = (jnp.asarray(each, coords.dtype) for each in zip(*self.frame, strict=True))
        return coords * scale + shift


class _Stream:
    """PyTorch's numbers without PyTorch: its CPU generator is MT19937; a float32 takes the lowest 24 bits of a draw."""

    def __init__(self, rng: np.random.Generator) -> None:
        seed = int(rng.integers(2**63)) & 0xFFFFFFFF  # all that it takes of a seed
        # of NumPy's generators the one whose stream never changes
        self.stream = np.random.RandomState(seed)

    def uniform(self, bound: float, *shape: int) -> np.ndarray:
        """float32 in [-bound, bound)."""
        bits = self.stream.randint(0, 2**24, shape, dtype=np.uint32)
        return (2.0 * (bits.astype(np.float32) / np.float32(2**24)) - 1.0) * np.float32(bound)
