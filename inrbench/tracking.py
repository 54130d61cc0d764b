"""What a cell logs, gathered and told to the plugins that implement `inrbench_cell_logged`, about once a second."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from inrbench.registry import Registry

__all__ = ["Tracking"]

HOOK = "inrbench_cell_logged"


class Tracking:
    """One cell's logged values on their way to trackers.

    ``on_log`` is for `CellRun`; None where no plugin listens, so that nothing is gathered. ``cell`` is what
    `inrbench_cell_started` was told.
    """

    def __init__(self, hooks: Registry, cell: Mapping[str, Any], *, every_s: float = 1.0) -> None:
        self.hooks, self.cell, self.every_s = hooks, cell, every_s
        self.on_log = self._note if hooks.listens(HOOK) else None
        self._points: list[dict[str, Any]] = []
        self._told = -float("inf")

    def tell(self) -> None:
        """Tell what is still untold; called once the cell has ended, before `inrbench_cell_finished`."""
        points, self._points = self._points, []
        if points:
            self.hooks.notify(HOOK, cell=self.cell, points=points)
        self._told = time.monotonic()

    def _note(self, stage: str, loop: str, step: int, values: Mapping[str, float]) -> None:
        self._points.append({"stage": stage, "loop": loop, "step": step, "time": time.time(), "values": values})
        if time.monotonic() - self._told >= self.every_s:
            self.tell()
