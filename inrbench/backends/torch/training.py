"""The training loop: one optimiser over named groups of parameters, clipped apart, resumable bit for bit on a CPU."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from inrbench.backends.torch.plateau import Plateau
from inrbench.domains import Array
from inrbench.errors import NotFinite
from inrbench.interfaces import Run
from inrbench.schedules import schedule
from inrbench.settings import TrainingSettings

__all__ = ["Group", "Part", "descend", "micro_batch", "with_gradient"]

#: Part of a step's batch: (its share of the batch, its loss, values to log).
Part = tuple[float, Tensor, Mapping[str, Tensor]]

#: What one array of a batch may take up on a CPU, in bytes: a few of them then fit into its cache together.
CACHED_BYTES = 4 * 2**20
#: On a GPU the loss is looked at only so often, since looking waits for the device.
LOOK_EVERY = 50


@dataclass(frozen=True)
class Group:
    """Parameters that share a learning rate and are clipped together."""

    name: str
    parameters: Mapping[str, Tensor]
    lr: float


def micro_batch(most: int | None, num_signals: int, activation_bytes: int, device: str) -> int:
    """Signals that are worked on at once: at most ``most``, else what a CPU's cache holds, in equal parts."""
    if most is None:
        most = num_signals if device != "cpu" else max(1, CACHED_BYTES // max(1, activation_bytes))
    parts = -(-num_signals // min(most, num_signals))
    return -(-num_signals // parts)


class _WithGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, value, count, *tensors):  # type: ignore[no-untyped-def]
        ctx.save_for_backward(*tensors[count:])
        return value.clone()

    @staticmethod
    def backward(ctx: Any, upstream):  # type: ignore[no-untyped-def]
        return None, None, *(upstream * one for one in ctx.saved_tensors), *(None for _ in ctx.saved_tensors)


def with_gradient(value: Tensor, parameters: Mapping[str, Tensor], gradient: Mapping[str, Tensor]) -> Tensor:
    """``value``, a scalar to log, whose gradient to each of ``parameters`` is that in ``gradient``.

    This is what a module that descends no loss (Reptile) hands to `descend` in place of one.
    """
    given = [gradient[name].detach() for name in parameters]
    found = _WithGradient.apply(value.detach(), len(given), *parameters.values(), *given)  # type: ignore[no-untyped-call]
    return cast(Tensor, found)


def descend(
    name: str,
    groups: Sequence[Group],
    losses: Callable[[int], Iterable[Part]],
    total: int,
    settings: TrainingSettings,
    run: Run,
    plateau: Plateau | None = None,
    *,
    look_every: int | None = None,
) -> None:
    """``total`` steps of AdamW on ``groups``, in place.

    ``losses`` maps the step to the parts of its batch, whose gradients add up by their shares; a part without a loss
    brings its own gradient (`with_gradient`). ``plateau`` lowers the rate beside the schedule. With ``settings.ema``,
    d, the parameters p end as their average e: it starts where they do, and each step makes it d e + (1 - d) p.
    The loss is looked at and logged every ``look_every`` steps and at the last: if empty each time on a CPU, every
    `LOOK_EVERY` on a GPU. Raises NotFinite with the step where it is not finite.
    """
    optimiser = torch.optim.AdamW(
        [{"params": list(group.parameters.values()), "lr": group.lr} for group in groups],
        weight_decay=settings.weight_decay,
        fused=True,
    )
    average = None if settings.ema is None else _Average(groups, settings.ema)
    state = _State(groups, optimiser, average, plateau)
    often = look_every or (1 if run.device == "cpu" else LOOK_EVERY)
    for step in run.steps(name, total, state.save, state.restore):
        factor, beta_1 = schedule(settings, step, total)
        for group, options in zip(groups, optimiser.param_groups, strict=True):
            options["lr"] = group.lr * factor * (1.0 if plateau is None else plateau.factor)
            if beta_1 is not None:
                options["betas"] = (beta_1, options["betas"][1])
        optimiser.zero_grad(set_to_none=True)
        logged: dict[str, Tensor] = {}
        for share, loss, values in losses(step):
            (share * loss).backward()  # type: ignore[no-untyped-call]
            for key, value in {"loss": loss, **values}.items():
                part = share * value.detach()
                logged[key] = logged[key] + part if key in logged else part
        if settings.clip_norm is not None:
            for group in groups:
                torch.nn.utils.clip_grad_norm_(list(group.parameters.values()), settings.clip_norm)
        optimiser.step()
        if average is not None:
            average.update()
        if step % often == 0 or step == total - 1:
            _look(name, step, total, logged, run)
        if plateau is not None:
            plateau.after(step)
    if average is not None:
        average.replace_parameters()


def _look(name: str, step: int, total: int, values: Mapping[str, Tensor], run: Run) -> None:
    numbers = {key: float(value) for key, value in values.items()}
    if not math.isfinite(numbers["loss"]):
        raise NotFinite(
            f"the loss of {name} is {numbers['loss']} at step {step + 1} of {total}; a smaller rate may help"
        )
    run.log(step, **numbers)


class _Average:
    """The exponential moving average of all parameters."""

    def __init__(self, groups: Sequence[Group], decay: float) -> None:
        self.decay = decay
        self.parameters = {f"{group.name}/{name}": p for group in groups for name, p in group.parameters.items()}
        self.values = {key: p.detach().clone() for key, p in self.parameters.items()}

    @torch.no_grad()
    def update(self) -> None:
        """Each value e becomes d e + (1 - d) p."""
        for key, parameter in self.parameters.items():
            self.values[key].lerp_(parameter, 1.0 - self.decay)

    @torch.no_grad()
    def replace_parameters(self) -> None:
        """The parameters become their averages."""
        for key, parameter in self.parameters.items():
            parameter.copy_(self.values[key])


class _State:
    """Parameters, their average and the optimiser's moments as NumPy arrays, for a checkpoint."""

    def __init__(
        self,
        groups: Sequence[Group],
        optimiser: torch.optim.Optimizer,
        average: _Average | None = None,
        plateau: Plateau | None = None,
    ) -> None:
        self.groups, self.optimiser, self.average, self.plateau = groups, optimiser, average, plateau

    def save(self) -> dict[str, Array]:
        arrays: dict[str, Array] = {} if self.plateau is None else self.plateau.save()
        for key, parameter in self._named():
            arrays[f"parameter/{key}"] = parameter.detach().cpu().numpy()
            for moment, value in self.optimiser.state[parameter].items():
                arrays[f"{moment}/{key}"] = value.detach().cpu().numpy()
            if self.average is not None:
                arrays[f"average/{key}"] = self.average.values[key].cpu().numpy()
        return arrays

    @torch.no_grad()
    def restore(self, arrays: Mapping[str, Array]) -> None:
        moments = {path.partition("/")[0] for path in arrays} - {"parameter", "average", "plateau"}
        if self.plateau is not None:
            self.plateau.restore(arrays)
        for key, parameter in self._named():
            parameter.copy_(torch.as_tensor(np.array(arrays[f"parameter/{key}"])))
            if self.average is not None:
                self.average.values[key].copy_(torch.as_tensor(np.array(arrays[f"average/{key}"])))
            for moment in moments:
                value = torch.as_tensor(np.array(arrays[f"{moment}/{key}"]))
                self.optimiser.state[parameter][moment] = value.to(parameter.device)

    def _named(self) -> Iterator[tuple[str, Tensor]]:
        for group in self.groups:
            for name, parameter in group.parameters.items():
                yield f"{group.name}/{name}", parameter
