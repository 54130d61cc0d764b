"""What both fitters share: an initialisation that training learns, and the controls that a fit may start from instead.

Tancik et al., 2021 (arXiv 2012.02189), Table 3 and section 4.4: *standard* is a random draw, *shuffled* has the learned
values in other places of the same array, *matched* gives the learned outputs from other weights.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from inrbench.backends.torch.draws import torch_generator
from inrbench.backends.torch.fields import Field, to_device
from inrbench.backends.torch.training import Group, Part, descend
from inrbench.domains import Array
from inrbench.interfaces import FitterFacts, Run
from inrbench.representations import Arrays, Layout, Representations
from inrbench.settings import TrainingSettings
from inrbench.signals import SignalSpec
from inrbench_learned_init.settings import InitialisedSettings

__all__ = ["Initialised", "match"]

Tensors = dict[str, Tensor]
#: From a step to where two fields are compared at it: coordinates [points, coord_dim].
Places = Callable[[int], Tensor]
#: What facts call each initialisation.
KINDS: Mapping[str, Literal["meta-learned", "shared", "independent"]] = {
    "learned": "meta-learned",
    "matched": "shared",
    "shuffled": "shared",
    "standard": "independent",
}


def match(field: Field, goal: Tensors, start: Tensors, places: Places, steps: int, lr: float, run: Run) -> Tensors:
    """``start`` after ``steps`` steps of Adam on the mean squared difference of its outputs from those of ``goal``."""
    parameters = {name: array.detach().clone().requires_grad_() for name, array in start.items()}

    def output(arrays: Tensors, coords: Tensor) -> Tensor:
        return field.apply({name: array.unsqueeze(0) for name, array in arrays.items()}, coords)

    def losses(step: int) -> Iterator[Part]:
        coords = places(step)
        with torch.no_grad():
            wanted = output(goal, coords)
        yield 1.0, (output(parameters, coords) - wanted).square().mean(), {}

    settings = TrainingSettings(steps=steps, schedule="cosine")
    descend("match", [Group("field", parameters, lr)], losses, steps, settings, run)
    return {name: array.detach() for name, array in parameters.items()}


class Initialised:
    """A fitter of a field's weights whose shared arrays are their initialisation θ, ``theta/*``.

    Rows are φ − θ where fitting starts from the learned θ, and φ itself where it starts from a control.
    """

    def __init__(self, settings: InitialisedSettings, spec: SignalSpec, inr: Field) -> None:
        self.start_from, self.spec, self.field = settings.initialisation, spec, inr
        self.matching = settings.match_steps, settings.match_lr
        example = inr.init(torch.Generator().manual_seed(0))
        self.shapes = {name: tuple(array.shape) for name, array in example.items()}
        self.layout = Layout(
            "weights", self.shapes, "shared" if self.start_from == "learned" else None, inr.convention()
        )
        self.theta: Tensors = {}
        self._control: Tensors | None = None

    def places(self, step: int, run: Run) -> Float[Tensor, "points coord_dim"]:
        """Where the matched control is compared with the learned initialisation at ``step``: [points, coord_dim]."""
        raise NotImplementedError

    # ------------------------------------------------------------------ training

    def start(self, run: Run) -> None:
        """Draw θ, keyed by the run's seed."""
        self.theta = self.field.init(torch_generator(run.rng("fitter", "initialisation")))

    def group(self, lr: float, device: str) -> Group:
        """θ on ``device``, to be learned."""
        self.theta = {name: array.to(device).detach().requires_grad_() for name, array in self.theta.items()}
        return Group("theta", self.theta, lr)

    def state(self) -> dict[str, np.ndarray]:
        """θ."""
        return {f"theta/{name}": array.detach().cpu().numpy().copy() for name, array in self.theta.items()}

    def load(self, shared: Arrays) -> None:
        """Take up what training returned."""
        self.theta = {
            path.removeprefix("theta/"): torch.as_tensor(np.array(array))
            for path, array in shared.items()
            if path.startswith("theta/")
        }
        self._control = None

    # ------------------------------------------------------------------ fitting

    def initial(self, ids: Array, run: Run) -> Tensors:
        """What fitting starts from: with the signals ``ids`` in front where each starts from its own, else without."""
        if self.start_from == "standard":
            drawn = [self.field.init(torch_generator(run.rng("initialisation", int(one)))) for one in ids]
            return {name: torch.stack([one[name] for one in drawn]).to(run.device) for name in self.shapes}
        theta = {name: array.detach().to(run.device) for name, array in self.theta.items()}
        if self.start_from == "learned":
            return theta
        if self._control is None:
            make = self._shuffled if self.start_from == "shuffled" else self._matched
            self._control = make(theta, run)
        return self._control

    def _shuffled(self, theta: Tensors, run: Run) -> Tensors:
        orders = {name: run.rng("shuffled", name).permutation(array.numel()) for name, array in theta.items()}
        return {
            name: array.flatten()[torch.as_tensor(orders[name]).to(array.device)].reshape(array.shape)
            for name, array in theta.items()
        }

    def _matched(self, theta: Tensors, run: Run) -> Tensors:
        drawn = self.field.init(torch_generator(run.rng("matched", "initialisation")))
        start = {name: array.to(run.device) for name, array in drawn.items()}
        return match(self.field, theta, start, lambda step: self.places(step, run), *self.matching, run)

    def of_every_signal(self, arrays: Mapping[str, Tensor], count: int) -> Tensors:
        """``arrays`` with ``count`` signals in front, where they do not have them."""
        return {
            name: array if array.dim() > len(self.shapes[name]) else array.expand(count, *array.shape)
            for name, array in arrays.items()
        }

    def rows(self, ids: Array, arrays: Mapping[str, Tensor]) -> Representations:
        """The rows that stand for ``arrays``, which have the signals ``ids`` in front."""
        if self.layout.relative_to is not None:
            arrays = {name: array - self.theta[name].to(array.device) for name, array in arrays.items()}
        values = {name: array.detach().cpu().numpy() for name, array in arrays.items()}
        return Representations(self.layout, values, ids, np.zeros(len(ids), dtype=np.int64))

    def arrays_of(self, rows: Representations, run: Run) -> Tensors:
        """The field's arrays, with the signals in front, that ``rows`` stand for."""
        arrays = to_device(rows.arrays, run.device)
        if self.layout.relative_to is None:
            return arrays
        return {name: array + self.theta[name].detach().to(run.device) for name, array in arrays.items()}

    def facts_of(self, train_flops: float, fit_flops: float) -> FitterFacts:
        """All of the field's arrays are learned, and all are adapted."""
        count = self.layout.num_values
        trained = 0.0 if self.start_from == "standard" else train_flops
        return FitterFacts(count, count, KINDS[self.start_from], "global", trained, fit_flops)
