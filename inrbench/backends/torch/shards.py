"""Signals in batches on the device, for fitters that fit many at once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from inrbench.backends.torch.fields import coords_of
from inrbench.domains import Array
from inrbench.errors import Refused
from inrbench.signals import Signals

__all__ = ["Shard", "shards"]


@dataclass(frozen=True)
class Shard:
    """Some signals on one domain: ``values`` [signals, points, channels] in [0, 1], ``coords`` [points, coord_dim]."""

    ids: Array
    coords: Float[Tensor, "points coord_dim"]
    values: Float[Tensor, "signals points channels"]


def shards(signals: Signals, size: int, device: str) -> Iterator[Shard]:
    """``signals`` in order, ``size`` at a time where they share a domain, else one by one."""
    stacked = signals.stacked()
    if stacked is not None:
        domain, stored, (scale, offset) = stacked
        coords = coords_of(domain, device)
        for first in range(0, len(signals), size):
            chunk = np.ascontiguousarray(stored[first : first + size])
            values = torch.as_tensor(chunk).to(device).float() * scale + offset
            yield Shard(signals.ids[first : first + size], coords, values.reshape(len(chunk), -1, chunk.shape[-1]))
        return
    for i in range(len(signals)):
        parts = signals.observed(i)
        if len(parts) != 1:
            raise Refused(f"this fitter takes signals of one part; signal {signals.ids[i]} has {len(parts)}")
        values = torch.as_tensor(parts[0].unit_values()).to(device)
        values = values.reshape(1, -1, values.shape[-1])
        yield Shard(signals.ids[i : i + 1], coords_of(parts[0].domain, device), values)
