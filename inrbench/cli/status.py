"""``inrbench status``: what runs over a folder of records."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from inrbench.cli.lazy import say
from inrbench.cli.options import JSON, RECORDS, records_folder
from inrbench.cli.tables import show_table, title

if TYPE_CHECKING:
    from inrbench.execution.runs import Run

__all__ = ["status"]


@click.command()
@RECORDS
@JSON
def status(records: Path, as_json: bool) -> None:
    """Show what runs over a folder of records, here and elsewhere.

    \b
      inrbench status                       of ./records
      inrbench status --records /shared/sweep --json

    Runs with their executor and process or Slurm jobs, the cells at work and how far they are, and how many records
    there are of each status. Runs on other machines that share the folder are shown too. What is left of a run whose
    process is gone is told once and removed; the cells of Slurm jobs that ended without a record get one.
    """  # noqa: D301
    from inrbench.execution.leases import held
    from inrbench.execution.runs import remove_gone, runs
    from inrbench.execution.slurm_jobs import settle

    folder = records_folder(records)
    gone = [f"{_where(run.about)} is gone; its run {run.id} is removed" for run in remove_gone(folder)]
    gone += settle(folder)
    document: dict[str, Any] = {
        "runs": [_run(run) for run in runs(folder)],
        "cells": sorted(held(folder), key=lambda lease: str(lease.get("cell"))),
        "records": dict(sorted(_counts(folder).items())),
        "gone": gone,
    }
    if as_json:
        click.echo(json.dumps(document, indent=2))
        return
    for line in gone:
        say(line)
    now = time.time()
    if document["runs"]:
        title("runs")
        show_table([_run_row(run, now) for run in document["runs"]], indent="  ")
    if document["cells"]:
        title("at work")
        show_table([_cell_row(lease, now) for lease in document["cells"]], indent="  ")
    if not document["runs"] and not document["cells"]:
        click.echo(f"nothing runs over {records}")
    counts = ", ".join(f"{count} {name}" for name, count in document["records"].items())
    click.echo(f"records: {counts or 'none yet'}")


def _run(run: Run) -> dict[str, Any]:
    """A run as ``--json`` prints it; ``queue`` counts its cluster's jobs by state, null where that does not answer."""
    about = {key: run.about[key] for key in ("id", "executor", "host", "pid", "started")}
    about |= {"cells": len(run.about["cells"]), "alive": run.alive, "asked": run.asked()}
    if run.executor == "slurm":
        from inrbench.execution.slurm_queue import states

        known = states(list(run.about["jobs"]))
        queue = None if known is None else Counter(_state(one.name, one.reason) for one in known.values())
        about |= {"jobs": list(run.about["jobs"]), "queue": None if queue is None else dict(sorted(queue.items()))}
    return about


def _state(name: str, reason: str) -> str:
    return f"{name} ({reason})" if name == "PENDING" and reason not in ("", "None") else name


def _counts(folder: Path) -> Counter[str]:
    """How many records there are of each status."""
    from inrbench.errors import RecordError
    from inrbench.records import read_record

    found: Counter[str] = Counter()
    for path in folder.glob("*.json"):
        try:
            found[read_record(path)["status"]] += 1
        except RecordError:
            found["damaged"] += path.exists()
    return found


def _run_row(run: Mapping[str, Any], now: float) -> dict[str, str]:
    from inrbench.progress import duration

    state = "stopping" if run["asked"] else "at work" if run["alive"] else ""
    if run.get("queue") is not None:
        state = ", ".join([*([state] if run["asked"] else []), *(f"{n} {name}" for name, n in run["queue"].items())])
    elif "jobs" in run:
        state = "Slurm does not answer here"
    return {
        "executor": run["executor"],
        "where": _where(run),
        "for": duration(max(0.0, now - run["started"])),
        "cells": str(run["cells"]),
        "state": state,
    }


def _cell_row(lease: Mapping[str, Any], now: float) -> dict[str, str]:
    from inrbench.progress import duration

    far = "starting"
    if {"task", "done", "total", "left"} <= lease.keys():
        far = f"{lease['task']} {lease['done']}/{lease['total']}, {duration(lease['left'])} left"
    notes = lease.get("notes") or {}
    return {
        "cell": str(lease.get("name", lease.get("cell"))) + (f" ({lease['label']})" if lease.get("label") else ""),
        "where": _where(lease),
        "for": duration(max(0.0, now - float(lease.get("started", now)))),
        "task": "  ".join([far, *(f"{name} {value:.4g}" for name, value in notes.items())]),
    }


def _where(about: Mapping[str, Any]) -> str:
    """A host and a process there, or Slurm jobs."""
    if about.get("job"):
        return f"Slurm job {about['job']} on {about['host']}"
    if jobs := about.get("jobs"):
        from inrbench.execution.slurm_queue import listed

        return f"Slurm jobs {listed(jobs)}" if len(jobs) > 1 else f"Slurm job {listed(jobs)}"
    return f"{about.get('host')}, pid {about.get('pid')}"
