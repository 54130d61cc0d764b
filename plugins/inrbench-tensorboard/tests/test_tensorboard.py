"""What the tracker writes, read back by TensorBoard's own code."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import inrbench_tensorboard
import numpy as np
import pytest
from inrbench_tensorboard import tracker
from inrbench_tensorboard.events import PATTERN
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams import metadata, plugin_data_pb2

KEY = "0123456789abcdef" * 2
CELL = {
    "cell": "siren+digits-smoke-s0-a/b",
    "key": KEY,
    "method": "siren",
    "dataset": "digits",
    "profile": "smoke",
    "seed": 7,
    "settings": {"fitter": {"name": "gradient-descent", "steps": 3, "lr": 1e-4}, "reader": None, "flags": [True, "é"]},
}
STEM = "siren+digits-smoke-s0-a_b-01234567"
GOOD = {**CELL, "status": "ok", "reason": "", "metrics": {"psnr_db": 31.5, "nan": None}, "costs": {"total_s": 2.5}}


@pytest.fixture(autouse=True)
def _nothing_tracked() -> Iterator[None]:
    """Each test starts as a new process does."""
    tracker._tracked.clear()
    yield
    tracker._tracked.clear()


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("INRBENCH_TENSORBOARD", str(tmp_path / "tb"))
    return tmp_path / "tb"


def point(step: int, loss: float, *, stage: str = "train", loop: str = "train", time: float = 1e9) -> dict[str, Any]:
    return {"stage": stage, "loop": loop, "step": step, "time": time + step, "values": {"loss": loss}}


def start(cell: Mapping[str, Any] = CELL) -> None:
    inrbench_tensorboard.inrbench_cell_started(cell)


def log(*points: Mapping[str, Any], cell: Mapping[str, Any] = CELL) -> None:
    inrbench_tensorboard.inrbench_cell_logged(cell, points)


def finish(record: Mapping[str, Any] = GOOD) -> None:
    inrbench_tensorboard.inrbench_cell_finished(record)


def new_process() -> None:
    """Forget the cells of this process, as if it had been killed."""
    tracker._tracked.clear()


def read(folder: Path) -> EventAccumulator:
    assert list(folder.glob(PATTERN)), folder
    found = EventAccumulator(str(folder), size_guidance={"scalars": 0, "tensors": 0})
    found.Reload()
    return found


def scalars(folder: Path, tag: str) -> dict[int, float]:
    """Value by step; no step twice."""
    events = read(folder).Scalars(tag)
    assert len({event.step for event in events}) == len(events)
    return {event.step: event.value for event in events}


def text(folder: Path, tag: str) -> str:
    (event,) = read(folder).Tensors(tag)
    (value,) = event.tensor_proto.string_val
    return str(value.decode())


# ------------------------------------------------------------------ what is written


def test_logged_values_are_scalars_of_their_stage_at_their_step_and_time(place: Path) -> None:
    start()
    log(point(0, 0.5), point(1, 0.1))
    log(point(2, float("inf")), point(0, 3.0, stage="read", loop="read"))
    finish()
    found = read(place / STEM / "train")
    assert found.Tags()["scalars"] == ["train/loss"]
    written = [(event.step, event.wall_time, event.value) for event in found.Scalars("train/loss")]
    assert written == [(0, 1e9, 0.5), (1, 1e9 + 1, float(np.float32(0.1))), (2, 1e9 + 2, float("inf"))]
    assert scalars(place / STEM / "read", "read/loss") == {0: 3.0}


def test_a_loop_of_another_name_is_a_run_of_its_own(place: Path) -> None:
    start()
    log(point(0, 0.5, stage="fit", loop="train-shard 0"), point(0, 0.25, stage="fit", loop="../shard 1"))
    log(point(0, 0.125, loop=""))  # outside of any loop
    assert scalars(place / STEM / "fit" / "train-shard-0", "fit/loss") == {0: 0.5}
    assert scalars(place / STEM / "fit" / "-shard-1", "fit/loss") == {0: 0.25}
    assert scalars(place / STEM, "train/loss") == {0: 0.125}


def test_settings_metrics_costs_and_status_are_the_cells_own_run(place: Path) -> None:
    start()
    settings = text(place / STEM, "settings")
    assert "fitter:\n  name: gradient-descent\n  steps: 3\n  lr: 0.0001\nreader: null\n" in settings
    assert "method: siren\n" in settings
    assert "é" in settings
    finish()
    assert text(place / STEM, "status") == "**ok** "
    assert scalars(place / STEM, "metrics/psnr_db") == {0: 31.5}
    assert scalars(place / STEM, "costs/total_s") == {0: 2.5}
    assert set(read(place / STEM).Tags()["scalars"]) == {"metrics/psnr_db", "costs/total_s"}


def hparams(folder: Path, tag: str) -> Any:
    content = read(folder).SummaryMetadata(tag).plugin_data.content
    return plugin_data_pb2.HParamsPluginData.FromString(content)


def test_settings_and_the_end_are_there_for_the_table_of_hyperparameters(place: Path) -> None:
    start()
    begun = hparams(place / STEM, metadata.SESSION_START_INFO_TAG).session_start_info
    assert begun.group_name == STEM
    values = {name: getattr(value, value.WhichOneof("kind")) for name, value in begun.hparams.items()}
    assert values == {
        "method": "siren",
        "dataset": "digits",
        "profile": "smoke",
        "seed": 7.0,
        "fitter.name": "gradient-descent",
        "fitter.steps": 3.0,
        "fitter.lr": 1e-4,
        "reader": "null",
        "flags": '[true, "é"]',
    }
    finish()
    ended = hparams(place / STEM, metadata.SESSION_END_INFO_TAG).session_end_info
    assert "STATUS_SUCCESS" in str(ended)


def test_a_failed_cell_says_why(place: Path) -> None:
    start()
    log(point(0, 0.5))
    finish({**CELL, "status": "crash", "reason": "E: x", "traceback": "line 1\nline 2", "metrics": {}, "costs": {}})
    assert text(place / STEM, "status") == "**crash** E: x\n\n```\nline 1\nline 2\n```"
    ended = hparams(place / STEM, metadata.SESSION_END_INFO_TAG).session_end_info
    assert "STATUS_FAILURE" in str(ended)
    assert scalars(place / STEM / "train", "train/loss") == {0: 0.5}


def test_cells_of_one_name_and_other_keys_do_not_mix(place: Path) -> None:
    other = {**CELL, "key": "f" * 32}
    start()
    start(other)
    for step in range(3):
        log(point(step, 1.0))
        log(point(step, 2.0), cell=other)
    finish()
    finish({**GOOD, "key": "f" * 32})
    assert scalars(place / STEM / "train", "train/loss") == dict.fromkeys(range(3), 1.0)
    assert scalars(place / STEM.replace("01234567", "ffffffff") / "train", "train/loss") == dict.fromkeys(range(3), 2.0)


# ------------------------------------------------------------------ cells that go on, or end elsewhere


@pytest.mark.parametrize("first", [0, 6, 10])
def test_what_is_done_again_replaces_what_stood_there(place: Path, first: int) -> None:
    start()
    log(*(point(step, 1.0) for step in range(10)))
    log(point(0, 5.0, stage="read", loop="read"))
    new_process()
    start()
    log(*(point(step, 2.0) for step in range(first, 13)))
    finish()
    assert scalars(place / STEM / "train", "train/loss") == {step: 1.0 if step < first else 2.0 for step in range(13)}
    assert scalars(place / STEM / "read", "read/loss") == {0: 5.0}  # another loop's steps are its own
    assert len(list((place / STEM / "train").glob(PATTERN))) == 2


def test_what_is_logged_before_a_resumed_loop_removes_nothing(place: Path) -> None:
    for first in (0, 5):
        start()
        log(point(0, 0.25, loop=""), *(point(step, 1.0) for step in range(first, 8)))
        new_process()
    assert scalars(place / STEM / "train", "train/loss") == dict.fromkeys(range(8), 1.0)
    assert scalars(place / STEM, "train/loss") == {0: 0.25}


def test_a_cell_that_is_run_again_keeps_its_last_end_alone(place: Path) -> None:
    for status, value in (("crash", 1.0), ("ok", 2.0)):
        start()
        finish({**GOOD, "status": status, "metrics": {"psnr_db": value}})
    assert text(place / STEM, "status") == "**ok** "
    assert scalars(place / STEM, "metrics/psnr_db") == {0: 2.0}
    ended = hparams(place / STEM, metadata.SESSION_END_INFO_TAG).session_end_info
    assert "STATUS_SUCCESS" in str(ended)  # of several TensorBoard takes the first


def test_a_cell_that_ended_in_another_process_is_told_there(place: Path) -> None:
    start()
    log(point(0, 0.5))
    new_process()
    finish({**CELL, "status": "timeout", "reason": "killed after 2 s", "metrics": {}, "costs": {"total_s": 2.0}})
    assert text(place / STEM, "status") == "**timeout** killed after 2 s"
    assert "siren" in text(place / STEM, "settings")
    assert scalars(place / STEM / "train", "train/loss") == {0: 0.5}


@pytest.mark.parametrize("lost", [1, 7, 30])
def test_a_torn_end_of_a_file_loses_its_last_point_alone(place: Path, lost: int) -> None:
    start()
    log(*(point(step, 1.0) for step in range(5)))
    (torn,) = (place / STEM / "train").glob(PATTERN)
    new_process()
    torn.write_bytes(torn.read_bytes()[:-lost])
    assert scalars(place / STEM / "train", "train/loss") == dict.fromkeys(range(4), 1.0)
    start()
    log(point(3, 2.0), point(4, 2.0))
    assert scalars(place / STEM / "train", "train/loss") == {0: 1.0, 1: 1.0, 2: 1.0, 3: 2.0, 4: 2.0}


# ------------------------------------------------------------------ processes


def python(program: str, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {key: value for key, value in os.environ.items() if key != "INRBENCH_TENSORBOARD"} | variables
    command = [sys.executable, "-c", textwrap.dedent(program)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)


HOOKS = f"""
import os, signal, sys
import inrbench_tensorboard as hooks
cell = {CELL!r}
def point(step, loss):
    return dict(stage="train", loop="train", step=step, time=0.0, values=dict(loss=loss))
"""


def test_what_was_told_survives_a_killed_process(place: Path) -> None:
    program = """
    hooks.inrbench_cell_started(cell)
    hooks.inrbench_cell_logged(cell, [point(0, 0.5), point(1, 0.25)])
    os.kill(os.getpid(), signal.SIGKILL)
    """
    done = python(HOOKS + textwrap.dedent(program), INRBENCH_TENSORBOARD=str(place))
    assert done.returncode == -signal.SIGKILL
    assert "siren" in text(place / STEM, "settings")
    assert scalars(place / STEM / "train", "train/loss") == {0: 0.5, 1: 0.25}


def test_without_the_variable_nothing_is_imported_and_nothing_is_written(tmp_path: Path) -> None:
    program = """
    os.chdir(os.environ["EMPTY"])
    for _ in range(2):
        hooks.inrbench_cell_started(cell)
        hooks.inrbench_cell_logged(cell, [point(0, 0.5)])
        hooks.inrbench_cell_finished(dict(cell, status="ok", metrics={}, costs={}))
        os.environ["INRBENCH_TENSORBOARD"] = ""
    print(*sorted({name.partition(".")[0] for name in sys.modules}))
    """
    done = python(HOOKS + textwrap.dedent(program), EMPTY=str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert not {"tensorboard", "google", "numpy", "torch"} & set(done.stdout.split())
    assert list(tmp_path.iterdir()) == []


def test_writing_needs_tensorboard_alone(place: Path) -> None:
    program = """
    hooks.inrbench_cell_started(cell)
    hooks.inrbench_cell_logged(cell, [point(0, 0.5)])
    hooks.inrbench_cell_finished(dict(cell, status="ok", metrics={}, costs={}))
    print(*sorted({name.partition(".")[0] for name in sys.modules}))
    """
    done = python(HOOKS + textwrap.dedent(program), INRBENCH_TENSORBOARD=str(place))
    assert done.returncode == 0, done.stderr
    loaded = set(done.stdout.split())
    assert "tensorboard" in loaded
    assert not {"torch", "tensorflow", "jax", "pandas", "matplotlib"} & loaded
