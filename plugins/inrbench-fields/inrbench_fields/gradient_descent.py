"""Plain gradient descent: every signal fitted on its own, from a random initialisation."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import cast

import numpy as np
import torch
from torch import Tensor

from inrbench.backends.torch.draws import torch_generator
from inrbench.backends.torch.fields import Field, to_device
from inrbench.backends.torch.operators import observe
from inrbench.backends.torch.rendering import RadianceField
from inrbench.domains import Array, Domain
from inrbench.errors import BadSetting, NotFinite
from inrbench.interfaces import FitterFacts, Head, Run, Trained
from inrbench.representations import Arrays, Layout, Representations
from inrbench.schedules import evaluations, schedule
from inrbench.signals import Signals, SignalSpec
from inrbench_fields.evaluation import Look, looks_of, measured
from inrbench_fields.objective import Objective, objectives
from inrbench_fields.settings import GradientDescentSettings

__all__ = ["GradientDescent"]

#: Signals that are queried at once, and their points in all where they are large.
QUERY_ROWS, QUERY_POINTS = 16, 2**20
#: Of long fits by mini-batches the error is logged only so often: looking waits for a GPU.
LOG_EVERY = 50


class GradientDescent:
    """Descends each signal's mean squared error, in the field's own output range, over its points or rays.

    Of a signal of several parts each value of each part counts the same.
    """

    def __init__(self, settings: GradientDescentSettings, spec: SignalSpec, inr: Field) -> None:
        if "rays" in spec.domains and settings.batch_points is None:
            raise BadSetting(
                "setting fitter.batch_points is empty: rays need a number, as --set fitter.batch_points=1024"
            )
        if "rays" in spec.domains and settings.evaluate:
            raise BadSetting(
                f"setting fitter.evaluate={settings.evaluate}: allowed is 0 for views, which are scored on others than "
                "a fit sees"
            )
        self.settings, self.spec, self.field = settings, spec, inr
        self.example = inr.init(torch.Generator().manual_seed(0))
        shapes = {name: tuple(array.shape) for name, array in self.example.items()}
        self.layout = Layout("weights", shapes, None, inr.convention())

    def train(self, train: Signals, validation: Signals, run: Run, heads: Sequence[Head] = ()) -> Trained:
        """Nothing is shared, so nothing is learned."""
        return Trained({})

    def load(self, shared: Arrays) -> None:
        """Nothing is shared."""

    def fit(self, signals: Signals, run: Run) -> Iterator[Representations]:
        """Fit ``signals`` shard by shard; a signal's result depends on its id and its values alone."""
        for number, objective in enumerate(objectives(self.field, self.settings, self.spec, signals, run)):
            arrays = self._descend(objective, f"shard {number}", run)
            yield Representations(self.layout, arrays, objective.ids, np.zeros(len(objective.ids), dtype=np.int64))

    def query(self, rows: Representations, domain: Domain, run: Run) -> Iterator[Array]:
        """The fields' values on ``domain``, in [0, 1] up to overshoot: [chunk, *domain, channels]."""
        size = max(1, min(QUERY_ROWS, QUERY_POINTS // domain.num_points))
        for first in range(0, len(rows), size):
            arrays = to_device(rows.take(slice(first, first + size)).arrays, run.device)
            yield observe(self.field, arrays, domain, run.device).cpu().numpy()

    def facts(self) -> FitterFacts:
        """Every parameter of the field is adapted; a step costs a forward and a backward pass (3 forward passes)."""
        count = sum(array.numel() for array in self.example.values())
        parts, batch = self.spec.parts, self.settings.batch_points
        points = sum(int(np.prod(part.shape)) for part in parts)
        if batch is not None:
            points = batch if parts[0].domain == "points" else min(batch, points)
        if parts[0].domain == "rays":
            points *= cast(RadianceField, self.field).num_samples
        forward = self.field.flops(points)
        kind = "independent" if self.settings.initialisation == "independent" else "shared"
        return FitterFacts(count, count, kind, "global", 0.0, 3.0 * forward * self.settings.steps)  # type: ignore[arg-type]

    def _initial(self, ids: Array, run: Run) -> dict[str, Tensor]:
        keys = ids if self.settings.initialisation == "independent" else [-1] * len(ids)
        drawn = [self.field.init(torch_generator(run.rng("initialisation", key))) for key in keys]
        return {name: torch.stack([one[name] for one in drawn]).to(run.device) for name in self.example}

    def _descend(self, objective: Objective, name: str, run: Run) -> dict[str, np.ndarray]:
        settings = self.settings
        arrays = self._initial(objective.ids, run)
        kinds = {"adam": torch.optim.Adam, "sgd": torch.optim.SGD}
        optimiser = kinds[settings.optimiser](list(arrays.values()), lr=settings.lr, fused=True)
        looked_at = evaluations(settings.steps, settings.evaluate)
        looks = looks_of(objective.stored, settings.evaluate_points, run) if looked_at else []

        def state() -> dict[str, np.ndarray]:
            saved = {f"array/{key}": array.detach().cpu().numpy() for key, array in arrays.items()}
            for key, array in arrays.items():
                saved |= {f"{moment}/{key}": value.cpu().numpy() for moment, value in optimiser.state[array].items()}
            return saved

        def restore(saved: Arrays) -> None:
            for path, value in saved.items():
                moment, _, key = path.partition("/")
                tensor = torch.as_tensor(np.array(value)).to(run.device)
                if moment == "array":
                    arrays[key].data.copy_(tensor)
                else:
                    optimiser.state[arrays[key]][moment] = tensor

        for step in run.steps(name, settings.steps, state, restore):
            factor, beta_1 = schedule(settings, step, settings.steps)
            for options in optimiser.param_groups:
                options["lr"] = settings.lr * factor
                if beta_1 is not None and settings.optimiser == "adam":
                    options["betas"] = (beta_1, options["betas"][1])
            with torch.no_grad():
                error, gradients = objective.gradients(step, arrays)
            for key, gradient in gradients.items():
                arrays[key].grad = gradient.contiguous()  # a fused step reads both as they lie in memory
            optimiser.step()
            if step % LOG_EVERY == 0 or step == settings.steps - 1 or step + 1 in looked_at:
                if not bool(error.isfinite().all()):
                    raise NotFinite(f"fitting diverged on signal {objective.ids[int(error.isfinite().int().argmin())]}")
                if settings.batch_points is not None and step % LOG_EVERY == 0:
                    run.log(step, loss=float(error.mean()))
            if step + 1 in looked_at:
                self._log_psnr(step + 1, arrays, looks, run)
        return {key: array.cpu().numpy() for key, array in arrays.items()}

    def _log_psnr(self, done: int, arrays: dict[str, Tensor], looks: Sequence[Look], run: Run) -> None:
        """A point of the curve: PSNR after ``done`` steps."""
        if run.device != "cpu":
            torch.cuda.synchronize(run.device)  # the steps so far count as fitting
        with run.evaluating() as fit_s:
            found = measured(self.field, arrays, looks)
        run.log(done, **found, fit_s=fit_s)
