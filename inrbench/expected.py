"""How long planned cells will take, and how much memory: from what cells like them took here before.

A cell is measured by the newest good record of the same method, data set and profile on the same kind of device, one of
the same settings first: each of its times is scaled by the work that it was for. What was never measured is unknown.
"""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from inrbench.errors import RecordError
from inrbench.planning import FINISHED, Foreseen
from inrbench.provenance import cpu_model
from inrbench.records import file_stem, read_record
from inrbench.settings import TrainingSettings
from inrbench.stages import cache_folder

__all__ = ["Expected", "expected"]

Record = Mapping[str, Any]
#: Records of a method, data set and profile that are looked at, the newest.
MOST_READ = 200
#: The times of a record, by the stage that they are of.
TIMES = {"train": ("train_s",), "read": ("fit_train_s", "read_train_s"), "score": ("fit_s", "query_s", "read_s")}


@dataclass(frozen=True)
class Expected:
    """What a cell will take. ``seconds`` are those of the stages that could be estimated; None where none could."""

    seconds: float | None
    unknown: tuple[str, ...]  # stages of unknown length
    memory_bytes: int | None  # at its peak: of the device, or of the process where that computes
    source: str  # what it is from, or why it is unknown

    @property
    def known(self) -> bool:
        """Whether all that is left to do could be estimated."""
        return not self.unknown


def expected(cells: Sequence[Foreseen], folder: Path) -> list[Expected]:
    """What each of ``cells`` will take, from the records in ``folder`` and from what was kept of these cells."""
    groups: dict[tuple[str, ...], list[Foreseen]] = {}
    for one in cells:
        groups.setdefault(_group(one), []).append(one)
    measures = {group: _Measure(members, folder) for group, members in groups.items()}
    return [measures[_group(one)].of(one) for one in cells]


def _group(one: Foreseen) -> tuple[str, ...]:
    return one.cell.method.name, one.cell.dataset, one.cell.profile, one.device.partition(":")[0]


class _Measure:
    """The records of one method, data set, profile and kind of device."""

    def __init__(self, cells: Sequence[Foreseen], folder: Path) -> None:
        first = cells[0]
        self.what = f"{first.cell.method.name}+{first.cell.dataset} at profile {first.cell.profile}"
        found: list[Record] = [
            one.planned.record for one in cells if one.planned is not None and one.planned.record is not None
        ]
        known = {record["key"] for record in found}
        found += [record for record in _records_of(first, folder) if record["key"] not in known]
        kind = first.device.partition(":")[0]
        good = [record for record in found if _measures(record, first, kind)]
        good.sort(key=lambda record: (_like_here(record, first), str(record["finished"])))  # the last one counts
        self.newest = good[-1] if good else None
        self.by_settings = {_settings(record["settings"]): record for record in good}
        self.kept = None if good else _kept_training(cells)
        self.settings: dict[int, str] = {}  # by id: the cells of all seeds share theirs

    def of(self, one: Foreseen) -> Expected:
        """What ``one`` will take."""
        if one.done:
            return Expected(0.0, (), None, "done before")
        if id(one.cell.settings) not in self.settings:
            self.settings[id(one.cell.settings)] = _settings(one.cell.tree())
        same = self.by_settings.get(self.settings[id(one.cell.settings)])
        record = same or self.newest
        if record is None:
            return self._from_training(one)
        seconds = _overhead(record)
        for stage in one.left:
            seconds += sum(_seconds(record, one, name) for name in TIMES[stage])
        memory = record["costs"].get("peak_memory_bytes")
        source = f"from {record['cell']}" + ("" if same else ", of other settings") + _elsewhere(record, one)
        return Expected(seconds, (), None if memory is None else int(memory), source)

    def _from_training(self, one: Foreseen) -> Expected:
        """Without a record: by the training of another of the cells, where one was kept."""
        why, work = f"no record of {self.what} on {one.device.partition(':')[0]}", _work(one)
        if "train" not in one.left or work is None or self.kept is None:
            if "train" in one.left and work is not None and one.size.train_flops:
                why += f"; its training is {work:.2g} FLOPs"
            return Expected(None, one.left, None, why)
        pace, other = self.kept
        unknown = tuple(stage for stage in one.left if stage != "train")
        return Expected(pace * work, unknown, None, f"training from that of {other}; {why}")


def _records_of(first: Foreseen, folder: Path) -> list[Record]:
    """The newest records of the cell's method, data set and profile, whatever their settings and seeds."""
    data = first.planned.data.name if first.planned else first.cell.dataset
    named = f"{first.cell.method.name}+{data}-{first.cell.profile}-s"  # as their files' names begin
    begin = file_stem(named, "").removesuffix("-")
    try:
        paths = [path for path in folder.iterdir() if path.name.startswith(begin) and path.suffix == ".json"]
        paths = sorted(paths, key=lambda path: path.stat().st_mtime_ns)[-MOST_READ:]
    except OSError:  # no folder yet, or another process cleans it up
        return []
    found: list[Record] = []
    for path in paths:
        with contextlib.suppress(RecordError):
            found.append(read_record(path))
    return found


def _measures(record: Record, first: Foreseen, kind: str) -> bool:
    """Whether ``record`` is a good one of such a cell, from data to scores, on the same kind of device."""
    machine = record.get("machine") or {}
    return (
        record["status"] == "ok"
        and record["method"] == first.cell.method.name
        and record["profile"] == first.cell.profile
        and "artefact" not in record
        and str(machine.get("device", "")).partition(":")[0] == kind
        and isinstance(record["costs"].get("total_s"), int | float)
    )


def _like_here(record: Record, first: Foreseen) -> tuple[bool, bool]:
    machine = record["machine"]
    return machine.get("cpu") == cpu_model(), machine.get("threads") == first.threads


def _elsewhere(record: Record, one: Foreseen) -> str:
    here, threads = _like_here(record, one)
    said = "" if here else ", on another processor"
    return said if threads else f"{said}, with {record['machine'].get('threads')} threads"


def _settings(tree: Mapping[str, Any]) -> str:
    return json.dumps(tree, sort_keys=True, default=str)


def _overhead(record: Record) -> float:
    """Seconds beside those of the stages: loading, compiling, selecting, writing."""
    times = sum(record["costs"].get(name) or 0.0 for names in TIMES.values() for name in names)
    return max(0.0, float(record["costs"]["total_s"]) - times)


def _seconds(record: Record, one: Foreseen, name: str) -> float:
    """The time ``name`` of ``record``, for the work of ``one``."""
    costs, facts, settings = record["costs"], record["facts"], record["settings"]
    counts, size = one.counts, one.size
    here: list[float | None] = [None]
    there: list[float | None] = [None]
    if name in ("train_s", "read_train_s"):
        part = "fitter" if name == "train_s" else "reader"
        here = [_steps(one, part), size.train_flops if part == "fitter" else size.reader_flops]
        flops = costs.get("train_flops_per_signal" if part == "fitter" else "read_flops_per_signal")
        trained = (settings.get(part) or {}).get("train")
        there = [_presented(one, part, trained, facts.get("train_signals")), flops]
    elif name == "fit_train_s":
        copies = one.cell.data_settings.copies.count
        here = [float(counts.train * copies) if counts else None, size.fit_flops]
        before = ((settings.get("data") or {}).get("copies") or {}).get("count", 1)
        there = [float(before * facts.get("train_signals", 0)), costs.get("fit_flops_per_signal")]
    else:
        flops = {"fit_s": size.fit_flops, "read_s": size.reader_flops}.get(name)
        cost = {"fit_s": "fit_flops_per_signal", "read_s": "read_flops_per_signal"}.get(name, "")
        here = [float(counts.scored) if counts else None, flops]
        there = [facts.get("scored_episodes", facts.get("scored_signals")), costs.get(cost)]
    ratio = math.prod(h / t for h, t in zip(here, there, strict=True) if h and t)
    return float(costs.get(name) or 0.0) * ratio


def _steps(one: Foreseen, part: str = "fitter") -> float | None:
    """How many signals the training of ``part`` sees, one after the other; None where that is not known."""
    trained = getattr(one.cell.settings[part], "train", None)
    if not isinstance(trained, TrainingSettings) or one.counts is None:
        return None
    return trained.presented(one.counts.train)


def _presented(one: Foreseen, part: str, trained: Any, signals: Any) -> float | None:
    """The same of a record's settings of training, for so many training signals."""
    own = getattr(one.cell.settings[part], "train", None)
    kind = type(own) if isinstance(own, TrainingSettings) else TrainingSettings
    if not isinstance(trained, Mapping) or not isinstance(signals, int):
        return None
    try:
        model = kind.model_validate({k: v for k, v in trained.items() if k in kind.model_fields})
    except ValueError:  # of another version of this code
        return None
    return model.presented(signals)


def _kept_training(cells: Sequence[Foreseen]) -> tuple[float, str] | None:
    """Seconds a signal and FLOP of the first training among ``cells`` that is kept, and whose it is."""
    from safetensors import SafetensorError, safe_open

    for one in cells:
        work = _work(one)
        if one.stages.get("train") != "kept" or one.planned is None or not work:
            continue
        path = cache_folder() / "stages" / one.planned.keys["train"] / FINISHED["train"]
        with contextlib.suppress(SafetensorError, OSError, ValueError, KeyError):
            with safe_open(path, framework="numpy") as file:
                seconds = json.loads((file.metadata() or {})["seconds"])["train"]
            return float(seconds) / work, one.name
    return None


def _work(one: Foreseen) -> float | None:
    """The work of a training: the signals it sees, times the FLOPs of each where these are known."""
    steps = _steps(one)
    return None if steps is None else steps * (one.size.train_flops or 1.0)
