"""What picks cells and rows: method, dataset, label, seed and dotted settings, each with what it may be."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from inrbench.assignments import tree_of
from inrbench.errors import BadSetting, nearest
from inrbench.trees import flatten, merge

__all__ = ["check_keys", "picked", "picks", "unmarked", "values_of"]

PARTS = ("inr", "fitter", "reader")
NAMES = ("method", "dataset", "label")


def values_of(method: str, dataset: str, settings: Mapping[str, Any], label: str = "") -> dict[str, Any]:
    """What a cell or a record can be picked by, but for its seed; ``settings`` are its tree."""
    values = dict(flatten(settings))
    for part in PARTS:
        tree = settings.get(part)
        values[part] = tree.get("name") if isinstance(tree, Mapping) else tree
    return values | {"method": method, "dataset": unmarked(dataset), "label": label}


def unmarked(dataset: str) -> str:
    """The data set as it is asked for: without the mark of data that is not official."""
    return re.sub(r"~[0-9a-f]{8}$", "", dataset)


def picks(wanted: Mapping[str, Any]) -> dict[str, Any]:
    """``wanted`` by dotted key: ``{reader: mlp, fitter: {steps: 3}}`` has ``reader.name`` and ``fitter.steps``."""
    settings = merge(*(tree_of(key, value) for key, value in wanted.items() if key not in NAMES))
    return {key: wanted[key] for key in NAMES if key in wanted} | dict(flatten(settings))


def picked(wanted: Mapping[str, Any], values: Mapping[str, Any]) -> bool:
    """Whether ``values`` have all of ``wanted`` (`picks`), of a list one."""
    return all(key in values and _is(values[key], value) for key, value in wanted.items())


def check_keys(wanted: Mapping[str, Any], known: Iterable[str]) -> None:
    """Raises BadSetting for the first key of ``wanted`` that nothing has."""
    names = set(known)
    for key in wanted:
        if key not in names:
            raise BadSetting(f"no cell has {key!r}; {nearest(key, names)}")


def _is(value: Any, wanted: Any) -> bool:
    if isinstance(wanted, list) and not isinstance(value, list | tuple):
        return any(_is(value, one) for one in wanted)
    if isinstance(value, tuple):
        value = list(value)
    return bool(value == wanted) and isinstance(value, bool) == isinstance(wanted, bool)  # true is not 1
