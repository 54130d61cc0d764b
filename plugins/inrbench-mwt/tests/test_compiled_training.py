"""Training with compiled parts: the same gradients up to rounding, and its compilation told apart."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from inrbench_mwt import meta_sgd

from inrbench import draws
from inrbench.backends.torch import compiled
from inrbench.cell_run import CellRun
from inrbench.cells import resolve
from inrbench.errors import Refused
from inrbench.interfaces import Head, Trained
from inrbench.signals import GridSignals

SETTINGS = {
    "inr": {"width": 16, "depth": 2},
    "reader": {"blocks": 1},
    "fitter": {"steps": 2, "train": {"steps": 3, "batch_size": 4}},
}


def trained(**fitter: Any) -> Trained:
    """Three steps of joint training on digits-like signals."""
    built = resolve("mwt", "digits", overrides=[SETTINGS, {"fitter": fitter}]).build()
    assert built.reader is not None
    values = draws.generator(0, "signals").integers(0, 256, (8, 8, 8, 1), dtype=np.uint8)
    labels = np.arange(8) % 10
    signals = GridSignals(values, labels)
    return built.fitter.train(
        signals, signals.take(labels[:0]), CellRun(0), [Head("reader", built.reader, 0.01, labels)]
    )


#: Run apart from pytest, whose checks of types and of warnings a compiler would have to compile too.
BOTH = """
import sys, inrbench
small = {"inr": {"depth": 2}, "fitter": {"steps": 2}, "reader": {"blocks": 1}}
for compiled in (False, True):
    settings = {**small, "fitter": {**small["fitter"], "compile": compiled}}
    frame = inrbench.run("mwt+digits", profile="smoke", settings=settings, records=sys.argv[1], threads=1, quiet=True)
    print(*frame.loc[0, ["status", "metrics.psnr_db", "costs.compile_s"]])
"""


@pytest.mark.cells
@pytest.mark.skipif(not any(map(shutil.which, ("g++", "clang++"))), reason="needs a C++ compiler")
def test_compiled_training_is_the_same_up_to_rounding(tmp_path: Path) -> None:
    environment = {**os.environ, "INRBENCH_CACHE": str(tmp_path / "cache"), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", BOTH, str(tmp_path / "records")]
    lines = subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout.splitlines()
    plain, fast = (line.split() for line in lines)
    assert plain[0] == fast[0] == "ok"
    assert float(plain[-1]) == 0.0
    assert float(fast[-1]) > 0.0
    assert float(fast[1]) == pytest.approx(float(plain[1]), abs=1e-2)
    assert fast[1] != plain[1]  # rounding: it did take another way


def test_training_compiles_where_it_is_asked_to_and_nowhere_else(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[bool] = []

    def train(*_: Any) -> Trained:
        seen.append(compiled._wanted)
        return Trained({})

    monkeypatch.setattr(meta_sgd, "train_jointly", train)
    trained()
    trained(compile=True)
    assert seen == [False, True]


def test_without_a_compiler_it_is_refused_before_any_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(Refused, match="C\\+\\+ compiler"):
        resolve("mwt", "digits", overrides=[SETTINGS, {"fitter": {"compile": True}}]).build()
