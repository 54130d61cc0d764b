"""Leases: who works on a cell, so that runs over one folder of records, on one machine or several, share the work.

``<records>/.leases/<cell>-<key>.<n>`` is a lease, a JSON document that its holder rewrites while it works. One that was
not renewed for two minutes has expired, as has one of a process of this machine that is gone; who then makes the file
with the next number holds the cell. Making a file that must not exist is what decides, on shared folders too, and ages
are taken by the folder's own clock.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import psutil

from inrbench.arrays import write_atomically

__all__ = ["CLOCK_MOVES_S", "EXPIRES_S", "FOLDER", "RENEW_S", "Lease", "born", "clock", "held"]

FOLDER = ".leases"
EXPIRES_S = 120.0
RENEW_S = 10.0
#: What the system clock may be set by without a process looking like another one.
CLOCK_MOVES_S = 5.0


class Lease:
    """The right to work on one cell of ``records``, whose record is called ``stem``."""

    def __init__(self, records: Path, stem: str, about: Mapping[str, Any]) -> None:
        self.folder = records / FOLDER
        self.stem = stem
        self.about = {"cell": stem, "host": socket.gethostname(), "pid": os.getpid(), "born": born(os.getpid())}
        self.about |= {**about, "started": time.time()}
        self.path: Path | None = None
        self.renewed = 0.0

    def take(self) -> bool:
        """Whether it is ours now: nobody holds it, or who did has gone."""
        self.folder.mkdir(parents=True, exist_ok=True)
        number = 0
        if current := _current(self.folder, self.stem):
            if not _expired(current):
                return False
            number = _number(current) + 1
        path = self.folder / f"{self.stem}.{number}"
        try:
            with path.open("x", encoding="utf-8") as file:
                file.write(json.dumps(self.about))
        except (FileExistsError, FileNotFoundError):  # somebody was faster; or took the empty folder away just now
            return False
        self.path, self.renewed = path, time.monotonic()
        return True

    def renew(self, **progress: Any) -> None:
        """Say that we are still at it, and how far; a folder that cannot be written is left to be tried again."""
        if self.path is None or time.monotonic() - self.renewed < RENEW_S:
            return
        with contextlib.suppress(OSError):
            write_atomically(self.path, json.dumps({**self.about, **progress}).encode())
            self.renewed = time.monotonic()

    def release(self) -> None:
        """Leave the cell to others: the record says what came of it."""
        if self.path is None:
            return
        with contextlib.suppress(OSError):
            for path in sorted(self.folder.glob(f"{_escaped(self.stem)}.*"), key=_number):
                if _number(path) <= _number(self.path):
                    path.unlink(missing_ok=True)
        self.path = None


def held(records: Path) -> Iterator[dict[str, Any]]:
    """What the holders of the leases in ``records`` say, expired ones left out."""
    newest: dict[str, Path] = {}
    for path in sorted((records / FOLDER).glob("*.*"), key=_number):
        if path.suffix[1:].isdigit():
            newest[path.name.rpartition(".")[0]] = path
    now: float | None = None
    for path in newest.values():
        if now is None and _read(path).get("host") != socket.gethostname():
            with contextlib.suppress(OSError):
                now = clock(path.parent)
        if not _expired(path, now) and (about := _read(path)):
            yield about


def _current(folder: Path, stem: str) -> Path | None:
    found = [path for path in folder.glob(f"{_escaped(stem)}.*") if path.suffix[1:].isdigit()]
    return max(found, key=_number, default=None)


def _escaped(stem: str) -> str:
    return stem.replace("[", "[[]")


def _number(path: Path) -> int:
    return int(path.suffix[1:]) if path.suffix[1:].isdigit() else -1


def _read(path: Path) -> dict[str, Any]:
    """What a lease says; nothing where it is just being written or has just been released."""
    try:
        about = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return about if isinstance(about, dict) else {}


def _expired(path: Path, now: float | None = None) -> bool:
    """``now`` is the folder's time, asked for here if not given."""
    about = _read(path)
    if about.get("host") == socket.gethostname() and isinstance(about.get("pid"), int):
        since = born(about["pid"])
        return since is None or abs(since - float(about.get("born") or 0.0)) > CLOCK_MOVES_S
    try:
        return (now or clock(path.parent)) - path.stat().st_mtime > EXPIRES_S
    except OSError:
        return False  # released meanwhile: look again later


def clock(folder: Path) -> float:
    """The time by the clock of the machine that keeps ``folder``."""
    probe = folder / f".{socket.gethostname()}.{os.getpid()}.clock"
    probe.write_bytes(b"")
    try:
        return probe.stat().st_mtime
    finally:
        probe.unlink(missing_ok=True)


def born(pid: int) -> float | None:
    """When the process of that number was started; None where there is none, or only its remains."""
    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else process.create_time()
    except psutil.Error:
        return None
