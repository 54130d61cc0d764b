"""Trans-INR on posed views: one forward pass over an object's support views gives the weights of a radiance field.

Chen and Wang, Transformers as Meta-Learners for Implicit Neural Representations, 2022 (arXiv 2208.02801), section 4.2.
A training step draws support views and other views of each object anew, makes a field from the first, and descends
its error along rays of the others. What is shared and what represents an object is as in
`inrbench_trans_inr.trans_inr`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from typing import cast

import numpy as np
import torch
from torch import Tensor

from inrbench.backends.torch.fields import Field
from inrbench.backends.torch.operators import observe
from inrbench.backends.torch.precision import check_agreement, mixed_precision
from inrbench.backends.torch.rendering import RadianceField
from inrbench.backends.torch.training import Part as Step
from inrbench.backends.torch.training import descend, micro_batch
from inrbench.domains import Array, Domain, Rays
from inrbench.errors import BadSetting, Refused
from inrbench.interfaces import FitterFacts, Head, Run, Trained
from inrbench.representations import Representations
from inrbench.schedules import batches
from inrbench.signals import Part, PartSpec, PosedViews, Signals, SignalSpec
from inrbench_trans_inr.generating import Generating, Tensors
from inrbench_trans_inr.hypernetwork import Hypernetwork
from inrbench_trans_inr.ray_loss import ray_loss
from inrbench_trans_inr.seen_rays import Draw, SeenRays, Support
from inrbench_trans_inr.settings_views import TransINRViewsSettings
from inrbench_trans_inr.tokenizers import ViewTokenizer

__all__ = ["TransINRViews"]


class TransINRViews(Generating):
    """The fitter for views; its shared arrays are the hypernetwork's parameters."""

    def __init__(self, settings: TransINRViewsSettings, spec: SignalSpec, inr: Field) -> None:
        self.settings, self.radiance = settings, cast(RadianceField, inr)
        shape = _view_shape(spec.parts[0], settings.patch)
        with torch.device("meta"):
            tokenizer = ViewTokenizer(
                shape, settings.patch, settings.width, unit_directions=settings.seen_directions == "unit"
            )
        self.tokenizer = tokenizer
        super().__init__(settings, inr, Hypernetwork(settings, inr, tokenizer))

    # ------------------------------------------------------------------ training

    def train(self, train: Signals, validation: Signals, run: Run, heads: Sequence[Head] = ()) -> Trained:
        """Learn the hypernetwork. Raises Refused where a plateau is to be told and there are no validation signals."""
        settings, views = self.settings.train, self._posed(train)
        plateau = self.plateau(validation, lambda: self._mean_error(validation, run), self.num_steps(len(views), 1.0))
        self.start(run)
        groups = self.groups(run.device)
        batch = batches(len(views), settings.batch_size, run)

        def losses(step: int, precision: str = settings.precision) -> Iterator[Step]:
            support, seen = self.drawn(views, batch(step), step, run)
            jitter, count = int(run.rng("jitter", step).integers(2**63)), len(seen.values)
            size = micro_batch(settings.micro_batch, count, self.activation_bytes(), run.device)
            for first in range(0, count, size):
                last = min(first + size, count)
                with mixed_precision(precision, run.device):
                    errors = self.errors(support.part(first, last), seen.part(first, last), jitter)
                psnr = -10.0 * torch.log10(errors.detach() * self.field.to_unit[0] ** 2).mean()
                yield (last - first) / count, errors.mean(), {"psnr_db": psnr}

        total = self.num_steps(len(views))
        if settings.precision == "bfloat16" and total:
            check_agreement(groups, lambda precision: losses(0, precision), run, setting="fitter.train.precision")
        descend("train", groups, losses, total, settings, run, plateau)
        return Trained(self.state(), steps=total)

    def num_steps(self, objects: int, epochs: float | None = None) -> int:
        """Steps of the training, or of so many epochs."""
        train, repeats = self.settings.train, self.settings.repeats
        if epochs is not None:
            return round(epochs * repeats * max(1, objects // min(train.batch_size, objects)))
        return train.model_copy(update={"epochs": train.epochs * repeats}).num_steps(objects)

    def drawn(self, views: PosedViews, index: Array, step: int, run: Run) -> tuple[Support, SeenRays]:
        """What a step sees of the entries ``index``: draws of each object are keyed by (step, its id)."""
        foreground = step < self.num_steps(len(views), self.settings.foreground_epochs)
        return self._seen(views, index, foreground, lambda one: run.rng("views", step, one), run.device)

    def _seen(
        self,
        views: PosedViews,
        index: Array,
        foreground: bool,
        rng: Callable[[int], np.random.Generator],
        device: str,
    ) -> tuple[Support, SeenRays]:
        settings = self.settings
        draw = Draw(settings.support_views, settings.query_views, settings.rays, foreground)
        found = [draw.of(views, int(i), rng(int(views.ids[i]))) for i in index]
        support, query, places = zip(*found, strict=True)
        return Support.of(support, device, settings.contrast), SeenRays.of(query, np.stack(places), device)

    @torch.no_grad()
    def _mean_error(self, validation: Signals, run: Run) -> float:
        """Of objects that are not trained on, on views and rays that are the same whenever it is asked for."""
        views, total = self._posed(validation), 0.0
        for first in range(0, len(views), self.settings.shard):
            index = np.arange(first, min(first + self.settings.shard, len(views)))
            seen = self._seen(views, index, False, lambda one: run.rng("validation views", one), run.device)
            total += float(self.errors(*seen, None).sum())
        return total / len(views)

    def errors(self, support: Support, seen: SeenRays, jitter: int | None) -> Tensor:
        """Each signal's mean squared error [signals] along rays of a field that is made from support views."""
        return ray_loss(self.radiance, self.network.arrays(self.vectors(support)), seen, jitter)

    def vectors(self, support: Support) -> Tensors:
        """The vectors u of each matrix for support views."""
        return self.network.vectors(self.tokenizer(support.colours, support.origins, support.directions))

    def activation_bytes(self) -> int:
        """The widest layer of the transformer, as float32, for all tokens of one object."""
        data = self.settings.support_views * self.tokenizer.tokens_a_view
        return 4 * (data + len(self.network.transformer.weight_tokens)) * self.settings.feedforward

    def _posed(self, train: Signals) -> PosedViews:
        """``train``, if it gives a step the views that it needs. Raises Refused, BadSetting where these are few."""
        if len(train) == 0:
            raise Refused("there is no training signal: this data set has none, or data.validation takes them all")
        if not isinstance(train, PosedViews):
            raise Refused("fitter 'trans-inr-nvs' trains on posed views, which these signals do not give")
        settings = self.settings
        needed = settings.support_views + settings.query_views
        for i, one in enumerate(train.ids):
            if (there := train.num_views(i)) < needed:
                raise BadSetting(
                    f"setting fitter.support_views={settings.support_views}: with fitter.query_views="
                    f"{settings.query_views} a step needs {needed} views of an object; signal {one} has {there}"
                )
        return train

    # ------------------------------------------------------------------ fitting and querying

    def fit(self, signals: Signals, run: Run) -> Iterator[Representations]:
        """One forward pass over the observed views, and steps on the generated weights where they are asked for."""
        self.network.to(run.device)
        for number, (places, parts) in enumerate(_alike(signals, self.settings.shard)):
            ids = signals.ids[places]
            with torch.no_grad():
                found = self.vectors(Support.of(parts, run.device, self.settings.contrast))
            if self.steps:
                found = self.optimised(found, self._test_losses(parts, ids, run), f"shard {number}", run)
            yield self.rows(found, ids)

    def query(self, rows: Representations, domain: Domain, run: Run) -> Iterator[Array]:
        """What is seen along the rays, [1, views, height, width, 3], row by row. Raises Refused for other domains."""
        if not isinstance(domain, Rays):
            kind = type(domain).__name__.lower()
            raise Refused(f"fitter 'trans-inr-nvs' represents scenes, which are seen along rays, not on a {kind}")
        for i in range(len(rows)):
            arrays = self.arrays_of(rows.take(slice(i, i + 1)), run.device)
            yield observe(self.field, arrays, domain, run.device).cpu().numpy()

    def facts(self) -> FitterFacts:
        """All that the hypernetwork learns. A fit observes as many views here as a training step."""
        settings = self.settings
        views = settings.support_views
        tokens = views * self.tokenizer.tokens_a_view
        forward = 2.0 * (self.tokenizer.multiply_adds(views) + self.network.multiply_adds(tokens))
        ray = self.field.flops(self.radiance.num_samples)
        return FitterFacts(
            parameters=sum(parameter.numel() for parameter in self.network.parameters()),
            adapted_values=self.layout.num_values,
            initialisation="generated",
            scope="global",
            train_flops=3.0 * (forward + ray * settings.rays * settings.query_views),
            fit_flops=forward + 3.0 * ray * settings.test_rays * self.steps,
        )

    def _test_losses(self, parts: Sequence[Part], ids: Array, run: Run) -> Callable[[int, Tensors], Tensor]:
        """From the step and the arrays to each signal's error on rays of its observed views, which do not jitter."""
        total = parts[0].domain.num_points
        whole = SeenRays.of(parts, np.tile(np.arange(total), (len(parts), 1)), run.device)
        count = self.settings.test_rays
        if count >= total:
            return lambda step, arrays: ray_loss(self.radiance, arrays, whole)

        def losses(step: int, arrays: Tensors) -> Tensor:
            rngs = [run.rng("test rays", step, int(one)) for one in ids]
            index = np.stack([rng.choice(total, count, replace=False, shuffle=False) for rng in rngs])
            return ray_loss(self.radiance, arrays, whole.some(index))

        return losses


def _alike(signals: Signals, size: int) -> Iterator[tuple[slice, list[Part]]]:
    """The places of entries in order, at most ``size`` and all with equally many views, and what these observe."""
    for first in range(0, len(signals), size):
        observed = [_only(signals, i) for i in range(first, min(first + size, len(signals)))]
        for _, group in groupby(observed, lambda part: part.values.shape):
            parts = list(group)
            yield slice(first, first + len(parts)), parts
            first += len(parts)


def _only(signals: Signals, i: int) -> Part:
    part, *more = signals.observed(i)
    if more:
        raise Refused(f"fitter 'trans-inr-nvs' takes views alone; signal {signals.ids[i]} has {1 + len(more)} parts")
    return part


def _view_shape(part: PartSpec, patch: int) -> tuple[int, int]:
    """(height, width). Raises Refused for what is no view, BadSetting where patches do not fill it."""
    if part.domain != "rays":
        raise Refused(f"fitter 'trans-inr-nvs' takes views; this data set has signals on {part.domain}")
    _, height, width = part.shape
    if height % patch or width % patch:
        raise BadSetting(f"setting fitter.patch={patch}: it must divide both sides of views of {height} x {width}")
    return height, width
