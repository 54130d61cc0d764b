"""Volume rendering: a field of colour and density, integrated along rays in front of a constant background.

The quadrature is Max's (1995) as NeRF has it (Mildenhall et al., 2020, arXiv 2003.08934, eq. 3): with samples at
depths t_1 < ... < t_N and steps δ_i = t_{i+1} - t_i, density σ and colour c are constant over a step, and

    C = Σ_i (T_i - T_{i+1}) c_i + T_{N+1} · background,    T_i = exp(-Σ_{j<i} σ_j δ_j).

Depths are as in the public code of Learned Init and Trans-INR: linspace(near, far, N), so that the first sample lies at
``near``, the last at ``far``, and each of the N - 1 equal bins has its sample at its near end. With jitter each sample
moves uniformly within the bin behind it (the last one beyond ``far``) and the steps follow. The last step is 1e-3.
Depths and steps count in lengths of the ray's direction, which is taken as it comes.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

import torch
from jaxtyping import Float, Int
from torch import Tensor

from inrbench.backends.torch.fields import Field

__all__ = ["RadianceField", "composite", "depths_along", "render"]

Tensors = Mapping[str, Tensor]

#: The step behind the last sample.
LAST_STEP = 1e-3
#: Points that a field is asked for at once where no gradient is recorded: their activations stay in a CPU's cache.
CHUNK_POINTS = {"cpu": 2**12, "cuda": 2**19}
#: Where more of the samples than this contribute, all of them are recorded.
MOSTLY = 0.6


class RadianceField(Field, Protocol):
    """A field that rays are rendered through: its output is raw, and these make colour and density of it."""

    num_samples: int  # along a ray
    takes_directions: bool  # whether `apply` is given [x; unit direction of the ray], 6 coordinates, or x alone

    def radiance(self, raw: Tensor) -> tuple[Tensor, Tensor]:
        """(colour [..., 3] in [0, 1], density [...] from 0 on) of the field's output [..., channels]."""
        ...

    def density(self, raw: Tensor) -> Tensor:
        """The density [...] alone."""
        ...


def render(
    field: RadianceField,
    arrays: Tensors,
    origins: Float[Tensor, "*signals rays 3"],
    directions: Float[Tensor, "*signals rays 3"],
    near: float,
    far: float,
    background: float,
    num_samples: int,
    generator: torch.Generator | None = None,
) -> Float[Tensor, "_ rays 3"]:
    """The colour of each ray, [signals, rays, 3]; one signal where neither arrays nor rays have signals in front.

    ``generator`` jitters the samples, in the same way for every signal. Where no gradient is recorded memory is bounded
    by chunks of rays. Where it is, the field is differentiated only at samples that contribute: one whose density is
    exactly 0, as a ReLU makes it in empty space, has no gradient at all, nor one that nothing shines through to.
    """
    if origins.dim() == 3 and len(origins) == 1:  # rays that all signals share
        origins, directions = origins[0], directions[0]
    depths, steps = depths_along(origins, near, far, num_samples, generator)
    rays = _Rays(origins, directions, depths, steps, field.takes_directions)
    if torch.is_grad_enabled() and any(array.requires_grad for array in (origins, directions, *arrays.values())):
        return composite(*_differentiable(field, arrays, rays), steps, background)
    with torch.no_grad():
        chunks = _chunks(field, arrays, rays)
        return torch.cat([composite(*field.radiance(raw), part.steps, background) for part, raw in chunks], dim=1)


@dataclass(frozen=True)
class _Rays:
    origins: Float[Tensor, "*signals rays 3"]
    directions: Float[Tensor, "*signals rays 3"]
    depths: Float[Tensor, "rays samples"]
    steps: Float[Tensor, "rays samples"]
    with_directions: bool

    def part(self, first: int, last: int) -> _Rays:
        origins, directions = (array[..., first:last, :] for array in (self.origins, self.directions))
        return _Rays(origins, directions, self.depths[first:last], self.steps[first:last], self.with_directions)

    def points(self) -> Float[Tensor, "*signals points coord_dim"]:
        """All samples' places, ray after ray, with their rays' unit directions behind where the field takes them."""
        along = self.depths.unsqueeze(-1) * self.directions.unsqueeze(-2)
        places = self.origins.unsqueeze(-2) + along
        if self.with_directions:
            unit = torch.nn.functional.normalize(self.directions, dim=-1).unsqueeze(-2).expand_as(places)
            places = torch.cat([places, unit], dim=-1)
        return places.flatten(-3, -2)


def depths_along(
    origins: Float[Tensor, "*signals rays 3"],
    near: float,
    far: float,
    num_samples: int,
    generator: torch.Generator | None = None,
) -> tuple[Float[Tensor, "rays samples"], Float[Tensor, "rays samples"]]:
    """(depth of each sample, step behind it), the same for all signals."""
    depths = torch.linspace(near, far, num_samples, dtype=origins.dtype, device=origins.device)
    depths = depths.expand(origins.shape[-2], -1)
    if generator is not None:
        moved = torch.rand(depths.shape, generator=generator, dtype=depths.dtype).to(depths.device)
        depths = depths + moved * ((far - near) / (num_samples - 1))
    return depths, torch.nn.functional.pad(depths.diff(dim=-1), (0, 1), value=LAST_STEP)


def composite(
    colour: Float[Tensor, "*rays samples 3"],
    density: Float[Tensor, "*rays samples"],
    steps: Float[Tensor, "... samples"],
    background: float,
) -> Float[Tensor, "*rays 3"]:
    """What is seen along each ray: ``steps`` are those of each sample, or of all signals' samples alike."""
    behind = torch.exp(-(density * steps).cumsum(-1))  # T_2, ..., T_{N+1}
    before = torch.nn.functional.pad(behind[..., :-1], (1, 0), value=1.0)
    seen = ((before - behind).unsqueeze(-1) * colour).sum(-2)
    return seen + background * behind[..., -1:]


def _chunks(
    field: Field, arrays: Tensors, rays: _Rays
) -> Iterator[tuple[_Rays, Float[Tensor, "_ rays samples channels"]]]:
    """Some rays at a time, with the field's output at their samples."""
    first, last, (count, num_samples) = 0, 0, rays.depths.shape
    most = CHUNK_POINTS[rays.depths.device.type] // num_samples
    signals = 1  # as long as no output is there to tell
    while last < count:
        first, last = last, min(last + max(1, most // signals), count)
        part = rays.part(first, last)
        raw = _output(field, arrays, part.points())
        signals = len(raw)
        yield part, raw.reshape(signals, last - first, num_samples, -1)


def _output(
    field: Field, arrays: Tensors, points: Float[Tensor, "*signals points coord_dim"]
) -> Float[Tensor, "_ points channels"]:
    raw = field.apply(arrays, points).to(points.dtype)
    return raw if raw.dim() == 3 else raw.unsqueeze(0)


def _differentiable(
    field: RadianceField, arrays: Tensors, rays: _Rays
) -> tuple[Float[Tensor, "_ rays samples 3"], Float[Tensor, "_ rays samples"]]:
    """(colour, density) of all samples: 0, and without a gradient, where a sample contributes nothing."""
    points, shape = rays.points(), rays.depths.shape
    index = _contributing(field, arrays, rays)
    if index is None:
        raw = _output(field, arrays, points)
        return field.radiance(raw.reshape(len(raw), *shape, -1))
    points = points.expand(len(index), -1, -1)
    chosen = points.gather(1, index.unsqueeze(-1).expand(-1, -1, points.shape[-1]))
    colour, density = field.radiance(_output(field, arrays, chosen))
    densities = density.new_zeros(len(index), points.shape[-2]).scatter(1, index, density)
    colours = colour.new_zeros(*densities.shape, 3).scatter(1, index.unsqueeze(-1).expand(-1, -1, 3), colour)
    return colours.reshape(len(index), *shape, 3), densities.reshape(len(index), *shape)


@torch.no_grad()
def _contributing(field: RadianceField, arrays: Tensors, rays: _Rays) -> Int[Tensor, "_ chosen"] | None:
    """Which samples contribute, as many for each signal: where one has fewer, some that do not. None: about all."""
    found = []
    for part, raw in _chunks(field, arrays, rays):
        optical = field.density(raw) * part.steps
        before = optical.cumsum(-1) - optical
        found.append((optical > 0.0) & (before < -math.log(torch.finfo(optical.dtype).eps / 2.0)))
        if len(found) == 1 and float(found[0].float().mean()) > MOSTLY:
            return None
    contributes = torch.cat(found, dim=1).flatten(1)
    most = max(1, int(contributes.sum(1).max()))
    if most > MOSTLY * contributes.shape[1]:
        return None
    return contributes.to(torch.uint8).sort(dim=1, descending=True, stable=True).indices[:, :most]
