"""Observed signals on the device: all of their points, or fresh draws of some of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from inrbench.backends.torch.fields import coords_of
from inrbench.domains import Array, Points
from inrbench.errors import Refused
from inrbench.settings import Augmentation
from inrbench.signals import DrawableSignals, Signals

__all__ = ["DrawnSignals", "GridOfSignals", "Observed", "Sample", "num_drawn", "shards", "subset"]

#: ``(coords [points, coord_dim] or [signals, points, coord_dim], values [signals, points, channels] in [0, 1])``.
Sample = tuple[Tensor, Tensor]
#: From a signal's id to the generator of its draws: keyed, so that they do not depend on the other signals.
Draws = Callable[[int], np.random.Generator]


class Observed(Protocol):
    """Some signals, as a fitter sees them."""

    @property
    def ids(self) -> Array:
        """[signals] which signals these are."""
        ...

    def __len__(self) -> int: ...

    def whole(self) -> Sample:
        """All points that are listed of each signal."""
        ...

    def drawn(self, sets: int, share: float) -> list[Sample]:
        """``sets`` fresh draws of ``share`` of the points of each signal, without replacement within a draw."""
        ...

    def part(self, first: int, last: int) -> Observed:
        """The signals from ``first`` to ``last`` - 1."""
        ...


def shards(signals: Signals, size: int, device: str, draws: Draws) -> Iterator[Observed]:
    """``signals`` in order, ``size`` at a time where they share a domain or are drawn, else one by one."""
    stacked = signals.stacked()
    if stacked is not None:
        domain, stored, (scale, offset) = stacked
        coords = coords_of(domain, device)
        for first in range(0, len(signals), size):
            chunk = np.require(stored[first : first + size], requirements=("C", "W"))  # PyTorch wants to write
            values = torch.as_tensor(chunk).to(device).float() * scale + offset
            flat = values.reshape(len(chunk), -1, chunk.shape[-1])
            yield GridOfSignals(signals.ids[first : first + size], coords, flat, draws)
    elif isinstance(signals, DrawableSignals):
        whole = DrawnSignals(signals, device, draws)
        for first in range(0, len(signals), size):
            yield whole.part(first, min(first + size, len(signals)))
    else:
        for i in range(len(signals)):
            parts = signals.observed(i)
            if len(parts) != 1:
                raise Refused(f"this fitter takes signals of one part; signal {signals.ids[i]} has {len(parts)}")
            values = torch.as_tensor(parts[0].unit_values()).to(device)
            flat = values.reshape(1, -1, values.shape[-1])
            yield GridOfSignals(signals.ids[i : i + 1], coords_of(parts[0].domain, device), flat, draws)


def num_drawn(share: float, num_points: int) -> int:
    """How many points a draw of ``share`` of them holds: ⌊share · points⌋, and at least one."""
    return max(1, math.floor(share * num_points + 1e-9))  # 0.29 * 100 is 28.999999999999996


def subset(rng: np.random.Generator, sets: int, share: float, num_points: int) -> Array:
    """[sets, drawn] indices of points, without replacement within a set."""
    count = num_drawn(share, num_points)
    return np.stack([rng.choice(num_points, count, replace=False, shuffle=False) for _ in range(sets)])


@dataclass(frozen=True)
class GridOfSignals:
    """Signals that share their points, all of which are on the device."""

    ids: Array
    coords: Float[Tensor, "points coord_dim"]
    values: Float[Tensor, "signals points channels"]
    draws: Draws

    def __len__(self) -> int:
        return len(self.ids)

    def whole(self) -> Sample:
        """All points."""
        return self.coords, self.values

    def drawn(self, sets: int, share: float) -> list[Sample]:
        """Each signal's own draws from its points."""
        num_points = len(self.coords)
        picked = np.stack([subset(self.draws(int(i)), sets, share, num_points) for i in self.ids], axis=1)
        index = torch.as_tensor(picked).to(self.values.device)  # [sets, signals, drawn]
        signals = torch.arange(len(self.ids), device=index.device)[:, None]
        return [(self.coords[one], self.values[signals, one]) for one in index]

    def part(self, first: int, last: int) -> GridOfSignals:
        """The signals from ``first`` to ``last`` - 1."""
        return replace(self, ids=self.ids[first:last], values=self.values[first:last])


@dataclass(frozen=True)
class DrawnSignals:
    """Signals with a value at any point: what is drawn is computed when it is asked for."""

    signals: DrawableSignals
    device: str
    draws: Draws
    augmentation: Augmentation | None = None

    @property
    def ids(self) -> Array:
        """[signals] which signals these are."""
        return self.signals.ids

    def __len__(self) -> int:
        return len(self.signals)

    def whole(self) -> Sample:
        """The points that the signals list."""
        parts = []
        for i in range(len(self.signals)):
            observed = self.signals.observed(i)
            if len(observed) != 1 or not isinstance(observed[0].domain, Points):
                raise Refused("this fitter takes signals of one part on free points")
            parts.append(observed[0])
        coords = torch.stack([coords_of(part.domain, self.device) for part in parts])
        return coords, torch.as_tensor(np.stack([part.unit_values() for part in parts])).to(self.device)

    def drawn(self, sets: int, share: float) -> list[Sample]:
        """Fresh points, all of one copy of each signal."""
        count = num_drawn(share, self.signals.num_points)
        found = [
            self.signals.draw(i, sets, count, self.draws(int(one)), self.augmentation)
            for i, one in enumerate(self.signals.ids)
        ]
        coords, values = (
            torch.as_tensor(np.stack([pair[k] for pair in found], axis=1)).to(self.device) for k in (0, 1)
        )
        return list(zip(coords, values, strict=True))

    def part(self, first: int, last: int) -> DrawnSignals:
        """The signals from ``first`` to ``last`` - 1."""
        chosen = self.signals.take(np.arange(first, last))
        if not isinstance(chosen, DrawableSignals):
            raise TypeError(f"{type(self.signals).__name__}.take() lost draw()")
        return replace(self, signals=chosen)
