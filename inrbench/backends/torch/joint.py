"""Joint training: one fitter and any heads descend one loss; a head's gradient reaches the fitter by its share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol, cast

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from inrbench.backends.torch.copies import augment
from inrbench.backends.torch.fields import coords_of
from inrbench.backends.torch.training import Group, batches, descend
from inrbench.errors import Refused
from inrbench.interfaces import Head, Run, Trained
from inrbench.settings import SignalTrainingSettings
from inrbench.signals import Signals

__all__ = ["Descending", "JointFitter", "TorchHead", "scale_gradient", "train_jointly"]

Tensors = Mapping[str, Tensor]


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

    def loss(
        self,
        values: Float[Tensor, "signals points channels"],
        coords: Float[Tensor, "points coord_dim"],
        rng: np.random.Generator,
    ) -> tuple[Tensor, Tensors, Tensors]:
        """(reconstruction loss, the batch's representations, values to log); ``values`` lie in [0, 1]."""
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
    fitter: JointFitter, train: Signals, heads: Sequence[Head], settings: SignalTrainingSettings, run: Run
) -> Trained:
    """Train ``fitter`` on signals of one grid, together with ``heads``; one backward pass a step.

    The loss is the fitter's plus each head's; the head's gradient into its representations is scaled by its share,
    which gives what two passes with a weight on the second would, except in the head itself, which learns at full
    rate (MWT, CVPR 2025, section 3.3).
    """
    stacked = train.stacked()
    if stacked is None:
        raise Refused("joint training takes signals that share one grid")
    if len(train) == 0:
        raise Refused("there is no training signal: this data set has none, or data.validation takes them all")
    domain, stored, (scale, offset) = stacked
    images = torch.as_tensor(np.ascontiguousarray(stored)).to(run.device)
    coords = coords_of(domain, run.device)
    readers = [cast(TorchHead, head.reader) for head in heads]
    labels = [torch.as_tensor(head.labels.astype(np.int64)).to(run.device) for head in heads]
    fitter.start(run)
    groups = list(fitter.groups(run.device))
    for head, reader in zip(heads, readers, strict=True):
        reader.start(run)
        groups += [Group(f"{head.name}.{g.name}", g.parameters, g.lr) for g in reader.groups(run.device)]
    total = settings.num_steps(len(train))
    batch = batches(len(train), settings.batch_size, run)

    def loss(step: int) -> tuple[Tensor, Tensors]:
        index = torch.as_tensor(batch(step)).to(run.device)
        picked = augment(images[index].float() * scale + offset, settings.augmentation, run.rng("copies", step))
        values = picked.reshape(len(index), -1, picked.shape[-1])
        whole, rows, logs = fitter.loss(values, coords, run.rng("fitter", step))
        for head, reader, classes in zip(heads, readers, labels, strict=True):
            seen = {name: scale_gradient(row, head.share) for name, row in rows.items()}
            head_loss, head_logs = reader.loss(seen, classes[index], run.rng(head.name, step))
            whole, logs = whole + head_loss, {**logs, **head_logs}
        return whole, logs

    descend("train", groups, loss, total, settings, run)
    states = {head.name: reader.state() for head, reader in zip(heads, readers, strict=True)}
    return Trained(fitter.state(), states, total)
