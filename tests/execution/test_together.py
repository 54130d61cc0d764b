"""Several cells at once, and several runs over one folder of records."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import re
import time
from typing import Any

import pytest

from inrbench.errors import UsageError
from inrbench.execution import local
from inrbench.execution.local import slots_of
from inrbench.runner import Options


def sweep(place: Any, count: int, **values: Any) -> None:
    """A sweep of ``count`` cells."""
    line = {
        "run": "trouble+dots",
        "grid": {"fitter.number": [*range(count)]},
        "set": {f"fitter.{k}": v for k, v in values.items()},
    }
    (place.folder / "sweep.yaml").write_text(json.dumps({"profile": "smoke", "cells": [line]}))


def test_a_sweep_started_twice_at_once_runs_each_cell_once(place: Any) -> None:
    sweep(place, 10, seconds=0.3)
    both = [place.start("sweep.yaml") for _ in range(2)]
    said = [process.communicate(timeout=120) for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    ran = [len(re.findall(r"^  PSNR", out, re.MULTILINE)) for out, _ in said]
    assert sum(ran) == 10
    assert len(place.records()) == 10
    assert all(out.count("done before") + own == 10 for own, (out, _) in zip(ran, said, strict=True))


def test_a_cell_that_fails_in_one_of_two_runs_is_not_run_again_by_the_other(place: Any) -> None:
    gate = place.folder / "gate"
    sweep(place, 6, seconds=0.3, does="raise", gate=str(gate))
    both = [place.start("sweep.yaml") for _ in range(2)]
    for process in both:
        place.line(process.stdout)  # each is at a cell: what fails from now on, fails while both run
    gate.touch()
    said = [process.communicate(timeout=120) for process in both]
    assert [process.returncode for process in both] == [1, 1], said
    assert sum(out.count("crash after") for out, _ in said) == 6
    assert sum(out.count("left as it is, crash: RuntimeError: a bug in line 7") for out, _ in said) == 6
    assert {record["attempt"] for record in place.records().values()} == {1}


def test_a_run_takes_over_what_another_one_left(place: Any) -> None:
    sweep(place, 2, seconds=2.0)
    first = place.start("sweep.yaml")
    place.line(first.stdout)
    time.sleep(2.0)
    second = place.start("sweep.yaml")
    time.sleep(1.5)
    first.kill()
    first.communicate(timeout=60)
    out, err = second.communicate(timeout=120)
    assert second.returncode == 0, out + err
    assert [record["status"] for record in place.records().values()] == ["ok", "ok"]


def test_cells_at_once_end_sooner(place: Any) -> None:
    sweep(place, 4, seconds=2.0)
    start = time.monotonic()
    done = place.run("sweep.yaml", "--jobs", "4", "--threads", "1")
    took = time.monotonic() - start
    assert done.returncode == 0, done.stderr
    spans = [(record["started"], record["finished"]) for record in place.records().values()]
    assert max(start for start, _ in spans) < min(end for _, end in spans)  # all four were at work together
    assert took > 2.0
    assert {record["machine"]["threads"] for record in place.records().values()} == {1}


def test_a_terminal_shows_a_live_table_and_a_log_shows_lines(place: Any) -> None:
    sweep(place, 3, seconds=0.3, steps=5)
    master, slave = pty.openpty()
    process = place.start("sweep.yaml", "--jobs", "2", "--threads", "1", stderr=slave)
    os.close(slave)
    drawn = b""
    with contextlib.suppress(OSError):  # how a terminal ends
        while some := os.read(master, 65536):
            drawn += some
    process.communicate(timeout=60)
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", drawn.decode())
    assert re.search(r"number-0 +train .* left +total", text)
    assert re.search(r"[12]/3 done, [12] running, about \d+ s left", text)
    assert "[3/3] trouble+dots-smoke-s0-fitter.number-2 (fitter.number=2): PSNR" in text, text

    done = place.run("sweep.yaml", "--jobs", "2", "--threads", "1", "--rerun")
    assert "\x1b" not in done.stdout + done.stderr
    assert "[3/3] trouble+dots-smoke-s0-fitter.number-2 (fitter.number=2): PSNR" in done.stdout


def test_slots_share_the_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local.os, "sched_getaffinity", lambda _: {2, 3, 5, 7}, raising=False)
    assert [(slot.threads, slot.cpus) for slot in slots_of(Options(jobs=1))] == [(4, [])]
    assert [(slot.threads, slot.cpus) for slot in slots_of(Options(jobs=2))] == [(2, [2, 3]), (2, [5, 7])]
    assert [slot.threads for slot in slots_of(Options(jobs=3))] == [1, 1, 1]
    assert [(slot.threads, slot.cpus) for slot in slots_of(Options(jobs=8))] == [(1, [])] * 8
    assert [(slot.threads, slot.cpus) for slot in slots_of(Options(jobs=2, threads=3))] == [(3, [])] * 2


def test_each_slot_sees_one_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,6")
    seen = [slot.environment.get("CUDA_VISIBLE_DEVICES") for slot in slots_of(Options(jobs=4, per_gpu=2), cuda=True)]
    assert seen == ["4", "6", "4", "6"]
    assert slots_of(Options(jobs=2, device="cuda:1", per_gpu=2), cuda=True)[0].environment == {}
    assert slots_of(Options(jobs=1), cuda=True)[0].environment == {}
    with pytest.raises(UsageError, match="--jobs 3: there are 2 GPUs and --per-gpu is 1, so at most 2"):
        slots_of(Options(jobs=3), cuda=True)


def test_what_could_change_a_result_runs_again_and_nothing_else_does(place: Any) -> None:
    def ran() -> bool:
        done = place.run("trouble+dots", "--profile", "smoke")
        assert done.returncode == 0, done.stderr
        return "done before" not in done.stdout

    def edit(name: str, old: str, new: str) -> None:
        file = place.plugin / "inrbench_trouble" / name
        text = file.read_text()
        assert old in text
        file.write_text(text.replace(old, new))

    assert ran()
    assert not ran()
    edit("code.py", "off = 0.01", "off = 0.02  # more")
    assert ran()
    edit("code.py", "# more", "# twice as much")  # a comment
    edit("code.py", '"""Forty images of 2x2 pixels."""', '"""40 images."""')  # a docstring
    assert not ran()
    edit("settings.py", "steps: int = setting(1,", "steps: int = setting(2,")  # a default
    assert ran()
    (place.plugin / "inrbench_trouble" / "more.py").write_text("OFF = 0.02\n")
    edit("code.py", "import numpy as np\n", "import numpy as np\n\nfrom inrbench_trouble.more import OFF\n")
    assert ran()
    edit("more.py", "0.02", "0.03")  # a module that the code imports
    assert ran()
    edit("code.py", "default_rng(0)", "default_rng(1)")  # the data
    assert ran()
    assert not ran()
