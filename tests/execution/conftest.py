"""A package of trouble beside the installed ones, and runs of it as a user's: by the command line, in a process."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import psutil
import pytest

from inrbench.records import read_record

HERE = Path(__file__).parent

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)  # else no run that tests start could hear Ctrl-C


@dataclass
class Place:
    """A folder to run in, with its records and its cache; ``plugin`` holds the package's source."""

    folder: Path
    plugin: Path

    @staticmethod
    def settings(**values: object) -> Sequence[str]:
        """``--set`` of the fitter's settings."""
        return [word for key, value in values.items() for word in ("--set", f"fitter.{key}={value}")]

    def environment(self) -> dict[str, str]:
        """Of runs here."""
        path = os.pathsep.join([str(self.plugin), os.environ.get("PYTHONPATH", "")])
        return {
            **os.environ,
            "PYTHONPATH": path,
            "INRBENCH_CACHE": str(self.folder / "cache"),
            "OMP_NUM_THREADS": "1",
            "COLUMNS": "200",
        }

    def start(self, *arguments: str, **options: Any) -> subprocess.Popen[str]:
        """``inrbench run ARGUMENTS``, going on."""
        command = [sys.executable, "-m", "inrbench", "run", *arguments]
        return subprocess.Popen(
            command,
            cwd=self.folder,
            env=self.environment(),
            text=True,
            **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options},
        )

    @staticmethod
    def line(stream: IO[str] | None) -> str:
        """The next line of a process's output, and no more: what is read ahead would be lost to `communicate`."""
        assert stream is not None
        read = b""
        while not read.endswith(b"\n") and (byte := os.read(stream.fileno(), 1)):
            read += byte
        return read.decode()

    def run(self, *arguments: str, timeout: float = 120.0) -> subprocess.CompletedProcess[str]:
        """``inrbench run ARGUMENTS``, to its end."""
        with self.start(*arguments) as process:
            try:
                out, err = process.communicate(timeout=timeout)
            except subprocess.TimeoutExpired:
                process.kill()
                raise
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    def forget(self) -> None:
        """Empty the cache."""
        shutil.rmtree(self.folder / "cache")

    def records(self) -> dict[str, dict[str, Any]]:
        """The records, by the name of their file."""
        return {path.name: read_record(path) for path in sorted((self.folder / "records").glob("*.json"))}

    def record(self) -> dict[str, Any]:
        """The only record."""
        (record,) = self.records().values()
        return record

    def processes(self) -> list[psutil.Process]:
        """What still runs here: processes with this place's cache in their environment."""
        found = []
        for process in psutil.process_iter():
            try:
                if process.environ().get("INRBENCH_CACHE") == str(self.folder / "cache"):
                    found.append(process)
            except psutil.Error:
                continue
        return found


@pytest.fixture(scope="session")
def make_place() -> Callable[[Path], Place]:
    """Makes an empty folder, and a package of trouble of its own, in a folder."""

    def make(folder: Path) -> Place:
        shutil.copytree(HERE / "trouble", folder / "plugin")
        (folder / "work").mkdir()
        return Place(folder / "work", folder / "plugin")

    return make


@pytest.fixture
def place(tmp_path: Path, make_place: Callable[[Path], Place]) -> Place:
    """An empty folder and a package of trouble of its own."""
    return make_place(tmp_path)
