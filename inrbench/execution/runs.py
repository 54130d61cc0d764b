"""Runs: what works over a folder of records, so that `inrbench status` can show it and `inrbench stop` can end it.

``<records>/.runs/<id>.json`` is a run: its executor, host and process, its cells, and the jobs of a cluster. A run that
lives in its process touches the file while it works and removes it at its end. The file ``<id>.stop`` beside it asks it
to stop with checkpoints or, where it holds ``now``, at once; that works from any machine that sees the folder.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import shutil
import socket
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

from inrbench.arrays import write_atomically
from inrbench.execution.leases import CLOCK_MOVES_S, EXPIRES_S, RENEW_S, born, clock

__all__ = ["FOLDER", "Run", "begin", "remove_gone", "runs"]

FOLDER = ".runs"
Asked = Literal["", "stop", "now"]


class Run:
    """A run over ``records``; ``about`` is its document."""

    def __init__(self, records: Path, about: dict[str, Any]) -> None:
        self.folder = records / FOLDER
        self.about = about
        self.ours = False  # this process is its own
        self.job: str | None = None  # of a cluster, that this process is
        self.renewed = time.monotonic()

    @property
    def id(self) -> str:
        """Its name."""
        return str(self.about["id"])

    @property
    def executor(self) -> str:
        """What runs its cells."""
        return str(self.about["executor"])

    @property
    def path(self) -> Path:
        """Its document."""
        return self.folder / f"{self.id}.json"

    @property
    def files(self) -> Path:
        """A folder for what an executor keeps while it runs."""
        return self.folder / self.id

    @property
    def here(self) -> bool:
        """Whether its process is, or was, one of this machine."""
        return bool(self.about["host"] == socket.gethostname())

    @property
    def alive(self) -> bool:
        """Whether its process works: by its number on this machine, on others by how lately it touched its file."""
        if self.here:
            since = born(int(self.about["pid"]))
            return since is not None and abs(since - float(self.about["born"] or 0.0)) <= CLOCK_MOVES_S
        try:
            return clock(self.folder) - self.path.stat().st_mtime <= EXPIRES_S
        except OSError:
            return self.path.exists()  # where the folder cannot be written nobody can tell

    def holder(self) -> dict[str, str]:
        """What a lease of this process says of the run."""
        job = {} if self.job is None else {"job": self.job}
        return {"run": self.id, "executor": self.executor, **job}

    def write(self, **more: Any) -> None:
        """Write the document, with ``more`` in it. Raises OSError."""
        self.about |= more
        write_atomically(self.path, json.dumps(self.about).encode())

    def renew(self) -> None:
        """Say now and then that its process is at work; a folder that cannot be written is left to be tried again."""
        if not self.ours or time.monotonic() - self.renewed < RENEW_S:
            return
        with contextlib.suppress(OSError):
            self.path.touch() if self.path.exists() else self.write()
            self.renewed = time.monotonic()

    def ask(self, how: Asked) -> None:
        """Ask it to stop. Raises OSError."""
        write_atomically(self.folder / f"{self.id}.stop", how.encode())

    def asked(self) -> Asked:
        """Whether it was asked to stop, and how."""
        try:
            text = (self.folder / f"{self.id}.stop").read_text(encoding="utf-8")
        except (OSError, ValueError):
            return ""
        return "now" if text.strip() == "now" else "stop"

    def end(self) -> None:
        """Remove all that tells of it."""
        with contextlib.suppress(OSError):
            shutil.rmtree(self.files, ignore_errors=True)
            for path in (self.path, self.folder / f"{self.id}.stop"):
                path.unlink(missing_ok=True)
            self.folder.rmdir()  # where nothing is left in it


def begin(records: Path, executor: str, cells: Sequence[str], **more: Any) -> Run:
    """A run of this process over ``cells``, the stems of their records; on a full disk nobody else hears of it."""
    started = time.time()
    host = re.sub(r"[^A-Za-z0-9]+", "-", socket.gethostname())
    about: dict[str, Any] = {
        "id": f"{time.strftime('%Y%m%d-%H%M%S', time.gmtime(started))}-{host}-{secrets.token_hex(3)}",
        "executor": executor,
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "born": born(os.getpid()),
        "started": started,
        "cells": list(cells),
        **more,
    }
    run = Run(records, about)
    run.ours = True
    with contextlib.suppress(OSError):
        remove_gone(records)
        run.write()
    return run


def runs(records: Path) -> Iterator[Run]:
    """The runs over ``records``, by age; files that hold no run are left out."""
    for path in sorted((records / FOLDER).glob("*.json")):
        try:
            about = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        fields = {"id": str, "executor": str, "host": str, "pid": int, "started": float, "cells": list}
        whole = isinstance(about, dict) and all(isinstance(about.get(key), kind) for key, kind in fields.items())
        if whole and about["id"] == path.stem:
            yield Run(records, {"born": None, "jobs": {}, **about})


def remove_gone(records: Path) -> list[Run]:
    """Remove what runs left whose process is gone, those of a cluster's jobs left out; returns them."""
    found = [run for run in runs(records) if not run.about["jobs"] and not run.files.exists() and not run.alive]
    for run in found:
        run.end()
    return found
