"""A representation's values in one vector, their statistics, and readers of such vectors in NumPy."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from inrbench.domains import Array
from inrbench.errors import BadSetting
from inrbench.interfaces import Run
from inrbench.representations import Arrays, Layout, NeuralDataSet, Representations
from inrbench.signals import SignalSpec

__all__ = ["FlatClassifier", "Stages", "blocks", "flat_values", "mean_and_spread"]

#: Values that are looked at together, in bytes: rows may lie in files that are larger than memory.
BLOCK_BYTES = 2**26


def flat_values(rows: Representations) -> Array:
    """[rows, values] float32: the arrays in the order of their names."""
    parts = [np.asarray(rows.arrays[name], np.float32).reshape(len(rows), -1) for name in sorted(rows.layout.shapes)]
    return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1)


def blocks(num_rows: int, row_bytes: int, block_bytes: int | None = None) -> Iterator[slice]:
    """The rows in consecutive slices of about ``block_bytes``."""
    size = max(1, (block_bytes or BLOCK_BYTES) // max(1, row_bytes))
    for first in range(0, num_rows, size):
        yield slice(first, min(first + size, num_rows))


def mean_and_spread(rows: Representations) -> tuple[Array, Array]:
    """Mean and standard deviation of each value over the rows, [values] float64; 1 for one that never changes."""
    places = list(blocks(len(rows), 8 * rows.layout.num_values))
    total, squares = np.zeros(rows.layout.num_values), np.zeros(rows.layout.num_values)
    for place in places:
        total += flat_values(rows.take(place)).sum(axis=0, dtype=np.float64)
    mean = total / len(rows)
    for place in places:
        squares += np.square(flat_values(rows.take(place)) - mean).sum(axis=0)
    spread = np.sqrt(squares / len(rows))
    # below float32's own rounding of the mean there is nothing to see
    return mean, np.where(spread > 1e-6 * np.abs(mean) + 1e-12, spread, 1.0)


class Stages:
    """Calls each named stage of a prediction on arrays: taps those asked for, replaces those that are edited."""

    def __init__(self, tap: Sequence[str], edit: Mapping[str, Callable[[Any], Any]]) -> None:
        self.tap, self.edit = frozenset(tap), edit
        self.tapped: dict[str, Array] = {}

    def __call__(self, name: str, value: Array) -> Array:
        """``value`` of stage ``name``, edited if that was asked for."""
        if name in self.edit:
            value = np.asarray(self.edit[name](value))
        if name in self.tap:
            self.tapped[name] = value
        return value


class FlatClassifier:
    """A classifier of flat values in NumPy; a subclass has `learn` and `logits`, and names its ``stages``.

    Its state holds ``mean`` and ``spread``, which `values` are standardised with, and what `learn` returns.
    """

    stages: tuple[str, ...]

    def __init__(self, settings: Any, layout: Layout, spec: SignalSpec) -> None:
        self.settings, self.layout = settings, layout
        self.problem = None if spec.num_classes else "the data set has no classes"
        self.num_classes = spec.num_classes or 1
        self.state: dict[str, Array] = {}

    def refuses(self, layout: Layout) -> str | None:
        """Needs classes."""
        return self.problem

    def learn(
        self, rows: Representations, labels: Array, validation: tuple[Representations, Array] | None, run: Run
    ) -> dict[str, Array]:
        """Arrays of the state, from training rows; what is chosen is chosen on ``validation``."""
        raise NotImplementedError

    def logits(self, values: Array, stages: Stages) -> Array:
        """[rows, classes] of standardised values [rows, values]."""
        raise NotImplementedError

    def centre(self, rows: Representations) -> tuple[Array, Array]:
        """(mean, spread) [values] that values are standardised with."""
        if self.settings.standardise:
            return mean_and_spread(rows)
        return np.zeros(self.layout.num_values), np.ones(self.layout.num_values)

    def train(self, data: NeuralDataSet, run: Run) -> Arrays:
        """Learn from the split "train"; the statistics are its alone."""
        rows, labels = data.splits["train"]
        if labels is None:
            raise ValueError("the neural data set has no labels")
        held_out, classes = data.splits.get("validation", (None, None))
        validation = None if held_out is None or classes is None or not len(held_out) else (held_out, classes)
        mean, spread = self.centre(rows)
        self.state = {"mean": mean, "spread": spread}
        self.load({**self.state, **self.learn(rows, labels, validation, run)})
        return self.state

    def load(self, state: Arrays) -> None:
        """Take up what `train` returned."""
        self.state = {name: np.asarray(array) for name, array in state.items()}

    def values(self, rows: Representations) -> Array:
        """[rows, values] float32, standardised."""
        return ((flat_values(rows) - self.state["mean"]) / self.state["spread"]).astype(np.float32)

    def predict(
        self,
        rows: Representations,
        run: Run,
        *,
        tap: Sequence[str] = (),
        edit: Mapping[str, Callable[[Any], Any]] | None = None,
    ) -> Arrays:
        """``logits`` [rows, classes] and the tapped stages. Raises BadSetting for no such stage."""
        for name in [*tap, *(edit or {})]:
            if name not in self.stages:
                raise BadSetting(f"this reader has no stage {name!r}; its stages: {', '.join(self.stages)}")
        parts: list[dict[str, Array]] = []
        for place in blocks(len(rows), 8 * self.layout.num_values):
            stages = Stages(tap, edit or {})
            logits = stages("logits", self.logits(stages("values", self.values(rows.take(place))), stages))
            parts.append({**stages.tapped, "logits": logits})
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
