"""What a person sees of running cells: lines in a log, a live table on a terminal."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, Self

from inrbench.progress import duration
from inrbench.runner import Planned, before, summary, title

__all__ = ["Table", "Watch", "watch_of"]

REFRESH_S = 0.25


class Watch:
    """Lines: what starts and how it ended by ``report``, what cells say on stderr unless ``quiet``."""

    def __init__(self, planned: Sequence[Planned], report: Callable[[str], None], quiet: bool) -> None:
        self.planned = planned
        self.report = report
        self.quiet = quiet
        self.at_work: dict[int, float] = {}
        self.ok = self.failed = self.before = 0
        self.took: list[float] = []
        self.several = False  # cells were at work at once: lines then say whose they are

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        return None

    def done_before(self, number: int, record: Mapping[str, Any]) -> None:
        """A cell that has its record already."""
        self.before += 1
        self.report(f"{self._title(number)}: {before(record)}")

    def started(self, number: int, one: Planned) -> None:
        """A cell's process was asked for."""
        self.at_work[number] = time.monotonic()
        self.several |= len(self.at_work) > 1
        self.report(self._title(number))

    def line(self, number: int, text: str) -> None:
        """A line that a cell, or the supervisor (-1), says."""
        if not self.quiet:
            self.show(f"{self._prefix(number)}{text}")

    def progress(self, number: int, told: Mapping[str, Any]) -> None:
        """How far a cell's task is: task, done, total, left (seconds), notes."""

    def ended(self, number: int, record: Mapping[str, Any]) -> None:
        """A cell has its record."""
        self.ok += record["status"] == "ok"
        self.failed += record["status"] != "ok"
        self.took.append(float(record["costs"].get("total_s", 0.0)))
        text = summary(record)
        self.report(f"{self._title(number)}:{text[1:]}" if self.several else text)

    def left(self, number: int) -> None:
        """A cell's process is gone."""
        self.at_work.pop(number, None)

    def tick(self, waiting: int) -> None:
        """Called a few times a second."""

    def show(self, text: str) -> None:
        """A line on stderr."""
        sys.stderr.write(text + "\n")
        sys.stderr.flush()

    def _title(self, number: int) -> str:
        return title(self.planned[number], number + 1, len(self.planned))

    def _prefix(self, number: int) -> str:
        return f"[{number + 1}]" if number >= 0 and self.several else ""


class Table(Watch):
    """A live table: a line for each cell at work and one for all, with what is done and the time left."""

    def __init__(self, planned: Sequence[Planned], report: Callable[[str], None], quiet: bool) -> None:
        from rich.console import Console
        from rich.live import Live

        super().__init__(planned, report, quiet)
        self.told: dict[int, Mapping[str, Any]] = {}
        self.refreshed = 0.0
        self.console = Console(file=sys.stderr)
        self.live = Live(console=self.console, auto_refresh=False, transient=True)
        self.report = lambda text: self.live.console.print(text, highlight=False, markup=False)

    def __enter__(self) -> Self:
        self.live.start()
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.live.stop()

    def progress(self, number: int, told: Mapping[str, Any]) -> None:
        """How far a cell's task is."""
        self.told[number] = told

    def left(self, number: int) -> None:
        """A cell's process is gone."""
        super().left(number)
        self.told.pop(number, None)

    def show(self, text: str) -> None:
        """A line above the table."""
        self.live.console.print(text, highlight=False, markup=False)

    def tick(self, waiting: int) -> None:
        """Draw it anew, a few times a second."""
        now = time.monotonic()
        if now - self.refreshed > REFRESH_S:
            self.refreshed = now
            self.live.update(self._drawn(waiting), refresh=True)

    def _drawn(self, waiting: int) -> Any:
        from rich.progress_bar import ProgressBar
        from rich.table import Table as Grid

        grid = Grid.grid(padding=(0, 1))
        now = time.monotonic()
        for number, since in sorted(self.at_work.items()):
            told = self.told.get(number, {})
            notes = "  ".join(f"{name} {value:.4g}" for name, value in told.get("notes", {}).items())
            bar = ProgressBar(total=told.get("total", 1), completed=told.get("done", 0), width=20)
            left = f"{duration(told['left'])} left" if told else "starting"
            grid.add_row(self.planned[number].name, told.get("task", ""), bar, duration(now - since), left, notes)
        if len(self.planned) > 1:
            done = self.ok + self.failed + self.before
            parts = [f"{done}/{len(self.planned)} done", f"{len(self.at_work)} running"]
            parts += [f"{self.failed} failed"] if self.failed else []
            if self.took:
                each = sum(self.took) / len(self.took)
                parts.append(f"about {duration(each * (waiting + len(self.at_work)) / max(1, len(self.at_work)))} left")
            grid.add_row(", ".join(parts))
        return grid


def watch_of(planned: Sequence[Planned], report: Callable[[str], None], quiet: bool) -> Watch:
    """A live table where a person looks at a terminal, else lines."""
    return (Table if not quiet and sys.stderr.isatty() else Watch)(planned, report, quiet)
