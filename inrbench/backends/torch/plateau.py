"""A learning rate that falls at a plateau: what is measured between steps decides, not the step's number alone."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np

from inrbench.domains import Array

__all__ = ["Plateau"]


class Plateau:
    """Divides the rate by 10 whenever ``patience`` looks in a row bring no error below the lowest one so far.

    ``measure`` gives the error; it is looked at after every ``every`` steps. What has been seen is part of a loop's
    checkpoint, so that a resumed loop goes on as it would have.
    """

    def __init__(self, measure: Callable[[], float], every: int, patience: int) -> None:
        self.measure, self.every, self.patience = measure, every, patience
        self.lowest, self.waited, self.drops = math.inf, 0, 0

    @property
    def factor(self) -> float:
        """Of the learning rate, now."""
        return 0.1**self.drops

    def after(self, step: int) -> None:
        """Look, where that is due behind ``step``."""
        if (step + 1) % self.every:
            return
        error = self.measure()
        self.waited += 1
        if error < self.lowest:
            self.lowest, self.waited = error, 0
        elif self.waited >= self.patience:
            self.drops, self.waited = self.drops + 1, 0

    def save(self) -> dict[str, Array]:
        """What a checkpoint holds of it."""
        return {"plateau/seen": np.array([self.lowest, self.waited, self.drops])}

    def restore(self, arrays: Mapping[str, Array]) -> None:
        """Take up what `save` returned."""
        lowest, waited, drops = arrays["plateau/seen"].tolist()
        self.lowest, self.waited, self.drops = lowest, int(waited), int(drops)
