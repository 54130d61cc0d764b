"""Settings of the fitters; free of any framework."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import model_validator

from inrbench.settings import Settings, SignalTrainingSettings, setting

__all__ = ["InitialisedSettings", "MamlSettings", "ReptileSettings"]


class InitialisedSettings(Settings):
    """Where fitting starts: the learned initialisation, or one of its controls."""

    initialisation: Literal["learned", "matched", "shuffled", "standard"] = setting(
        "learned",
        "where fitting starts; matched: a random draw trained to give the learned one's outputs, shuffled: its values "
        "permuted within each array, standard: each signal's own random draw (nothing is trained)",
        stage="fit",
    )
    match_steps: int = setting(5000, "matched: steps of Adam towards the learned initialisation's outputs", stage="fit")
    match_lr: float = setting(1e-4, "matched: learning rate, which falls as a cosine", gt=0.0, stage="fit")
    train: SignalTrainingSettings = setting(SignalTrainingSettings(), "the outer loop")

    @model_validator(mode="before")
    @classmethod
    def _standard_trains_nothing(cls, values: Any) -> Any:
        """No outer steps, in the settings too: nobody takes up what another initialisation trained, or leaves less."""
        if not isinstance(values, Mapping) or values.get("initialisation") != "standard":
            return values
        train = values.get("train", {})
        given = train.model_dump() if isinstance(train, SignalTrainingSettings) else train
        return {**values, "train": {**given, "steps": 0}} if isinstance(given, Mapping) else values


class MamlSettings(InitialisedSettings):
    """MAML (Finn et al., 2017, arXiv 1703.03400) on all arrays of a field."""

    steps: int = setting(2, "inner steps of SGD on a whole signal", ge=1)
    inner_lr: float = setting(1e-2, "rate of the inner steps", gt=0.0)
    test_steps: int | None = setting(
        None, "inner steps when signals are fitted, where not those of training", ge=0, stage="fit"
    )
    test_lr: float | None = setting(
        None, "their rate when signals are fitted, where not that of training", gt=0.0, stage="fit"
    )
    second_order: bool = setting(True, "differentiate the inner gradients too; false: first-order MAML")
    lr: float = setting(1e-5, "outer learning rate", gt=0.0)
    shard: int = setting(16, "signals fitted at once; changes speed, not results", ge=1, stage="fit")


class ReptileSettings(InitialisedSettings):
    """Reptile (Nichol et al., 2018, arXiv 1803.02999) on all arrays of a field that is rendered along rays."""

    views: int = setting(25, "views of an object that an outer step sees, drawn from all that it has", ge=1)
    steps: int = setting(32, "inner steps of SGD", ge=1)
    inner_lr: float = setting(0.5, "rate of the inner steps", gt=0.0)
    rays: int = setting(128, "rays that an inner step draws from the views", ge=1)
    test_steps: int = setting(1000, "steps of SGD when objects are fitted", ge=0, stage="fit")
    test_lr: float = setting(0.5, "their rate", gt=0.0, stage="fit")
    test_rays: int = setting(64, "rays that such a step draws from the observed views", ge=1, stage="fit")
    lr: float = setting(5e-4, "outer learning rate", gt=0.0)
