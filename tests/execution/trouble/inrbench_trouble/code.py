"""The fitter that fails, and signals for it."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from inrbench.data import OfficialFile, sha256
from inrbench.domains import Array, Domain
from inrbench.errors import BadData, NotFinite
from inrbench.interfaces import FitterFacts, Head, Run, Trained
from inrbench.representations import Arrays, Layout, Representations
from inrbench.settings import DataSettings
from inrbench.signals import GridSignals, PartSpec, Signals, SignalSpec
from inrbench_trouble.settings import TroubleSettings

#: What `some` draws from, each as often as it stands here.
DEEDS = (*["nothing"] * 6, "raise", "segfault", "hang", "memory", "memory-error", "not-finite", "exit", "kill", "child")


#: Of the word "dots".
DOTS = "0517cf1abcfd20eb941789b07f44fbfbe7ae3415fce3d0c834213235b2f228cc"


class Trouble:
    """A signal's mean, after a number of steps of which each adds a draw to what is shared."""

    layout = Layout("latent", {"mean": (1,)})

    def __init__(self, settings: TroubleSettings, spec: SignalSpec, inr: Any) -> None:
        self.settings = settings
        self.total = np.zeros(1)

    def train(self, train: Signals, validation: Signals, run: Run, heads: Sequence[Head] = ()) -> Trained:
        def restore(arrays: Arrays) -> None:
            self.total = arrays["total"]

        for step in run.steps("train", self.settings.steps, lambda: {"total": self.total}, restore):
            if self.settings.seconds:
                time.sleep(self.settings.seconds)
            self.total = self.total + run.rng("step", step).normal()
            run.log(step, total=float(self.total[0]))
            if step == self.settings.steps // 2:
                self._do(run)
        return Trained({"total": self.total}, steps=self.settings.steps)

    def _do(self, run: Run) -> None:
        deed: str = self.settings.does
        if deed == "some":
            deed = str(run.rng("deed", self.settings.number).choice(DEEDS))
        while self.settings.gate and not Path(self.settings.gate).exists():
            time.sleep(0.01)
        if self.settings.mark and deed != "nothing":
            try:
                Path(self.settings.mark).touch(exist_ok=False)
            except FileExistsError:
                return
        if deed != "nothing":
            getattr(self, "_" + deed.replace("-", "_"))()

    def _raise(self) -> None:
        raise RuntimeError("a bug in line 7")

    def _bad_data(self) -> None:
        raise BadData("signal 3 has 5 channels")

    def _not_finite(self) -> None:
        raise NotFinite("the loss is nan at step 3 of 5")

    def _memory_error(self) -> None:
        raise MemoryError("far too large")

    def _segfault(self) -> None:
        ctypes.string_at(0)

    def _hang(self) -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM, signal.SIGINT])
        time.sleep(3600.0)

    def _spin(self) -> None:
        while True:
            pass

    def _memory(self) -> None:
        hoard = []
        while True:
            hoard.append(np.ones(2**22))  # 32 MB
            time.sleep(0.01)

    def _exit(self) -> None:
        os._exit(3)

    def _kill(self) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def _kill_keeper(self) -> None:
        os.kill(os.getppid(), signal.SIGKILL)
        time.sleep(60.0)

    def _kill_supervisor(self) -> None:
        os.kill(_parent(os.getppid()), signal.SIGKILL)
        time.sleep(0.3)

    def _kill_all(self) -> None:
        keeper = os.getppid()
        for pid in (_parent(keeper), keeper, os.getpid()):
            os.kill(pid, signal.SIGKILL)

    def _child(self) -> None:
        subprocess.Popen([sys.executable, "-c", "import time; time.sleep(3600)"])

    def _print(self) -> None:
        print("said on stdout")
        print("said on stderr", file=sys.stderr)
        os._exit(4)

    def load(self, shared: Arrays) -> None:
        self.total = np.asarray(shared["total"])

    def fit(self, signals: Signals, run: Run) -> Iterator[Representations]:
        means = np.array([signals.observed(i)[0].unit_values().mean() for i in range(len(signals))])
        yield Representations(self.layout, {"mean": means[:, None]}, signals.ids, np.zeros(len(means), np.int64))

    def query(self, rows: Representations, domain: Domain, run: Run) -> Iterator[Array]:
        shape = (len(rows), *domain.shape, 1)  # type: ignore[union-attr]
        off = 0.01 * np.tanh(self.total[0])  # so that metrics tell of every draw
        yield np.broadcast_to(rows.arrays["mean"][:, :, None, None] + off, shape).astype(np.float32)

    def facts(self) -> FitterFacts:
        return FitterFacts(1, 1, "shared", "global")


class Dots:
    """Forty images of 2x2 pixels."""

    files = ()

    def __init__(self, settings: DataSettings, rest: str) -> None:
        self.settings = settings

    def spec(self) -> SignalSpec:
        return SignalSpec((PartSpec("grid", (2, 2), 2, 1),), 2, ("even", "odd"), {"train": 30, "test": 10})

    def load(self, folder: Path | None) -> Any:
        values = np.random.default_rng(0).integers(0, 256, (40, 2, 2, 1), dtype=np.uint8)
        labels = np.arange(40) % 2
        return {
            "train": GridSignals(values[:30], labels[:30], np.arange(30)),
            "test": GridSignals(values[30:], labels[30:], np.arange(30, 40)),
        }


class Dotted(Dots):
    """The same for whoever has the file, which holds the word."""

    files = (
        OfficialFile(
            path="dots.txt",
            source="nowhere",
            urls=("http://127.0.0.1:1/dots.txt",),
            checksums=(sha256(DOTS),),
            size_bytes=4,
        ),
    )


def _parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
