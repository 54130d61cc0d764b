"""What a Slurm job does on its node: it runs its cells under a supervisor, as a run on one machine does.

Slurm says that time is up by a signal some while before it ends the job, and that a job is cancelled or preempted by
SIGTERM. Both make cells checkpoint and end in records. A job that Slurm queues again goes on from there.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from inrbench.errors import Interrupted, Refused
from inrbench.execution.cell import TIMEOUT
from inrbench.execution.local import slots_of
from inrbench.execution.runs import Run
from inrbench.execution.slurm_jobs import JobCell, give_up, read_job
from inrbench.execution.slurm_queue import requeue
from inrbench.execution.supervisor import Slot, Supervisor
from inrbench.execution.watch import Watch
from inrbench.keys import Codes
from inrbench.runner import Options, Planned

__all__ = ["OnNode", "run_job"]

#: Slurm gives a job at least so many seconds between SIGTERM and SIGKILL (KillWait), less a margin.
GRACE_S = 20.0
#: Slurm may say a minute too early that time is up.
EARLY_S = 75.0


def run_job(path: str) -> None:
    """Run the cells of the job in the file ``path``. Whatever comes of them is in their records."""
    file = Path(path)
    cells, options, document = read_job(file)
    name = job_name()
    run = Run(options.records, {"id": file.parent.name, "executor": "slurm", "jobs": {}})
    run.job = name
    planned, left = _here(cells, options, run)
    # the supervisor runs what has no record of this submission: what was done before the job was queued again has one
    watch = Watch(planned, _say, quiet=False)
    node = OnNode(planned, options, slots_here(options), watch, run, document["minutes"], document["delay_s"])
    before = signal.signal(signal.SIGUSR2, node.signalled)
    try:
        node.run()
    finally:
        signal.signal(signal.SIGUSR2, before)
    if node.stops and not run.asked():
        status, why = node.because or (Interrupted.status, f"Slurm job {name} was stopped")
        for one in left:
            if one.outcome(options.records) is None:
                give_up(one, options, run, status, f"{why} before this cell was started", machine={"slurm_job": name})
    if node.preempted and document["requeue"]:
        requeue(os.environ["SLURM_JOB_ID"])


class OnNode(Supervisor):
    """A supervisor that knows why Slurm ends it. ``minutes`` is the job's limit, 0 where that is not known."""

    def __init__(
        self,
        planned: Sequence[Planned],
        options: Options,
        slots: Sequence[Slot],
        watch: Watch,
        run: Run,
        minutes: int,
        delay_s: float,
    ) -> None:
        super().__init__(planned, options, slots, watch, run)
        told = os.environ.get("SLURM_JOB_END_TIME", "")
        self.ends = float(told) if told.isdigit() else time.time() + 60.0 * minutes if minutes else None
        self.delay_s = delay_s
        self.preempted = False

    def signalled(self, number: int, frame: Any) -> None:
        """Slurm's signals: SIGUSR2 before the time limit or a preemption, SIGTERM at any end that is not the job's."""
        early = self.ends is not None and self.ends - time.time() > self.delay_s + EARLY_S
        up = self.ends is not None and self.ends - time.time() <= self.delay_s
        if self.stops == 0:
            if self.listed is not None and self.listed.asked():
                self.because = None  # `inrbench stop`, which cancels jobs too
            elif up or (number == signal.SIGUSR2 and not early):
                self.because = (TIMEOUT, f"Slurm job {job_name()} reached its time limit")
            elif number == signal.SIGUSR2:
                self.because = (Interrupted.status, f"Slurm job {job_name()} was preempted")
                self.preempted = True
            else:
                self.because = (Interrupted.status, f"Slurm job {job_name()} was cancelled or preempted")
            self.grace_s = max(5.0, self.delay_s - 10.0) if number == signal.SIGUSR2 else GRACE_S
            self.stop()
        elif number == signal.SIGTERM:  # time is really up: what has not ended by itself gets half a minute at most
            self.grace_s = min(self.grace_s, time.monotonic() - self.stopped + GRACE_S)


def slots_here(options: Options) -> list[Slot]:
    """The job's slots. Cores are divided only where Slurm has bound the job to its own: else others use them too."""
    slots = slots_of(options, cuda=True)
    there = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 0
    own = there == sum(slot.threads for slot in slots)
    return slots if own else [replace(slot, cpus=[]) for slot in slots]


def job_name() -> str:
    """``12``, or ``12_3`` of an array."""
    array = os.environ.get("SLURM_ARRAY_JOB_ID")
    return f"{array}_{os.environ.get('SLURM_ARRAY_TASK_ID')}" if array else os.environ.get("SLURM_JOB_ID", "?")


def _here(cells: Sequence[JobCell], options: Options, run: Run) -> tuple[list[Planned], list[JobCell]]:
    """The cells that have no record of this submission yet; those that are other cells here get one that says so."""
    planned, left = [], []
    codes: Codes = {}
    for one in cells:
        found = one.outcome(options.records)
        if found is not None and found["status"] != Interrupted.status:
            continue
        here = one.planned(options, codes)
        if here.key != one.key:
            reason = (
                f"its code or the versions of its packages are others on {os.uname().nodename} than where it was "
                "planned; use one environment for both"
            )
            give_up(one, options, run, Refused.status, reason, machine={"slurm_job": job_name()})
            continue
        planned.append(here)
        left.append(one)
    return planned, left


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()
