"""Trans-INR on images: one forward pass of a transformer gives the weights of a field.

Chen and Wang, Transformers as Meta-Learners for Implicit Neural Representations, 2022 (arXiv 2208.02801). What is
shared is the hypernetwork. A representation is the vectors u of each matrix (kind ``tokens``), from which the shared
parts make the field's weights; after steps at test time it is all of the field's arrays (kind ``weights``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from inrbench.backends.torch.fields import Field, coords_of
from inrbench.backends.torch.joint import train_jointly
from inrbench.backends.torch.observed import Observed, shards
from inrbench.backends.torch.operators import observe
from inrbench.domains import Array, Domain, Grid
from inrbench.errors import BadSetting, Refused
from inrbench.interfaces import FitterFacts, Head, Run, Trained
from inrbench.representations import Representations
from inrbench.signals import PartSpec, Signals, SignalSpec
from inrbench_trans_inr.field_loss import field_loss, points_of
from inrbench_trans_inr.generating import Generating, Tensors
from inrbench_trans_inr.hypernetwork import Hypernetwork
from inrbench_trans_inr.settings import TransINRSettings
from inrbench_trans_inr.tokenizers import ImageTokenizer

__all__ = ["TransINR"]

#: Points of the signals that are queried at once, in all.
QUERY_POINTS = 2**18


class TransINR(Generating):
    """The fitter for images; its shared arrays are the hypernetwork's parameters."""

    def __init__(self, settings: TransINRSettings, spec: SignalSpec, inr: Field) -> None:
        part = spec.parts[0]
        self.settings, self.spec = settings, spec
        self.shape = _image_shape(part, settings)
        self.channels, self.grid = part.channels, Grid.of(*self.shape)
        with torch.device("meta"):
            tokenizer = ImageTokenizer(
                self.shape, part.channels, settings.patch, settings.pad, settings.width, settings.embedding
            )
        self.tokenizer = tokenizer
        super().__init__(settings, inr, Hypernetwork(settings, inr, tokenizer))

    # ------------------------------------------------------------------ training

    def train(self, train: Signals, validation: Signals, run: Run, heads: Sequence[Head] = ()) -> Trained:
        """Learn the hypernetwork. Raises Refused where a plateau is to be told and there are no validation signals."""
        an_epoch = max(1, len(train) // self.settings.train.batch_size)
        plateau = self.plateau(validation, lambda: self._mean_error(validation, run), an_epoch)
        return train_jointly(self, train, heads, self.settings.train, run, plateau)

    @torch.no_grad()
    def _mean_error(self, signals: Signals, run: Run) -> float:
        """The mean over ``signals`` of their squared errors, in the field's own range."""
        pieces = shards(signals, self.settings.shard, run.device, lambda one: run.rng("points", one))
        total = sum(float(self.loss(piece)[0]) * len(piece) for piece in pieces)
        return total / len(signals)

    def loss(self, observed: Observed) -> tuple[Tensor, Tensors, Tensors]:
        """(mean squared error over whole images in the field's own range, the vectors, values to log)."""
        target = self._target(observed)
        vectors = self._vectors(observed)
        points = points_of(self.field, self.grid, target)
        errors = field_loss(self.field, self.network.arrays(vectors), points, target)
        psnr = -10.0 * torch.log10(errors.detach() * self.field.to_unit[0] ** 2).mean()
        return errors.mean(), vectors, {"psnr_db": psnr}

    def activation_bytes(self) -> int:
        """All tokens of one image as float32: more images at once make fewer passes over the transformer's weights."""
        tokens = self.tokenizer.num_tokens + len(self.network.transformer.weight_tokens)
        return 4 * tokens * self.settings.width

    # ------------------------------------------------------------------ fitting and querying

    def fit(self, signals: Signals, run: Run) -> Iterator[Representations]:
        """One forward pass, and steps on the generated weights where `test_steps` asks for them."""
        self.network.to(run.device)
        pieces = shards(signals, self.settings.shard, run.device, lambda one: run.rng("test points", one))
        for number, observed in enumerate(pieces):
            with torch.no_grad():
                found = self._vectors(observed)
            if self.steps:
                found = self.optimised(found, self._test_losses(observed, run), f"shard {number}", run)
            yield self.rows(found, observed.ids)

    def query(self, rows: Representations, domain: Domain, run: Run) -> Iterator[Array]:
        """The fields' values on ``domain``, [chunk, *domain, channels], unclamped."""
        size = max(1, min(self.settings.shard, QUERY_POINTS // domain.num_points))
        for first in range(0, len(rows), size):
            arrays = self.arrays_of(rows.take(slice(first, first + size)), run.device)
            yield observe(self.field, arrays, domain, run.device).cpu().numpy()

    @torch.no_grad()
    def attention(self, signals: Signals, block: int, run: Run) -> Array:
        """How the weight tokens attend in ``block``: [signals, heads, weight tokens, data tokens, then weight tokens].

        Data tokens are patches in reading order.
        """
        self.network.to(run.device)
        pieces = shards(signals, self.settings.shard, run.device, lambda one: run.rng("test points", one))
        found = [self.network.transformer.attention(self.tokenizer(self.images_of(one)), block) for one in pieces]
        return torch.cat(found).cpu().numpy()

    def images_of(self, observed: Observed) -> Float[Tensor, "signals height width channels"]:
        """The whole images of ``observed``, in [0, 1]."""
        _, values = observed.whole()
        return values.reshape(len(values), *self.shape, self.channels)

    def facts(self) -> FitterFacts:
        """All that the hypernetwork learns; a step is 3 forward passes of it and of the field, a fit 1 of it alone."""
        points = self.shape[0] * self.shape[1]
        forward = 2.0 * (self.tokenizer.multiply_adds() + self.network.multiply_adds(self.tokenizer.num_tokens))
        field, seen = self.field.flops(points), self.field.flops(self.settings.test_points or points)
        return FitterFacts(
            parameters=sum(parameter.numel() for parameter in self.network.parameters()),
            adapted_values=self.layout.num_values,
            initialisation="generated",
            scope="global",
            train_flops=3.0 * (forward + field),
            fit_flops=forward + 3.0 * seen * self.steps,
        )

    def _vectors(self, observed: Observed) -> Tensors:
        return self.network.vectors(self.tokenizer(self.images_of(observed)))

    def _target(self, observed: Observed) -> Float[Tensor, "signals points channels"]:
        """The values in the field's own range."""
        scale, offset = self.field.to_unit
        return (observed.whole()[1] - offset) / scale

    def _test_losses(self, observed: Observed, run: Run) -> Callable[[int, Tensors], Tensor]:
        """From the step and the arrays to each signal's error, on all pixels or on fresh draws."""
        target, count = self._target(observed), self.settings.test_points
        if count is None or count >= target.shape[1]:
            points = points_of(self.field, self.grid, target)
            return lambda step, arrays: field_loss(self.field, arrays, points, target)
        coords = coords_of(self.grid, run.device)

        def losses(step: int, arrays: Tensors) -> Tensor:
            rngs = [run.rng("test points", step, int(one)) for one in observed.ids]
            draws = [rng.choice(len(coords), count, replace=False, shuffle=False) for rng in rngs]
            chosen = torch.as_tensor(np.stack(draws)).to(target.device)
            some = target.gather(1, chosen[..., None].expand(-1, -1, target.shape[2]))
            return field_loss(self.field, arrays, coords[chosen], some)

        return losses


def _image_shape(part: PartSpec, settings: TransINRSettings) -> tuple[int, int]:
    """(height, width). Raises Refused for what is no image, BadSetting where patches do not fill it."""
    sides = " x ".join(map(str, part.shape))
    if part.domain != "grid" or len(part.shape) != 2:
        shown = f"a grid of {sides}" if part.domain == "grid" else part.domain
        raise Refused(f"fitter 'trans-inr' takes images; this data set has signals on {shown}")
    for side in part.shape:
        if (side + 2 * settings.pad) % settings.patch:
            raise BadSetting(
                f"setting fitter.patch={settings.patch}: with fitter.pad={settings.pad} it must divide both sides of "
                f"images of {sides}, padded: {side + 2 * settings.pad} is no multiple"
            )
    height, width = part.shape
    return height, width
