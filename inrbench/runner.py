"""Runs cells: checks all of them before the first starts, runs one after the other, ends each in a record."""

from __future__ import annotations

import os
import platform
import threading
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from inrbench import memory
from inrbench.cell_run import CellRun, stop_on_signals
from inrbench.cells import Built, Cell, build_dataset
from inrbench.data import OpenedData, open_dataset
from inrbench.errors import InrbenchError, Interrupted, OutOfMemory, RecordError, Refused, UsageError
from inrbench.facts import facts_of
from inrbench.keys import Codes, stage_ingredients, stage_keys
from inrbench.pipeline import Outcome, run_cell
from inrbench.progress import Progress, duration
from inrbench.provenance import commit, cpu_model, versions
from inrbench.records import SCHEMA, file_stem, now, read_record, write_record
from inrbench.registry import registry
from inrbench.selection import Selected, select
from inrbench.stages import Stages, cache_folder

__all__ = ["Options", "Planned", "check_folder", "devices_of", "num_threads", "plan", "run_cells", "with_record"]

QUICKER = {"paper": "`--profile laptop` takes less", "laptop": "`--profile smoke` takes seconds", "smoke": ""}
LOGGED_POINTS = 50


@dataclass(frozen=True)
class Options:
    """How and where cells run; none of this changes a result, but for device and threads, which are recorded."""

    records: Path = Path("records")
    data_root: Path | None = None
    unofficial: bool = False
    device: str = "auto"
    threads: int | None = None
    rerun: bool = False  # run also what has a record; stages that are kept are done again too
    keep: bool = True  # keep finished stages and checkpoints in the cache


@dataclass(frozen=True)
class Planned:
    """A cell with what is known of it before it starts."""

    cell: Cell
    data: OpenedData
    device: str
    keys: Mapping[str, str]
    record: dict[str, Any] | None = field(default=None, compare=False)  # the one that exists

    @property
    def name(self) -> str:
        """The cell's name, with the data's own name: ``mwt+cifar10~1a2b3c4d-laptop-s0``."""
        return replace(self.cell, dataset=self.data.name).name

    @property
    def key(self) -> str:
        """What the record is filed under."""
        return self.keys["score"]


def num_threads(asked: int | None = None) -> int:
    """The threads to use: those asked for, else the cores this process may use. Raises UsageError below 1."""
    if asked is not None:
        if asked < 1:
            raise UsageError(f"threads: a whole number from 1 on; given: {asked}")
        return asked
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def plan(cells: Sequence[Cell], options: Options) -> list[Planned]:
    """Check every cell before the first starts: device, parts, data, records that exist.

    Downloads data that is missing, once all parts are known to fit. Raises UsageError or BadData with one line.
    """
    check_folder(options.records)
    num_threads(options.threads)
    devices = devices_of(cells, options)
    opened: dict[str, OpenedData] = {}
    codes: Codes = {}
    planned = []
    for cell, device in zip(cells, devices, strict=True):
        if cell.joint is not None and cell.data_settings.copies.count > 1:
            raise Refused(
                f"setting data.copies.count={cell.data_settings.copies.count}: allowed is 1 where fitter and reader "
                "train together, on signals that fitter.train.augmentation draws anew; --set joint=null trains the "
                "reader on its own"
            )
        source = str((cell.dataset, cell.data_settings))
        if source not in opened:
            opened[source] = _opened(cell, options)
            select(opened[source].splits, cell.data_settings, cell.seed)
        planned.append(with_record(cell, opened[source], device, options, codes))
    return planned


def devices_of(cells: Sequence[Cell], options: Options) -> list[str]:
    """The device of each cell, after a check that it is there and that all parts can be constructed.

    Needs no data. Raises UsageError with one line.
    """
    devices: dict[tuple[str, ...], str] = {}
    built: set[str] = set()
    seen: set[int] = set()  # by id: the cells of all seeds share their settings
    for cell in cells:
        if cell.backends not in devices:
            devices[cell.backends] = cell.engine().resolve_device(options.device)
        if id(cell.settings) in seen:
            continue
        seen.add(id(cell.settings))
        parts = str((cell.method.name, cell.dataset, cell.tree()))
        if parts not in built:
            cell.build()
            built.add(parts)
    return [devices[cell.backends] for cell in cells]


def with_record(cell: Cell, data: OpenedData, device: str, options: Options, codes: Codes | None = None) -> Planned:
    """The cell on ``data``, of which the name and the checksum count here, with the record that exists of it.

    ``codes`` is what the cells of one planning share.
    """
    one = Planned(cell, data, device, stage_keys(cell, data.checksum, device.partition(":")[0], codes))
    path = options.records / f"{file_stem(one.name, one.key)}.json"
    return replace(one, record=_existing(path, one.key))


def run_cells(
    planned: Sequence[Planned], options: Options, report: Callable[[str], None] = lambda line: None, quiet: bool = True
) -> list[dict[str, Any]]:
    """Run the cells that have no good record yet; returns the record of each, in order, failures too.

    Ctrl-C checkpoints the running cell, records it as interrupted, and leaves the rest undone.
    """
    records: list[dict[str, Any]] = []
    stop = threading.Event()
    with stop_on_signals(stop):
        for number, one in enumerate(planned, 1):
            title = f"[{number}/{len(planned)}] {one.name}" + (f" ({one.cell.label})" if one.cell.label else "")
            done = one.record if one.record is not None and one.record["status"] == "ok" else None
            if done is not None and not options.rerun:
                report(f"{title}: done before")
                records.append(_with_published(done, one.cell, options))
                continue
            report(title)
            record = _run(one, options, stop, quiet)
            report(_summary(record))
            records.append(record)
            if record["status"] == Interrupted.status:
                break
    return records


def _with_published(record: dict[str, Any], cell: Cell, options: Options) -> dict[str, Any]:
    """The record with the published values that the cell carries: it may have been made before a sweep named them."""
    if cell.published is None or record.get("published") == cell.published:
        return record
    return read_record(write_record(options.records, {**record, "published": cell.published}))


def _run(one: Planned, options: Options, stop: threading.Event, quiet: bool) -> dict[str, Any]:
    """One cell, ending in a written record whatever happens."""
    cell = one.cell
    threads = num_threads(options.threads)
    hooks = registry()
    document = _described(one, threads)
    hooks.notify("inrbench_cell_started", cell={key: document[key] for key in STARTED})
    progress = Progress(quiet=quiet, quicker=QUICKER[cell.profile])
    run = CellRun(cell.seed, device=one.device, threads=threads, progress=progress, stop=stop)
    started = time.perf_counter()
    vectors: Mapping[str, Any] = {}
    try:
        outcome, selected, built = _outcome(one, options, run)
        document |= {"status": "ok", "metrics": outcome.metrics, "costs": outcome.costs}
        document["facts"] = facts_of(cell, built.fitter.facts(), selected)
        vectors = outcome.vectors
    except InrbenchError as error:
        document |= {"status": error.status, "reason": str(error)}
    except KeyboardInterrupt:
        document |= {"status": Interrupted.status, "reason": "stopped at once; the last checkpoint is kept"}
    except Exception as error:
        memory_gone = isinstance(error, MemoryError) or cell.engine().is_out_of_memory(error)
        status = OutOfMemory.status if memory_gone else "crash"
        document |= {"status": status, "reason": f"{type(error).__name__}: {error}"}
        document["traceback"] = traceback.format_exc()
    # stages that were kept count as if they were done now
    document["costs"]["total_s"] = max(time.perf_counter() - started, sum(run.seconds.values()))
    device_peak = cell.engine().peak_memory_bytes(one.device)
    document["costs"]["peak_memory_bytes"] = memory.peak_bytes() if device_peak is None else device_peak
    document["finished"] = now()
    every = max(1, -(-len(run.history) // LOGGED_POINTS))
    document["log"] = run.history[::every]
    document = read_record(write_record(options.records, document, vectors))
    hooks.notify("inrbench_cell_finished", record=document)
    return document


def _outcome(one: Planned, options: Options, run: CellRun) -> tuple[Outcome, Selected, Built]:
    one.cell.engine().prepare(one.device, run.threads)
    memory.reset_peak()
    built = one.cell.build()
    selected = select(one.data.splits, one.cell.data_settings, one.cell.seed)
    stages = Stages(cache_folder() / "stages" if options.keep else None, one.keys)
    if options.rerun:
        stages.forget()
    share = None if one.cell.joint is None else one.cell.joint.share
    return run_cell(built.fitter, built.reader, share, selected, run, stages), selected, built


STARTED = ("cell", "key", "method", "dataset", "profile", "seed", "settings")


def _described(one: Planned, threads: int) -> dict[str, Any]:
    """What a record holds whatever the outcome: all that repeats the cell."""
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
        "ingredients": stage_ingredients(cell, one.data.checksum, one.device.partition(":")[0]),
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
        "machine": {
            "device": one.device,
            "threads": threads,
            "cpu": cpu_model(),
            "system": platform.system(),
            **cell.engine().device_facts(one.device),
        },
        "started": now(),
        "status": "failed",
        "reason": "",
        "metrics": {},
        "costs": {},
    }


def _backend(plugin: Any) -> str | None:
    return None if plugin.kind == "dataset" else plugin.backend


def _opened(cell: Cell, options: Options) -> OpenedData:
    data = cell.plugins["data"]
    assert data is not None
    dataset = build_dataset(data, cell.dataset, cell.data_settings)
    return open_dataset(cell.dataset, dataset, options.data_root, unofficial=options.unofficial)


def _existing(path: Path, key: str) -> dict[str, Any] | None:
    if not path.exists():
        return None
    try:
        record = read_record(path)
    except RecordError:
        return None  # damaged: the cell runs again and replaces it
    return record if record["key"] == key else None


def check_folder(folder: Path) -> None:
    """Records must be writable before anything is computed."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / f".{os.getpid()}.probe"
        probe.write_bytes(b"")
        probe.unlink()
    except OSError as error:
        raise UsageError(
            f"records cannot be written to {str(folder)!r} ({error.strerror or error}); say --records DIR"
        ) from error


def _summary(record: Mapping[str, Any]) -> str:
    """One line on how a cell ended."""
    spent = duration(record["costs"]["total_s"])
    if record["status"] != "ok":
        return f"  {record['status']} after {spent}: {record['reason']}"
    metrics = record["metrics"]
    shown = []
    if "accuracy" in metrics:
        shown.append(f"accuracy {100 * metrics['accuracy']:.1f} %")
    if "psnr_db" in metrics:
        shown.append(f"PSNR {metrics['psnr_db']:.2f} dB")
    return f"  {', '.join(shown) or 'done'}, in {spent}"
