"""Plain gradient descent: every signal fitted on its own, from a random initialisation."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from inrbench.backends.torch.draws import torch_generator
from inrbench.backends.torch.fields import Field, coords_of, loss_and_gradient, to_device
from inrbench.backends.torch.observed import Observed, shards
from inrbench.domains import Array, Domain, Grid
from inrbench.errors import NotFinite
from inrbench.interfaces import FitterFacts, Head, Run, Trained
from inrbench.representations import Arrays, Layout, Representations
from inrbench.signals import Signals, SignalSpec
from inrbench_fields.settings import GradientDescentSettings

__all__ = ["GradientDescent"]

#: Signals that are queried at once.
QUERY_ROWS = 16


class GradientDescent:
    """Descends each signal's mean squared error, in the field's own output range, over all of its points."""

    def __init__(self, settings: GradientDescentSettings, spec: SignalSpec, inr: Field) -> None:
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
        shard = shards(signals, self.settings.shard, run.device, lambda one: run.rng("points", one))
        for number, observed in enumerate(shard):
            arrays = self._descend(observed, f"shard {number}", run)
            yield Representations(self.layout, arrays, observed.ids, np.zeros(len(observed), dtype=np.int64))

    def query(self, rows: Representations, domain: Domain, run: Run) -> Iterator[Array]:
        """The fields' values on ``domain``, in [0, 1] up to overshoot: [chunk, *domain, channels]."""
        coords = coords_of(domain, run.device)
        scale, offset = self.field.to_unit
        shape = domain.shape if isinstance(domain, Grid) else (domain.num_points,)
        with torch.no_grad():
            for first in range(0, len(rows), QUERY_ROWS):
                arrays = to_device(rows.take(slice(first, first + QUERY_ROWS)).arrays, run.device)
                values = self.field.apply(arrays, coords) * scale + offset
                yield values.reshape(len(values), *shape, -1).cpu().numpy()

    def facts(self) -> FitterFacts:
        """Every parameter of the field is adapted; a step costs a forward and a backward pass (3 forward passes)."""
        count = sum(array.numel() for array in self.example.values())
        points = self.spec.parts[0].shape
        forward = self.field.flops(int(np.prod(points)))
        kind = "independent" if self.settings.initialisation == "independent" else "shared"
        return FitterFacts(count, count, kind, "global", 0.0, 3.0 * forward * self.settings.steps)  # type: ignore[arg-type]

    def _initial(self, ids: Array, run: Run) -> dict[str, Tensor]:
        keys = ids if self.settings.initialisation == "independent" else [-1] * len(ids)
        drawn = [self.field.init(torch_generator(run.rng("initialisation", key))) for key in keys]
        return {name: torch.stack([one[name] for one in drawn]).to(run.device) for name in self.example}

    def _descend(self, observed: Observed, name: str, run: Run) -> dict[str, np.ndarray]:
        settings = self.settings
        arrays = self._initial(observed.ids, run)
        scale, offset = self.field.to_unit
        coords, values = observed.whole()
        target = (values - offset) / scale
        kinds = {"adam": torch.optim.Adam, "sgd": torch.optim.SGD}
        optimiser = kinds[settings.optimiser](list(arrays.values()), lr=settings.lr)

        def state() -> dict[str, np.ndarray]:
            saved = {f"array/{key}": array.detach().cpu().numpy() for key, array in arrays.items()}
            for key, array in arrays.items():
                saved |= {f"{moment}/{key}": value.cpu().numpy() for moment, value in optimiser.state[array].items()}
            return saved

        def restore(saved: Arrays) -> None:
            for path, value in saved.items():
                moment, _, key = path.partition("/")
                tensor = torch.as_tensor(np.array(value)).to(run.device if moment != "step" else "cpu")
                if moment == "array":
                    arrays[key].data.copy_(tensor)
                else:
                    optimiser.state[arrays[key]][moment] = tensor

        for step in run.steps(name, settings.steps, state, restore):
            with torch.no_grad():
                error, gradients = loss_and_gradient(self.field, arrays, coords, target, list(arrays))
            for key, gradient in gradients.items():
                arrays[key].grad = gradient
            optimiser.step()
            if step == settings.steps - 1 and not bool(error.isfinite().all()):
                raise NotFinite(f"fitting diverged on signal {observed.ids[int(error.isfinite().int().argmin())]}")
        return {key: array.cpu().numpy() for key, array in arrays.items()}
