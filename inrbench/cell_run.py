"""What the core hands to a stage: keyed draws, loops that checkpoint and show progress, clocks, and a log."""

from __future__ import annotations

import contextlib
import json
import logging
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import FrameType

import numpy as np

from inrbench import draws
from inrbench.arrays import load_arrays, save_arrays
from inrbench.errors import BadData, Interrupted
from inrbench.progress import Progress
from inrbench.representations import Arrays

__all__ = ["CellRun", "logged", "on_curve", "stop_on_signals"]

log = logging.getLogger("inrbench")
CHECKPOINT = ".checkpoint.safetensors"
#: Points of a log that a record keeps at most, beside its evaluations.
LOGGED_POINTS = 50
#: The stage that a clock belongs to; every other clock is of the stage "score".
STAGE_OF_CLOCK = {"train": "train", "fit_train": "fit", "read_train": "read"}
#: Called as ``on_log(stage, loop, step, values)`` for each logged step.
OnLog = Callable[[str, str, int, Mapping[str, float]], None]


class CellRun:
    """One cell's run; implements `inrbench.interfaces.Run`.

    ``folder`` keeps checkpoints; without one nothing is kept. ``stop`` is set by a signal and looked at between steps.
    ``on_log`` is told what is logged, in which stage and loop ("" outside of any); it must not raise.
    """

    def __init__(
        self,
        seed: int,
        *,
        device: str = "cpu",
        threads: int = 1,
        folder: Path | None = None,
        progress: Progress | None = None,
        stop: threading.Event | None = None,
        checkpoint_every_s: float = 60.0,
        on_log: OnLog | None = None,
    ) -> None:
        self.seed = seed
        self.device = device
        self.threads = threads
        self.folder = folder
        self.prefix = ""
        self.copy = 0  # of the signals that are being fitted: 0 are the signals themselves
        self.progress = progress or Progress(quiet=True)
        self.stop = stop or threading.Event()
        self.checkpoint_every_s = checkpoint_every_s
        self.on_log = on_log
        self.stage = self.loop = ""
        self.seconds: dict[str, float] = {}
        self.resumed_s = 0.0  # seconds that a resumed loop had taken before its checkpoint
        self.loop_start = time.perf_counter()  # of the latest loop; moved on by what is not counted of it
        self.history: list[dict[str, float]] = []

    def rng(self, *purpose: object) -> np.random.Generator:
        """The generator keyed by (seed, ``*purpose``); that of a copy of the signals also by its number."""
        return draws.generator(self.seed, *(("of copy", self.copy) if self.copy else ()), *purpose)

    @contextlib.contextmanager
    def of_copy(self, number: int) -> Iterator[None]:
        """Within the block draws are those of copy ``number``: copies keep their signal's id, and share no draw."""
        before, self.copy = self.copy, number
        try:
            yield
        finally:
            self.copy = before

    @contextlib.contextmanager
    def clock(self, name: str) -> Iterator[None]:
        """Add the wall time of the block to ``seconds[name]``."""
        start = time.perf_counter()
        outer, self.stage = self.stage, STAGE_OF_CLOCK.get(name, "score")
        try:
            yield
        finally:
            self.stage = outer
            aside = self.seconds.pop("aside", 0.0)
            elapsed = time.perf_counter() - start + self.seconds.pop("resumed", 0.0) - aside
            self.seconds[name] = self.seconds.get(name, 0.0) + elapsed
            if aside:
                self.seconds["evaluate"] = self.seconds.get("evaluate", 0.0) + aside

    @contextlib.contextmanager
    def evaluating(self) -> Iterator[float]:
        """Within the block all clocks stand still but that of evaluations; yields the loop's seconds until now."""
        start = time.perf_counter()
        try:
            yield self.resumed_s + start - self.loop_start
        finally:
            spent = time.perf_counter() - start
            self.loop_start += spent
            self.seconds["aside"] = self.seconds.get("aside", 0.0) + spent

    @contextlib.contextmanager
    def checkpoints_in(self, folder: Path | None, prefix: str = "") -> Iterator[None]:
        """Within the block loops checkpoint in ``folder``; once it is left without an error they are not needed."""
        before = self.folder, self.prefix
        self.folder, self.prefix = folder, prefix
        try:
            yield
        finally:
            self.folder, self.prefix = before
        if folder is not None:
            for checkpoint in folder.glob(f"{prefix}*{CHECKPOINT}"):
                checkpoint.unlink(missing_ok=True)

    def stop_here(self, name: str) -> None:
        """Raise Interrupted if a signal asked to stop; called between two units of work that are not checkpointed."""
        if self.stop.is_set():
            raise Interrupted(f"stopped while doing {name}; the stages before it are kept")

    def steps(
        self, name: str, total: int, state: Callable[[], Arrays], restore: Callable[[Arrays], None]
    ) -> Iterator[int]:
        """Yield 0 .. total - 1; checkpoint ``state()`` now and then, and go on behind the last checkpoint."""
        path = None if self.folder is None else self.folder / f"{self.prefix}{name.replace(' ', '-')}{CHECKPOINT}"
        self.resumed_s = 0.0
        before = len(self.history)
        first = self._restored(path, total, restore)
        self.loop_start = saved = time.perf_counter()
        self.seconds["resumed"] = self.seconds.get("resumed", 0.0) + self.resumed_s
        kept = False
        with self.progress.task(name, total, done=first) as task, self._within(f"{self.prefix}{name}"):
            for step in range(first, total):
                yield step
                task.advance()
                now = time.perf_counter()
                if path is not None and (self.stop.is_set() or now - saved > self.checkpoint_every_s):
                    meta = {"step": str(step + 1), "total": str(total)}
                    meta["seconds"] = str(self.resumed_s + now - self.loop_start)
                    meta["curve"] = json.dumps([point for point in self.history[before:] if on_curve(point)])
                    kept = self._checkpoint(path, state(), meta)
                    saved = time.perf_counter()
                if self.stop.is_set():
                    where = f"; step {step + 1} of {total} is kept: the same command goes on from there" if kept else ""
                    raise Interrupted(f"stopped while doing {name}{where}")

    @contextlib.contextmanager
    def _within(self, loop: str) -> Iterator[None]:
        outer, self.loop = self.loop, loop
        try:
            yield
        finally:
            self.loop = outer

    def _checkpoint(self, path: Path, arrays: Arrays, metadata: Mapping[str, str]) -> bool:
        """Whether the checkpoint could be written; a full disk is said, and the stage goes on."""
        try:
            save_arrays(path, arrays, metadata)
        except OSError as error:
            log.warning("no checkpoint at %s (%s); going on without", path, error.strerror or error)
            return False
        return True

    def _restored(self, path: Path | None, total: int, restore: Callable[[Arrays], None]) -> int:
        if path is None or not path.exists():
            return 0
        try:
            arrays, metadata = load_arrays(path)
        except BadData as error:
            log.warning("%s; starting this stage again", error)
            return 0
        if metadata.get("total") != str(total):
            return 0
        restore(arrays)
        self.history += json.loads(metadata.get("curve", "[]"))
        self.resumed_s = float(metadata.get("seconds", "0"))
        self.progress.say(f"  going on behind step {metadata['step']} of {total}")
        return int(metadata["step"])

    def log(self, step: int, **values: float) -> None:
        """Note values of one step."""
        self.history.append({"step": float(step), **values})
        self.progress.note(**values)
        if self.on_log is not None:
            self.on_log(self.stage, self.loop, step, values)


def on_curve(point: Mapping[str, float]) -> bool:
    """Whether a logged point is an evaluation of a fit: one of the few points of a curve over steps and seconds."""
    return "fit_s" in point


def logged(history: Sequence[Mapping[str, float]]) -> list[Mapping[str, float]]:
    """What a record keeps of a history: all evaluations, and some of the other points, evenly."""
    plain = [i for i, point in enumerate(history) if not on_curve(point)]
    kept = {*plain[:: max(1, -(-len(plain) // LOGGED_POINTS))]}
    return [point for i, point in enumerate(history) if i in kept or on_curve(point)]


@contextlib.contextmanager
def stop_on_signals(stop: threading.Event) -> Iterator[None]:
    """Within the block Ctrl-C and SIGTERM set ``stop``; a second Ctrl-C raises KeyboardInterrupt at once."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def ask(signum: int, _frame: FrameType | None) -> None:
        if stop.is_set() and signum == signal.SIGINT:
            raise KeyboardInterrupt
        stop.set()
        sys.stderr.write("stopping after this step, with a checkpoint; Ctrl-C again stops at once\n")

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
