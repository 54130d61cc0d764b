"""Finished stages on disk: they come back as they were, and damage is never taken for a result."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest

from inrbench.cell_run import CellRun
from inrbench.errors import BadData
from inrbench.interfaces import Trained
from inrbench.representations import Layout, Representations
from inrbench.signals import GridSignals
from inrbench.stages import Stages, cache_folder

KEYS = {"train": "k1", "fit": "k2", "read": "k3", "score": "k4"}
TRAINED = Trained(
    {"theta/w": np.arange(3.0), "rates": np.ones((2, 2))},
    {"reader": {"weight": np.zeros(2), "shared/b": np.ones(1)}, "reader/second": {}},
    steps=12,
    compile_s=0.5,
    metrics={"fit_psnr_db": 30.25},
)
LAYOUT = Layout("weights", {"w": (2,)}, "shared", {"omega_0": 30.0})


def rows(count: int) -> Representations:
    return Representations(LAYOUT, {"w": np.arange(2.0 * count).reshape(count, 2)}, np.arange(count), np.zeros(count))


def images(count: int, side: int = 2) -> GridSignals:
    return GridSignals(np.full((count, side, side, 3), 51, dtype=np.uint8))


def finished_run() -> CellRun:
    run = CellRun(0)
    run.seconds |= {"train": 100.0, "fit_train": 20.0, "read_train": 30.0, "query": 5.0}
    return run


def test_what_was_trained_comes_back_with_heads_steps_and_seconds(tmp_path: Path) -> None:
    stages = Stages(tmp_path, KEYS)
    stages.keep_trained("train", TRAINED, finished_run())
    run = CellRun(0)
    run.seconds["train"] = 1.0
    found = Stages(tmp_path, KEYS).trained("train", run)
    assert found is not None
    assert (found.steps, found.compile_s, found.metrics) == (12, 0.5, {"fit_psnr_db": 30.25})
    assert {name: array.tolist() for name, array in found.shared.items()} == {
        "theta/w": [0.0, 1.0, 2.0],
        "rates": [[1.0, 1.0], [1.0, 1.0]],
    }
    assert {name: array.tolist() for name, array in found.heads["reader"].items()} == {
        "weight": [0.0, 0.0],
        "shared/b": [1.0],
    }
    assert run.seconds == {"train": 101.0}


def test_a_reader_comes_back_with_the_seconds_of_its_own_fits(tmp_path: Path) -> None:
    stages = Stages(tmp_path, KEYS)
    stages.keep_trained("read", Trained({"w": np.ones(1)}), finished_run())
    run = CellRun(0)
    assert stages.trained("read", run) is not None
    assert run.seconds == {"fit_train": 20.0, "read_train": 30.0}


def test_a_stage_of_another_key_is_not_there(tmp_path: Path) -> None:
    Stages(tmp_path, KEYS).keep_trained("train", TRAINED, CellRun(0))
    assert Stages(tmp_path, {**KEYS, "train": "other"}).trained("train", CellRun(0)) is None
    assert Stages(tmp_path, KEYS).trained("read", CellRun(0)) is None


def test_a_damaged_stage_is_said_and_done_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    stages = Stages(tmp_path, KEYS)
    stages.keep_trained("train", TRAINED, finished_run())
    path = tmp_path / "k1" / "trained.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    run = CellRun(0)
    with caplog.at_level(logging.WARNING, "inrbench"):
        assert stages.trained("train", run) is None
    assert f"{path} is damaged: its content does not match its digest; doing this stage again" in caplog.text
    assert run.seconds == {}
    stages.keep_trained("train", TRAINED, finished_run())
    assert stages.trained("train", run) is not None


def test_without_a_folder_nothing_is_kept() -> None:
    stages = Stages(None, KEYS)
    stages.keep_trained("train", TRAINED, CellRun(0))
    stages.keep_sample(rows(2), {}, 0, images(2))
    stages.forget()
    assert (stages.trained("train", CellRun(0)), stages.sample(), stages.path("train")) == (None, None, None)


def test_forgetting_drops_these_stages_and_no_other(tmp_path: Path) -> None:
    other = Stages(tmp_path, {"train": "other"})
    for stages in (Stages(tmp_path, KEYS), other):
        stages.keep_trained("train", TRAINED, CellRun(0))
    Stages(tmp_path, KEYS).forget()
    assert Stages(tmp_path, KEYS).trained("train", CellRun(0)) is None
    assert other.trained("train", CellRun(0)) is not None


def test_a_sample_comes_back_with_layout_rows_shared_arrays_and_originals(tmp_path: Path) -> None:
    stages = Stages(tmp_path, KEYS)
    stages.keep_sample(rows(3), {"theta": np.ones(4)}, 0, images(5))
    sample = stages.sample()
    assert sample is not None
    assert sample.layout == LAYOUT
    np.testing.assert_array_equal(sample.rows.arrays["w"], rows(3).arrays["w"])
    assert sample.rows.ids.tolist() == [0, 1, 2]
    assert sample.shared["theta"].tolist() == [1.0] * 4
    assert sample.originals is not None
    assert sample.originals.shape == (3, 2, 2, 3)
    np.testing.assert_allclose(sample.originals, 0.2, rtol=1e-6)


def test_only_the_first_shard_is_sampled(tmp_path: Path) -> None:
    stages = Stages(tmp_path, KEYS)
    stages.keep_sample(rows(2), {}, 0, images(2))
    stages.keep_sample(rows(3), {}, 2, images(3))
    sample = stages.sample()
    assert sample is not None
    assert len(sample.rows) == 2


def test_large_originals_are_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("inrbench.stages.LARGEST_ORIGINAL", 10)
    stages = Stages(tmp_path, KEYS)
    stages.keep_sample(rows(1), {}, 0, images(1))
    sample = stages.sample()
    assert sample is not None
    assert sample.originals is None


def test_a_damaged_sample_is_an_error(tmp_path: Path) -> None:
    stages = Stages(tmp_path, KEYS)
    stages.keep_sample(rows(2), {}, 0, images(2))
    path = tmp_path / "k4" / "sample.safetensors"
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(BadData, match=r"sample.safetensors is damaged"):
        stages.sample()


def test_the_cache_folder_is_the_one_that_the_environment_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INRBENCH_CACHE", "/somewhere/else")
    assert cache_folder() == Path("/somewhere/else")
    monkeypatch.delenv("INRBENCH_CACHE")
    assert cache_folder().name == "inrbench"
