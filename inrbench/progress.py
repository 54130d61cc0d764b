"""Progress with an ETA: bars on a terminal, a line now and then in a log, and an estimate before anything long."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any, TextIO

__all__ = ["Progress", "Task", "duration"]

#: Seconds of timed steps before an estimate is made; the first step warms up and is not timed.
TIMED_S = 3.0
LONG_S = 60.0
LINE_EVERY_S = 30.0


def duration(seconds: float) -> str:
    """``45 s``, ``4 min 10 s``, ``2 h 5 min``, ``3 d 4 h``."""
    whole = max(0, round(seconds))
    for big, small, size, unit in (("d", "h", 86400, 3600), ("h", "min", 3600, 60), ("min", "s", 60, 1)):
        if whole >= size:
            return f"{whole // size} {big} {whole % size // unit} {small}"
    return f"{whole} s"


class Progress:
    """Where tasks show how far they are.

    ``quicker`` names a profile that would take less work, for estimates; ``watch`` is told, at every step, a task's
    name, the steps done and all of them, the seconds left, and the latest values.
    """

    def __init__(
        self,
        *,
        quiet: bool = False,
        quicker: str = "",
        stream: TextIO | None = None,
        watch: Callable[[str, int, int, float, dict[str, float]], None] | None = None,
    ) -> None:
        self.stream = stream or sys.stderr
        self.quiet = quiet
        self.quicker = quicker
        self.notes: dict[str, float] = {}
        self.watch = watch
        self._bars: Any = None
        self._tasks = 0

    def say(self, line: str) -> None:
        """One line above the bars, or in the log."""
        if self.quiet:
            return
        if self._bars is not None:
            self._bars.console.print(line, highlight=False, markup=False)
        else:
            self.stream.write(line + "\n")
            self.stream.flush()

    def note(self, **values: float) -> None:
        """The latest values (loss, PSNR), shown beside the bar."""
        self.notes.update(values)

    @contextlib.contextmanager
    def task(self, name: str, total: int, *, done: int = 0) -> Iterator[Task]:
        """A task of ``total`` steps, of which ``done`` were made before."""
        self._open()
        self._tasks += 1
        self.notes = {}
        task = Task(self, name, total, done)
        try:
            yield task
        finally:
            task.close()
            self._tasks -= 1
            if self._tasks == 0 and self._bars is not None:
                self._bars.stop()
                self._bars = None

    def _open(self) -> None:
        if self.quiet or self._bars is not None or not self.stream.isatty():
            return
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
        from rich.progress import Progress as Bars

        self._bars = Bars(
            TextColumn("  {task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[notes]}"),
            console=Console(file=self.stream),
            transient=True,
        )
        self._bars.start()


class Task:
    """One loop within a Progress."""

    def __init__(self, owner: Progress, name: str, total: int, done: int) -> None:
        self.owner, self.name, self.total, self.done = owner, name, total, done
        self.first = done
        self.start = self.spoke = time.perf_counter()
        self.timed_from: float | None = None
        self.estimated = False
        self.bar = owner._bars.add_task(name, total=total, completed=done, notes="") if owner._bars else None

    def advance(self, steps: int = 1) -> None:
        """So many steps more are done."""
        if steps == 0:
            return
        self.done += steps
        now = time.perf_counter()
        if self.timed_from is None:
            self.timed_from, self.first = now, self.done  # the first step warms up
            return
        per_step = (now - self.timed_from) / (self.done - self.first)
        left = per_step * (self.total - self.done)
        if not self.estimated and (now - self.timed_from > TIMED_S or self.done - self.first >= 20):
            self.estimated = True
            if left > LONG_S:
                self._estimate(per_step, left)
        if self.owner.watch is not None:
            self.owner.watch(self.name, self.done, self.total, left, self.owner.notes)
        if self.bar is not None:
            notes = "  ".join(f"{name} {value:.4g}" for name, value in self.owner.notes.items())
            self.owner._bars.update(self.bar, completed=self.done, notes=notes)
        elif not self.owner.quiet and now - self.spoke > LINE_EVERY_S and self.done < self.total:
            self.spoke = now
            notes = "".join(f", {name} {value:.4g}" for name, value in self.owner.notes.items())
            self.owner.say(f"  {self.name} {self.done}/{self.total}, {duration(left)} left{notes}")

    def close(self) -> None:
        """The loop has ended, one way or another."""
        if self.bar is not None:
            self.owner._bars.remove_task(self.bar)

    def _estimate(self, per_step: float, left: float) -> None:
        pace = f"{per_step:.2g} s a step" if per_step > 0.01 else f"{1 / max(per_step, 1e-9):.0f} steps a second"
        hint = f"; {self.owner.quicker}" if self.owner.quicker else ""
        steps = self.total - self.done
        self.owner.say(f"  {self.name} will take about {duration(left)} ({steps:,} steps at {pace}){hint}")
