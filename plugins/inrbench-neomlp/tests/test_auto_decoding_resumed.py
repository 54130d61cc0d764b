"""Auto-decoding that was interrupted goes on to the same result, bit for bit."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from inrbench.cell_run import CellRun
from inrbench.errors import Interrupted


class StoppedAfter(CellRun):
    """A run that is asked to stop within its ``after``-th step."""

    def __init__(self, after: int, folder: Path) -> None:
        super().__init__(0, folder=folder)
        self.after = after

    def steps(self, *arguments: Any) -> Any:
        for step in super().steps(*arguments):
            self.after -= 1
            if self.after == 0:
                self.stop.set()
            yield step


@pytest.mark.parametrize("after", [1, 9, 27])
def test_resumed_training_is_that_of_one_go(double: ModuleType, after: int, tmp_path: Path) -> None:
    signals, settings = double.images(), {"train": {"schedule": "cosine", "ema": 0.9}}
    whole = double.fitter_of(**settings).train(signals, double.images(0), CellRun(0))
    with pytest.raises(Interrupted, match="of 28 is kept"):
        double.fitter_of(**settings).train(signals, double.images(0), StoppedAfter(after, tmp_path))
    resumed = double.fitter_of(**settings).train(signals, double.images(0), CellRun(0, folder=tmp_path))
    for name, array in whole.shared.items():
        np.testing.assert_array_equal(resumed.shared[name], array)
    assert resumed.metrics == whole.metrics


@pytest.mark.parametrize("draws", ["per-signal", "pooled"])
@pytest.mark.parametrize("after", [1, 11, 17])
def test_a_resumed_fit_is_that_of_one_go(double: ModuleType, draws: str, after: int, tmp_path: Path) -> None:
    fitter = double.trained(fit={"draws": draws, "batch_size": 16, "schedule": "one-cycle"})
    whole = double.fitted(fitter, double.images())
    with pytest.raises(Interrupted):
        double.fitted(fitter, double.images(), StoppedAfter(after, tmp_path))
    assert list(tmp_path.glob("*.checkpoint.safetensors"))
    resumed = double.fitted(fitter, double.images(), CellRun(0, folder=tmp_path))
    np.testing.assert_array_equal(resumed.arrays["latent"], whole.arrays["latent"])
