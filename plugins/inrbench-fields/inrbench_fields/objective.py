"""What a step of plain gradient descent sees of its signals, and the gradient of its error there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import cast

import numpy as np
from torch import Tensor

from inrbench.backends.torch.batches import StoredParts, StoredSignals, foreground, stored_parts, stored_shards
from inrbench.backends.torch.draws import torch_generator
from inrbench.backends.torch.fields import (
    DifferentiatedField,
    Field,
    autograd_loss_and_gradient,
    coords_of,
    loss_and_gradient,
)
from inrbench.backends.torch.observed import DrawnSignals
from inrbench.backends.torch.operators import GridField, coords_at, observer
from inrbench.backends.torch.rendering import RadianceField
from inrbench.domains import Array, Grid, Rays
from inrbench.errors import Refused
from inrbench.interfaces import Run
from inrbench.signals import DrawableSignals, Signals, SignalSpec
from inrbench_fields.settings import GradientDescentSettings

__all__ = ["Objective", "objectives"]

Tensors = dict[str, Tensor]
#: From a step and the arrays to (each signal's mean squared error, its gradient to each array).
Gradients = Callable[[int, Tensors], tuple[Tensor, Tensors]]


@dataclass(frozen=True)
class Objective:
    """Some signals' errors: signal by signal, so that no result depends on the others."""

    ids: Array
    gradients: Gradients
    stored: StoredSignals | StoredParts | DrawnSignals


def objectives(
    field: Field, settings: GradientDescentSettings, spec: SignalSpec, signals: Signals, run: Run
) -> Iterator[Objective]:
    """The errors of ``signals`` shard by shard: at all points that they list, or at `batch_points` anew at each step.

    Signals of several parts come one by one; a draw is of the points of all parts together. Draws are keyed by
    (signal, step). Raises Refused for signals that a step cannot take so.
    """
    if len(spec.parts) > 1:
        for parts in stored_parts(signals, spec.channels, run.device):
            yield Objective(parts.ids, _points_of_parts(field, settings.batch_points, parts, run), parts)
        return
    if signals.stacked() is None and isinstance(signals, DrawableSignals):
        drawn = DrawnSignals(signals, run.device, lambda one: run.rng("points", one))
        for first in range(0, len(signals), settings.shard):
            shard = drawn.part(first, min(first + settings.shard, len(signals)))
            yield Objective(shard.ids, _fresh_points(field, settings, shard, run), shard)
        return
    for stored in stored_shards(signals, settings.shard, run.device):
        count = settings.batch_points
        if isinstance(stored.domain, Rays):
            yield Objective(stored.ids, _rays(cast(RadianceField, field), settings, stored, run), stored)
        elif count is None or count >= stored.num_points:
            yield Objective(stored.ids, _all_points(field, stored), stored)
        else:
            yield Objective(stored.ids, _some_points(field, count, stored, run), stored)


def _all_points(field: Field, signals: StoredSignals) -> Gradients:
    target = _target(field, signals.values())
    if isinstance(field, GridField) and isinstance(signals.domain, Grid) and not isinstance(field, DifferentiatedField):
        predict = observer(field, signals.domain, signals.device)
        return lambda step, arrays: autograd_loss_and_gradient(predict, arrays, target, list(arrays))
    coords = coords_of(signals.domain, signals.device)
    return lambda step, arrays: loss_and_gradient(field, arrays, coords, target, list(arrays))


def _some_points(field: Field, count: int, signals: StoredSignals, run: Run) -> Gradients:
    domain = signals.domain
    assert not isinstance(domain, Rays)

    def gradients(step: int, arrays: Tensors) -> tuple[Tensor, Tensors]:
        rngs = [run.rng("points", int(one), step) for one in signals.ids]
        index = np.stack([rng.choice(signals.num_points, count, replace=False, shuffle=False) for rng in rngs])
        target = _target(field, signals.values(index))
        return loss_and_gradient(field, arrays, coords_at(domain, index, signals.device), target, list(arrays))

    return gradients


def _points_of_parts(field: Field, count: int | None, signal: StoredParts, run: Run) -> Gradients:
    """Points of one signal of several parts; what a part does not have does not count."""
    total, one = signal.num_points, int(signal.ids[0])
    if count is None or count >= total:
        coords, values, weight = signal.gathered(np.arange(total))
        target = _target(field, values)
        return lambda step, arrays: loss_and_gradient(field, arrays, coords, target, list(arrays), weight=weight)

    def gradients(step: int, arrays: Tensors) -> tuple[Tensor, Tensors]:
        index = run.rng("points", one, step).choice(total, count, replace=False, shuffle=False)
        coords, values, weight = signal.gathered(index)
        return loss_and_gradient(field, arrays, coords, _target(field, values), list(arrays), weight=weight)

    return gradients


def _fresh_points(field: Field, settings: GradientDescentSettings, signals: DrawnSignals, run: Run) -> Gradients:
    if settings.batch_points is None:
        coords, values = signals.whole()
        target = _target(field, values)
        return lambda step, arrays: loss_and_gradient(field, arrays, coords, target, list(arrays))
    share = settings.batch_points / signals.signals.num_points

    def gradients(step: int, arrays: Tensors) -> tuple[Tensor, Tensors]:
        at_step = replace(signals, draws=lambda one: run.rng("points", one, step))
        ((coords, values),) = at_step.drawn(1, share)
        return loss_and_gradient(field, arrays, coords, _target(field, values), list(arrays))

    return gradients


def _rays(field: RadianceField, settings: GradientDescentSettings, signals: StoredSignals, run: Run) -> Gradients:
    """Rays of one signal: drawn evenly, or half of them from the foreground in the first steps."""
    domain, one = signals.domain, int(signals.ids[0])
    assert isinstance(domain, Rays)
    assert settings.batch_points is not None
    if len(signals) != 1:
        raise Refused(f"views are fitted one signal at a time, not {len(signals)}")
    count, total = min(settings.batch_points, signals.num_points), signals.num_points
    origins, directions = (array.reshape(-1, 3) for array in (domain.origins, domain.directions))
    shown = foreground(signals, 0) if settings.foreground_steps else np.zeros(0, dtype=np.int64)

    def gradients(step: int, arrays: Tensors) -> tuple[Tensor, Tensors]:
        rng = run.rng("points", one, step)
        near = count // 2 if step < settings.foreground_steps and len(shown) else 0
        index = rng.choice(total, count - near, replace=False, shuffle=False)
        if near:
            index = np.concatenate([rng.choice(shown, near, replace=near > len(shown)), index])
        generator = torch_generator(run.rng("jitter", one, step)) if settings.jitter else None
        rays = Rays(origins[index], directions[index], domain.near, domain.far, domain.background)
        target = _target(field, signals.values(index[None]))
        predict = observer(field, rays, run.device, generator)
        return autograd_loss_and_gradient(predict, arrays, target, list(arrays))

    return gradients


def _target(field: Field, values: Tensor) -> Tensor:
    scale, offset = field.to_unit
    return (values - offset) / scale
