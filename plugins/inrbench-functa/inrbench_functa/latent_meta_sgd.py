"""Meta-SGD on a latent: what is shared are the field's parameters and an inner rate for each value of the latent.

Dupont et al., 2022 (arXiv 2201.12204), section 3; Bauer et al., 2023 (arXiv 2302.03130), section 3. A latent starts at
0 and takes a few steps along its own gradient; the outer loss is the batch's mean error after them, with the whole
second order, descended by Adam.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from math import prod
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from inrbench.backends.jax.compilation import Compiled
from inrbench.backends.jax.device import device_of
from inrbench.backends.jax.fields import coords_of
from inrbench.backends.jax.observed import Observer, Shard, num_drawn, observer, shards
from inrbench.backends.jax.precision import check_agreement
from inrbench.backends.jax.training import Group, descend, gradients, in_parts, named, num_parts
from inrbench.domains import Array, Domain, Grid
from inrbench.errors import Refused
from inrbench.interfaces import FitterFacts, Head, Run, Trained
from inrbench.representations import Arrays, Layout, Representations
from inrbench.schedules import batches
from inrbench.signals import Signals, SignalSpec
from inrbench_functa.inner_loop import InnerLoop
from inrbench_functa.settings import LatentMetaSGDSettings
from inrbench_functa.siren import ModulatedSiren

__all__ = ["LatentMetaSGD"]

#: One layer's values of the signals that are queried at once.
QUERY_BYTES = 2**26


class LatentMetaSGD:
    """The fitter: what is shared is the field's parameters (``network/*``) and the inner rates (``rates``)."""

    def __init__(self, settings: LatentMetaSGDSettings, spec: SignalSpec, inr: ModulatedSiren) -> None:
        self.settings, self.spec, self.field = settings, spec, inr
        self.layout = Layout(inr.kind, {"latent": inr.latent_shape}, None, inr.convention())
        self.shared: dict[str, Array] = {}
        self.compile_s = 0.0  # of fitting and querying, so far
        self._functions: dict[Any, Compiled] = {}

    # ------------------------------------------------------------------ training

    def start(self, run: Run) -> tuple[Any, Array]:
        """(the field's parameters, the rates), keyed by the run's seed."""
        network = self.field.init(run.rng("fitter", "initialisation"))
        low, high = self.settings.rate_low, self.settings.rate_high
        rates = run.rng("fitter", "rates").uniform(low, high, self.field.latent_shape)
        return network, rates.astype(np.float32)

    def train(self, train: Signals, validation: Signals, run: Run, heads: Sequence[Head] = ()) -> Trained:
        """Learn the field and the rates."""
        settings = self.settings
        if len(train) == 0:
            raise Refused("there is no training signal: this data set has none, or data.validation takes them all")
        observed = observer(train, settings.train.augmentation, settings.subsample, run)
        network, rates = self.start(run)
        groups = [
            Group("network", network, settings.lr),
            Group("rates", {"rates": rates}, settings.lr_rates or settings.lr),
        ]
        batch = batches(len(train), settings.train.batch_size, run)
        total = settings.train.num_steps(len(train))
        size = min(settings.train.batch_size, len(train))
        parts = num_parts(settings.train.micro_batch, size, self.activation_bytes(), run.device)

        def inputs(step: int) -> dict[str, Any]:
            given = observed.inputs(step, batch(step))
            return given if observed.domain is not None else given | {"located": self.field.located(given["coords"])}

        if settings.train.precision == "bfloat16" and total:
            self._check_precision(groups, observed, inputs(0), parts, run)
        loss = self.loss_on(observed, settings.train.precision, parts)
        done = descend("train", groups, loss, inputs, total, settings.train, run, constants=observed.constants)
        network, rates = done.parameters["network"], done.parameters["rates"]["rates"]
        return Trained(self.state(network, rates), {}, total, done.compile_s)

    def loss_on(self, observed: Observer, precision: str = "float32", parts: int = 1) -> Callable[..., Any]:
        """The outer loss of a batch and what is logged of it, as `descend` takes it; ``parts`` as in `mean_error`."""
        scale = self.settings.rate_scale

        def loss(parameters: Mapping[str, Any], batch: dict[str, Any], constants: Any) -> tuple[Any, dict[str, Any]]:
            network, rates = parameters["network"], parameters["rates"]["rates"]
            values = observed.values(batch, constants)
            error, psnr = self.mean_error(network, rates, values, observed.domain, batch, precision, parts)
            ends = {"rate_min": scale * rates.min(), "rate_max": scale * rates.max()}
            return error, {"psnr_db": psnr, **ends, "rate_negative_share": (rates < 0).mean()}

        return loss

    def mean_error(
        self,
        network: Any,
        rates: jax.Array,
        values: jax.Array,
        domain: Domain | None,
        batch: Mapping[str, Any],
        precision: str = "float32",
        parts: int = 1,
    ) -> tuple[jax.Array, jax.Array]:
        """(mean squared error after all steps, mean PSNR in dB) of a batch.

        A first step that all signals share is done for the whole batch, the rest in ``parts`` that fit into a cache.
        """
        latents, done = self._loop(network, rates, values, domain, batch, precision).begun()

        def rest(shared: tuple[Any, jax.Array], part: dict[str, Any]) -> tuple[jax.Array, jax.Array]:
            loop = self._loop(*shared, part["values"], domain, part, precision)
            *_, last = part["latents"], *loop.steps(part["latents"], self.settings.steps - done)
            errors = loop.errors(last)
            return errors.mean(), -10.0 * jnp.log10(jax.lax.stop_gradient(errors)).mean()

        error, psnr = in_parts(rest, parts)((network, rates), _in_front(values, latents, domain, batch))
        return error, psnr

    def fitted(
        self,
        network: Any,
        rates: jax.Array,
        values: jax.Array,
        domain: Domain | None,
        batch: Mapping[str, Any],
        parts: int = 1,
    ) -> jax.Array:
        """The latents after all steps, the first as in `mean_error`, the rest in ``parts``."""
        latents, done = self._loop(network, rates, values, domain, batch).begun()

        def rest(part: dict[str, Any]) -> jax.Array:
            loop = self._loop(network, rates, part["values"], domain, part)
            *_, last = part["latents"], *loop.steps(part["latents"], self.settings.steps - done)
            return last

        data = _in_front(values, latents, domain, batch)
        if parts == 1:
            return rest(data)
        split = jax.tree.map(lambda array: array.reshape(parts, -1, *array.shape[1:]), data)
        return jnp.asarray(jax.lax.map(rest, split)).reshape(latents.shape)

    def errors(
        self, network: Any, rates: jax.Array, values: jax.Array, domain: Domain | None, batch: Mapping[str, Any]
    ) -> jax.Array:
        """[signals]: the mean squared error of each after all steps, as a function of what is shared."""
        last = self.path(network, rates, values, domain, batch)[-1]
        return self._loop(network, rates, values, domain, batch).errors(last)

    def path(
        self, network: Any, rates: jax.Array, values: jax.Array, domain: Domain | None, batch: Mapping[str, Any]
    ) -> list[jax.Array]:
        """The latents of ``values`` after 0, 1, ... and all steps, as functions of what is shared."""
        loop = self._loop(network, rates, values, domain, batch)
        latents, done = loop.begun()
        return [*([loop.start] if done else []), latents, *loop.steps(latents, self.settings.steps - done)]

    def _loop(
        self,
        network: Any,
        rates: jax.Array,
        values: jax.Array,
        domain: Domain | None,
        batch: Mapping[str, Any],
        precision: str = "float32",
    ) -> InnerLoop:
        sampled = self.field.at(batch["located"]) if domain is None else self.field.sampled(domain)
        scaled = self.settings.rate_scale * rates
        return InnerLoop(sampled, network, scaled, values, self.settings.first_order, precision)

    def _check_precision(
        self, groups: Sequence[Group], observed: Observer, batch: dict[str, Any], parts: int, run: Run
    ) -> None:
        """Compare the first batch's gradients in bfloat16 with those in float32."""
        device = device_of(run.device)
        parameters, batch, constants = jax.device_put(
            ({group.name: group.parameters for group in groups}, batch, observed.constants), device
        )

        def found(precision: str) -> dict[str, Any]:
            loss = self.loss_on(observed, precision, parts)
            return jax.jit(lambda *given: gradients(loss, *given)[0])(parameters, batch, constants)  # type: ignore[no-any-return]

        check_agreement(found, run, setting="fitter.train.precision")

    def activation_bytes(self) -> int:
        """A layer's sine, cosine and gradient of one signal, and one more to work with, as float32."""
        return 16 * self.field.settings.width * self._points_a_step()

    def _points_a_step(self) -> int:
        part = self.spec.parts[0]
        num_points = prod(part.shape)
        return num_points if part.domain == "grid" else num_drawn(self.settings.subsample, num_points)

    def state(self, network: Any, rates: Any) -> dict[str, Array]:
        """What is shared, as named NumPy arrays."""
        return {f"network/{name}": array for name, array in named(network).items()} | {"rates": np.asarray(rates)}

    # ------------------------------------------------------------------ fitting and querying

    def load(self, shared: Arrays) -> None:
        """Take up what `train` returned."""
        self.shared = {name: np.asarray(array) for name, array in shared.items()}

    def fit(self, signals: Signals, run: Run) -> Iterator[Representations]:
        """All steps on each signal; rows are the latents."""
        for shard, path in self._paths(signals, run, last=True):
            yield self._rows(shard, path[-1])

    def trace(self, signals: Signals, run: Run) -> list[Representations]:
        """All of ``signals`` after 0, 1, ... and all steps."""
        paths = [[self._rows(shard, latents) for latents in path] for shard, path in self._paths(signals, run)]
        return [Representations.joined(step) for step in zip(*paths, strict=True)]

    def _paths(self, signals: Signals, run: Run, *, last: bool = False) -> Iterator[tuple[Shard, list[jax.Array]]]:
        """For each shard the latents at the start and after each step, or after the last one alone."""
        device = device_of(run.device)
        network, rates = jax.device_put(self._shared_parts(), device)
        parts = num_parts(None, self.settings.shard, self.activation_bytes(), run.device)
        for shard in shards(signals, self.settings.shard):
            located = None if shard.coords is None else self.field.located(shard.coords)
            given = jax.device_put((shard.values, {"located": located}), device)

            def path(network: Any, rates: Any, values: Any, batch: Any, domain: Any = shard.domain) -> list[jax.Array]:
                if last:
                    return [self.fitted(network, rates, values, domain, batch, parts)]
                return self.path(network, rates, values, domain, batch)

            yield shard, self._compiled(("fit", last, shard.domain), path, network, rates, *given)

    def _rows(self, shard: Shard, latents: jax.Array) -> Representations:
        count = len(shard.ids)  # what is behind it is padding
        arrays = {"latent": np.asarray(latents)[:count]}
        return Representations(self.layout, arrays, shard.ids, np.zeros(count, dtype=np.int64))

    def query(self, rows: Representations, domain: Domain, run: Run) -> Iterator[Array]:
        """The fields' values on ``domain``, [chunk, *domain, channels], unclamped."""
        device = device_of(run.device)
        network, _ = jax.device_put(self._shared_parts(), device)
        shape = domain.shape if isinstance(domain, Grid) else (domain.num_points,)
        size = max(1, QUERY_BYTES // (4 * self.field.settings.width * domain.num_points))
        size = min(size, self.settings.shard, len(rows))
        located = None if isinstance(domain, Grid) else jax.device_put(self.field.located(coords_of(domain)), device)

        def values(network: Any, latents: Any, located: Any) -> jax.Array:
            sampled = self.field.sampled(domain) if located is None else self.field.at(located)
            return sampled.unfold(sampled.values(network, latents))

        for first in range(0, len(rows), size):
            chunk = np.asarray(rows.arrays["latent"][first : first + size], dtype=np.float32)
            padded = np.concatenate([chunk, np.zeros((size - len(chunk), *chunk.shape[1:]), dtype=np.float32)])
            key = ("query", domain if isinstance(domain, Grid) else None)
            found = self._compiled(key, values, network, jax.device_put(padded, device), located)
            yield np.asarray(found)[: len(chunk)].reshape(len(chunk), *shape, -1)

    def _compiled(self, key: Any, function: Callable[..., Any], *arguments: Any) -> Any:
        """``function`` of ``arguments``, compiled once for each ``key`` and their shapes; the seconds are counted."""
        compiled = self._functions.setdefault(key, Compiled(function))
        before = compiled.seconds
        ready = compiled.ready(*arguments)
        self.compile_s += compiled.seconds - before
        return ready(*arguments)

    def _shared_parts(self) -> tuple[Any, Array]:
        """(the field's parameters, the rates) of what was loaded."""
        if not self.shared:
            raise ValueError("this fitter has nothing to share yet: call load first")
        template = self.field.init(np.random.default_rng(0))
        leaves = [self.shared[f"network/{name}"] for name in named(template)]
        return jax.tree.unflatten(jax.tree.structure(template), leaves), self.shared["rates"]

    def facts(self) -> FitterFacts:
        """The field and the rates; a signal costs 2 forward passes a step in fitting and 6 in training, and 3 after.

        A step's gradient to the latent needs no gradient to the weights: a forward and a backward pass. Differentiating
        it takes another 4, and the outer loss 3.
        """
        adapted = prod(self.field.latent_shape)
        forward = self.field.flops(self._points_a_step())
        steps = self.settings.steps
        return FitterFacts(
            parameters=self.field.num_parameters() + adapted,
            adapted_values=adapted,
            initialisation="meta-learned",
            scope="global" if self.field.kind == "latent" else "spatial",
            train_flops=forward * ((2 if self.settings.first_order else 6) * steps + 3),
            fit_flops=forward * 2 * steps,
        )


def _in_front(values: jax.Array, latents: jax.Array, domain: Domain | None, batch: Mapping[str, Any]) -> dict[str, Any]:
    """What a part of a batch needs, all with the signals in front."""
    return {"values": values, "latents": latents} | ({"located": batch["located"]} if domain is None else {})
