"""Plain gradient descent in JAX: the twin of `inrbench_fields.gradient_descent`, with the same settings and draws."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from inrbench.backends.jax.compilation import Compiled
from inrbench.backends.jax.device import device_of
from inrbench.backends.jax.fields import Field, coords_of
from inrbench.backends.jax.observed import Shard, shards
from inrbench.backends.jax.training import named
from inrbench.domains import Array, Domain, Grid
from inrbench.errors import BadSetting, NotFinite
from inrbench.interfaces import FitterFacts, Head, Run, Trained
from inrbench.representations import Arrays, Layout, Representations
from inrbench.signals import Signals, SignalSpec
from inrbench_fields.settings import GradientDescentSettings

__all__ = ["GradientDescent"]

#: Signals that are queried at once.
QUERY_ROWS = 16
#: Parameters of a field: any tree of arrays; its paths name them.
Tree = Any


class GradientDescent:
    """Descends each signal's mean squared error, in the field's own output range, over all of its points."""

    def __init__(self, settings: GradientDescentSettings, spec: SignalSpec, inr: Field) -> None:
        if settings.batch_points is not None or settings.schedule != "constant":
            raise BadSetting(
                f"settings fitter.batch_points={settings.batch_points} and fitter.schedule={settings.schedule}: in JAX "
                "a step sees all points, at a constant rate; --set fitter.backend=torch has both"
            )
        if settings.evaluate or len(spec.parts) > 1:
            raise BadSetting(
                f"setting fitter.evaluate={settings.evaluate} on signals of {len(spec.parts)} parts: in JAX allowed "
                "are 0 and one part; --set fitter.backend=torch has both"
            )
        self.settings, self.spec, self.field = settings, spec, inr
        example = inr.init(np.random.default_rng(0))
        self.structure = jax.tree.structure(example)
        shapes = {name: array.shape for name, array in named(example).items()}
        self.layout = Layout("weights", shapes, None, inr.convention())
        kinds = {"adam": optax.adam, "sgd": optax.sgd}
        self.optimiser: optax.GradientTransformation = kinds[settings.optimiser](settings.lr)
        self.step = Compiled(self._step, donate=(0,))
        self.values = Compiled(self._values)

    @property
    def compile_s(self) -> float:
        """Seconds of compiling in `fit` and `query`, so far."""
        return self.step.seconds + self.values.seconds

    def train(self, train: Signals, validation: Signals, run: Run, heads: Sequence[Head] = ()) -> Trained:
        """Nothing is shared, so nothing is learned."""
        return Trained({})

    def load(self, shared: Arrays) -> None:
        """Nothing is shared."""

    def fit(self, signals: Signals, run: Run) -> Iterator[Representations]:
        """Fit ``signals`` shard by shard; a signal's result depends on its id and its values alone."""
        for number, shard in enumerate(shards(signals, self.settings.shard)):
            arrays = self._descend(shard, f"shard {number}", run)
            yield Representations(self.layout, arrays, shard.ids, np.zeros(len(shard.ids), dtype=np.int64))

    def query(self, rows: Representations, domain: Domain, run: Run) -> Iterator[Array]:
        """The fields' values on ``domain``, in [0, 1] up to overshoot: [chunk, *domain, channels]."""
        device = device_of(run.device)
        coords = jax.device_put(coords_of(domain), device)
        shape = domain.shape if isinstance(domain, Grid) else (domain.num_points,)
        for first in range(0, len(rows), QUERY_ROWS):
            chunk = rows.take(slice(first, first + QUERY_ROWS)).arrays
            leaves = [np.asarray(chunk[name], dtype=np.float32) for name in self.layout.shapes]
            parameters = jax.device_put(jax.tree.unflatten(self.structure, leaves), device)
            values = np.asarray(self.values(parameters, coords))
            yield values.reshape(len(values), *shape, -1)

    def facts(self) -> FitterFacts:
        """Every parameter of the field is adapted; a step costs a forward and a backward pass (3 forward passes)."""
        count = self.layout.num_values
        forward = self.field.flops(int(np.prod(self.spec.parts[0].shape)))
        kind = "independent" if self.settings.initialisation == "independent" else "shared"
        return FitterFacts(count, count, kind, "global", 0.0, 3.0 * forward * self.settings.steps)  # type: ignore[arg-type]

    def _values(self, parameters: Tree, coords: jax.Array) -> jax.Array:
        scale, offset = self.field.to_unit
        return self.field.apply(parameters, None, coords) * scale + offset

    def _step(self, state: Tree, coords: jax.Array, values: jax.Array) -> tuple[Tree, jax.Array]:
        """(the state after one step, each signal's error before it). Signals share nothing: a sum keeps them apart."""
        scale, offset = self.field.to_unit
        target = (values - offset) / scale

        def total(parameters: Tree) -> tuple[jax.Array, jax.Array]:
            error = jnp.square(self.field.apply(parameters, None, coords) - target).mean((1, 2))
            return error.sum(), error

        (_, error), gradients = jax.value_and_grad(total, has_aux=True)(state["array"])
        updates, optimiser = self.optimiser.update(gradients, state["optimiser"], state["array"])
        return {"array": optax.apply_updates(state["array"], updates), "optimiser": optimiser}, error

    def _initial(self, ids: Array, size: int, run: Run) -> Tree:
        """Initial parameters of ``size`` signals; those beyond ``ids`` repeat the last, as their values do."""
        keys = ids if self.settings.initialisation == "independent" else [-1] * len(ids)
        drawn = [self.field.init(run.rng("initialisation", key)) for key in keys]
        drawn += drawn[-1:] * (size - len(drawn))
        return jax.tree.map(lambda *each: np.stack(each), *drawn)

    def _descend(self, shard: Shard, name: str, run: Run) -> dict[str, np.ndarray]:
        settings, device = self.settings, device_of(run.device)
        coords = coords_of(shard.domain) if shard.domain is not None else shard.coords
        given = jax.device_put((coords, shard.values), device)
        start = self._initial(shard.ids, len(shard.values), run)
        state = jax.device_put({"array": start, "optimiser": self.optimiser.init(start)}, device)
        error = jnp.zeros(len(shard.values))

        def save() -> dict[str, Array]:
            return named(state)

        def restore(saved: Arrays) -> None:
            nonlocal state
            leaves = [np.array(saved[path]) for path in named(state)]
            state = jax.device_put(jax.tree.unflatten(jax.tree.structure(state), leaves), device)

        for step in run.steps(name, settings.steps, save, restore):
            state, error = self.step(state, *given)
            if step == settings.steps - 1 and not bool(jnp.isfinite(error).all()):
                raise NotFinite(f"fitting diverged on signal {shard.ids[int(jnp.isfinite(error).argmin())]}")
        count = len(shard.ids)
        return {key: array[:count] for key, array in named(state["array"]).items()}
