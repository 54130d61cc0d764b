"""A neural data set with a linear decoder, values = 0.5 + A z: effects, RMSE and errors are known in closed form."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from inrbench.cell_run import CellRun
from inrbench.domains import Array, Domain, Grid
from inrbench.interfaces import Run
from inrbench.representations import Arrays, Layout, Representations
from inrbench.signals import GridSignals, Signals

CHUNK = 5  # rows that a query yields at a time


@dataclass
class Decoder:
    """What the context's fitter answers: ``decode`` maps latents [rows, *shape] to values [rows, *grid, channels]."""

    decode: Callable[[Array], Array]
    largest: int = 0  # rows in a query so far

    def query(self, rows: Representations, domain: Domain, run: Run) -> Iterator[Array]:
        self.largest = max(self.largest, len(rows))
        for first in range(0, len(rows), CHUNK):
            part = rows.take(slice(first, first + CHUNK))
            assert all(len(array) == len(part.ids) for array in part.arrays.values())
            yield self.decode(part.arrays["latent"])


@dataclass
class Context:
    """`inrbench.interfaces.AnalysisContext` over latents in memory."""

    fitter: Any
    layout: Layout
    latents: dict[str, Array]  # by split, [rows, *shape]
    originals: Array  # of the test split, [rows, *grid, channels]
    domain: Domain
    split: str = "test"
    run: Any = field(default_factory=lambda: CellRun(0))

    @property
    def statistics(self) -> Arrays:
        train = self.latents["train"].astype(np.float64)
        return {f"latent/{what}": getattr(train, what)(axis=0) for what in ("mean", "std", "min", "max")}

    def num_signals(self, split: str) -> int:
        return len(self.latents[split])

    def shards(self, split: str) -> Iterator[Representations]:
        for first in range(0, len(self.latents[split]), 7):
            yield self._rows(split, slice(first, first + 7))

    def sample(self, count: int) -> Representations:
        return self._rows(self.split, slice(0, count))

    def signals(self, rows: Representations) -> Signals:
        return GridSignals(self.originals[rows.ids], ids=rows.ids, to_unit=(1.0, 0.0))

    def _rows(self, split: str, chosen: slice) -> Representations:
        latents = self.latents[split][chosen]
        ids = np.arange(len(self.latents[split]))[chosen]
        return Representations(self.layout, {"latent": latents}, ids, np.zeros(len(ids), dtype=np.int64))


@pytest.fixture
def context_of() -> Callable[..., Context]:
    """Makes the context of ``decode`` and ``latents`` [rows, *shape] in float32: both splits hold the same ones."""

    def make(decode: Callable[[Array], Array], latents: Array, kind: str = "latent", **changes: Any) -> Context:
        latents = latents.astype(np.float32)
        originals = changes.pop("originals", decode(latents))
        layout = Layout(kind, {"latent": latents.shape[1:]})
        splits = {"train": changes.pop("train", latents).astype(np.float32), "test": latents}
        domain = Grid.of(*originals.shape[1:-1])
        return Context(Decoder(decode), layout, splits, originals, domain, **changes)

    return make
