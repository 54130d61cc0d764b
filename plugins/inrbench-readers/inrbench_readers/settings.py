"""Settings of the readers and controls; free of any framework."""

from __future__ import annotations

from inrbench.settings import Settings, TrainingSettings, setting

__all__ = ["MLPSettings", "SamplesSettings"]


class MLPSettings(Settings):
    """A multilayer perceptron."""

    width: int = setting(512, "neurons in a hidden layer", ge=1)
    depth: int = setting(3, "linear layers, the last one included", ge=1)
    dropout: float = setting(0.0, "share of hidden values that training drops", ge=0.0, lt=1.0)
    lr: float = setting(1e-3, "learning rate", gt=0.0)
    train: TrainingSettings = setting(TrainingSettings(), "the reader's own training, when it is not joint")


class SamplesSettings(Settings):
    """Nothing to set."""
