"""The linear probe: multinomial logistic regression on all values of a representation, by L-BFGS in float64.

It minimises Σ_i CE_i + |W|² / (2 C), the offsets b being free, as scikit-learn's LogisticRegression does, but block by
block: rows may lie in files that are larger than memory.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping

import numpy as np

from inrbench.domains import Array
from inrbench.interfaces import ReaderFacts, Run
from inrbench.representations import Representations
from inrbench_readers.flat import FlatClassifier, Stages, blocks
from inrbench_readers.settings import LinearProbeSettings

__all__ = ["CANDIDATES", "LinearProbe"]

log = logging.getLogger("inrbench")
#: The values of C among which validation chooses, the strongest pull towards 0 first.
CANDIDATES = tuple(10.0**exponent for exponent in range(-5, 2))
WITHOUT_VALIDATION = 1.0
#: Standardised rows up to this size stay in memory; larger ones are read anew in each iteration.
RESIDENT_BYTES = 2**30


class LinearProbe(FlatClassifier):
    """Logits W x + b of the standardised values x."""

    stages = ("values", "logits")
    settings: LinearProbeSettings

    def learn(
        self, rows: Representations, labels: Array, validation: tuple[Representations, Array] | None, run: Run
    ) -> dict[str, Array]:
        """W and b at C, or at the candidate that tells most validation signals right, of equals the smallest."""
        if self.settings.c is not None:
            candidates = [self.settings.c]
        else:
            candidates = list(CANDIDATES) if validation is not None else [WITHOUT_VALIDATION]
        objective = self._objective(rows, labels)
        shape = (self.layout.num_values + 1, self.num_classes)
        found = {"last": np.zeros(shape), "best": np.zeros(shape), "c": np.zeros(()), "hits": np.full((), -1.0)}

        def save() -> dict[str, Array]:
            return found

        def restore(arrays: Mapping[str, Array]) -> None:
            found.update({name: np.array(array) for name, array in arrays.items()})

        for step in run.steps("linear probe", len(candidates), save, restore):
            found["last"] = self._minimum(objective, found["last"], candidates[step], len(rows))
            hits = 0.0 if validation is None else self._hits(found["last"], *validation)
            if hits > found["hits"]:
                found.update({"best": found["last"], "c": np.array(candidates[step]), "hits": np.array(hits)})
        return {"weight": found["best"][:-1].T.copy(), "bias": found["best"][-1].copy(), "c": found["c"]}

    def logits(self, values: Array, stages: Stages) -> Array:
        """W x + b."""
        return np.asarray(values @ self.state["weight"].T + self.state["bias"])

    def facts(self) -> ReaderFacts:
        """W and b."""
        weights = self.layout.num_values * self.num_classes
        return ReaderFacts(weights + self.num_classes, 2.0 * weights)

    def _hits(self, weights: Array, rows: Representations, labels: Array) -> float:
        hits = 0
        for place in blocks(len(rows), 8 * self.layout.num_values):
            guessed = (self.values(rows.take(place)) @ weights[:-1] + weights[-1]).argmax(axis=1)
            hits += int((guessed == labels[place]).sum())
        return float(hits)

    def _objective(self, rows: Representations, labels: Array) -> Callable[[Array], tuple[float, Array]]:
        """From [values + 1, classes], b last, to the summed cross-entropy and its gradient."""
        places = list(blocks(len(rows), 8 * self.layout.num_values))
        resident = 4 * self.layout.num_values * len(rows) <= RESIDENT_BYTES
        kept = [self.values(rows.take(place)) for place in places] if resident else None

        def objective(weights: Array) -> tuple[float, Array]:
            total, gradient = 0.0, np.zeros_like(weights)
            for i, place in enumerate(places):
                values = (self.values(rows.take(place)) if kept is None else kept[i]).astype(np.float64)
                logits = values @ weights[:-1] + weights[-1]
                logits -= logits.max(axis=1, keepdims=True)
                chances = np.exp(logits)
                sums = chances.sum(axis=1, keepdims=True)
                chances /= sums
                one = np.arange(len(values)), labels[place]
                total += float((np.log(sums[:, 0]) - logits[one]).sum())
                chances[one] -= 1.0
                gradient[:-1] += values.T @ chances
                gradient[-1] += chances.sum(axis=0)
            return total, gradient

        return objective

    def _minimum(
        self, objective: Callable[[Array], tuple[float, Array]], start: Array, c: float, num_rows: int
    ) -> Array:
        from scipy.optimize import minimize  # heavy: imported where it is used

        def mean_loss(flat: Array) -> tuple[float, Array]:
            weights = flat.reshape(start.shape)
            total, gradient = objective(weights)
            gradient[:-1] += weights[:-1] / c
            total += 0.5 * float(np.square(weights[:-1]).sum()) / c
            return total / num_rows, gradient.ravel() / num_rows

        limits = {"maxiter": self.settings.iterations, "maxfun": 10**9, "gtol": self.settings.tolerance, "ftol": 0.0}
        result = minimize(mean_loss, start.ravel(), jac=True, method="L-BFGS-B", options=limits)
        if result.nit >= self.settings.iterations:
            log.warning("linear-probe: not done after %d iterations at C = %g (reader.iterations)", result.nit, c)
        return np.asarray(result.x).reshape(start.shape)
