"""The supervisor: gives cells to slots, watches their processes, and sees that each ends in a true record."""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from inrbench.errors import Interrupted, OutOfMemory, RecordError
from inrbench.execution.cell import CRASH, TIMEOUT, described, died, tail
from inrbench.execution.keepers import Handle, shared
from inrbench.execution.leases import FOLDER, Lease
from inrbench.execution.messages import Job, document_of, request_of
from inrbench.execution.runs import Run
from inrbench.execution.watch import Watch
from inrbench.progress import duration
from inrbench.records import file_stem, read_record, write_record
from inrbench.runner import Options, Planned, existing, to_do, with_published

__all__ = ["Slot", "Supervisor"]

LOGS = ".logs"
LOOK_AGAIN_S = 2.0
HEED_EVERY_S = 2.0
MEMORY_EVERY_S = 0.25
#: Seconds that cells have to checkpoint after a stop.
GRACE_S = 60.0


@dataclass(frozen=True)
class Slot:
    """Room for one cell at a time."""

    threads: int
    cpus: list[int] = field(default_factory=list)
    environment: dict[str, str] = field(default_factory=dict)


@dataclass
class Running:
    """A cell whose process is at work."""

    number: int
    one: Planned
    slot: Slot
    job: Job
    keeper: Handle
    lease: Lease
    started: float
    oom_kills: int
    pid: int | None = None
    document: dict[str, Any] | None = None  # the beginning of its record, as its process knows it
    said: dict[str, Any] = field(default_factory=dict)  # its last word: recorded, failed, stale
    killed: tuple[str, str] | None = None  # the status and the reason for which it was killed here
    looked: float = 0.0


class Supervisor:
    """Runs planned cells in processes of their own."""

    def __init__(
        self, planned: Sequence[Planned], options: Options, slots: Sequence[Slot], watch: Watch, run: Run | None = None
    ) -> None:
        self.planned = planned
        self.options = options
        self.free = list(slots)
        self.watch = watch
        self.listed = run
        self.grace_s = GRACE_S
        #: The status of cells that a stop ends, and why it stops, where there is more to say than `interrupted`.
        self.because: tuple[str, str] | None = None
        self.heeded = 0.0
        self.keepers = shared()
        self.records: dict[int, dict[str, Any]] = {}
        self.waiting: deque[int] = deque()
        self.elsewhere: list[int] = []
        self.retried: set[int] = set()
        self.running: dict[int, Running] = {}
        self.stops = 0
        self.stopped = 0.0
        self.looked = 0.0

    def run(self) -> list[dict[str, Any]]:
        """Until every cell has a record or a stop was asked for; the records that there are, in order."""
        for number, one in enumerate(self.planned):
            if to_do(one, self.options):
                self.waiting.append(number)
            else:
                assert one.record is not None
                self.records[number] = with_published(one.record, one.cell, self.options)
                self.watch.done_before(number, one.record)
        try:
            with self._signals():
                while self.running or ((self.waiting or self.elsewhere) and not self.stops):
                    self._heed()
                    self._start()
                    self._listen()
                    self._guard()
                    self._look_elsewhere()
                    self.watch.tick(len(self.waiting) + len(self.elsewhere))
        finally:
            for running in list(self.running.values()):
                running.lease.release()
            self.keepers.close()
            for folder in (LOGS, FOLDER):
                with contextlib.suppress(OSError):
                    (self.options.records / folder).rmdir()  # where nothing is left in it
        return [self.records[number] for number in sorted(self.records)]

    # ------------------------------------------------------------------ starting

    def _start(self) -> None:
        """Fill the free slots."""
        while self.free and self.waiting and not self.stops:
            number = self.waiting.popleft()
            one = self.planned[number]
            lease = Lease(self.options.records, file_stem(one.name, one.key), self._about(one))
            if not lease.take():
                self.elsewhere.append(number)
                continue
            found = existing(one, self.options)
            if found is not None and found != one.record and found["status"] != Interrupted.status:
                lease.release()  # another run has come to its end since it was planned
                self.records[number] = with_published(found, one.cell, self.options)
                self.watch.done_before(number, found)
                continue
            self._send(number, one, self.free.pop(0), lease)

    def _about(self, one: Planned) -> dict[str, Any]:
        """What its lease says of a cell at work, beside the process that holds it."""
        return {**({} if self.listed is None else self.listed.holder()), "name": one.name, "label": one.cell.label}

    def _send(self, number: int, one: Planned, slot: Slot, lease: Lease) -> None:
        folder = self.options.records.resolve() / LOGS
        with contextlib.suppress(OSError):
            folder.mkdir(exist_ok=True)
        log = folder / f"{file_stem(one.name, one.key)}.log"
        with contextlib.suppress(OSError):
            log.unlink(missing_ok=True)
        job = Job(
            number,
            request_of(one.cell),
            document_of(self.options),
            one.device,
            slot.threads,
            str(log),
            slot.cpus,
            slot.environment,
            dict(one.keys),
            dict(one.ingredients),
            one.data.checksum,
            one.read_at,
        )
        keeper = self.keepers.of(one.cell.backends)
        now = time.monotonic()
        self.running[number] = Running(number, one, slot, job, keeper, lease, now, oom_kills())
        keeper.send(job)
        self.watch.started(number, one)

    # ------------------------------------------------------------------ while they run

    def _listen(self) -> None:
        """Take in what keepers and cells say, for up to a fraction of a second."""
        if not self.running:
            time.sleep(0.05)
            return
        with selectors.DefaultSelector() as selector:
            for handle in {running.keeper for running in self.running.values()}:
                selector.register(handle.connection, selectors.EVENT_READ, handle)
            for key, _ in selector.select(timeout=0.1):
                for message in key.data.read():
                    self._take(message)
        for handle in {running.keeper for running in self.running.values()}:
            if not handle.alive:
                self._lost(handle)

    def _take(self, message: Mapping[str, Any]) -> None:
        if "ended" in message:
            if running := self.running.get(message["ended"]):
                self._ended(running, message["status"])
        elif "started" in message:
            if running := self.running.get(message["started"]):
                running.pid = message["pid"]
        elif running := self.running.get(message.get("number", -1)):
            if "document" in message:
                running.document = message["document"]
            elif "line" in message:
                self.watch.line(running.number, message["line"])
            elif "task" in message:
                self.watch.progress(running.number, message)
                running.lease.renew(**{key: message[key] for key in ("task", "done", "total", "left", "notes")})
            elif message.keys() & {"recorded", "failed", "stale"}:
                running.said = dict(message)

    def _guard(self) -> None:
        """Kill what has run for too long or has grown too large, or has not ended after a stop."""
        now = time.monotonic()
        for running in list(self.running.values()):
            running.lease.renew()
            if running.killed is not None:
                continue
            limit = self.options.timeout
            if limit is not None and now - running.started > limit:
                self._kill(running, TIMEOUT, f"killed after {duration(limit)}, the --timeout; checkpoints are kept")
            elif self.stops > 1 or (self.stops and now - self.stopped > self.grace_s):
                self._kill(running, *self._called("stopped at once; the last checkpoint is kept"))
            elif self.options.memory is not None and now - running.looked > MEMORY_EVERY_S and running.pid:
                running.looked = now
                used = resident_bytes(running.pid)
                if used > self.options.memory:
                    most = self.options.memory / 1e9
                    reason = f"killed at {used / 1e9:.2f} GB of resident memory; --memory is {most:.2f} GB"
                    self._kill(running, OutOfMemory.status, reason)

    def _kill(self, running: Running, status: str, reason: str) -> None:
        running.killed = (status, reason)
        running.keeper.signal(running.number, signal.SIGKILL)

    def _look_elsewhere(self) -> None:
        """Take the records of cells that another run works on, and cells that it left."""
        now = time.monotonic()
        if not self.elsewhere or now - self.looked < LOOK_AGAIN_S:
            return
        self.looked = now
        self.waiting.extend(self.elsewhere)  # whoever holds the lease now, `_start` finds out
        self.elsewhere = []

    # ------------------------------------------------------------------ when they end

    def _ended(self, running: Running, status: int) -> None:
        """See to the record of a cell whose process has ended with a wait status."""
        if running.said.get("stale") and running.number not in self.retried and not self.stops:
            self.retried.add(running.number)
            self._leave(running)
            self.waiting.appendleft(running.number)
            self.keepers.retire(running.keeper)
            return
        record = self._record(running) if "recorded" in running.said else None
        if record is None:
            kind, reason = running.killed or _cause(running, status)
            record = self._died(running, kind, reason)
        elif self.because and record["status"] == Interrupted.status:
            record = self._rewritten(record, *self._called(record["reason"]))
        self._leave(running)
        if record is None:
            return
        self.records[running.number] = record
        self.watch.ended(running.number, record)
        if record["status"] == "ok" and not self.options.logs:
            with contextlib.suppress(OSError):
                Path(running.job.log).unlink(missing_ok=True)

    def _record(self, running: Running) -> dict[str, Any] | None:
        """The record that the cell's process wrote: that of a failure stands beside an older good one."""
        stem = file_stem(running.one.name, running.one.key)
        for name in (f"{stem}.json", f"{stem}.failed.json"):
            with contextlib.suppress(RecordError):
                record = read_record(self.options.records / name)
                if running.document is None or record.get("started") == running.document["started"]:
                    return record
        return None

    def _died(self, running: Running, status: str, reason: str) -> dict[str, Any] | None:
        """The record of a cell that left none; None where the disk refuses it: then it is not done."""
        document = running.document or described(running.one, running.slot.threads)
        seconds = time.monotonic() - running.started
        for wait_s in (0.0, 0.2, 1.0):
            time.sleep(wait_s)
            try:
                return died(document, self.options.records, status, reason, seconds, tail(Path(running.job.log)))
            except RecordError as error:
                said = str(error)
        self.watch.line(running.number, f"  {status}: {reason}; {said}")
        return None

    def _called(self, what: str) -> tuple[str, str]:
        """The status of a cell that a stop ended, and the reason: why, and what became of it."""
        if self.because is None:
            return Interrupted.status, what
        status, why = self.because
        return status, f"{why}: {what}"

    def _rewritten(self, record: dict[str, Any], status: str, reason: str) -> dict[str, Any]:
        """The record with what the cell's process could not know; as it was where the disk refuses it."""
        with contextlib.suppress(RecordError):
            return read_record(write_record(self.options.records, {**record, "status": status, "reason": reason}))
        return record

    def _leave(self, running: Running) -> None:
        running.lease.release()
        self.free.append(running.slot)
        del self.running[running.number]
        self.watch.left(running.number)

    def _lost(self, handle: Handle) -> None:
        """A keeper died, and its cells with it."""
        for message in handle.read():
            self._take(message)
        for running in [one for one in self.running.values() if one.keeper is handle]:
            running.killed = running.killed or (CRASH, f"the process that kept it ended: {handle.words()}")
            self._ended(running, -1)

    # ------------------------------------------------------------------ stopping

    def _heed(self) -> None:
        """Say that the run goes on, and stop where it was asked to."""
        now = time.monotonic()
        if self.listed is None or now - self.heeded < HEED_EVERY_S:
            return
        self.heeded = now
        self.listed.renew()
        wanted = {"": 0, "stop": 1, "now": 2}[self.listed.asked()]
        while self.stops < wanted:
            self.stop()

    @contextlib.contextmanager
    def _signals(self) -> Any:
        """Within the block Ctrl-C and SIGTERM checkpoint and stop; a second one stops at once."""
        import threading

        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, self.signalled) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def signalled(self, number: int, frame: Any) -> None:
        """A signal that asks to stop."""
        self.stop()

    def stop(self) -> None:
        """Start nothing more, and let what runs checkpoint; called again, kill it."""
        self.stops += 1
        self.stopped = self.stopped or time.monotonic()
        if self.stops == 1:
            self.watch.line(-1, "stopping, with checkpoints; Ctrl-C again stops at once")
            for running in self.running.values():
                running.keeper.signal(running.number, signal.SIGTERM)


def _cause(running: Running, status: int) -> tuple[str, str]:
    """The status and the reason of a process that ended by itself, without a record."""
    if "failed" in running.said:
        return running.said["status"], running.said["failed"]
    if running.said.get("stale"):
        return "refused", "its code keeps changing while it runs; give the same command again when it rests"
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        name = signal.Signals(number).name if number in set(signal.Signals) else "?"
        if number == signal.SIGKILL and oom_kills() > running.oom_kills:
            return OutOfMemory.status, "killed by the system, which had no memory left"
        return CRASH, f"its process was killed by signal {number} ({name})"
    return CRASH, f"its process ended with exit status {os.WEXITSTATUS(status)} and left no record"


def resident_bytes(pid: int) -> int:
    """Resident memory of a process and of all that it started."""
    total = 0
    with contextlib.suppress(psutil.Error):
        process = psutil.Process(pid)
        for one in (process, *process.children(recursive=True)):
            with contextlib.suppress(psutil.Error):
                total += one.memory_info().rss
    return total


def oom_kills() -> int:
    """How often this system has killed a process for want of memory; 0 where it does not tell."""
    with contextlib.suppress(OSError, ValueError):
        for line in Path("/proc/vmstat").read_text().splitlines():
            if line.startswith("oom_kill "):
                return int(line.split()[1])
    return 0
