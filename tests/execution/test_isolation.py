"""Whatever happens to a cell's process: the cell ends in one true record, the others go on, nothing is left behind."""

from __future__ import annotations

import json
import re
import signal
import time
from pathlib import Path
from typing import Any

import pytest

ENDS = {
    "raise": ("crash", "RuntimeError: a bug in line 7"),
    "segfault": ("crash", "its process was killed by signal 11 (SIGSEGV)"),
    "memory-error": ("out-of-memory", "MemoryError: far too large"),
    "not-finite": ("not-finite", "the loss is nan at step 3 of 5"),
    "exit": ("crash", "its process ended with exit status 3 and left no record"),
    "kill": ("crash", "its process was killed by signal 9 (SIGKILL)"),
    "bad-data": ("bad-data", "signal 3 has 5 channels"),
    "kill-keeper": ("crash", "the process that kept it ended: it ended with status -9"),
}


@pytest.mark.parametrize("deed", ENDS)
def test_an_end_is_recorded_with_its_reason_and_the_sweep_goes_on(place: Any, deed: str) -> None:
    sweep = {"profile": "smoke", "cells": [{"run": "trouble+dots", "grid": {"fitter.does": [deed, "nothing"]}}]}
    (place.folder / "sweep.yaml").write_text(json.dumps(sweep))
    done = place.run("sweep.yaml")
    assert done.returncode == 1, done.stderr
    records = {record["settings"]["fitter"]["does"]: record for record in place.records().values()}
    assert {one: record["status"] for one, record in records.items()} == {deed: ENDS[deed][0], "nothing": "ok"}
    assert records[deed]["reason"] == ENDS[deed][1]
    assert f"{ENDS[deed][0]} after" in done.stdout
    assert ENDS[deed][1] in done.stdout
    assert place.processes() == []
    assert "metrics" in records[deed]
    assert records[deed]["metrics"] == {}


def test_the_record_of_a_fatal_signal_holds_where_it_was(place: Any) -> None:
    place.run("trouble+dots", *place.settings(does="segfault"))
    tail = "\n".join(place.record()["log_tail"])
    assert "Fatal Python error: Segmentation fault" in tail
    assert "_segfault" in tail


def test_the_record_of_an_exit_holds_the_last_lines_that_were_printed(place: Any) -> None:
    place.run("trouble+dots", *place.settings(does="print"))
    record = place.record()
    assert record["log_tail"] == ["said on stdout", "said on stderr"]
    log = place.folder / "records" / ".logs" / f"{next(iter(place.records())).removesuffix('.json')}.log"
    assert log.read_text() == "said on stdout\nsaid on stderr\n"


@pytest.mark.parametrize("deed", ["hang", "spin"])
def test_a_timeout_is_hard(place: Any, deed: str) -> None:
    start = time.monotonic()
    done = place.run("trouble+dots", *place.settings(does=deed), "--timeout", "2s")
    record = place.record()
    assert done.returncode == 1
    assert (record["status"], record["reason"]) == ("timeout", "killed after 2 s, the --timeout; checkpoints are kept")
    assert 2.0 <= record["costs"]["total_s"] < 3.0
    assert time.monotonic() - start < 30.0
    assert place.processes() == []


def test_memory_beyond_the_limit_is_recorded(place: Any) -> None:
    place.run("trouble+dots", *place.settings(does="memory"), "--memory", "600M")
    record = place.record()
    assert record["status"] == "out-of-memory"
    said = re.fullmatch(r"killed at (.*) GB of resident memory; --memory is 0.60 GB", record["reason"])
    assert said is not None
    assert 0.6 <= float(said[1]) < 2.0


def test_what_a_cell_started_ends_with_it(place: Any) -> None:
    done = place.run("trouble+dots", *place.settings(does="child"))
    assert done.returncode == 0, done.stderr
    assert place.processes() == []


@pytest.mark.parametrize("deed", ["kill-supervisor", "kill-all"])
def test_without_their_supervisor_cells_end_and_a_second_run_finishes(place: Any, deed: str) -> None:
    mark = place.folder / "mark"
    arguments = ["trouble+dots", *place.settings(does=deed, mark=mark, steps=400, seconds=0.05)]
    assert place.run(*arguments).returncode == -signal.SIGKILL
    until = time.monotonic() + 20.0
    while place.processes() and time.monotonic() < until:
        time.sleep(0.1)
    assert place.processes() == []
    assert all(record["status"] == "interrupted" for record in place.records().values())
    arguments[-1] = "fitter.seconds=0.0"
    done = place.run(*arguments)
    assert done.returncode == 0, done.stderr
    assert [record["status"] for record in place.records().values()].count("ok") == 1


def test_an_interrupt_checkpoints_and_the_same_command_goes_on(place: Any) -> None:
    arguments = ["trouble+dots", *place.settings(steps=100, seconds=0.05)]
    process = place.start(*arguments)
    place.line(process.stdout)
    time.sleep(2.5)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 130, err
    assert "stopping, with checkpoints; Ctrl-C again stops at once" in err
    record = place.record()
    assert record["status"] == "interrupted"
    assert "is kept: the same command goes on from there" in record["reason"]
    done = place.run(*arguments)
    assert done.returncode == 0
    assert "going on behind step" in done.stderr
    assert place.record()["status"] == "ok"


def test_a_second_interrupt_stops_at_once(place: Any) -> None:
    process = place.start("trouble+dots", *place.settings(does="hang"))
    place.line(process.stdout)
    time.sleep(2.0)
    process.send_signal(signal.SIGINT)
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=30)
    assert process.returncode == 130
    assert place.record()["reason"] == "stopped at once; the last checkpoint is kept"
    assert place.processes() == []


def test_failures_are_run_again_unless_told_otherwise(place: Any) -> None:
    mark = place.folder / "mark"
    arguments = ["trouble+dots", *place.settings(does="segfault", mark=mark)]
    assert place.run(*arguments).returncode == 1
    assert place.run(*arguments, "--retry", "timeout,interrupted").returncode == 1
    assert place.record()["status"] == "crash"
    assert place.record()["attempt"] == 1
    mark.unlink()
    assert place.run(*arguments).returncode == 1
    assert place.record()["attempt"] == 2
    left = place.run(*arguments, "--retry", "none")
    assert left.returncode == 1
    assert "left as it is, crash: its process was killed by signal 11" in left.stdout
    assert "done before" not in left.stdout
    assert place.run(*arguments, "--retry", "crash").returncode == 0
    assert place.record()["status"] == "ok"


def test_parts_that_cannot_be_made_are_refused_before_anything_starts(place: Any) -> None:
    done = place.run("trouble+dots", *place.settings(steps=0))
    assert done.returncode == 2
    assert done.stderr == "error: setting fitter.steps=0: input should be greater than or equal to 1\n"
    done = place.run("trouble+dots", "--timeout", "soon")
    assert done.returncode == 2
    assert "'soon' is no time; allowed are 90s, 10m, 2h and 1d" in done.stderr
    assert not (place.folder / "records").exists() or not place.records()


def test_code_that_is_edited_while_a_sweep_runs_is_never_recorded_under_the_wrong_key(place: Any) -> None:
    """The keeper has the old code in memory when the file changes; the cell that starts then must run the new one."""
    sweep = {
        "profile": "smoke",
        "cells": [{"run": "trouble+dots", "grid": {"fitter.number": [0, 1]}, "set": {"fitter.seconds": 2.0}}],
    }
    (place.folder / "sweep.yaml").write_text(json.dumps(sweep))
    process = place.start("sweep.yaml")
    place.line(process.stdout)
    time.sleep(1.5)
    code = place.plugin / "inrbench_trouble" / "code.py"
    code.write_text(code.read_text().replace("off = 0.01", "off = 0.5"))
    out, err = process.communicate(timeout=60)
    assert process.returncode == 1, out + err
    records = {record["settings"]["fitter"]["number"]: record for record in place.records().values()}
    assert records[1]["status"] == "refused"
    assert "changed since it was planned" in records[1]["reason"]
    assert place.run("sweep.yaml").returncode == 0
    found = {record["key"]: record["metrics"]["psnr_db"] for record in place.records().values() if record["metrics"]}
    assert len(found) == 3  # the first cell with old code and with new, the second with new
    assert len({round(value, 6) for value in found.values()}) == 2


def test_files(place: Any) -> None:
    """A good cell leaves its record and its vectors, and nothing else."""
    place.run("trouble+dots")
    assert {Path(path).suffix for path in (place.folder / "records").iterdir()} == {".json", ".safetensors"}
    place.run("trouble+dots", "--rerun", "--log")
    assert len(list((place.folder / "records" / ".logs").iterdir())) == 1
