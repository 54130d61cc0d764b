"""SPDER: sine layers that damping makes grow (Shah and Sitawarin, 2023, arXiv 2306.15242).

A layer computes sin(a) δ(a), a = ω (W x + b), with δ(a) = √|a|. Initialisation and ω are SIREN's, as in the authors'
public code, whose script for sound has δ(a) = arctan(a) instead.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from inrbench.signals import SignalSpec
from inrbench_fields.layers_gradient import Activation, damped_sine, layers_loss_and_gradient
from inrbench_fields.settings import SpderSettings
from inrbench_fields.siren import Siren

__all__ = ["Spder"]

#: Below it |a| counts as this much under the root: √|a| has no derivative at 0, where sin(a) √|a| has the derivative 0.
TINY = 1e-12


class Spder(Siren):
    """f(x) = W_out h + b_out, h_0 = g(ω_0 (W_0 x + b_0)), h_i = g(ω (W_i h_{i-1} + b_i)), g(a) = sin(a) δ(a).

    Arrays are named as a SIREN's.
    """

    def __init__(self, settings: SpderSettings, spec: SignalSpec) -> None:
        super().__init__(settings, spec)
        self.damping = settings.damping
        self.written_out: Activation = damped_sine(_root if settings.damping == "sqrt" else _arctan)

    def activation(self, argument: Tensor) -> Tensor:
        """sin(a) √|a|, or sin(a) arctan(a); its derivatives are finite everywhere."""
        factor = argument.abs().clamp_min(TINY).sqrt() if self.damping == "sqrt" else torch.arctan(argument)
        return torch.sin(argument) * factor

    def loss_and_gradient(
        self,
        arrays: Mapping[str, Tensor],
        coords: Float[Tensor, "... points coord_dim"],
        target: Float[Tensor, "signals points channels"],
        adapted: Sequence[str],
        *,
        weight: Float[Tensor, "... points channels"] | None = None,
        recompute: bool = False,
        precision: torch.dtype | None = None,
    ) -> tuple[Float[Tensor, " signals"], dict[str, Tensor]]:
        """Written out where no gradient is recorded, else autograd's."""
        return layers_loss_and_gradient(
            self.written_out,
            self.apply,
            self.placed,
            self.omegas(),
            arrays,
            coords,
            target,
            adapted,
            weight,
            precision,
        )

    def convention(self) -> Mapping[str, Any]:
        """As a SIREN's, with the damping."""
        damping = "sqrt(abs(a))" if self.damping == "sqrt" else "arctan(a)"
        return {
            **super().convention(),
            "field": "spder",
            "layer": f"sin(a) * {damping}, a = omega * (W x + b)",
        }


def _root(argument: Tensor) -> tuple[Tensor, Tensor]:
    """(√|a|, its derivative), the latter 0.5 / √TINY at most."""
    root = argument.abs().clamp_min_(TINY).sqrt_()
    return root, torch.copysign(0.5 / root, argument)


def _arctan(argument: Tensor) -> tuple[Tensor, Tensor]:
    """(arctan a, its derivative)."""
    return torch.arctan(argument), argument.square().add_(1.0).reciprocal_()
