"""(Point, signal) pairs of many signals: counted, numbered, put in a keyed order, and gathered on the device."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from inrbench.backends.torch.fields import coords_of
from inrbench.backends.torch.joint import RESIDENT_BYTES
from inrbench.domains import Array, Grid, Points
from inrbench.errors import Refused
from inrbench.signals import Part, Signals

__all__ = ["Order", "Pairs", "located", "pairs_of"]

#: Rounds of the network that `Order` is made of; four give what looks like a random permutation.
ROUNDS = 6


class Pairs(Protocol):
    """The points that signals list, each with its signal."""

    @property
    def counts(self) -> Array:
        """[signals] how many points each has."""
        ...

    def at(self, signals: Array, points: Array) -> tuple[Float[Tensor, "... coord_dim"], Float[Tensor, "... channels"]]:
        """(coords, values in [0, 1]) of points [...] of the signals [...], numbered by their places."""
        ...


def located(counts: Array, numbers: Array) -> tuple[Array, Array]:
    """(signal, point) of each of ``numbers`` [...], which count all pairs, signal by signal."""
    ends = np.cumsum(counts)
    signals = np.searchsorted(ends, numbers, side="right")
    return signals, numbers - (ends - counts)[signals]


class Order:
    """A permutation of 0 .. ``count`` - 1, drawn from ``rng``, of which any part is computed when it is asked for.

    A Feistel network on the bits of a number; what falls out of the range goes through it again until it does not.
    Nothing is stored, however many pairs there are.
    """

    def __init__(self, count: int, rng: np.random.Generator) -> None:
        self.count = count
        self.half = np.uint64((max(2, count - 1).bit_length() + 1) // 2)
        self.mask = np.uint64((1 << int(self.half)) - 1)
        self.keys = rng.integers(0, 2**64, ROUNDS, dtype=np.uint64)

    def __call__(self, places: Array) -> Array:
        """What stands at ``places`` [...], int64."""
        found = self._through(places.astype(np.uint64))
        while (outside := found >= self.count).any():
            found[outside] = self._through(found[outside])
        return found.astype(np.int64)

    def _through(self, numbers: Array) -> Array:
        left, right = numbers >> self.half, numbers & self.mask
        for key in self.keys:
            mixed = (right + np.uint64(1)) * (key | np.uint64(1))
            mixed = (mixed ^ (mixed >> np.uint64(29)) ^ key) * np.uint64(0xBF58476D1CE4E5B9)
            left, right = right, left ^ ((mixed ^ (mixed >> np.uint64(32))) & self.mask)
        return np.asarray((left << self.half) | right)


def pairs_of(signals: Signals, device: str) -> Pairs:
    """The pairs of ``signals``, on the device where they are small enough for that.

    Of signals that have a value at any point these are the points that they list. Signals with points of their own are
    held in memory together. Raises Refused for signals of several parts and for views.
    """
    stacked = signals.stacked()
    if stacked is not None:
        domain, stored, to_unit = stacked
        if not isinstance(domain, Grid | Points):
            raise Refused("this fitter takes values at points; views have none")
        flat = stored.reshape(len(stored), -1, stored.shape[-1])
        fits = isinstance(stored, np.ndarray) and stored.nbytes <= RESIDENT_BYTES
        resident = torch.as_tensor(np.require(flat, requirements=("C", "W"))).to(device) if fits else None
        return _OnOneDomain(np.full(len(flat), flat.shape[1]), coords_of(domain, device), flat, resident, to_unit)
    parts = [_the_part(signals, i) for i in range(len(signals))]
    counts = np.array([part.domain.num_points for part in parts], dtype=np.int64)
    coords = torch.cat([coords_of(part.domain, "cpu") for part in parts])
    values = torch.cat([torch.as_tensor(part.unit_values()).reshape(part.domain.num_points, -1) for part in parts])
    place = device if coords.nbytes + values.nbytes <= RESIDENT_BYTES else "cpu"
    return _Joined(counts, coords.to(place), values.to(place), torch.as_tensor(np.cumsum(counts) - counts), device)


def _the_part(signals: Signals, i: int) -> Part:
    part, *more = signals.observed(i)
    if more or not isinstance(part.domain, Grid | Points):
        what = f"{1 + len(more)} parts" if more else "views"
        raise Refused(f"this fitter takes signals of one part on points; signal {signals.ids[i]} has {what}")
    return part


@dataclass(frozen=True)
class _OnOneDomain:
    """Signals that share their points: what a batch needs is converted, nothing else."""

    counts: Array
    coords: Float[Tensor, "points coord_dim"]
    stored: Array  # [signals, points, channels]
    resident: Tensor | None  # the same on the device
    to_unit: tuple[float, float]

    def at(self, signals: Array, points: Array) -> tuple[Tensor, Tensor]:
        scale, offset = self.to_unit
        places = torch.as_tensor(points).to(self.coords.device)
        if self.resident is None:
            picked = torch.as_tensor(np.asarray(self.stored[signals, points])).to(self.coords.device)
        else:
            picked = self.resident[torch.as_tensor(signals).to(places.device), places]
        return self.coords[places], picked.float() * scale + offset


@dataclass(frozen=True)
class _Joined:
    """The points of all signals in one list, on the device where they are small enough for that."""

    counts: Array
    coords: Float[Tensor, "pairs coord_dim"]
    values: Float[Tensor, "pairs channels"]
    starts: Int[Tensor, " signals"]  # the first point of each
    device: str

    def at(self, signals: Array, points: Array) -> tuple[Tensor, Tensor]:
        places = (self.starts[torch.as_tensor(signals)] + torch.as_tensor(points)).to(self.coords.device)
        return self.coords[places].to(self.device), self.values[places].to(self.device)
