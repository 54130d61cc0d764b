"""Settings of the fields and of plain gradient descent; free of any framework."""

from __future__ import annotations

from typing import Literal

from inrbench.settings import Schedule, Settings, setting

__all__ = [
    "GradientDescentSettings",
    "NerfSettings",
    "ReluFourierSettings",
    "RffNetSettings",
    "SirenSettings",
    "SpderSettings",
]

TIME_SCALE = "multiplies the first coordinate, as it lies in the field; 100 for sound, whose time then spans ±100"
VALUES = (
    "the output's range: the data's own unit ([0, 1] for images), the same with 0.5 added to the output (centred), "
    "or [-1, 1]"
)


class SirenSettings(Settings):
    """A SIREN of ``depth`` + 2 linear layers: coord_dim → width, ``depth`` times width → width, width → channels."""

    width: int = setting(256, "neurons in a sine layer", ge=1)
    depth: int = setting(3, "sine layers width → width behind the first", ge=0)
    omega_0: float = setting(30.0, "multiplies the first layer's W x + b", gt=0.0)
    omega_hidden: float = setting(
        30.0, "multiplies the other sine layers' W x + b; their W is drawn ±√(6/in) / ω", gt=0.0
    )
    bias_init: Literal["zero", "default", "all-zero"] = setting(
        "default", "biases of the sine layers, and with all-zero of the output layer too; default: ±1/√in"
    )
    output_init: Literal["siren", "default"] = setting("siren", "output layer; siren: ±√(6/in) / ω, default: ±1/√in")
    output_scale: float | None = setting(None, "start of a learned scale per channel behind the output; none if empty")
    coordinates: Literal["centres", "corners", "unit-corners"] = setting(
        "centres",
        "where cells lie in [-1, 1]; corners: the outermost cells lie at the ends, as linspace(-1, 1); "
        "unit-corners: cell i of n lies at i / n, in [0, 1)",
    )
    time_scale: float = setting(1.0, TIME_SCALE, gt=0.0)
    values: Literal["unit", "centred", "symmetric"] = setting("symmetric", VALUES)


class SpderSettings(SirenSettings):
    """A SIREN whose sines are damped: layers, initialisation and coordinates as a SIREN's, ω = 30 as in the code."""

    damping: Literal["sqrt", "arctan"] = setting(
        "sqrt", "what multiplies the sine of x: √|x|, or arctan x, as the public code's for sound"
    )


class RffNetSettings(Settings):
    """``depth`` + 2 linear layers: features → width, ``depth`` times width → width, width → channels."""

    width: int = setting(256, "neurons in a ReLU layer", ge=1)
    depth: int = setting(3, "ReLU layers width → width behind the first", ge=0)
    rff_dim: int = setting(512, "random Fourier features of a point, cosines and sines together", ge=2, multiple_of=2)
    sigma: float = setting(20.0, "standard deviation of the frequencies, in turns per unit of a coordinate", gt=0.0)
    feature_seed: int = setting(0, "seed of the frequencies, which all signals share and none learns", ge=0, lt=2**32)
    time_scale: float = setting(1.0, TIME_SCALE, gt=0.0)
    values: Literal["unit", "centred", "symmetric"] = setting("symmetric", VALUES)


class ReluFourierSettings(Settings):
    """``depth`` + 2 linear layers: features → width, ``depth`` times width → width, width → channels."""

    width: int = setting(256, "neurons in a ReLU layer", ge=1)
    depth: int = setting(3, "ReLU layers width → width behind the first", ge=0)
    frequencies: int = setting(64, "frequencies of each coordinate, each with a cosine and a sine", ge=1)
    highest: float = setting(1024.0, "the highest frequency; they are spaced from 1 to it in equal ratios", ge=1.0)
    output_offset: float = setting(0.5, "added to the output layer's values, which are in the data's own unit")


class NerfSettings(Settings):
    """``depth`` + 2 linear layers: features → width, ``depth`` times width → width, width → colour and density."""

    width: int = setting(256, "neurons in a ReLU layer", ge=1)
    depth: int = setting(4, "ReLU layers width → width behind the first", ge=0)
    frequencies: int = setting(20, "frequencies of each coordinate, each with a cosine and a sine", ge=1)
    highest: float = setting(256.0, "the highest frequency; they are spaced from 1 to it in equal ratios", ge=1.0)
    samples: int = setting(128, "samples along a ray", ge=2)
    directions: bool = setting(
        False, "colour and density depend on the ray's unit direction too, encoded as the position is"
    )
    density: Literal["relu", "softplus"] = setting("relu", "from the last layer's fourth value to the density")
    density_bias: float = setting(
        0.0, "added to the density's bias as it is drawn; a ReLU that starts below 0 everywhere never learns"
    )


class GradientDescentSettings(Settings):
    """Every signal on its own."""

    steps: int = setting(1000, "optimiser steps on each signal", ge=0)
    lr: float = setting(1e-4, "learning rate", gt=0.0)
    optimiser: Literal["adam", "sgd"] = setting("adam", "Adam, or plain SGD on the mean squared error")
    initialisation: Literal["independent", "shared"] = setting(
        "independent", "each signal from a draw of its own, keyed by its id, or all from the same one"
    )
    shard: int = setting(16, "signals fitted at once; changes speed, not results", ge=1)
    batch_points: int | None = setting(
        None,
        "points of a signal, of all its parts together, or rays that a step sees, drawn anew at each; all if empty, "
        "which rays cannot be",
        ge=1,
    )
    schedule: Schedule = setting("constant", "learning rate over the steps, as in training loops")
    warmup: float = setting(0.05, "share of the steps before a schedule's peak", gt=0.0, lt=1.0)
    evaluate: int = setting(
        0,
        "how often PSNR is computed on the way and logged against steps and seconds, the last time at the end; changes "
        "neither results nor costs",
        ge=0,
        stage="score",
    )
    evaluate_points: int = setting(
        2**19, "of a larger part of a signal so many fixed points are looked at, for an estimate", ge=1, stage="score"
    )
    jitter: bool = setting(True, "rays: move the samples at random within their bins, anew at each step")
    foreground_steps: int = setting(
        0, "rays: so many steps at first take half of their rays from pixels that differ from the background", ge=0
    )
