"""Metrics by the protocol: PSNR of values in [0, 1], accuracy, and 95 % intervals.

PSNR is the headline of a reconstruction: predictions clamped to [0, 1], mean squared error over all scored
coordinates and channels of one signal, -10 log10 of it, arithmetic mean over signals. Of views it is that of each
held-out image, with its mean over an episode's images, then over episodes, then over signals.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from inrbench.domains import Array

__all__ = [
    "classification",
    "estimated",
    "mean_interval",
    "psnr_db",
    "reconstruction",
    "squared_error",
    "wilson_interval",
]

#: The squared error below which a PSNR is capped: 100 dB. A reconstruction without any error has no logarithm.
SMALLEST_MSE = 1e-10
Z95 = 1.959963984540054


def squared_error(predicted: Array, values: Array, *, clamp: bool = True) -> Array:
    """Mean squared error of each signal: [signals, *domain, channels] twice, in [0, 1], to [signals] in float64."""
    if predicted.shape != values.shape:
        raise ValueError(f"predictions of shape {predicted.shape} for values of shape {values.shape}")
    if clamp:
        predicted = np.clip(predicted, 0.0, 1.0)
    difference = (predicted - values).astype(np.float64).reshape(len(values), -1)
    return np.asarray((difference**2).mean(axis=1))


def psnr_db(mse: Array) -> Array:
    """-10 log10(mse) in dB, for values in [0, 1]; capped at 100 dB."""
    return np.asarray(-10.0 * np.log10(np.maximum(mse, SMALLEST_MSE)))


def reconstruction(mse: Array, unclamped: Array, ids: Array) -> dict[str, float]:
    """The metrics of squared errors [entries], or [entries, views] with one for each image that is scored.

    The PSNR of an entry is the mean over its images; then comes the mean over a signal's entries, which are its
    episodes, then that over signals (``ids`` [entries]). ``psnr_db`` is the headline; ``psnr_global_db`` is that of
    the mean error, which a few bad signals dominate.
    """
    clamped_db, unclamped_db = _over_signals(psnr_db(mse), ids), _over_signals(psnr_db(unclamped), ids)
    low, high = mean_interval(clamped_db)
    return {
        "psnr_db": float(clamped_db.mean()),
        "psnr_db_low": low,
        "psnr_db_high": high,
        "psnr_unclamped_db": float(unclamped_db.mean()),
        "psnr_global_db": float(psnr_db(np.asarray(mse.mean()))),
        "psnr_median_db": float(np.median(clamped_db)),
    }


def estimated(mse: Array, ids: Array) -> dict[str, float]:
    """PSNR from some of each signal's points only, and so named an estimate; ``mse`` and ``ids`` as above."""
    values = _over_signals(psnr_db(mse), ids)
    low, high = mean_interval(values)
    return {
        "psnr_estimate_db": float(values.mean()),
        "psnr_estimate_db_low": low,
        "psnr_estimate_db_high": high,
        "psnr_estimate_signals": float(len(values)),
    }


def classification(logits: Array, labels: Array) -> tuple[dict[str, float], Array]:
    """Accuracy in [0, 1] with its 95 % interval, cross-entropy in nats, and each signal's hit, from [rows, classes]."""
    logits = logits.astype(np.float64)
    correct = logits.argmax(axis=1) == labels
    shifted = logits - logits.max(axis=1, keepdims=True)
    log_likelihood = shifted[np.arange(len(labels)), labels] - np.log(np.exp(shifted).sum(axis=1))
    low, high = wilson_interval(int(correct.sum()), len(correct))
    values: Mapping[str, float] = {
        "accuracy": float(correct.mean()),
        "accuracy_low": low,
        "accuracy_high": high,
        "cross_entropy": float(-log_likelihood.mean()),
    }
    return dict(values), correct


def wilson_interval(successes: int, trials: int) -> tuple[float, float]:
    """The 95 % interval of a proportion (Wilson, 1927): inside [0, 1] also near its ends."""
    if trials < 1:
        raise ValueError(f"an interval needs at least one trial, given {trials}")
    share = successes / trials
    centre = share + Z95**2 / (2 * trials)
    half = Z95 * math.sqrt(share * (1 - share) / trials + Z95**2 / (4 * trials**2))
    scale = 1 + Z95**2 / trials
    return (centre - half) / scale, (centre + half) / scale


def mean_interval(values: Array) -> tuple[float, float]:
    """The 95 % interval of a mean, by Student's t; (nan, nan) for fewer than two values."""
    if len(values) < 2:
        return math.nan, math.nan
    from scipy.special import stdtrit  # heavy: imported where it is used

    half = float(stdtrit(len(values) - 1, 0.975)) * float(np.std(values, ddof=1)) / math.sqrt(len(values))
    mean = float(np.mean(values))
    return mean - half, mean + half


def _over_signals(values: Array, ids: Array) -> Array:
    """The mean over the images of each entry, where it has several, then over the entries of each signal."""
    _, inverse = np.unique(ids, return_inverse=True)
    of_entries = values.reshape(len(ids), -1).mean(axis=1)
    return np.asarray(np.bincount(inverse, weights=of_entries) / np.bincount(inverse))
