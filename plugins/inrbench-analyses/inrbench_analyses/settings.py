"""Settings of the analyses; free of any framework."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from inrbench.settings import Settings, setting

__all__ = ["UNQUANTISED", "PerturbationSettings", "QuantisationSettings", "StatisticsSettings"]

#: Bits of a value as it is stored.
UNQUANTISED = 32
Bits = Annotated[int, Field(ge=1, le=UNQUANTISED)]


class QuantisationSettings(Settings):
    """Which precisions are tried, on how many signals."""

    bits: list[Bits] = setting(
        [1, 2, 3, 4, 5, 6, 7, 8, UNQUANTISED], "bits of a value, 1 to 32; 32 leaves it as it is", min_length=1
    )
    signals: int = setting(100, "signals, drawn from the split; all if it has fewer", ge=1)


class PerturbationSettings(Settings):
    """How far latents are moved, on how many signals."""

    signals: int = setting(8, "signals, drawn from the split; all if it has fewer", ge=1)
    delta: float = setting(0.1, "the move δ, up and down, of which the mean absolute change is the effect", gt=0.0)
    unit: Literal["latent", "std"] = setting(
        "latent", "what δ is measured in: the latent's own values, or the training signals' standard deviations"
    )
    reach: float = setting(0.2, "latent-grid: the largest move on the curve of RMSE against δ", gt=0.0)
    steps: int = setting(4, "latent-grid: points of the curve on each side of 0, at equal distances", ge=2)
    dimensions: int | None = setting(None, "so many dimensions, or channels of a grid, drawn; all if empty", ge=1)
    rows: int = setting(256, "moved latents that the fitter is asked for at once", ge=1)


class StatisticsSettings(Settings):
    """How much of the spectrum is computed."""

    components: int = setting(64, "leading principal components", ge=1)
    passes: int = setting(4, "passes over the training signals in search of them", ge=2)
