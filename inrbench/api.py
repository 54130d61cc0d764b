"""inrbench from Python: the same as the command line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from inrbench.requests import requested
from inrbench.runner import Options, plan, run_cells
from inrbench.search import run_requested

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["run"]


def run(
    what: str | Path | Sequence[str | Path],
    *,
    profile: str | None = None,
    seeds: Sequence[int] | None = None,
    settings: Mapping[str, Any] | None = None,
    device: str = "auto",
    threads: int | None = None,
    data_root: str | Path | None = None,
    records: str | Path = "records",
    unofficial_data: bool = False,
    rerun: bool = False,
    jobs: int = 1,
    per_gpu: int = 1,
    timeout: float | None = None,
    memory: int | None = None,
    retry: Sequence[str] | None = None,
    logs: bool = False,
    checkpoint_every: float = 60.0,
    executor: str = "local",
    executor_settings: Mapping[str, Any] | None = None,
    wait: bool = True,
    in_process: bool = False,
    quiet: bool = False,
) -> pd.DataFrame:
    """Run cells and return their records, one row a cell, failures too.

    ``what`` is ``"mwt+cifar10"``, ``"mwt,wt+mnist,digits"``, a path to a sweep file, or several of these;
    ``settings`` is a tree as ``{"fitter": {"steps": 4}}``. A cell that has a good record is not run again.
    ``jobs`` cells run at once, each in a process of its own unless ``in_process``; ``timeout`` and
    ``checkpoint_every`` are in seconds, ``memory`` in bytes, and ``retry`` names the statuses of failures to run again.
    ``executor`` and its settings say what runs the cells; without ``wait`` they are left in its queue.
    Raises UsageError before any work where the request is wrong.
    """
    import pandas as pd

    from inrbench.trees import flatten

    wanted = [str(what)] if isinstance(what, str | Path) else [str(one) for one in what]
    asked = requested(wanted, profile=profile, seeds=seeds, overrides=[settings] if settings else [])
    root = None if data_root is None else Path(data_root)
    options = Options(
        Path(records),
        root,
        unofficial_data,
        device,
        threads,
        rerun,
        isolate=not in_process,
        jobs=jobs,
        per_gpu=per_gpu,
        timeout=timeout,
        memory=memory,
        retry=None if retry is None else tuple(retry),
        logs=logs,
        checkpoint_s=checkpoint_every,
        executor=executor,
        executor_settings=executor_settings or {},
        wait=wait,
    )
    report = (lambda line: None) if quiet else print
    found = run_requested(asked, lambda cells: run_cells(plan(cells, options), options, report, quiet=quiet), report)
    return pd.DataFrame([dict(flatten({k: v for k, v in record.items() if k != "log"})) for record in found])
