"""Observed signals: what a training step sees of its batch, on the device; and signals by shard, for fitting."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np

from inrbench.backends.jax.copies import augment, check_augmentation, draw_moves
from inrbench.backends.jax.fields import coords_of
from inrbench.domains import Array, Domain
from inrbench.errors import Refused
from inrbench.interfaces import Run
from inrbench.settings import Augmentation
from inrbench.signals import DrawableSignals, Signals

__all__ = ["Observer", "Shard", "num_drawn", "observer", "shards"]

#: Training signals up to this size go to the device once; more of them, or such as are decoded on demand, by batch.
RESIDENT_BYTES = 4 * 2**30


@dataclass(frozen=True)
class Observer:
    """How a batch comes to a training step.

    ``inputs`` maps the step and the places of its signals to NumPy arrays with the batch in front, ``constants`` go to
    the device once, and ``values`` turns both into values in [0, 1], [signals, points, channels], within the step.
    """

    domain: Domain | None  # None: every signal has points of its own, in inputs["coords"] [signals, points, coord_dim]
    constants: Any
    inputs: Callable[[int, Array], dict[str, Any]]
    values: Callable[[dict[str, Any], Any], jax.Array]


def observer(train: Signals, augmentation: Augmentation, share: float, run: Run) -> Observer:
    """All points of signals that share a grid, in augmented copies; or a fresh draw of ``share`` of free points.

    Raises Refused where the signals are neither, or the copies cannot be made.
    """
    stacked = train.stacked()
    if stacked is None:
        return _drawn(train, augmentation, share, run)
    if share != 1.0:
        raise Refused(f"setting fitter.subsample={share}: signals on a grid are seen whole; allowed is 1.0")
    domain, stored, (scale, offset) = stacked
    augmented = augmentation != Augmentation()
    if augmented:
        check_augmentation(augmentation)
    resident = isinstance(stored, np.ndarray) and stored.nbytes <= RESIDENT_BYTES

    def inputs(step: int, index: Array) -> dict[str, Any]:
        batch: dict[str, Any] = {"index": index.astype(np.int32)} if resident else {"stored": np.asarray(stored[index])}
        if augmented:
            batch["moves"] = draw_moves(len(index), augmentation, run.rng("copies", step))
        return batch

    def values(batch: dict[str, Any], constants: Any) -> jax.Array:
        picked = constants[batch["index"]] if resident else batch["stored"]
        copies = picked.astype(jnp.float32) * np.float32(scale) + np.float32(offset)
        if augmented:
            copies = augment(copies, augmentation, batch["moves"])
        return cast(jax.Array, copies.reshape(len(copies), -1, copies.shape[-1]))

    return Observer(domain, np.asarray(stored) if resident else (), inputs, values)


def num_drawn(share: float, num_points: int) -> int:
    """How many points a draw of ``share`` of them holds: ⌊share · points⌋, and at least one."""
    return max(1, int(share * num_points + 1e-9))


def _drawn(train: Signals, augmentation: Augmentation, share: float, run: Run) -> Observer:
    if not isinstance(train, DrawableSignals):
        raise Refused("training takes signals that share one grid, or that have a value at any point")
    count = num_drawn(share, train.num_points)
    copies = augmentation if augmentation != Augmentation() else None

    def inputs(step: int, index: Array) -> dict[str, Any]:
        chosen = cast(DrawableSignals, train.take(index))
        rngs = (run.rng("points", step, int(one)) for one in chosen.ids)
        found = [chosen.draw(i, 1, count, rng, copies) for i, rng in enumerate(rngs)]
        return {name: np.stack([pair[k][0] for pair in found]) for k, name in enumerate(("coords", "values"))}

    return Observer(None, (), inputs, lambda batch, constants: batch["values"])


@dataclass(frozen=True)
class Shard:
    """Signals in a row, padded to a common size by the last of them: ``ids`` says how many there are."""

    ids: Array
    domain: Domain | None  # None: every signal has points of its own
    coords: Array | None  # [size, points, coord_dim] in that case
    values: Array  # [size, points, channels] in [0, 1], float32


def shards(signals: Signals, size: int) -> Iterator[Shard]:
    """``signals`` in order, ``size`` at a time; fewer where the number of points changes."""
    stacked = signals.stacked()
    if stacked is not None:
        domain, stored, (scale, offset) = stacked
        for first in range(0, len(signals), size):
            chunk = np.asarray(stored[first : first + size])
            values = chunk.astype(np.float32) * np.float32(scale) + np.float32(offset)
            flat = values.reshape(len(chunk), -1, chunk.shape[-1])
            yield Shard(signals.ids[first : first + size], domain, None, _padded(flat, size))
        return
    first = 0
    while first < len(signals):
        coords: list[Array] = []
        values_of: list[Array] = []
        for i in range(first, min(first + size, len(signals))):
            parts = signals.observed(i)
            if len(parts) != 1:
                raise Refused(f"this fitter takes signals of one part; signal {signals.ids[i]} has {len(parts)}")
            points = coords_of(parts[0].domain)
            if coords and len(points) != len(coords[0]):
                break
            coords.append(points)
            values_of.append(parts[0].unit_values().reshape(len(points), -1))
        ids = signals.ids[first : first + len(coords)]
        yield Shard(ids, None, _padded(np.stack(coords), size), _padded(np.stack(values_of), size))
        first += len(coords)


def _padded(rows: Array, size: int) -> Array:
    """``size`` rows: those beyond the given ones repeat the last."""
    return np.concatenate([rows, np.repeat(rows[-1:], size - len(rows), axis=0)]) if len(rows) < size else rows
