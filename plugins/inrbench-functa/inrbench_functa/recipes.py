"""functa's and spatial functa's settings: the papers', what they are on each data set, and what a laptop can afford."""

from __future__ import annotations

from typing import Any

__all__ = [
    "FUNCTA",
    "FUNCTA_FOR_DATASET",
    "FUNCTA_LAPTOP",
    "FUNCTA_LAPTOP_FOR_DATASET",
    "FUNCTA_SMOKE",
    "FUNCTA_SMOKE_FOR_DATASET",
    "SPATIAL",
    "SPATIAL_FOR_DATASET",
    "SPATIAL_LAPTOP",
    "SPATIAL_LAPTOP_FOR_DATASET",
    "SPATIAL_SMOKE",
    "SPATIAL_SMOKE_FOR_DATASET",
]

#: functa on CIFAR-10 as the spatial functa paper redoes it (table 1 and its settings); the number of steps is not
#: stated, 500,000 is functa's own on CelebA-HQ. The reader is the best one, found on latents of 512.
FUNCTA: dict[str, Any] = {
    "inr": {"latent": "global", "latent_dim": 256, "width": 512, "depth": 15, "omega_0": 30.0},
    "fitter": {"steps": 3, "lr": 3e-6, "train": {"steps": 500_000, "batch_size": 128}},
    "reader": {
        "normalisation": 0.01,
        "width": 1024,
        "depth": 3,
        "dropout": 0.2,
        "label_smoothing": 0.1,
        "lr": 1e-3,
        "train": {"steps": 300_000, "batch_size": 256, "weight_decay": 0.1, "ema": 0.9999},
    },
}

#: 8x8x16 with nearest neighbour (tables 4 and 5). The paper gives no inner rates; they are scaled up, since a cell
#: sees a small part of the mean alone.
SPATIAL: dict[str, Any] = {
    "inr": {
        "latent": "spatial",
        "cells": 8,
        "latent_channels": 16,
        "interpolation": "nearest",
        "width": 256,
        "depth": 6,
        "omega_0": 10.0,
    },
    "fitter": {"steps": 3, "lr": 3e-5, "rate_scale": 32.0, "train": {"steps": 200_000, "batch_size": 128}},
    "reader": {
        "normalisation": 0.08,
        "width": 128,
        "feedforward": 256,
        "blocks": 12,
        "heads": 16,
        "dropout": 0.1,
        "label_smoothing": 0.1,
        "lr": 1e-2,
        "train": {"steps": 100_000, "batch_size": 256, "weight_decay": 0.1},
    },
}

#: The views of a training image that both papers' readers learn from.
VIEWS = {"data": {"copies": {"count": 50, "pad": 4, "pad_mode": "zero", "flip": True}}}

FUNCTA_FOR_DATASET: dict[str, Any] = {
    "cifar10": VIEWS,
    # 64 values a signal: no more in its latent
    "digits": {"inr": {"latent_dim": 32}},
    # functa's own images: 64x64, no classes, 16 signals a device
    "celeba-hq": {"data": {"size": 64}, "fitter": {"train": {"batch_size": 16}}, "reader": None},
    "imagenette": {"data": {"size": 64}, "fitter": {"train": {"batch_size": 16}}},
}

#: ImageNet's best for classification (section 4.2, table 3): 16x16x128 at 256x256.
IMAGENET: dict[str, Any] = {
    "data": {"size": 256},
    "inr": {"cells": 16, "latent_channels": 128, "depth": 12, "omega_0": 20.0},
    "fitter": {"lr": 1e-5, "rate_scale": 128.0, "train": {"steps": 500_000, "batch_size": 16}},
    "reader": {
        "normalisation": 0.005,
        "width": 768,
        "feedforward": 1536,
        "blocks": 18,
        "dropout": 0.2,
        "lr": 1e-3,
        "train": {"steps": None, "epochs": 200.0, "batch_size": 1024, "weight_decay": 0.2},
    },
}

SPATIAL_FOR_DATASET: dict[str, Any] = {
    "cifar10": VIEWS,
    # 28 is not divisible by 8: cells of 4x4 pixels, as in CIFAR-10
    "mnist": {"inr": {"cells": 7}},
    "fashion-mnist": {"inr": {"cells": 7}},
    "digits": {"inr": {"cells": 2, "latent_channels": 8}, "fitter": {"rate_scale": 4.0}},
    "celeba-hq": {"data": {"size": 64}, "fitter": {"train": {"batch_size": 16}}, "reader": None},
    "imagenette": IMAGENET,
    "imagenet": IMAGENET,
}

FUNCTA_LAPTOP: dict[str, Any] = {
    "inr": {"width": 64, "depth": 6},
    "fitter": {"lr": 3e-4, "train": {"steps": None, "epochs": 1.0, "batch_size": 16}},
    "reader": {
        "normalisation": None,
        "width": 256,
        "depth": 2,
        "train": {"steps": 2000, "batch_size": 64, "ema": 0.99},
    },
    "data": {"train_size": 7000, "test_size": 1000, "copies": {"count": 1}},
}
#: All of the small signals, ten times; functa is at 20 dB after one time, at 29 after ten.
DIGITS_LAPTOP: dict[str, Any] = {
    "data": {"train_size": None, "test_size": None},
    "fitter": {"train": {"epochs": 10.0}},
}
FUNCTA_LAPTOP_FOR_DATASET: dict[str, Any] = {
    "digits": DIGITS_LAPTOP,
    "celeba-hq": {"reader": None},
}

SPATIAL_LAPTOP: dict[str, Any] = {
    "inr": {"width": 64, "depth": 5, "latent_channels": 4},
    "fitter": {"lr": 1e-3, "train": {"steps": None, "epochs": 1.0, "batch_size": 16}},
    "reader": {
        "normalisation": None,
        "width": 64,
        "feedforward": 128,
        "blocks": 2,
        "heads": 4,
        "lr": 2e-3,
        "train": {"steps": 2000, "batch_size": 64, "schedule": "cosine", "ema": 0.99},
    },
    "data": {"train_size": 7000, "test_size": 1000, "copies": {"count": 1}},
}
SPATIAL_LAPTOP_FOR_DATASET: dict[str, Any] = {
    "digits": {**DIGITS_LAPTOP, "inr": {"latent_channels": 8}},  # 32 values, as in functa's
    "celeba-hq": {"reader": None},
}

FUNCTA_SMOKE: dict[str, Any] = {
    "inr": {"width": 16, "depth": 3, "latent_dim": 16},
    "fitter": {"lr": 1e-3, "train": {"steps": 20, "batch_size": 16}},
    "reader": {"normalisation": None, "width": 32, "depth": 1, "train": {"steps": 20, "batch_size": 16, "ema": None}},
    "data": {"train_size": 64, "test_size": 32, "copies": {"count": 1}},
}
SPATIAL_SMOKE: dict[str, Any] = {
    "inr": {"width": 16, "depth": 3, "latent_channels": 4},
    "fitter": {"lr": 1e-3, "train": {"steps": 20, "batch_size": 16}},
    "reader": {
        "normalisation": None,
        "width": 16,
        "feedforward": 32,
        "blocks": 1,
        "heads": 2,
        "train": {"steps": 20, "batch_size": 16},
    },
    "data": {"train_size": 64, "test_size": 32, "copies": {"count": 1}},
}
FUNCTA_SMOKE_FOR_DATASET: dict[str, Any] = {"imagenette": {"data": {"size": 32}}, "celeba-hq": {"reader": None}}
SPATIAL_SMOKE_FOR_DATASET: dict[str, Any] = {
    "imagenette": {"data": {"size": 32}, "inr": {"cells": 8}},
    "imagenet": {"data": {"size": 32}, "inr": {"cells": 8}},
    "celeba-hq": {"reader": None},
}
