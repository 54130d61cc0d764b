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
    "Tally",
    "by_signal",
    "classification",
    "mean_interval",
    "of_vectors",
    "psnr_db",
    "squared_error",
    "wilson_interval",
]

#: The squared error below which a PSNR is capped: 100 dB. A reconstruction without any error has no logarithm.
SMALLEST_MSE = 1e-10
#: A channel whose variance is not above this share of its power does not vary but for rounding.
SILENT = 1e-12
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


def of_vectors(vectors: Mapping[str, Array], unclamped: Array | None = None) -> dict[str, float]:
    """The metrics of what a record keeps of each entry: ``ids``, ``mse`` and what else there is.

    ``mse`` is [entries], or [entries, views] with one for each image that is scored. The PSNR of an entry is the mean
    over its images; then comes the mean over a signal's entries, which are its episodes, then that over signals.
    ``psnr_db`` is the headline; ``psnr_global_db`` is that of the mean error, which a few bad signals dominate.
    ``mse_estimate`` is from some of each signal's points alone, NaN where there are none, and so named an estimate;
    ``mse_audio`` and ``mse_video`` are of one part of each signal; ``iou`` and ``si_snr_db`` are averaged as they are.
    No record keeps ``unclamped``, the errors of predictions that are not clamped.
    """
    ids, mse = vectors["ids"], vectors["mse"]
    found = {
        **_mean("psnr_db", psnr_db(mse), ids),
        "psnr_global_db": float(psnr_db(np.asarray(mse.mean()))),
        "psnr_median_db": float(np.median(_over_signals(psnr_db(mse), ids))),
    }
    if unclamped is not None:
        found["psnr_unclamped_db"] = float(_over_signals(psnr_db(unclamped), ids).mean())
    for name, values in vectors.items():
        if name == "mse_estimate":
            measured = np.isfinite(values)
            found |= _mean("psnr_estimate_db", psnr_db(values[measured]), ids[measured])
            found["psnr_estimate_signals"] = float(len(np.unique(ids[measured])))
        elif name.startswith("mse_"):
            found |= _mean(f"psnr_{name.removeprefix('mse_')}_db", psnr_db(values), ids)
        elif name in ("iou", "si_snr_db"):
            found |= _mean(name, values, ids)
    return found


def by_signal(vectors: Mapping[str, Array], metric: str) -> tuple[Array, Array] | None:
    """(the signals' ids, ascending, and of each what ``metric`` is the mean of); None where the vectors lack it."""
    name = {"psnr_db": "mse", "accuracy": "correct"}.get(metric, metric)
    if name not in vectors:
        return None
    values = psnr_db(vectors[name]) if name == "mse" else vectors[name]
    return np.unique(vectors["ids"]), _over_signals(values, vectors["ids"])


def _mean(name: str, values: Array, ids: Array) -> dict[str, float]:
    """The mean over signals, with its 95 % interval."""
    of_signals = _over_signals(values, ids)
    low, high = mean_interval(of_signals)
    return {name: float(of_signals.mean()), f"{name}_low": low, f"{name}_high": high}


class Tally:
    """Sums over a signal's values, block by block, from which its metrics come; values in [0, 1]."""

    def __init__(self, channels: int) -> None:
        self.squared = np.zeros(2)  # squared errors, predictions clamped and not
        self.count = 0  # values
        self._points = 0
        self._moments = np.zeros((5, channels))  # of predictions p and values t: p, t, p p, p t, t t
        self._both = self._either = 0  # occupied points

    def add(self, predicted: Array, values: Array) -> None:
        """A block, [..., channels] twice."""
        if predicted.shape != values.shape:
            raise ValueError(f"predictions of shape {predicted.shape} for values of shape {values.shape}")
        channels = values.shape[-1]
        p, t = (array.reshape(-1, channels).astype(np.float64) for array in (predicted, values))
        self.squared[1] += np.square(p - t).sum()
        np.clip(p, 0.0, 1.0, out=p)
        self.squared[0] += np.square(p - t).sum()
        self.count += t.size
        self._points += len(t)
        self._moments += [p.sum(0), t.sum(0), (p * p).sum(0), (p * t).sum(0), (t * t).sum(0)]
        inside, occupied = p > 0.5, t > 0.5
        self._both += int((inside & occupied).sum())
        self._either += int((inside | occupied).sum())

    def iou(self) -> float:
        """Intersection over union of what lies above 0.5; 1 where both are empty."""
        return self._both / self._either if self._either else 1.0

    def si_snr_db(self) -> float:
        """Scale-invariant signal-to-noise ratio in dB, mean over channels, of sound without its mean.

        Le Roux et al., SDR - half-baked or well done?, arXiv 1811.02508, equation 3, where it is called SI-SDR; within
        100 dB of 0. It is undefined for a channel that is silent throughout, as that for deep tones often is: such
        channels are left out, and -100 dB stand for sound that has no other.
        """
        p, t, pp, pt, tt = self._moments / self._points
        variance, covariance, energy = tt - t * t, pt - p * t, pp - p * p
        sounds = variance > SILENT * tt
        if not sounds.any():
            return float(10.0 * np.log10(SMALLEST_MSE))
        variance, covariance, energy = variance[sounds], covariance[sounds], energy[sounds]
        with np.errstate(divide="ignore", invalid="ignore"):
            signal = covariance**2 / variance
            noise = np.maximum(energy - signal, 0.0)
            ratio = np.where(signal > 0, signal / noise, 0.0)
        return float((10.0 * np.log10(np.clip(ratio, SMALLEST_MSE, 1 / SMALLEST_MSE))).mean())


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
