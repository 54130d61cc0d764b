"""What the fitters for images and for views share: the hypernetwork's life, rows to fields, steps at test time."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from inrbench.backends.torch.fields import Field, to_device
from inrbench.backends.torch.plateau import Plateau
from inrbench.backends.torch.training import Group, descend
from inrbench.domains import Array
from inrbench.errors import Refused
from inrbench.interfaces import Run
from inrbench.representations import Arrays, Layout, Representations
from inrbench.settings import TrainingSettings
from inrbench.signals import Signals
from inrbench_trans_inr.hypernetwork import Hypernetwork
from inrbench_trans_inr.settings import HypernetworkSettings

__all__ = ["Generating"]

Tensors = dict[str, Tensor]


class Generating:
    """A hypernetwork that is trained, kept as named arrays, and asked for representations."""

    def __init__(self, settings: HypernetworkSettings, field: Field, network: Hypernetwork) -> None:
        self.field, self.network = field, network
        self.steps, self.step_lr, self.lr = settings.test_steps, settings.test_lr, settings.lr
        self.patience = settings.plateau
        if self.steps:
            example = field.init(torch.Generator().manual_seed(0))
            shapes = {name: tuple(array.shape) for name, array in example.items()}
            self.layout = Layout("weights", shapes, None, field.convention())
        else:
            generated = {
                "generated": "column j of a matrix is norm * normalise(base_j * u_t), t its token; the rest is shared",
                "grouping": settings.grouping,
                "biases": settings.biases,
                "norms": {matrix.name: matrix.norm for matrix in network.matrices},
            }
            self.layout = Layout("tokens", network.vector_shapes(), None, {**field.convention(), **generated})

    def start(self, run: Run) -> None:
        """Draw the initialisation, keyed by the run's seed."""
        self.network.draw(run)

    def groups(self, device: str) -> Sequence[Group]:
        """All parameters, in one group."""
        self.network.to(device)
        return [Group("hypernetwork", dict(self.network.named_parameters()), self.lr)]

    def plateau(self, validation: Signals, error: Callable[[], float], an_epoch: int) -> Plateau | None:
        """What lowers the rate, by the ``error`` of ``validation`` behind each epoch of so many steps; None: nothing.

        Raises Refused where that is asked for and there are no validation signals.
        """
        if self.patience is None:
            return None
        if len(validation) == 0:
            said = f"setting fitter.plateau={self.patience} needs validation signals"
            raise Refused(f"{said}: say --set data.validation=0.1")
        return Plateau(error, an_epoch, self.patience)

    def state(self) -> dict[str, np.ndarray]:
        """The parameters as named arrays."""
        return {name: value.detach().cpu().numpy().copy() for name, value in self.network.state_dict().items()}

    def load(self, shared: Arrays) -> None:
        """Take up what `train` returned."""
        state = {name: torch.as_tensor(np.array(array)) for name, array in shared.items()}
        self.network.load_state_dict(state, assign=True)

    def rows(self, found: Mapping[str, Tensor], ids: Array) -> Representations:
        """Representations of the signals ``ids``, one copy of each."""
        arrays = {name: found[name].detach().float().cpu().numpy() for name in self.layout.shapes}
        return Representations(self.layout, arrays, ids, np.zeros(len(ids), dtype=np.int64))

    @torch.no_grad()
    def arrays_of(self, rows: Representations, device: str) -> Tensors:
        """The field's arrays of ``rows``."""
        found = to_device(rows.arrays, device)
        return self.network.to(device).arrays(found) if self.layout.kind == "tokens" else found

    def optimised(
        self,
        vectors: Tensors,
        losses: Callable[[int, Tensors], Tensor],
        name: str,
        run: Run,
    ) -> Tensors:
        """The field's arrays after `steps` steps of Adam from those that ``vectors`` give.

        ``losses`` maps the step and the arrays to each signal's error. Their sum is descended, so that a signal's steps
        do not depend on the others.
        """
        with torch.no_grad():
            found = self.network.arrays(vectors)
        signals = len(next(iter(vectors.values())))
        arrays = {
            one: found[one].expand(signals, *shape).detach().clone().requires_grad_()
            for one, shape in self.layout.shapes.items()
        }

        def parts(step: int) -> list[tuple[float, Tensor, Mapping[str, Tensor]]]:
            each = losses(step, arrays)
            return [(1.0, each.sum(), {"mean_loss": each.detach().mean()})]

        descend(name, [Group("field", arrays, self.step_lr)], parts, self.steps, TrainingSettings(), run)
        return {one: array.detach() for one, array in arrays.items()}
