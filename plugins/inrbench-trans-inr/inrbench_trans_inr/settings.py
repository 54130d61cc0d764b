"""Settings of Trans-INR's fitter and of its analysis; free of any framework."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from inrbench.settings import Settings, SignalTrainingSettings, setting

__all__ = ["AttentionMasksSettings", "HypernetworkSettings", "TransINRSettings"]

#: A weight token: the field's layer and the token's number in it.
TokenName = Annotated[str, Field(pattern=r"^.+:[0-9]+$")]


class HypernetworkSettings(Settings):
    """A transformer that reads data tokens and writes the weights of a field."""

    patch: int = setting(9, "side of the patches that images are cut into, in pixels", ge=1)
    width: int = setting(768, "width of a token", ge=1)
    blocks: int = setting(6, "transformer blocks", ge=1)
    heads: int = setting(12, "attention heads", ge=1)
    head_dim: int = setting(64, "width of an attention head", ge=1)
    feedforward: int = setting(3072, "width of a block's feed-forward part", ge=1)
    groups: int = setting(64, "weight tokens G of a matrix; one with fewer columns has as many as these", ge=1)
    grouping: Literal["modulo", "blocks"] = setting(
        "modulo", "token of column j of n: j mod g (public code), or ⌊j / k⌋ with k = n / g (paper)"
    )
    biases: Literal["learned", "generated"] = setting(
        "learned", "the same for all signals (public code), or a row of the generated matrix (paper)"
    )
    column_norm: Literal["one", "initial"] = setting(
        "one", "norm of a generated column; initial: that of the field's own initialisation, on the average of a matrix"
    )
    lr: float = setting(1e-4, "learning rate", gt=0.0)
    plateau: int | None = setting(
        None,
        "divide the learning rate by 10 after so many epochs without a lower error on validation signals (paper: a "
        "plateau, no number); off if empty",
        ge=1,
    )
    test_steps: int = setting(
        0, "Adam steps on each signal's generated weights, which then are the representation", ge=0, stage="fit"
    )
    test_lr: float = setting(1e-4, "learning rate of these steps", gt=0.0, stage="fit")


class TransINRSettings(HypernetworkSettings):
    """Trans-INR on images."""

    pad: int = setting(1, "zeros put around an image before it is cut into patches", ge=0)
    embedding: Literal["after", "before"] = setting(
        "after", "where learned positions e are added to patches p: FC(p) + e (public code), or FC(p + e) (paper)"
    )
    test_points: int | None = setting(
        None, "pixels that each step at test time draws afresh; all if empty", ge=1, stage="fit"
    )
    shard: int = setting(16, "signals fitted at once; changes speed, not results", ge=1, stage="fit")
    train: SignalTrainingSettings = setting(SignalTrainingSettings(), "training of the hypernetwork")


class AttentionMasksSettings(Settings):
    """Whose attention is shown, on how many signals."""

    signals: int = setting(4, "signals, drawn from the split; all if it has fewer", ge=1)
    tokens: list[TokenName] = setting(
        ["layers.0:0", "layers.0:1", "layers.1:0", "layers.2:0"],
        "weight tokens, each as LAYER:NUMBER, a layer of the field and the token's number in it from 0",
        min_length=1,
    )
    block: int | None = setting(None, "block of the transformer, from 0; the last one if empty", ge=0)
