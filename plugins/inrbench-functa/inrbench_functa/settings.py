"""Settings of the modulated SIREN and of its fitter; free of any framework."""

from __future__ import annotations

from typing import Literal

from pydantic import model_validator

from inrbench.settings import Settings, SignalTrainingSettings, setting

__all__ = ["LatentMetaSGDSettings", "ModulatedSirenSettings"]


class ModulatedSirenSettings(Settings):
    """A SIREN whose layers are shifted by linear maps of a latent."""

    width: int = setting(512, "neurons of a sine layer", ge=1)
    depth: int = setting(15, "linear layers, the output layer counted", ge=2)
    omega_0: float = setting(30.0, "ω, which multiplies W x + b + shift in every sine", gt=0.0)
    latent: Literal["global", "spatial"] = setting("global", "one vector a signal, or a vector for each of its cells")
    latent_dim: int = setting(512, "values of a global latent", ge=1)
    cells: int = setting(8, "cells along each side of a spatial latent", ge=1)
    latent_channels: int = setting(16, "values of each cell of a spatial latent", ge=1)
    interpolation: Literal["nearest", "linear"] = setting(
        "nearest", "spatial: a position takes its cell's shifts, or mixes those of the nearest cell centres"
    )
    kernel: Literal[1, 3] = setting(1, "spatial: side of the convolution from the latent to the shifts")
    coordinates: Literal["global", "cell", "binary"] | None = setting(
        None,
        "input: position in the signal, in its cell, or the binary digits of the first; if empty global for a global "
        "latent, cell for nearest, binary for linear",
    )
    digits: int | None = setting(
        None, "binary digits of a coordinate; if empty as many as tell the points of the longest side apart", ge=1
    )

    @property
    def placed(self) -> Literal["global", "cell", "binary"]:
        """The coordinates that ``coordinates`` stands for."""
        if self.coordinates is not None:
            return self.coordinates
        if self.latent == "global":
            return "global"
        return "cell" if self.interpolation == "nearest" else "binary"

    @model_validator(mode="after")
    def _cells_only_where_they_are(self) -> ModulatedSirenSettings:
        if self.latent == "global" and self.coordinates == "cell":
            raise ValueError("coordinates='cell' needs latent='spatial'; a global latent takes global or binary")
        return self


class LatentMetaSGDSettings(Settings):
    """Meta-SGD on a latent (Dupont et al., 2022, arXiv 2201.12204; Li et al., 2017, arXiv 1707.03835)."""

    steps: int = setting(3, "inner steps, from a latent of 0", ge=1)
    rate_low: float = setting(0.005, "inner rates start uniform from here ...")
    rate_high: float = setting(0.1, "... to here")
    rate_scale: float = setting(
        1.0,
        "multiplies the inner rates; a spatial latent wants more, as each cell sees a part of the mean alone",
        gt=0.0,
    )
    lr: float = setting(3e-6, "outer learning rate", gt=0.0)
    lr_rates: float | None = setting(None, "outer learning rate of the inner rates; that of the field if empty", gt=0.0)
    first_order: bool = setting(False, "leave out the inner steps' second derivatives")
    subsample: float = setting(
        1.0, "share of a signal's free points that a training step draws afresh; images take all", gt=0.0, le=1.0
    )
    shard: int = setting(16, "signals fitted at once; changes speed, not results", ge=1, stage="fit")
    train: SignalTrainingSettings = setting(SignalTrainingSettings(), "the outer loop")
