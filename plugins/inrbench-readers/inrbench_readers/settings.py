"""Settings of the readers and controls; free of any framework."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import model_validator

from inrbench.settings import Settings, TrainingSettings, setting

__all__ = [
    "KNNSettings",
    "LatentMLPSettings",
    "LatentTransformerSettings",
    "LinearProbeSettings",
    "MLPSettings",
    "NFNSettings",
    "SamplesSettings",
]


class MLPSettings(Settings):
    """A multilayer perceptron."""

    width: int = setting(512, "neurons in a hidden layer", ge=1)
    depth: int = setting(3, "linear layers, the last one included", ge=1)
    dropout: float = setting(0.0, "share of hidden values that training drops", ge=0.0, lt=1.0)
    noise: float = setting(0.0, "deviation of the normal noise that training adds to the standardised values", ge=0.0)
    mixup: float | None = setting(
        None, "Mixup: α of Beta(α, α), from which each training batch's share is drawn; none if empty", gt=0.0
    )
    lr: float = setting(1e-3, "learning rate", gt=0.0)
    train: TrainingSettings = setting(TrainingSettings(), "the reader's own training, when it is not joint")


class NormalisedSettings(Settings):
    """How functa's and spatial functa's readers scale what they read, and what they learn from it."""

    normalisation: float | None = setting(
        None, "the paper's normalisation scale; if empty each value is standardised over the training rows", gt=0.0
    )
    normalisation_mode: Literal["divide", "multiply"] = setting(
        "divide", "by the normalisation scale; the papers do not say which"
    )
    label_smoothing: float = setting(0.1, "share of the target that is spread over all classes", ge=0.0, lt=1.0)
    lr: float = setting(1e-3, "learning rate", gt=0.0)
    train: TrainingSettings = setting(
        TrainingSettings(weight_decay=0.1), "the reader's own training, when it is not joint"
    )


class LatentMLPSettings(NormalisedSettings):
    """functa's multilayer perceptron with residual connections."""

    width: int = setting(1024, "neurons in a hidden layer", ge=1)
    depth: int = setting(3, "residual layers between the first and the last map", ge=0)
    dropout: float = setting(0.2, "share of each residual layer's values that training drops", ge=0.0, lt=1.0)


class LatentTransformerSettings(NormalisedSettings):
    """The transformers of functa and spatial functa."""

    width: int = setting(128, "values of a token within the transformer", ge=1)
    feedforward: int | None = setting(None, "neurons of a block's MLP; twice the width if empty", ge=1)
    blocks: int = setting(12, "of attention and MLP", ge=1)
    heads: int = setting(16, "of attention", ge=1)
    head_dim: int | None = setting(None, "values of a head; the width over the heads if empty", ge=1)
    dropout: float = setting(0.1, "share of the pooled values that training drops, before the logits", ge=0.0, lt=1.0)
    pool: Literal["mean", "class-token"] = setting(
        "mean", "what the logits are read from: the mean of all tokens, or a learned token put in front"
    )
    token_size: int = setting(16, "latent: consecutive values that are a token; they divide the latent", ge=1)
    patch: int = setting(4, "samples: side of the patch that is a token, in pixels; it divides the image's", ge=1)

    @model_validator(mode="after")
    def _heads_divide_the_width(self) -> Self:
        if self.head_dim is None and self.width % self.heads:
            allowed = ", ".join(str(n) for n in range(1, self.width + 1) if self.width % n == 0)
            raise ValueError(
                f"heads={self.heads} do not divide width={self.width}; allowed are {allowed}, or a head_dim"
            )
        return self


class LinearProbeSettings(Settings):
    """Multinomial logistic regression."""

    c: float | None = setting(
        None, "inverse weight of the squared coefficients (C); if empty chosen on validation, 1 without one", gt=0.0
    )
    standardise: bool = setting(True, "each value by its mean and spread over the training rows")
    iterations: int = setting(1000, "of L-BFGS, at most", ge=1)
    tolerance: float = setting(1e-4, "largest entry of the gradient of the mean loss at which it ends", gt=0.0)


class KNNSettings(Settings):
    """The k nearest training signals."""

    k: int | None = setting(None, "neighbours that vote; if empty chosen on validation, 5 without one", ge=1)
    metric: Literal["euclidean", "cosine"] = setting("euclidean", "how far two representations are apart")
    standardise: bool = setting(True, "each value by its mean and spread over the training rows")


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
