"""What a user may name: a method, a data set, both together, or one part."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from inrbench.plugin import Method, Plugin

__all__ = ["find_named"]


def find_named(name: str) -> list[Method | Plugin]:
    """The method and the data set of ``METHOD+DATASET``; else the one thing of that name, methods first.

    Raises UnknownName with the nearest method or data set, or BrokenPlugin.
    """
    from inrbench.errors import UnknownName, nearest
    from inrbench.plugin import KINDS
    from inrbench.registry import registry

    known = registry()
    method, plus, dataset = name.partition("+")
    if plus:
        return [known.find("method", method), known.find("dataset", dataset)]
    if ":" in name:
        return [known.find("dataset", name)]
    for kind in KINDS:  # methods and data sets come first
        if name in {record.name for record in known.all(kind)}:
            return [known.find(kind, name)]
    for kind in KINDS:
        with contextlib.suppress(UnknownName):  # what is left is the name of a plugin that is not used
            known.find(kind, name)
    names = [record.name for kind in KINDS[:2] for record in known.all(kind)]
    raise UnknownName(f"no method or data set named {name!r}; {nearest(name, names)}")
