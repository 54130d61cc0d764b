"""The training loop: one optimiser over named groups of parameters, clipped apart, resumable bit for bit on a CPU.

A step, with its gradients, its optimiser and its average, is one compiled call that works in place.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from inrbench.backends.jax.compilation import Compiled
from inrbench.backends.jax.device import device_of
from inrbench.domains import Array
from inrbench.errors import NotFinite
from inrbench.interfaces import Run
from inrbench.schedules import schedule
from inrbench.settings import TrainingSettings

__all__ = ["Descended", "Group", "Loss", "descend", "gradients", "in_parts", "named", "num_parts"]

#: Any tree of arrays, such as an Equinox module without static fields that change.
Tree = Any
#: (parameters by group, a batch's inputs, constants) -> (its loss, a mean over its signals; values to log).
Loss = Callable[[Mapping[str, Tree], Tree, Tree], tuple[jax.Array, Mapping[str, jax.Array]]]

#: What one array of a batch may take up on a CPU, in bytes: a few of them then fit into its cache together.
CACHED_BYTES = 4 * 2**20
#: On a GPU the loss is looked at only so often, since looking waits for the device.
LOOK_EVERY = 50
#: Adam's, where a schedule does not say another.
BETA_1 = 0.9


@dataclass(frozen=True)
class Group:
    """Parameters that share a learning rate and are clipped together."""

    name: str
    parameters: Tree
    lr: float


@dataclass(frozen=True)
class Descended:
    """What a descent leaves: the parameters by group, and how long compiling took."""

    parameters: dict[str, Tree]
    compile_s: float


def num_parts(most: int | None, num_signals: int, activation_bytes: int, device: str) -> int:
    """Equal parts of a batch that are worked on one by one: of ``most`` signals, else of what a CPU's cache holds."""
    if most is None:
        most = num_signals if device != "cpu" else max(1, CACHED_BYTES // max(1, activation_bytes))
    fewest = -(-num_signals // min(most, num_signals))
    return next(parts for parts in range(fewest, num_signals + 1) if num_signals % parts == 0)


def gradients(
    loss: Loss, parameters: Mapping[str, Tree], inputs: Tree, constants: Tree, parts: int = 1
) -> tuple[dict[str, Tree], dict[str, jax.Array]]:
    """(gradients by group, the loss and what is logged) of a batch, worked on in equal ``parts``.

    Every array of ``inputs`` has the batch in front.
    """
    descent = jax.value_and_grad(loss, has_aux=True)

    def part(some: Tree) -> tuple[dict[str, Tree], dict[str, jax.Array]]:
        (value, logged), found = descent(dict(parameters), some, constants)
        return found, {"loss": value, **logged}

    if parts == 1:
        return part(inputs)
    split = _split(inputs, parts)
    total = jax.tree.map(lambda one: jnp.zeros(one.shape, one.dtype), jax.eval_shape(part, jax.tree.map(_first, split)))

    def add(sums: Tree, some: Tree) -> tuple[Tree, None]:
        return jax.tree.map(jnp.add, sums, part(some)), None

    sums, _ = jax.lax.scan(add, total, split)
    return jax.tree.map(lambda one: one / parts, sums)  # type: ignore[no-any-return]


def in_parts(function: Callable[[Tree, Tree], tuple[jax.Array, Tree]], parts: int) -> Callable[..., Any]:
    """``function`` of (shared, batch) -> (a mean over the batch, more such means), worked on in equal ``parts``.

    Every array of the batch has its signals in front. The first mean can be differentiated: each part's gradients are
    taken as soon as its value is there, so that a part fits into a cache and nothing of it is kept.
    """

    def means(shared: Tree, batch: Tree) -> Any:
        return jax.tree.map(_mean, jax.lax.map(lambda part: function(shared, part), _split(batch, parts)))

    def forward(shared: Tree, batch: Tree) -> Any:
        descent = jax.value_and_grad(function, argnums=(0, 1), has_aux=True)

        def add(sums: Tree, part: Tree) -> tuple[Tree, Tree]:
            found, (to_shared, to_part) = descent(shared, part)
            return jax.tree.map(jnp.add, sums, (found, to_shared)), to_part

        split = _split(batch, parts)
        shapes = jax.eval_shape(lambda: descent(shared, jax.tree.map(_first, split)))
        nothing = jax.tree.map(lambda one: jnp.zeros(one.shape, one.dtype), (shapes[0], shapes[1][0]))
        sums, to_batch = jax.lax.scan(add, nothing, split)
        found, to_shared = jax.tree.map(lambda one: one / parts, sums)
        joined = jax.tree.map(lambda one: one.reshape(-1, *one.shape[2:]) / parts, to_batch)
        return found, (to_shared, joined)

    def backward(kept: Tree, gradient: tuple[jax.Array, Tree]) -> Tree:
        return jax.tree.map(lambda one: gradient[0] * one, kept)

    differentiable = jax.custom_vjp(means)
    differentiable.defvjp(forward, backward)
    return function if parts == 1 else differentiable


def descend(
    name: str,
    groups: Sequence[Group],
    loss: Loss,
    inputs: Callable[[int], Tree],
    total: int,
    settings: TrainingSettings,
    run: Run,
    *,
    constants: Tree = (),
    parts: int = 1,
) -> Descended:
    """``total`` steps of AdamW on ``groups``.

    ``inputs`` maps the step to its batch as NumPy arrays of the same shapes every time; ``constants`` go to the device
    once. With ``settings.ema``, d, the parameters p end as their average e: it starts where they do, and each step
    makes it d e + (1 - d) p. Raises NotFinite with the step where the loss is not finite.
    """
    device = device_of(run.device)
    rates = {group.name: group.lr for group in groups}

    def optimiser(rate: Any, beta_1: Any) -> optax.GradientTransformation:
        clip = [] if settings.clip_norm is None else [optax.clip_by_global_norm(settings.clip_norm)]
        decay = [optax.add_decayed_weights(settings.weight_decay)] if settings.weight_decay else []
        return optax.chain(*clip, optax.scale_by_adam(b1=beta_1), *decay, optax.scale_by_learning_rate(rate))

    def step_of(state: Tree, factor: jax.Array, beta_1: jax.Array, batch: Tree, constants: Tree) -> tuple[Tree, Tree]:
        found, logged = gradients(loss, state["parameter"], batch, constants, parts)
        new: dict[str, Any] = {"parameter": {}, "optimiser": {}}
        for group, parameters in state["parameter"].items():
            rule = optimiser(rates[group] * factor, beta_1)
            updates, new["optimiser"][group] = rule.update(found[group], state["optimiser"][group], parameters)
            new["parameter"][group] = optax.apply_updates(parameters, updates)
        if settings.ema is not None:
            new["average"] = optax.incremental_update(new["parameter"], state["average"], 1.0 - settings.ema)
        return new, logged

    start = {group.name: jax.tree.map(np.array, group.parameters) for group in groups}
    state: dict[str, Any] = {
        "parameter": start,
        "optimiser": {group.name: optimiser(group.lr, BETA_1).init(group.parameters) for group in groups},
    }
    if settings.ema is not None:
        state["average"] = start
    if total == 0:
        return Descended(jax.device_put(start, device), 0.0)
    held = _Held(jax.device_put(jax.tree.map(np.array, state), device))
    constants = jax.device_put(constants, device)

    def arguments(step: int) -> tuple[Any, ...]:
        factor, beta_1 = schedule(settings, step, total)
        numbers = np.float32(factor), np.float32(BETA_1 if beta_1 is None else beta_1)
        return jax.device_put((*numbers, inputs(step)), device)  # type: ignore[no-any-return]

    compiled = Compiled(step_of, donate=(0,))
    function = compiled.ready(held.state, *arguments(0), constants)
    for step in run.steps(name, total, held.save, held.restore):
        held.state, logged = function(held.state, *arguments(step), constants)
        if run.device == "cpu" or step % LOOK_EVERY == 0 or step == total - 1:
            _look(name, step, total, logged, run)
    return Descended(held.state["parameter" if settings.ema is None else "average"], compiled.seconds)


def named(tree: Tree) -> dict[str, Array]:
    """The arrays of a tree as NumPy, by the path to each: ``sines.0.weight``."""
    paths, _ = jax.tree_util.tree_flatten_with_path(tree)
    return {jax.tree_util.keystr(path, simple=True, separator="."): np.asarray(leaf) for path, leaf in paths}


def _split(batch: Tree, parts: int) -> Tree:
    return jax.tree.map(lambda array: array.reshape(parts, -1, *array.shape[1:]), batch)


def _first(array: jax.Array) -> jax.Array:
    return array[0]


def _mean(array: jax.Array) -> jax.Array:
    return array.mean(axis=0)


def _look(name: str, step: int, total: int, values: Mapping[str, jax.Array], run: Run) -> None:
    numbers = {key: float(value) for key, value in values.items()}
    if not math.isfinite(numbers["loss"]):
        raise NotFinite(
            f"the loss of {name} is {numbers['loss']} at step {step + 1} of {total}; a smaller rate may help"
        )
    run.log(step, **numbers)


class _Held:
    """Parameters, their average and the optimiser's moments on the device, and as NumPy arrays for a checkpoint."""

    def __init__(self, state: Tree) -> None:
        self.state = state

    def save(self) -> dict[str, Array]:
        return named(self.state)

    def restore(self, arrays: Mapping[str, Array]) -> None:
        names = list(named(self.state))
        leaves, shape = jax.tree.flatten(self.state)
        restored = [jax.device_put(np.array(arrays[n]), leaf.device) for n, leaf in zip(names, leaves, strict=True)]
        self.state = jax.tree.unflatten(shape, restored)
