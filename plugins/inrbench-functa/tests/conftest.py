"""The plain version of functa, which the benchmarks compare with too; fields of each kind; and signals."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from inrbench_functa.latent_meta_sgd import LatentMetaSGD
from inrbench_functa.settings import LatentMetaSGDSettings, ModulatedSirenSettings
from inrbench_functa.siren import ModulatedSiren

from inrbench import draws
from inrbench.domains import Array, Points
from inrbench.settings import Augmentation
from inrbench.signals import GridSignals, Part, PartSpec, SignalSpec

IMAGE = SignalSpec((PartSpec("grid", (8, 8), 2, 3),))
SPACE = SignalSpec((PartSpec("points", (40,), 3, 1),))

TINY = {"width": 12, "depth": 3, "omega_0": 10.0}
SPATIAL = {**TINY, "latent": "spatial", "cells": 4, "latent_channels": 3}
#: The field's settings and the scale of its inner rates, of each way to use a latent.
WAYS: dict[str, tuple[dict[str, Any], float]] = {
    "global": ({**TINY, "latent_dim": 6}, 1.0),
    "nearest": (SPATIAL, 16.0),
    "nearest, 3x3": ({**SPATIAL, "kernel": 3}, 16.0),
    "nearest, global coordinates": ({**SPATIAL, "coordinates": "global"}, 16.0),
    "linear": ({**SPATIAL, "interpolation": "linear"}, 16.0),
}


@pytest.fixture(scope="session")
def plain() -> ModuleType:
    """``benchmarks/functa_plain.py``."""
    path = Path(__file__).resolve().parents[3] / "benchmarks" / "functa_plain.py"
    spec = importlib.util.spec_from_file_location("functa_plain", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where Equinox looks a module's types up
    spec.loader.exec_module(module)
    return module


def build_fitter(
    way: str, spec: SignalSpec = IMAGE, *, inr: dict[str, Any] | None = None, **given: Any
) -> LatentMetaSGD:
    """A fitter of this way, with other settings of the field and of itself."""
    of_field, scale = WAYS[way]
    inr_field = ModulatedSiren(ModulatedSirenSettings.model_validate(of_field | (inr or {})), spec)
    return LatentMetaSGD(LatentMetaSGDSettings.model_validate({"rate_scale": scale, **given}), spec, inr_field)


@pytest.fixture(scope="session")
def plain_model(plain: ModuleType) -> Callable[..., Any]:
    """``plain_model(fitter, arrays, shape)``: (the plain version with these arrays, the places of ``shape`` pixels)."""

    def model(fitter: LatentMetaSGD, arrays: dict[str, Array], shape: tuple[int, int] = (8, 8)) -> Any:
        settings = fitter.field.settings
        cells = settings.cells if settings.latent == "spatial" else None
        places = plain.image_places(shape, cells, settings.interpolation, settings.coordinates, digits=3)
        return plain.Plain.of(arrays, settings.omega_0, cells, settings.kernel), places

    return model


@pytest.fixture(scope="session")
def build() -> Callable[..., LatentMetaSGD]:
    """``build(way, spec=..., inr={...}, **settings)`` is a fitter."""
    return build_fitter


@pytest.fixture(scope="session")
def shared() -> Callable[[LatentMetaSGD], dict[str, Array]]:
    """``shared(fitter)``: arrays in which no term is lost: biases are not 0, rates of both signs."""

    def arrays(fitter: LatentMetaSGD) -> dict[str, Array]:
        rng = draws.generator(0, "shared")
        network, rates = fitter.field.init(rng), rng.uniform(-0.02, 0.1, fitter.field.latent_shape)
        found = fitter.state(network, np.asarray(rates, np.float32))
        for name, array in found.items():
            if name.endswith("bias"):
                found[name] = np.asarray(rng.normal(0.0, 0.1, array.shape), np.float32)
        found["network/output.weight"] = 4.0 * found["network/output.weight"]  # a latent that matters much
        return found

    return arrays


@pytest.fixture(scope="session")
def space() -> SignalSpec:
    """Of `balls`."""
    return SPACE


@pytest.fixture(scope="session")
def images() -> Callable[..., GridSignals]:
    """``images(count)``: smooth pictures of 8 x 8 pixels, with ids from 20 on and labels."""

    def drawn(count: int = 7, seed: int = 0) -> GridSignals:
        rng = draws.generator(seed, "images")
        place, width, colour = (
            rng.uniform(low, high, (count, 1, 1, n)) for low, high, n in ((1, 6, 2), (1, 3, 1), (0, 1, 3))
        )
        rows, columns = np.meshgrid(np.arange(8.0), np.arange(8.0), indexing="ij")
        distance = np.square(rows[..., None] - place[..., :1]) + np.square(columns[..., None] - place[..., 1:])
        values = np.round(255.0 * (0.1 + 0.9 * colour * np.exp(-distance / np.square(width))))
        return GridSignals(values.astype(np.uint8), np.arange(count) % 10, np.arange(count) + 20)

    return drawn


class Apart(GridSignals):
    """Images that do not say that they share a grid."""

    def stacked(self) -> Any:
        return None


@pytest.fixture(scope="session")
def unit(images: Callable[..., GridSignals]) -> Callable[..., Array]:
    """``unit(count)``: the values of ``images(count)`` as a fitter takes them, [signals, points, channels]."""
    return lambda count=7: (images(count).values.reshape(count, 64, 3) / 255.0).astype(np.float32)


@pytest.fixture(scope="session")
def apart() -> Callable[[GridSignals], Apart]:
    """Those images, not said to share a grid."""
    return lambda one: Apart(one.values, one.labels, one.ids)


@dataclass(frozen=True)
class Balls:
    """Signals in space: signal i is a soft ball of its own radius, at points of its own."""

    ids: Array = field(default_factory=lambda: np.arange(5) + 3)
    labels: Array | None = None
    num_points: int = 40

    def __len__(self) -> int:
        return len(self.ids)

    def value(self, i: int, coords: Array) -> Array:
        radius = 0.3 + 0.1 * float(self.ids[i])
        inside = 1.0 / (1.0 + np.exp(4.0 * (np.linalg.norm(coords, axis=-1, keepdims=True) - radius)))
        return np.asarray(inside, np.float32)

    def observed(self, i: int) -> Sequence[Part]:
        rng = draws.generator(7, "listed", int(self.ids[i]))
        coords = rng.uniform(-1.0, 1.0, (self.num_points, 3)).astype(np.float32)
        return (Part(Points(coords), self.value(i, coords)),)

    scored = observed

    def draw(
        self, i: int, sets: int, count: int, rng: np.random.Generator, augmentation: Augmentation | None = None
    ) -> tuple[Array, Array]:
        coords = rng.uniform(-1.0, 1.0, (sets, count, 3)).astype(np.float32)
        return coords, self.value(i, coords)

    def stacked(self) -> None:
        return None

    def take(self, indices: Array) -> Balls:
        return replace(self, ids=self.ids[indices])

    def unlabelled(self) -> Balls:
        return replace(self, labels=None)


@pytest.fixture(scope="session")
def balls() -> Balls:
    """Five signals at free points in space."""
    return Balls()
