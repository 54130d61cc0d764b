"""MAML on a field: a few steps of SGD at a fixed rate from a learned initialisation.

Tancik et al., 2021 (arXiv 2012.02189), section 3; Finn et al., 2017 (arXiv 1703.03400). All arrays of the field are
adapted, φ ← φ − α ∂L/∂φ from φ = θ, with L the mean squared error of one whole signal. The outer loss is the batch's
mean after the last step; its gradient to θ goes through the inner gradients unless `second_order` is off.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from inrbench.backends.torch.fields import DifferentiatedField, Field, coords_of, loss_and_gradient
from inrbench.backends.torch.joint import train_jointly
from inrbench.backends.torch.observed import Observed, Sample, shards
from inrbench.backends.torch.operators import observe
from inrbench.backends.torch.precision import precision_here
from inrbench.backends.torch.training import Group, micro_batch
from inrbench.domains import Array, Domain, Grid
from inrbench.interfaces import FitterFacts, Head, Run, Trained
from inrbench.representations import Representations
from inrbench.signals import Signals, SignalSpec
from inrbench_learned_init.initialised import Initialised, Tensors
from inrbench_learned_init.settings import MamlSettings

__all__ = ["Maml", "adapt"]

#: One layer's values of the signals that are queried at once.
QUERY_BYTES = 2**28
#: Points where the matched control is compared with the learned initialisation, where there is no grid.
MATCHED_POINTS = 4096


def adapt(
    field: Field,
    arrays: Mapping[str, Tensor],
    sample: Sample,
    steps: int,
    lr: float,
    *,
    second_order: bool = True,
    precision: torch.dtype | None = None,
) -> Iterator[Tensors]:
    """``arrays`` after 1, 2, ... ``steps`` inner steps, with the signals in front.

    They may come without, where the field brings its own gradient: it shares the first step. ``sample`` is (coords,
    target in the field's own range [signals, points, channels]). Where gradients are recorded what is yielded carries
    those to ``arrays``, without those of the inner gradients unless ``second_order``.
    """
    coords, target = sample
    phi = dict(arrays)
    for _ in range(steps):
        with torch.set_grad_enabled(second_order and torch.is_grad_enabled()):
            _, gradients = loss_and_gradient(field, phi, coords, target, list(phi), precision=precision)
        phi = {name: torch.add(array, gradients[name], alpha=-lr) for name, array in phi.items()}
        yield phi


class Maml(Initialised):
    """The fitter: what is shared is the initialisation θ (``theta/*``)."""

    def __init__(self, settings: MamlSettings, spec: SignalSpec, inr: Field) -> None:
        super().__init__(settings, spec, inr)
        self.settings = settings

    # ------------------------------------------------------------------ training

    def groups(self, device: str) -> Sequence[Group]:
        """θ."""
        return [self.group(self.settings.lr, device)]

    def loss(self, observed: Observed) -> tuple[Tensor, Tensors, Tensors]:
        """(mean squared error after the inner steps in the field's own range, φ − θ, values to log)."""
        settings, sample = self.settings, self._sample(observed)
        precision = precision_here(sample[1].device)
        path = adapt(
            self.field,
            self._begun(self.theta, len(observed)),
            sample,
            settings.steps,
            settings.inner_lr,
            second_order=settings.second_order,
            precision=precision,
        )
        (phi,) = deque(path, maxlen=1)
        errors, _ = loss_and_gradient(self.field, phi, *sample, list(phi), precision=precision)
        psnr = -10.0 * torch.log10(errors.detach() * self.field.to_unit[0] ** 2).mean()
        return errors.mean(), {name: array - self.theta[name] for name, array in phi.items()}, {"psnr_db": psnr}

    def _begun(self, arrays: Tensors, count: int) -> Tensors:
        """``arrays`` as `adapt` takes them: the first step of a field that knows how is shared by all signals."""
        return arrays if isinstance(self.field, DifferentiatedField) else self.of_every_signal(arrays, count)

    def _sample(self, observed: Observed) -> Sample:
        """All points of each signal, in the field's own range."""
        scale, offset = self.field.to_unit
        coords, values = observed.whole()
        return coords, (values - offset) / scale

    def activation_bytes(self) -> int:
        """One layer's values of one signal, as float32."""
        return 4 * self._width() * int(np.prod(self.spec.parts[0].shape))

    def _width(self) -> int:
        return max(shape[0] for shape in self.shapes.values() if shape)

    def train(self, train: Signals, validation: Signals, run: Run, heads: Sequence[Head] = ()) -> Trained:
        """Learn θ."""
        if self.start_from == "standard":
            return Trained({})
        return train_jointly(self, train, heads, self.settings.train, run)

    def places(self, step: int, run: Run) -> Float[Tensor, "points coord_dim"]:
        """All cells of the grid, or fresh points where there is none."""
        part = self.spec.parts[0]
        if part.domain == "grid":
            return coords_of(Grid.of(*part.shape), run.device)
        drawn = run.rng("matched", "points", step).uniform(-1.0, 1.0, (MATCHED_POINTS, part.coord_dim))
        return torch.as_tensor(drawn.astype(np.float32)).to(run.device)

    # ------------------------------------------------------------------ fitting and querying

    def fit(self, signals: Signals, run: Run) -> Iterator[Representations]:
        """All steps on each signal."""
        for ids, path in self._paths(signals, run, last=True):
            yield self.rows(ids, path[-1])

    def trace(self, signals: Signals, run: Run) -> list[Representations]:
        """All of ``signals`` after 0, 1, ... and all steps."""
        paths = [[self.rows(ids, arrays) for arrays in path] for ids, path in self._paths(signals, run)]
        return [Representations.joined(rows) for rows in zip(*paths, strict=True)]

    def _paths(self, signals: Signals, run: Run, *, last: bool = False) -> Iterator[tuple[Array, list[Tensors]]]:
        """For each shard its ids, and the field's arrays after 0, 1, ... steps, or after the last one alone."""
        settings = self.settings
        steps = settings.steps if settings.test_steps is None else settings.test_steps
        lr = settings.inner_lr if settings.test_lr is None else settings.test_lr
        for shard in shards(signals, settings.shard, run.device, lambda one: run.rng("fit points", one)):
            size = micro_batch(None, len(shard), self.activation_bytes(), run.device)
            parts: list[list[Tensors]] = []
            for first in range(0, len(shard), size):
                observed = shard.part(first, min(first + size, len(shard)))
                start = self.initial(observed.ids, run)
                with torch.no_grad():
                    path = deque([self.of_every_signal(start, len(observed))], maxlen=1 if last else None)
                    begun = self._begun(start, len(observed))
                    path.extend(adapt(self.field, begun, self._sample(observed), steps, lr))
                parts.append(list(path))
            yield (
                shard.ids,
                [{n: torch.cat([each[n] for each in step]) for n in self.shapes} for step in zip(*parts, strict=True)],
            )

    def query(self, rows: Representations, domain: Domain, run: Run) -> Iterator[Array]:
        """The fields' values on ``domain``, [chunk, *domain, channels], unclamped."""
        size = max(1, min(self.settings.shard, QUERY_BYTES // (4 * self._width() * domain.num_points)))
        for first in range(0, len(rows), size):
            arrays = self.arrays_of(rows.take(slice(first, first + size)), run)
            yield observe(self.field, arrays, domain, run.device).cpu().numpy()

    def facts(self) -> FitterFacts:
        """A step costs 3 forward passes, and 9 where it is differentiated as well; so does the outer loss, 3."""
        settings = self.settings
        forward = self.field.flops(int(np.prod(self.spec.parts[0].shape)))
        steps = settings.steps if settings.test_steps is None else settings.test_steps
        each = 9 if settings.second_order else 3
        return self.facts_of(forward * (each * settings.steps + 3), forward * 3 * steps)
