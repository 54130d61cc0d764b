"""Cells as TensorBoard's runs: a folder a cell, and within it one for each loop that logged.

``<cell>-<key>/`` holds settings, status, metrics and costs; ``<cell>-<key>/train/`` what the training logged. A loop
has a run of its own because steps count within a loop, and what a resumed loop does again replaces what stood there.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from inrbench.records import file_stem
from inrbench.trees import flatten
from inrbench_tensorboard.events import PATTERN, EventFile

__all__ = ["finished", "logged", "started"]

_tracked: dict[str, Tracked] = {}  # this process's cells, by key


def started(place: Path, cell: Mapping[str, Any]) -> None:
    """A cell begins, or goes on."""
    tracked = _tracked[cell["key"]] = Tracked(place, cell)
    tracked.start(cell)


def logged(place: Path, cell: Mapping[str, Any], points: Sequence[Mapping[str, Any]]) -> None:
    """A cell logged ``points``."""
    tracked = _tracked.get(cell["key"]) or _tracked.setdefault(cell["key"], Tracked(place, cell))
    tracked.log(points)


def finished(place: Path, record: Mapping[str, Any]) -> None:
    """A cell ended in ``record``; it may have run in another process."""
    tracked = _tracked.pop(record["key"], None) or Tracked(place, record)
    tracked.finish(record)


class Tracked:
    """One cell's event files; ``cell`` has its name as ``cell``, and its ``key``."""

    def __init__(self, place: Path, cell: Mapping[str, Any]) -> None:
        self.folder = place / file_stem(str(cell["cell"]), str(cell["key"]))
        self.own = EventFile(self.folder)
        self.loop: tuple[Path, EventFile] | None = None  # the one that logged last

    def start(self, cell: Mapping[str, Any]) -> None:
        """Write the settings; how an earlier run of this cell ended counts no more."""
        for old in self.folder.glob(PATTERN):
            old.unlink(missing_ok=True)
        settings = {name: cell[name] for name in ("method", "dataset", "profile", "seed")} | dict(cell["settings"])
        self.own.text("settings", f"```yaml\n{yaml.safe_dump(settings, sort_keys=False, allow_unicode=True)}```")
        self.own.start_session(self.folder.name, {name: _plain(value) for name, value in flatten(settings)})
        self._flush()

    def log(self, points: Sequence[Mapping[str, Any]]) -> None:
        """Write each value at its step."""
        for point in points:
            values = {f"{point['stage']}/{name}": value for name, value in point["values"].items()}
            file = self._of_loop(point) if point["loop"] else self.own
            file.scalars(values, step=point["step"], at=point["time"])
        self._flush()

    def finish(self, record: Mapping[str, Any]) -> None:
        """Write status, metrics and costs."""
        text = f"**{record['status']}** {record.get('reason', '')}"
        if record.get("traceback"):
            text += f"\n\n```\n{record['traceback']}\n```"
        self.own.text("status", text)
        scalars = {
            f"{part}/{name}": value
            for part in ("metrics", "costs")
            for name, value in record[part].items()
            if isinstance(value, int | float)  # not what was NaN, which a record holds as null
        }
        if scalars:
            self.own.scalars(scalars)
        self.own.end_session(good=record["status"] == "ok")
        self._flush()

    def _of_loop(self, point: Mapping[str, Any]) -> EventFile:
        stage, loop = point["stage"], re.sub(r"[^A-Za-z0-9_-]+", "-", point["loop"])
        folder = self.folder / stage if loop == stage else self.folder / stage / loop
        if self.loop is None or self.loop[0] != folder:
            self._flush()
            self.loop = folder, EventFile(folder, first_step=point["step"])
        return self.loop[1]

    def _flush(self) -> None:
        self.own.flush()
        if self.loop is not None:
            self.loop[1].flush()


def _plain(value: Any) -> bool | float | str:
    """A setting as the tab "HPARAMS" can show and sort it."""
    return value if isinstance(value, bool | int | float | str) else json.dumps(value, ensure_ascii=False)
