"""Cells in a real Slurm: the numbers of the local executor, and a true record whatever becomes of a job.

Runs where `sinfo` finds a Slurm with an idle node, or where a tool can start one: the script that INRBENCH_TEST_SLURM
names, else ../shared/tools/start-slurm, as root.
"""

from __future__ import annotations

import functools
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from inrbench.execution.leases import held
from inrbench.execution.slurm_queue import State, states
from inrbench.records import read_record, vectors_of

pytestmark = pytest.mark.cells

ROOT = Path(__file__).resolve().parent.parent.parent
TOOL = Path(os.environ.get("INRBENCH_TEST_SLURM") or ROOT.parent / "shared" / "tools" / "start-slurm")
#: The sweep whose numbers are compared: small, or as it is (`nox -s slurm`, many minutes).
WHOLE = os.environ.get("INRBENCH_TEST_SLURM_SWEEP") == "whole"
SWEEP = [str(ROOT / "leaderboards" / "quick.yaml")] if WHOLE else ["pixels,mwt+digits", "--profile", "smoke"]
SLURM = ("--executor", "slurm", "--with", "time=10m", "--threads", "1")


@functools.cache
def works() -> bool:
    """Whether a node takes jobs."""
    if shutil.which("sinfo") is None:
        return False
    done = subprocess.run(["sinfo", "-h", "-o", "%t"], capture_output=True, text=True, check=False)
    return bool(re.search(r"^(idle|mix|alloc)\s*$", done.stdout, re.MULTILINE))


@pytest.fixture(scope="module")
def slurm() -> Iterator[None]:
    """A Slurm that works; one that was started here is ended."""
    pytest.importorskip("submitit")
    if works():
        yield
        return
    if not TOOL.is_file() or os.getuid() != 0:
        pytest.skip("needs Slurm: sinfo finds none, and there is no tool here that could start one as root")
    environment = {key: value for key, value in os.environ.items() if key != "OMP_NUM_THREADS"}  # it counts cores
    done = subprocess.run([str(TOOL)], env=environment, capture_output=True, text=True, timeout=300, check=False)
    if done.returncode != 0:  # it has packages to install, from a mirror that must be reached
        pytest.skip(f"needs Slurm, which could not be started here: {done.stderr.strip()[-200:]}")
    yield
    subprocess.run([str(TOOL.with_name("stop-slurm"))], check=True)


@pytest.fixture
def cluster(slurm: None, place: Any) -> Iterator[Any]:
    """A place whose jobs are cancelled when the test is over."""
    yield place
    for path in (place.folder / "records" / ".runs").glob("*.json"):
        subprocess.run(["scancel", *json.loads(path.read_text())["jobs"]], check=False)


def call(place: Any, *arguments: str) -> subprocess.CompletedProcess[str]:
    """``inrbench ARGUMENTS``, to its end."""
    command = [sys.executable, "-m", "inrbench", *arguments]
    return subprocess.run(
        command, cwd=place.folder, env=place.environment(), capture_output=True, text=True, timeout=120, check=False
    )


def until(what: Callable[[], Any], seconds: float = 120.0) -> Any:
    """What ``what`` gives, as soon as it gives something."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := what():
            return found
        time.sleep(0.2)
    raise AssertionError(f"{what} gave nothing in {seconds} s")


def at_work(place: Any, process: subprocess.Popen[str]) -> dict[str, Any]:
    """The lease of the cell at work."""

    def lease() -> Any:
        assert process.poll() is None, process.communicate()
        return next(iter(held(place.folder / "records")), None)

    return until(lease)  # type: ignore[no-any-return]


def run_file(place: Any) -> dict[str, Any]:
    """The only run over the records."""
    (path,) = (place.folder / "records" / ".runs").glob("*.json")
    return json.loads(path.read_text())  # type: ignore[no-any-return]


def state(job: str) -> State:
    known = states([job])
    assert known is not None
    return known[job]


@pytest.fixture(scope="module")
def near_its_limit(
    slurm: None, tmp_path_factory: pytest.TempPathFactory, make_place: Any
) -> Iterator[tuple[Any, subprocess.Popen[str]]]:
    """A job of three cells with a limit of a minute, started while other tests run."""
    place = make_place(tmp_path_factory.mktemp("limit"))
    sweep = place.settings(steps=4000, seconds=0.05)
    limit = ("--executor", "slurm", "--with", "time=1m", "--with", "cells=3")
    process = place.start("trouble+dots", *sweep, "--seed", "0-2", *limit)
    yield place, process
    process.kill()


def test_slurm_gives_the_same_numbers_as_local(cluster: Any) -> None:
    folder = cluster.folder
    for name, executor in (("local", ("--threads", "1")), ("slurm", (*SLURM, "--with", f"cells={3 if WHOLE else 1}"))):
        done = cluster.run(*SWEEP, *executor, "--records", name, timeout=3600.0)
        assert done.returncode == 0, done.stderr
        cluster.forget()
    ours, theirs = (
        {path.name: read_record(path) for path in (folder / name).glob("*.json")} for name in ("local", "slurm")
    )
    assert len(ours) == (12 if WHOLE else 2)
    assert ours.keys() == theirs.keys()
    for name, record in ours.items():
        assert theirs[name]["metrics"] == record["metrics"]
        assert theirs[name]["vectors"] == record["vectors"]
        assert theirs[name]["machine"]["threads"] == 1
        assert vectors_of(folder / "slurm", theirs[name])
    assert {path.suffix for path in (folder / "slurm").iterdir()} == {".json", ".safetensors"}
    assert "now in Slurm: 2 cells, jobs" in done.stderr or WHOLE
    assert cluster.run(*SWEEP, *SLURM, "--records", "slurm").stdout.count("done before") == len(ours)


def test_a_job_that_is_cancelled_is_recorded_and_goes_on(near_its_limit: Any, cluster: Any) -> None:
    arguments = ("trouble+dots", *cluster.settings(steps=120, seconds=0.05), *SLURM)
    process = cluster.start(*arguments)
    lease = at_work(cluster, process)
    assert lease["executor"] == "slurm"
    time.sleep(2.0)
    subprocess.run(["scancel", lease["job"]], check=True)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    record = cluster.record()
    assert record["status"] == "interrupted"
    said = rf"Slurm job {lease['job']} was cancelled or preempted: stopped while doing train; step \d+ of 120 is kept"
    assert re.match(said, record["reason"])
    assert not (cluster.folder / "records" / ".runs").exists()
    assert cluster.processes() == []
    done = cluster.run(*arguments)
    assert done.returncode == 0, done.stderr
    assert cluster.record()["status"] == "ok"


def test_jobs_that_never_began_or_were_killed_are_recorded(cluster: Any) -> None:
    """Neither can write a record: the waiting process does, from what Slurm says."""
    waiting = cluster.start("trouble+dots", *cluster.settings(number=1), *SLURM, "--with", "sbatch.begin=now+1hour")
    killed = cluster.start("trouble+dots", *cluster.settings(does="hang", number=2), *SLURM)
    lease = at_work(cluster, killed)
    time.sleep(1.0)
    runs = [json.loads(path.read_text()) for path in (cluster.folder / "records" / ".runs").glob("*.json")]
    (other,) = [job for run in runs for job in run["jobs"] if job != lease["job"]]
    subprocess.run(["scancel", other], check=True)
    os.kill(lease["pid"], signal.SIGKILL)  # on this machine, where the node is
    waiting.communicate(timeout=60)
    killed.communicate(timeout=90)
    assert waiting.returncode == 130
    assert killed.returncode == 1
    records = {record["settings"]["fitter"]["number"]: record for record in cluster.records().values()}
    assert records[1]["status"] == "interrupted"
    assert records[1]["reason"] == f"Slurm job {other} was cancelled; checkpoints are kept"
    assert records[1]["machine"]["slurm_job"] == other
    assert records[2]["status"] == "crash"
    assert re.match(rf"Slurm job {lease['job']} failed on \S+ and left no record; see log_tail", records[2]["reason"])
    assert "Killed" in "\n".join(records[2]["log_tail"])
    for one in cluster.processes():  # which would end by themselves in a while
        one.kill()


@pytest.mark.parametrize("preemption", [("scontrol", "requeue"), ("scancel", "--signal=USR2")], ids=" ".join)
def test_a_preempted_job_is_queued_again_and_goes_on(cluster: Any, preemption: tuple[str, str]) -> None:
    """By Slurm; or by the job itself, where Slurm only says that it will take the node away."""
    process = cluster.start("trouble+dots", *cluster.settings(steps=200, seconds=0.05), *SLURM, "--log")
    job = at_work(cluster, process)["job"]
    time.sleep(2.0)
    subprocess.run([*preemption, job], check=True)
    until(lambda: state(job).name == "PENDING")
    assert cluster.record()["status"] == "interrupted"
    assert process.poll() is None  # the last word is not said while the job can go on
    subprocess.run(["scontrol", "update", f"JobId={job}", "StartTime=now"], check=True)
    out, err = process.communicate(timeout=90)
    assert process.returncode == 0, out + err
    assert cluster.record()["status"] == "ok"
    (log,) = (cluster.folder / "records" / ".logs").iterdir()
    assert re.search(r"going on behind step \d+ of 200", log.read_text())


def test_data_that_is_missing_where_the_job_runs(cluster: Any) -> None:
    root = cluster.folder / "data"
    (root / "dotted").mkdir(parents=True)
    (root / "dotted" / "dots.txt").write_text("dots")
    gone = ("--data-root", "data", "--with", f"setup=['mv {root} {root}.gone']")
    done = cluster.run("trouble+dotted", *SLURM, *gone)
    assert done.returncode == 1
    record = cluster.record()
    assert record["status"] == "bad-data"
    assert f"`inrbench data fetch dotted --data-root {root}`" in record["reason"]
    assert not root.exists()  # nobody tried to download it there


def test_jobs_outlive_the_command_that_submitted_them(cluster: Any) -> None:
    """The same command finds them; status shows and stop ends them."""
    arguments = ("trouble+dots", *cluster.settings(steps=4000, seconds=0.05), "--seed", "0,1", *SLURM)
    arguments += ("--with", "array=1")
    first = cluster.start(*arguments)
    lease = at_work(cluster, first)
    first.kill()
    first.communicate()
    for number, said in ((signal.SIGINT, "error: not waiting any more; in Slurm: 2 cells"), (0, "the same command")):
        again = cluster.start(*arguments, *([] if number else ["--no-wait"]))
        assert "in Slurm already: 2 cells" in cluster.line(again.stderr)
        again.send_signal(number)
        _, err = again.communicate(timeout=60)
        assert again.returncode == (130 if number else 0)
        assert said in err
        assert "now in Slurm" not in err
    told = json.loads(call(cluster, "status", "--json").stdout)
    (run,) = told["runs"]
    assert (run["executor"], run["cells"], run["alive"], run["asked"]) == ("slurm", 2, False, "")
    assert run["queue"] == {"PENDING (JobArrayTaskLimit)": 1, "RUNNING": 1}
    assert [(cell["job"], cell["name"]) for cell in told["cells"]] == [(lease["job"], "trouble+dots-paper-s0")]
    assert (told["records"], told["gone"]) == ({}, [])
    shown = call(cluster, "status").stdout
    assert f"Slurm job {lease['job']} on" in shown
    waiting = cluster.start(*arguments)
    assert "in Slurm already: 2 cells" in cluster.line(waiting.stderr)
    stopped = call(cluster, "stop")
    assert stopped.returncode == 0
    assert "1 job asked to stop, 1 job that waited cancelled" in stopped.stdout
    _, err = waiting.communicate(timeout=60)
    assert waiting.returncode == 130
    assert "1 of 2 cells were not started" in err
    assert [record["status"] for record in cluster.records().values()] == ["interrupted"]
    told = json.loads(call(cluster, "status", "--json").stdout)
    assert (told["runs"], told["cells"], told["records"]) == ([], [], {"interrupted": 1})
    assert not (cluster.folder / "records" / ".runs").exists()


def test_sacct_that_fails_is_lived_with(slurm: None) -> None:
    done = subprocess.run(["sacct"], capture_output=True, check=False) if shutil.which("sacct") else None
    if done is not None and done.returncode == 0:
        pytest.skip("this Slurm keeps accounts")
    assert states(["99999999"]) == {"99999999": State("GONE")}


def test_what_slurm_refuses_is_said_in_one_line(cluster: Any) -> None:
    done = cluster.run("trouble+dots", *SLURM, "--with", "partition=nowhere")
    assert done.returncode == 2
    assert re.fullmatch(r"error: Slurm refuses the jobs: .*invalid partition.*\n", done.stderr)
    assert not (cluster.folder / "records" / ".runs").exists()


def test_a_job_that_fails_before_it_begins_is_recorded_with_what_it_said(cluster: Any) -> None:
    done = cluster.run("trouble+dots", *SLURM, "--with", "setup=['echo no such module >&2', 'exit 3']")
    assert done.returncode == 1
    record = cluster.record()
    assert record["status"] == "crash"
    assert re.match(r"Slurm job \d+ failed on \S+ and left no record; see log_tail", record["reason"])
    assert record["log_tail"] == ["no such module"]


def test_a_time_limit_is_recorded_for_every_cell_of_the_job(near_its_limit: Any) -> None:
    place, process = near_its_limit
    _, err = process.communicate(timeout=150)
    assert process.returncode == 1, err
    reasons = {record["seed"]: record["reason"] for record in place.records().values()}
    assert {record["status"] for record in place.records().values()} == {"timeout"}
    assert re.match(r"Slurm job \d+ reached its time limit: stopped while doing train; step \d+ of 4000", reasons[0])
    for seed in (1, 2):
        assert re.fullmatch(r"Slurm job \d+ reached its time limit before this cell was started", reasons[seed])
    assert place.processes() == []
