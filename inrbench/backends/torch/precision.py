"""Precision: float32, or large products in bfloat16 with a look at what that does to the gradients before training.

Parameters, losses and the optimiser stay in float32. `torch.autocast` carries the choice to whatever runs within it.
"""

from __future__ import annotations

import contextlib
import logging
import math
from collections.abc import Callable, Iterable, Iterator, Sequence

import torch
from torch import Tensor

from inrbench.backends.torch.training import Group, Part
from inrbench.errors import Refused
from inrbench.interfaces import Run

__all__ = ["LARGEST_DISAGREEMENT", "check_agreement", "mixed_precision", "precision_here"]

log = logging.getLogger("inrbench")
#: Of a group's gradient in bfloat16 from that in float32, relative to its norm: beyond it training is refused.
LARGEST_DISAGREEMENT = 0.1


@contextlib.contextmanager
def mixed_precision(precision: str, device: str) -> Iterator[None]:
    """Within the block large products are computed in ``precision``, "float32" or "bfloat16"."""
    kind = device.partition(":")[0]
    with torch.autocast(kind, torch.bfloat16, enabled=precision == "bfloat16"):
        yield


def precision_here(device: torch.device) -> torch.dtype | None:
    """The precision of large products where this is called; None: that of the arrays."""
    return torch.bfloat16 if torch.is_autocast_enabled(device.type) else None


def check_agreement(
    groups: Sequence[Group], losses: Callable[[str], Iterable[Part]], run: Run, *, setting: str
) -> None:
    """Compare each group's gradient of one batch in bfloat16 with float32's, and log the relative differences.

    ``losses`` gives the batch's parts in a precision; ``setting`` is where that was asked for. Raises Refused where a
    difference is beyond `LARGEST_DISAGREEMENT`: second-order gradients lose their digits once inner rates are large.
    """
    found = {precision: _gradients(groups, losses(precision)) for precision in ("float32", "bfloat16")}
    differences: dict[str, float] = {}
    for group in groups:
        full, low = (
            torch.cat([found[precision][group.name, name].flatten().float() for name in group.parameters])
            for precision in ("float32", "bfloat16")
        )
        differences[group.name] = float((low - full).norm() / full.norm().clamp_min(1e-30))
    run.log(0, **{f"bfloat16_difference_{name}": value for name, value in differences.items()})
    shown = ", ".join(f"{name} {value:.1e}" for name, value in differences.items())
    log.info("gradients in bfloat16 against float32 on the first batch, relative: %s", shown)
    worst = max(differences, key=lambda name: (math.isnan(differences[name]), differences[name]))
    if not differences[worst] <= LARGEST_DISAGREEMENT:
        raise Refused(
            f"the gradient of {worst!r} in bfloat16 differs from float32's by {differences[worst]:.1%} of its norm "
            f"(allowed: {LARGEST_DISAGREEMENT:.0%}); --set {setting}=float32"
        )


def _gradients(groups: Sequence[Group], parts: Iterable[Part]) -> dict[tuple[str, str], Tensor]:
    for group in groups:
        for parameter in group.parameters.values():
            parameter.grad = None
    for share, loss, _ in parts:
        (share * loss).backward()  # type: ignore[no-untyped-call]
    found = {}
    for group in groups:
        for name, parameter in group.parameters.items():
            gradient = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
            found[group.name, name] = gradient
            parameter.grad = None
    return found
