"""Whole cells with the tracker: what TensorBoard reads is what their records hold."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

pytestmark = pytest.mark.cells

#: `inrbench` with a checkpoint after each step, killed -9 while step KILL_AT is logged, if there is one.
KILLED = """
import os, signal
from inrbench import cell_run, tracking
from inrbench.cli import main
inner_run, inner_log = cell_run.CellRun.__init__, cell_run.CellRun.log
def init(self, *arguments, **options):
    inner_run(self, *arguments, **{**options, "checkpoint_every_s": 0.0})
def log(self, step, **values):
    inner_log(self, step, **values)
    if str(step) == os.environ.get("KILL_AT"):
        os.kill(os.getpid(), signal.SIGKILL)
cell_run.CellRun.__init__, cell_run.CellRun.log = init, log
inner_tracking = tracking.Tracking.__init__
tracking.Tracking.__init__ = lambda self, *a, **o: inner_tracking(self, *a, **o, every_s=0.0)
main()
"""


def inrbench(*words: str | Path, program: str = "from inrbench.cli import main; main()", **variables: str) -> Any:
    command = [sys.executable, "-c", program, *map(str, words)]
    environment = {key: value for key, value in os.environ.items() if key != "INRBENCH_TENSORBOARD"} | variables
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)


def record_in(folder: Path) -> Any:
    (path,) = folder.glob("*.json")
    return json.loads(path.read_text()), path.stem


def read(folder: Path) -> EventAccumulator:
    found = EventAccumulator(str(folder), size_guidance={"scalars": 0, "tensors": 0})
    found.Reload()
    return found


def check_log(record: dict[str, Any], run: Path, stage: str, steps: int) -> None:
    """Every step is there once; where the record holds a step, with the record's values."""
    found = read(run)
    names = {name for entry in record["log"] for name in entry} - {"step"}
    assert set(found.Tags()["scalars"]) == {f"{stage}/{name}" for name in names}
    for name in names:
        events = found.Scalars(f"{stage}/{name}")
        assert [event.step for event in events] == list(range(steps))
        for entry in record["log"]:
            assert events[int(entry["step"])].value == np.float32(entry[name])


def check_end(record: dict[str, Any], run: Path) -> None:
    found = read(run)
    for part in ("metrics", "costs"):
        for name, value in record[part].items():
            assert [event.value for event in found.Scalars(f"{part}/{name}")] == [np.float32(value)]
    assert {"settings", "status"} <= set(found.Tags()["tensors"])


def test_a_tracked_cell_is_its_record_and_only_where_it_is_asked_for(tmp_path: Path) -> None:
    place, cell = tmp_path / "tb", ("run", "mwt+digits", "--profile", "smoke", "--device", "cpu", "--threads", "1")
    done = inrbench(*cell, "--records", tmp_path / "tracked", INRBENCH_TENSORBOARD=str(place))
    assert (done.returncode, "failed in" in done.stderr) == (0, False), done.stderr
    record, stem = record_in(tmp_path / "tracked")
    assert [path.name for path in place.iterdir()] == [stem]
    check_log(record, place / stem / "train", "train", int(record["costs"]["train_steps"]))
    check_end(record, place / stem)

    (tmp_path / "blocked").write_text("a file")
    unwritable = str(tmp_path / "blocked" / "tb")
    done = inrbench(*cell, "--records", tmp_path / "same", "--rerun", INRBENCH_TENSORBOARD=unwritable)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("tensorboard failed in inrbench_cell_started: NotADirectoryError") == 1
    assert done.stderr.count("failed in") == 1
    again, _ = record_in(tmp_path / "same")
    assert (again["status"], again["metrics"]) == ("ok", record["metrics"])
    assert again["key"] == record["key"]  # a tracker is no part of what a result depends on


def test_a_killed_cell_goes_on_in_its_folder(tmp_path: Path) -> None:
    place, records = tmp_path / "tb", tmp_path / "records"
    cell = ("run", "mwt+digits", "--profile", "smoke", "--device", "cpu", "--threads", "1", "--records", records)
    cell = (*cell, "--in-process")  # where what is put in the place of the log works
    variables = {"INRBENCH_TENSORBOARD": str(place), "INRBENCH_CACHE": str(tmp_path / "cache")}
    killed = inrbench(*cell, program=KILLED, KILL_AT="7", **variables)
    assert killed.returncode == -signal.SIGKILL
    (run,) = place.iterdir()
    before = read(run / "train").Scalars("train/loss")
    assert [event.step for event in before] == list(range(8))  # step 7 was told, and is not in the checkpoint

    done = inrbench(*cell, program=KILLED, **variables)
    assert done.returncode == 0, done.stderr
    assert "going on behind step 7 of" in done.stderr
    record, stem = record_in(records)
    assert run.name == stem
    events = read(run / "train").Scalars("train/loss")
    assert [event.step for event in events] == list(range(int(record["costs"]["train_steps"])))
    assert [event.value for event in events[:8]] == [event.value for event in before]
    assert [event.wall_time for event in events[:7]] == [event.wall_time for event in before[:7]]
    assert events[7].wall_time > before[7].wall_time  # done again
    check_end(record, run)


def test_a_reader_on_a_neural_data_set_is_tracked(tmp_path: Path) -> None:
    made, records = tmp_path / "made", tmp_path / "records"
    done = inrbench("fit", "pixels+digits", "-o", made, "--profile", "smoke")
    assert done.returncode == 0, done.stderr
    reading = ("read", "latent-mlp", made, "--records", records, "--set", "reader.train.steps=30")
    done = inrbench(*reading, INRBENCH_TENSORBOARD=str(tmp_path / "tb"))
    assert done.returncode == 0, done.stderr
    record, stem = record_in(records)
    check_log(record, tmp_path / "tb" / stem / "read", "read", 30)
    check_end(record, tmp_path / "tb" / stem)
