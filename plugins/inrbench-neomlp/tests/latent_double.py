"""A small field with latents, and signals, for the tests of `auto-decoding`: quick, and smooth in all that it takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from inrbench_neomlp.auto_decoding import AutoDecoding
from inrbench_neomlp.fitter_settings import AutoDecodingSettings
from torch import Tensor

from inrbench import draws
from inrbench.cell_run import CellRun
from inrbench.domains import Array, Points
from inrbench.representations import Representations
from inrbench.settings import validated
from inrbench.signals import GridSignals, Part, PartSpec, Signals, SignalSpec

WIDTH, DIM, CHANNELS = 8, 4, 1
GRID = SignalSpec((PartSpec("grid", (5, 4), 2, CHANNELS),))


class Double:
    """f = head tanh(in x + mix (hidden, output) + bias): two hidden tokens and an output token of 4 values."""

    to_unit = (0.5, 0.5)
    latents: tuple[str, ...] = ("hidden", "output")

    def init(self, generator: torch.Generator) -> dict[str, Tensor]:
        shapes = {"in": (WIDTH, 2), "mix": (WIDTH, 3 * DIM), "bias": (WIDTH,), "head": (CHANNELS, WIDTH)}
        shapes |= {"hidden": (2, DIM), "output": (1, DIM)}
        return {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}

    def apply(self, arrays: Mapping[str, Tensor], coords: Tensor) -> Tensor:
        tokens = torch.cat([arrays["hidden"], arrays["output"]], dim=-2).flatten(-2)
        inside = coords @ arrays["in"].T + (tokens @ arrays["mix"].T + arrays["bias"])[..., None, :]
        return torch.tanh(inside) @ arrays["head"].T

    def convention(self) -> Mapping[str, Any]:
        return {"values": "symmetric"}

    def flops(self, points: int) -> float:
        return 2.0 * points * (2 * WIDTH + 3 * DIM * WIDTH + WIDTH)


def images(count: int = 6) -> GridSignals:
    """Images [5, 4, 1] of noise, with ids from 10."""
    values = draws.generator(0, "images").integers(0, 256, (count, 5, 4, 1), dtype=np.uint8)
    return GridSignals(values, np.arange(count) % 2, np.arange(10, 10 + count))


class Clouds:
    """Signals that list points of their own, perhaps not as many each."""

    labels = None

    def __init__(self, counts: Sequence[int], ids: Array | None = None) -> None:
        self.sizes = list(counts)
        self.ids = np.arange(len(counts)) if ids is None else ids

    def __len__(self) -> int:
        return len(self.sizes)

    def observed(self, i: int) -> Sequence[Part]:
        rng = draws.generator(0, "cloud", int(self.ids[i]))
        coords = rng.uniform(-1.0, 1.0, (self.sizes[i], 2)).astype(np.float32)
        return (Part(Points(coords), rng.integers(0, 2, (self.sizes[i], 1), dtype=np.uint8)),)

    scored = observed

    def stacked(self) -> None:
        return None

    def take(self, indices: Array) -> Clouds:
        return Clouds([self.sizes[i] for i in indices], self.ids[indices])

    def unlabelled(self) -> Clouds:
        return self


def fitter_of(spec: SignalSpec = GRID, field: Any = None, **settings: Any) -> AutoDecoding:
    """Of small batches; ``train`` and ``fit`` are trees."""
    tree = {"train": {"batch_size": 16, "epochs": 4.0}, "fit": {"signal_points": 6, "shard": 4, "epochs": 3.0}}
    for key, value in settings.items():
        tree[key] = {**tree.get(key, {}), **value} if isinstance(value, dict) else value
    return AutoDecoding(validated(AutoDecodingSettings, tree, "fitter"), spec, field or Double())


def trained(signals: Signals | None = None, run: CellRun | None = None, **settings: Any) -> AutoDecoding:
    """A fitter, trained and loaded."""
    fitter = fitter_of(**settings)
    given = images() if signals is None else signals
    fitter.load(fitter.train(given, given.take(np.zeros(0, dtype=np.int64)), run or CellRun(0)).shared)
    return fitter


def fitted(fitter: AutoDecoding, signals: Signals, run: CellRun | None = None) -> Representations:
    """All rows of ``signals``."""
    return Representations.joined(fitter.fit(signals, run or CellRun(0)))
