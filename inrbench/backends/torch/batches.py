"""Mini-batches of signals that stay as they are stored: what a step sees is gathered, nothing else is converted."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from inrbench.backends.torch.operators import coords_at
from inrbench.domains import Array, Domain, Rays
from inrbench.errors import Refused
from inrbench.signals import Part, Signals

__all__ = ["StoredParts", "StoredSignals", "foreground", "stored_parts", "stored_shards"]

#: Values that are looked at together in the search for the foreground.
CHUNK_VALUES = 2**20


@dataclass(frozen=True)
class StoredSignals:
    """Signals on one domain: ``stored`` is [signals, points, channels] in any dtype, on the device if that is a GPU."""

    ids: Array
    domain: Domain
    stored: Array | Tensor
    to_unit: tuple[float, float]
    device: str
    name: str = ""  # of the part that these are

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def num_points(self) -> int:
        """Points, or rays, of each signal."""
        return self.stored.shape[1]

    def values(self, index: Array | None = None) -> Float[Tensor, "signals points channels"]:
        """The values in [0, 1] at flat places ``index`` [signals, points] of each signal, or at all."""
        if index is None:
            picked = self.stored
        elif isinstance(self.stored, Tensor):
            places = torch.as_tensor(index).to(self.stored.device)
            picked = self.stored[torch.arange(len(index), device=places.device)[:, None], places]
        else:
            picked = np.stack([stored[places] for stored, places in zip(self.stored, index, strict=True)])
        if not isinstance(picked, Tensor):
            picked = torch.as_tensor(np.require(picked, requirements=("C", "W")))  # PyTorch wants to write
        scale, offset = self.to_unit
        return picked.to(self.device).float() * scale + offset


@dataclass(frozen=True)
class StoredParts:
    """One signal of several parts, each on channels of its own, of one field; places count through the parts."""

    parts: tuple[StoredSignals, ...]  # each of the one signal alone
    channels: tuple[slice, ...]
    num_channels: int  # of all parts

    @property
    def ids(self) -> Array:
        """[1] the signal's."""
        return self.parts[0].ids

    @property
    def num_points(self) -> int:
        """Points of all parts."""
        return sum(part.num_points for part in self.parts)

    def gathered(
        self, index: Array
    ) -> tuple[
        Float[Tensor, "points coord_dim"], Float[Tensor, "1 points channels"], Float[Tensor, "1 points channels"]
    ]:
        """(coordinates, values in [0, 1], weights) at flat places ``index`` [points], in the order of the parts.

        The weight is 1 in the channels of the part that a point is of and 0, as the value, in the others.
        """
        coords: list[Tensor] = []
        values = torch.zeros(1, len(index), self.num_channels, device=self.parts[0].device)
        weights = torch.zeros_like(values)
        first = filled = 0
        for part, channels in zip(self.parts, self.channels, strict=True):
            if isinstance(part.domain, Rays):
                raise Refused("views are no part of a signal of several parts")
            own = index[(index >= first) & (index < first + part.num_points)] - first
            rows = slice(filled, filled + len(own))
            coords.append(coords_at(part.domain, own, part.device))
            values[:, rows, channels], weights[:, rows, channels] = part.values(own[None]), 1.0
            first, filled = first + part.num_points, filled + len(own)
        return torch.cat(coords), values, weights


def stored_parts(signals: Signals, num_channels: int, device: str) -> Iterator[StoredParts]:
    """``signals`` one by one, with all of their parts, on ``num_channels`` channels in all."""
    for i in range(len(signals)):
        parts, ids = signals.observed(i), signals.ids[i : i + 1]
        stored = tuple(_stored_part(ids, part, device) for part in parts)
        yield StoredParts(stored, tuple(part.channels for part in parts), num_channels)


def stored_shards(signals: Signals, size: int, device: str) -> Iterator[StoredSignals]:
    """``signals`` in order, ``size`` at a time where they share a domain, else one by one."""
    stacked = signals.stacked()
    if stacked is not None:
        domain, stored, to_unit = stacked
        for first in range(0, len(signals), size):
            chunk = np.asarray(stored[first : first + size])
            yield _stored(signals.ids[first : first + size], domain, chunk, to_unit, device)
        return
    for i in range(len(signals)):
        parts = signals.observed(i)
        if len(parts) != 1:
            raise Refused(f"this fitter takes signals of one part; signal {signals.ids[i]} has {len(parts)}")
        yield _stored_part(signals.ids[i : i + 1], parts[0], device)


def _stored_part(ids: Array, part: Part, device: str) -> StoredSignals:
    return replace(_stored(ids, part.domain, part.values[None], part.to_unit, device), name=part.name)


def _stored(ids: Array, domain: Domain, values: Array, to_unit: tuple[float, float], device: str) -> StoredSignals:
    flat: Array | Tensor = values.reshape(len(values), -1, values.shape[-1])
    if device != "cpu":
        flat = torch.as_tensor(np.require(flat, requirements=("C", "W"))).to(device)
    return StoredSignals(ids, domain, flat, to_unit, device)


def foreground(signals: StoredSignals, place: int) -> Array:
    """Flat places of the rays of signal ``place`` whose value differs from the background in a channel."""
    if not isinstance(signals.domain, Rays):
        raise Refused("only views have a foreground")
    stored = signals.stored[place]
    scale, offset = signals.to_unit
    found = []
    for first in range(0, len(stored), CHUNK_VALUES):
        part = stored[first : first + CHUNK_VALUES]
        values = (part.cpu().numpy() if isinstance(part, Tensor) else part).astype(np.float32)
        off = np.abs(values * scale + offset - signals.domain.background) > 1e-6
        found.append(first + np.flatnonzero(off.any(axis=-1)))
    return np.concatenate(found)
