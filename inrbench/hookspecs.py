"""The hooks that a plugin can implement: one per kind of thing, and three for a cell's life.

A plugin is a module named by an entry point of the group ``inrbench``; its functions that are marked with
``inrbench.hookimpl`` and have one of these names are called. Meant for the plugin's author: ``plugins/README.md``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
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
    "executor": "inrbench_executors",
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
def inrbench_executors() -> Iterable[Plugin]:
    """Return the executors that this package offers: what runs cells. Called once, when names are first looked up."""
    raise AssertionError("a specification is never called")


@hookspec
def inrbench_cell_started(cell: Mapping[str, Any]) -> None:
    """Called in the process that runs a cell, before its first stage; its data is checked and loaded.

    ``cell`` holds the cell's name as ``cell``, its ``key``, ``method``, ``dataset``, ``profile``, ``seed`` and resolved
    ``settings``. What an implementation raises ends up in the log and stops nothing; it is told no more of that cell.
    """


@hookspec
def inrbench_cell_logged(cell: Mapping[str, Any], points: Sequence[Mapping[str, Any]]) -> None:
    """Called about once a second while a cell logs, and once when it ends: ``points`` is what came since the last call.

    ``cell`` is that of `inrbench_cell_started`. A point has ``stage`` (train, fit, read, score), ``loop`` (the loop's
    name within the stage, "" outside of any), ``step``, ``time`` (seconds since 1970) and ``values`` by name. A cell
    that goes on from a checkpoint logs the steps behind it again. An implementation's time counts as the cell's. What
    it raises ends up in the log and stops nothing; it is told no more of that cell.
    """


@hookspec
def inrbench_cell_finished(record: Mapping[str, Any]) -> None:
    """Called after a cell's record was written, whatever its status; ``record`` is that JSON document.

    Not always in the process that ran the cell, which may be gone. What an implementation raises ends up in the log and
    stops nothing.
    """
