"""Asking runs to stop, wherever they are."""

from __future__ import annotations

import os
import signal

from inrbench.execution.runs import Run

__all__ = ["stop_run"]


def stop_run(run: Run, *, now: bool = False) -> tuple[str, bool]:
    """Ask a run to stop, at once if ``now``; what to tell, and whether it was reached.

    The file beside the run's does it, on any machine. A signal does where this machine's folder cannot be written.
    """
    name = f"run {run.id}, {run.executor} on {run.about['host']}"
    how = "asked to stop at once" if now else "asked to stop"
    refused = ""
    try:
        run.ask("now" if now else "stop")
    except OSError as error:
        refused = f"{name}: {run.folder} cannot be written: {error.strerror or error}"
        if run.here and run.alive and run.executor == "local":
            for number in (signal.SIGTERM, signal.SIGINT)[: 1 + now]:
                os.kill(int(run.about["pid"]), number)
            return f"{name}: {how}", True
    if run.executor == "slurm":
        return _stop_jobs(run, name, how, now, refused)
    return (refused or f"{name}: {how}"), not refused


def _stop_jobs(run: Run, name: str, how: str, now: bool, refused: str) -> tuple[str, bool]:
    """Cancel what waits in the queue; ``now`` what runs too, which ends cells with a record all the same."""
    from inrbench.execution.slurm_jobs import live_jobs
    from inrbench.execution.slurm_queue import cancel, counted

    live = live_jobs(run)
    if live is None:
        return f"{name}: {refused or how}; Slurm does not answer here, so jobs in its queue are not cancelled", False
    waiting = [job for job, state in live.items() if state.name == "PENDING"]
    said = cancel(live) if now or refused else cancel(waiting, waiting_only=True)
    if said:
        return f"{name}: {how}; Slurm says: {said}", False
    told = [f"{counted(len(live) - len(waiting), 'job')} {how}"] if len(waiting) < len(live) else []
    if waiting:
        told.append(f"{counted(len(waiting), 'job')} that waited cancelled")
    return f"{name}: {', '.join(told) or 'its jobs have ended'}", True
