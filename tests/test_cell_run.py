"""A cell's run: loops go on where they stopped, and clocks count what was spent before."""

from __future__ import annotations

import logging
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from inrbench import draws
from inrbench.arrays import load_arrays, save_arrays
from inrbench.cell_run import CHECKPOINT, CellRun, logged, stop_on_signals
from inrbench.errors import Interrupted
from inrbench.representations import Arrays


class Counter:
    """Something that is trained: its state is the sum of the steps it saw."""

    def __init__(self) -> None:
        self.sum = 0
        self.restored = 0

    def state(self) -> Arrays:
        return {"sum": np.array([self.sum])}

    def restore(self, arrays: Arrays) -> None:
        self.sum = int(arrays["sum"][0])
        self.restored += 1

    def walk(self, run: CellRun, total: int = 10, stop_at: int | None = None, name: str = "train") -> Iterator[int]:
        for step in run.steps(name, total, self.state, self.restore):
            self.sum += step
            if step == stop_at:
                run.stop.set()
            yield step


def stopped(folder: Path | None, at: int = 3, total: int = 10) -> str:
    """The message of a run that is asked to stop during step ``at``."""
    run = CellRun(0, folder=folder)
    with pytest.raises(Interrupted) as caught:
        list(Counter().walk(run, total, stop_at=at))
    return str(caught.value)


def test_a_stopped_loop_says_where_and_keeps_a_checkpoint(tmp_path: Path) -> None:
    message = "stopped while doing train; step 4 of 10 is kept: the same command goes on from there"
    assert stopped(tmp_path) == message
    arrays, metadata = load_arrays(tmp_path / f"train{CHECKPOINT}")
    assert arrays["sum"].tolist() == [0 + 1 + 2 + 3]
    assert (metadata["step"], metadata["total"]) == ("4", "10")


def test_a_loop_goes_on_behind_its_checkpoint(tmp_path: Path) -> None:
    stopped(tmp_path)
    counter = Counter()
    assert list(counter.walk(CellRun(0, folder=tmp_path))) == [4, 5, 6, 7, 8, 9]
    assert (counter.sum, counter.restored) == (sum(range(10)), 1)


def test_a_loop_stopped_at_its_last_step_has_no_step_left(tmp_path: Path) -> None:
    stopped(tmp_path, at=9)
    counter = Counter()
    assert list(counter.walk(CellRun(0, folder=tmp_path))) == []
    assert counter.sum == sum(range(10))


def test_a_loop_without_a_folder_keeps_nothing() -> None:
    assert stopped(None) == "stopped while doing train"


def test_a_checkpoint_of_another_number_of_steps_is_not_used(tmp_path: Path) -> None:
    stopped(tmp_path)
    counter = Counter()
    assert list(counter.walk(CellRun(0, folder=tmp_path), total=5)) == [0, 1, 2, 3, 4]
    assert counter.restored == 0


def test_a_damaged_checkpoint_is_said_and_not_used(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    stopped(tmp_path)
    path = tmp_path / f"train{CHECKPOINT}"
    path.write_bytes(path.read_bytes()[:-1])
    with caplog.at_level(logging.WARNING, "inrbench"):
        assert list(Counter().walk(CellRun(0, folder=tmp_path))) == list(range(10))
    assert "is damaged" in caplog.text
    assert "starting this stage again" in caplog.text


def test_loops_of_other_names_have_checkpoints_of_their_own(tmp_path: Path) -> None:
    stopped(tmp_path)
    assert list(Counter().walk(CellRun(0, folder=tmp_path), name="shard 1")) == list(range(10))


def test_checkpoints_are_written_as_often_as_asked(tmp_path: Path) -> None:
    run = CellRun(0, folder=tmp_path, checkpoint_every_s=0.0)
    kept = []
    for _ in Counter().walk(run, total=3):
        path = tmp_path / f"train{CHECKPOINT}"
        kept.append(load_arrays(path)[1]["step"] if path.exists() else None)
    assert kept == [None, "1", "2"]  # written when the loop asks for the next step
    assert CellRun(0, folder=tmp_path).checkpoint_every_s == 60.0


# ------------------------------------------------------------------ checkpoints of a stage


def test_a_finished_stage_needs_no_checkpoints(tmp_path: Path) -> None:
    run = CellRun(0, checkpoint_every_s=0.0)
    with run.checkpoints_in(tmp_path, "test-"):
        list(Counter().walk(run, name="shard 0"))
        assert [path.name for path in tmp_path.iterdir()] == [f"test-shard-0{CHECKPOINT}"]
        save_arrays(tmp_path / "trained.safetensors", {})
        save_arrays(tmp_path / f"train-shard-0{CHECKPOINT}", {})
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == [f"train-shard-0{CHECKPOINT}", "trained.safetensors"]
    assert (run.folder, run.prefix) == (None, "")


def test_a_stage_that_fails_keeps_its_checkpoints(tmp_path: Path) -> None:
    run = CellRun(0, checkpoint_every_s=0.0)

    def fail() -> None:
        with run.checkpoints_in(tmp_path):
            list(Counter().walk(run))
            raise RuntimeError("broken")

    with pytest.raises(RuntimeError, match="broken"):
        fail()
    assert [path.name for path in tmp_path.iterdir()] == [f"train{CHECKPOINT}"]
    assert run.folder is None


# ------------------------------------------------------------------ clocks


def test_a_clock_adds_up_its_blocks_and_failures_too() -> None:
    run = CellRun(0)
    for _ in range(2):
        with run.clock("train"):
            time.sleep(0.01)

    def fail() -> None:
        with run.clock("train"):
            time.sleep(0.01)
            raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        fail()
    assert 0.03 <= run.seconds["train"] < 1.0
    assert run.seconds.keys() == {"train"}


def test_a_resumed_loop_counts_the_seconds_before_its_checkpoint(tmp_path: Path) -> None:
    meta = {"step": "4", "total": "10", "seconds": "1000.0"}
    save_arrays(tmp_path / f"train{CHECKPOINT}", {"sum": np.array([6])}, meta)
    run = CellRun(0)
    with run.clock("train"), run.checkpoints_in(tmp_path):
        list(Counter().walk(run))
    with run.clock("query"):
        pass
    assert 1000.0 <= run.seconds["train"] < 1001.0
    assert run.seconds["query"] < 1.0
    assert run.seconds.keys() == {"train", "query"}


def test_a_loop_stopped_twice_counts_all_its_seconds(tmp_path: Path) -> None:
    meta = {"step": "4", "total": "10", "seconds": "1000.0"}
    save_arrays(tmp_path / f"train{CHECKPOINT}", {"sum": np.array([6])}, meta)
    stopped(tmp_path, at=6)
    assert 1000.0 <= float(load_arrays(tmp_path / f"train{CHECKPOINT}")[1]["seconds"]) < 1001.0


# ------------------------------------------------------------------ evaluations


class Clock:
    """Time that passes when it is told to."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(time, "perf_counter", clock)
    return clock


def evaluated(run: CellRun, clock: Clock, stop_at: int | None = None) -> None:
    """A loop of 6 steps of a second each, with a look of 10 seconds at the end of every second step."""
    for step in Counter().walk(run, 6, stop_at, "fit"):
        clock.now += 1.0
        if step % 2:
            with run.evaluating() as fit_s:
                clock.now += 10.0
            run.log(step + 1, psnr_db=float(step), fit_s=fit_s)
        else:
            run.log(step, loss=1.0)


def curve_of(run: CellRun) -> list[tuple[float, float, float]]:
    return [(point["step"], point["psnr_db"], point["fit_s"]) for point in run.history if "fit_s" in point]


CURVE = [(2.0, 1.0, 2.0), (4.0, 3.0, 4.0), (6.0, 5.0, 6.0)]


def test_an_evaluation_counts_on_a_clock_of_its_own(clock: Clock) -> None:
    run = CellRun(0)
    with run.clock("fit"):
        clock.now += 0.5
        evaluated(run, clock)
        evaluated(run, clock)  # of another shard
    with run.clock("query"):
        clock.now += 2.0
    assert run.seconds == {"fit": 12.5, "evaluate": 60.0, "query": 2.0}
    assert curve_of(run) == CURVE + CURVE


def test_a_resumed_loop_has_the_whole_curve_and_its_seconds(tmp_path: Path, clock: Clock) -> None:
    first, second = CellRun(0), CellRun(0)
    with pytest.raises(Interrupted), first.clock("fit"), first.checkpoints_in(tmp_path):
        evaluated(first, clock, stop_at=3)
    assert float(load_arrays(tmp_path / f"fit{CHECKPOINT}")[1]["seconds"]) == 4.0
    clock.now += 1000.0
    told: list[int] = []
    second.on_log = lambda stage, loop, step, values: told.append(step)
    with second.clock("fit"), second.checkpoints_in(tmp_path):
        evaluated(second, clock)
    assert curve_of(second) == CURVE
    assert told == [4, 6]  # what was logged before was told before
    assert second.seconds == {"fit": 6.0, "evaluate": 10.0}


def test_an_evaluation_that_fails_counts_too(clock: Clock) -> None:
    run = CellRun(0)

    def fail() -> None:
        with run.clock("fit"), run.evaluating():
            clock.now += 3.0
            raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        fail()
    assert run.seconds == {"fit": 0.0, "evaluate": 3.0}


def test_a_record_keeps_all_evaluations_and_some_of_the_rest() -> None:
    plain = [{"step": float(step), "loss": 1.0} for step in range(1000)]
    curve = [{"step": float(step), "psnr_db": 1.0, "fit_s": 0.1} for step in range(70)]
    kept = logged([*plain[:7], *curve[:40], *plain[7:], *curve[40:]])
    assert [point for point in kept if "fit_s" in point] == curve
    assert [point for point in kept if "loss" in point] == plain[::20]
    assert kept[1:3] == curve[:2]  # in the order in which they came
    assert logged(plain[:50]) == plain[:50]


# ------------------------------------------------------------------ draws, logs, signals


def test_a_runs_draws_are_keyed_by_its_seed() -> None:
    assert CellRun(3).rng("order", 1).random() == draws.generator(3, "order", 1).random()
    assert CellRun(3).rng("order", 1).random() != CellRun(4).rng("order", 1).random()


def test_logged_values_are_kept_by_step() -> None:
    run = CellRun(0)
    run.log(3, loss=0.5)
    assert run.history == [{"step": 3.0, "loss": 0.5}]


def test_stopping_between_units_of_work_names_the_work() -> None:
    run = CellRun(0)
    run.stop_here("fit test")
    run.stop.set()
    with pytest.raises(Interrupted, match="stopped while doing fit test; the stages before it are kept"):
        run.stop_here("fit test")


def test_the_first_signal_asks_and_the_second_stops_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    stop = threading.Event()
    with stop_on_signals(stop):
        signal.raise_signal(signal.SIGINT)
        assert stop.is_set()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGTERM)  # asks again, and breaks nothing
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before
    assert "stopping after this step, with a checkpoint; Ctrl-C again stops at once" in capsys.readouterr().err


def test_another_thread_leaves_the_signals_alone() -> None:
    before = signal.getsignal(signal.SIGINT)
    seen = []

    def inside() -> None:
        with stop_on_signals(threading.Event()):
            seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=inside)
    thread.start()
    thread.join()
    assert seen == [before]


def test_a_copy_has_draws_of_its_own() -> None:
    run = CellRun(3)
    drawn = run.rng("latents", 7).random()
    with run.of_copy(0):
        assert run.rng("latents", 7).random() == drawn
    with run.of_copy(2):
        second = run.rng("latents", 7).random()
        with run.of_copy(1):
            assert run.rng("latents", 7).random() not in (drawn, second)
        assert run.rng("latents", 7).random() == second != drawn
    assert run.rng("latents", 7).random() == drawn
