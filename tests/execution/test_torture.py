"""A sweep in which cells raise, crash, hang, grow, are killed, and whose supervisor is killed, while the disk fills.

Afterwards every cell has one true record or is plainly not done, a second run finishes the rest, no record is torn, and
no process is left. ``INRBENCH_TORTURE`` is the number of cells; `nox -s torture` runs hundreds.
"""

from __future__ import annotations

import json
import os
import random
import re
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from inrbench.arrays import load_arrays
from inrbench.draws import generator
from inrbench.records import read_record, vectors_of

pytestmark = pytest.mark.cells

CELLS = int(os.environ.get("INRBENCH_TORTURE", "20"))
#: What a cell's deed leaves; a test of its own says so of each.
STATUS = {
    "nothing": "ok",
    "child": "ok",
    "raise": "crash",
    "segfault": "crash",
    "exit": "crash",
    "kill": "crash",
    "hang": "timeout",
    "memory": "out-of-memory",
    "memory-error": "out-of-memory",
    "not-finite": "not-finite",
}
DEEDS = (*["nothing"] * 6, "raise", "segfault", "hang", "memory", "memory-error", "not-finite", "exit", "kill", "child")
LIMITS = ("--jobs", "4", "--threads", "1", "--timeout", "8s", "--memory", "500M")


def deed_of(record: dict[str, Any]) -> str:
    """What the cell of a record was to do: drawn from its seed, as the fitter draws it."""
    number = record["settings"]["fitter"]["number"]
    return str(generator(record["seed"], "deed", number).choice(DEEDS))


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 24 MB of its own, where this user may mount one; else the test's folder."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = (
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "none", str(folder)], check=False).returncode == 0
    )
    yield folder
    if mounted:
        subprocess.run(["umount", "-l", str(folder)], check=False)


def check(place: Any, records: Path) -> Counter[str]:
    """Every record is whole and true, and stands once; returns how many ended how."""
    keys = []
    found: Counter[str] = Counter()
    for path in sorted(records.glob("*.json")):
        record = read_record(path)
        status = record["status"]
        keys.append(record["key"])
        found[status] += 1
        if status == "ok":
            assert vectors_of(records, record)
        else:
            assert record["reason"]
        if status not in ("interrupted", "failed"):  # these say that something outside stopped it
            killed = re.match(r"its process was killed by signal 9|the process that kept it ended", record["reason"])
            assert status == STATUS[deed_of(record)] or killed, (record["cell"], record["reason"])
    assert len(set(keys)) == len(keys)
    return found


def wait_for_silence(place: Any) -> None:
    """Processes end by themselves."""
    until = time.monotonic() + 60.0
    while place.processes() and time.monotonic() < until:
        time.sleep(0.2)
    assert place.processes() == []


def test_a_sweep_survives(place: Any, small_disk: Path) -> None:
    records = small_disk / "records"
    count = CELLS
    sweep = {"profile": "smoke", "cells": [{"run": "trouble+dots", "grid": {"fitter.number": [*range(count)]}}]}
    sweep["cells"][0]["set"] = {"fitter.does": "some", "fitter.steps": 3, "fitter.seconds": 0.02}
    (place.folder / "sweep.yaml").write_text(json.dumps(sweep))
    command = ("sweep.yaml", "--records", str(records), *LIMITS)
    chance = random.Random(7)
    for kill in ("cell", "supervisor", "keeper", "disk", "both"):
        process = place.start(*command)
        until = time.monotonic() + 4.0 + 0.03 * count
        ballast = small_disk / "ballast"
        while time.monotonic() < until and process.poll() is None:
            time.sleep(chance.uniform(0.3, 1.2))
            others = [one for one in place.processes() if one.pid != process.pid]
            cells = [one for one in others if one.ppid() != process.pid]
            keepers = [one for one in others if one.ppid() == process.pid]
            if kill == "cell" and cells:
                chance.choice(cells).send_signal(signal.SIGKILL)
            elif kill == "keeper" and keepers:
                chance.choice(keepers).send_signal(signal.SIGKILL)
                kill = "nothing more"
            elif kill == "disk":
                if ballast.exists():
                    ballast.unlink()
                else:
                    subprocess.run(["dd", "if=/dev/zero", f"of={ballast}", "bs=1M"], capture_output=True, check=False)
        ballast.unlink(missing_ok=True)
        if kill == "both":
            for one in cells:
                one.send_signal(signal.SIGKILL)
        if process.poll() is None:
            process.send_signal(signal.SIGKILL if kill in ("supervisor", "both") else signal.SIGINT)
        process.communicate(timeout=120)
        wait_for_silence(place)
        check(place, records)

    done = place.run(*command, "--retry", "interrupted,failed,crash", timeout=600.0)
    assert done.returncode in (0, 1), done.stderr
    found = check(place, records)
    assert found.total() == count
    assert not found.keys() & {"interrupted", "failed"}
    again = place.run(*command, "--retry", "none", timeout=600.0)
    assert again.stdout.count(": done before") + again.stdout.count(": left as it is, ") == count
    assert check(place, records) == found
    expected = Counter(STATUS[deed_of(read_record(path))] for path in records.glob("*.json"))
    assert found == expected
    for path in (place.folder / "cache").rglob("trained.safetensors"):
        load_arrays(path)
    assert not list(records.rglob("*.part"))
    wait_for_silence(place)
