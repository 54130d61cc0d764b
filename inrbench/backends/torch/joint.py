"""Joint training: one fitter and any heads descend one loss; a head's gradient reaches the fitter by its share."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Protocol, cast

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from inrbench.backends.torch.copies import augment
from inrbench.backends.torch.fields import coords_of
from inrbench.backends.torch.observed import DrawnSignals, GridOfSignals, Observed
from inrbench.backends.torch.plateau import Plateau
from inrbench.backends.torch.precision import check_agreement, mixed_precision
from inrbench.backends.torch.training import Group, Part, descend, micro_batch
from inrbench.domains import Array
from inrbench.errors import Refused
from inrbench.interfaces import Head, Run, Trained
from inrbench.schedules import batches
from inrbench.settings import Augmentation, SignalTrainingSettings
from inrbench.signals import DrawableSignals, Signals, WindowedSignals

__all__ = ["Descending", "JointFitter", "TorchHead", "scale_gradient", "train_jointly"]

Tensors = Mapping[str, Tensor]
#: Training signals up to this size go to the device once; more of them, or such as are decoded on demand, by batch.
RESIDENT_BYTES = 4 * 2**30


class Descending(Protocol):
    """What has parameters that training learns."""

    def groups(self, device: str) -> Sequence[Group]:
        """The parameters on ``device``, as leaves that require gradients, in named groups."""
        ...

    def state(self) -> dict[str, np.ndarray]:
        """The parameters as named NumPy arrays: what `load` takes up."""
        ...


class JointFitter(Descending, Protocol):
    """A fitter that descends a loss, with representations on the way that heads can read."""

    def start(self, run: Run) -> None:
        """Draw the initialisation, keyed by the run's seed."""
        ...

    def loss(self, observed: Observed) -> tuple[Tensor, Tensors, Tensors]:
        """(reconstruction loss, mean over the signals; their representations; values to log)."""
        ...

    def activation_bytes(self) -> int:
        """The largest array that one signal's work on a batch passes through, in bytes."""
        ...


class TorchHead(Descending, Protocol):
    """A reader's side of joint training."""

    def start(self, run: Run) -> None:
        """Draw the initialisation, keyed by the run's seed."""
        ...

    def loss(self, rows: Tensors, labels: Int[Tensor, " signals"], rng: np.random.Generator) -> tuple[Tensor, Tensors]:
        """(the loss of a batch of representations, values to log)."""
        ...


class _ScaledGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx, value, share):  # type: ignore[no-untyped-def]
        ctx.share = share
        return value.view_as(value)

    @staticmethod
    def backward(ctx, gradient):  # type: ignore[no-untyped-def]
        return gradient * ctx.share, None


def scale_gradient(value: Tensor, share: float) -> Tensor:
    """``value`` itself, with ``share`` times its gradient; at share 0 cut off from what made it."""
    if share == 0.0:
        return value.detach()
    if share == 1.0:
        return value
    return cast(Tensor, _ScaledGradient.apply(value, share))  # type: ignore[no-untyped-call]


def train_jointly(
    fitter: JointFitter,
    train: Signals,
    heads: Sequence[Head],
    settings: SignalTrainingSettings,
    run: Run,
    plateau: Plateau | None = None,
) -> Trained:
    """Train ``fitter`` together with ``heads``; one backward pass for each part of a step's batch.

    The loss is the fitter's plus each head's; the head's gradient into its representations is scaled by its share,
    which gives what two passes with a weight on the second would, except in the head itself, which learns at full
    rate (MWT, CVPR 2025, section 3.3).
    """
    if len(train) == 0:
        raise Refused("there is no training signal: this data set has none, or data.validation takes them all")
    observe = _observer(train, settings.augmentation, run)
    readers = [cast(TorchHead, head.reader) for head in heads]
    labels = [torch.as_tensor(head.labels.astype(np.int64)).to(run.device) for head in heads]
    fitter.start(run)
    groups = list(fitter.groups(run.device))
    for head, reader in zip(heads, readers, strict=True):
        reader.start(run)
        groups += [Group(f"{head.name}.{g.name}", g.parameters, g.lr) for g in reader.groups(run.device)]
    batch = batches(len(train), settings.batch_size, run)

    def losses(step: int, precision: str = settings.precision) -> Iterator[Part]:
        index = batch(step)
        observed = observe(step, index)
        rngs = {head.name: run.rng(head.name, step) for head in heads}
        size = micro_batch(settings.micro_batch, len(index), fitter.activation_bytes(), run.device)
        for first in range(0, len(index), size):
            places = index[first : first + size]
            with mixed_precision(precision, run.device):
                whole, rows, logs = fitter.loss(observed.part(first, first + len(places)))
                for head, reader, classes in zip(heads, readers, labels, strict=True):
                    seen = {name: scale_gradient(row, head.share) for name, row in rows.items()}
                    head_loss, head_logs = reader.loss(seen, classes[places], rngs[head.name])
                    whole, logs = whole + head_loss, {**logs, **head_logs}
            yield len(places) / len(index), whole, logs

    total = settings.num_steps(len(train))
    if settings.precision == "bfloat16" and total:
        check_agreement(groups, lambda precision: losses(0, precision), run, setting="fitter.train.precision")
    descend("train", groups, losses, total, settings, run, plateau)
    states = {head.name: reader.state() for head, reader in zip(heads, readers, strict=True)}
    return Trained(fitter.state(), states, total)


def _observer(train: Signals, augmentation: Augmentation, run: Run) -> Callable[[int, Array], Observed]:
    """From the step and the places of its signals to what the fitter observes of them, in augmented copies."""
    stacked = train.stacked()
    if stacked is None and isinstance(train, DrawableSignals):

        def drawn(step: int, index: Array) -> Observed:
            chosen = cast(DrawableSignals, train.take(index))
            copies = augmentation if augmentation != Augmentation() else None
            return DrawnSignals(chosen, run.device, lambda one: run.rng("points", step, one), copies)

        return drawn
    if stacked is None:
        raise Refused("joint training takes signals that share one grid, or that have a value at any point")
    domain, stored, (scale, offset) = stacked
    coords = coords_of(domain, run.device)
    augmented = augmentation != Augmentation()
    fits = isinstance(stored, np.ndarray) and stored.nbytes <= RESIDENT_BYTES and not augmentation.window
    resident = torch.as_tensor(np.require(stored, requirements=("C", "W"))).to(run.device) if fits else None

    if augmentation.window and not isinstance(train, WindowedSignals):
        raise Refused("setting fitter.train.augmentation.window=true: this data set has no larger originals")

    def listed(step: int, index: Array) -> Observed:
        if augmentation.window:
            cut = cast(WindowedSignals, train).windows(index, lambda one: run.rng("window", step, one))
            picked = torch.as_tensor(cut).to(run.device)
        elif resident is None:
            picked = torch.as_tensor(np.asarray(stored[index])).to(run.device)
        else:
            picked = resident[index]
        copies = picked.float() * scale + offset
        if augmented:
            copies = augment(copies, augmentation, run.rng("copies", step))
        values = copies.reshape(len(index), -1, copies.shape[-1])
        return GridOfSignals(train.ids[index], coords, values, lambda one: run.rng("points", step, one))

    return listed
