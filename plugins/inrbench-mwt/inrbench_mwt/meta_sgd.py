"""Meta-SGD on a field: k inner steps from a learned initialisation with a learned rate for each parameter.

Gielisse and van Gemert, 2025 (arXiv 2503.18123), section 3; Li et al., 2017 (arXiv 1707.03835). The sine layers'
weights θ are adapted, φ = θ + δ, from δ = 0 by δ ← δ − α_j ∘ ∂L/∂φ; the output layer and its scale are learned in
the outer loop alone. The inner loss is the mean over points and channels, summed over the batch, so that a signal's
steps do not depend on the batch. The outer loss is the batch's mean after k steps, with the whole second order.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from inrbench.backends.torch.compiled import compilation, compile_seconds, require_compiler
from inrbench.backends.torch.draws import torch_generator
from inrbench.backends.torch.fields import DifferentiatedField, Field, loss_and_gradient, to_device
from inrbench.backends.torch.joint import train_jointly
from inrbench.backends.torch.observed import DrawnSignals, Observed, Sample, num_drawn, shards, subset
from inrbench.backends.torch.operators import observe
from inrbench.backends.torch.precision import precision_here
from inrbench.backends.torch.training import Group, micro_batch
from inrbench.domains import Array, Domain
from inrbench.interfaces import FitterFacts, Head, Run, Trained
from inrbench.representations import Arrays, Layout, Representations
from inrbench.signals import Signals, SignalSpec
from inrbench_mwt.settings import MetaSGDSettings

__all__ = ["MetaSGD", "adapt"]

Tensors = dict[str, Tensor]
#: One layer's values of the signals that are queried at once.
QUERY_BYTES = 2**28


def adapt(
    field: Field,
    theta: Mapping[str, Tensor],
    shared: Mapping[str, Tensor],
    rates: Mapping[str, Tensor],
    samples: Sequence[Sample],
    *,
    recompute: bool = False,
    precision: torch.dtype | None = None,
) -> Iterator[Tensors]:
    """δ after each inner step: each array of ``theta`` with the signals in front. A step sees one of ``samples``.

    A sample is (coords, target in the field's own range [signals, points, channels]). ``rates`` are
    [steps or 1, *shape]; a single row serves all steps. Where gradients are recorded, δ carries those to ``theta``,
    ``shared`` and ``rates``.
    """
    signals = len(samples[0][1])
    delta = {name: value.new_zeros(signals, *value.shape) for name, value in theta.items()}
    for j, (coords, target) in enumerate(samples):
        # before the first step all signals have the same weights; a field that knows how makes use of it
        together = j == 0 and isinstance(field, DifferentiatedField)
        phi = dict(theta) if together else {name: value + delta[name] for name, value in theta.items()}
        _, gradients = loss_and_gradient(
            field, {**phi, **shared}, coords, target, list(phi), recompute=recompute, precision=precision
        )
        delta = {
            name: torch.addcmul(value, rates[name][min(j, len(rates[name]) - 1)], gradients[name], value=-1)
            for name, value in delta.items()
        }
        yield delta


class MetaSGD:
    """The fitter: what is shared is θ (``theta/*``), the output layer (``shared/*``) and the rates (``rates/*``)."""

    def __init__(self, settings: MetaSGDSettings, spec: SignalSpec, inr: Field) -> None:
        if settings.compile:
            require_compiler("fitter.compile")
        self.settings, self.spec, self.field = settings, spec, inr
        example = inr.init(torch.Generator().manual_seed(0))
        self.shapes = {name: tuple(array.shape) for name, array in example.items()}
        self.adapted = [name for name in self.shapes if not name.startswith(settings.outer_only)]
        shapes = {name: self.shapes[name] for name in self.adapted}
        self.layout = Layout("weights", shapes, "shared", inr.convention())
        self.theta: Tensors = {}
        self.shared: Tensors = {}
        self.rates: Tensors = {}

    # ------------------------------------------------------------------ training

    def start(self, run: Run) -> None:
        """Draw θ, the output layer and the rates, keyed by the run's seed."""
        drawn = self.field.init(torch_generator(run.rng("fitter", "initialisation")))
        generator = torch_generator(run.rng("fitter", "rates"))
        settings = self.settings
        rows = settings.steps if settings.rates == "per-step" else 1
        spread = settings.rate_high - settings.rate_low
        self.theta = {name: drawn[name] for name in self.adapted}
        self.shared = {name: array for name, array in drawn.items() if name not in self.theta}
        self.rates = {
            name: settings.rate_low + spread * torch.rand(rows, *self.shapes[name], generator=generator)
            for name in self.adapted
        }

    def groups(self, device: str) -> Sequence[Group]:
        """{θ, output, scale} at one rate, {α} at another."""
        for arrays in (self.theta, self.shared, self.rates):
            arrays.update({name: array.to(device).detach().requires_grad_() for name, array in arrays.items()})
        field = {f"theta/{n}": a for n, a in self.theta.items()} | {f"shared/{n}": a for n, a in self.shared.items()}
        return [Group("field", field, self.settings.lr), Group("rates", self.rates, self.settings.lr_rates)]

    def loss(self, observed: Observed) -> tuple[Tensor, Tensors, Tensors]:
        """(mean squared error after k steps in the field's own range, δ, values to log)."""
        settings = self.settings
        samples = self._samples(observed, settings.steps + 1)  # the outer loss takes one more fresh draw
        precision = precision_here(samples[0][1].device)
        how: Any = {"recompute": settings.recompute, "precision": precision}
        *_, delta = adapt(self.field, self.theta, self.shared, self.rates, samples[:-1], **how)
        phi = {name: value + delta[name] for name, value in self.theta.items()}
        coords, target = samples[-1]
        errors, _ = loss_and_gradient(self.field, {**phi, **self.shared}, coords, target, list(phi), **how)
        psnr = -10.0 * torch.log10(errors.detach() * self.field.to_unit[0] ** 2).mean()
        return errors.mean(), delta, {"psnr_db": psnr, **self._rates_in_numbers()}

    def _samples(self, observed: Observed, sets: int) -> list[Sample]:
        """What each of ``sets`` losses sees: all points, or fresh draws of the share s; in the field's own range."""
        share = self.settings.subsample
        whole = share == 1.0 and not isinstance(observed, DrawnSignals)
        found = [observed.whole()] if whole else observed.drawn(sets, share)
        scale, offset = self.field.to_unit
        placed = [(coords, (values - offset) / scale) for coords, values in found]
        return placed * sets if whole else placed

    @torch.no_grad()
    def _rates_in_numbers(self) -> Tensors:
        """The inner rates' range, the share of negative ones, and how many are not finite."""
        flat = [array.detach().flatten() for array in self.rates.values()]
        lowest, highest = (torch.stack([getattr(array, end)() for array in flat]) for end in ("min", "max"))
        total = sum(array.numel() for array in flat)
        negative = torch.stack([(array < 0).sum() for array in flat]).sum() / total
        unfinite = total - torch.stack([array.isfinite().sum() for array in flat]).sum()
        return {
            "alpha_min": lowest.min(),
            "alpha_max": highest.max(),
            "alpha_negative_share": negative,
            "alpha_not_finite": unfinite.float(),
        }

    def activation_bytes(self) -> int:
        """One layer's values of one signal, as float32; who recomputes wants little memory, so they count twice."""
        return (8 if self.settings.recompute else 4) * self._width() * self._points_a_step()

    def _width(self) -> int:
        return max(shape[0] for name, shape in self.shapes.items() if name in self.adapted)

    def _points_a_step(self) -> int:
        num_points = int(np.prod(self.spec.parts[0].shape))
        return num_points if self.settings.subsample == 1.0 else num_drawn(self.settings.subsample, num_points)

    def state(self) -> dict[str, np.ndarray]:
        """θ, the output layer and the rates."""
        groups = {"theta": self.theta, "shared": self.shared, "rates": self.rates}
        return {
            f"{group}/{name}": array.detach().cpu().numpy().copy()
            for group, arrays in groups.items()
            for name, array in arrays.items()
        }

    def train(self, train: Signals, validation: Signals, run: Run, heads: Sequence[Head] = ()) -> Trained:
        """Learn θ, the output layer and the rates, together with ``heads``."""
        if not self.settings.compile:
            return train_jointly(self, train, heads, self.settings.train, run)
        before = compile_seconds()
        with compilation(True):
            trained = train_jointly(self, train, heads, self.settings.train, run)
        return replace(trained, compile_s=compile_seconds() - before)

    # ------------------------------------------------------------------ fitting and querying

    def load(self, shared: Arrays) -> None:
        """Take up what `train` returned."""
        for group, arrays in (("theta", self.theta), ("shared", self.shared), ("rates", self.rates)):
            arrays.clear()
            for path, array in shared.items():
                if path.startswith(f"{group}/"):
                    arrays[path.removeprefix(f"{group}/")] = torch.as_tensor(np.array(array))

    def fit(self, signals: Signals, run: Run) -> Iterator[Representations]:
        """All steps on each signal; rows are δ = φ − θ."""
        for ids, (last,) in self._paths(signals, run, last=True):
            yield self._rows(ids, last)

    def trace(self, signals: Signals, run: Run) -> list[Representations]:
        """All of ``signals`` after 0, 1, ..., k steps."""
        paths = [[self._rows(ids, delta) for delta in steps] for ids, steps in self._paths(signals, run)]
        after = [Representations.joined(shards) for shards in zip(*paths, strict=True)]
        start = {name: np.zeros_like(array) for name, array in after[0].arrays.items()}
        return [replace(after[0], arrays=start), *after]

    def held_out(self, signals: Signals, run: Run) -> list[Array] | None:
        """For each signal indices of points that none of its steps sees, as many as a step sees if there are so many.

        None where every step sees all points, or free ones.
        """
        settings, stacked = self.settings, signals.stacked()
        if settings.subsample == 1.0 or stacked is None:
            return None
        num_points, found = stacked[0].num_points, []
        for one in signals.ids:
            seen = subset(run.rng("fit points", int(one)), self._test_steps(), settings.subsample, num_points)
            left = np.setdiff1d(np.arange(num_points), seen)
            count = min(len(left), seen.shape[1])
            found.append(run.rng("held-out points", int(one)).choice(left, count, replace=False))
        return found

    def _test_steps(self) -> int:
        return self.settings.test_steps or self.settings.steps

    def _paths(self, signals: Signals, run: Run, *, last: bool = False) -> Iterator[tuple[Array, list[Tensors]]]:
        """For each shard its ids, and δ after each step, or after the last one alone."""
        theta, shared, rates = (to_device(arrays, run.device) for arrays in (self.theta, self.shared, self.rates))
        precision = torch.bfloat16 if self.settings.fit_precision == "bfloat16" else None
        for shard in shards(signals, self.settings.shard, run.device, lambda one: run.rng("fit points", one)):
            size = micro_batch(None, len(shard), self.activation_bytes(), run.device)
            parts: list[list[Tensors]] = []
            for first in range(0, len(shard), size):
                samples = self._samples(shard.part(first, min(first + size, len(shard))), self._test_steps())
                with torch.no_grad():
                    path = adapt(self.field, theta, shared, rates, samples, precision=precision)
                    parts.append(list(deque(path, maxlen=1)) if last else list(path))
            yield shard.ids, [{n: torch.cat([d[n] for d in step]) for n in theta} for step in zip(*parts, strict=True)]

    def _rows(self, ids: Array, delta: Tensors) -> Representations:
        arrays = {name: value.cpu().numpy() for name, value in delta.items()}
        return Representations(self.layout, arrays, ids, np.zeros(len(ids), dtype=np.int64))

    def query(self, rows: Representations, domain: Domain, run: Run) -> Iterator[Array]:
        """The values of θ + δ on ``domain``, [chunk, *domain, channels], unclamped."""
        theta, shared = to_device(self.theta, run.device), to_device(self.shared, run.device)
        size = max(1, min(self.settings.shard, QUERY_BYTES // (4 * self._width() * domain.num_points)))
        for first in range(0, len(rows), size):
            delta = to_device(rows.take(slice(first, first + size)).arrays, run.device)
            phi = {name: value + delta[name] for name, value in theta.items()}
            yield observe(self.field, {**phi, **shared}, domain, run.device).cpu().numpy()

    def facts(self) -> FitterFacts:
        """θ, output layer, scale and rates; a signal costs 3 forward passes a step in fitting and 9 in training.

        A step's loss and gradient are 3 forward passes of multiply-adds; differentiating them, forward over reverse
        again, takes another 6. With the outer loss (3) that is the 57 passes of k = 6.
        """
        count = {name: int(np.prod(shape)) for name, shape in self.shapes.items()}
        adapted = sum(count[name] for name in self.adapted)
        rows = self.settings.steps if self.settings.rates == "per-step" else 1
        forward = self.field.flops(self._points_a_step())
        return FitterFacts(
            parameters=sum(count.values()) + rows * adapted,
            adapted_values=adapted,
            initialisation="meta-learned",
            scope="global",
            train_flops=forward * (9 * self.settings.steps + 3),
            fit_flops=forward * 3 * self._test_steps(),
        )
