"""The hooks that a plugin can implement: one per kind of thing, and two around a cell.

A plugin is a module named by an entry point of the group ``inrbench``; its functions that are marked with
``inrbench.hookimpl`` and have one of these names are called. Meant for the plugin's author: ``plugins/README.md``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import pluggy

from inrbench.plugin import Method, Plugin

__all__ = ["LISTING_HOOKS"]

hookspec = pluggy.HookspecMarker("inrbench")

#: The hook that lists each kind of thing.
LISTING_HOOKS = {
    "inr": "inrbench_inrs",
    "fitter": "inrbench_fitters",
    "reader": "inrbench_readers",
    "dataset": "inrbench_datasets",
    "method": "inrbench_methods",
    "analysis": "inrbench_analyses",
}


@hookspec
def inrbench_inrs() -> Iterable[Plugin]:
    """Return the fields (INRs) that this package offers. Called once, when names are first looked up."""
    raise AssertionError("a specification is never called")


@hookspec
def inrbench_fitters() -> Iterable[Plugin]:
    """Return the fitters that this package offers. Called once, when names are first looked up."""
    raise AssertionError("a specification is never called")


@hookspec
def inrbench_readers() -> Iterable[Plugin]:
    """Return the readers that this package offers. Called once, when names are first looked up."""
    raise AssertionError("a specification is never called")


@hookspec
def inrbench_datasets() -> Iterable[Plugin]:
    """Return the data sets that this package offers. Called once, when names are first looked up."""
    raise AssertionError("a specification is never called")


@hookspec
def inrbench_methods() -> Iterable[Method]:
    """Return the methods that this package offers. Called once, when names are first looked up."""
    raise AssertionError("a specification is never called")


@hookspec
def inrbench_analyses() -> Iterable[Plugin]:
    """Return the analyses of neural data sets that this package offers. Called once, when names are first looked up."""
    raise AssertionError("a specification is never called")


@hookspec
def inrbench_cell_started(cell: Mapping[str, Any]) -> None:
    """Called in the process that runs a cell, before its first stage; its data is checked and loaded.

    ``cell`` holds the cell's name as ``cell``, its ``key``, ``method``, ``dataset``, ``profile``, ``seed`` and resolved
    ``settings``. What an implementation raises ends up in the log and stops nothing.
    """


@hookspec
def inrbench_cell_finished(record: Mapping[str, Any]) -> None:
    """Called after a cell's record was written, whatever its status; ``record`` is that JSON document.

    What an implementation raises ends up in the log and stops nothing.
    """
