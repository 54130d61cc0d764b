"""Auto-decoding: a backbone that all signals share, learned together with latents of each signal's own.

Kofinas et al., 2024 (arXiv 2412.08731), sections on ν-sets. `train` (the paper's "fit") descends the mean squared error
of (point, signal) pairs by Adam on the backbone and on the training signals' latents, which are then thrown away. `fit`
(its "finetune") freezes the backbone and descends from fresh latents, for signals of all splits alike.

With pooled draws the paper's batch of a step holds pairs of some of the signals. Adam is dense, as `torch.optim.Adam`
is on a tensor of all latents: one without a pair in the batch has a gradient of 0, so that its moments decay, and it
still moves along the first. The same holds in `train`. With draws per signal every signal is in every step.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from math import prod

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from inrbench import metrics
from inrbench.backends.torch.draws import torch_generator
from inrbench.backends.torch.fields import Field, LatentField, loss_and_gradient, to_device
from inrbench.backends.torch.operators import observe
from inrbench.backends.torch.precision import check_agreement, mixed_precision
from inrbench.backends.torch.training import Group, Part, descend, micro_batch, with_gradient
from inrbench.domains import Array, Domain
from inrbench.errors import Refused
from inrbench.interfaces import FitterFacts, Head, Run, Trained
from inrbench.representations import Arrays, Layout, Representations
from inrbench.settings import TrainingSettings
from inrbench.signals import Signals, SignalSpec
from inrbench_neomlp.fitter_settings import AutoDecodingSettings
from inrbench_neomlp.pairs import Order, Pairs, located, pairs_of

__all__ = ["AutoDecoding"]

Tensors = dict[str, Tensor]
#: One layer's values of the signals that are queried at once.
QUERY_BYTES = 2**26
#: Values that a signal's row of latents is filled up to a multiple of in the optimiser, whose loop over the last few
#: values rounds differently from that over whole vectors.
ALIGNED = 16


class AutoDecoding:
    """The fitter: what is shared is the backbone (``backbone/*``); a row is ``latent`` [nodes, D].

    The nodes are those of the field's ``latents`` in their order: NeoMLP's hidden tokens, then its output tokens.
    """

    def __init__(self, settings: AutoDecodingSettings, spec: SignalSpec, inr: Field) -> None:
        names = inr.latents if isinstance(inr, LatentField) else ()
        if not names:
            raise Refused("fitter 'auto-decoding' takes a field with latents, as --set inr=neomlp; this one has none")
        if len(spec.parts) != 1:
            raise Refused(f"fitter 'auto-decoding' takes signals of one part; these have {len(spec.parts)}")
        if spec.sizes and not spec.sizes.get("train"):
            raise Refused(
                "fitter 'auto-decoding' learns from training signals, and this data set has none; a single signal is "
                "fitted by --set fitter=gradient-descent"
            )
        example = inr.init(torch.Generator().manual_seed(0))
        shapes = {name: tuple(example[name].shape) for name in names}
        if len({shape[1:] for shape in shapes.values()}) != 1 or any(len(shape) != 2 for shape in shapes.values()):
            shown = ", ".join(f"{name} {shape}" for name, shape in shapes.items())
            raise Refused(f"fitter 'auto-decoding' takes latents [nodes, D] of one D; this field has {shown}")
        self.settings, self.spec, self.field = settings, spec, inr
        self.nodes = {name: shape[0] for name, shape in shapes.items()}
        self.shape = (sum(self.nodes.values()), next(iter(shapes.values()))[1])
        self.layout = Layout("latent", {"latent": self.shape}, None, inr.convention())
        self.backbone_shapes = {name: tuple(array.shape) for name, array in example.items() if name not in shapes}
        self.backbone: dict[str, Array] = {}

    # ------------------------------------------------------------------ training

    def train(self, train: Signals, validation: Signals, run: Run, heads: Sequence[Head] = ()) -> Trained:
        """Learn the backbone."""
        if len(train) == 0:
            raise Refused("there is no training signal: this data set has none, or data.validation takes them all")
        settings = self.settings.train
        train = train.take(_chosen(len(train), settings.signals, run.rng("training signals")))
        pairs = pairs_of(train, run.device)
        drawn = self.field.init(torch_generator(run.rng("fitter", "initialisation")))
        backbone = {name: drawn[name].to(run.device).requires_grad_() for name in self.backbone_shapes}
        latents = self._fresh("latents in training", train.ids, run).requires_grad_()
        groups = [
            Group("backbone", backbone, self.settings.lr),
            Group("latents", {"latent": latents}, self.settings.lr),
        ]
        total = settings.num_steps(int(pairs.counts.sum()))

        def losses(step: int, precision: str = settings.precision) -> Iterator[Part]:
            rng = run.rng("pairs", step)
            signals, points = located(pairs.counts, rng.integers(0, int(pairs.counts.sum()), settings.batch_size))
            yield from self._pair_losses(backbone, latents, pairs, signals, points, precision, run)

        if settings.precision == "bfloat16" and total:
            check_agreement(groups, lambda precision: losses(0, precision), run, setting="fitter.train.precision")
        descend("train", groups, losses, total, settings, run)
        shared = {f"backbone/{name}": array.detach().cpu().numpy().copy() for name, array in backbone.items()}
        self.load(shared)
        with run.evaluating():
            measured = self._fit_psnr(train, latents.detach(), run)
        run.log(total, **measured)
        return Trained(shared, {}, total, metrics=measured)

    def _pair_losses(
        self,
        backbone: Mapping[str, Tensor],
        latents: Float[Tensor, "signals nodes dim"],
        pairs: Pairs,
        signals: Array,
        points: Array,
        precision: str,
        run: Run,
    ) -> Iterator[Part]:
        """The parts of a batch of pairs; what a part leaves at its own latents is added to the gradient of all."""
        latents.grad = torch.zeros_like(latents)
        size = micro_batch(self.settings.train.micro_batch, len(signals), self._pair_bytes(), run.device)
        for first in range(0, len(signals), size):
            chosen = signals[first : first + size]
            coords, values = pairs.at(chosen, points[first : first + size])
            index = torch.as_tensor(chosen).to(run.device)
            own = latents.detach()[index].requires_grad_()
            with mixed_precision(precision, run.device):
                output = self.field.apply({**backbone, **self._split(own)}, coords[:, None])
            error = (output.float()[:, 0] - self._target(values)).square().mean()
            yield len(chosen) / len(signals), error, {"psnr_db": self._psnr_db(error)}
            assert own.grad is not None
            latents.grad.index_add_(0, index, own.grad)

    def _fit_psnr(self, train: Signals, latents: Float[Tensor, "signals nodes dim"], run: Run) -> dict[str, float]:
        """PSNR by the protocol of some training signals by the latents of their own."""
        chosen = _chosen(len(train), self.settings.fit_psnr_signals, run.rng("fit psnr"))
        rows = self._rows(train.ids[chosen], latents[torch.as_tensor(chosen).to(latents.device)])
        errors = np.concatenate(list(self._errors(rows, train.take(chosen), run)))
        decibels = metrics.psnr_db(errors)
        low, high = metrics.mean_interval(decibels)
        return {"fit_psnr_db": float(decibels.mean()), "fit_psnr_db_low": low, "fit_psnr_db_high": high}

    def _errors(self, rows: Representations, signals: Signals, run: Run) -> Iterator[Array]:
        stacked = signals.stacked()
        if stacked is not None:
            domain, stored, (scale, offset) = stacked
            first = 0
            for predicted in self.query(rows, domain, run):
                values = stored[first : first + len(predicted)].astype(np.float32) * np.float32(scale)
                yield metrics.squared_error(predicted, values + np.float32(offset))
                first += len(predicted)
            return
        for i in range(len(rows)):
            (part,) = signals.observed(i)
            (predicted,) = self.query(rows.take(slice(i, i + 1)), part.domain, run)
            yield metrics.squared_error(predicted, part.unit_values()[None])

    def load(self, shared: Arrays) -> None:
        """Take up what `train` returned."""
        self.backbone = {name.removeprefix("backbone/"): np.asarray(array) for name, array in shared.items()}

    # ------------------------------------------------------------------ fitting

    def fit(self, signals: Signals, run: Run) -> Iterator[Representations]:
        """Fresh latents of each signal, descended with the backbone as it is."""
        if len(signals) == 0:
            return
        size, backbone = self.settings.fit.shard, to_device(self.backbone, run.device)
        if self.settings.fit.draws == "pooled":
            latents = self._fit_pooled(pairs_of(signals, run.device), signals.ids, backbone, run)
            for first in range(0, len(signals), size):
                yield self._rows(signals.ids[first : first + size], latents[first : first + size])
            return
        number = 0
        for first in range(0, len(signals), size):
            shard = signals.take(np.arange(first, min(first + size, len(signals))))
            pairs = pairs_of(shard, run.device)
            for places in _of_one_size(pairs.counts):
                latents = self._fit_apart(pairs, places, shard.ids[places], backbone, f"shard {number}", run)
                yield self._rows(shard.ids[places], latents)
                number += 1

    def _fit_pooled(self, pairs: Pairs, ids: Array, backbone: Tensors, run: Run) -> Tensor:
        """Pairs of all signals without replacement within an epoch, ⌈pairs / batch⌉ steps in each."""
        settings = self.settings.fit
        latents = self._fresh("latents", ids, run).requires_grad_()
        whole = int(pairs.counts.sum())
        count = max(1, int(settings.share * whole + 1e-9))
        per_epoch = -(-count // settings.batch_size)
        order: dict[int, Order] = {}

        def losses(step: int) -> Iterator[Part]:
            epoch, place = divmod(step, per_epoch)
            if epoch not in order:
                order.clear()
                order[epoch] = Order(whole, run.rng("pairs in fitting", epoch))
            first = place * settings.batch_size
            numbers = order[epoch](np.arange(first, min(first + settings.batch_size, count)))
            signals, points = located(pairs.counts, numbers)
            yield from self._pair_losses(backbone, latents, pairs, signals, points, "float32", run)

        group = Group("latents", {"latent": latents}, settings.lr)
        descend("fit", [group], losses, _steps(settings.epochs, per_epoch), self._loop(), run)
        return latents.detach()

    def _fit_apart(
        self, pairs: Pairs, places: Array, ids: Array, backbone: Tensors, name: str, run: Run
    ) -> Float[Tensor, "signals nodes dim"]:
        """Each signal's points without replacement within an epoch, keyed by its id."""
        settings = self.settings.fit
        size = prod(self.shape)
        row = -(-size // ALIGNED) * ALIGNED
        leaf = functional.pad(self._fresh("latents", ids, run).flatten(1), (0, row - size)).requires_grad_()
        whole = int(pairs.counts[places[0]])
        count = max(1, int(settings.share * whole + 1e-9))
        per_epoch = -(-count // settings.signal_points)
        order: dict[int, Array] = {}
        places_of = self._groups(len(ids), min(settings.signal_points, count), run)

        def losses(step: int) -> Iterator[Part]:
            epoch, place = divmod(step, per_epoch)
            if epoch not in order:
                order.clear()
                rngs = [run.rng("points", int(one), epoch) for one in ids]
                order[epoch] = np.stack([rng.permutation(whole)[:count] for rng in rngs])
            points = order[epoch][:, place * settings.signal_points : (place + 1) * settings.signal_points]
            coords, values = pairs.at(places[:, None], points)
            target = self._target(values)
            errors, gradients = [], []
            for group in places_of:
                own = self._split(leaf.detach()[group, :size].view(-1, *self.shape))
                with torch.no_grad():
                    error, found = loss_and_gradient(
                        self.field, {**backbone, **own}, coords[group], target[group], list(own)
                    )
                errors.append(error)
                gradients.append(torch.cat([found[key] for key in own], dim=1).flatten(1))
            gradient = functional.pad(torch.cat(gradients)[: len(ids)], (0, row - size))
            error = torch.cat(errors)[: len(ids)].mean()
            yield 1.0, with_gradient(error, {"latent": leaf}, {"latent": gradient}), {}

        total = _steps(settings.epochs, per_epoch)
        adapted = [Group("latents", {"latent": leaf}, settings.lr)]
        descend(name, adapted, losses, total, self._loop(), run, look_every=total)
        return leaf.detach()[:, :size].view(-1, *self.shape)

    def _groups(self, count: int, points: int, run: Run) -> Sequence[Tensor]:
        """Places of ``count`` signals in groups that are worked on at once, the last filled up with the first signal.

        All groups of a fit have one size: products of matrices round differently at other sizes, and a signal's
        latents would depend on how many others there are.
        """
        shard = self.settings.fit.shard
        size = micro_batch(None, shard, self._pair_bytes() * points, run.device)
        padded = np.arange(-(-count // size) * size)
        padded[count:] = 0
        return torch.split(torch.as_tensor(padded).to(run.device), size)

    def _loop(self) -> TrainingSettings:
        return TrainingSettings(schedule=self.settings.fit.schedule, warmup=self.settings.fit.warmup)

    def query(self, rows: Representations, domain: Domain, run: Run) -> Iterator[Array]:
        """The fields' values on ``domain``, [chunk, *domain, channels], unclamped."""
        backbone = to_device(self.backbone, run.device)
        size = max(1, QUERY_BYTES // (self._pair_bytes() * domain.num_points))
        for first in range(0, len(rows), size):
            latents = to_device(rows.take(slice(first, first + size)).arrays, run.device)["latent"]
            yield observe(self.field, {**backbone, **self._split(latents)}, domain, run.device).cpu().numpy()

    def facts(self) -> FitterFacts:
        """The backbone; a pair costs 3 forward passes in training, and 2 where the backbone has no gradient."""
        settings, points = self.settings, prod(self.spec.parts[0].shape)
        forward = self.field.flops(points)
        return FitterFacts(
            parameters=sum(prod(shape) for shape in self.backbone_shapes.values()),
            adapted_values=prod(self.shape),
            initialisation="auto-decoded",
            scope="global",
            train_flops=3.0 * forward,
            fit_flops=2.0 * forward * settings.fit.share * settings.fit.epochs,
            pooled=settings.fit.draws == "pooled",
        )

    # ------------------------------------------------------------------ helpers

    def _fresh(self, purpose: str, ids: Array, run: Run) -> Float[Tensor, "signals nodes dim"]:
        """Latents to start from, each drawn by its signal's id."""
        spread = math.sqrt(self.settings.latent_variance)
        drawn = np.empty((len(ids), *self.shape), np.float32)
        for i, one in enumerate(ids.tolist()):
            drawn[i] = spread * run.rng(purpose, one).standard_normal(self.shape, dtype=np.float32)
        return torch.as_tensor(drawn).to(run.device)

    def _split(self, latents: Float[Tensor, "signals nodes dim"]) -> Tensors:
        """The field's arrays that a row's nodes are."""
        return dict(zip(self.nodes, torch.split(latents, list(self.nodes.values()), dim=1), strict=True))

    def _rows(self, ids: Array, latents: Tensor) -> Representations:
        return Representations(self.layout, {"latent": latents.cpu().numpy()}, ids, np.zeros(len(ids), dtype=np.int64))

    def _target(self, values: Tensor) -> Tensor:
        scale, offset = self.field.to_unit
        return (values - offset) / scale

    def _psnr_db(self, error: Tensor) -> Tensor:
        return -10.0 * torch.log10(error.detach() * self.field.to_unit[0] ** 2)

    def _pair_bytes(self) -> int:
        """The largest array that one pair's work passes through, in bytes."""
        width = max((shape[0] for shape in self.backbone_shapes.values() if shape), default=1)
        return 4 * width * (self.shape[0] + self.spec.coord_dim)


def _steps(epochs: float, per_epoch: int) -> int:
    return max(1, round(epochs * per_epoch))


def _chosen(count: int, most: int | None, rng: np.random.Generator) -> Array:
    """At most ``most`` of ``count`` places, in order; all of them where it is empty."""
    return np.sort(rng.choice(count, min(count, most or count), replace=False))


def _of_one_size(counts: Array) -> Sequence[Array]:
    """Consecutive places of signals with as many points each."""
    return np.split(np.arange(len(counts)), np.flatnonzero(np.diff(counts)) + 1)
