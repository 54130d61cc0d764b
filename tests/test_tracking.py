"""What a cell logs reaches trackers: gathered, in order, whole, and without a way to stop the cell."""

from __future__ import annotations

import importlib
import logging
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from inrbench.cell_run import CellRun
from inrbench.errors import Interrupted
from inrbench.plugin import hookimpl
from inrbench.registry import Registry
from inrbench.representations import Arrays
from inrbench.tracking import Tracking

CELL = {"cell": "a+b-smoke-s0", "key": "0" * 32}


@dataclass(frozen=True)
class Point:
    name: str
    value: str
    dist: None = None

    def load(self) -> ModuleType:
        return importlib.import_module(self.value)


@pytest.fixture
def hooks(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Registry]:
    """A registry of plugins that implement one hook each."""

    def made(*implementations: Callable[..., None]) -> Registry:
        points = []
        for number, implementation in enumerate(implementations):
            module = ModuleType(f"fake_tracker_{number}")
            setattr(module, implementation.__name__, implementation)
            monkeypatch.setitem(sys.modules, module.__name__, module)
            points.append(Point(f"tracker-{number}", module.__name__))
        registry = Registry(points)  # type: ignore[arg-type]
        assert registry.faults == []
        return registry

    return made


@pytest.fixture
def told() -> list[tuple[str, list[dict[str, Any]]]]:
    """What `noted` was told, a list of points a call."""
    return []


@pytest.fixture
def noted(told: list[tuple[str, list[dict[str, Any]]]]) -> Callable[..., None]:
    @hookimpl
    def inrbench_cell_logged(cell: Mapping[str, Any], points: Sequence[Mapping[str, Any]]) -> None:
        told.append((cell["cell"], [dict(point) for point in points]))

    return inrbench_cell_logged


def steps_told(told: list[tuple[str, list[dict[str, Any]]]]) -> list[list[int]]:
    return [[point["step"] for point in points] for _, points in told]


# ------------------------------------------------------------------ when it is told


def test_nothing_is_gathered_where_no_plugin_listens(hooks: Any) -> None:
    @hookimpl
    def inrbench_cell_finished(record: Mapping[str, Any]) -> None: ...

    tracking = Tracking(hooks(inrbench_cell_finished), CELL)
    assert tracking.on_log is None
    tracking.tell()


def test_the_first_point_is_told_at_once_and_the_rest_together_at_the_end(
    hooks: Any, noted: Any, told: list[Any]
) -> None:
    tracking = Tracking(hooks(noted), CELL, every_s=3600.0)
    assert tracking.on_log is not None
    before = time.time()
    for step in range(5):
        tracking.on_log("train", "train", step, {"loss": 1.0 / (1 + step)})
    assert steps_told(told) == [[0]]
    tracking.tell()
    assert steps_told(told) == [[0], [1, 2, 3, 4]]
    assert {cell for cell, _ in told} == {CELL["cell"]}
    (last,) = told[1][1][-1:]
    assert before <= last.pop("time") <= time.time()
    assert last == {"stage": "train", "loop": "train", "step": 4, "values": {"loss": 0.2}}
    tracking.tell()
    assert len(told) == 2  # nothing new is not told


def test_points_are_told_again_once_the_time_between_has_passed(hooks: Any, noted: Any, told: list[Any]) -> None:
    tracking = Tracking(hooks(noted), CELL, every_s=0.05)
    assert tracking.on_log is not None
    for step in range(4):
        tracking.on_log("train", "train", step, {"loss": 0.0})
        if step == 2:
            time.sleep(0.06)
    assert steps_told(told) == [[0], [1, 2, 3]]


# ------------------------------------------------------------------ stages and loops


def logging_loop(run: CellRun, name: str, total: int = 2) -> Iterator[int]:
    for step in run.steps(name, total, lambda: {"x": np.zeros(1)}, lambda arrays: None):
        run.log(step, loss=float(step))
        yield step


def test_a_run_tells_stage_and_loop_of_what_is_logged() -> None:
    heard: list[tuple[str, str, int, dict[str, float]]] = []
    run = CellRun(0, on_log=lambda stage, loop, step, values: heard.append((stage, loop, step, dict(values))))
    with run.clock("train"):
        run.log(0, difference=0.25)
        list(logging_loop(run, "train"))
    with run.clock("fit_train"), run.checkpoints_in(None, "copy-1-0-"):
        list(logging_loop(run, "shard 0", 1))
    with run.clock("read_train"):
        list(logging_loop(run, "read", 1))
    with run.clock("fit"):
        list(logging_loop(run, "shard 0", 1))
    run.log(1, difference=0.5)
    assert heard == [
        ("train", "", 0, {"difference": 0.25}),
        ("train", "train", 0, {"loss": 0.0}),
        ("train", "train", 1, {"loss": 1.0}),
        ("fit", "copy-1-0-shard 0", 0, {"loss": 0.0}),
        ("read", "read", 0, {"loss": 0.0}),
        ("score", "shard 0", 0, {"loss": 0.0}),
        ("", "", 1, {"difference": 0.5}),
    ]
    assert [entry["step"] for entry in run.history] == [step for *_, step, _ in heard]


def test_a_loop_that_is_stopped_is_left(tmp_path: Any) -> None:
    heard: list[str] = []
    run = CellRun(0, folder=tmp_path, on_log=lambda stage, loop, step, values: heard.append(loop))
    run.stop.set()
    with pytest.raises(Interrupted):
        list(logging_loop(run, "train", 5))
    run.log(0, value=1.0)
    assert heard == ["train", ""]


def test_a_resumed_loop_tells_the_steps_behind_its_checkpoint(tmp_path: Any) -> None:
    def run_once(stop_at: int | None) -> list[int]:
        heard: list[int] = []
        run = CellRun(0, folder=tmp_path, on_log=lambda stage, loop, step, values: heard.append(step))
        state: Arrays = {"x": np.zeros(1)}
        for step in run.steps("train", 6, lambda: state, lambda arrays: None):
            run.log(step, loss=0.0)
            if step == stop_at:
                run.stop.set()
        return heard

    with pytest.raises(Interrupted):
        run_once(2)
    assert run_once(None) == [3, 4, 5]


# ------------------------------------------------------------------ trackers that fail


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), SystemExit(3)], ids=["disk full", "exits"])
def test_a_tracker_that_fails_is_told_no_more_of_that_cell(
    hooks: Any, noted: Any, told: list[Any], caplog: pytest.LogCaptureFixture, error: BaseException
) -> None:
    calls: list[str] = []

    @hookimpl
    def inrbench_cell_logged(points: Sequence[Mapping[str, Any]]) -> None:
        calls.append(f"{len(points)} points")
        raise error

    registry = hooks(inrbench_cell_logged, noted)
    tracking = Tracking(registry, CELL, every_s=0.0)
    run = CellRun(0, on_log=tracking.on_log)
    with caplog.at_level(logging.WARNING, "inrbench"):
        assert list(logging_loop(run, "train", 50)) == list(range(50))
    assert calls == ["1 points"]
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "tracker-0 failed in inrbench_cell_logged: " + type(error).__name__ in caplog.text
    assert steps_told(told) == [[step] for step in range(50)]  # the other tracker hears everything

    other = Tracking(registry, {"cell": "another", "key": "1" * 32}, every_s=0.0)
    assert other.on_log is not None
    other.on_log("train", "train", 0, {})
    assert len(calls) == 2  # another cell is another chance


def test_a_tracker_that_failed_hears_of_the_cell_when_it_starts_again(hooks: Any) -> None:
    calls: list[str] = []

    @hookimpl
    def inrbench_cell_started(cell: Mapping[str, Any]) -> None:
        calls.append(cell["cell"])
        raise OSError("no network")

    registry = hooks(inrbench_cell_started)
    for _ in range(2):
        registry.notify("inrbench_cell_started", cell=CELL)
    assert calls == [CELL["cell"]] * 2


def test_ctrl_c_within_a_tracker_reaches_the_cell(hooks: Any) -> None:
    @hookimpl
    def inrbench_cell_logged() -> None:
        raise KeyboardInterrupt

    tracking = Tracking(hooks(inrbench_cell_logged), CELL)
    assert tracking.on_log is not None
    with pytest.raises(KeyboardInterrupt):
        tracking.on_log("train", "train", 0, {})
