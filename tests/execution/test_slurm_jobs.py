"""What jobs are given to do, and the records of those that could not write any. No Slurm is asked."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from inrbench.cells import resolve
from inrbench.data import OpenedData
from inrbench.errors import BadData, Refused, UsageError
from inrbench.execution import slurm, slurm_job, slurm_jobs
from inrbench.execution.cell import described, died, run_one
from inrbench.execution.leases import Lease, born
from inrbench.execution.runs import Run, begin, runs
from inrbench.execution.slurm_job import OnNode, job_name, slots_here
from inrbench.execution.slurm_jobs import conclude, job_cell, live_jobs, read_job, settle, write_job
from inrbench.execution.slurm_queue import State
from inrbench.execution.slurm_settings import SlurmSettings
from inrbench.execution.watch import Watch
from inrbench.progress import Progress
from inrbench.records import read_record
from inrbench.runner import Options, Planned, with_record


def planned(records: Path, seed: int = 0) -> Planned:
    cell = resolve("pixels", "digits", profile="smoke", seed=seed, overrides=[{"reader": "knn"}])
    return with_record(cell, OpenedData("digits", {}, "c" * 64, True), "cpu", Options(records))


def write(records: Path, one: Planned, status: str, started: str) -> None:
    """A record of a cell, as its process would have written it."""
    died({**described(one, 1), "started": started}, records, status, "so it is", 1.0)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """A run with one job of two cells, whose process is gone."""
    return submitted(tmp_path)


def submitted(records: Path) -> Run:
    options = Options(records, threads=3)
    cells = [job_cell(planned(records, seed), options) for seed in (0, 1)]
    made = begin(records, "slurm", [one.stem for one in cells], chunks=[[[0, 2]]])
    made.files.mkdir()
    write_job(made.files / "0-0.json", cells, options, minutes=10, delay_s=60, requeue=True)
    made.write(jobs={"12": {"file": "0-0.json", "cells": [0, 2]}}, pid=2**22 + 1)
    (read,) = runs(records)
    return read


def test_a_job_says_all_that_its_node_must_know(tmp_path: Path) -> None:
    one = planned(tmp_path)
    write(tmp_path, one, "timeout", "2026-01-01T00:00:00+00:00")
    options = Options(tmp_path, Path("data"), threads=2, timeout=9.0, retry=("timeout",), executor_settings={"gpus": 1})
    write_job(tmp_path / "job", [job_cell(one, options)], options, minutes=3)
    (cell,), known, document = read_job(tmp_path / "job")
    assert (known.data_root, known.threads, known.timeout, known.retry) == (Path("data").resolve(), 2, 9.0, None)
    assert document["minutes"] == 3
    assert cell.before == ("2026-01-01T00:00:00+00:00",)
    again = cell.planned(known)
    assert (again.name, again.key, again.device) == (one.name, one.key, "cpu")
    assert again.record is not None
    assert again.record["status"] == "timeout"
    with pytest.raises(BadData, match="nowhere"):
        read_job(tmp_path / "nowhere")


def test_a_record_from_before_is_no_outcome(tmp_path: Path) -> None:
    one = planned(tmp_path)
    write(tmp_path, one, "crash", "2026-01-01T00:00:00+00:00")
    cell = job_cell(one, Options(tmp_path))
    assert cell.outcome(tmp_path) is None
    write(tmp_path, one, "timeout", "2026-01-02T00:00:00+00:00")
    outcome = cell.outcome(tmp_path)
    assert outcome is not None
    assert outcome["status"] == "timeout"
    assert replace(cell, key="another").outcome(tmp_path) is None


@pytest.mark.parametrize(
    ("state", "status", "reason"),
    [
        (State("TIMEOUT", node="n1"), "timeout", "Slurm ended job 12 at its time limit on n1; checkpoints are kept"),
        (State("DEADLINE"), "timeout", "Slurm ended job 12 at its deadline"),
        (State("CANCELLED"), "interrupted", "Slurm job 12 was cancelled"),
        (State("PREEMPTED"), "interrupted", "Slurm job 12 was preempted"),
        (State("OUT_OF_MEMORY"), "out-of-memory", "Slurm ended job 12, which used more than its memory"),
        (State("NODE_FAIL", node="n1"), "crash", "the node of Slurm job 12 failed on n1"),
        (State("FAILED"), "crash", "Slurm job 12 failed and left no record"),
        (State("COMPLETED"), "crash", "Slurm job 12 ended and left no record"),
        (State("GONE"), "interrupted", "Slurm job 12 is gone and left no record"),
    ],
    ids=lambda value: value.name if isinstance(value, State) else "",
)
def test_a_job_that_left_no_record_gets_one_from_its_state(
    tmp_path: Path, run: Run, state: State, status: str, reason: str
) -> None:
    write(tmp_path, planned(tmp_path, 1), "not-finite", "2026-01-02T00:00:00+00:00")
    (run.files / "12_0_log.err").write_text("line 1\nthe end\n")
    assert conclude(run, "12", state)
    found = {record["seed"]: record for record in map(read_record, tmp_path.glob("*.json"))}
    assert (found[0]["status"], found[1]["status"]) == (status, "not-finite")
    assert found[0]["reason"].startswith(reason)
    assert found[0]["log_tail"] == ["line 1", "the end"]
    assert found[0]["machine"] == {"device": "cpu", "threads": 3, "slurm_job": "12", "node": state.node}
    assert not list((tmp_path / ".leases").iterdir())


def test_after_a_stop_what_was_not_started_is_left_undone(tmp_path: Path, run: Run) -> None:
    run.ask("stop")
    assert conclude(run, "12", State("CANCELLED"))
    assert list(tmp_path.glob("*.json")) == []


def test_a_cell_that_somebody_is_at_is_left_to_them(tmp_path: Path, run: Run) -> None:
    one = planned(tmp_path)
    lease = Lease(tmp_path, job_cell(one, Options(tmp_path)).stem, {})
    assert lease.take()
    assert not conclude(run, "12", State("FAILED"))
    assert [record["seed"] for record in map(read_record, tmp_path.glob("*.json"))] == [1]
    lease.release()
    assert conclude(run, "12", State("FAILED"))
    assert len(list(tmp_path.glob("*.json"))) == 2


def test_a_job_that_somebody_else_concluded_is_done(run: Run) -> None:
    (run.files / "0-0.json").unlink()
    assert conclude(run, "12", State("FAILED"))


def test_a_run_that_nobody_waits_for_is_settled_when_its_jobs_have_ended(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers: list[Any] = [None, State("RUNNING"), State("NODE_FAIL")]

    def answer(jobs: list[str]) -> Any:
        return answers[0] and dict.fromkeys(jobs, answers[0])

    monkeypatch.setattr(slurm_jobs, "states", answer)
    run.write(pid=os.getpid(), born=born(os.getpid()))
    answers.insert(0, State("FAILED"))
    assert list(settle(tmp_path)) == []  # its process waits, and sees to it
    run.write(pid=2**22 + 1)
    answers.pop(0)
    for _ in range(2):
        assert list(settle(tmp_path)) == []
        assert list(tmp_path.glob("*.json")) == []
        answers.pop(0)
    assert list(settle(tmp_path)) == [f"run {run.id} has ended: 1 Slurm job, and nobody waited"]
    assert {record["status"] for record in map(read_record, tmp_path.glob("*.json"))} == {"crash"}
    assert not (tmp_path / ".runs").exists()


def test_jobs_that_were_not_written_down_are_found_by_their_names(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their submitter died between sbatch and its next step."""
    run.write(jobs={}, chunks=[[[0, 1], [1, 1]], [[2, 1]]])
    names = {f"inrbench-{run.id}-0": ["30_0", "30_1"], f"inrbench-{run.id}-1": ["31"]}
    monkeypatch.setattr(slurm_jobs, "named", names.get)
    monkeypatch.setattr(slurm_jobs, "states", lambda jobs: {job: State("RUNNING") for job in jobs})
    assert list(live_jobs(run) or []) == ["30_0", "30_1", "31"]
    assert run.about["jobs"]["30_1"] == {"file": "0-1.json", "cells": [1, 1]}
    assert run.about["jobs"]["31"] == {"file": "1-0.json", "cells": [2, 1]}
    monkeypatch.setattr(slurm_jobs, "named", lambda name: None)
    run.write(jobs={})
    assert live_jobs(run) is None
    run.write(pid=os.getpid(), born=born(os.getpid()))
    assert live_jobs(run) == {}  # it is just submitting them


def on_node(records: Path, minutes: int, delay_s: float = 60.0) -> OnNode:
    watch = Watch([], lambda line: None, quiet=True)
    return OnNode([], Options(records), [], watch, Run(records, {"id": "x", "executor": "slurm"}), minutes, delay_s)


def test_a_supervisor_keeps_its_own_run_fresh_and_stops_where_it_is_asked(tmp_path: Path) -> None:
    node = on_node(tmp_path, minutes=0)
    assert node.listed is not None
    for ours in (False, True):  # a job's run is that of the process that submitted it
        node.listed.ours = ours
        node.listed.renewed -= 1000.0
        node.heeded = 0.0
        node._heed()
        assert node.listed.path.exists() == ours
    assert node.stops == 0
    node.listed.ask("stop")
    node._heed()
    assert node.stops == 0  # not yet again
    node.heeded = 0.0
    node._heed()
    assert (node.stops, node.because) == (1, None)
    node.listed.ask("now")
    node.heeded = 0.0
    node._heed()
    assert node.stops == 2


@pytest.mark.parametrize(
    ("left_s", "number", "status", "said", "preempted"),
    [
        (50.0, signal.SIGUSR2, "timeout", "reached its time limit", False),
        (130.0, signal.SIGUSR2, "timeout", "reached its time limit", False),  # Slurm may say so a minute early
        (500.0, signal.SIGUSR2, "interrupted", "was preempted", True),
        (500.0, signal.SIGTERM, "interrupted", "was cancelled or preempted", False),
        (130.0, signal.SIGTERM, "interrupted", "was cancelled or preempted", False),
        (5.0, signal.SIGTERM, "timeout", "reached its time limit", False),  # where Slurm sends no other signal
        (None, signal.SIGUSR2, "timeout", "reached its time limit", False),
        (None, signal.SIGTERM, "interrupted", "was cancelled or preempted", False),
    ],
)
def test_why_slurm_ends_a_job_is_told_by_signal_and_time(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    left_s: float | None,
    number: int,
    status: str,
    said: str,
    preempted: bool,
) -> None:
    monkeypatch.setenv("SLURM_JOB_ID", "40")
    monkeypatch.setenv("SLURM_ARRAY_JOB_ID", "39")
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "2")
    monkeypatch.delenv("SLURM_JOB_END_TIME", raising=False)
    node = on_node(tmp_path, minutes=0)
    node.ends = None if left_s is None else time.time() + left_s
    node.signalled(number, None)
    assert node.because == (status, f"Slurm job 39_2 {said}")
    assert node.stops == 1
    assert node.preempted == preempted
    grace = node.grace_s
    assert grace == (50.0 if number == signal.SIGUSR2 else slurm_job.GRACE_S)
    node.signalled(signal.SIGTERM, None)  # again, at the very end
    assert node.stops == 1
    assert node.because[0] == status
    assert node.grace_s <= grace


def test_a_job_that_inrbench_cancels_is_just_stopped(tmp_path: Path) -> None:
    node = on_node(tmp_path, minutes=10)
    assert node.listed is not None
    node.listed.ask("stop")
    node.signalled(signal.SIGTERM, None)
    assert (node.stops, node.because) == (1, None)


def test_the_end_of_a_job_is_what_slurm_says_else_its_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SLURM_JOB_END_TIME", raising=False)
    assert on_node(tmp_path, 0).ends is None
    assert on_node(tmp_path, 10).ends == pytest.approx(time.time() + 600.0, abs=5.0)
    monkeypatch.setenv("SLURM_JOB_END_TIME", "1700000000")
    assert on_node(tmp_path, 10).ends == 1.7e9
    monkeypatch.delenv("SLURM_ARRAY_JOB_ID", raising=False)
    monkeypatch.setenv("SLURM_JOB_ID", "40")
    assert job_name() == "40"


def test_cores_are_divided_only_where_they_are_the_jobs_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 1, 2, 3}, raising=False)
    whole = slots_here(Options(tmp_path, jobs=2, threads=2))
    assert [slot.cpus for slot in whole] == [[0, 1], [2, 3]]
    part = slots_here(Options(tmp_path, jobs=2, threads=1))
    assert [(slot.cpus, slot.threads) for slot in part] == [([], 1), ([], 1)]


def test_a_node_with_other_code_runs_nothing(tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its records would be filed under keys that tell something else."""
    monkeypatch.setenv("SLURM_JOB_ID", "12")
    file = run.files / "0-0.json"
    document = json.loads(file.read_text())
    document["cells"] = [{**one, "key": "f" * 64} for one in document["cells"]]
    file.write_text(json.dumps(document))
    slurm_job.run_job(str(file))
    found = [read_record(path) for path in tmp_path.glob("*.json")]
    assert {(one["status"], one["key"]) for one in found} == {("refused", "f" * 64)}
    assert "its code or the versions of its packages are others on" in found[0]["reason"]


def test_a_gpu_that_a_node_lacks_is_refused(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    if torch.cuda.is_available():
        pytest.skip("there is a GPU here")
    cell = resolve("mwt", "digits", profile="smoke")
    one = with_record(cell, OpenedData("digits", {}, "c" * 64, True), "cuda:0", Options(tmp_path))
    with pytest.raises(Refused, match="this machine has no CUDA device"):
        run_one(one, Options(tmp_path), 1, threading.Event(), Progress(quiet=True))


def arrays(monkeypatch: pytest.MonkeyPatch, answers: list[Any]) -> list[Any]:
    """Slurm takes arrays of two jobs, or refuses; gives the calls."""
    called: list[Any] = []

    def array(run: Run, name: str, files: list[Path], options: Options, settings: Any) -> list[str]:
        called.append((name.removeprefix(f"inrbench-{run.id}-"), [file.name for file in files]))
        answer = answers[len(called) - 1]
        if isinstance(answer, Exception):
            raise answer
        return list(answer)

    monkeypatch.setattr(slurm, "max_array", lambda: 2)
    monkeypatch.setattr(slurm, "_array", array)
    return called


def test_cells_are_packed_into_jobs_and_jobs_into_arrays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    called = arrays(monkeypatch, [["30_0", "30_1"], ["31"]])
    options = Options(tmp_path)
    cells = {number: job_cell(planned(tmp_path, number), options) for number in (3, 4, 5, 6, 7)}
    made, taken = slurm._submit(cells, options, SlurmSettings(cells=2, time="90s"))
    assert called == [("0", ["0-0.json", "0-1.json"]), ("1", ["1-0.json"])]
    assert {number: one.job for number, one in taken.items()} == {3: "30_0", 4: "30_0", 5: "30_1", 6: "30_1", 7: "31"}
    (run,) = runs(tmp_path)
    assert run.id == made.id
    for job, about in run.about["jobs"].items():
        in_job, _, document = read_job(run.files / about["file"])
        first, count = about["cells"]
        assert [one.stem for one in in_job] == run.about["cells"][first : first + count]
        assert [one.stem for one in in_job] == [one.cell.stem for one in taken.values() if one.job == job]
        assert (document["minutes"], document["delay_s"], document["requeue"]) == (2, 20, True)
    assert run.about["chunks"] == [[[0, 2], [2, 2]], [[4, 1]]]


def test_what_slurm_does_not_take_is_left_for_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    options = Options(tmp_path)
    cells = {number: job_cell(planned(tmp_path, number), options) for number in range(3)}
    arrays(monkeypatch, [["30_0", "30_1"], Refused("Slurm refuses the jobs: too many")])
    _, taken = slurm._submit(cells, options, SlurmSettings())
    assert list(taken) == [0, 1]
    said = "Slurm refuses the jobs: too many; 1 cells are left, the same command submits them later\n"
    assert capsys.readouterr().err == said.replace("1 cells are", "1 cell is")
    for run in runs(tmp_path):
        run.end()
    arrays(monkeypatch, [Refused("Slurm refuses the jobs: no such partition")])
    with pytest.raises(Refused, match="no such partition"):
        slurm._submit(cells, options, SlurmSettings())
    assert not (tmp_path / ".runs").exists()


def test_python_starts_in_jobs_as_it_did_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A module of the current folder is found there if it is here, and not if it is not."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    assert slurm._python() == sys.executable
    monkeypatch.setattr(sys, "path", ["/somewhere/bin", *sys.path])
    assert slurm._python() == f"{sys.executable} -P"


@pytest.mark.parametrize("missing", ["submitit", "squeue"])
def test_what_slurm_needs_is_said_before_anything_is_planned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    for command in {"sbatch", "srun", "squeue", "scancel"} - {missing}:
        (tmp_path / command).write_text("#!/bin/sh\n")
        (tmp_path / command).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    if missing == "submitit":
        monkeypatch.setattr(slurm.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match=missing):
        slurm.run_on_slurm([], Options(tmp_path), SlurmSettings(), lambda line: None, True)
