"""Settings of the readers and controls; free of any framework."""

from __future__ import annotations

from inrbench.settings import Settings, TrainingSettings, setting

__all__ = ["MLPSettings", "NFNSettings", "SamplesSettings"]


class MLPSettings(Settings):
    """A multilayer perceptron."""

    width: int = setting(512, "neurons in a hidden layer", ge=1)
    depth: int = setting(3, "linear layers, the last one included", ge=1)
    dropout: float = setting(0.0, "share of hidden values that training drops", ge=0.0, lt=1.0)
    lr: float = setting(1e-3, "learning rate", gt=0.0)
    train: TrainingSettings = setting(TrainingSettings(), "the reader's own training, when it is not joint")


class NFNSettings(Settings):
    """A neural functional network on the weights of a chain of linear layers."""

    channels: int = setting(64, "channels of an NF-layer", ge=1)
    layers: int = setting(3, "NF-layers", ge=1)
    width: int | None = setting(None, "neurons in a hidden layer behind the pooling; the field's width if empty", ge=1)
    weight_scale: float = setting(500.0, "λ, which multiplies the weights; 500 suits weights relative to θ", gt=0.0)
    hidden_only: bool = setting(
        True, "zeros in place of the field's first and output layer; else all is read that the rows have"
    )
    lr: float = setting(1e-4, "learning rate", gt=0.0)
    train: TrainingSettings = setting(TrainingSettings(), "the reader's own training, when it is not joint")


class SamplesSettings(Settings):
    """Nothing to set."""
