"""A modulated SIREN on a domain that all signals share, in the order of points that computes fastest.

`Folded`: all points of a set take one offset (a global latent; the cells of nearest neighbour). Where cells see the
same coordinates they fold into the signals: signals x cells sets that share one list of points. `Mixed`: on a grid,
linear interpolation, the offsets mixed axis by axis. `Weighted`: any points, by a matrix of weights. All are one
function.
"""

from __future__ import annotations

import itertools
from abc import ABC, abstractmethod
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float

from inrbench.domains import Domain, Grid
from inrbench_functa import placement
from inrbench_functa.network import Network
from inrbench_functa.settings import ModulatedSirenSettings

__all__ = ["Folded", "Mixed", "Sampled", "Weighted", "neighbourhoods", "sampled"]


def sampled(settings: ModulatedSirenSettings, domain: Domain, longest: int) -> Sampled:
    """The field on ``domain``; ``longest`` is the longest side of the data set's own grid."""
    coords = placement.coords_in_full(domain)
    if settings.latent == "global":
        return Folded(settings, coords, longest, np.arange(len(coords))[None])
    index = placement.by_cell(domain, settings.cells) if isinstance(domain, Grid) else None
    if index is not None and settings.interpolation == "nearest":
        return Folded(settings, coords, longest, index)
    if isinstance(domain, Grid) and settings.interpolation == "linear":
        return Mixed(settings, coords, longest, domain)
    return Weighted(settings, placement.inputs_at(coords, settings, longest), placement.cell_weights(coords, settings))


def neighbourhoods(
    latents: Float[Array, "signals *latent"], settings: ModulatedSirenSettings
) -> Float[Array, "signals cells values"]:
    """What the offsets of each cell are a linear map of: the latent, or with kernel 3 those around the cell too.

    Beyond the edge latents are 0. Values are in the order (row, column, channel).
    """
    if settings.latent == "global":
        return latents[:, None]
    axes = latents.shape[1:-1]
    if settings.kernel == 3:
        padded = jnp.pad(latents, [(0, 0), *[(1, 1)] * len(axes), (0, 0)])
        around = [
            padded[(slice(None), *(slice(i, i + n) for i, n in zip(first, axes, strict=True)))]
            for first in itertools.product(range(3), repeat=len(axes))
        ]
        latents = jnp.concatenate(around, axis=-1)
    return latents.reshape(len(latents), -1, latents.shape[-1])


class Sampled(ABC):
    """``inputs`` are [shared, points, in]; what is folded is [sets, shared, points, channels]."""

    own = False  # whether every signal has points of its own

    def __init__(self, settings: ModulatedSirenSettings, inputs: Any) -> None:
        self.settings = settings
        self.inputs = inputs

    def fold(
        self, values: Float[Array, "signals points channels"]
    ) -> Float[Array, "sets shared points_of_set channels"]:
        """Values in the domain's order as `values` gives them."""
        return values[:, None]

    def unfold(
        self, values: Float[Array, "sets shared points_of_set channels"]
    ) -> Float[Array, "signals points channels"]:
        """The inverse of `fold`."""
        return values[:, 0]

    def values(
        self, network: Network, latents: Float[Array, "signals *latent"], precision: str = "float32"
    ) -> Float[Array, "sets shared points_of_set channels"]:
        """The output of every signal, folded."""
        offsets = self._offsets(network, latents)
        values, _ = network.forward(self.inputs, offsets.__getitem__, precision)
        return values.reshape(-1, *self.inputs.shape[:-1], values.shape[-1])

    def gradient(
        self,
        network: Network,
        latents: Float[Array, "signals *latent"],
        target: Float[Array, "sets shared points_of_set channels"],
        precision: str = "float32",
    ) -> Float[Array, "signals *latent"]:
        """Of half the squared error, summed over each signal's points and channels: written out."""
        offsets, pull = jax.vjp(lambda given: self._offsets(network, given), latents)
        values, cosines = network.forward(self.inputs, offsets.__getitem__, precision)
        residual = values - target.reshape(values.shape)
        back = network.backward(residual, cosines, (len(values),), precision)
        rows = (*target.shape[:-1], -1)
        (gradient,) = pull([self.summed(one.reshape(rows)) for one in back])
        return jnp.asarray(gradient)

    def gradient_at_zero(
        self,
        network: Network,
        latent_shape: tuple[int, ...],
        target: Float[Array, "sets shared points_of_set channels"],
        precision: str = "float32",
    ) -> Float[Array, "signals *latent"]:
        """`gradient` at latents that are all 0.

        There every signal has the same output and the same Jacobian to the offsets, which one backward pass for each
        channel gives; a signal's gradient is a product of its residuals with these.
        """
        shared, points, _ = self.inputs.shape
        channels = target.shape[-1]
        biases = network.offsets(jnp.zeros(network.shift.weight.shape[1], target.dtype))  # of every cell
        values, cosines = network.forward(self.inputs, lambda layer: biases[layer][None, None, None], precision)
        units = jnp.broadcast_to(jnp.eye(channels, dtype=target.dtype)[:, None], (shared, channels, points, channels))
        by_channel = [cosine.reshape(shared, 1, points, -1) for cosine in cosines]
        rows = (shared, channels, points)
        jacobian = network.backward(units.reshape(-1, channels), by_channel, rows, precision)
        residual = jnp.moveaxis(values.reshape(shared, points, channels) - target, -1, 2)
        start = jnp.zeros((self.num_signals(len(target)), *latent_shape), target.dtype)
        _, pull = jax.vjp(lambda given: self._offsets(network, given), start)
        (gradient,) = pull([self.combined(residual, one) for one in jacobian])
        return jnp.asarray(gradient)

    def _offsets(self, network: Network, latents: Array) -> list[Array]:
        offsets = network.offsets(neighbourhoods(latents, self.settings))
        return [self.placed(one[:, :, 0]) for one in jnp.split(offsets, len(network.sines), axis=2)]

    @abstractmethod
    def placed(self, offsets: Float[Array, "signals cells width"]) -> Float[Array, "sets shared one_or_points width"]:
        """A layer's offsets as they are added."""

    def summed(
        self, gradient: Float[Array, "sets shared points_of_set width"]
    ) -> Float[Array, "sets shared one_or_points width"]:
        """From every point's gradient to that of what `placed` gives."""
        return gradient

    def combined(
        self,
        residual: Float[Array, "sets shared channels points_of_set"],
        jacobian: Float[Array, "shared channels points_of_set width"],
    ) -> Float[Array, "sets shared one_or_points width"]:
        """The gradient to what `placed` gives, of residuals and a layer's Jacobian."""
        return jnp.einsum("nkcp,kcpw->nkpw", residual, jacobian)

    def num_signals(self, sets: int) -> int:
        """Signals in so many sets."""
        return sets


class Folded(Sampled):
    """Points of a set share their offset. ``index`` is [cells, points of a cell]."""

    def __init__(self, settings: ModulatedSirenSettings, coords: np.ndarray, longest: int, index: np.ndarray) -> None:
        inputs = placement.inputs_at(coords[index], settings, longest)
        if np.allclose(inputs, inputs[:1], atol=1e-6):
            inputs = inputs[:1]
        super().__init__(settings, inputs)
        self.index = index
        self.sets = len(index) // len(inputs)  # of a signal

    def fold(
        self, values: Float[Array, "signals points channels"]
    ) -> Float[Array, "sets shared points_of_set channels"]:
        """Values by set: a signal, or a cell of one."""
        cells, points = self.index.shape
        return values[:, self.index].reshape(len(values) * self.sets, cells // self.sets, points, values.shape[-1])

    def unfold(
        self, values: Float[Array, "sets shared points_of_set channels"]
    ) -> Float[Array, "signals points channels"]:
        """The inverse of `fold`."""
        flat = values.reshape(-1, self.index.size, values.shape[-1])
        return flat[:, np.argsort(self.index, axis=None)]

    def placed(self, offsets: Array) -> Array:
        """A layer's offsets as they are added."""
        return offsets.reshape(len(offsets) * self.sets, -1, 1, offsets.shape[-1])

    def summed(self, gradient: Array) -> Array:
        """Over the points that share an offset."""
        return gradient.sum(axis=2, keepdims=True)

    def combined(self, residual: Array, jacobian: Array) -> Array:
        """Over channels and the points that share an offset."""
        flat = residual.reshape(*residual.shape[:2], -1)
        by_set = jacobian.reshape(len(jacobian), -1, jacobian.shape[-1])
        if len(by_set) == 1:
            return (flat[:, 0] @ by_set[0])[:, None, None]
        return jnp.einsum("nkq,kqw->nkw", flat, by_set)[:, :, None]

    def num_signals(self, sets: int) -> int:
        """Signals in so many sets."""
        return sets // self.sets


class Mixed(Sampled):
    """Linear interpolation on a grid, axis by axis."""

    def __init__(self, settings: ModulatedSirenSettings, coords: np.ndarray, longest: int, domain: Grid) -> None:
        super().__init__(settings, placement.inputs_at(coords, settings, longest)[None])
        shape = domain.shape
        positions = coords.reshape(*shape, -1)
        self.lines = []
        for axis in range(len(shape)):
            along = positions[tuple(slice(None) if a == axis else 0 for a in range(len(shape)))][:, axis]
            self.lines.append(placement.line_weights((along.astype(np.float64) + 1.0) / 2.0, settings))

    def placed(self, offsets: Array) -> Array:
        """A layer's offsets as they are added."""
        signals, _, width = offsets.shape
        mixed = offsets.reshape(signals, *[self.settings.cells] * len(self.lines), width)
        for axis, line in enumerate(self.lines, 1):
            mixed = jnp.moveaxis(jnp.tensordot(mixed, line, axes=(axis, 1)), -1, axis)
        return mixed.reshape(signals, 1, -1, width)


class Weighted(Sampled):
    """Any points, each mixing the cells by its row of a matrix; with a global latent there is none.

    ``inputs`` are [points, in], or [signals, points, in] where every signal has its own; ``weights`` with them.
    """

    def __init__(self, settings: ModulatedSirenSettings, inputs: Any, weights: Any) -> None:
        self.own = inputs.ndim == 3
        super().__init__(settings, inputs if self.own else inputs[None])
        self.weights = weights

    def fold(self, values: Array) -> Array:
        """Values by set: a signal, or a cell of one."""
        return values[None] if self.own else values[:, None]

    def unfold(self, values: Array) -> Array:
        """The inverse of `fold`."""
        return values[0] if self.own else values[:, 0]

    def placed(self, offsets: Array) -> Array:
        """A layer's offsets as they are added."""
        mixed = offsets if self.weights is None else self.weights @ offsets
        return mixed[None] if self.own else mixed[:, None]

    def summed(self, gradient: Array) -> Array:
        """Over the points that share an offset."""
        return gradient.sum(axis=2, keepdims=True) if self.weights is None else gradient
