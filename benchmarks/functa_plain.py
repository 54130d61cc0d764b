"""functa and spatial functa in plain Equinox, as a careful user writes them: what tests and benchmarks compare with.

One point of one signal is a call of a module; `jax.vmap` adds points and signals, `jax.jit` compiles, `jax.grad` is the
inner loop, `jnp.sin` the sine, and each point gathers its cells' shifts. The mathematics is that of Dupont et al., 2022
(arXiv 2201.12204) and Bauer et al., 2023 (arXiv 2302.03130), as in `inrbench_functa`, of which nothing is imported.

    places = image_places((32, 32), cells=8)
    model = Plain.of(arrays, omega_0=10.0, cells=8)
    loss, gradients = outer_gradients(model, places, values, rate_scale=64.0)  # gradients.arrays(): named as `arrays`
    latents = encode(model, places, values, rate_scale=64.0)
    values = reconstruct(model, places, latents)

``arrays`` are named as the plugin's: ``sines.0.weight`` [width, in], ``sines.0.bias`` [width], ... of the sine layers;
``output.weight`` [channels, width], ``output.bias``; ``shift.weight`` [sine layers · width, latent], ``shift.bias``,
layer by layer; ``rates``, of a latent's shape or broadcast to it. With cells ``latent`` is kernel · kernel · channels,
in the order row, column, channel. Values are [signals, points, channels], pixels row by row.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float, Int

__all__ = ["Places", "Plain", "encode", "image_places", "outer_gradients", "outer_loss", "point_places", "reconstruct"]

STEPS = 3  # of the inner loop


class Places(NamedTuple):
    """Where points lie: what the first layer takes, their cells (None: one latent for all), and how these are mixed."""

    inputs: Float[np.ndarray, "points in"]
    cells: Int[np.ndarray, "points mixed"] | None = None
    weights: Float[np.ndarray, "points mixed"] | None = None


def point_places(coords: Float[np.ndarray, "points coord_dim"]) -> Places:
    """Points of a signal with one latent; ``coords`` are each in [-1, 1]."""
    return Places(np.asarray((coords + 1.0) / 2.0, np.float32))


def image_places(
    shape: tuple[int, int],
    cells: int | None = None,
    interpolation: Literal["nearest", "linear"] = "nearest",
    coordinates: Literal["global", "cell", "binary"] | None = None,
    digits: int | None = None,
) -> Places:
    """The pixels of an image, row by row, with one latent (``cells`` is None) or cells x cells of them."""
    if coordinates is None and cells is not None:
        coordinates = "cell" if interpolation == "nearest" else "binary"
    digits = digits or max(1, (max(shape) - 1).bit_length())
    inputs, found, weights = [], [], []
    for row in range(shape[0]):
        for column in range(shape[1]):
            position = [(row + 0.5) / shape[0], (column + 0.5) / shape[1]]
            scaled = [x * (cells or 1) for x in position]
            if coordinates == "binary":
                numbers = [int(x * 2**digits) for x in position]
                inputs.append([float(bit) for number in numbers for bit in f"{number:0{digits}b}"])
            else:
                inputs.append([x - int(x) for x in scaled] if coordinates == "cell" else position)
            if cells is None:
                continue
            if interpolation == "nearest":
                found.append([int(scaled[0]) * cells + int(scaled[1])])
                continue
            mixed = []
            for x in scaled:
                x = min(max(x - 0.5, 0.0), cells - 1.0)  # from the first cell's centre on
                low = min(int(x), cells - 2) if cells > 1 else 0
                mixed.append([(low, 1.0 - (x - low)), (min(low + 1, cells - 1), x - low)])
            pairs = [(i * cells + j, a * b) for i, a in mixed[0] for j, b in mixed[1]]
            found.append([cell for cell, _ in pairs])
            weights.append([weight for _, weight in pairs])
    given = np.asarray(inputs, np.float32)
    return Places(given, np.asarray(found) if found else None, np.asarray(weights, np.float32) if weights else None)


class Plain(eqx.Module):
    """The field and its inner rates; ``shift`` maps a latent [latent] or [channels, cells, cells] to all shifts."""

    sines: list[eqx.nn.Linear]
    output: eqx.nn.Linear
    shift: Any  # eqx.nn.Linear, or eqx.nn.Conv2d over the cells
    rates: Array
    omega_0: float = eqx.field(static=True)
    cells: int | None = eqx.field(static=True)

    @classmethod
    def of(cls, arrays: Mapping[str, Array], omega_0: float, cells: int | None = None, kernel: int = 1) -> Plain:
        """The module that holds ``arrays``, with or without ``network/`` in front of a name, as in a fitter's state."""
        arrays = {name.removeprefix("network/"): array for name, array in arrays.items()}

        def linear(name: str) -> Any:
            weight, bias = jnp.asarray(arrays[f"{name}.weight"]), jnp.asarray(arrays[f"{name}.bias"])
            empty = eqx.nn.Linear(weight.shape[1], weight.shape[0], key=jax.random.key(0))
            return eqx.tree_at(lambda layer: (layer.weight, layer.bias), empty, (weight, bias))

        depth = sum(name.startswith("sines.") and name.endswith(".weight") for name in arrays)
        shift = linear("shift")
        if cells is not None:
            out, channels = shift.weight.shape[0], shift.weight.shape[1] // kernel**2
            weight = shift.weight.reshape(out, kernel, kernel, channels).transpose(0, 3, 1, 2)
            empty = eqx.nn.Conv2d(channels, out, kernel, padding=kernel // 2, key=jax.random.key(0))
            shift = eqx.tree_at(lambda c: (c.weight, c.bias), empty, (weight, shift.bias.reshape(out, 1, 1)))
        sines = [linear(f"sines.{i}") for i in range(depth)]
        return cls(sines, linear("output"), shift, jnp.asarray(arrays["rates"]), omega_0, cells)

    def arrays(self) -> dict[str, Array]:
        """The inverse of `of`; of a gradient the gradients, by name."""
        found: dict[str, Any] = {"rates": self.rates}
        for name, layer in [*((f"sines.{i}", layer) for i, layer in enumerate(self.sines)), ("output", self.output)]:
            found |= {f"{name}.weight": layer.weight, f"{name}.bias": layer.bias}
        weight, bias = self.shift.weight, self.shift.bias
        if self.cells is not None:
            weight = weight.transpose(0, 2, 3, 1)
        return found | {"shift.weight": weight.reshape(len(weight), -1), "shift.bias": bias.reshape(-1)}

    def latent_shape(self) -> tuple[int, ...]:
        """Of one signal: [latent] or [cells, cells, channels]."""
        values = self.shift.weight.shape[1]
        return (values,) if self.cells is None else (self.cells, self.cells, values)

    def at(self, inputs: Float[Array, " in"], shifts: Float[Array, "layers width"]) -> Float[Array, " channels"]:
        """The output at one point."""
        hidden = inputs
        for layer, shift in zip(self.sines, shifts, strict=True):
            hidden = jnp.sin(self.omega_0 * (layer(hidden) + shift))
        return self.output(hidden) + 0.5

    def __call__(self, latent: Float[Array, "*cells latent"], places: Places) -> Float[Array, "points channels"]:
        """The output of one signal."""
        inputs = jnp.asarray(places.inputs, latent.dtype)
        layers = len(self.sines)
        if self.cells is None:
            return jax.vmap(self.at, (0, None))(inputs, self.shift(latent).reshape(layers, -1))
        by_cell = self.shift(latent.transpose(2, 0, 1)).reshape(layers, -1, self.cells**2).transpose(2, 0, 1)

        def point(inputs: Array, cells: Array, weights: Array | None) -> Array:
            shifts = by_cell[cells]  # [mixed, layers, width]
            mixed = shifts[0] if weights is None else jnp.sum(weights[:, None, None] * shifts, 0)
            return self.at(inputs, mixed)

        weights = None if places.weights is None else jnp.asarray(places.weights, latent.dtype)
        return jax.vmap(point)(inputs, jnp.asarray(places.cells), weights)


def _error(latent: Array, model: Plain, places: Places, values: Array) -> Array:
    return jnp.mean((model(latent, places) - values) ** 2)


def _adapted(model: Plain, places: Places, values: Array, rate_scale: float) -> Array:
    latent = jnp.zeros(model.latent_shape(), values.dtype)
    for _ in range(STEPS):
        latent = latent - rate_scale * model.rates * jax.grad(_error)(latent, model, places, values)
    return latent


def outer_loss(
    model: Plain, places: Places, values: Float[Array, "signals points channels"], rate_scale: float = 1.0
) -> Float[Array, ""]:
    """The mean over the signals of the mean squared error after the inner loop; ``values`` are in [0, 1]."""

    def one(values: Array) -> Array:
        return _error(_adapted(model, places, values, rate_scale), model, places, values)

    return jnp.mean(jax.vmap(one)(values))


@eqx.filter_jit
def outer_gradients(
    model: Plain, places: Places, values: Float[Array, "signals points channels"], rate_scale: float = 1.0
) -> tuple[Float[Array, ""], Plain]:
    """(`outer_loss`, its gradients, through the inner loop, with respect to all arrays of ``model``)."""
    return eqx.filter_value_and_grad(outer_loss)(model, places, values, rate_scale)


@eqx.filter_jit
def encode(
    model: Plain, places: Places, values: Float[Array, "signals points channels"], rate_scale: float = 1.0
) -> Float[Array, "signals *cells latent"]:
    """The signals' latents after the inner loop."""
    return jax.vmap(lambda one: _adapted(model, places, one, rate_scale))(values)


@eqx.filter_jit
def reconstruct(
    model: Plain, places: Places, latents: Float[Array, "signals *cells latent"]
) -> Float[Array, "signals points channels"]:
    """The signals' values at ``places``, unclamped."""
    return jax.vmap(lambda latent: model(latent, places))(latents)
