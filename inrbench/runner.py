"""Plans cells: checks all of them before the first starts, and finds what is done already. `run_cells` runs them."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from inrbench.cells import Cell, build_dataset
from inrbench.data import OpenedData, data_folder, open_dataset
from inrbench.errors import BadData, RecordError, Refused, UsageError
from inrbench.interfaces import DataSet
from inrbench.keys import Codes, stages_of
from inrbench.progress import duration
from inrbench.records import file_stem, read_record, write_record
from inrbench.selection import select

__all__ = ["Options", "Planned", "check_folder", "devices_of", "num_threads", "plan", "run_cells", "with_record"]

QUICKER = {"paper": "`--profile laptop` takes less", "laptop": "`--profile smoke` takes seconds", "smoke": ""}


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
    isolate: bool = True  # each cell in a process of its own
    jobs: int = 1  # cells at once
    per_gpu: int = 1  # of them on one GPU
    timeout: float | None = None  # seconds after which a cell is killed
    memory: int | None = None  # resident bytes of a cell's processes beyond which they are killed
    retry: tuple[str, ...] | None = None  # statuses of failures to run again; all if None
    logs: bool = False  # keep what cells print, also of those that went well
    executor: str = "local"  # what runs the cells
    executor_settings: Mapping[str, Any] = field(default_factory=dict)
    wait: bool = True  # until the cells have their records, where the executor has a queue
    download: bool = True  # data that is missing
    checkpoint_s: float = 60.0  # between two checkpoints of a loop


@dataclass(frozen=True)
class Planned:
    """A cell with what is known of it before it starts."""

    cell: Cell
    data: OpenedData
    device: str
    keys: Mapping[str, str]  # of each stage
    ingredients: Mapping[str, Mapping[str, Any]] = field(compare=False)  # of each key, readable
    read_at: float = field(compare=False)  # when the code was read for the keys
    record: dict[str, Any] | None = field(default=None, compare=False)  # the one that exists

    @property
    def name(self) -> str:
        """The cell's name, with the data's own name: ``mwt+cifar10~1a2b3c4d-laptop-s0``."""
        return replace(self.cell, dataset=self.data.name).name

    @property
    def key(self) -> str:
        """What the record is filed under."""
        return self.keys["score"]

    def code(self) -> list[str]:
        """The modules whose source is part of its keys."""
        return sorted({module for stage in self.ingredients.values() for module in stage["code"]})


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
    found: dict[str, OpenedData] = {}
    codes: Codes = {}
    read_at = time.time()
    planned = []
    for cell, device in zip(cells, devices, strict=True):
        if cell.joint is not None and cell.data_settings.copies.count > 1:
            raise Refused(
                f"setting data.copies.count={cell.data_settings.copies.count}: allowed is 1 where fitter and reader "
                "train together, on signals that fitter.train.augmentation draws anew; --set joint=null trains the "
                "reader on its own"
            )
        source = str((cell.dataset, cell.data_settings))
        if source not in found:
            found[source] = opened(cell, options)
            select(found[source].splits, cell.data_settings, cell.seed)
        planned.append(with_record(cell, found[source], device, options, codes, read_at))
    return planned


def devices_of(cells: Sequence[Cell], options: Options) -> list[str]:
    """The device of each cell, after a check that it is there and that all parts can be constructed.

    Needs no data. Raises UsageError with one line.
    """
    from inrbench.execution.executors import chosen

    _, settings = chosen(options)
    if options.isolate:
        from inrbench.execution.checking import devices_checked

        there = [settings.device(cell, options.device) for cell in cells]
        here = devices_checked(cells, options.device if None in there else "cpu")
        return [a or b for a, b in zip(there, here, strict=True)]
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


def with_record(
    cell: Cell,
    data: OpenedData,
    device: str,
    options: Options,
    codes: Codes | None = None,
    read_at: float | None = None,
) -> Planned:
    """The cell on ``data``, of which the name and the checksum count here, with the record that exists of it.

    ``codes`` is what the cells of one planning share, and ``read_at`` when that began.
    """
    read_at = time.time() if read_at is None else read_at
    stages = stages_of(cell, data.checksum, device.partition(":")[0], {} if codes is None else codes)
    keys = {stage: key for stage, (_, key) in stages.items()}
    ingredients = {stage: ingredients for stage, (ingredients, _) in stages.items()}
    one = Planned(cell, data, device, keys, ingredients, read_at)
    return replace(one, record=existing(one, options))


def run_cells(
    planned: Sequence[Planned], options: Options, report: Callable[[str], None] = lambda line: None, quiet: bool = True
) -> list[dict[str, Any]]:
    """Run the cells that have no good record yet; returns the record of each, in order, failures too.

    Each in a process of its own, or all in this one (``options.isolate``). Ctrl-C checkpoints what runs, records it as
    interrupted, and leaves the rest undone.
    """
    from inrbench.execution.executors import chosen

    execute, settings = chosen(options)
    if options.isolate:
        records: list[dict[str, Any]] = execute(planned, options, settings, report, quiet)
        return records
    from inrbench.execution.here import run_here

    return run_here(planned, options, report, quiet)


def to_do(one: Planned, options: Options) -> bool:
    """Whether a cell is to be run, as far as its record tells: it has no good one, and not one of a failure to keep."""
    if one.record is None or options.rerun:
        return True
    status = one.record["status"]
    return status != "ok" and (options.retry is None or status in options.retry)


def with_published(record: dict[str, Any], cell: Cell, options: Options) -> dict[str, Any]:
    """The record with the published values that the cell carries: it may have been made before a sweep named them."""
    if cell.published is None or record.get("published") == cell.published:
        return record
    return read_record(write_record(options.records, {**record, "published": cell.published}))


def opened(cell: Cell, options: Options) -> OpenedData:
    data = cell.plugins["data"]
    assert data is not None
    dataset = build_dataset(data, cell.dataset, cell.data_settings)
    if not options.download:
        _check_there(cell.dataset, dataset, options)
    return open_dataset(cell.dataset, dataset, options.data_root, unofficial=options.unofficial)


def _check_there(name: str, dataset: DataSet, options: Options) -> None:
    """Say how to bring data that is missing to where nothing is downloaded: a node without a network, say."""
    folder = data_folder(name, options.data_root)
    missing = [file.path for file in dataset.files if not file.is_there(folder)]
    if missing:
        root = "" if options.data_root is None else f" --data-root {options.data_root}"
        raise BadData(
            f"{name}: {', '.join(missing[:4])} missing in {folder} on {socket.gethostname()}, where nothing is "
            f"downloaded; `inrbench data fetch {name}{root}` on a machine with a network brings it, if that folder is "
            "shared with this one"
        )


def existing(one: Planned, options: Options) -> dict[str, Any] | None:
    """The cell's record, as it is on the disk now; the good one where there are two. A damaged one counts as none."""
    stem = file_stem(one.name, one.key)
    for path in (options.records / f"{stem}.json", options.records / f"{stem}.failed.json"):
        try:
            record = read_record(path)
        except RecordError:
            continue  # there is none, or it is damaged: the cell runs again and replaces it
        if record["key"] == one.key:
            return record
    return None


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


def before(record: Mapping[str, Any]) -> str:
    """Why a cell with this record is not run now."""
    return "done before" if record["status"] == "ok" else f"left as it is, {record['status']}: {record['reason']}"


def summary(record: Mapping[str, Any]) -> str:
    """One line on how a cell ended."""
    spent = duration(record["costs"]["total_s"])
    if record["status"] != "ok":
        return f"  {record['status']} after {spent}: {record['reason']}"
    metrics = record["metrics"]
    shown = []
    if "accuracy" in metrics:
        shown.append(f"accuracy {100 * metrics['accuracy']:.1f} %")
    if "iou" in metrics:
        shown.append(f"IoU {metrics['iou']:.3f}")
    if "psnr_db" in metrics:
        shown.append(f"PSNR {metrics['psnr_db']:.2f} dB")
    return f"  {', '.join(shown) or 'done'}, in {spent}"


def title(one: Planned, number: int, count: int) -> str:
    """``[2/12] mwt+digits-laptop-s0 (rate 3e-4)``."""
    return f"[{number}/{count}] {one.name}" + (f" ({one.cell.label})" if one.cell.label else "")
