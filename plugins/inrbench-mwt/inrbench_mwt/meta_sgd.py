"""Meta-SGD on a field: k inner steps from a learned initialisation with a learned rate for each parameter.

Gielisse and van Gemert, 2025 (arXiv 2503.18123), section 3; Li et al., 2017 (arXiv 1707.03835). The sine layers'
weights θ are adapted, φ = θ + δ, from δ = 0 by δ ← δ − α_j ∘ ∂L/∂φ; the output layer and its scale are learned in
the outer loop alone. The inner loss is the mean over points and channels, summed over the batch, so that a signal's
steps do not depend on the batch. The outer loss is the batch's mean after k steps, with the whole second order.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from inrbench.backends.torch.draws import torch_generator
from inrbench.backends.torch.fields import Field, coords_of, to_device
from inrbench.backends.torch.joint import train_jointly
from inrbench.backends.torch.shards import shards
from inrbench.backends.torch.training import Group
from inrbench.domains import Array, Domain, Grid
from inrbench.interfaces import FitterFacts, Head, Run, Trained
from inrbench.representations import Arrays, Layout, Representations
from inrbench.signals import Signals, SignalSpec
from inrbench_mwt.settings import MetaSGDSettings

__all__ = ["MetaSGD", "adapt"]

Tensors = dict[str, Tensor]


def adapt(
    field: Field,
    theta: Mapping[str, Tensor],
    shared: Mapping[str, Tensor],
    rates: Mapping[str, Tensor],
    target: Float[Tensor, "signals points channels"],
    coords: Float[Tensor, "points coord_dim"],
    steps: int,
    *,
    differentiable: bool,
) -> Tensors:
    """δ after ``steps`` inner steps: each array of ``theta`` with the signals in front.

    ``rates`` are [steps or 1, *shape]; a single row serves all steps. With ``differentiable`` the result carries
    gradients of every order to ``theta``, ``shared`` and ``rates``.
    """
    delta = {name: value.new_zeros(len(target), *value.shape) for name, value in theta.items()}
    for j in range(steps):
        with torch.enable_grad():
            phi = {name: value + delta[name] for name, value in theta.items()}
            if not differentiable:
                phi = {name: value.detach().requires_grad_() for name, value in phi.items()}
            output = field.apply({**phi, **shared}, coords)
            inner = (output - target).square().mean((1, 2)).sum()
            gradients = torch.autograd.grad(inner, list(phi.values()), create_graph=differentiable)
        for name, gradient in zip(phi, gradients, strict=True):
            delta[name] = delta[name] - rates[name][min(j, len(rates[name]) - 1)] * gradient
    return delta


class MetaSGD:
    """The fitter: what is shared is θ (``theta/*``), the output layer (``shared/*``) and the rates (``rates/*``)."""

    def __init__(self, settings: MetaSGDSettings, spec: SignalSpec, inr: Field) -> None:
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

    def loss(
        self,
        values: Float[Tensor, "signals points channels"],
        coords: Float[Tensor, "points coord_dim"],
        rng: np.random.Generator,
    ) -> tuple[Tensor, Tensors, Tensors]:
        """(mean squared error after k steps in the field's own range, δ, PSNR in dB to log)."""
        scale, offset = self.field.to_unit
        target = (values - offset) / scale
        steps = self.settings.steps
        delta = adapt(self.field, self.theta, self.shared, self.rates, target, coords, steps, differentiable=True)
        phi = {name: value + delta[name] for name, value in self.theta.items()}
        errors = (self.field.apply({**phi, **self.shared}, coords) - target).square().mean((1, 2))
        psnr = -10.0 * torch.log10(errors.detach() * scale**2).mean()
        return errors.mean(), delta, {"psnr_db": psnr}

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
        return train_jointly(self, train, heads, self.settings.train, run)

    # ------------------------------------------------------------------ fitting and querying

    def load(self, shared: Arrays) -> None:
        """Take up what `train` returned."""
        for group, arrays in (("theta", self.theta), ("shared", self.shared), ("rates", self.rates)):
            arrays.clear()
            for path, array in shared.items():
                if path.startswith(f"{group}/"):
                    arrays[path.removeprefix(f"{group}/")] = torch.as_tensor(np.array(array))

    def fit(self, signals: Signals, run: Run) -> Iterator[Representations]:
        """K steps on each signal; rows are δ = φ − θ."""
        theta, shared, rates = (to_device(arrays, run.device) for arrays in (self.theta, self.shared, self.rates))
        scale, offset = self.field.to_unit
        for shard in shards(signals, self.settings.shard, run.device):
            target = (shard.values - offset) / scale
            with torch.no_grad():
                delta = adapt(
                    self.field, theta, shared, rates, target, shard.coords, self.settings.steps, differentiable=False
                )
            arrays = {name: value.cpu().numpy() for name, value in delta.items()}
            yield Representations(self.layout, arrays, shard.ids, np.zeros(len(shard.ids), dtype=np.int64))

    def query(self, rows: Representations, domain: Domain, run: Run) -> Iterator[Array]:
        """The values of θ + δ on ``domain``, [chunk, *domain, channels], unclamped."""
        theta, shared = to_device(self.theta, run.device), to_device(self.shared, run.device)
        scale, offset = self.field.to_unit
        coords = coords_of(domain, run.device)
        shape = domain.shape if isinstance(domain, Grid) else (domain.num_points,)
        with torch.no_grad():
            for first in range(0, len(rows), self.settings.shard):
                delta = to_device(rows.take(slice(first, first + self.settings.shard)).arrays, run.device)
                phi = {name: value + delta[name] for name, value in theta.items()}
                values = self.field.apply({**phi, **shared}, coords) * scale + offset
                yield values.reshape(len(values), *shape, -1).cpu().numpy()

    def facts(self) -> FitterFacts:
        """θ, output layer, scale and rates; a signal costs 3 forward passes a step in fitting and 9 in training.

        A step's loss and gradient are 3 forward passes of multiply-adds; differentiating them, forward over reverse
        again, takes another 6. With the outer loss (3) that is the 57 passes of k = 6.
        """
        count = {name: int(np.prod(shape)) for name, shape in self.shapes.items()}
        adapted = sum(count[name] for name in self.adapted)
        rows = self.settings.steps if self.settings.rates == "per-step" else 1
        forward = self.field.flops(int(np.prod(self.spec.parts[0].shape)))
        return FitterFacts(
            parameters=sum(count.values()) + rows * adapted,
            adapted_values=adapted,
            initialisation="meta-learned",
            scope="global",
            train_flops=forward * (9 * self.settings.steps + 3),
            fit_flops=forward * 3 * self.settings.steps,
        )
