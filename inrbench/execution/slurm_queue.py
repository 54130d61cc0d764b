"""What Slurm says of jobs: by squeue and scontrol, and by sacct for jobs that these have forgotten.

Accounting is off on many clusters, so what sacct cannot say is lived with.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

__all__ = ["ENDED", "State", "cancel", "counted", "listed", "max_array", "named", "requeue", "states"]

#: States that a job does not leave; what is neither in here nor unknown is still to be waited for.
ENDED = (
    "BOOT_FAIL",
    "CANCELLED",
    "COMPLETED",
    "DEADLINE",
    "FAILED",
    "GONE",
    "NODE_FAIL",
    "OUT_OF_MEMORY",
    "PREEMPTED",
    "REVOKED",
    "TIMEOUT",
)
#: Slurm's own, where it does not tell.
ARRAY_SIZE = 1001
ANSWERS_WITHIN_S = 60.0
#: Jobs that one command names.
AT_ONCE = 200


@dataclass(frozen=True)
class State:
    """A job as Slurm sees it; ``GONE`` where Slurm has forgotten it."""

    name: str  # PENDING, RUNNING, ...
    reason: str = ""  # for which it waits, or ended
    node: str = ""

    @property
    def ended(self) -> bool:
        """Whether it will not run any more."""
        return self.name in ENDED


def states(jobs: Sequence[str]) -> dict[str, State] | None:
    """The state of each job, ``12`` or ``12_3`` of an array; None where Slurm does not answer."""
    mothers = sorted({job.partition("_")[0] for job in jobs}, key=int)
    found: dict[str, State] = {}
    for start in range(0, len(mothers), AT_ONCE):
        some = ",".join(mothers[start : start + AT_ONCE])
        told = _squeue(f"--jobs={some}", "%i|%T|%r|%N")
        if told is None:
            return None
        for line in told:
            job, name, reason, node = line.split("|", 3)
            found[job] = State(name, reason, node)
    found |= _accounted([job for job in jobs if job not in found])
    return {job: found.get(job, State("GONE")) for job in jobs}


def named(name: str) -> list[str] | None:
    """The jobs with that name, tasks of an array each on its own; None where Slurm does not answer."""
    told = _squeue(f"--name={name}", "%i")
    return None if told is None else sorted(told, key=lambda job: [int(part) for part in job.split("_")])


def cancel(jobs: Iterable[str], *, waiting_only: bool = False) -> str:
    """Cancel jobs, those that do not run yet alone if ``waiting_only``; returns what Slurm had against it."""
    listed = sorted(jobs)
    said = []
    for start in range(0, len(listed), AT_ONCE):
        only = ["--state=PENDING"] if waiting_only else []
        done = _call("scancel", *only, *listed[start : start + AT_ONCE])
        if done is None or done.returncode:
            said.append("scancel cannot be called" if done is None else done.stderr.strip())
    return "; ".join(said)


def requeue(job: str) -> bool:
    """Have a job queued again that runs; whether that was accepted."""
    done = _call("scontrol", "requeue", job)
    return done is not None and not done.returncode


def counted(number: int, what: str) -> str:
    """``1 job``, ``2 jobs``."""
    return f"{number} {what}{'' if number == 1 else 's'}"


def listed(jobs: Iterable[str]) -> str:
    """``12_0 to 12_99``."""
    names = sorted(set(jobs), key=lambda job: [int(part) for part in job.split("_")])
    return names[0] if len(names) == 1 else f"{names[0]} to {names[-1]}"


def max_array() -> int:
    """How many tasks an array may have."""
    done = _call("scontrol", "show", "config")
    found = re.search(r"^MaxArraySize\s*=\s*(\d+)", done.stdout if done else "", re.MULTILINE)
    return max(1, int(found[1]) if found else ARRAY_SIZE)


def _squeue(which: str, columns: str) -> list[str] | None:
    """Lines of squeue, one a job, also of those that have ended lately; None where there is no answer."""
    done = _call("squeue", "--array", "--states=all", "--noheader", which, f"--format={columns}")
    if done is None:
        return None
    if done.returncode:
        return [] if "Invalid job id" in done.stderr else None
    return [line.strip() for line in done.stdout.splitlines() if line.strip()]


def _accounted(jobs: Sequence[str]) -> dict[str, State]:
    """What accounting knows of jobs; nothing where there is none."""
    found: dict[str, State] = {}
    for start in range(0, len(jobs), AT_ONCE):
        listed = ",".join(jobs[start : start + AT_ONCE])
        done = _call("sacct", "--noheader", "--parsable2", "--allocations", "--format=JobID,State", f"--jobs={listed}")
        if done is None or done.returncode:
            return found
        for line in done.stdout.splitlines():
            job, _, state = line.strip().partition("|")
            if job in jobs and state:
                found[job] = State(state.split()[0].rstrip("+"))  # CANCELLED by 1000
    return found


def _call(*command: str) -> subprocess.CompletedProcess[str] | None:
    """Run a command of Slurm's; None where it is not there or does not answer."""
    try:
        return subprocess.run(  # noqa: S603
            command, capture_output=True, text=True, timeout=ANSWERS_WITHIN_S, check=False, stdin=subprocess.DEVNULL
        )
    except (OSError, subprocess.SubprocessError):
        return None
