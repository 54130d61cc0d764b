"""A training step's learning rate and batch as functions of its number, the same for all engines and when resumed."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Protocol

from inrbench.domains import Array
from inrbench.interfaces import Run

__all__ = ["Scheduled", "batches", "cosine", "evaluations", "inverse_sqrt", "one_cycle", "schedule", "tenth"]


class Scheduled(Protocol):
    """Settings that say how the learning rate goes; `inrbench.settings.TrainingSettings` explains them."""

    @property
    def schedule(self) -> str:
        """The schedule's name."""
        ...

    @property
    def warmup(self) -> float:
        """Share of the steps before its peak."""
        ...


def schedule(settings: Scheduled, step: int, total: int) -> tuple[float, float | None]:
    """(factor of the learning rate, beta_1 or None for the optimiser's own) at ``step`` of ``total``."""
    if settings.schedule == "one-cycle":
        return one_cycle(step, total, settings.warmup)
    if settings.schedule == "cosine":
        return cosine(step, total, settings.warmup), None
    if settings.schedule == "inverse-sqrt":
        return inverse_sqrt(step, total, settings.warmup), None
    if settings.schedule == "exponential":
        return 0.1 ** (step / total), None
    if settings.schedule == "step":
        return tenth(step, total), None
    return 1.0, None


def one_cycle(step: int, total: int, warmup: float) -> tuple[float, float]:
    """One-cycle with cosines (Smith and Topin, 2019, arXiv 1708.07120), as PyTorch's OneCycleLR counts the steps.

    The factor rises from 1/25 to 1 over the first ``warmup * total - 1`` steps and falls to 1/(2.5e5) at the last;
    beta_1 goes from 0.95 to 0.85 and back.
    """
    peak, last = warmup * total - 1.0, total - 1.0
    if step <= peak:
        done = step / peak if peak > 0 else 1.0
        return _cosine(1 / 25, 1.0, done), _cosine(0.95, 0.85, done)
    done = min(1.0, (step - peak) / max(1e-12, last - peak))
    return _cosine(1.0, 1 / 2.5e5, done), _cosine(0.85, 0.95, done)


def cosine(step: int, total: int, warmup: float) -> float:
    """Rises linearly to 1 at the last of the first ``warmup * total`` steps, then falls as half a cosine towards 0."""
    rise = max(1.0, warmup * total)
    if step + 1 <= rise:
        return (step + 1) / rise
    return _cosine(1.0, 0.0, (step + 1 - rise) / max(1e-12, total + 1 - rise))


def inverse_sqrt(step: int, total: int, warmup: float) -> float:
    """Rises linearly to 1 at the last of the first ``warmup * total`` steps, then falls as 1/√step."""
    rise = max(1.0, warmup * total)
    return min((step + 1) / rise, math.sqrt(rise / (step + 1)))


def tenth(step: int, total: int) -> float:
    """1, and a tenth of it for the last 20 % of the steps (Trans-INR's public code, arXiv 2208.02801)."""
    return 1.0 if 5 * step < 4 * total else 0.1


def evaluations(total: int, count: int) -> frozenset[int]:
    """After how many of ``total`` steps a fit is looked at: ``count`` numbers, evenly spaced in their square roots.

    A curve is steep at first and flat at last, so its points lie dense at first; the last of them is the end.
    """
    return frozenset(max(1, round(total * (k / count) ** 2)) for k in range(1, count + 1) if total)


def _cosine(start: float, end: float, done: float) -> float:
    return end + (start - end) / 2.0 * (1.0 + math.cos(math.pi * done))


def batches(num_signals: int, batch_size: int, run: Run) -> Callable[[int], Array]:
    """A function from the step to the indices of its batch: each epoch a keyed permutation, a short rest left out."""
    size = min(batch_size, num_signals)
    per_epoch = num_signals // size
    order: dict[int, Array] = {}

    def batch(step: int) -> Array:
        epoch, place = divmod(step, per_epoch)
        if epoch not in order:
            order.clear()
            order[epoch] = run.rng("order", epoch).permutation(num_signals)
        return order[epoch][place * size : (place + 1) * size]

    return batch
