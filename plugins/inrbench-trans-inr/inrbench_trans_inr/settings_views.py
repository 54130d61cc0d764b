"""Settings of Trans-INR's fitter for views; free of any framework."""

from __future__ import annotations

from typing import Literal

from inrbench.settings import TrainingSettings, setting
from inrbench_trans_inr.settings import HypernetworkSettings

__all__ = ["TransINRViewsSettings"]


class TransINRViewsSettings(HypernetworkSettings):
    """Trans-INR on objects that are seen by cameras."""

    patch: int = setting(8, "side of the patches that views are cut into, in pixels", ge=1)
    groups: int = setting(
        32, "weight tokens G of a matrix (the paper says 64); one with fewer columns has as many as these", ge=1
    )
    seen_directions: Literal["given", "unit"] = setting(
        "given", "ray directions in tokens: as the data set has them (public code), or of length 1 (paper)"
    )
    contrast: float = setting(
        1.0,
        "multiplies how far colours in tokens are from the background; with 1 (public code) rays' origins, which are "
        "larger, drown them in a short training",
        gt=0.0,
    )
    support_views: int = setting(
        1,
        "views of an object that a training step makes its field from; data.support_views is what tests observe",
        ge=1,
    )
    query_views: int = setting(1, "other views of it that the step compares the field with", ge=1)
    rays: int = setting(128, "rays of each such view", ge=1)
    foreground_epochs: float = setting(
        1.0, "epochs at first in which half of the rays come from pixels that differ from the background", ge=0.0
    )
    repeats: int = setting(1, "passes over the objects, each with views drawn anew, that make an epoch", ge=1)
    test_rays: int = setting(
        1024, "rays of the observed views that each step at test time draws afresh; all if there are fewer", ge=1,
        stage="fit",
    )  # fmt: skip
    shard: int = setting(16, "objects fitted at once; changes speed, not results", ge=1, stage="fit")
    train: TrainingSettings = setting(TrainingSettings(), "training of the hypernetwork")
