"""Reptile on a field that is rendered along rays: the outer step goes towards where many inner steps lead.

Tancik et al., 2021 (arXiv 2012.02189), section 3; Nichol et al., 2018 (arXiv 1803.02999). From φ = θ each inner step is
SGD, φ ← φ − α ∂L/∂φ, with L the mean squared error of freshly drawn rays of one object's views. No loss is descended:
the optimiser is given θ − φ, the mean over the batch's objects, in place of a gradient.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from inrbench.backends.torch.draws import torch_generator
from inrbench.backends.torch.fields import Field, autograd_loss_and_gradient
from inrbench.backends.torch.operators import observe
from inrbench.backends.torch.rendering import RadianceField, render
from inrbench.backends.torch.training import Part as Step
from inrbench.backends.torch.training import descend, with_gradient
from inrbench.domains import Array, Domain, Rays
from inrbench.errors import NotFinite, Refused
from inrbench.interfaces import FitterFacts, Head, Run, Trained
from inrbench.representations import Arrays, Representations
from inrbench.schedules import batches
from inrbench.signals import Part, PosedViews, Signals, SignalSpec
from inrbench_learned_init.initialised import Initialised, Tensors
from inrbench_learned_init.settings import ReptileSettings

__all__ = ["Reptile", "SeenRays", "inner_step"]

#: Objects whose representations are yielded together.
SHARD = 16
#: Points, each on a training ray, where the matched control is compared with the learned initialisation at a step.
MATCHED_POINTS = 4096


@dataclass(frozen=True)
class SeenRays:
    """All rays of some views of one object, flat, with their values as they are stored."""

    domain: Rays
    part: Part

    @classmethod
    def of(cls, parts: Sequence[Part]) -> SeenRays:
        """Raises Refused for what is not one part of views."""
        if len(parts) != 1 or not isinstance(parts[0].domain, Rays):
            raise Refused("fitter 'reptile' takes views: signals of one part, on rays")
        return cls(parts[0].domain, parts[0])

    def __len__(self) -> int:
        return self.domain.num_points

    @property
    def bounds(self) -> tuple[float, float, float]:
        """(near, far, background)."""
        return self.domain.near, self.domain.far, self.domain.background

    def at(self, index: Array, device: str) -> tuple[Tensor, Tensor, Tensor]:
        """(origins [*index, 3], directions [*index, 3], values in [0, 1] [*index, 3]) of the rays at flat places."""
        scale, offset = self.part.to_unit
        flat = (each.reshape(-1, 3)[index] for each in (self.domain.origins, self.domain.directions, self.part.values))
        origins, directions, stored = (torch.as_tensor(each.astype(np.float32)).to(device) for each in flat)
        return origins, directions, stored * scale + offset


def inner_step(
    field: RadianceField, arrays: Tensors, seen: SeenRays, index: Array, lr: float, jitter: torch.Generator
) -> tuple[Float[Tensor, ""], Tensors]:
    """(the error of the rays at ``index``, ``arrays`` after a step of SGD on it); one signal stands in front.

    The error is the mean square in the field's own range; ``jitter`` moves the samples along the rays.
    """
    origins, directions, values = seen.at(index, str(next(iter(arrays.values())).device))
    scale, offset = field.to_unit

    def predict(leaves: Mapping[str, Tensor]) -> Tensor:
        return render(field, leaves, origins, directions, *seen.bounds, field.num_samples, jitter)

    with torch.no_grad():
        error, gradients = autograd_loss_and_gradient(predict, arrays, (values[None] - offset) / scale, list(arrays))
        return error[0], {name: torch.add(array, gradients[name], alpha=-lr) for name, array in arrays.items()}


class Reptile(Initialised):
    """The fitter: what is shared is θ (``theta/*``), and some training rays (``rays/*``) for the matched control."""

    def __init__(self, settings: ReptileSettings, spec: SignalSpec, inr: Field) -> None:
        super().__init__(settings, spec, inr)
        self.settings, self.radiance = settings, cast(RadianceField, inr)
        self.rays: dict[str, Array] = {}

    # ------------------------------------------------------------------ training

    def train(self, train: Signals, validation: Signals, run: Run, heads: Sequence[Head] = ()) -> Trained:
        """Learn θ."""
        if self.start_from == "standard":
            return Trained({})
        settings, views = self.settings, _posed(train)
        self.start(run)
        group = self.group(settings.lr, run.device)
        batch = batches(len(views), settings.train.batch_size, run)

        def moves(step: int) -> Iterator[Step]:
            index = batch(step)
            for i in index:
                seen, one = self._views(views, int(i), step, run), int(views.ids[i])
                drawn = run.rng("rays", step, one).integers(len(seen), size=(settings.steps, settings.rays))
                jitter = torch_generator(run.rng("jitter", step, one))
                phi = self.of_every_signal({name: array.detach() for name, array in self.theta.items()}, 1)
                for rays in drawn:
                    error, phi = inner_step(self.radiance, phi, seen, rays, settings.inner_lr, jitter)
                away = {name: array.detach() - phi[name][0] for name, array in self.theta.items()}
                psnr = -10.0 * torch.log10(error * self.field.to_unit[0] ** 2)
                yield 1.0 / len(index), with_gradient(error, self.theta, away), {"psnr_db": psnr}

        total = settings.train.num_steps(len(views))
        descend("train", [group], moves, total, settings.train, run)
        self.rays = _some_rays(views, run)
        return Trained(self.state(), steps=total)

    def _views(self, train: PosedViews, i: int, step: int, run: Run) -> SeenRays:
        """The views of entry ``i`` that an outer step sees."""
        count = train.num_views(i)
        chosen = np.arange(count)
        if count > self.settings.views:
            rng = run.rng("views", step, int(train.ids[i]))
            chosen = np.sort(rng.choice(count, self.settings.views, replace=False))
        return SeenRays.of([train.views(i, chosen)])

    def state(self) -> dict[str, np.ndarray]:
        """θ and the training rays."""
        return {**super().state(), **{f"rays/{name}": array for name, array in self.rays.items()}}

    def load(self, shared: Arrays) -> None:
        """Take up what `train` returned."""
        super().load(shared)
        self.rays = {n.removeprefix("rays/"): np.array(a) for n, a in shared.items() if n.startswith("rays/")}

    def places(self, step: int, run: Run) -> Float[Tensor, "points coord_dim"]:
        """Points on training rays, uniform between near and far, with their directions where the field takes these."""
        rng, rays = run.rng("matched", "points", step), self.rays
        index = rng.integers(len(rays["origins"]), size=MATCHED_POINTS)
        near, far = rays["near_far"]
        depths = rng.uniform(near, far, (MATCHED_POINTS, 1))
        points = rays["origins"][index] + depths * rays["directions"][index]
        if self.radiance.takes_directions:
            directions = rays["directions"][index]
            points = np.concatenate([points, directions / np.linalg.norm(directions, axis=-1, keepdims=True)], axis=-1)
        return torch.as_tensor(points.astype(np.float32)).to(run.device)

    # ------------------------------------------------------------------ fitting and querying

    def fit(self, signals: Signals, run: Run) -> Iterator[Representations]:
        """Descend the error of each entry's observed views; an entry's result depends on its id and its views alone."""
        for first in range(0, len(signals), SHARD):
            shard = range(first, min(first + SHARD, len(signals)))
            yield Representations.joined([self._fitted(signals, i, run) for i in shard])

    def _fitted(self, signals: Signals, i: int, run: Run) -> Representations:
        settings, ids = self.settings, signals.ids[i : i + 1]
        seen, one = SeenRays.of(signals.observed(i)), int(ids[0])
        phi = self.of_every_signal(self.initial(ids, run), 1)

        def state() -> dict[str, np.ndarray]:
            return {name: array.cpu().numpy() for name, array in phi.items()}

        def restore(saved: Arrays) -> None:
            phi.update({name: torch.as_tensor(np.array(array)).to(run.device) for name, array in saved.items()})

        for step in run.steps(f"entry {i}", settings.test_steps, state, restore):
            index = run.rng("fit rays", one, step).integers(len(seen), size=settings.test_rays)
            jitter = torch_generator(run.rng("fit jitter", one, step))
            error, phi = inner_step(self.radiance, phi, seen, index, settings.test_lr, jitter)
            if step == settings.test_steps - 1 and not bool(error.isfinite()):
                raise NotFinite(f"fitting diverged on signal {one}")
        return self.rows(ids, phi)

    def query(self, rows: Representations, domain: Domain, run: Run) -> Iterator[Array]:
        """What is seen along ``domain``'s rays, [1, views, height, width, 3], row by row. Refused for other domains."""
        if not isinstance(domain, Rays):
            raise Refused(
                f"fitter 'reptile' represents scenes: they are seen along rays, not on {type(domain).__name__}"
            )
        for i in range(len(rows)):
            arrays = self.arrays_of(rows.take(slice(i, i + 1)), run)
            yield observe(self.field, arrays, domain, run.device).cpu().numpy()

    def facts(self) -> FitterFacts:
        """A step costs 3 forward passes at all samples of its rays."""
        settings = self.settings
        ray = 3.0 * self.field.flops(self.radiance.num_samples)
        return self.facts_of(ray * settings.rays * settings.steps, ray * settings.test_rays * settings.test_steps)


def _posed(signals: Signals) -> PosedViews:
    if len(signals) == 0:
        raise Refused("there is no training signal: this data set has none, or data.validation takes them all")
    if not isinstance(signals, PosedViews):
        raise Refused("fitter 'reptile' trains on posed views, which these signals do not give")
    return signals


def _some_rays(views: PosedViews, run: Run, objects: int = 64, rays: int = 64) -> dict[str, Array]:
    """Rays of one view each of some objects, float32, with their near and far bounds."""
    origins, directions, bounds = [], [], []
    rng = run.rng("matched", "rays")
    for i in rng.permutation(len(views))[:objects]:
        domain = SeenRays.of([views.views(int(i), rng.integers(views.num_views(int(i)), size=1))]).domain
        index = rng.integers(domain.num_points, size=rays)
        origins.append(domain.origins.reshape(-1, 3)[index])
        directions.append(domain.directions.reshape(-1, 3)[index])
        bounds.append([domain.near, domain.far])
    return {
        "origins": np.concatenate(origins).astype(np.float32),
        "directions": np.concatenate(directions).astype(np.float32),
        "near_far": np.array([np.min(bounds), np.max(bounds)], dtype=np.float32),
    }
