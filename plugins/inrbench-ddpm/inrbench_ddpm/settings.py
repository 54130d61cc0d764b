"""Settings of the readers, with the papers' as defaults; free of any framework."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field

from inrbench.representations import Layout
from inrbench.settings import Settings, TrainingSettings, setting
from inrbench_ddpm.presets import preset

__all__ = ["CNNSettings", "DDPMSettings", "InceptionSettings"]

Positive = Annotated[int, Field(ge=1)]


class DDPMSettings(Settings):
    """Denoising diffusion on representations; the defaults are spatial functa's for 8x8x16, class-conditional."""

    network: Literal["auto", "residual-mlp", "unet"] = setting("auto", "auto: unet for latent-grid, else residual-mlp")
    conditional: bool = setting(True, "the network is told the class")
    normalisation: Literal["auto", "scalar", "channel", "element"] = setting(
        "auto", "what shares a mean and a spread; auto: a channel for latent-grid, else an element"
    )
    scale: float = setting(2.0, "γ, by which normalised values are divided", gt=0.0)
    diffusion_steps: int = setting(1000, "T, steps of the diffusion", ge=1)
    schedule: Literal["cosine", "linear"] = setting("cosine", "of the noise")
    time_step_ratio: float = setting(
        3.0, "r: t is drawn with p(t) ∝ r - (r - 1) t / T; 1: uniform. The paper has 3 and more as best", gt=0.0
    )
    label_dropout: float = setting(0.2, "share of the labels that training withholds", ge=0.0, lt=1.0)
    skip: bool = setting(
        False,
        "add the best linear guess of the noise, √(1 - ᾱ) z / (ᾱ / γ² + 1 - ᾱ), to the network's answer; steadier "
        "where grids are small, as group norm forgets how large a row is",
    )
    width: int = setting(4096, "residual-mlp: neurons in a layer", ge=1)
    blocks: int = setting(2, "residual-mlp: blocks", ge=1)
    channels: int = setting(320, "unet: channels, before the multiplier", ge=1)
    channel_multiplier: list[Positive] = setting([2, 2, 2], "unet: of the channels, at each resolution", min_length=1)
    res_blocks: int = setting(3, "unet: residual blocks at a resolution", ge=1)
    attention_res: list[Positive] = setting([8], "unet: sides of the grid at which attention stands")
    dropout: float = setting(0.1, "share of hidden values that training drops, once in each block", ge=0.0, lt=1.0)
    lr: float = setting(1e-4, "learning rate", gt=0.0)
    train: TrainingSettings = setting(TrainingSettings(steps=500_000, batch_size=256), "the training loop")
    guidance: float = setting(
        5.0, "g of ε_u + g (ε_c - ε_u), with and without the class; 1: none, 0: without the class", stage="score"
    )
    sample_steps: int | None = setting(
        None, "steps of the sampler, evenly among the T; all if empty", ge=1, stage="score"
    )
    variance: Literal["posterior", "beta"] = setting("posterior", "of a sampler's step: β̃ or β", stage="score")
    clip: float | None = setting(
        None, "largest normalised value that a predicted representation may have; any if empty", gt=0.0, stage="score"
    )

    @classmethod
    def preset(cls, profile: str, layout: Layout, given: Mapping[str, Any]) -> Mapping[str, Any]:
        """The settings of a profile for representations of ``layout``; ``given`` are those that the user chose."""
        return preset(profile, layout, given)


class CNNSettings(Settings):
    """A small convolutional classifier of pixels."""

    channels: int = setting(16, "channels of the first convolution; doubled with each halving of the sides", ge=1)
    features: int = setting(64, "neurons of the last hidden layer", ge=1)
    lr: float = setting(3e-3, "learning rate", gt=0.0)
    train: TrainingSettings = setting(
        TrainingSettings(steps=600, batch_size=64, schedule="one-cycle", weight_decay=1e-2, clip_norm=1.0),
        "the training loop",
    )

    @classmethod
    def preset(cls, profile: str, layout: Layout, given: Mapping[str, Any]) -> Mapping[str, Any]:
        """Fewer steps at `smoke`."""
        return {"train": {"steps": 30, "batch_size": 32}} if profile == "smoke" else {}


class InceptionSettings(Settings):
    """Inception-v3 with weights from a file."""

    file: str = setting(doc="safetensors file of the weights, with torchvision's names")
