"""A keeper: a process that has imported one framework, and forks for each cell that its supervisor sends.

    python -m inrbench.execution.keeper DESCRIPTOR [MODULE...]

Forking a process that has imported a framework, and has started nothing of it, costs milliseconds where importing costs
seconds. A crash takes the fork alone. When the supervisor is gone the keeper ends, and its cells with it.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import os
import selectors
import signal
import socket
import sys
import time
from typing import Any

from inrbench.execution.messages import Job, Lines, as_line

__all__ = ["Keeper", "die_with_parent"]

#: Seconds that cells have to checkpoint when the supervisor is gone.
GRACE_S = 20.0
PR_SET_PDEATHSIG = 1


class Keeper:
    """Forks for jobs, passes on what cells say, and tells how each ended. ``born``: when it began to import."""

    def __init__(self, connection: socket.socket, born: float) -> None:
        self.born = born
        self.connection = connection
        self.orders = Lines(connection.fileno())
        self.selector = selectors.DefaultSelector()
        self.selector.register(connection, selectors.EVENT_READ)
        self.pids: dict[int, int] = {}  # job -> its process, the leader of a group
        self.pipes: dict[int, tuple[int, Lines]] = {}  # descriptor -> job, what it says
        self.ended: dict[int, int] = {}  # job -> wait status, until its pipe is read to the end

    def run(self) -> None:
        """Until the supervisor closes the connection."""
        self.say(ready=os.getpid())
        while not self.orders.ended:
            for key, _ in self.selector.select(timeout=self.patience()):
                if key.fileobj is self.connection:
                    for order in self.orders.read():
                        self.obey(order)
                else:
                    self.pass_on(int(key.fd))
            self.reap()
        self.end()

    def patience(self) -> float | None:
        """Seconds until cells are looked at again; few where one has closed its pipe, since it is about to end."""
        if not self.pids:
            return None
        return 0.05 if len(self.pipes) == len(self.pids) else 0.001

    def obey(self, order: dict[str, Any]) -> None:
        """A job to start, or a signal for one."""
        if "job" in order:
            self.start(Job(**order["job"]))
        elif "signal" in order and order["number"] in self.pids:
            whole = order["signal"] == signal.SIGKILL
            with contextlib.suppress(ProcessLookupError):
                pid = self.pids[order["number"]]
                os.killpg(pid, order["signal"]) if whole else os.kill(pid, order["signal"])

    def start(self, job: Job) -> None:
        """Fork for a job; the fork never returns from here."""
        mine, its = os.pipe()
        pid = os.fork()
        if pid == 0:
            code = 70
            try:
                os.setpgid(0, 0)
                die_with_parent()
                self.connection.close()
                os.close(mine)
                for descriptor in self.pipes:
                    os.close(descriptor)
                from inrbench.execution.worker import work

                code = work(job, its, self.born)
            finally:
                os._exit(code)
        os.close(its)
        with contextlib.suppress(OSError):
            os.setpgid(pid, pid)
        os.set_blocking(mine, False)
        self.pids[job.number] = pid
        self.pipes[mine] = (job.number, Lines(mine))
        self.selector.register(mine, selectors.EVENT_READ)
        self.say(started=job.number, pid=pid)

    def pass_on(self, descriptor: int) -> None:
        """What a cell says goes to the supervisor, with the cell's number."""
        number, lines = self.pipes[descriptor]
        for document in lines.read():
            self.say(number=number, **document)
        if lines.ended:
            self.close(descriptor)

    def close(self, descriptor: int) -> None:
        """Done with a cell's pipe."""
        self.selector.unregister(descriptor)
        os.close(descriptor)
        del self.pipes[descriptor]

    def reap(self) -> None:
        """Tell of cells that have ended, after all that they said; what they started and left is killed."""
        for number, pid in list(self.pids.items()):
            found, status = os.waitpid(pid, os.WNOHANG)
            if not found:
                continue
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(pid, signal.SIGKILL)
            for descriptor in [d for d, (job, _) in self.pipes.items() if job == number]:
                lines = self.pipes[descriptor][1]
                while not (lines.ended or lines.dry):
                    for document in lines.read():
                        self.say(number=number, **document)
                self.close(descriptor)
            del self.pids[number]
            self.say(ended=number, status=status)

    def end(self) -> None:
        """The supervisor is gone: cells may checkpoint, then end."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            for pid in self.pids.values():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, number) if number == signal.SIGTERM else os.killpg(pid, number)
            until = time.monotonic() + GRACE_S
            while self.pids and time.monotonic() < until:
                time.sleep(0.05)
                for descriptor in list(self.pipes):
                    self.pass_on(descriptor)
                self.reap()

    def say(self, **document: Any) -> None:
        """Tell the supervisor; where it is gone nobody listens."""
        with contextlib.suppress(OSError):
            self.connection.sendall(as_line(document))


def die_with_parent() -> None:
    """Ask Linux to kill this process when the one that made it dies; elsewhere nothing happens."""
    with contextlib.suppress(OSError, AttributeError, TypeError):
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def warm() -> None:
    """Load and look up what every cell needs: its fork then has it."""
    for name in ("safetensors.numpy", "scipy.special", "inrbench.execution.worker", "inrbench.execution.cell"):
        importlib.import_module(name)
    from inrbench.provenance import commit, cpu_model, versions
    from inrbench.registry import registry

    for look_up in (registry, commit, cpu_model, versions):
        look_up()


def main() -> None:
    """Import what cells of this keeper need, and keep."""
    born = time.time()
    connection = socket.socket(fileno=int(sys.argv[1]))
    # what a terminal or a cluster says to all of a job's processes is the supervisor's to pass on
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(number, signal.SIG_IGN)
    for name in sys.argv[2:]:
        importlib.import_module(name)
    warm()
    devnull = os.open(os.devnull, os.O_RDWR)
    os.dup2(devnull, 0)
    Keeper(connection, born).run()


if __name__ == "__main__":
    main()
