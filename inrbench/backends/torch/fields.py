"""Fields: what an INR plugin for PyTorch must offer, and the observation operator that samples one on a domain."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import torch
from jaxtyping import Float
from torch import Tensor

from inrbench.domains import Domain, Rays

__all__ = ["Field", "coords_of", "to_device"]

Tensors = Mapping[str, Tensor]


class Field(Protocol):
    """``f(coords; named arrays) -> values``, batched over signals. The constructor is ``(settings, spec)``.

    Weights are [out, in] and biases [out]; batched ones have the signals in front. ``to_unit`` is (a, b) of
    ``a * output + b`` in [0, 1]: fitters compute their losses on the field's own output.
    """

    to_unit: tuple[float, float]

    def init(self, generator: torch.Generator) -> dict[str, Tensor]:
        """A random initialisation, without signals in front."""
        ...

    def apply(
        self, arrays: Tensors, coords: Float[Tensor, "... points coord_dim"]
    ) -> Float[Tensor, "signals points channels"]:
        """The output at ``coords``, each in [-1, 1]; an array without signals in front is shared by all.

        Where no array has signals in front, neither has the output.
        """
        ...

    def convention(self) -> Mapping[str, Any]:
        """What somebody needs to know to read or query the arrays: omega, initialisation, coordinates, offset."""
        ...

    def flops(self, points: int) -> float:
        """2 x multiply-adds of one forward pass at ``points`` points."""
        ...


def coords_of(domain: Domain, device: str) -> Float[Tensor, "points coord_dim"]:
    """The coordinates of a grid's cells or of free points, flat, each in [-1, 1]."""
    if isinstance(domain, Rays):
        raise ValueError("rays are rendered, not sampled")
    coords = torch.as_tensor(domain.coords() if callable(domain.coords) else domain.coords, dtype=torch.float32)
    return coords.reshape(-1, coords.shape[-1]).to(device)


def to_device(arrays: Mapping[str, Any], device: str) -> dict[str, Tensor]:
    """NumPy arrays as tensors on ``device``."""
    return {name: torch.as_tensor(array).to(device) for name, array in arrays.items()}
