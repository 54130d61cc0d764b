"""Settings of SIREN, SPDER and RFFNet on clips of sound and film: those of NeoMLP's paper, a laptop's and a test's.

Beside them what a laptop and a test need where signals are occupancies.

Kofinas et al., 2024 (arXiv 2412.08731), Table 6 and appendix: five linear layers, of width 256 for sound and 1,024 for
film; a step sees the whole sound, or 262,144 points of a film; Adam at 5e-5 or 1e-4. All methods of a clip had the same
hours, which leaves the steps unstated: here they are so many that they take about as long as NeoMLP's epochs, of which
a point costs some 14 (sound) or 16 times (film) what one costs these fields.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from inrbench.trees import merge

__all__ = [
    "CLIPS",
    "LAPTOP_CLIPS",
    "LAPTOP_SHAPES",
    "RFFNET_CLIPS",
    "RFFNET_LAPTOP_CLIPS",
    "SMOKE_CLIPS",
    "SMOKE_SHAPES",
    "SPDER_LAPTOP_CLIPS",
]

Tree = dict[str, Any]
BATCH = 262_144


def _clip(width: int, steps: int, lr: float, batch: int | None, time_scale: float = 1.0) -> Tree:
    return {
        "inr": {"width": width, "depth": 3, "time_scale": time_scale},
        "fitter": {"steps": steps, "lr": lr, "batch_points": batch},
        "data": {"test_size": None},
    }


def _sound(steps: int) -> Tree:
    return _clip(256, steps, 5e-5, None, 100.0)


def _film(epochs: int, points: int, time_scale: float = 1.0) -> Tree:
    return _clip(1024, epochs * -(-points // BATCH), 1e-4, BATCH, time_scale)


# ------------------------------------------------------------------ paper

#: Clips that the paper does not have are as those that they are like; a file of the user's own is taken for film with
#: sound, whose time is scaled as that of sound.
CLIPS: Tree = {
    "bach": _sound(14 * 5000),
    "chord": _sound(14 * 5000),
    "bikes": _film(16 * 200, 43_520_000),
    "zone-plate": _film(16 * 2000, 55_296),
    "bigbuckbunny": _film(16 * 400, 30_412_800 + 254_976, 100.0),
    "beat": _film(16 * 2000, 9_216 + 8_000, 100.0),
    "file": _film(16 * 400, 30_412_800 + 254_976, 100.0),
}

#: Fewer random features for film than for sound, as NeoMLP's own fields have.
RFFNET_CLIPS: Tree = {
    name: merge(clip, {"inr": {"rff_dim": 512 if name in ("bach", "chord") else 128}}) for name, clip in CLIPS.items()
}

# ------------------------------------------------------------------ laptop

#: Small batches and larger steps that shrink; films are cut and made smaller, and their fields narrower.
LAPTOP: Tree = {
    "inr": {"width": 256},
    "fitter": {"batch_points": 4096, "lr": 3e-4, "schedule": "cosine", "evaluate": 20, "evaluate_points": 2**15},
}
LAPTOP_STEPS = {
    "bach": 10_000,
    "chord": 1500,
    "bikes": 2500,
    "zone-plate": 1500,
    "bigbuckbunny": 2500,
    "beat": 1500,
    "file": 2500,
}
CUTS: Mapping[str, Tree] = {
    "bikes": {"frames": 32, "shrink": 4},
    "bigbuckbunny": {"start": 3.0, "frames": 32, "shrink": 8},
}
LAPTOP_CLIPS: Tree = {
    name: merge(LAPTOP, {"fitter": {"steps": steps}, "data": {"test_size": None, **CUTS.get(name, {})}})
    for name, steps in LAPTOP_STEPS.items()
}
LAPTOP_CLIPS["bach"] = merge(LAPTOP_CLIPS["bach"], {"fitter": {"evaluate": 40}})
#: Time that spans ±100 makes a SPDER start at arguments of some hundreds, and learn late; so do large steps.
SPDER_SOUND_LAPTOP: Tree = {"inr": {"time_scale": 10.0}, "fitter": {"lr": 5e-5}}
SPDER_LAPTOP: Mapping[str, Tree] = {
    "bach": merge(SPDER_SOUND_LAPTOP, {"fitter": {"steps": 8000}}),
    "chord": SPDER_SOUND_LAPTOP,
    **{name: {"inr": {"time_scale": 10.0}} for name in ("bigbuckbunny", "beat", "file")},
}
SPDER_LAPTOP_CLIPS: Tree = {
    name: merge(clip, {"fitter": {"lr": 1e-4}}, SPDER_LAPTOP.get(name, {})) for name, clip in LAPTOP_CLIPS.items()
}
#: Of frames that are small, frequencies that are as much lower.
RFFNET_LAPTOP: Mapping[str, Tree] = {
    "bach": {"fitter": {"steps": 8000}},
    **{name: {"inr": {"sigma": 2.0}} for name in ("bikes", "zone-plate")},
    **{name: {"inr": {"sigma": 1.0}} for name in ("bigbuckbunny", "beat")},
}
RFFNET_LAPTOP_CLIPS: Tree = {
    name: merge(clip, {"fitter": {"lr": 3e-3}}, RFFNET_LAPTOP.get(name, {})) for name, clip in LAPTOP_CLIPS.items()
}

# ------------------------------------------------------------------ smoke

SMOKE_CUTS: Mapping[str, Tree] = {
    "bach": {"stop": 0.2},
    "bikes": {"frames": 2, "shrink": 16},
    "bigbuckbunny": {"frames": 2, "shrink": 32},
}
SMOKE_CLIPS: Tree = {
    name: {
        "inr": {"width": 16, "depth": 1},
        "fitter": {"steps": 20, "batch_points": 256, "lr": 1e-3, "evaluate": 2},
        "data": {"test_size": None, **SMOKE_CUTS.get(name, {})},
    }
    for name in CLIPS
}

# ------------------------------------------------------------------ occupancies

#: Their points are too many for every step to see all. Meshes of the user's own are often few, and all are fitted.
SMOKE_SHAPES: Tree = {"mesh": {"data": {"test_size": None}}}
LAPTOP_SHAPES: Tree = {
    **{name: {"fitter": {"batch_points": 1024}} for name in ("solids", "shapenet10")},
    "mesh": {"fitter": {"batch_points": 4096}, **SMOKE_SHAPES["mesh"]},
}
