"""A fitter in a process of its own: what it gives is what it gives here, and each process loads one framework."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("jax")
pytest.importorskip("torch")

PROGRAM = """
import os, signal, sys
from pathlib import Path
import numpy as np
from inrbench.cell_run import CellRun
from inrbench.cells import resolve
from inrbench.execution import apart
from inrbench.interfaces import CompilingFitter, SubsamplingFitter
from inrbench.runner import Options, opened
from inrbench.selection import select

cell = resolve("functa", "digits", profile="smoke", overrides=[{"fitter": {"train": {"steps": 2}}}])
assert apart.needs_apart(cell)
assert not apart.needs_apart(resolve("mwt", "digits", profile="smoke"))
data = select(opened(cell, Options(keep=False)).splits, cell.data_settings, 0)
run = CellRun(0)

def all_of(fitter):
    trained = fitter.train(data.train.unlabelled(), data.validation.unlabelled(), run)
    fitter.load(trained.shared)
    rows = []
    for shard in fitter.fit(data.scored.unlabelled(), run):
        values = np.concatenate(list(fitter.query(shard, data.scored.stacked()[0], run)))  # while fitting has not ended
        rows.append((shard.arrays["latent"], shard.ids, values))
    return trained.shared, rows, fitter.facts()

with apart.built_apart(cell, data, run) as built:
    there = all_of(built.fitter)
    history = list(run.history)
    maps = Path(f"/proc/{built.fitter.pid}/maps").read_text()
    print("torch here", "torch" in sys.modules, "jax here", "jax" in sys.modules)
    print("torch there", "libtorch" in maps, "jax there", "jaxlib" in maps)
    print("peak", built.fitter.peak_bytes > 50e6, "compiled", built.fitter.compile_s > 0)
    print("protocols", isinstance(built.fitter, CompilingFitter), isinstance(built.fitter, SubsamplingFitter))
    try:
        list(built.fitter.fit(data.scored.unlabelled().take(np.array([10**6])), run))
    except Exception as error:
        print(type(error).__name__)
    os.kill(built.fitter.pid, signal.SIGKILL)
    try:
        built.fitter.facts()
    except RuntimeError as error:
        print(error)

run.history.clear()
here = all_of(cell.build_fitter())
assert here[0].keys() == there[0].keys()
assert all(np.array_equal(here[0][name], there[0][name]) for name in here[0])
assert len(here[1]) == len(there[1])
assert all(np.array_equal(a, b) for one, other in zip(here[1], there[1]) for a, b in zip(one, other))
assert here[2] == there[2]
assert history == run.history and history
print("equal")
"""


@pytest.mark.cells
def test_a_fitter_apart_gives_what_it_gives_here(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=240, cwd=tmp_path, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "torch here True jax here False",
        "torch there False jax there True",
        "peak True compiled True",
        "protocols True False",
        "IndexError",
        f"the fitter's process was killed by signal {int(signal.SIGKILL)}",
        "equal",
    ]
