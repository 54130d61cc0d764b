"""Small hypernetworks, signals, and the plain version that the benchmark compares with too."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

from inrbench import draws
from inrbench.backends.torch.fields import coords_of
from inrbench.backends.torch.observed import GridOfSignals
from inrbench.cell_run import CellRun
from inrbench.cells import resolve
from inrbench.signals import GridSignals

#: On the images of `digits`, 8 x 8: 25 patches of 2 x 2 with a rim of zeros.
SMALL: dict[str, Any] = {
    "inr": {"width": 8, "depth": 2, "frequencies": 3, "highest": 4.0},
    "fitter": {
        "patch": 2,
        "pad": 1,
        "width": 12,
        "blocks": 2,
        "heads": 2,
        "head_dim": 5,
        "feedforward": 14,
        "groups": 4,
        "shard": 4,
        "train": {"steps": 6, "batch_size": 4},
    },
}


def build_small(**fitter: Any) -> Any:
    """A small fitter for `digits` with other settings, not yet drawn."""
    inr = fitter.pop("inr", {})
    return resolve("trans-inr", "digits", overrides=[SMALL, {"inr": inr, "fitter": fitter}]).build().fitter


@pytest.fixture(scope="session")
def build() -> Callable[..., Any]:
    return build_small


@pytest.fixture
def drawn(build: Callable[..., Any]) -> Callable[..., Any]:
    """A small fitter drawn with seed 0."""

    def make(**fitter: Any) -> Any:
        made = build(**fitter)
        made.start(CellRun(0))
        return made

    return make


@pytest.fixture(scope="session")
def images() -> Callable[..., GridSignals]:
    """Signals of noise, numbered from ``first`` on."""

    def make(count: int, first: int = 0, side: int = 8, channels: int = 1) -> GridSignals:
        rng = draws.generator(0, "images")
        values = rng.integers(0, 256, (first + count, side, side, channels), dtype=np.uint8)
        return GridSignals(values[first:], np.arange(count) % 10, np.arange(first, first + count))

    return make


def observed_of(signals: GridSignals, dtype: torch.dtype = torch.float32) -> GridOfSignals:
    values = torch.as_tensor(signals.values).to(dtype).div(255).flatten(1, 2)
    coords = coords_of(signals.domain, "cpu").to(dtype)
    return GridOfSignals(signals.ids, coords, values, lambda one: draws.generator(0, "points", one))


@pytest.fixture(scope="session")
def observe() -> Callable[..., GridOfSignals]:
    return observed_of


@pytest.fixture(scope="session")
def plain() -> ModuleType:
    """``benchmarks/trans_inr_plain.py``."""
    path = Path(__file__).resolve().parents[3] / "benchmarks" / "trans_inr_plain.py"
    spec = importlib.util.spec_from_file_location("trans_inr_plain", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


#: On views of `shape-views`, 8 x 8: 4 patches of 4 x 4.
SMALL_VIEWS: dict[str, Any] = {
    "inr": {"width": 8, "depth": 1, "frequencies": 3, "highest": 4.0, "samples": 6, "density": "softplus"},
    "fitter": {
        **{key: value for key, value in SMALL["fitter"].items() if key != "pad"},
        "patch": 4,
        "rays": 20,
        "test_rays": 24,
    },
    "data": {"size": 8, "views": 6, "train_objects": 8, "test_objects": 5, "episodes": 2},
}


def resolve_views(**fitter: Any) -> Any:
    """A small cell on `shape-views` with other settings of the fitter, or of the parts `inr` and `data`."""
    parts = {part: fitter.pop(part, {}) for part in ("inr", "data")}
    return resolve("trans-inr-nvs", "shape-views", overrides=[SMALL_VIEWS, {**parts, "fitter": fitter}])


@pytest.fixture(scope="session")
def views_cell() -> Callable[..., Any]:
    return resolve_views


@pytest.fixture(scope="session")
def build_views() -> Callable[..., Any]:
    """A small fitter for views, not yet drawn."""
    return lambda **fitter: resolve_views(**fitter).build().fitter


@pytest.fixture(scope="session")
def drawn_views() -> Callable[..., Any]:
    """A small fitter for views, drawn with seed 0."""

    def make(**fitter: Any) -> Any:
        made = resolve_views(**fitter).build().fitter
        made.start(CellRun(0))
        return made

    return make


@pytest.fixture(scope="session")
def objects() -> Callable[..., Any]:
    """The splits of small views."""
    return lambda **data: resolve_views(data=data).build().dataset.load(None)
