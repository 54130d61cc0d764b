"""All cells in this process, one after the other: for debugging, and where processes cannot be forked."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

from inrbench.cell_run import stop_on_signals
from inrbench.errors import Interrupted
from inrbench.execution.cell import run_one
from inrbench.progress import Progress
from inrbench.runner import QUICKER, Options, Planned, before, num_threads, summary, title, to_do, with_published

__all__ = ["run_here"]


def run_here(
    planned: Sequence[Planned], options: Options, report: Callable[[str], None], quiet: bool
) -> list[dict[str, Any]]:
    """As `inrbench.runner.run_cells`. What takes this process down takes all of it."""
    records: list[dict[str, Any]] = []
    stop = threading.Event()
    with stop_on_signals(stop):
        for number, one in enumerate(planned, 1):
            if not to_do(one, options):
                assert one.record is not None
                report(f"{title(one, number, len(planned))}: {before(one.record)}")
                records.append(with_published(one.record, one.cell, options))
                continue
            report(title(one, number, len(planned)))
            progress = Progress(quiet=quiet, quicker=QUICKER[one.cell.profile])
            record = run_one(one, options, num_threads(options.threads), stop, progress)
            report(summary(record))
            records.append(record)
            if record["status"] == Interrupted.status:
                break
    return records
