"""The diffusion of DDPM (Ho et al., 2020, arXiv 2006.11239) in NumPy: its schedules, its steps, and fewer of them.

Steps are t = 1 ... T. q(z_t | z_0) = N(√ᾱ_t z_0, (1 - ᾱ_t) I), with ᾱ_t the product of 1 - β_s over s = 1 ... t.
Index 0 of every array here stands for t = 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from jaxtyping import Float, Int

__all__ = ["Diffusion", "betas", "time_step_probabilities"]

Vector = Float[np.ndarray, " steps"]


def betas(schedule: Literal["cosine", "linear"], steps: int) -> Vector:
    """β_1 ... β_T in float64.

    linear: from 1e-4 to 0.02 in equal steps (Ho et al., section 4), for T = 1,000; for another T both are multiplied by
    1,000 / T, and none is above 0.999. cosine (Nichol and Dhariwal, 2021, arXiv 2102.09672, equation 17):
    β_t = min(1 - f(t) / f(t - 1), 0.999), f(t) = cos²(π/2 (t / T + s) / (1 + s)), s = 0.008.
    """
    if schedule == "linear":
        return np.asarray(np.minimum(np.linspace(1e-4, 0.02, steps) * (1000.0 / steps), 0.999))
    s = 0.008
    f = np.cos(0.5 * np.pi * (np.arange(steps + 1) / steps + s) / (1.0 + s)) ** 2
    return np.asarray(np.minimum(1.0 - f[1:] / f[:-1], 0.999))


def time_step_probabilities(steps: int, ratio: float) -> Vector:
    """p(t) ∝ r - (r - 1) t / T for t = 1 ... T: early steps up to r times as often as the last (Bauer et al., 2023)."""
    weights = ratio - (ratio - 1.0) * np.arange(1, steps + 1) / steps
    return np.asarray(weights / weights.sum())


@dataclass(frozen=True)
class Diffusion:
    """The steps that a sampler takes: ``times`` are those of training, in ascending order, ``alpha_bars`` theirs."""

    times: Int[np.ndarray, " steps"]  # in 1 ... T
    alpha_bars: Vector

    @classmethod
    def of(cls, schedule: Literal["cosine", "linear"], steps: int) -> Diffusion:
        """All steps of a schedule."""
        return cls(np.arange(1, steps + 1), np.cumprod(1.0 - betas(schedule, steps)))

    def respaced(self, count: int | None) -> Diffusion:
        """``count`` of the steps, evenly from the first to the last (Nichol and Dhariwal, section 4); all if empty.

        β of a step is then 1 - ᾱ of it / ᾱ of the one before among those that are left; the last one alone for 1.
        """
        if count is None or count >= len(self.times):
            return self
        ends = np.linspace(0, len(self.times) - 1, count) if count > 1 else np.array([len(self.times) - 1])
        places = np.round(ends).astype(int)
        return Diffusion(self.times[places], self.alpha_bars[places])

    @cached_property
    def previous(self) -> Vector:
        """ᾱ of the step before; 1 before the first."""
        return np.concatenate([[1.0], self.alpha_bars[:-1]])

    @cached_property
    def betas(self) -> Vector:
        """1 - ᾱ_t / ᾱ_{t-1}."""
        return np.asarray(1.0 - self.alpha_bars / self.previous)

    def variances(self, kind: Literal["posterior", "beta"]) -> Vector:
        """Of p(z_{t-1} | z_t): β̃_t = (1 - ᾱ_{t-1}) / (1 - ᾱ_t) β_t, that of q(z_{t-1} | z_t, z_0), or β_t.

        Ho et al. (section 3.2) have both: β̃ is right for data that is one point, β for data that is N(0, I). Nothing
        is added at the first step.
        """
        if kind == "posterior":
            return np.asarray(self.betas * (1.0 - self.previous) / (1.0 - self.alpha_bars))
        return np.asarray(np.where(np.arange(len(self.betas)) == 0, 0.0, self.betas))

    @cached_property
    def mean_coefficients(self) -> tuple[Vector, Vector]:
        """(a, b) of the mean a z_0 + b z_t of q(z_{t-1} | z_t, z_0): equation 7 of Ho et al."""
        rest = 1.0 - self.alpha_bars
        of_start = np.sqrt(self.previous) * self.betas / rest
        of_current = np.sqrt(1.0 - self.betas) * (1.0 - self.previous) / rest
        return of_start, of_current
