"""Constructing the parts of cells before anything starts, in processes that load one framework each."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from inrbench import errors
from inrbench.execution.keepers import shared
from inrbench.execution.messages import Job, request_of

if TYPE_CHECKING:
    from inrbench.cells import Cell

__all__ = ["devices_checked"]


def devices_checked(cells: Sequence[Cell], device: str) -> list[str]:
    """The device of each cell, as `inrbench.runner.devices_of`: no framework is loaded in this process."""
    distinct: dict[tuple[str, ...], dict[str, Cell]] = {}
    for cell in cells:
        distinct.setdefault(cell.backends, {}).setdefault(_parts(cell), cell)
    found: dict[str, str] = {}
    for number, (backends, some) in enumerate(distinct.items()):
        job = Job(number, {}, {}, device, 1, os.devnull, check=[request_of(cell) for cell in some.values()])
        answers = shared().ask(backends, job)["answer"]
        for parts, answer in zip(some, answers, strict=True):
            if "error" in answer:
                kind = getattr(errors, answer["error"], errors.InrbenchError)
                raise kind(answer["message"])
            found[parts] = answer["device"]
    return [found[_parts(cell)] for cell in cells]


def _parts(cell: Cell) -> str:
    """Cells with the same text are made of the same parts."""
    return str((cell.method.name, cell.dataset, cell.tree()))
