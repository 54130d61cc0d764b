"""Settings of ``ddpm`` by profile and by the layout of what is generated: the papers', and those for two cores."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from inrbench.representations import Layout

__all__ = ["preset", "sides_of"]

#: Spatial functa, Table 6: (conditional, shape, interpolation) -> schedule, blocks, multiplier, attention, dropout.
TABLE6: dict[tuple[bool, tuple[int, ...], str], tuple[str, int, list[int], list[int], float]] = {
    (False, (8, 8, 16), "nearest"): ("linear", 1, [1, 1], [4], 0.4),
    # printed: attention at 2, a side that does not occur with two resolutions; taken for a rate of down-sampling
    (False, (8, 8, 16), "linear"): ("cosine", 2, [2, 2], [4], 0.4),
    (False, (4, 4, 64), "nearest"): ("cosine", 2, [2, 2], [], 0.4),
    (False, (4, 4, 64), "linear"): ("cosine", 2, [2, 2], [4], 0.4),
    (True, (8, 8, 16), "nearest"): ("cosine", 3, [2, 2, 2], [8], 0.1),
    (True, (8, 8, 16), "linear"): ("cosine", 3, [2, 2, 2], [8, 4], 0.0),
    (True, (4, 4, 64), "nearest"): ("cosine", 3, [2, 2], [4], 0.0),
    (True, (4, 4, 64), "linear"): ("cosine", 3, [2, 2, 2], [4, 2], 0.0),
}
#: ... and ImageNet's, from the text.
IMAGENET: dict[str, Any] = {
    "scale": 2.5,
    "schedule": "cosine",
    "res_blocks": 2,
    "channel_multiplier": [1, 2, 2, 2],
    "attention_res": [8, 16],
    "dropout": 0.0,
    "train": {"steps": 1_500_000, "batch_size": 256},
}
#: functa on CIFAR-10, as spatial functa's text has it: warm-up to 3e-4 over 4,000 of a million steps.
FUNCTA: dict[str, Any] = {
    "dropout": 0.0,
    "lr": 3e-4,
    "train": {"steps": 1_000_000, "batch_size": 128, "schedule": "inverse-sqrt", "warmup": 0.004},
}
LAPTOP: dict[str, dict[str, Any]] = {
    "latent": {"width": 256, "blocks": 2},
    "latent-grid": {"channels": 32, "channel_multiplier": [1, 2], "res_blocks": 1},
}
#: A short training does better with the linear schedule, whose first steps do not ask for much, and without guidance.
SHORT: dict[str, Any] = {
    "scale": 1.0,
    "schedule": "linear",
    "dropout": 0.0,
    "sample_steps": 100,
    "guidance": 1.0,
    "skip": True,
}


def preset(profile: str, layout: Layout, given: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of ``profile`` (paper, laptop, smoke) for ``layout``; ``given`` are those that the user chose."""
    grid = layout.kind == "latent-grid" and given.get("network", "auto") != "residual-mlp"
    shape = next(iter(layout.shapes.values()))
    if profile == "paper":
        return _paper_grid(layout, shape, bool(given.get("conditional", True))) if grid else FUNCTA
    small = LAPTOP["latent-grid" if grid else "latent"]
    if grid:
        sides = sides_of(shape[0], 2)
        small = {**small, "channel_multiplier": [1, 2][: len(sides)], "attention_res": [sides[-1]]}
    train: dict[str, Any] = {"steps": 5000, "batch_size": 128, "ema": 0.995, "schedule": "cosine"}
    if grid:
        train |= {"steps": 2000 if shape[0] <= 4 else 1200, "batch_size": 64, "ema": 0.99}
    if profile == "smoke":
        small = {**small, "width": 32, "channels": 8, "sample_steps": 10}
        train |= {"steps": 20, "batch_size": 32, "ema": 0.9}
    return {**SHORT, "lr": 1e-3, **small, "train": train}


def _paper_grid(layout: Layout, shape: tuple[int, ...], conditional: bool) -> dict[str, Any]:
    if shape == (32, 32, 64):
        return IMAGENET
    interpolation = str(layout.convention.get("interpolation", "nearest"))
    row = TABLE6.get((conditional, shape, interpolation))
    if row is None:  # no such latent in the paper: as the nearest one, with attention where the grid is whole
        levels = len(sides_of(shape[0], 3))
        schedule, res_blocks, multiplier, attention, dropout = "cosine", 3, [2] * levels, [shape[0]], 0.1
    else:
        schedule, res_blocks, multiplier, attention, dropout = row
    return {
        "schedule": schedule,
        "res_blocks": res_blocks,
        "channel_multiplier": multiplier,
        "attention_res": attention,
        "dropout": dropout,
    }


def sides_of(side: int, levels: int) -> list[int]:
    """The sides of a grid that is halved ``levels`` - 1 times, each time rounded up; it is not halved at 1."""
    sides = [side]
    while len(sides) < levels and sides[-1] > 1:
        sides.append(-(-sides[-1] // 2))
    return sides
