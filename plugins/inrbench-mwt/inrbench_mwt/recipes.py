"""MWT's settings: the paper's, what they are on each data set, and what a laptop and a test can afford."""

from __future__ import annotations

from typing import Any

__all__ = ["FOR_DATASET", "LAPTOP", "LAPTOP_FOR_DATASET", "PAPER", "PHOTOGRAPH_COPIES", "SMOKE", "SMOKE_FOR_DATASET"]

TRAINING = {"epochs": 10.0, "batch_size": 16, "weight_decay": 1e-4, "clip_norm": 1.0, "schedule": "one-cycle"}

#: Section 4.1 and Table 1: no augmentation, 10 epochs; the field is linear behind its sine layers.
PAPER: dict[str, Any] = {
    "inr": {
        "width": 128,
        "depth": 4,
        "omega_0": 10.0,
        "omega_hidden": 1.0,
        "bias_init": "zero",
        "output_init": "default",
        "output_scale": 0.1,
        "coordinates": "corners",
        "values": "symmetric",
    },
    "fitter": {"steps": 6, "train": TRAINING},
    "reader": {"train": TRAINING},
    "joint": {"share": 0.01},
}


def _photographs(subsample: float, **training: Any) -> dict[str, Any]:
    return {
        "data": {"size": 320, "resize": "distort"},
        "inr": {"omega_0": 30.0},
        "fitter": {"steps": 4, "subsample": subsample, "train": {"epochs": 40.0, **training}},
        "reader": {"train": {"epochs": 40.0}},
    }


#: Augmented copies of photographs (section 4.2).
PHOTOGRAPH_COPIES = {"pad": 40, "rotate": 30.0, "crop": "centre", "resized_crop": 0.8, "flip": True}
FOR_DATASET: dict[str, Any] = {
    # section 4.2; the number of epochs is the public code's, the paper does not say it. Table 2 has rows for three s
    "imagenette": _photographs(0.1),
    # Table 3: one in a hundred points a step, with augmented copies
    "imagenet": _photographs(0.01, augmentation=PHOTOGRAPH_COPIES),
    # figure 3: distances in their own unit, so that the rates act on what the paper's act on
    "modelnet40": {
        "inr": {"values": "unit"},
        "fitter": {
            "steps": 4,
            "subsample": 0.01,
            "train": {"epochs": 150.0, "augmentation": {"scale": 0.1, "jitter": 0.01}},
        },
        "reader": {"train": {"epochs": 150.0}},
    },
}

#: Fewer signals, each seen once, in small batches at higher rates: many steps for little work.
LAPTOP: dict[str, Any] = {
    "inr": {"width": 64},
    "fitter": {"steps": 4, "lr": 2e-3, "lr_rates": 3e-2, "train": {"epochs": 1.0, "batch_size": 4}},
    "reader": {"blocks": 4, "lr": 2e-3, "train": {"epochs": 1.0, "batch_size": 4}},
    "data": {"train_size": 7000, "test_size": 1000},
}
#: All of the small signals, four times; the rates are the best of leaderboards/mwt-above-wt-tuning.yaml.
LAPTOP_FOR_DATASET: dict[str, Any] = {
    "digits": {
        "inr": {"width": 32, "depth": 3},
        "fitter": {"lr": 3e-3, "train": {"epochs": 4.0, "batch_size": 16}},
        "reader": {"blocks": 3, "lr": 3e-3, "train": {"epochs": 4.0, "batch_size": 16}},
        "data": {"train_size": None, "test_size": None},
    },
    "cifar10": {"data": {"train_size": 5500}},
    "cifar100": {"data": {"train_size": 5500}},
    "imagenette": {"data": {"size": 64, "train_size": 5000}, "fitter": {"subsample": 0.25}},
    "imagenet": {
        "data": {"size": 64, "train_size": 5000},
        "fitter": {"subsample": 0.25, "train": {"augmentation": {"pad": 8}}},
    },
    "modelnet40": {"data": {"train_size": 5000}},
}

SMOKE: dict[str, Any] = {
    "inr": {"width": 16, "depth": 2},
    "fitter": {"steps": 2, "train": {"steps": 20}},
    "reader": {"blocks": 1, "train": {"steps": 20}},
    "data": {"train_size": 64, "test_size": 32},
}
#: Small photographs.
SMOKE_FOR_DATASET: dict[str, Any] = {
    "imagenette": {"data": {"size": 32}},
    "imagenet": {
        "data": {"size": 32},
        "fitter": {"train": {"augmentation": {"pad": 4}}},
    },
}
