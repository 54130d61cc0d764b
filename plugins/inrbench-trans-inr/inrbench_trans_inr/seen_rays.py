"""Objects as a step sees them: support views as images, other views as rays, drawn anew for each step and object."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from inrbench.domains import Array, Rays
from inrbench.errors import Refused
from inrbench.signals import Part, PosedViews

__all__ = ["Draw", "SeenRays", "Support", "draw_rays"]


@dataclass(frozen=True)
class Support:
    """Whole views of some signals: what becomes tokens."""

    colours: Float[Tensor, "signals views height width 3"]
    origins: Float[Tensor, "signals views height width 3"]
    directions: Float[Tensor, "signals views height width 3"]

    @classmethod
    def of(cls, parts: Sequence[Part], device: str, contrast: float = 1.0) -> Support:
        """Equally many views of each signal; colours are ``contrast`` times as far from the background as they are."""
        rays = [_rays(part) for part in parts]
        arrays = (
            [_enlarged(part.unit_values(), one.background, contrast) for part, one in zip(parts, rays, strict=True)],
            [one.origins for one in rays],
            [one.directions for one in rays],
        )
        return cls(*(_stacked(array, device) for array in arrays))

    def part(self, first: int, last: int) -> Support:
        """The signals from ``first`` to ``last`` - 1."""
        return Support(self.colours[first:last], self.origins[first:last], self.directions[first:last])


@dataclass(frozen=True)
class SeenRays:
    """Rays of some signals and what is seen along them, in [0, 1]; all between the same depths."""

    origins: Float[Tensor, "signals rays 3"]
    directions: Float[Tensor, "signals rays 3"]
    values: Float[Tensor, "signals rays 3"]
    bounds: tuple[float, float, float]  # near, far, background

    @classmethod
    def of(cls, parts: Sequence[Part], index: Array, device: str) -> SeenRays:
        """The rays at flat places ``index`` [signals, rays] of each signal's views. Refused for unequal depths."""
        rays = [_rays(part) for part in parts]
        bounds = {(one.near, one.far, one.background) for one in rays}
        if len(bounds) > 1:
            shown = " and ".join(map(str, sorted(bounds)[:2]))
            raise Refused(f"fitter 'trans-inr-nvs' takes objects with one near, far and background; there are {shown}")
        pairs = list(zip(rays, index, strict=True))
        values = [
            replace(part, values=part.values.reshape(-1, 3)[places]).unit_values()
            for part, places in zip(parts, index, strict=True)
        ]
        return cls(
            _stacked([one.origins.reshape(-1, 3)[places] for one, places in pairs], device),
            _stacked([one.directions.reshape(-1, 3)[places] for one, places in pairs], device),
            _stacked(values, device),
            bounds.pop(),
        )

    def part(self, first: int, last: int) -> SeenRays:
        """The signals from ``first`` to ``last`` - 1."""
        cut = slice(first, last)
        return SeenRays(self.origins[cut], self.directions[cut], self.values[cut], self.bounds)

    def some(self, index: Array) -> SeenRays:
        """The rays at places ``index`` [signals, rays] of each signal."""
        places = torch.as_tensor(index).to(self.values.device)[..., None].expand(-1, -1, 3)
        origins, directions, values = (one.gather(1, places) for one in (self.origins, self.directions, self.values))
        return SeenRays(origins, directions, values, self.bounds)


@dataclass(frozen=True)
class Draw:
    """What a training step draws of each object."""

    support_views: int
    query_views: int
    rays: int  # of each query view
    foreground: bool  # half of them where something stands

    def of(self, views: PosedViews, i: int, rng: np.random.Generator) -> tuple[Part, Part, Array]:
        """(support views, other views, flat places of some rays of these) of entry ``i``."""
        needed = self.support_views + self.query_views
        chosen = rng.choice(views.num_views(i), needed, replace=False)
        query = views.views(i, chosen[self.support_views :])
        places = draw_rays(query, self.rays * self.query_views, rng, foreground=self.foreground)
        return views.views(i, chosen[: self.support_views]), query, places


def draw_rays(part: Part, count: int, rng: np.random.Generator, *, foreground: bool) -> Array:
    """[count] flat places of rays of ``part``: half of them from the foreground, if asked for and if there is any.

    The others are drawn from all without replacement, as the foreground's are where it has enough.
    """
    rays = _rays(part)
    shown = np.zeros(0, dtype=np.int64)
    if foreground:
        away = np.abs(part.unit_values() - np.float32(rays.background)) > 1e-6
        shown = np.flatnonzero(away.any(axis=-1))
    near = count // 2 if len(shown) else 0
    places = rng.choice(rays.num_points, count - near, replace=count - near > rays.num_points, shuffle=False)
    return np.concatenate([rng.choice(shown, near, replace=near > len(shown)), places]) if near else places


def _rays(part: Part) -> Rays:
    if not isinstance(part.domain, Rays):
        raise Refused(f"fitter 'trans-inr-nvs' takes views, not values on {type(part.domain).__name__}")
    return part.domain


def _enlarged(values: Array, background: float, contrast: float) -> Array:
    return values if contrast == 1.0 else background + np.float32(contrast) * (values - np.float32(background))


def _stacked(arrays: Sequence[Array], device: str) -> Tensor:
    return torch.as_tensor(np.stack(arrays).astype(np.float32, copy=False)).to(device)
