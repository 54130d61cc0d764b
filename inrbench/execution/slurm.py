"""The executor `slurm`: cells in arrays of Slurm jobs, submitted by submitit.

A job runs its cells by the same supervisor as the executor `local` (`inrbench.execution.slurm_job`), so that limits,
leases and records are the same there. Here jobs are submitted and waited for. When this process ends the jobs go on;
the same command then finds them and waits again. What Slurm ended without a record gets one from the job's state.
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import os
import shlex
import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from inrbench.errors import BadData, Interrupted, RecordError, Refused, UsageError
from inrbench.execution.runs import Run, begin, runs
from inrbench.execution.slurm_job import run_job
from inrbench.execution.slurm_jobs import JobCell, job_cell, job_files, live_jobs, read_job, settle, write_job
from inrbench.execution.slurm_queue import counted, listed, max_array
from inrbench.execution.slurm_settings import SlurmSettings
from inrbench.execution.slurm_waiting import Awaited, Waiting
from inrbench.execution.watch import watch_of
from inrbench.runner import Options, Planned, existing, to_do, with_published

__all__ = ["run_on_slurm"]


def run_on_slurm(
    planned: Sequence[Planned],
    options: Options,
    settings: SlurmSettings,
    report: Callable[[str], None],
    quiet: bool,
) -> list[dict[str, Any]]:
    """The executor: submits what no job is at, and waits for the records, unless told not to."""
    _check_slurm(options)
    options = replace(options, records=options.records.resolve(), threads=options.threads or 1, download=False)
    for line in settle(options.records):
        report(line)
    with watch_of(planned, report, quiet) as watch:
        waiting = Waiting(planned, options, watch)
        open_cells: dict[int, JobCell] = {}
        for number, one in enumerate(planned):
            one = replace(one, record=existing(one, options))
            if to_do(one, options):
                open_cells[number] = job_cell(one, options)
            else:
                assert one.record is not None
                waiting.records[number] = with_published(one.record, one.cell, options)
                watch.done_before(number, one.record)
        try:
            _run(waiting, open_cells, options, settings)
        except KeyboardInterrupt as error:
            left = counted(len(waiting.open), "cell")
            raise Interrupted(
                f"not waiting any more; in Slurm: {left}. The same command waits for them again, `inrbench status` "
                "shows them and `inrbench stop` ends them"
            ) from error
    return [waiting.records[number] for number in sorted(waiting.records)]


def _run(waiting: Waiting, cells: dict[int, JobCell], options: Options, settings: SlurmSettings) -> None:
    """Submit what no job is at, and wait for all."""
    found = _at_work(options, cells)
    waiting.take_up(found)
    if found:
        jobs = listed(one.job for one in found.values())
        waiting.watch.line(-1, f"in Slurm already: {counted(len(found), 'cell')}, jobs {jobs}")
    if new := {number: one for number, one in cells.items() if number not in found}:
        run, submitted = _submit(new, options, settings)
        waiting.take_up(submitted)
        jobs = listed(run.about["jobs"])
        waiting.watch.line(-1, f"now in Slurm: {counted(len(submitted), 'cell')}, jobs {jobs}")
    if waiting.open and options.wait:
        waiting.wait()
    elif waiting.open:
        words = "the same command waits for them, `inrbench status` shows them, `inrbench stop` ends them"
        waiting.watch.line(-1, words)


def _at_work(options: Options, cells: dict[int, JobCell]) -> dict[int, Awaited]:
    """The cells that live jobs of other runs are at, those that were asked to stop left out."""
    numbers = {(one.stem, one.key): number for number, one in cells.items()}
    found: dict[int, Awaited] = {}
    for run in runs(options.records):
        if run.executor != "slurm" or run.asked():
            continue
        live = live_jobs(run)
        if live is None:
            raise UsageError("Slurm does not answer: squeue fails, so nothing is submitted; try again later")
        for job in live:
            with contextlib.suppress(BadData):  # somebody concluded it just now
                for one in read_job(job_files(run)[job])[0]:
                    if (number := numbers.get((one.stem, one.key))) is not None:
                        found.setdefault(number, Awaited(run, job, one))
    return found


def _submit(cells: dict[int, JobCell], options: Options, settings: SlurmSettings) -> tuple[Run, dict[int, Awaited]]:
    """Submit arrays of jobs; the cells that Slurm took, where it did not take all."""
    size = settings.cells or options.jobs
    numbers = list(cells)
    parts = [numbers[start : start + size] for start in range(0, len(numbers), size)]
    longest = max_array()
    chunks = [parts[start : start + longest] for start in range(0, len(parts), longest)]
    spans = [[[size * (longest * c + i), len(part)] for i, part in enumerate(chunk)] for c, chunk in enumerate(chunks)]
    run = begin(options.records, "slurm", [one.stem for one in cells.values()], chunks=spans)
    taken: dict[int, Awaited] = {}
    try:
        run.files.mkdir()
        for c, chunk in enumerate(chunks):
            files = [f"{c}-{i}.json" for i in range(len(chunk))]
            for file, part in zip(files, chunk, strict=True):
                more = {"minutes": settings.minutes, "delay_s": settings.delay_s, "requeue": settings.requeue}
                run.renew()
                write_job(run.files / file, [cells[number] for number in part], options, **more)
            jobs = _array(run, f"inrbench-{run.id}-{c}", [run.files / file for file in files], options, settings)
            about = {job: {"file": file, "cells": span} for job, file, span in zip(jobs, files, spans[c], strict=True)}
            run.write(jobs={**run.about.get("jobs", {}), **about})
            for job, part in zip(jobs, chunk, strict=True):
                taken |= {number: Awaited(run, job, cells[number]) for number in part}
    except OSError as error:
        raise RecordError(f"the jobs' folder {run.files} cannot be written: {error.strerror or error}") from error
    except Refused as error:
        if not taken:
            run.end()
            raise
        left = len(cells) - len(taken)
        verb = "is" if left == 1 else "are"
        sys.stderr.write(f"{error}; {counted(left, 'cell')} {verb} left, the same command submits them later\n")
    return run, taken


def _array(run: Run, name: str, files: Sequence[Path], options: Options, settings: SlurmSettings) -> list[str]:
    """Submit a job for each file; returns their names. Raises Refused with what sbatch says."""
    import submitit

    cpus = options.jobs * (options.threads or 1)
    more: dict[str, Any] = {"requeue" if settings.requeue else "no-requeue": True}
    more |= {} if settings.megabytes is None else {"mem": f"{settings.megabytes}M"}
    executor = submitit.SlurmExecutor(run.files, python=_python())
    executor.update_parameters(
        job_name=name,
        partition=settings.partition,
        account=settings.account,
        time=settings.minutes or None,
        cpus_per_task=cpus,
        gpus_per_node=settings.gpus or None,
        signal_delay_s=settings.delay_s,
        array_parallelism=settings.array or len(files),
        wckey=None,
        setup=settings.setup or None,
        srun_args=[f"--cpus-per-task={cpus}"],  # which srun does not take over from the job
        additional_parameters={**more, **{key: value for key, value in settings.sbatch.items() if value is not False}},
    )
    said = io.StringIO()
    try:
        # what a job knows of itself is not for the jobs that it submits
        apart = submitit.helpers.clean_env() if "SLURM_JOB_ID" in os.environ else contextlib.nullcontext()
        with contextlib.redirect_stderr(said), apart:
            jobs = executor.map_array(run_job, [str(file) for file in files])
    except (submitit.core.utils.FailedJobError, submitit.core.utils.FailedSubmissionError) as error:
        words = "; ".join(line.strip() for line in str(error).splitlines() if line.strip())
        raise Refused(f"Slurm refuses the jobs: {words}") from error
    return [str(job.job_id) for job in jobs]


def _python() -> str:
    """The command that starts Python as this process was: with the current folder on its path, or without."""
    first = Path(sys.path[0] or ".").resolve() if sys.path else None
    return f"{shlex.quote(sys.executable)}{'' if first == Path.cwd() else ' -P'}"


def _check_slurm(options: Options) -> None:
    if importlib.util.find_spec("submitit") is None:
        raise UsageError("--executor slurm needs submitit: pip install 'inrbench[slurm]'")
    missing = [command for command in ("sbatch", "srun", "squeue", "scancel") if shutil.which(command) is None]
    if missing:
        raise UsageError(f"--executor slurm: no {missing[0]} here; give the command on a machine that submits to Slurm")
    if "%" in str(options.records.resolve()):
        raise UsageError(f"--records {options.records}: Slurm reads % in the name of a folder; choose another name")
