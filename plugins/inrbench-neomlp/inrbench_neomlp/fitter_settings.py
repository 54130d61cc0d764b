"""Settings of the fitter `auto-decoding`; free of any framework."""

from __future__ import annotations

from typing import Literal

from inrbench.settings import Schedule, Settings, TrainingSettings, setting

__all__ = ["AutoDecodingSettings", "FittingSettings", "PairTrainingSettings"]


class PairTrainingSettings(TrainingSettings):
    """A training loop over (point, signal) pairs, which are drawn with replacement over all signals."""

    epochs: float = setting(20.0, "passes over as many pairs as `share` says; ignored where `steps` is given", gt=0.0)
    batch_size: int = setting(12_288, "pairs in a step", ge=1)
    micro_batch: int | None = setting(
        None, "pairs whose gradients are computed at once; what fits a CPU's cache if empty, all on a GPU", ge=1
    )
    share: float = setting(1.0, "an epoch has as many pairs as this share of all that there are", gt=0.0, le=1.0)
    signals: int | None = setting(
        None, "training signals that the backbone is learned from; all if empty, or where there are no more", ge=1
    )

    def num_steps(self, num_signals: int) -> int:
        """Optimiser steps for so many pairs: of each epoch ⌊share · pairs / batch⌋."""
        return super().num_steps(int(self.share * num_signals + 1e-9))  # 0.29 * 100 is 28.999999999999996

    def presented(self, num_signals: int) -> float:
        """As many as all points of the signals that it learns from would be; ``steps``, if given, count for nothing."""
        return self.epochs * self.share * min(num_signals, self.signals or num_signals)


class FittingSettings(Settings):
    """Descent on fresh latents, the backbone as training left it."""

    epochs: float = setting(10.0, "passes over as many points of each signal as `share` says", gt=0.0)
    share: float = setting(1.0, "share of the points that an epoch takes, drawn anew in each", gt=0.0, le=1.0)
    lr: float = setting(5e-3, "learning rate of the latents", gt=0.0)
    schedule: Schedule = setting("constant", "of the learning rate, as of a training loop")
    warmup: float = setting(0.05, "share of the steps before a schedule's peak", gt=0.0, lt=1.0)
    draws: Literal["per-signal", "pooled"] = setting(
        "per-signal",
        "per-signal: each signal's own points at each step, so that its latents depend on no other; pooled: pairs of "
        "all signals of the split, one optimiser",
    )
    signal_points: int = setting(49, "per-signal: points of each signal in a step", ge=1)
    shard: int = setting(64, "per-signal: signals fitted at once; changes speed, not results", ge=1)
    batch_size: int = setting(12_288, "pooled: pairs in a step", ge=1)


class AutoDecodingSettings(Settings):
    """An auto-decoder: a backbone that all signals share, and latents of each signal's own."""

    lr: float = setting(5e-3, "learning rate of the backbone and of the latents that training throws away", gt=0.0)
    latent_variance: float = setting(1e-3, "of the normal distribution that latents start from", gt=0.0)
    fit_psnr_signals: int | None = setting(
        1000, "training signals whose PSNR is measured by the latents that training throws away; all if empty", ge=1
    )
    train: PairTrainingSettings = setting(PairTrainingSettings(), "the backbone's training")
    fit: FittingSettings = setting(FittingSettings(), "how a signal's latents are found", stage="fit")
