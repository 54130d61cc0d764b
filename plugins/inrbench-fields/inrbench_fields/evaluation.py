"""How good a fit is on the way: PSNR by the protocol, at all points of the signals or at some that stay the same."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from inrbench.backends.torch.batches import StoredParts, StoredSignals
from inrbench.backends.torch.fields import Field
from inrbench.backends.torch.observed import DrawnSignals
from inrbench.backends.torch.operators import coords_at
from inrbench.domains import Array, Rays
from inrbench.errors import Refused
from inrbench.interfaces import Run
from inrbench.metrics import psnr_db

__all__ = ["Look", "looks_of", "measured"]

#: Points of all signals together that a field is asked for at once.
POINTS_AT_ONCE = 2**16


@dataclass(frozen=True)
class Look:
    """The points of one part of some signals at which fits of them are measured; the same each time."""

    name: str  # of the part; "" where signals have one
    channels: slice
    num_points: int  # of the part
    index: Array  # [points looked at] flat places
    #: From flat places to coordinates and values in [0, 1], [signals, points, channels of the part].
    at: Callable[[Array], tuple[Tensor, Tensor]]

    @property
    def is_estimate(self) -> bool:
        """Whether there are points that are not looked at."""
        return len(self.index) < self.num_points


def looks_of(stored: StoredSignals | StoredParts | DrawnSignals, most: int, run: Run) -> list[Look]:
    """What to look at, of each part all points or ``most`` that are drawn once. Raises Refused for views."""
    if isinstance(stored, DrawnSignals):
        coords, values = stored.whole()

        def listed(index: Array) -> tuple[Tensor, Tensor]:
            places = torch.as_tensor(index).to(values.device)
            return coords[:, places], values[:, places]

        return [Look("", slice(None), values.shape[1], _chosen(values.shape[1], most, "", run), listed)]
    if isinstance(stored, StoredSignals):
        return [_look(stored, slice(None), most, run)]
    return [_look(part, channels, most, run) for part, channels in zip(stored.parts, stored.channels, strict=True)]


def _look(stored: StoredSignals, channels: slice, most: int, run: Run) -> Look:
    domain = stored.domain
    if isinstance(domain, Rays):
        raise Refused("views are scored on other views, which a fit never sees: say --set fitter.evaluate=0")

    def at(index: Array) -> tuple[Tensor, Tensor]:
        return coords_at(domain, index, stored.device), stored.values(np.tile(index, (len(stored), 1)))

    return Look(stored.name, channels, stored.num_points, _chosen(stored.num_points, most, stored.name, run), at)


def _chosen(num_points: int, most: int, name: str, run: Run) -> Array:
    if num_points <= most:
        return np.arange(num_points)
    return np.sort(run.rng("evaluation", name).choice(num_points, most, replace=False, shuffle=False))


@torch.no_grad()
def measured(field: Field, arrays: Mapping[str, Tensor], looks: Sequence[Look]) -> dict[str, float]:
    """``psnr_db``, the mean over signals; where they have several parts, ``psnr_<part>_db`` of each too.

    The error of a signal is the mean over all values of all its parts, as where it is scored. Where some points are not
    looked at, it is ``psnr_estimate_db`` or ``psnr_<part>_estimate_db``.
    """
    errors = [_squared_error(field, arrays, look) for look in looks]
    if len(looks) == 1:
        return {_name(looks): float(psnr_db(errors[0]).mean())}
    sizes = [look.num_points * (look.channels.stop - look.channels.start) for look in looks]
    whole = np.average(np.stack(errors), axis=0, weights=np.asarray(sizes, dtype=np.float64))
    of_parts = {_name([look], f"{look.name}_"): error for look, error in zip(looks, errors, strict=True)}
    return {name: float(psnr_db(error).mean()) for name, error in {_name(looks): whole, **of_parts}.items()}


def _name(looks: Sequence[Look], part: str = "") -> str:
    return f"psnr_{part}estimate_db" if any(look.is_estimate for look in looks) else f"psnr_{part}db"


def _squared_error(field: Field, arrays: Mapping[str, Tensor], look: Look) -> Float[Array, " signals"]:
    """The mean squared error of each signal with values clamped to [0, 1]."""
    scale, offset = field.to_unit
    total, count = None, 0
    signals = max(len(array) for array in arrays.values())
    size = max(1, POINTS_AT_ONCE // signals)
    for first in range(0, len(look.index), size):
        coords, values = look.at(look.index[first : first + size])
        output = field.apply(arrays, coords)[..., look.channels] * scale + offset
        squares = (output.clamp_(0.0, 1.0) - values).double().square().sum((1, 2))
        total = squares if total is None else total + squares
        count += values.shape[1] * values.shape[2]
    assert total is not None
    return np.asarray((total / count).cpu().numpy())
