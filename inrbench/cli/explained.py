"""Settings with what they mean: rows of key, value, what is allowed, and the model's own words."""

from __future__ import annotations

import types
import typing
from collections.abc import Iterator, Mapping
from typing import Any, Literal

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from inrbench.settings import Settings, load_target, validated
from inrbench.trees import merge

if typing.TYPE_CHECKING:
    from inrbench.plugin import Method

__all__ = ["explained", "method_settings"]

LIMITS = {"ge": ">= {}", "gt": "> {}", "le": "<= {}", "lt": "< {}", "min_length": "at least {} long"}


def explained(model: Settings, prefix: str) -> Iterator[dict[str, Any]]:
    """The leaves of a model: dotted ``key``, ``value``, ``allowed``, ``description``."""
    for name, field in type(model).model_fields.items():
        value = getattr(model, name)
        if isinstance(value, Settings):
            yield from explained(value, f"{prefix}.{name}")
        else:
            plain = value.model_dump() if isinstance(value, BaseModel) else value
            allowed, text = _allowed(field), field.description or ""
            yield {"key": f"{prefix}.{name}", "value": plain, "allowed": allowed, "description": text}


def method_settings(method: Method, profile: str) -> dict[str, Settings]:
    """The settings of a method's parts in a profile, on a data set that it knows nothing of; no framework is loaded."""
    from inrbench.registry import registry
    from inrbench.settings import DataSettings, JointSettings

    tree = merge(
        {"inr": method.inr, "fitter": method.fitter, "reader": method.reader},
        method.settings,
        method.profiles.get(profile, {}),
    )
    models: dict[str, type[Settings]] = {"data": DataSettings, "joint": JointSettings}
    found: dict[str, Settings] = {}
    for part in ("inr", "fitter", "reader", "joint", "data"):
        values: Mapping[str, Any] | None = tree.get(part)
        if part in ("inr", "fitter", "reader") and values:
            plugin = registry().find(part, values["name"])  # type: ignore[arg-type]
            models[part] = load_target(plugin.settings, f"{part} {plugin.name!r}")
        if values is not None or part == "data":
            named = ("name", "backend") if part != "data" else ()
            own = {key: value for key, value in (values or {}).items() if key not in named}
            found[part] = validated(models[part], own, part)
    return found


def _allowed(field: FieldInfo) -> str:
    """``int >= 1``, ``constant | one-cycle``, ``float > 0 or null``."""
    limits = [
        text.format(f"{getattr(entry, key):g}")
        for entry in field.metadata
        for key, text in LIMITS.items()
        if hasattr(entry, key)
    ]
    words, null = _type(field.annotation)
    return " ".join([words, " and ".join(limits)]).strip() + (" or null" if null else "")


def _type(annotation: Any) -> tuple[str, bool]:
    """A type in words, and whether None is allowed."""
    origin = typing.get_origin(annotation)
    inner = typing.get_args(annotation)
    if origin is typing.Annotated:
        return _type(inner[0])
    if origin is Literal:
        return " | ".join(map(str, inner)), False
    if origin in (typing.Union, types.UnionType):
        words = [_type(option)[0] for option in inner if option is not type(None)]
        return " | ".join(words), type(None) in inner
    if origin in (list, tuple):
        return f"{origin.__name__} of {_type(inner[0])[0]}", False
    return getattr(annotation, "__name__", str(annotation)), False
