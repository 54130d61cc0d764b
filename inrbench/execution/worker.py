"""A cell's process: what a keeper's fork does, from the job that it was given to the record."""

from __future__ import annotations

import contextlib
import faulthandler
import importlib
import io
import logging
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Mapping
from typing import Any, TextIO, cast

from inrbench.execution.apart import built_apart, needs_apart
from inrbench.execution.messages import Job, as_line, cell_of, options_of
from inrbench.keys import source_of
from inrbench.runner import QUICKER, Planned, opened

__all__ = ["work"]

#: Seconds between two words on how far a task is.
TELL_EVERY_S = 0.5


def work(job: Job, pipe: int, born: float) -> int:
    """Run the job's cell; returns the process's exit status, 0 where a record was written.

    ``born`` is when the keeper began to import what this process has in memory.
    """
    try:
        log = os.open(job.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    except OSError:  # a full disk, say: the record will tell
        log = os.open(os.devnull, os.O_WRONLY)
    for descriptor in (1, 2):
        os.dup2(log, descriptor)
    sys.stdout = sys.stderr = io.TextIOWrapper(io.FileIO(2, "w", closefd=False), write_through=True)
    faulthandler.enable(file=2)
    voice = Voice(pipe)
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    try:
        if job.cpus and hasattr(os, "sched_setaffinity"):
            os.sched_setaffinity(0, job.cpus)
        os.environ.update(job.environment)
        if job.check:
            voice.say(answer=[_checked(request, job.device) for request in job.check])
            return 0
        record = _run(job, voice, stop, born)
        if record is None:
            voice.say(stale=True)
            return 0
    except BaseException as error:
        with contextlib.suppress(OSError):
            traceback.print_exc()
        voice.say(failed=f"{type(error).__name__}: {error}", status=getattr(error, "status", "crash"))
        return 1
    voice.say(recorded=record["status"])
    return 0


def _checked(request: Mapping[str, Any], device: str) -> dict[str, str]:
    """The device of a cell, after its parts were constructed; or the error that says why not."""
    from inrbench.backends import engine_of
    from inrbench.cell_run import CellRun
    from inrbench.errors import InrbenchError

    try:
        cell = cell_of(request)
        if needs_apart(cell) and (reader := cell.plugins["reader"]):
            found = engine_of((reader.backend,)).resolve_device(device)
            with built_apart(cell, None, CellRun(cell.seed, device=found)):
                pass
        else:
            found = cell.engine().resolve_device(device)
            cell.build()
    except InrbenchError as error:
        return {"error": type(error).__name__, "message": str(error)}
    return {"device": found}


def _run(job: Job, voice: Voice, stop: threading.Event, born: float) -> Mapping[str, Any] | None:
    """The cell's record; None where its code was edited since this process's modules were imported."""
    from inrbench.errors import Refused
    from inrbench.execution.cell import run_one
    from inrbench.progress import Progress

    logger = logging.getLogger("inrbench")
    logger.addHandler(Handler(voice))
    logger.propagate = False
    options = options_of(job.options)
    cell = cell_of(job.request)
    one = Planned(cell, opened(cell, options), job.device, job.keys, job.ingredients, job.planned)
    changed = _changed_at(one)
    if changed > job.planned or one.data.checksum != job.checksum:
        what = "data" if one.data.checksum != job.checksum else "code"
        raise Refused(f"{one.name}: its {what} changed since it was planned; give the same command again")
    if changed > born:
        return None
    progress = Progress(quicker=QUICKER[one.cell.profile], stream=cast(TextIO, voice), watch=voice.how_far)
    return run_one(one, options, job.threads, stop, progress, lambda document: voice.say(document=document))


def _changed_at(one: Planned) -> float:
    """When one of the cell's modules was written last. All of them are loaded here, so that none is loaded later.

    Where two frameworks share the cell each process loads its own, so that here only their files are looked at.
    """
    names = one.code()
    if not needs_apart(one.cell):
        for name in names:
            importlib.import_module(name)
    files = [file for name in names if (file := source_of(name)) is not None]
    return max((file.stat().st_ctime for file in files), default=0.0)


class Voice(io.TextIOBase):
    """What a cell says to its supervisor. As a stream it takes lines for people."""

    def __init__(self, pipe: int) -> None:
        self.pipe = pipe
        self.told = 0.0

    def say(self, **document: Any) -> None:
        """A document; where nobody listens any more it is lost."""
        line = memoryview(as_line(document))
        try:
            while line:
                line = line[os.write(self.pipe, line) :]
        except OSError:
            return

    def write(self, text: str) -> int:
        """A line for people, in the log too."""
        with contextlib.suppress(OSError):  # a log on a full disk costs the line, not the cell
            sys.stderr.write(text)
        self.say(line=text.rstrip("\n"))
        return len(text)

    def how_far(self, name: str, done: int, total: int, left: float, notes: Mapping[str, float]) -> None:
        """Where a task is; told now and then."""
        now = time.monotonic()
        if now - self.told > TELL_EVERY_S:
            self.told = now
            self.say(task=name, done=done, total=total, left=left, notes=dict(notes))


class Handler(logging.Handler):
    """Warnings of the core and of plugins, said like other lines."""

    def __init__(self, voice: Voice) -> None:
        super().__init__(logging.WARNING)
        self.voice = voice

    def emit(self, record: logging.LogRecord) -> None:
        """One line."""
        self.voice.write(f"  {record.getMessage()}\n")
