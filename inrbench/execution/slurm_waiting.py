"""Waiting for Slurm jobs: records are taken from the shared folder as they appear; jobs that end without get them."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from inrbench.errors import Interrupted
from inrbench.execution.leases import FOLDER, held
from inrbench.execution.runs import Run
from inrbench.execution.slurm_jobs import JobCell, conclude
from inrbench.execution.slurm_queue import State, counted, states
from inrbench.execution.watch import Watch
from inrbench.runner import Options, Planned, with_published

__all__ = ["Awaited", "Waiting"]

LOOK_S = 0.5
LEASES_S = 5.0
#: Between two questions to Slurm: first, and at most.
ASK_S = (2.0, 30.0)
#: How long a job must have ended before its cells are looked at: shared folders show files late.
SETTLED_S = 5.0
#: How long jobs may take to end after their last record.
ENDING_S = 60.0


@dataclass(frozen=True)
class Awaited:
    """A cell in Slurm: the job that runs it, of which run."""

    run: Run
    job: str
    cell: JobCell


class Waiting:
    """Waits for the records of planned cells; `records` fills up, by their place."""

    def __init__(self, planned: Sequence[Planned], options: Options, watch: Watch) -> None:
        self.planned = planned
        self.options = options
        self.watch = watch
        self.records: dict[int, dict[str, Any]] = {}
        self.open: dict[int, Awaited] = {}
        self.runs: dict[str, Run] = {}
        self.jobs: dict[str, Run] = {}  # all that were ever waited for
        self.ended: dict[str, float] = {}  # job -> when that was first seen
        self.begun: set[int] = set()
        self.seen: dict[str, int] = {}  # a record's file -> when it was written
        self.asked = self.leases = 0.0
        self.every_s = ASK_S[0]
        self.queue: list[str] = []

    def take_up(self, cells: Mapping[int, Awaited]) -> None:
        """Wait for these too."""
        self.open |= cells
        for one in cells.values():
            self.runs[one.run.id] = one.run
            self.jobs[one.job] = one.run

    def wait(self) -> None:
        """Until no cell is open; runs whose jobs have ended are removed."""
        self.asked = time.monotonic()
        while self.open:
            for run in self.runs.values():
                run.renew()
            self._take_records()
            self._take_leases()
            if time.monotonic() - self.asked > self.every_s:
                self._ask()
            self.watch.tick(len(self.open) - len(self.begun & self.open.keys()))
            time.sleep(LOOK_S)
        self._clean()

    def _take_records(self) -> None:
        """Records that have appeared. One that says `interrupted` is not the last word while its job can go on."""
        with contextlib.suppress(OSError):
            with os.scandir(self.options.records) as entries:
                now = {entry.name: entry.stat().st_mtime_ns for entry in entries if entry.name.endswith(".json")}
            fresh = {name for name, written in now.items() if self.seen.get(name) != written}
            self.seen = now
            for number, one in list(self.open.items()):
                if f"{one.cell.stem}.json" in fresh or f"{one.cell.stem}.failed.json" in fresh:
                    record = one.cell.outcome(self.options.records)
                    if record is not None and record["status"] != Interrupted.status:
                        self._close(number, record)

    def _take_leases(self) -> None:
        """What cells at work say."""
        if time.monotonic() - self.leases < LEASES_S:
            return
        self.leases = time.monotonic()
        numbers = {one.cell.stem: number for number, one in self.open.items()}
        with contextlib.suppress(OSError):
            for lease in held(self.options.records):
                number = numbers.get(str(lease.get("cell")))
                if number is None:
                    continue
                self._begin(number)
                if {"task", "done", "total", "left"} <= lease.keys():
                    self.watch.progress(number, lease)

    def _ask(self) -> None:
        """How the jobs are; those that have ended for some while are concluded."""
        self.asked = time.monotonic()
        self.every_s = min(1.3 * self.every_s, ASK_S[1])
        known = states(sorted({one.job for one in self.open.values()}))
        if known is None:
            return
        self._tell(known)
        for job, state in known.items():
            if not state.ended:
                self.ended.pop(job, None)
                continue
            since = self.ended.setdefault(job, self.asked)
            self.every_s = ASK_S[0]
            cells = {number: one for number, one in self.open.items() if one.job == job}
            found = {number: one.cell.outcome(self.options.records) for number, one in cells.items()}
            if None in found.values():
                if self.asked - since < SETTLED_S or not conclude(self.jobs[job], job, state):
                    continue
                found = {number: one.cell.outcome(self.options.records) for number, one in cells.items()}
            for number, record in found.items():
                self._close(number, record)

    def _tell(self, known: Mapping[str, State]) -> None:
        """Say what keeps jobs in the queue, when that changes."""
        waiting = [state for state in known.values() if state.name == "PENDING"]
        reasons = sorted({state.reason for state in waiting} - {"None", ""})
        if reasons and reasons != self.queue:
            self.watch.line(-1, f"in Slurm's queue: {counted(len(waiting), 'job')} ({', '.join(reasons)})")
        self.queue = reasons

    def _begin(self, number: int) -> None:
        if number not in self.begun:
            self.begun.add(number)
            self.watch.started(number, self.planned[number])

    def _close(self, number: int, record: dict[str, Any] | None) -> None:
        """A cell has its record; or none, and is left undone."""
        del self.open[number]
        if record is not None:
            self._begin(number)
            self.records[number] = with_published(record, self.planned[number].cell, self.options)
            self.watch.ended(number, self.records[number])
        if number in self.begun:
            self.watch.left(number)

    def _clean(self) -> None:
        """Remove what the runs left, once none of their jobs writes there any more."""
        until = time.monotonic() + ENDING_S
        for run in self.runs.values():
            while time.monotonic() < until:
                known = states(list(run.about["jobs"]))
                if known is not None and all(state.ended for state in known.values()):
                    run.end()
                    break
                time.sleep(LOOK_S)
        with contextlib.suppress(OSError):
            (self.options.records / FOLDER).rmdir()
