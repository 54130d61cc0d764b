"""Settings of Trans-INR's view synthesis: the public code's, and what a laptop and a test can afford."""

from __future__ import annotations

from typing import Any

__all__ = ["VIEWS", "VIEWS_FOR_DATASET", "VIEWS_LAPTOP", "VIEWS_SMOKE"]

Tree = dict[str, Any]

#: Section 4.2 as the public code has it, for one support view. For two it trains anew, on two: `support_views` of the
#: fitter and of the data are set together.
VIEWS: Tree = {"fitter": {"lr": 1e-4, "train": {"epochs": 1000.0, "batch_size": 32, "schedule": "step"}}}
#: 100 draws of views for a test object. Cars and lamps are fewer than chairs: an epoch sees each of them more often.
VIEWS_FOR_DATASET: Tree = {
    "learnit-chairs": {"data": {"episodes": 100}},
    "learnit-cars": {"fitter": {"repeats": 2}, "data": {"episodes": 100}},
    "learnit-lamps": {"fitter": {"repeats": 3}, "data": {"episodes": 100}},
    "shape-views": {"data": {"episodes": 10}},
}
#: A small field whose density starts above 0, few tokens, and gradients of one length: a few thousand steps are too few
#: for Adam to forget how long the first gradients were, and for colours that rays' origins drown.
VIEWS_LAPTOP: Tree = {
    "inr": {"width": 64, "depth": 2, "frequencies": 10, "highest": 32.0, "samples": 24, "density_bias": 0.5},
    "fitter": {
        "patch": 4,
        "contrast": 10.0,
        "width": 128,
        "blocks": 2,
        "heads": 4,
        "head_dim": 32,
        "feedforward": 256,
        "groups": 4,
        "lr": 3e-3,
        "rays": 32,
        "foreground_epochs": 1.0,
        "test_lr": 2e-3,
        "test_rays": 128,
        "train": {"steps": 3000, "batch_size": 16, "schedule": "cosine", "clip_norm": 0.01},
    },
    "data": {"test_size": 60, "episodes": 2},
}
VIEWS_SMOKE: Tree = {
    "inr": {"width": 16, "depth": 1, "frequencies": 4, "highest": 8.0, "samples": 8},
    "fitter": {
        "width": 16,
        "blocks": 2,
        "heads": 2,
        "head_dim": 8,
        "feedforward": 16,
        "groups": 4,
        "rays": 16,
        "test_rays": 32,
        "train": {"steps": 10, "batch_size": 4},
    },
    "data": {"train_size": 8, "test_size": 4, "episodes": 2},
}
