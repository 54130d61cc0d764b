"""Trans-INR's settings: the paper's, what they are on each data set, and what a laptop and a test can afford."""

from __future__ import annotations

from typing import Any

__all__ = ["FOR_DATASET", "LAPTOP", "LAPTOP_FOR_DATASET", "PAPER", "SMOKE", "SMOKE_FOR_DATASET"]

#: Section 4.1, at 178 x 178, as the public code has it.
PAPER: dict[str, Any] = {
    "fitter": {
        "lr": 1e-4,
        "train": {"epochs": 30.0, "batch_size": 16, "schedule": "step"},
    },
}
FOR_DATASET: dict[str, Any] = {
    "mnist": {"fitter": {"patch": 4, "pad": 0}},
    "fashion-mnist": {"fitter": {"patch": 4, "pad": 0}},
    "cifar10": {"fitter": {"patch": 4, "pad": 0}},
    "cifar100": {"fitter": {"patch": 4, "pad": 0}},
    "digits": {"fitter": {"patch": 2, "pad": 0}},
    "imagenette": {
        "data": {"size": 178, "resize": "crop"},
        "fitter": {"train": {"epochs": 400.0, "augmentation": {"window": True, "flip": True}}},
    },
}
LAPTOP: dict[str, Any] = {}
LAPTOP_FOR_DATASET: dict[str, Any] = {}
SMOKE: dict[str, Any] = {
    "fitter": {
        "width": 32,
        "blocks": 2,
        "heads": 2,
        "head_dim": 16,
        "feedforward": 64,
        "groups": 4,
        "train": {"steps": 20},
    },
    "data": {"train_size": 64, "test_size": 32},
}
SMOKE_FOR_DATASET: dict[str, Any] = {}
