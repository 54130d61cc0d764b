"""Whole cells on occupancies, at the `smoke` profile: what their records hold."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import trimesh

pytestmark = pytest.mark.cells


def inrbench(place: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "INRBENCH_CACHE": str(place / "cache"), "COLUMNS": "200"}
    command = [sys.executable, "-m", "inrbench", *arguments]
    return subprocess.run(command, cwd=place, env=environment, text=True, capture_output=True, timeout=120)


def record_of(place: Path, *arguments: str) -> dict[str, Any]:
    """The record that a run leaves."""
    done = inrbench(place, "run", *arguments, "--profile", "smoke", "--threads", "1")
    assert done.returncode == 0, done.stderr
    (path,) = (place / "records").glob("*.json")
    return dict(json.loads(path.read_text(encoding="utf-8")))


FEW = ("--set", "data.random_points=256", "--set", "data.near_points=256", "--set", "data.scored_points=512")


def test_solids_are_scored_by_iou_and_psnr(tmp_path: Path) -> None:
    record = record_of(tmp_path, "siren+solids", *FEW, "--set", "fitter.steps=200", "--set", "data.test_size=4")
    assert record["status"] == "ok"
    assert record["dataset"] == "solids"
    assert 0.1 < record["metrics"]["iou"] <= 1.0
    assert record["metrics"]["psnr_db"] > 5.0


def test_a_mesh_is_a_signal_of_its_own(tmp_path: Path) -> None:
    trimesh.creation.icosphere().export(tmp_path / "ball.stl")
    steps = ("--set", "fitter.steps=300", "--set", "inr.omega_0=8", "--set", "data.test_size=null")
    record = record_of(tmp_path, "siren+mesh:ball.stl", *FEW, *steps)
    assert record["dataset"] == "mesh:ball.stl"
    assert record["data"]["official"]
    assert 0.5 < record["metrics"]["iou"] <= 1.0
