"""One cell, run to its record; and the record of a cell whose process could not write one."""

from __future__ import annotations

import contextlib
import platform
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from inrbench import memory
from inrbench.backends import engine_of
from inrbench.cell_run import CellRun, logged
from inrbench.errors import InrbenchError, Interrupted, OutOfMemory, RecordError
from inrbench.execution.apart import built_apart, needs_apart
from inrbench.facts import facts_of
from inrbench.pipeline import Outcome, run_cell
from inrbench.progress import Progress
from inrbench.provenance import commit, cpu_model, versions
from inrbench.records import SCHEMA, file_stem, now, read_record, write_record
from inrbench.registry import registry
from inrbench.selection import Selected, select
from inrbench.stages import Stages, cache_folder
from inrbench.tracking import Tracking

if TYPE_CHECKING:
    from inrbench.cells import Built, Cell
    from inrbench.runner import Options, Planned

__all__ = ["CRASH", "TAIL_LINES", "TIMEOUT", "described", "died", "run_one", "tail"]

#: Statuses of cells whose process did not end by itself as it should.
CRASH, TIMEOUT = "crash", "timeout"
TAIL_LINES, TAIL_BYTES = 40, 2**14
STARTED = ("cell", "key", "method", "dataset", "profile", "seed", "settings")


def run_one(
    one: Planned,
    options: Options,
    threads: int,
    stop: threading.Event,
    progress: Progress,
    started: Callable[[Mapping[str, Any]], None] = lambda document: None,
) -> dict[str, Any]:
    """Run a cell in this process; it ends in a written record whatever it raises.

    ``started`` is told what the record holds before any work. Raises RecordError where the record cannot be written,
    and Refused where the device is not there.
    """
    cell = one.cell
    hooks = registry()
    engine = engine_of(_backends(cell, options))
    engine.resolve_device(one.device)  # it may have been chosen on another machine
    document = described(one, threads)
    document["machine"] |= engine.device_facts(one.device)
    started(document)
    started_with = {key: document[key] for key in STARTED}
    hooks.notify("inrbench_cell_started", cell=started_with)
    tracking = Tracking(hooks, started_with)
    run = CellRun(
        cell.seed,
        device=one.device,
        threads=threads,
        progress=progress,
        stop=stop,
        checkpoint_every_s=options.checkpoint_s,
        on_log=tracking.on_log,
    )
    start = time.perf_counter()
    vectors: Mapping[str, Any] = {}
    apart_bytes = 0
    try:
        engine.prepare(one.device, threads)
        memory.reset_peak()
        selected = select(one.data.splits, cell.data_settings, cell.seed)
        with _built(cell, selected, run, options) as built:
            outcome = _outcome(one, options, run, built, selected)
            document["facts"] = facts_of(cell, built.fitter.facts(), selected)
            apart_bytes = getattr(built.fitter, "peak_bytes", 0)
        document |= {"status": "ok", "metrics": outcome.metrics, "costs": outcome.costs}
        vectors = outcome.vectors
    except InrbenchError as error:
        document |= {"status": error.status, "reason": str(error)}
    except KeyboardInterrupt:
        document |= {"status": Interrupted.status, "reason": "stopped at once; the last checkpoint is kept"}
    except Exception as error:
        memory_gone = isinstance(error, MemoryError) or engine.is_out_of_memory(error)
        status = OutOfMemory.status if memory_gone else CRASH
        document |= {"status": status, "reason": f"{type(error).__name__}: {error}"}
        document["traceback"] = traceback.format_exc()
    # stages that were kept count as if they were done now
    document["costs"]["total_s"] = max(time.perf_counter() - start, sum(run.seconds.values()))
    document["costs"]["peak_memory_bytes"] = engine.peak_memory_bytes(one.device) or memory.peak_bytes() + apart_bytes
    document["finished"] = now()
    document["log"] = logged(run.history)
    tracking.tell()
    if document["status"] != "ok":
        document["attempt"] = _attempt(options.records, document)
    document = read_record(write_record(options.records, document, vectors))
    hooks.notify("inrbench_cell_finished", record=document)
    return document


def died(
    document: Mapping[str, Any], folder: Path, status: str, reason: str, seconds: float, log_tail: Sequence[str] = ()
) -> dict[str, Any]:
    """Write the record of a cell whose process ended without one, from what was known of it before.

    ``log_tail`` are the last lines that it wrote, the traceback of a fatal signal among them.
    """
    whole = {
        **document,
        "status": status,
        "reason": reason,
        "costs": {"total_s": seconds},
        "finished": now(),
        "log_tail": list(log_tail),
        "attempt": _attempt(folder, document),
    }
    record = read_record(write_record(folder, whole))
    registry().notify("inrbench_cell_finished", record=record)
    return record


def tail(log: Path, lines: int = TAIL_LINES) -> list[str]:
    """The last lines of a log; none where there is no log."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - TAIL_BYTES))
            return file.read().decode(errors="replace").splitlines()[-lines:]
    except OSError:
        return []


def described(one: Planned, threads: int) -> dict[str, Any]:
    """What a record holds whatever the outcome: all that repeats the cell. Needs no framework."""
    cell = one.cell
    entries = {
        part: registry().entry(plugin.kind, cell.dataset if part == "data" else plugin.name, backend=_backend(plugin))
        for part, plugin in cell.plugins.items()
        if plugin is not None
    }
    return {
        "schema": SCHEMA,
        "cell": one.name,
        "label": cell.label,
        "key": one.key,
        "keys": dict(one.keys),
        "ingredients": dict(one.ingredients),
        "method": cell.method.name,
        "dataset": one.data.name,
        "profile": cell.profile,
        "seed": cell.seed,
        "settings": cell.tree(),
        **({} if cell.published is None else {"published": cell.published}),
        "plugins": {part: f"{entry.distribution} {entry.version}" for part, entry in entries.items()},
        "data": {"checksum": one.data.checksum, "official": one.data.official},
        "versions": versions(),
        "commit": commit(),
        "machine": {"device": one.device, "threads": threads, "cpu": cpu_model(), "system": platform.system()},
        "started": now(),
        "status": "failed",
        "reason": "",
        "metrics": {},
        "costs": {},
    }


def _attempt(folder: Path, document: Mapping[str, Any]) -> int:
    """How often the cell has failed now, this time counted."""
    stem = file_stem(str(document["cell"]), str(document["key"]))
    for path in (folder / f"{stem}.failed.json", folder / f"{stem}.json"):
        with contextlib.suppress(RecordError):
            before = read_record(path)
            return 1 if before["status"] == "ok" else int(before.get("attempt") or 0) + 1
    return 1


def _backends(cell: Cell, options: Options) -> tuple[str, ...]:
    """The frameworks that the cell's own process loads: the reader's, where the fitter has a process of its own."""
    reader = cell.plugins["reader"]
    return (reader.backend,) if options.isolate and needs_apart(cell) and reader is not None else cell.backends


@contextlib.contextmanager
def _built(cell: Cell, selected: Selected, run: CellRun, options: Options) -> Iterator[Built]:
    if options.isolate and needs_apart(cell):
        with built_apart(cell, selected, run) as built:
            yield built
    else:
        yield cell.build()


def _outcome(one: Planned, options: Options, run: CellRun, built: Built, selected: Selected) -> Outcome:
    stages = Stages(cache_folder() / "stages" if options.keep else None, one.keys)
    if options.rerun:
        stages.forget()
    share = None if one.cell.joint is None else one.cell.joint.share
    return run_cell(built.fitter, built.reader, share, selected, run, stages)


def _backend(plugin: Any) -> str | None:
    return None if plugin.kind == "dataset" else plugin.backend
