"""Settings of Learned Init: the paper's, what they are on each data set, and what a laptop and a test can afford."""

from __future__ import annotations

from typing import Any

__all__ = ["FOR_DATASET", "LAPTOP", "LAPTOP_FOR_DATASET", "PAPER", "SMOKE", "SMOKE_FOR_DATASET"]

#: The public code's images: five linear layers, ω = 200 throughout, cell i of n at i / n, 0.5 added to the output.
PAPER: dict[str, Any] = {
    "inr": {
        "width": 256,
        "depth": 3,
        "omega_0": 200.0,
        "omega_hidden": 200.0,
        "bias_init": "all-zero",
        "output_init": "siren",
        "coordinates": "unit-corners",
        "values": "centred",
    },
    "fitter": {
        "steps": 2,
        "inner_lr": 1e-2,
        "lr": 1e-5,
        "train": {"steps": 150_000, "batch_size": 3},
    },
}

FOR_DATASET: dict[str, Any] = {}

LAPTOP: dict[str, Any] = {
    "inr": {"width": 64},
    "fitter": {"lr": 1e-4, "train": {"steps": None, "epochs": 1.0}},
    "data": {"train_size": 7000, "test_size": 1000},
}
LAPTOP_FOR_DATASET: dict[str, Any] = {}

SMOKE: dict[str, Any] = {
    "inr": {"width": 16, "depth": 2},
    "fitter": {"train": {"steps": 20}, "match_steps": 20},
    "data": {"train_size": 64, "test_size": 32},
}
SMOKE_FOR_DATASET: dict[str, Any] = {}
