"""The keepers of this process: started when they are first needed, one for each framework, and closed together."""

from __future__ import annotations

import atexit
import contextlib
import functools
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

from inrbench.errors import InrbenchError
from inrbench.execution.messages import Job, Lines, as_line

__all__ = ["Handle", "Keepers", "shared"]

#: What a keeper imports before it forks, by the framework of its cells, beside what every cell needs.
WARM = {
    "numpy": (),
    "torch": ("torch", "inrbench.backends.torch"),
    "jax": ("jax", "equinox", "optax", "inrbench.backends.jax"),
}
#: Seconds that a keeper has to import its framework from a cold disk.
START_S = 300.0


class Handle:
    """One keeper as its supervisor sees it."""

    def __init__(self, backend: str) -> None:
        self.backend = backend
        ours, its = socket.socketpair()
        self.connection = ours
        self.lines = Lines(ours.fileno())
        self.errors: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 (closed with the keeper)
        command = [sys.executable, "-m", "inrbench.execution.keeper", str(its.fileno()), *WARM[backend]]
        path = os.pathsep.join(entry for entry in (*_first_on_path(), os.environ.get("PYTHONPATH", "")) if entry)
        self.process = subprocess.Popen(  # noqa: S603
            command,
            pass_fds=[its.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=self.errors,
            stderr=self.errors,
            env={**os.environ, "PYTHONPATH": path},
            start_new_session=True,
        )
        its.close()

    def send(self, job: Job) -> None:
        """Start a job; where the keeper is gone `alive` tells."""
        self._say(job.document())

    def signal(self, number: int, which: signal.Signals) -> None:
        """Send a signal to a job's process; SIGKILL goes to all that it started too."""
        self._say({"number": number, "signal": int(which)})

    def read(self) -> Iterator[dict[str, Any]]:
        """What it and its cells have said."""
        yield from self.lines.read()

    @property
    def alive(self) -> bool:
        """Whether it still keeps."""
        return self.process.poll() is None and not self.lines.ended

    def words(self) -> str:
        """The last line that it wrote before it died."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(timeout=5.0)
        self.errors.seek(0)
        lines = self.errors.read().decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else f"it ended with status {self.process.poll()}"

    def close(self) -> None:
        """End it, and what it still runs; cells have some time to checkpoint."""
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)
        self.connection.close()
        try:
            self.process.wait(timeout=60.0)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.errors.close()

    def _say(self, document: Mapping[str, Any]) -> None:
        with contextlib.suppress(OSError):
            self.connection.sendall(as_line(document))


class Keepers:
    """A keeper for each framework, started at first use and anew where it died."""

    def __init__(self) -> None:
        self.handles: dict[str, Handle] = {}
        self.retired: list[Handle] = []

    def of(self, backends: tuple[str, ...]) -> Handle:
        """The keeper of cells with parts in ``backends``; those with several import theirs in their own process."""
        named = [backend for backend in backends if backend != "numpy"]
        name = named[0] if len(named) == 1 else "numpy"
        handle = self.handles.get(name)
        if handle is not None and not handle.alive:
            handle.close()
            handle = None
        if handle is None:
            handle = self.handles[name] = Handle(name)
        return handle

    def ask(self, backends: tuple[str, ...], job: Job) -> dict[str, Any]:
        """What a job that is no cell answers. Raises InrbenchError where its process dies of it."""
        handle = self.of(backends)
        handle.send(job)
        started = time.monotonic()
        answer: dict[str, Any] = {}
        while time.monotonic() - started < START_S:
            if not select.select([handle.connection], [], [], 1.0)[0]:
                continue
            for message in handle.read():
                if message.get("ended") == job.number:
                    if answer:
                        return answer
                    raise InrbenchError(f"checking the parts ended its process (status {message['status']})")
                if "answer" in message:
                    answer = message
            if not handle.alive:
                raise InrbenchError(f"the process that loads {handle.backend} ended: {handle.words()}")
        raise InrbenchError(f"loading {handle.backend} took more than {START_S:.0f} s")

    def retire(self, handle: Handle) -> None:
        """Send no more jobs to a keeper whose modules have changed on the disk; the next use starts one anew."""
        self.handles = {name: one for name, one in self.handles.items() if one is not handle}
        self.retired.append(handle)

    def close(self) -> None:
        """End all of them."""
        for handle in (*self.handles.values(), *self.retired):
            handle.close()
        self.handles, self.retired = {}, []


@functools.cache
def shared() -> Keepers:
    """The keepers that checking and running have in common; `Keepers.close` ends them, and they can start anew."""
    keepers = Keepers()
    atexit.register(keepers.close)
    return keepers


def _first_on_path() -> list[str]:
    """What this process would import from first, where a keeper would not: its script's folder, or the current one."""
    return [str(Path(entry or ".").resolve()) for entry in sys.path[:1]]
