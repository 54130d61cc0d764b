"""Settings of MWT's fitter and reader; free of any framework."""

from __future__ import annotations

from typing import Literal

from pydantic import model_validator

from inrbench.settings import Settings, SignalTrainingSettings, TrainingSettings, setting

__all__ = ["MetaSGDSettings", "WeightTransformerSettings"]


class MetaSGDSettings(Settings):
    """Meta-SGD (Li et al., 2017, arXiv 1707.03835) on a field's sine layers."""

    steps: int = setting(6, "inner steps k", ge=1)
    outer_only: str = setting("output.", "arrays whose names begin so are not adapted, but learned in the outer loop")
    rates: Literal["per-step", "shared"] = setting("per-step", "learned inner rates: a row for each step, or one row")
    subsample: float = setting(
        1.0, "share s of the points that each inner step and the outer loss draw afresh; 1: all", gt=0.0, le=1.0
    )
    test_steps: int | None = setting(
        None, "inner steps when signals are fitted, where not those of training; needs shared rates", ge=1, stage="fit"
    )
    rate_low: float = setting(0.1, "inner rates start uniform from here ...")
    rate_high: float = setting(1.0, "... to here")
    lr: float = setting(1e-4, "outer learning rate of the initialisation, the output layer and its scale", gt=0.0)
    lr_rates: float = setting(1e-2, "outer learning rate of the inner rates", gt=0.0)
    recompute: bool = setting(
        False, "keep nothing of an inner step for its second-order gradient, but compute it again: less memory"
    )
    compile: bool = setting(
        False, "compile training's largest parts by torch.compile: half a minute first, then faster steps; needs g++"
    )
    fit_precision: Literal["float32", "bfloat16"] = setting(
        "float32", "of large products when signals are fitted", stage="fit"
    )
    shard: int = setting(16, "signals fitted at once; changes speed, not results", ge=1, stage="fit")
    train: SignalTrainingSettings = setting(SignalTrainingSettings(), "the outer loop")

    @model_validator(mode="after")
    def _rates_for_every_step(self) -> MetaSGDSettings:
        if self.test_steps is not None and self.test_steps != self.steps and self.rates == "per-step":
            raise ValueError(
                f"test_steps={self.test_steps} with steps={self.steps} needs one row of rates for all steps: "
                "fitter.rates=shared"
            )
        return self


class WeightTransformerSettings(Settings):
    """A transformer over the neurons of a field's hidden layers."""

    blocks: int = setting(10, "transformer blocks", ge=1)
    head_dim: int = setting(64, "width of an attention head; a field narrower than that has one head", ge=1)
    token_scale: float = setting(500.0, "λ in λ (δ + β), the tokens' scale", gt=0.0)
    token_norm: Literal["scale", "layernorm"] = setting(
        "scale", "λ (δ + β), or one LayerNorm without parameters over all tokens of δ + β in place of λ"
    )
    layer_scale: float = setting(0.1, "start of the learned scale of each residual branch")
    lr: float = setting(1e-4, "learning rate", gt=0.0)
    train: TrainingSettings = setting(TrainingSettings(), "the reader's own training, when it is not joint")
