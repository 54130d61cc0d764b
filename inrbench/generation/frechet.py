"""The Fréchet distance of two sets of rows, each taken as a Gaussian, and Gaussians fitted to rows.

d² = |μ₁ - μ₂|² + tr(Σ₁ + Σ₂ - 2 (Σ₁ Σ₂)^½) (Dowson and Landau, 1982), the formula of FID (Heusel et al., 2017, arXiv
1706.08500), in float64 with covariances over rows - 1. Nothing is added to a covariance: that one of too few rows has
no inverse does not matter here. It is biased upwards for few rows, so that only distances of equally many compare.
"""

from __future__ import annotations

import numpy as np

from inrbench.domains import Array

__all__ = ["frechet_distance", "gaussian_rows"]


def frechet_distance(rows: Array, others: Array) -> float:
    """d² of [rows, values] and [others, values]. Raises ValueError for fewer than two rows, or other values.

    tr (Σ₁ Σ₂)^½ is the sum of the roots of the eigenvalues of Σ₁^½ Σ₂ Σ₁^½, and, with centred rows X / √(rows - 1),
    that of the singular values of X₁ X₂ᵀ: whichever matrix is smaller is taken.
    """
    if rows.ndim != 2 or others.ndim != 2 or rows.shape[1] != others.shape[1] or min(len(rows), len(others)) < 2:
        raise ValueError(f"two rows of equally many values at least; given: {rows.shape} and {others.shape}")
    (mean, centred), (other_mean, other_centred) = _centred(rows), _centred(others)
    traces = np.square(centred).sum() + np.square(other_centred).sum()
    if max(len(rows), len(others)) < rows.shape[1]:
        mixed = np.linalg.svd(centred @ other_centred.T, compute_uv=False).sum()
    else:
        root = _root(centred.T @ centred)
        inner = root @ (other_centred.T @ other_centred) @ root
        mixed = np.sqrt(np.maximum(np.linalg.eigvalsh(inner), 0.0)).sum()
    return float(np.square(mean - other_mean).sum() + traces - 2.0 * mixed)


def gaussian_rows(rows: Array, count: int, rng: np.random.Generator, *, independent: bool = False) -> Array:
    """``count`` draws from the Gaussian with the mean and the covariance of ``rows``, or with their variances alone."""
    mean, centred = _centred(rows)
    if independent:
        spread = np.sqrt(np.square(centred).sum(axis=0))
        return np.asarray(mean + spread * rng.standard_normal((count, rows.shape[1])))
    if len(rows) <= rows.shape[1]:  # Σ = XᵀX: mixing the rows themselves needs no matrix as large as Σ
        return np.asarray(mean + rng.standard_normal((count, len(rows))) @ centred)
    return np.asarray(mean + rng.standard_normal((count, rows.shape[1])) @ _root(centred.T @ centred))


def _centred(rows: Array) -> tuple[Array, Array]:
    """The mean, and X with XᵀX = Σ, in float64."""
    values = rows.astype(np.float64)
    mean = values.mean(axis=0)
    return mean, (values - mean) / np.sqrt(len(rows) - 1.0)


def _root(symmetric: Array) -> Array:
    """The square root of a covariance; eigenvalues that rounding made negative count as 0."""
    values, vectors = np.linalg.eigh(symmetric)
    return np.asarray((vectors * np.sqrt(np.maximum(values, 0.0))) @ vectors.T)
