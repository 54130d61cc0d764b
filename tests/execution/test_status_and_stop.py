"""`inrbench status` tells what runs over a folder of records, and `inrbench stop` ends it."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from inrbench.cli import cli
from inrbench.execution import slurm_jobs, slurm_queue
from inrbench.execution.leases import Lease, held
from inrbench.execution.runs import begin, runs
from inrbench.execution.slurm_queue import State


def call(*arguments: str) -> Result:
    """``inrbench ARGUMENTS``."""
    return CliRunner().invoke(cli, arguments)


def gone_run(records: Path) -> None:
    program = (
        "import sys, pathlib; from inrbench.execution.runs import begin; begin(pathlib.Path(sys.argv[1]), 'local', [])"
    )
    subprocess.run([sys.executable, "-c", program, str(records)], check=True)


def test_nothing_runs(tmp_path: Path) -> None:
    assert call("status", "--records", str(tmp_path)).stdout == f"nothing runs over {tmp_path}\nrecords: none yet\n"
    assert call("stop", "--records", str(tmp_path)).stdout == f"nothing runs over {tmp_path}\n"
    for command in ("status", "stop"):
        done = call(command, "--records", str(tmp_path / "nowhere"))
        assert done.exit_code == 2
        assert done.stderr.startswith("error: there is no folder of records at")


def test_a_run_that_is_gone_is_told_once_and_removed(tmp_path: Path) -> None:
    gone_run(tmp_path)
    (run,) = runs(tmp_path)
    done = call("status", "--records", str(tmp_path))
    assert f"pid {run.about['pid']} is gone; its run {run.id} is removed" in done.stderr
    assert done.stdout.startswith("nothing runs")
    assert call("status", "--records", str(tmp_path)).stderr == ""
    gone_run(tmp_path)
    assert "is gone already" in call("stop", "--records", str(tmp_path)).stdout
    assert list(tmp_path.iterdir()) == []


def test_what_other_machines_do_is_shown(tmp_path: Path) -> None:
    run = begin(tmp_path, "local", ["a-1", "b-2"])
    run.write(host="node7", pid=12, started=time.time() - 600.0)
    lease = Lease(tmp_path, "a-1", {**run.holder(), "name": "a", "label": "rate 3"})
    lease.about |= {"host": "node7", "started": time.time() - 65.0}
    assert lease.take()
    lease.renewed -= 100.0
    lease.renew(task="train", done=30, total=400, left=125.0, notes={"loss": 0.25})
    (tmp_path / "torn.json").write_text("{")
    lines = call("status", "--records", str(tmp_path)).stdout.splitlines()
    assert lines[0] == "runs"
    assert lines[2].split() == ["local", "node7,", "pid", "12", "10", "min", "0", "s", "2", "at", "work"]
    assert lines[3] == "at work"
    assert "a (rate 3)" in lines[5]
    assert "train 30/400, 2 min 5 s left  loss 0.25" in lines[5]
    assert lines[-1] == "records: 1 damaged"
    told = json.loads(call("status", "--records", str(tmp_path), "--json").stdout)
    assert told["runs"][0]["id"] == run.id
    assert told["cells"][0]["run"] == run.id
    done = call("stop", "--records", str(tmp_path))
    assert f"run {run.id}, local on node7: asked to stop\n" in done.stdout
    assert run.asked() == "stop"
    assert "stopping" in call("status", "--records", str(tmp_path)).stdout


@pytest.fixture
def slurm_run(tmp_path: Path) -> Any:
    """A run whose jobs are in a Slurm."""
    run = begin(tmp_path, "slurm", ["a-1", "b-2"])
    run.files.mkdir()
    run.write(jobs={"12_0": {"file": "0-0.json", "cells": [0, 1]}, "12_1": {"file": "0-1.json", "cells": [1, 1]}})
    return run


def test_jobs_of_a_slurm_that_cannot_be_asked_here(
    tmp_path: Path, slurm_run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "")
    assert "Slurm does not answer here" in call("status", "--records", str(tmp_path)).stdout
    told = json.loads(call("status", "--records", str(tmp_path), "--json").stdout)
    assert (told["runs"][0]["queue"], told["runs"][0]["jobs"]) == (None, ["12_0", "12_1"])
    done = call("stop", "--records", str(tmp_path))
    assert done.exit_code == 1
    assert "jobs in its queue are not cancelled" in done.stderr
    assert slurm_run.asked() == "stop"  # those at work see the file


@pytest.mark.parametrize("now", [False, True])
def test_stopping_cancels_what_waits_in_the_queue(
    tmp_path: Path, slurm_run: Any, monkeypatch: pytest.MonkeyPatch, now: bool
) -> None:
    answer = {"12_0": State("RUNNING"), "12_1": State("PENDING", "Priority")}
    monkeypatch.setattr(slurm_jobs, "states", lambda jobs: answer)
    monkeypatch.setattr(slurm_queue, "states", lambda jobs: answer)
    called: list[Any] = []

    def cancel(jobs: Any, *, waiting_only: bool = False) -> str:
        called.append((sorted(jobs), waiting_only))
        return ""

    monkeypatch.setattr(slurm_queue, "cancel", cancel)
    shown = call("status", "--records", str(tmp_path)).stdout
    assert "Slurm jobs 12_0 to 12_1" in shown
    assert "1 PENDING (Priority), 1 RUNNING" in shown
    done = call("stop", "--records", str(tmp_path), *(["--now"] if now else []))
    assert done.exit_code == 0
    how = "asked to stop at once" if now else "asked to stop"
    assert f"1 job {how}, 1 job that waited cancelled" in done.stdout
    assert called == [(["12_0", "12_1"], False)] if now else [(["12_1"], True)]
    assert slurm_run.asked() == ("now" if now else "stop")


@pytest.mark.cells
@pytest.mark.parametrize("how", ["stop", "now", "no file"])
def test_a_local_run_is_stopped(place: Any, how: str) -> None:
    settings = place.settings(does="hang", seconds=0.01) if how == "now" else place.settings(steps=400, seconds=0.05)
    process = place.start("trouble+dots", *settings, "--seed", "0,1")
    records = place.folder / "records"
    until = time.monotonic() + 60.0
    while not list(held(records)) and time.monotonic() < until:
        time.sleep(0.1)
    told = json.loads(call("status", "--records", str(records), "--json").stdout)
    assert [(run["executor"], run["pid"], run["cells"]) for run in told["runs"]] == [("local", process.pid, 2)]
    assert [cell["name"] for cell in told["cells"]] == ["trouble+dots-paper-s0"]
    time.sleep(1.0)
    if how == "no file":
        (run,) = runs(records)
        (run.folder / f"{run.id}.stop").mkdir()  # in the way: a signal is left
    done = call("stop", "--records", str(records), *(["--now"] if how == "now" else []))
    assert done.exit_code == 0, done.output
    assert "asked to stop at once" in done.stdout if how == "now" else "asked to stop\n" in done.stdout
    _, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "1 of 2 cells were not started" in err
    reason = place.record()["reason"]
    assert ("stopped at once" in reason) if how == "now" else ("is kept: the same command goes on" in reason)
    assert place.processes() == []
    assert call("status", "--records", str(records)).stdout.endswith("records: 1 interrupted\n")
