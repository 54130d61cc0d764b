"""k nearest neighbours: the classes of the nearest training signals vote.

Each signal has one vote, that of its nearest row, however many copies of it there are. A block of queries is compared
with all of the gallery by one matrix product in float32; whatever could be among the nearest within its rounding is
compared again in float64, so that the result does not depend on how the rows came in blocks. Equal distances are taken
in the gallery's order.
"""

from __future__ import annotations

import numpy as np

from inrbench.domains import Array
from inrbench.interfaces import ReaderFacts, Run
from inrbench.representations import Arrays, Representations
from inrbench_readers.flat import FlatClassifier, Stages, blocks, mean_and_spread
from inrbench_readers.settings import KNNSettings

__all__ = ["CANDIDATES", "KNN"]

#: The numbers of neighbours among which validation chooses.
CANDIDATES = (1, 3, 5, 10, 20, 50, 100)
WITHOUT_VALIDATION = 5
#: Distances of a block of queries to all rows of the gallery, in bytes.
DISTANCE_BYTES = 2**28


class KNN(FlatClassifier):
    """Logits are votes; the class of the nearest of those with most votes has half a vote more.

    The state is the gallery itself, 4 bytes a value: all of it is in memory. Stage ``neighbours`` are the ids of the
    nearest training signals, [rows, k], the nearest first.
    """

    stages = ("values", "neighbours", "logits")
    settings: KNNSettings
    _starts: Array  # [signals] first row of each signal in the gallery; _ends: behind its last
    _ends: Array
    _squares: Array  # [rows] of the gallery
    _by_id: Array  # [signals] places in the order of their ids

    def centre(self, rows: Representations) -> tuple[Array, Array]:
        """Without standardising, a Euclidean distance is the same and more exact about the mean."""
        if self.settings.standardise or self.settings.metric == "cosine":
            return super().centre(rows)
        return mean_and_spread(rows)[0], np.ones(self.layout.num_values)

    def learn(
        self, rows: Representations, labels: Array, validation: tuple[Representations, Array] | None, run: Run
    ) -> dict[str, Array]:
        """The gallery, the copies of a signal side by side, and k."""
        _, first, inverse = np.unique(rows.ids, return_index=True, return_inverse=True)
        order = np.argsort(first[inverse], kind="stable")
        gallery = np.empty((len(rows), self.layout.num_values), np.float32)
        for place in blocks(len(rows), 8 * self.layout.num_values):
            gallery[place] = self._placed(self.values(rows.take(order[place])))
        found = {"gallery": gallery, "ids": rows.ids[order], "labels": labels[order].astype(np.int64)}
        wanted = self.settings.k or WITHOUT_VALIDATION
        if self.settings.k is None and validation is not None:
            self.load({**self.state, **found, "k": np.array(max(CANDIDATES))})
            near = np.concatenate(
                [
                    self._nearest(self.values(validation[0].take(place)))
                    for place in blocks(len(validation[0]), 8 * self.layout.num_values)
                ]
            )
            right = [(self._votes(near[:, :k]).argmax(axis=1) == validation[1]).sum() for k in CANDIDATES]
            wanted = CANDIDATES[int(np.argmax(right))]  # of equals the smallest
        return {**found, "k": np.array(wanted)}

    def load(self, state: Arrays) -> None:
        """Take up what `train` returned."""
        super().load(state)
        if "gallery" in self.state:
            ids = self.state["ids"]
            self._starts = np.flatnonzero(np.r_[True, ids[1:] != ids[:-1]])
            self._ends = np.r_[self._starts[1:], len(ids)]
            self._squares = np.einsum("nv,nv->n", self.state["gallery"], self.state["gallery"])
            self._by_id = np.argsort(ids[self._starts], kind="stable")

    def logits(self, values: Array, stages: Stages) -> Array:
        """Votes of the k nearest."""
        signals = self.state["ids"][self._starts]
        near = stages("neighbours", signals[self._nearest(values)])
        places = self._by_id[np.searchsorted(signals[self._by_id], near)]
        return self._votes(places)

    def facts(self) -> ReaderFacts:
        """Nothing is learned; what a prediction costs depends on the gallery."""
        return ReaderFacts(0)

    def _placed(self, values: Array) -> Array:
        """Values as they are compared: for the cosine of length 1, 0 staying 0."""
        if self.settings.metric == "euclidean":
            return values
        lengths = np.sqrt(np.square(values, dtype=np.float64).sum(axis=1, keepdims=True))
        return (values / np.where(lengths > 0.0, lengths, 1.0)).astype(np.float32)

    def _nearest(self, values: Array) -> Array:
        """[rows, k] places of the nearest signals in the gallery, k being at most their number."""
        gallery, k = self.state["gallery"], min(int(self.state["k"]), len(self._starts))
        values = self._placed(values)
        found = np.empty((len(values), k), np.int64)
        for place in blocks(len(values), 4 * len(gallery), DISTANCE_BYTES):
            some = values[place]
            products = some @ gallery.T
            rounding = np.finfo(np.float32).eps * (8.0 + np.sqrt(gallery.shape[1]))
            if self.settings.metric == "euclidean":
                squares = np.einsum("nv,nv->n", some, some)[:, None]
                products *= -2.0
                products += squares
                products += self._squares
                rounding = rounding * (squares[:, 0] + self._squares.max())
            else:
                np.subtract(1.0, products, out=products)
                rounding = np.full(len(some), rounding)
            by_signal = np.minimum.reduceat(products, self._starts, axis=1)
            bounds = np.partition(by_signal, k - 1, axis=1)[:, k - 1] + 2.0 * rounding
            for i, (query, bound) in enumerate(zip(some, bounds, strict=True)):
                found[place.start + i] = self._exactly(query, np.flatnonzero(by_signal[i] <= bound))[:k]
        return found

    def _exactly(self, query: Array, signals: Array) -> Array:
        """``signals``, places in the gallery in rising order, by their distance in float64."""
        starts, ends = self._starts[signals], self._ends[signals]
        counts = ends - starts
        offsets = np.cumsum(counts) - counts
        rows = np.repeat(starts - offsets, counts) + np.arange(counts.sum())
        near = self.state["gallery"][rows].astype(np.float64)
        if self.settings.metric == "euclidean":
            distances = np.square(near - query).sum(axis=1)
        else:
            distances = 1.0 - (near * query).sum(axis=1)
        return np.asarray(signals[np.argsort(np.minimum.reduceat(distances, offsets), kind="stable")])

    def _votes(self, places: Array) -> Array:
        """[rows, classes] from the nearest signals' places [rows, k], the nearest first."""
        classes = self.state["labels"][self._starts][places]
        votes = np.zeros((len(places), self.num_classes))
        rows = np.arange(len(places))
        for column in classes.T:
            votes[rows, column] += 1.0
        most = votes[rows[:, None], classes] == votes.max(axis=1, keepdims=True)
        votes[rows, classes[rows, most.argmax(axis=1)]] += 0.5
        return votes
