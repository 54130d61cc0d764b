"""Progress: an estimate before anything long, lines in a log, and nothing where nothing is wanted."""

from __future__ import annotations

import io

import pytest

from inrbench import progress
from inrbench.progress import Progress, duration


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-3, "0 s"),
        (0.4, "0 s"),
        (45.4, "45 s"),
        (59.6, "1 min 0 s"),
        (250, "4 min 10 s"),
        (3599.9, "1 h 0 min"),
        (7500, "2 h 5 min"),
        (86399, "23 h 59 min"),
        (273600, "3 d 4 h"),
    ],
)
def test_durations_are_said_in_two_units(seconds: float, text: str) -> None:
    assert duration(seconds) == text


class Clock:
    """A clock that tests turn by hand."""

    def __init__(self) -> None:
        self.now = 100.0

    def perf_counter(self) -> float:
        return self.now


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(progress, "time", made)
    return made


def walk(clock: Clock, shown: Progress, steps: int, step_s: float, total: int, **notes: float) -> None:
    with shown.task("train", total) as task:
        for _ in range(steps):
            clock.now += step_s
            shown.note(**notes)
            task.advance()


def test_an_estimate_above_a_minute_is_said_once_with_the_quicker_profile(clock: Clock) -> None:
    stream = io.StringIO()
    walk(clock, Progress(quicker="`--profile smoke` takes seconds", stream=stream), 21, 0.5, 1008)
    (line,) = stream.getvalue().splitlines()
    # the first step warms up; after 7 timed steps of 0.5 s (3.5 s) 1000 steps are left
    assert line == "  train will take about 8 min 20 s (1,000 steps at 0.5 s a step); `--profile smoke` takes seconds"


def test_quick_steps_are_said_per_second(clock: Clock) -> None:
    stream = io.StringIO()
    walk(clock, Progress(stream=stream), 25, 0.004, 100_021)
    (line,) = stream.getvalue().splitlines()
    assert line == "  train will take about 6 min 40 s (100,000 steps at 250 steps a second)"


def test_no_estimate_is_said_of_what_takes_less_than_a_minute(clock: Clock) -> None:
    stream = io.StringIO()
    walk(clock, Progress(stream=stream), 30, 0.5, 100)
    assert stream.getvalue() == ""


def test_the_first_step_does_not_count_in_the_estimate(clock: Clock) -> None:
    stream = io.StringIO()
    shown = Progress(stream=stream)
    with shown.task("train", 100) as task:
        clock.now += 50.0  # compiling
        for _ in range(30):
            clock.now += 0.1
            task.advance()
    assert "will take" not in stream.getvalue()


def test_a_log_gets_a_line_now_and_then_with_the_latest_values(clock: Clock) -> None:
    stream = io.StringIO()
    walk(clock, Progress(stream=stream), 4, 20.0, 100, loss=0.12345678)
    estimate, *lines = stream.getvalue().splitlines()
    assert estimate == "  train will take about 32 min 40 s (98 steps at 20 s a step)"
    assert lines == ["  train 2/100, 32 min 40 s left, loss 0.1235", "  train 4/100, 32 min 0 s left, loss 0.1235"]


def test_steps_made_before_do_not_count_in_the_estimate(clock: Clock) -> None:
    stream = io.StringIO()
    with Progress(stream=stream).task("train", 1000, done=900) as task:
        for _ in range(10):
            clock.now += 1.0
            task.advance()
    (line,) = stream.getvalue().splitlines()
    assert line.startswith("  train will take about 1 min 35 s (95 steps")


def test_quiet_progress_says_nothing(clock: Clock) -> None:
    stream = Terminal()
    shown = Progress(quiet=True, quicker="x", stream=stream)
    walk(clock, shown, 30, 40.0, 10_000)
    shown.say("something")
    assert stream.getvalue() == ""


def test_a_terminal_gets_a_bar_and_lines_above_it() -> None:
    stream = Terminal()
    shown = Progress(stream=stream)
    with shown.task("train", 3) as outer:
        for _ in range(3):
            with shown.task("inner", 1) as inner:
                inner.advance()
            shown.note(loss=0.5)
            outer.advance()
        shown.say("a line with [brackets]")
    assert "a line with [brackets]" in stream.getvalue()
    assert "train" in stream.getvalue()
    after = len(stream.getvalue())
    shown.say("plain again")
    assert stream.getvalue()[after:] == "plain again\n"


def test_a_task_that_fails_closes_its_bar() -> None:
    stream = Terminal()
    shown = Progress(stream=stream)
    with pytest.raises(ValueError, match="broken"), shown.task("train", 3):
        raise ValueError("broken")
    after = len(stream.getvalue())
    shown.say("plain again")
    assert stream.getvalue()[after:] == "plain again\n"


def test_a_batch_of_no_steps_is_no_progress_and_no_error() -> None:
    with Progress(quiet=True).task("fit", 10) as task:
        for steps in (0, 0, 3, 0):
            task.advance(steps)
    assert task.done == 3
