"""Typed settings: validated before anything heavy starts, overridden in a fixed order, each with its stage."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any, Literal, Self, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import PydanticUndefined

from inrbench.errors import BadSetting, BrokenPlugin, nearest

__all__ = [
    "Augmentation",
    "Copies",
    "DataSettings",
    "JointSettings",
    "Schedule",
    "Settings",
    "SignalTrainingSettings",
    "Stage",
    "TrainingSettings",
    "load_target",
    "setting",
    "stage_of",
    "validated",
]

Stage = Literal["train", "fit", "read", "score"]
#: How a learning rate goes over the steps; `inrbench.schedules` has the formulas.
Schedule = Literal["constant", "one-cycle", "cosine", "inverse-sqrt", "exponential", "step"]


class Settings(BaseModel):
    """Base of all settings: unknown keys and wrong types are refused, values never change after validation."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False, protected_namespaces=())


def setting(default: Any = PydanticUndefined, doc: str = "", *, stage: Stage | None = None, **limits: Any) -> Any:
    """A field of a Settings model: its default, what it means, and from which stage on it matters.

    Without ``stage`` it is the first stage of the part that it belongs to. ``limits`` are pydantic's (ge, le, gt...).
    """
    return Field(default, description=doc, json_schema_extra={"stage": stage} if stage else None, **limits)


M = TypeVar("M", bound=Settings)


class Copies(Settings):
    """Fixed augmented copies of the training signals, for a reader that trains on its own: rows beside the signals'."""

    count: int = setting(1, "rows of a training signal: the signal itself and, beyond 1, augmented copies", ge=1)
    pad: int = setting(0, "pad a copy by so many values on each side, then cut the original size out anywhere", ge=0)
    pad_mode: Literal["zero", "reflect"] = setting("zero", "what a copy is padded with")
    flip: bool = setting(False, "images: mirror a copy left and right with probability 1/2")

    @model_validator(mode="after")
    def _copies_differ(self) -> Self:
        if self.count > 1 and not self.pad and not self.flip:
            raise ValueError(f"with count={self.count} copies need pad or flip; without them they are all the same")
        return self


class DataSettings(Settings):
    """Which signals a cell uses. A data set's own settings (a crop, a resolution) subclass this."""

    train_size: int | None = setting(None, "training signals, drawn once for all seeds; all if empty", ge=1)
    test_size: int | None = setting(None, "scored signals, drawn once for all seeds; all if empty", ge=1, stage="score")
    validation: float = setting(0.0, "share of the training split that is held out of training", ge=0.0, lt=1.0)
    scored: Literal["test", "validation"] = setting("test", "the split that metrics are computed on", stage="score")
    labels: Literal["given", "shuffled"] = setting(
        "given", "labels that training sees; shuffled: a control that permutes them"
    )
    copies: Copies = setting(Copies(), "augmented copies of the training signals, for a reader", stage="read")


class Augmentation(Settings):
    """Augmented copies of the training signals, drawn anew at each step; images in the order of the settings."""

    window: bool = setting(
        False, "images: first cut the signal's size out of its original anywhere, where the data set has larger ones"
    )
    pad: int = setting(0, "images: reflect-pad by so many pixels before the crop", ge=0)
    rotate: float = setting(0.0, "images: turn about the centre by up to so many degrees either way", ge=0.0, le=180.0)
    crop: Literal["random", "centre"] = setting("random", "images: where the original size is cut out of the padded")
    resized_crop: float = setting(
        1.0, "images: then cut out so large a share of the area, or up to all of it, and resize that", gt=0.0, le=1.0
    )
    flip: bool = setting(False, "images: mirror left and right with probability 1/2")
    scale: float = setting(0.0, "shapes: scale by 1 plus or minus up to so much", ge=0.0, lt=1.0)
    jitter: float = setting(0.0, "shapes: move each surface point by a normal step of this deviation", ge=0.0)


class TrainingSettings(Settings):
    """A training loop; the two engines (backends/torch, backends/jax) read the same settings."""

    epochs: float = setting(10.0, "passes over the training signals; ignored where `steps` is given", gt=0.0)
    steps: int | None = setting(None, "optimiser steps", ge=0)
    batch_size: int = setting(16, "signals in a step", ge=1)
    micro_batch: int | None = setting(
        None, "signals whose gradients are computed at once; what fits a CPU's cache if empty, all on a GPU", ge=1
    )
    precision: Literal["float32", "bfloat16"] = setting(
        "float32", "of large products; bfloat16 is faster and checked against float32 on the first batch"
    )
    weight_decay: float = setting(0.0, "decoupled weight decay (AdamW)", ge=0.0)
    clip_norm: float | None = setting(None, "largest gradient norm of each parameter group", gt=0.0)
    ema: float | None = setting(
        None, "decay of the average of the parameters that is used after training; none if empty", gt=0.0, lt=1.0
    )
    schedule: Schedule = setting(
        "constant",
        "learning rate over the steps; cosine, inverse-sqrt rise linearly from 0 at first; exponential falls to 1/10; "
        "step is 1/10 for the last 20 %",
    )
    warmup: float = setting(0.05, "share of the steps before a schedule's peak", gt=0.0, lt=1.0)

    def num_steps(self, num_signals: int) -> int:
        """Optimiser steps for ``num_signals`` training signals; an epoch's last, smaller batch is left out."""
        if self.steps is not None:
            return self.steps
        return max(1, round(self.epochs * max(1, num_signals // self.batch_size)))

    def presented(self, num_signals: int) -> float:
        """How many signals the loop sees, one after the other, of ``num_signals``."""
        return float(self.num_steps(num_signals) * self.batch_size)


class SignalTrainingSettings(TrainingSettings):
    """A training loop over signals, not over representations."""

    augmentation: Augmentation = setting(Augmentation(), "augmented copies of the training signals")


class JointSettings(Settings):
    """Fitter and reader train together."""

    share: float = setting(0.01, "share of the reader's gradient that reaches the fitter; 0: none", ge=0.0)


def load_target(target: str, owner: str) -> Any:
    """The object that ``"module:Name"`` names. Raises BrokenPlugin with ``owner`` where that fails."""
    module_name, _, name = target.partition(":")
    try:
        return getattr(importlib.import_module(module_name), name)
    except Exception as error:
        raise BrokenPlugin(f"{owner}: cannot load {target!r}: {type(error).__name__}: {error}") from error


def validated(model: type[M], values: Mapping[str, Any], where: str) -> M:
    """``values`` as a ``model``. Raises BadSetting with one line that names the key, the value and what is allowed."""
    try:
        return model.model_validate(dict(values))
    except ValidationError as error:
        first = min(error.errors(), key=lambda one: one["type"] != "extra_forbidden")  # a typo explains what is missing
        path = [str(part) for part in first["loc"]]
        key = ".".join([where, *path])
        if first["type"] == "extra_forbidden":
            known = [".".join([where, *path[:-1], name]) for name in _fields_at(model, path[:-1])]
            raise BadSetting(f"no setting {key!r}; {nearest(key, known)}") from None
        if first["type"] == "missing":
            hint = "" if "." in where else f", as --set {key}=VALUE"  # a sweep's file has a dot, a part has none
            raise BadSetting(f"setting {key!r} has no default and must be given{hint}") from None
        if isinstance(first["input"], Mapping) and first["type"] == "value_error":  # settings that do not go together
            raise BadSetting(f"settings of {key!r}: {first['msg'].removeprefix('Value error, ')}") from None
        message = first["msg"][0].lower() + first["msg"][1:]
        raise BadSetting(f"setting {key}={first['input']!r}: {message}") from None


def _fields_at(model: type[BaseModel], path: list[str]) -> list[str]:
    for name in path:
        if name.isdigit():
            continue  # a place in a list of models
        field = model.model_fields.get(name)
        inner = _model_in(field.annotation) if field else None
        if inner is None:
            return []
        model = inner
    return list(model.model_fields)


def _model_in(annotation: Any) -> type[BaseModel] | None:
    """The model in ``Model``, ``Model | None`` or ``list[Model]``; None where there is none."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for inner in get_args(annotation) if (found := _model_in(inner))), None)


def stage_of(model: type[BaseModel], path: list[str], first: Stage) -> Stage:
    """From which stage on the setting at ``path`` matters; ``first`` where the model does not say."""
    stage = first
    current: type[BaseModel] | None = model
    for name in path:
        if current is None:
            break
        field = current.model_fields.get(name)
        if field is None:
            break
        extra = field.json_schema_extra
        if isinstance(extra, dict) and isinstance(extra.get("stage"), str):
            stage = extra["stage"]  # type: ignore[assignment]
        current = _model_in(field.annotation)
    return stage
