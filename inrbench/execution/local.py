"""The executor `local`: cells in processes of this machine, as many at once as there are slots."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Sequence
from typing import Any

from inrbench.errors import UsageError
from inrbench.execution.executors import ExecutorSettings
from inrbench.execution.runs import begin
from inrbench.execution.supervisor import Slot, Supervisor
from inrbench.execution.watch import watch_of
from inrbench.records import file_stem
from inrbench.runner import Options, Planned, num_threads, to_do

__all__ = ["run_locally", "slots_of"]


def run_locally(
    planned: Sequence[Planned],
    options: Options,
    settings: ExecutorSettings,
    report: Callable[[str], None],
    quiet: bool,
) -> list[dict[str, Any]]:
    """The executor: each cell in a process of its own."""
    slots = slots_of(options, any(one.device.startswith("cuda") for one in planned))
    to_run = [file_stem(one.name, one.key) for one in planned if to_do(one, options)]
    run = begin(options.records, "local", to_run) if to_run else None
    try:
        with watch_of(planned, report, quiet) as watch:
            return Supervisor(planned, options, slots, watch, run).run()
    finally:
        if run is not None:
            run.end()


def slots_of(options: Options, cuda: bool = False) -> list[Slot]:
    """As many slots as cells run at once; their threads share the cores, so that slots do not fight for them.

    On several GPUs each slot sees one. Raises UsageError where there are too few for so many cells.
    """
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else list(range(os.cpu_count() or 1))
    jobs = options.jobs
    threads = num_threads(options.threads) if options.threads else max(1, len(cores) // jobs)
    apart = jobs > 1 and jobs * threads <= len(cores)
    gpus = _gpus() if cuda and options.device in ("auto", "cuda") else []
    if gpus and jobs > len(gpus) * options.per_gpu:
        raise UsageError(
            f"--jobs {jobs}: there are {len(gpus)} GPUs and --per-gpu is {options.per_gpu}, so at most "
            f"{len(gpus) * options.per_gpu}"
        )
    slots = []
    for i in range(jobs):
        cpus = cores[i * threads : (i + 1) * threads] if apart else []
        environment = {"CUDA_VISIBLE_DEVICES": gpus[i % len(gpus)]} if jobs > 1 and gpus else {}
        slots.append(Slot(threads, cpus, environment))
    return slots


def _gpus() -> list[str]:
    """The GPUs that this process may use, as CUDA_VISIBLE_DEVICES names them."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return [one.strip() for one in visible.split(",") if one.strip()]
    try:
        command = ["nvidia-smi", "--query-gpu=index", "--format=csv,noheader"]
        found = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True).stdout  # noqa: S603
    except (OSError, subprocess.SubprocessError):
        return []
    return found.split()
