"""How far a download is: a bar with the time that is left on a terminal, a few plain lines elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

__all__ = ["Progress", "progress"]


class Progress(Protocol):
    """Shows one download."""

    def at(self, received_bytes: int) -> None:
        """So many bytes are there."""
        ...

    def note(self, line: str) -> None:
        """Something went wrong and another way is tried."""
        ...


@contextmanager
def progress(name: str, size_bytes: int | None) -> Iterator[Progress]:
    """Progress of the download of ``name`` on the standard error; ``size_bytes`` is None where it is not known."""
    if not sys.stderr.isatty():
        yield _Lines(name, size_bytes)
        return
    from rich import progress as rich_progress
    from rich.console import Console

    columns = (
        rich_progress.TextColumn("{task.description}"),
        rich_progress.BarColumn(),
        rich_progress.DownloadColumn(),
        rich_progress.TransferSpeedColumn(),
        rich_progress.TimeRemainingColumn(),
    )
    with rich_progress.Progress(*columns, console=Console(stderr=True)) as shown:
        yield _Bar(shown, shown.add_task(name, total=size_bytes))


class _Bar:
    def __init__(self, shown: object, task: object) -> None:
        from rich.progress import Progress as RichProgress
        from rich.progress import TaskID

        assert isinstance(shown, RichProgress)
        self._shown, self._task = shown, TaskID(int(str(task)))

    def at(self, received_bytes: int) -> None:
        self._shown.update(self._task, completed=received_bytes)

    def note(self, line: str) -> None:
        self._shown.console.print(line, markup=False, highlight=False, soft_wrap=True)


class _Lines:
    def __init__(self, name: str, size_bytes: int | None) -> None:
        self._name, self._size_bytes, self._next = name, size_bytes, 0
        size = "" if size_bytes is None else f" ({size_bytes / 1e6:,.1f} MB)"
        self.note(f"downloading {name}{size}")

    def at(self, received_bytes: int) -> None:
        if not self._size_bytes:
            return
        quarter = min(4, 4 * received_bytes // self._size_bytes)
        if quarter >= self._next and quarter:
            self.note(f"{self._name}: {25 * quarter} %")
            self._next = quarter + 1

    def note(self, line: str) -> None:
        sys.stderr.write(line + "\n")
