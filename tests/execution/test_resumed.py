"""Cells that are killed -9 at random moments give the same metrics, to the last bit, as ones that are left alone."""

from __future__ import annotations

import random
import signal
import time
from typing import Any

import numpy as np
import pytest

from inrbench.records import read_record, vectors_of

pytestmark = pytest.mark.cells

#: Cells with training of a few seconds: PyTorch, JAX, and JAX read by PyTorch.
CELLS = {
    "torch": ("mwt+digits", "--set", "fitter.train.steps=800"),
    "jax": ("functa+digits", "--set", "fitter.train.steps=4000", "--set", "reader=null"),
    "both": ("functa+digits", "--set", "fitter.train.steps=2000", "--set", "reader.train.steps=400"),
}


@pytest.mark.parametrize("framework", CELLS)
def test_a_killed_cell_ends_as_one_left_alone(place: Any, framework: str) -> None:
    pytest.importorskip("torch" if framework == "torch" else "jax")
    command = (*CELLS[framework], "--profile", "smoke", "--threads", "1", "--device", "cpu")
    alone = place.run(*command, "--records", "alone", timeout=300.0)
    assert alone.returncode == 0, alone.stderr
    place.forget()
    chance = random.Random(framework)
    went_on = 0
    kills = 0
    while kills < 3:
        process = place.start(*command, "--checkpoint-every", "0.1s", "--records", "killed")
        until = time.monotonic() + 120.0
        while not list((place.folder / "cache").rglob("*.checkpoint.safetensors")) and time.monotonic() < until:
            assert process.poll() is None, "it ended before it was killed"
            time.sleep(0.005)
        time.sleep(chance.uniform(0.0, 0.6))
        for one in place.processes():
            one.send_signal(signal.SIGKILL)
        _, err = process.communicate(timeout=60)
        went_on += "going on behind step" in err
        kills += 1
    last = place.run(*command, "--records", "killed", timeout=300.0)
    assert last.returncode == 0, last.stderr
    went_on += "going on behind step" in last.stderr
    assert went_on >= 1, last.stderr
    (one,), (other,) = ([*(place.folder / name).glob("*.json")] for name in ("alone", "killed"))
    before, after = read_record(one), read_record(other)
    assert after["metrics"] == before["metrics"]
    vectors = vectors_of(one.parent, before), vectors_of(other.parent, after)
    assert vectors[0].keys() == vectors[1].keys()
    assert all(np.array_equal(vectors[0][name], vectors[1][name]) for name in vectors[0])
