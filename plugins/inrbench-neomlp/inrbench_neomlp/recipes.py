"""Settings of NeoMLP on single signals: the paper's, and what a laptop and a test can afford.

A clip is fitted whole by plain gradient descent: every array of the field is its own, and nothing reads them. Each tree
names the fitter and every setting of the field that another profile could have set: the method's base is that of sets.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from inrbench.trees import merge

__all__ = ["FOR_CLIP", "LAPTOP_FOR_CLIP", "SMOKE_FOR_CLIP"]

Tree = dict[str, Any]

#: What does not depend on the clip: its latents start small and its inputs' embeddings large, and all is used.
CLIP: Tree = {
    "inr": {"name": "neomlp", "sigma": 20.0, "input_variance": 1.0, "latent_variance": 1e-3},
    "fitter": {"name": "gradient-descent", "batch_points": 4096},
    "reader": None,
    "data": {"train_size": None, "test_size": None},
}


def _steps(epochs: int, points: int) -> int:
    """Steps of 4,096 points, a last smaller batch of each epoch counted as one."""
    return epochs * -(-points // 4096)


def _clip(field: Mapping[str, Any], **fitter: Any) -> Tree:
    return merge(CLIP, {"inr": field, "fitter": fitter})


# ------------------------------------------------------------------ paper

SOUND = {"dim": 64, "ffn_dim": 256, "heads": 4, "layers": 3, "rff_dim": 512, "hidden": 6, "time_scale": 100.0}
PICTURE = {"dim": 256, "ffn_dim": 1024, "heads": 8, "layers": 4, "rff_dim": 128, "hidden": 10, "time_scale": 1.0}
FILM = {**PICTURE, "hidden": 4, "time_scale": 100.0}

#: 5,000, 200 and 400 epochs. Clips that the paper does not have are as those that they are like; a file of the user's
#: own is taken for film with sound.
FOR_CLIP: Tree = {
    "bach": _clip(SOUND, steps=_steps(5000, 308_207), lr=5e-3),
    "chord": _clip(SOUND, steps=_steps(5000, 16_000), lr=5e-3),
    "bikes": _clip(PICTURE, steps=_steps(200, 43_520_000), lr=5e-4),
    "zone-plate": _clip(PICTURE, steps=_steps(2000, 55_296), lr=5e-4),
    "bigbuckbunny": _clip(FILM, steps=_steps(400, 30_412_800 + 254_976), lr=5e-4),
    "beat": _clip(FILM, steps=_steps(2000, 9_216 + 8_000), lr=5e-4),
    "file": _clip(FILM, steps=_steps(400, 30_412_800 + 254_976), lr=5e-4),
    "mesh": _clip(PICTURE, steps=100_000, lr=5e-4),
}

# ------------------------------------------------------------------ laptop


def _above(profile: Mapping[str, Tree]) -> Tree:
    """The settings of each clip with those of a ``profile`` above them."""
    return {name: merge(tree, profile[name]) for name, tree in FOR_CLIP.items()}


def _laptop(steps: int, batch: int, field: Mapping[str, Any] | None = None, **data: Any) -> Tree:
    fitter = {"steps": steps, "batch_points": batch, "lr": 1e-2, "schedule": "cosine"}
    looks = {"evaluate": 20, "evaluate_points": 2**15}
    return {"inr": dict(field or {}), "fitter": {**fitter, **looks}, "data": data}


#: A film's field is as wide as a sound's; where frames are small, frequencies are as much lower. Its cuts are those of
#: the other fields, which it is compared with.
NARROW = {"dim": 64, "ffn_dim": 256, "heads": 4, "layers": 3, "hidden": 4}
COARSE = {**NARROW, "sigma": 5.0}
BACH, BUNNY = _laptop(6000, 1024), _laptop(1500, 512, COARSE, start=3.0, frames=32, shrink=8)
BACH["fitter"]["evaluate"], BUNNY["fitter"]["evaluate"] = 40, 10
LAPTOP_FOR_CLIP: Tree = _above(
    {
        "bach": BACH,
        "chord": _laptop(1500, 1024),
        "bikes": _laptop(2500, 512, COARSE, frames=32, shrink=4),
        "zone-plate": _laptop(1500, 512, COARSE),
        "bigbuckbunny": BUNNY,
        "beat": _laptop(1500, 512, COARSE),
        "file": _laptop(1500, 512, NARROW),
        "mesh": _laptop(1500, 512, COARSE),
    }
)

# ------------------------------------------------------------------ smoke


def _smoke(**data: Any) -> Tree:
    field = {"dim": 16, "ffn_dim": 32, "heads": 2, "layers": 2, "hidden": 3, "rff_dim": 32}
    fitter = {"steps": 20, "batch_points": 256, "lr": 5e-3, "evaluate": 2}
    return {"inr": field, "fitter": fitter, "data": data}


SMOKE_FOR_CLIP: Tree = _above(
    {
        **dict.fromkeys(("chord", "zone-plate", "beat", "file", "mesh"), _smoke()),
        "bach": _smoke(stop=0.2),
        "bikes": _smoke(frames=2, shrink=16),
        "bigbuckbunny": _smoke(frames=2, shrink=32),
    }
)
