"""The last axis of an array of a row: a latent's dimensions, a latent grid's channels, which all cells share."""

from __future__ import annotations

import numpy as np

from inrbench.domains import Array
from inrbench.representations import Arrays

__all__ = ["pooled"]


def pooled(statistics: Arrays, name: str) -> dict[str, Array]:
    """``mean``, ``std``, ``min`` and ``max`` of the array ``name``, each [last axis], over signals and all other axes.

    ``statistics`` are per element: var = E[var of an element] + var of the elements' means.
    """
    mean, std, low, high = (
        np.asarray(statistics[f"{name}/{what}"], dtype=np.float64) for what in ("mean", "std", "min", "max")
    )
    others = tuple(range(mean.ndim - 1))
    grand = mean.mean(axis=others)
    variance = (std**2 + (mean - grand) ** 2).mean(axis=others)
    return {"mean": grand, "std": np.sqrt(variance), "min": low.min(axis=others), "max": high.max(axis=others)}
