"""The fitter of the pixel control: a signal's own values are its representation."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from inrbench.domains import Array, Domain, Grid
from inrbench.errors import Refused
from inrbench.interfaces import FitterFacts, Head, Run, Trained
from inrbench.representations import Arrays, Layout, Representations
from inrbench.signals import Signals, SignalSpec
from inrbench_readers.settings import SamplesSettings

__all__ = ["Samples"]

SHARD = 1024


class Samples:
    """Rows are ``values`` [*grid, channels] in [0, 1]."""

    def __init__(self, settings: SamplesSettings, spec: SignalSpec, inr: None = None) -> None:
        part = spec.parts[0]
        self.layout = Layout("samples", {"values": (*part.shape, part.channels)})

    def train(self, train: Signals, validation: Signals, run: Run, heads: Sequence[Head] = ()) -> Trained:
        """Nothing is shared, so nothing is learned."""
        return Trained({})

    def load(self, shared: Arrays) -> None:
        """Nothing is shared."""

    def fit(self, signals: Signals, run: Run) -> Iterator[Representations]:
        """The values, in order."""
        stacked = signals.stacked()
        if stacked is None:
            raise Refused("fitter 'samples' takes signals that share one grid")
        _, stored, (scale, offset) = stacked
        for first in range(0, len(signals), SHARD):
            values = stored[first : first + SHARD].astype(np.float32) * np.float32(scale) + np.float32(offset)
            ids = signals.ids[first : first + SHARD]
            yield Representations(self.layout, {"values": values}, ids, np.zeros(len(ids), dtype=np.int64))

    def query(self, rows: Representations, domain: Domain, run: Run) -> Iterator[Array]:
        """The nearest sample at each cell of a grid: [rows, *domain, channels]."""
        values = rows.arrays["values"]
        if not isinstance(domain, Grid):
            raise Refused("fitter 'samples' can be asked on grids alone")
        index = []
        for count, (wanted, low, high) in zip(values.shape[1:-1], domain.axes, strict=True):
            centres = low + (np.arange(wanted) + 0.5) * (high - low) / wanted
            index.append(np.clip(((centres + 1.0) / 2.0 * count).astype(np.int64), 0, count - 1))
        yield values[(slice(None), *np.ix_(*index))]

    def facts(self) -> FitterFacts:
        """As many values as the signal has."""
        return FitterFacts(0, self.layout.num_values, "none", "samples", 0.0, 0.0)
