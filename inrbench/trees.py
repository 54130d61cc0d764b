"""Trees of settings as plain values: joined, and told by dotted keys. Importing this loads nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

__all__ = ["flatten", "merge"]


def merge(*trees: Mapping[str, Any]) -> dict[str, Any]:
    """One tree from many, the later above the earlier.

    A part's name alone (``reader: mlp``) stands for ``{"name": "mlp"}``; another name than before drops what was
    set for the old part. None in place of a part drops it.
    """
    result: dict[str, Any] = {}
    for tree in trees:
        _merge_into(result, tree, top=True)
    return result


def _merge_into(result: dict[str, Any], tree: Mapping[str, Any], *, top: bool) -> None:
    for key, value in tree.items():
        if top and key in ("inr", "fitter", "reader") and isinstance(value, str):
            value = {"name": value}
        old = result.get(key)
        if not isinstance(value, Mapping):
            result[key] = value
        elif not isinstance(old, dict) or (top and value.get("name", old.get("name")) != old.get("name") is not None):
            result[key] = {}
            _merge_into(result[key], value, top=False)
        else:
            _merge_into(old, value, top=False)


def flatten(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The leaves of a tree as (dotted key, value)."""
    for key, value in tree.items():
        if isinstance(value, Mapping) and value:
            yield from flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
