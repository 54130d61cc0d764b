"""Leases: one holder at a time, whatever dies, on one machine or on several."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from inrbench.execution import leases
from inrbench.execution.leases import EXPIRES_S, FOLDER, RENEW_S, Lease, held

STEM = "mwt+digits-laptop-s0-0123abcd"


def of_another_machine(folder: Path, age_s: float, number: int = 0) -> Path:
    """A lease that a process of another machine renewed some seconds ago."""
    path = folder / FOLDER / f"{STEM}.{number}"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps({"cell": STEM, "host": "elsewhere", "pid": 1, "born": 0.0}))
    os.utime(path, (time.time() - age_s,) * 2)
    return path


def test_a_lease_has_one_holder_until_it_is_released(tmp_path: Path) -> None:
    one, other = (Lease(tmp_path, STEM, {"run": "local"}) for _ in range(2))
    assert one.take()
    assert not other.take()
    assert not one.take()
    assert [about["cell"] for about in held(tmp_path)] == [STEM]
    other.release()  # it holds nothing
    assert not other.take()
    one.release()
    assert [*held(tmp_path)] == []
    assert other.take()
    assert Lease(tmp_path, STEM + "9", {}).take()  # another cell's


def test_the_lease_of_a_process_that_died_is_taken_over_at_once(tmp_path: Path) -> None:
    program = f"from inrbench.execution.leases import Lease; from pathlib import Path; Lease(Path({str(tmp_path)!r}), "
    program += f"{STEM!r}, {{}}).take()"
    subprocess.run([sys.executable, "-c", program], check=True)
    assert (tmp_path / FOLDER / f"{STEM}.0").exists()
    assert [*held(tmp_path)] == []
    one = Lease(tmp_path, STEM, {})
    assert one.take()
    assert one.path == tmp_path / FOLDER / f"{STEM}.1"
    one.release()
    assert not list((tmp_path / FOLDER).iterdir())  # what the dead one left is gone too


def test_another_process_of_the_same_number_is_not_the_holder(tmp_path: Path) -> None:
    one = Lease(tmp_path, STEM, {})
    assert one.take()
    assert one.path is not None
    about = json.loads(one.path.read_text())
    assert about["pid"] == os.getpid()
    one.path.write_text(json.dumps({**about, "born": about["born"] - 3600.0}))
    assert Lease(tmp_path, STEM, {}).take()


@pytest.mark.parametrize(("age_s", "free"), [(0.0, False), (EXPIRES_S - 20.0, False), (EXPIRES_S + 20.0, True)])
def test_a_lease_of_another_machine_expires(tmp_path: Path, age_s: float, free: bool) -> None:
    of_another_machine(tmp_path, age_s)
    assert len([*held(tmp_path)]) == (not free)
    assert Lease(tmp_path, STEM, {}).take() is free


def test_the_age_is_taken_by_the_folders_clock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """This machine's clock is an hour ahead of that of the machine which keeps the folder."""
    real = time.time
    of_another_machine(tmp_path, 0.0)
    monkeypatch.setattr(time, "time", lambda: real() + 3600.0)
    assert not Lease(tmp_path, STEM, {}).take()


def test_of_many_that_find_it_expired_one_takes_it(tmp_path: Path) -> None:
    for trial in range(20):
        path = of_another_machine(tmp_path, EXPIRES_S + 60.0, number=3)
        contenders = [Lease(tmp_path, STEM, {"number": number}) for number in range(8)]
        with ThreadPoolExecutor(8) as pool:
            took = [*pool.map(Lease.take, contenders)]
        assert took.count(True) == 1, trial
        winner = contenders[took.index(True)]
        assert winner.path == tmp_path / FOLDER / f"{STEM}.4"
        winner.release()
        assert not path.exists()


def test_renewing_says_how_far_the_cell_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(leases.time, "monotonic", lambda: now[0])
    one = Lease(tmp_path, STEM, {"run": "local"})
    assert one.take()
    one.renew(task="train", done=3)
    assert "task" not in next(held(tmp_path))  # it was taken just now
    now[0] += RENEW_S + 1.0
    one.renew(task="train", done=3)
    about = next(held(tmp_path))
    assert (about["run"], about["task"], about["done"], about["pid"]) == ("local", "train", 3, os.getpid())


def test_a_disk_that_is_full_stops_no_renewal_for_good(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(leases.time, "monotonic", lambda: now[0])
    one = Lease(tmp_path, STEM, {})
    assert one.take()

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    now[0] += RENEW_S + 1.0
    with monkeypatch.context() as patch:
        patch.setattr(leases, "write_atomically", full)
        one.renew(done=1)
    one.renew(done=2)
    assert next(held(tmp_path))["done"] == 2


def test_names_with_brackets_are_names(tmp_path: Path) -> None:
    one = Lease(tmp_path, "siren+folder[1]-s0-0123abcd", {})
    assert one.take()
    assert not Lease(tmp_path, "siren+folder[1]-s0-0123abcd", {}).take()
    one.release()
    assert not list((tmp_path / FOLDER).iterdir())
