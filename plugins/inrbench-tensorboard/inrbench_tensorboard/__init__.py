"""A TensorBoard tracker: event files below the folder that INRBENCH_TENSORBOARD names; without it nothing is done.

TensorBoard is imported where a cell is tracked, and never here.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from inrbench.plugin import hookimpl

VARIABLE = "INRBENCH_TENSORBOARD"


def _place() -> Path | None:
    named = os.environ.get(VARIABLE)
    return Path(named) if named else None


@hookimpl
def inrbench_cell_started(cell: Mapping[str, Any]) -> None:
    """Write the cell's settings."""
    if place := _place():
        from inrbench_tensorboard import tracker

        tracker.started(place, cell)


@hookimpl
def inrbench_cell_logged(cell: Mapping[str, Any], points: Sequence[Mapping[str, Any]]) -> None:
    """Write what was logged."""
    if place := _place():
        from inrbench_tensorboard import tracker

        tracker.logged(place, cell, points)


@hookimpl
def inrbench_cell_finished(record: Mapping[str, Any]) -> None:
    """Write how the cell ended, its metrics and costs."""
    if place := _place():
        from inrbench_tensorboard import tracker

        tracker.finished(place, record)
