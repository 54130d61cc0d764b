"""A fitter in a process of its own, where it and its reader are of two frameworks: each process loads one.

The cell's process forks before it has loaded any. The fork makes the fitter and does what it is asked for; `Fitter`'s
arguments and results cross a pipe as NumPy, and arrays that both have had since the fork are named instead of sent.
"""

from __future__ import annotations

import contextlib
import io
import multiprocessing
import os
import pickle
import signal
import traceback
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import Connection
from typing import Any

import numpy as np

from inrbench import memory
from inrbench.backends import engine_of
from inrbench.cell_run import CellRun
from inrbench.cells import Built, Cell
from inrbench.domains import Array, Domain
from inrbench.errors import InrbenchError, OutOfMemory
from inrbench.execution.keeper import die_with_parent
from inrbench.interfaces import Fitter, FitterFacts, Head, Run, SubsamplingFitter, Trained
from inrbench.representations import Arrays, Layout, Representations
from inrbench.signals import Signals

__all__ = ["RemoteFitter", "built_apart", "needs_apart"]

#: Arrays from this size on are looked for among those that both processes have.
LARGE_BYTES = 2**16


def needs_apart(cell: Cell) -> bool:
    """Whether fitter and reader are of two frameworks."""
    return len(cell.backends) > 1


@contextlib.contextmanager
def built_apart(cell: Cell, data: object, run: CellRun) -> Iterator[Built]:
    """The cell's parts for the block, with a fitter that works in a fork; ``data`` is what it will be given parts of.

    Raises what constructing a part raises.
    """
    here, there = multiprocessing.Pipe()
    shared = _Shared(data)
    pid = os.fork()
    if pid == 0:
        try:
            die_with_parent()
            here.close()
            _serve(_Channel(there, shared), cell, run)
        finally:
            os._exit(0)
    there.close()
    try:
        with _signals_to(pid):
            yield cell.build(lambda: _remote(_Channel(here, shared), pid))
    finally:
        here.close()
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, 0)


class RemoteFitter:
    """The fitter of another process; implements `inrbench.interfaces.Fitter`."""

    def __init__(self, channel: _Channel, pid: int, layout: Layout) -> None:
        self.channel = channel
        self.pid = pid
        self.layout = layout
        self.compile_s = 0.0  # of fitting and querying
        self.peak_bytes = 0  # of resident memory
        self._asked = 0

    def train(self, train: Signals, validation: Signals, run: Run, heads: Sequence[Head] = ()) -> Trained:
        """As the fitter's."""
        return self._call("train", train, validation, run=run)  # type: ignore[no-any-return]

    def load(self, shared: Arrays) -> None:
        """As the fitter's."""
        self._call("load", dict(shared))

    def fit(self, signals: Signals, run: Run) -> Iterator[Representations]:
        """As the fitter's."""
        return self._values("fit", signals, run=run)

    def query(self, rows: Representations, domain: Domain, run: Run) -> Iterator[Array]:
        """As the fitter's."""
        return self._values("query", rows, domain, run=run)

    def trace(self, signals: Signals, run: Run) -> Sequence[Representations]:
        """As the fitter's, where it adapts in steps."""
        return self._call("trace", signals, run=run)  # type: ignore[no-any-return]

    def facts(self) -> FitterFacts:
        """As the fitter's."""
        return self._call("facts")  # type: ignore[no-any-return]

    def _call(self, name: str, *arguments: Any, run: Run | None = None) -> Any:
        return self._ask(("call", name, arguments), run)

    def _values(self, name: str, *arguments: Any, run: Run) -> Iterator[Any]:
        self._asked += 1
        number = self._asked
        self._ask(("start", number, name, arguments), run)
        while True:
            some = self._ask(("next", number), run)
            if some is None:
                return
            yield some[0]

    def _ask(self, request: tuple[Any, ...], run: Run | None) -> Any:
        state = (run.folder, run.prefix, run.stage, run.copy) if isinstance(run, CellRun) else None
        try:
            self.channel.send((*request, state))
            while (answer := self.channel.receive())[0] == "log":
                if isinstance(run, CellRun) and run.on_log is not None:
                    run.on_log(*answer[1])
            kind, value, (history, seconds, self.compile_s, self.peak_bytes) = answer
        except (EOFError, OSError) as error:
            _, status = os.waitpid(self.pid, 0)
            how = f"was killed by signal {os.WTERMSIG(status)}" if os.WIFSIGNALED(status) else "ended"
            raise RuntimeError(f"the fitter's process {how}") from error
        if isinstance(run, CellRun):
            run.history += history
            for name, more in seconds.items():
                run.seconds[name] = run.seconds.get(name, 0.0) + more
        if kind == "error":
            raise value
        return value


class _RemoteSubsampling(RemoteFitter):
    """The same of a fitter that may see some points only."""

    def held_out(self, signals: Signals, run: Run) -> Sequence[Array] | None:
        """As the fitter's."""
        return self._call("held_out", signals, run=run)  # type: ignore[no-any-return]


def _remote(channel: _Channel, pid: int) -> Fitter:
    """The fitter that the other process has made. Raises what making it raised."""
    first = RemoteFitter(channel, pid, Layout("", {}))
    layout, subsamples = first._call("describe")
    return (_RemoteSubsampling if subsamples else RemoteFitter)(channel, pid, layout)


def _serve(channel: _Channel, cell: Cell, run: CellRun) -> None:
    """In the fork: make the fitter, and answer until the other side closes."""
    plugin = cell.plugins["fitter"]
    assert plugin is not None
    engine = engine_of((plugin.backend,))
    own = CellRun(
        run.seed,
        device=run.device,
        threads=run.threads,
        progress=run.progress,
        stop=run.stop,
        checkpoint_every_s=run.checkpoint_every_s,
        on_log=None if run.on_log is None else lambda *logged: channel.send(("log", logged)),
    )
    running: dict[int, Iterator[Any]] = {}
    fitter: Any = None

    def answer(kind: str, arguments: Sequence[Any]) -> Any:
        nonlocal fitter
        if fitter is None:
            engine.prepare(run.device, run.threads)
            memory.reset_peak()
            fitter = cell.build_fitter()
        if kind == "start":
            number, name, given = arguments
            running[number] = iter(getattr(fitter, name)(*given, own))
            return None
        if kind == "next":
            nothing = object()
            value = next(running[arguments[0]], nothing)
            return None if value is nothing else (value,)
        name, given = arguments
        if name == "describe":
            return fitter.layout, isinstance(fitter, SubsamplingFitter)
        return getattr(fitter, name)(*given, *([own] if name in ("train", "trace", "held_out") else []))

    while True:
        try:
            kind, *arguments, state = channel.receive()
        except (EOFError, OSError):
            return
        if state is not None:
            own.folder, own.prefix, own.stage, own.copy = state
        found: tuple[str, Any]
        try:
            found = "ok", answer(kind, arguments)
        except BaseException as error:
            found = "error", _sendable(error, engine.is_out_of_memory)
        told = own.history, own.seconds, getattr(fitter, "compile_s", 0.0), memory.peak_bytes()
        channel.send((*found, told))
        own.history, own.seconds = [], {}


def _sendable(error: BaseException, is_out_of_memory: Callable[[BaseException], bool]) -> BaseException:
    """The error as the other process can raise it, with the traceback of this one in a note."""
    if isinstance(error, InrbenchError | MemoryError | KeyboardInterrupt):
        return error
    if is_out_of_memory(error):
        return OutOfMemory(str(error))
    if type(error).__module__ != "builtins":
        error = RuntimeError(f"{type(error).__name__}: {error}").with_traceback(error.__traceback__)
    error.add_note("in the fitter's process:\n" + "".join(traceback.format_exception(error)))
    return error


class _Channel:
    """Objects over a pipe; what ``shared`` holds goes by its number."""

    def __init__(self, connection: Connection, shared: _Shared) -> None:
        self.connection = connection
        self.shared = shared

    def send(self, value: Any) -> None:
        """An object to the other side."""
        buffer = io.BytesIO()
        pickler = pickle.Pickler(buffer, pickle.HIGHEST_PROTOCOL)
        pickler.persistent_id = self.shared.number  # type: ignore[method-assign]
        pickler.dump(value)
        self.connection.send_bytes(buffer.getbuffer())

    def receive(self) -> Any:
        """The next object. Raises EOFError where the other side is gone."""
        unpickler = pickle.Unpickler(io.BytesIO(self.connection.recv_bytes()))  # noqa: S301 (from our own fork)
        unpickler.persistent_load = self.shared.arrays.__getitem__  # type: ignore[method-assign]
        return unpickler.load()


class _Shared:
    """The large arrays within an object, as pickling meets them: the same on both sides of a fork."""

    def __init__(self, data: object) -> None:
        self.arrays: list[Array] = []
        self.numbers: dict[int, int] = {}
        pickler = pickle.Pickler(io.BytesIO(), pickle.HIGHEST_PROTOCOL)
        pickler.persistent_id = self._note  # type: ignore[method-assign]
        pickler.dump(data)

    def number(self, value: object) -> int | None:
        """The number of an array that both sides have; None for anything else."""
        return self.numbers.get(id(value)) if isinstance(value, np.ndarray) else None

    def _note(self, value: object) -> int | None:
        if not isinstance(value, np.ndarray) or (value.nbytes < LARGE_BYTES and not isinstance(value, np.memmap)):
            return None
        if id(value) not in self.numbers:
            self.numbers[id(value)] = len(self.arrays)
            self.arrays.append(value)
        return self.numbers[id(value)]


@contextlib.contextmanager
def _signals_to(pid: int) -> Iterator[None]:
    """Within the block signals that ask to stop go to the fork too."""
    before: dict[int, Any] = {}

    def pass_on(number: int, frame: Any) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
        if callable(before[number]):
            before[number](number, frame)

    for number in (signal.SIGINT, signal.SIGTERM):
        before[number] = signal.signal(number, pass_on)
    try:
        yield
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)
