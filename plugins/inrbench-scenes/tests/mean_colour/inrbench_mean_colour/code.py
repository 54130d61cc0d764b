"""The mean colour of what is observed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from inrbench.domains import Array, Domain, Rays
from inrbench.interfaces import FitterFacts, Head, Run, Trained
from inrbench.representations import Arrays, Layout, Representations
from inrbench.settings import Settings
from inrbench.signals import PosedViews, Signals, SignalSpec


class MeanColour:
    """A row is the mean colour of the views that a signal observes, taken with `PosedViews.views` one by one."""

    layout = Layout("latent", {"colour": (3,)})

    def __init__(self, settings: Settings, spec: SignalSpec, inr: None = None) -> None:
        pass

    def train(self, train: Signals, validation: Signals, run: Run, heads: Sequence[Head] = ()) -> Trained:
        """Nothing."""
        return Trained({})

    def load(self, shared: Arrays) -> None:
        """Nothing."""

    def fit(self, signals: Signals, run: Run) -> Iterator[Representations]:
        """Eight at a time."""
        assert isinstance(signals, PosedViews)
        assert signals.labels is None
        for first in range(0, len(signals), 8):
            index = range(first, min(first + 8, len(signals)))
            colours = [
                np.mean(
                    [
                        signals.views(i, np.array([v])).unit_values().mean((0, 1, 2))
                        for v in range(signals.num_views(i))
                    ],
                    axis=0,
                )
                for i in index
            ]
            ids = signals.ids[first : first + 8]
            yield Representations(self.layout, {"colour": np.float32(colours)}, ids, np.zeros(len(ids), dtype=np.int64))

    def query(self, rows: Representations, domain: Domain, run: Run) -> Iterator[Array]:
        """That colour from everywhere."""
        assert isinstance(domain, Rays)
        for colour in rows.arrays["colour"]:
            yield np.broadcast_to(colour, (1, *domain.shape, 3))

    def facts(self) -> FitterFacts:
        """Three values."""
        return FitterFacts(0, 3, "none", "global")
