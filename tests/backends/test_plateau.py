"""A rate that falls at a plateau: when it does, in the training loop, and when that is resumed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from inrbench.backends.torch.plateau import Plateau
from inrbench.backends.torch.training import Group, Part, descend
from inrbench.cell_run import CellRun
from inrbench.errors import Interrupted
from inrbench.settings import TrainingSettings


def factors(errors: Sequence[float], every: int, patience: int) -> list[float]:
    """The factor behind each step, where looks find ``errors`` in turn."""
    found = iter(errors)
    plateau = Plateau(lambda: next(found), every, patience)
    result = []
    for step in range(every * len(errors)):
        plateau.after(step)
        result.append(plateau.factor)
    return result


def test_the_rate_falls_after_so_many_looks_without_a_lower_error() -> None:
    assert factors([3.0, 2.0, 2.0, 2.5, 1.0, 1.5, 1.0, 1.2, 1.3], 1, 2) == pytest.approx(
        [1.0, 1.0, 1.0, 0.1, 0.1, 0.1, 0.01, 0.01, 0.001]
    )


def test_it_looks_once_an_epoch() -> None:
    assert factors([1.0, 1.0], 3, 1) == pytest.approx([1.0] * 5 + [0.1])


def trained(run: CellRun, steps: int = 9) -> np.ndarray:
    """A parameter on its way down a slope, by Adam's steps of the rate; an error that rises from the third look on."""
    weight = torch.zeros(1, requires_grad=True)

    def losses(step: int) -> Iterator[Part]:
        yield 1.0, weight.sum(), {}

    plateau = Plateau(lambda: float((weight.detach() + 0.2).abs()), 1, 1)
    descend("train", [Group("all", {"weight": weight}, 0.1)], losses, steps, TrainingSettings(), run, plateau)
    return weight.detach().numpy()


def test_the_loop_takes_smaller_steps_from_then_on() -> None:
    # 0.1, 0.2, then 0.3 is worse: steps of 0.01, each of which is worse again and divides the rate once more
    assert trained(CellRun(0), 3) == pytest.approx([-0.3], abs=1e-6)
    assert trained(CellRun(0), 4) == pytest.approx([-0.31], abs=1e-6)
    assert trained(CellRun(0), 5) == pytest.approx([-0.311], abs=1e-6)


def test_a_resumed_loop_remembers_what_was_seen(tmp_path: Path) -> None:
    class Stopping(CellRun):
        def log(self, step: int, **values: float) -> None:
            super().log(step, **values)
            if step == 3:
                self.stop.set()

    with pytest.raises(Interrupted):
        trained(Stopping(0, folder=tmp_path, checkpoint_every_s=0.0))
    assert np.array_equal(trained(CellRun(0, folder=tmp_path)), trained(CellRun(0)))
