"""What Slurm's commands say is read, and what they cannot say is lived with. The commands are scripts of this file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from inrbench.execution import slurm_queue
from inrbench.execution.slurm_queue import State, cancel, listed, max_array, named, requeue, states

Fake = Callable[..., Path]


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Fake:
    """Makes a command, the only one on the path with those made before; gives the file with its calls."""
    monkeypatch.setenv("PATH", str(tmp_path))

    def make(name: str, says: str = "", status: int = 0, complains: str = "") -> Path:
        calls = tmp_path / f"{name}.calls"
        script = tmp_path / name
        script.write_text(
            f'#!/bin/sh\necho "$@" >> {calls}\nwhile read -r line; do echo "$line"; done <<\'END\'\n{says}\nEND\n'
            f"[ -n '{complains}' ] && echo '{complains}' >&2\nexit {status}\n"
        )
        script.chmod(0o755)
        return calls

    return make


def test_states_of_jobs_and_of_tasks_of_arrays(fake: Fake) -> None:
    calls = fake(
        "squeue", "12_0|RUNNING|None|node1\n12_1|PENDING|Priority|\n12_2|TIMEOUT|TimeLimit|node1\n7|COMPLETED|None|n"
    )
    known = states(["7", "12_0", "12_1", "12_2"])
    assert known == {
        "7": State("COMPLETED", "None", "n"),
        "12_0": State("RUNNING", "None", "node1"),
        "12_1": State("PENDING", "Priority", ""),
        "12_2": State("TIMEOUT", "TimeLimit", "node1"),
    }
    assert [job for job, state in known.items() if state.ended] == ["7", "12_2"]
    assert calls.read_text() == "--array --states=all --noheader --jobs=7,12 --format=%i|%T|%r|%N\n"


@pytest.mark.parametrize(
    "state", ["COMPLETING", "CONFIGURING", "REQUEUED", "REQUEUE_HOLD", "SUSPENDED", "STAGE_OUT", "NEW"]
)
def test_a_state_that_a_job_leaves_is_no_end(state: str) -> None:
    assert not State(state).ended


def test_what_squeue_has_forgotten_accounting_may_know(fake: Fake) -> None:
    fake("squeue", status=1, complains="slurm_load_jobs error: Invalid job id specified")
    assert states(["12_0"]) == {"12_0": State("GONE")}  # there is no sacct
    assert State("GONE").ended
    fake("sacct", status=1, complains="Slurm accounting storage is disabled")
    assert states(["12_0"]) == {"12_0": State("GONE")}
    fake("sacct", "12_0|CANCELLED by 1000\n12_1|OUT_OF_MEMORY\n12_3|COMPLETED\n|")
    known = states(["12_0", "12_1", "12_2"])
    assert known == {"12_0": State("CANCELLED"), "12_1": State("OUT_OF_MEMORY"), "12_2": State("GONE")}


def test_slurm_that_does_not_answer_is_told_from_jobs_that_are_gone(
    fake: Fake, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert states(["12"]) is None  # no command
    fake("squeue", status=1, complains="Unable to contact slurm controller (connect failure)")
    assert states(["12"]) is None
    assert named("inrbench") is None
    assert states([]) == {}
    monkeypatch.setattr(slurm_queue, "ANSWERS_WITHIN_S", 0.2)
    path = fake("squeue").with_name("squeue")
    path.write_text("#!/bin/sh\nexec /bin/sleep 5\n")
    assert states(["12"]) is None


def test_many_jobs_are_asked_for_in_parts(fake: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slurm_queue, "AT_ONCE", 2)
    calls = fake("squeue", "9|RUNNING|None|n")
    assert states(["10", "9", "11_1", "11_2"]) is not None
    assert [line.split()[3] for line in calls.read_text().splitlines()] == ["--jobs=9,10", "--jobs=11"]


def test_jobs_are_found_by_name(fake: Fake) -> None:
    calls = fake("squeue", "12_10\n12_9\n3")
    assert named("inrbench-x-0") == ["3", "12_9", "12_10"]
    assert "--name=inrbench-x-0" in calls.read_text()


def test_cancelling_says_what_slurm_had_against_it(fake: Fake) -> None:
    assert cancel(["12_1"]) == "scancel cannot be called"
    calls = fake("scancel")
    assert cancel(["12_1", "12_0"], waiting_only=True) == ""
    assert cancel(["12_1"]) == ""
    assert cancel([]) == ""
    assert calls.read_text() == "--state=PENDING 12_0 12_1\n12_1\n"
    fake("scancel", status=1, complains="Access denied")
    assert cancel(["12_1"]) == "Access denied"


def test_the_size_of_arrays_and_requeueing(fake: Fake) -> None:
    assert max_array() == 1001
    calls = fake("scontrol", "KillWait = 30 sec\nMaxArraySize            = 50\n")
    assert max_array() == 50
    assert requeue("12_3")
    assert "requeue 12_3" in calls.read_text()
    fake("scontrol", status=1)
    assert not requeue("12_3")
    assert max_array() == 1001


def test_jobs_in_words() -> None:
    assert listed(["12"]) == "12"
    assert listed(["12_10", "12_9", "12_9"]) == "12_9 to 12_10"
