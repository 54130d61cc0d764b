"""What runs over a folder of records is listed there while it runs, can be asked to stop, and leaves nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from inrbench.execution import runs as module
from inrbench.execution.leases import held
from inrbench.execution.runs import begin, remove_gone, runs


def test_a_run_is_listed_until_it_ends(tmp_path: Path) -> None:
    run = begin(tmp_path, "local", ["a-1", "b-2"])
    (found,) = runs(tmp_path)
    assert found.about == {**run.about, "jobs": {}}
    assert (found.executor, found.about["pid"], found.about["cells"]) == ("local", os.getpid(), ["a-1", "b-2"])
    assert found.alive
    assert found.here
    other = begin(tmp_path, "local", [])
    run.end()
    assert [one.id for one in runs(tmp_path)] == [other.id]
    other.end()
    assert list(tmp_path.iterdir()) == []


def test_it_hears_that_it_was_asked_to_stop(tmp_path: Path) -> None:
    run = begin(tmp_path, "local", [])
    assert run.asked() == ""
    (same,) = runs(tmp_path)
    same.ask("stop")
    assert run.asked() == "stop"
    same.ask("now")
    assert run.asked() == "now"
    run.end()
    assert list(tmp_path.iterdir()) == []


def test_a_run_whose_process_is_gone_is_removed(tmp_path: Path) -> None:
    program = (
        "import sys, pathlib; from inrbench.execution.runs import begin; begin(pathlib.Path(sys.argv[1]), 'local', [])"
    )
    subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=True)
    (gone,) = runs(tmp_path)
    assert not gone.alive
    mine = begin(tmp_path, "local", [])  # which looks for those that are gone
    assert [run.id for run in runs(tmp_path)] == [mine.id]
    # a process of the same number that was born at another time is another one
    mine.write(born=mine.about["born"] - 60.0)
    assert [run.id for run in remove_gone(tmp_path)] == [mine.id]


def test_a_run_of_another_machine_is_known_by_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = begin(tmp_path, "local", [])
    run.write(host="elsewhere", pid=1, born=0.0)
    assert not run.here
    assert run.alive
    old = time.time() - module.EXPIRES_S - 1.0
    os.utime(run.path, (old, old))
    assert not run.alive
    run.renew()  # not yet
    assert not run.alive
    run.renewed -= module.RENEW_S
    run.renew()
    assert run.alive
    run.path.unlink()
    run.renewed -= module.RENEW_S
    run.renew()
    assert [one.id for one in runs(tmp_path)] == [run.id]
    os.utime(run.path, (old, old))
    run.write(jobs={"12_0": {}})  # a cluster's jobs do not end with the process that submitted them
    os.utime(run.path, (old, old))
    assert remove_gone(tmp_path) == []


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"id": 3}', '{"id": "other", "executor": "local"}'])
def test_what_is_no_run_is_left_out(tmp_path: Path, text: str) -> None:
    run = begin(tmp_path, "local", [])
    (run.folder / "damaged.json").write_text(text)
    assert [one.id for one in runs(tmp_path)] == [run.id]
    (run.folder / "copy.json").write_text(json.dumps(run.about))
    assert [one.id for one in runs(tmp_path)] == [run.id]


def test_a_folder_that_cannot_be_written_stops_no_run(tmp_path: Path) -> None:
    (tmp_path / ".runs").write_text("in the way")
    run = begin(tmp_path, "local", ["a-1"])
    run.renewed -= module.RENEW_S
    run.renew()
    assert run.asked() == ""
    run.end()


@pytest.mark.cells
@pytest.mark.parametrize("how", ["stop", "now"])
def test_a_stop_file_ends_a_run(place: Any, how: str) -> None:
    """As it does where the run is on another machine."""
    seconds = place.settings(steps=400, seconds=0.05) if how == "stop" else place.settings(does="hang", seconds=0.01)
    process = place.start("trouble+dots", *seconds)
    records = place.folder / "records"
    until = time.monotonic() + 30.0
    while not list(held(records)) and time.monotonic() < until:
        time.sleep(0.05)
    (run,) = runs(records)
    (lease,) = held(records)
    assert (lease["run"], lease["executor"], lease["name"]) == (run.id, "local", "trouble+dots-paper-s0")
    assert run.about["cells"] == [lease["cell"]]
    assert run.about["pid"] == process.pid
    time.sleep(1.0)
    run.ask(how)  # type: ignore[arg-type]
    _, err = process.communicate(timeout=20)
    assert process.returncode == 130, err
    record = place.record()
    assert record["status"] == "interrupted"
    assert ("stopped at once" in record["reason"]) == (how == "now")
    assert not (records / ".runs").exists()
    assert place.processes() == []
