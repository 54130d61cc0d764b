"""Settings of NeoMLP on data sets: the paper's, what they are on each, and what a laptop and a test can afford.

Each profile names its parts: those of single signals, in `recipes`, name others.
"""

from __future__ import annotations

from typing import Any

from inrbench.trees import merge

__all__ = ["FOR_SET", "LAPTOP", "LAPTOP_FOR_SET", "PAPER", "SMOKE"]

Tree = dict[str, Any]

#: MNIST's, which sets that the paper does not have take too. Unstated are Mixup's α, the decay of the reader's average,
#: and what its noise is added to: the standardised values here.
PAPER: Tree = {
    "inr": {
        "name": "neomlp",
        "dim": 256,
        "ffn_dim": 512,
        "rff_dim": 512,
        "hidden": 5,
        "heads": 4,
        "layers": 3,
        "sigma": 20.0,
        "input_variance": 1e-3,
        "latent_variance": 1e-3,
    },
    "fitter": {
        "name": "auto-decoding",
        "lr": 5e-3,
        "latent_variance": 1e-3,
        "fit_psnr_signals": None,
        "train": {"epochs": 20.0, "batch_size": 12_288},
        "fit": {"draws": "pooled", "epochs": 10.0, "lr": 5e-3, "batch_size": 12_288},
    },
    "reader": {
        "name": "mlp",
        "width": 2048,
        "depth": 3,
        "dropout": 0.3,
        "noise": 0.05,
        "mixup": 0.2,
        "lr": 8e-3,
        "train": {"epochs": 500.0, "batch_size": 256, "weight_decay": 0.2, "ema": 0.999},
    },
}

#: 8 tokens: 2 inputs, 3 outputs, and 3 hidden ones. The reader learns from 50 views of each training image: "views" is
#: all that the paper says of them, and crops of a padded image and mirrored ones are functa's.
CIFAR: Tree = {
    "data": {"validation": 0.1, "copies": {"count": 50, "pad": 4, "pad_mode": "zero", "flip": True}},
    "inr": {"dim": 512, "ffn_dim": 128, "rff_dim": 128, "hidden": 3},
    "fitter": {
        "train": {"epochs": 50.0, "batch_size": 16_384},
        "fit": {"epochs": 20.0, "batch_size": 16_384},
    },
    "reader": {"train": {"epochs": 100.0, "weight_decay": 0.05}},
}

#: 16 tokens: 3 inputs, an output, and 12 hidden ones. An epoch of training takes a tenth of the points, one of fitting
#: a fifth.
SOLIDS: Tree = {
    "inr": {"hidden": 12},
    "fitter": {
        "train": {"batch_size": 32_768, "share": 0.1},
        "fit": {"epochs": 2.0, "batch_size": 32_768, "share": 0.2},
    },
    "reader": {"train": {"weight_decay": 0.25}},
}

#: 64 pixels a signal, and 1,437 of them: batches and latents of that size.
DIGITS: Tree = {
    "inr": {"dim": 64, "ffn_dim": 128, "hidden": 3},
    "fitter": {
        "train": {"epochs": 200.0, "batch_size": 1024},
        "fit": {"epochs": 100.0, "batch_size": 1024},
    },
}

FOR_SET: Tree = {
    **dict.fromkeys(("cifar10", "cifar100"), CIFAR),
    **dict.fromkeys(("shapenet10", "solids"), SOLIDS),
    "digits": DIGITS,
}

#: Some 5 million points in all, on a small backbone whose frequencies an image's pixels can tell apart. It is learned
#: from 300 signals, which are seen 12 times: of as many points of more signals it learns less. Few points a step make
#: many steps, which is what fresh latents want. No reader here looks at validation signals, so that none are held out.
LAPTOP: Tree = merge(
    PAPER,
    {
        "data": {"train_size": 2000, "test_size": 500, "validation": 0.0, "copies": {"count": 1}},
        "inr": {"dim": 32, "ffn_dim": 32, "rff_dim": 64, "heads": 2, "hidden": 3, "sigma": 2.0},
        "fitter": {
            "lr": 1e-2,
            "fit_psnr_signals": 300,
            "train": {"signals": 300, "epochs": 12.0, "batch_size": 512, "schedule": "one-cycle", "warmup": 0.1},
            "fit": {"draws": "per-signal", "epochs": 2.0, "signal_points": 12, "lr": 5e-2, "schedule": "cosine"},
        },
        "reader": {
            "width": 512,
            "lr": 1e-3,
            "train": {"epochs": 60.0, "schedule": "cosine", "weight_decay": 0.05},
        },
    },
)
COLOURS_LAPTOP: Tree = {"data": {"train_size": 1500}, "fitter": {"train": {"epochs": 10.0}}}
SOLIDS_LAPTOP: Tree = {"data": {"train_size": 1000, "test_size": 250}, "fitter": {"fit": {"share": 0.1}}}
LAPTOP_FOR_SET: Tree = {
    **dict.fromkeys(("cifar10", "cifar100"), COLOURS_LAPTOP),
    **dict.fromkeys(("shapenet10", "solids"), SOLIDS_LAPTOP),
    "digits": {
        "data": {"train_size": None, "test_size": None},
        "fitter": {"train": {"signals": None, "epochs": 30.0}, "fit": {"epochs": 20.0}},
    },
}
SMOKE: Tree = merge(
    LAPTOP,
    {
        "data": {"train_size": 64, "test_size": 32},
        "inr": {"dim": 8, "ffn_dim": 16, "rff_dim": 16, "hidden": 2, "layers": 2},
        "fitter": {
            "fit_psnr_signals": 16,
            "train": {"steps": 20, "share": 1.0},
            "fit": {"epochs": 0.25, "signal_points": 16, "share": 1.0},
        },
        "reader": {"width": 32, "train": {"steps": 20, "batch_size": 16, "ema": None}},
    },
)
