"""What a user writes as settings: dotted keys, and values in YAML, as trees that `trees.merge` takes."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Any

import yaml

from inrbench.errors import BadSetting
from inrbench.plain_yaml import NotPlain, read_plain

__all__ = ["number", "parse_assignment", "tree_of"]

#: No setting lies deeper.
DEEPEST = 16


def parse_assignment(text: str) -> dict[str, Any]:
    """``fitter.steps=4`` as the tree ``{"fitter": {"steps": 4}}``; the value is YAML, and ``1e-4`` is a number."""
    path, equals, raw = text.partition("=")
    path = path.strip()
    if not equals or not all(path.split(".")):
        raise BadSetting(f"--set takes KEY=VALUE, as in --set fitter.steps=4; given: {text!r}")
    keys = _keys(path)
    try:
        value = read_plain(raw) if raw.strip() else None
    except NotPlain as error:
        raise BadSetting(f"--set {path}: {error}") from error
    except yaml.YAMLError as error:
        raise BadSetting(f"--set {path}: {_short(raw)!r} is not a YAML value: {error}") from error
    return _nested(keys, value)


def tree_of(path: str, value: Any) -> dict[str, Any]:
    """``value`` at the dotted ``path``; in what YAML 1.1 takes for text ``1e-4`` is a number too."""
    return _nested(_keys(path), value)


def number(value: Any) -> Any:
    """``value`` with text that is a number as that number, in lists and mappings of settings too."""
    if isinstance(value, Mapping):
        return {key: number(inner) for key, inner in value.items()}
    if isinstance(value, str):
        with contextlib.suppress(ValueError):
            return float(value)
    return value


def _keys(path: str) -> list[str]:
    keys = path.split(".")
    if len(keys) > DEEPEST:
        raise BadSetting(f"no setting {_short(path)!r}: a setting has at most {DEEPEST} parts")
    if not path.isprintable():
        raise BadSetting(f"no setting {_short(path)!r}: its name holds a control character")
    return keys


def _nested(keys: list[str], value: Any) -> dict[str, Any]:
    tree: Any = number(value)
    for key in reversed(keys):
        tree = {key: tree}
    return dict(tree)


def _short(text: str) -> str:
    return text if len(text) <= 80 else f"{text[:80]}..."
