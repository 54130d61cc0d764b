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
#: A narrow, shallow field and a small transformer for small images, each seen once, in many small steps at a high rate.
LAPTOP: dict[str, Any] = {
    "inr": {"width": 64, "depth": 1, "frequencies": 32, "highest": 16.0},
    "fitter": {
        "width": 64,
        "blocks": 3,
        "heads": 4,
        "head_dim": 16,
        "feedforward": 128,
        "lr": 3e-3,
        "train": {"epochs": 1.0, "batch_size": 4, "schedule": "one-cycle", "clip_norm": 1.0},
    },
    "data": {"train_size": 40_000, "test_size": 1000},
}
#: All of the small images, many times; photographs and faces are made small, without a rim.
LAPTOP_FOR_DATASET: dict[str, Any] = {
    "digits": {"fitter": {"train": {"epochs": 20.0}}, "data": {"train_size": None, "test_size": None}},
    "imagenette": {"data": {"size": 64, "train_size": 9000}, "fitter": {"patch": 8, "pad": 0}},
    "celeba": {"data": {"size": 64}, "fitter": {"patch": 8, "pad": 0}},
}
SMOKE: dict[str, Any] = {
    "inr": {"width": 16, "depth": 1, "frequencies": 4, "highest": 8.0},
    "fitter": {
        "width": 32,
        "blocks": 2,
        "heads": 2,
        "head_dim": 16,
        "feedforward": 64,
        "groups": 4,
        "lr": 3e-3,
        "train": {"steps": 20},
    },
    "data": {"train_size": 64, "test_size": 32},
}
#: Small photographs and faces.
SMOKE_FOR_DATASET: dict[str, Any] = {
    "imagenette": {"data": {"size": 32}, "fitter": {"patch": 8, "pad": 0}},
    "celeba": {"data": {"size": 32}, "fitter": {"patch": 8, "pad": 0}},
}
