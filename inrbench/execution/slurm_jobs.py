"""The jobs of a submission: what each is given to do, and that every cell of one that has ended has its record.

``<records>/.runs/<id>/<chunk>-<index>.json`` is what a job is to do: cells as they were planned, and how they run.
Records are the only results; nothing that a job returns is read.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from inrbench.arrays import write_atomically
from inrbench.data import OpenedData
from inrbench.errors import BadData, Interrupted, OutOfMemory, RecordError, UsageError
from inrbench.execution.cell import CRASH, TAIL_LINES, TIMEOUT, described, died, tail
from inrbench.execution.leases import Lease, clock
from inrbench.execution.messages import cell_of, document_of, options_of, request_of
from inrbench.execution.runs import Run, runs
from inrbench.execution.slurm_queue import State, counted, named, states
from inrbench.keys import Codes
from inrbench.records import file_stem, read_record
from inrbench.runner import Options, Planned, with_record

__all__ = ["JobCell", "conclude", "give_up", "job_cell", "job_files", "live_jobs", "read_job", "settle", "write_job"]


@dataclass(frozen=True)
class JobCell:
    """A cell that a job is to run."""

    stem: str  # the name of its record
    key: str  # under which it was planned; what is found where the job runs may give another
    before: tuple[str, ...]  # when the records that it had at submission were started
    request: Mapping[str, Any]
    data: Mapping[str, Any]
    device: str

    def planned(self, options: Options, codes: Codes | None = None) -> Planned:
        """The cell as it is here. Raises UsageError where there is no such cell here."""
        data = OpenedData(self.data["name"], {}, self.data["checksum"], self.data["official"])
        return with_record(cell_of(self.request), data, self.device, options, codes)

    def outcome(self, records: Path) -> dict[str, Any] | None:
        """The record that was written since the submission, a good one before one of a failure."""
        for name in (f"{self.stem}.json", f"{self.stem}.failed.json"):
            try:
                record = read_record(records / name)
            except RecordError:
                continue
            if record["key"] == self.key and record.get("started") not in self.before:
                return record
        return None


def job_cell(one: Planned, options: Options) -> JobCell:
    """What a job needs to know of a planned cell."""
    stem = file_stem(one.name, one.key)
    before = []
    for name in (f"{stem}.json", f"{stem}.failed.json"):
        with contextlib.suppress(RecordError):
            before.append(str(read_record(options.records / name).get("started")))
    data = {"name": one.data.name, "checksum": one.data.checksum, "official": one.data.official}
    return JobCell(stem, one.key, tuple(before), request_of(one.cell), data, one.device)


def write_job(path: Path, cells: Sequence[JobCell], options: Options, **more: Any) -> None:
    """Write what a job is to do; ``more`` is for `inrbench.execution.slurm_job`. Raises OSError."""
    document = {"options": document_of(options), "cells": [asdict(one) for one in cells], **more}
    write_atomically(path, json.dumps(document).encode())


def read_job(path: Path) -> tuple[list[JobCell], Options, dict[str, Any]]:
    """What a job is to do: its cells, how they run, and all that the file says. Raises BadData."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        cells = [JobCell(**{**one, "before": tuple(one["before"])}) for one in document["cells"]]
        return cells, options_of(document["options"]), document
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise BadData(f"job {path} cannot be read: {error}") from error


def job_files(run: Run) -> dict[str, Path]:
    """The jobs of a run with what each is to do."""
    return {job: run.files / about["file"] for job, about in run.about["jobs"].items()}


def jobs_of(run: Run) -> dict[str, State] | None:
    """The jobs of a run with their states; None where Slurm does not answer.

    Where the process that submitted them died before it could write them down they are found by their names.
    """
    if not run.alive and len(run.about["jobs"]) < sum(map(len, run.about.get("chunks", []))):
        for chunk, spans in enumerate(run.about["chunks"]):
            found = named(f"inrbench-{run.id}-{chunk}")
            if found is None:
                return None
            for job in found:
                index = int(job.partition("_")[2] or 0)
                run.about["jobs"][job] = {"file": f"{chunk}-{index}.json", "cells": spans[index]}
    return states(list(run.about["jobs"]))


def live_jobs(run: Run) -> dict[str, State] | None:
    """Those that have not ended."""
    known = jobs_of(run)
    return None if known is None else {job: state for job, state in known.items() if not state.ended}


def settle(records: Path) -> Iterator[str]:
    """See to runs whose process is gone and whose jobs have ended: missing records are written, the run is removed.

    Gives a line for each. Where Slurm does not answer all is left as it is.
    """
    for run in list(runs(records)):
        if run.executor != "slurm" or run.alive:
            continue
        known = jobs_of(run)
        if known is None or not all(state.ended for state in known.values()):
            continue
        concluded = [conclude(run, job, state) for job, state in known.items()]
        if all(concluded):
            run.end()
            yield f"run {run.id} has ended: {counted(len(known), 'Slurm job')}, and nobody waited"


def conclude(run: Run, job: str, state: State) -> bool:
    """See that each cell of a job that has ended has its record; False where one may still be at work.

    After `inrbench stop` what was not started is left undone.
    """
    try:
        cells, options, _ = read_job(job_files(run)[job])
    except BadData:
        return True  # somebody else has concluded it
    status, reason = _said(job, state)
    done = True
    for one in cells:
        if one.outcome(options.records) is None and not run.asked():
            machine = {"slurm_job": job, "node": state.node}
            done &= give_up(one, options, run, status, reason, machine=machine, log_tail=_tail(run.files, job))
    return done


def give_up(
    one: JobCell,
    options: Options,
    run: Run,
    status: str,
    reason: str,
    *,
    machine: Mapping[str, str],
    log_tail: Sequence[str] = (),
) -> bool:
    """Write the record of a cell that was not run to its end; False where somebody is at work on it."""
    lease = Lease(options.records, one.stem, {**run.holder(), "name": one.stem})
    if not lease.take():
        return False
    try:
        with contextlib.suppress(OSError):
            clock(options.records)  # who writes into a shared folder sees what others have written there
        if one.outcome(options.records) is None:
            planned = one.planned(options)
            document = described(planned, options.threads or 1)
            document |= {"key": one.key, "keys": {**document["keys"], "score": one.key}}
            document["machine"] = {"device": one.device, "threads": options.threads or 1, **machine}
            died(document, options.records, status, reason, 0.0, log_tail)
    except RecordError:
        return False
    except UsageError:
        return True  # its plugin is gone, say: what is no cell here is not done
    finally:
        lease.release()
    return True


def _said(job: str, state: State) -> tuple[str, str]:
    """The status and the reason of cells that a job has left without a record."""
    node = f" on {state.node}" if state.node else ""
    return {
        "TIMEOUT": (TIMEOUT, f"Slurm ended job {job} at its time limit{node}; checkpoints are kept"),
        "DEADLINE": (TIMEOUT, f"Slurm ended job {job} at its deadline; checkpoints are kept"),
        "CANCELLED": (Interrupted.status, f"Slurm job {job} was cancelled; checkpoints are kept"),
        "REVOKED": (Interrupted.status, f"Slurm job {job} was revoked; checkpoints are kept"),
        "PREEMPTED": (Interrupted.status, f"Slurm job {job} was preempted{node}; checkpoints are kept"),
        "OUT_OF_MEMORY": (OutOfMemory.status, f"Slurm ended job {job}{node}, which used more than its memory"),
        "NODE_FAIL": (CRASH, f"the node of Slurm job {job} failed{node}; checkpoints are kept"),
        "BOOT_FAIL": (CRASH, f"the node of Slurm job {job} did not start"),
        "FAILED": (CRASH, f"Slurm job {job} failed{node} and left no record; see log_tail"),
        "GONE": (Interrupted.status, f"Slurm job {job} is gone and left no record; checkpoints are kept"),
    }.get(state.name, (CRASH, f"Slurm job {job} ended{node} and left no record; see log_tail"))


def _tail(folder: Path, job: str) -> list[str]:
    """The last lines that a job wrote."""
    logs = (folder / f"{job}_0_log.{suffix}" for suffix in ("out", "err"))
    return [line for log in logs for line in tail(log, TAIL_LINES // 2)]
