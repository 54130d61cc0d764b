"""Settings of Learned Init: the paper's, what they are on each data set, and what a laptop and a test can afford.

A method has one fitter by default, MAML. Where a data set gives views, its settings name the other fitter and field, in
every profile: naming one drops all that was set for the one before.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from inrbench.trees import merge

__all__ = ["FOR_DATASET", "LAPTOP", "LAPTOP_FOR_DATASET", "PAPER", "SMOKE", "SMOKE_FOR_DATASET"]

Tree = dict[str, Any]
#: Data sets of photographs whose size is a setting.
PHOTOGRAPHS = ("celeba", "celeba-hq", "imagenet", "imagenette")
#: The data sets of views in inrbench-scenes that have training objects.
VIEWS = ("learnit-chairs", "learnit-cars", "learnit-lamps", "shape-views")


def _each(names: Sequence[str], settings: Mapping[str, Any]) -> Tree:
    """``settings`` for each data set of ``names``."""
    return dict.fromkeys(names, settings)


# ------------------------------------------------------------------ images

#: The public code's: five linear layers, ω = 200 throughout, cell i of n at i / n, 0.5 added to the output.
PAPER: Tree = {
    "inr": {
        "name": "siren",
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
        "name": "maml",
        "steps": 2,
        "inner_lr": 1e-2,
        "lr": 1e-5,
        "train": {"steps": 150_000, "batch_size": 3},
    },
}

#: A narrow field at a frequency for small images, and outer steps that are larger, clipped, and shrink.
LAPTOP: Tree = {
    **merge(
        PAPER,
        {
            "inr": {"width": 64, "omega_0": 30.0, "omega_hidden": 30.0},
            "fitter": {
                "inner_lr": 2e-2,
                "lr": 5e-4,
                "train": {"steps": None, "epochs": 1.5, "schedule": "one-cycle", "clip_norm": 1.0},
                "match_lr": 1e-3,
            },
        },
    ),
    "data": {"train_size": 7000, "test_size": 1000},
}
#: Photographs bear larger steps than strokes do.
COLOURS_LAPTOP: Tree = {"fitter": {"inner_lr": 3e-2, "lr": 1e-3}}
SMOKE: Tree = {
    **merge(PAPER, {"inr": {"width": 16, "depth": 2}, "fitter": {"match_steps": 20, "train": {"steps": 20}}}),
    "data": {"train_size": 64, "test_size": 32},
}

# ------------------------------------------------------------------ views

#: The public code's: one object a step, all of its 25 views.
VIEWS_PAPER: Tree = {
    "inr": {"name": "nerf"},
    "fitter": {
        "name": "reptile",
        "views": 25,
        "steps": 32,
        "rays": 128,
        "inner_lr": 0.5,
        "lr": 5e-4,
        "test_steps": 1000,
        "test_rays": 64,
        "test_lr": 0.5,
        "train": {"steps": 100_000, "batch_size": 1},
    },
}
#: A small field whose density starts above 0: what starts at 0 may go out before anything is learned.
VIEWS_LAPTOP: Tree = {
    **merge(
        VIEWS_PAPER,
        {
            "inr": {"width": 64, "depth": 2, "frequencies": 10, "highest": 32.0, "samples": 32, "density_bias": 0.5},
            "fitter": {
                "rays": 64,
                "lr": 3e-3,
                "test_steps": 100,
                "train": {"steps": 900, "schedule": "cosine"},
                "match_steps": 2000,
                "match_lr": 1e-3,
            },
        },
    ),
    "data": {"train_size": None, "test_size": None},
}
VIEWS_SMOKE: Tree = {
    **merge(
        VIEWS_PAPER,
        {
            "inr": {"width": 16, "depth": 1, "frequencies": 4, "highest": 8.0, "samples": 8},
            "fitter": {"views": 2, "steps": 2, "rays": 16, "test_steps": 5, "match_steps": 20, "train": {"steps": 10}},
        },
    ),
    "data": {"train_size": 8, "test_size": 4},
}

# ------------------------------------------------------------------ by data set

FOR_DATASET: Tree = {
    "celeba": {"data": {"size": 178}},
    "imagenette": {"data": {"size": 178, "resize": "crop"}},
    **_each(VIEWS, VIEWS_PAPER),
}
LAPTOP_FOR_DATASET: Tree = {
    "digits": {"data": {"train_size": None, "test_size": None}, "fitter": {"train": {"epochs": 8.0}}},
    **_each(("cifar10", "cifar100"), COLOURS_LAPTOP),
    **_each(PHOTOGRAPHS, {"data": {"size": 64, "train_size": 2000}}),
    **_each(VIEWS, VIEWS_LAPTOP),
}
SMOKE_FOR_DATASET: Tree = {
    **_each(PHOTOGRAPHS, {"data": {"size": 32}}),
    **_each(VIEWS, VIEWS_SMOKE),
}
