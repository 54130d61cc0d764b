"""Whole cells on sound and film, by the command line: run, verified, and written beside the originals."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from inrbench_av.own_file import File
from inrbench_av.settings import ClipSettings

from inrbench.records import read_record

pytestmark = pytest.mark.cells

SMOKE = ("--profile", "smoke", "--threads", "1", "--set", "data.test_size=null")


def inrbench(place: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "INRBENCH_CACHE": str(place / "cache"), "COLUMNS": "200"}
    command = [sys.executable, "-m", "inrbench", *arguments]
    return subprocess.run(command, cwd=place, env=environment, text=True, capture_output=True, timeout=120)


def ran(place: Path, cell: str, *arguments: str) -> dict[str, Any]:
    done = inrbench(place, "run", cell, *SMOKE, *arguments)
    assert done.returncode == 0, done.stderr
    (path,) = (place / "records").glob("*.json")
    return read_record(path)


def test_a_chord_is_fitted_verified_and_written(tmp_path: Path) -> None:
    record = ran(tmp_path, "siren+chord", "--set", "data.seconds=0.5", "--set", "fitter.steps=300")
    assert record["settings"]["data"]["seconds"] == 0.5
    assert 10 < record["metrics"]["psnr_db"] < 60
    assert np.isfinite(record["metrics"]["si_snr_db"])
    verified = inrbench(tmp_path, "verify", "siren+chord", "--json")
    assert verified.returncode == 0, verified.stderr
    assert any(check["what"].startswith("root of squared") for check in json.loads(verified.stdout)[0]["checks"])
    done = inrbench(tmp_path, "render", "siren+chord", "-o", "out/chord.png")
    assert done.returncode == 0, done.stderr
    names = ["chord.wav", "chord-original.wav", "chord-waveform.png"]
    assert done.stdout.split() == [str(Path("out") / name) for name in names]
    ours, original = (soundfile.read(tmp_path / "out" / name, dtype="int16")[0] / 32768 for name in names[:2])
    peak = np.abs(original).max()
    error = np.square((ours - original) / peak / 2).mean()  # in [0, 1], as it is scored
    assert -10 * np.log10(error) == pytest.approx(record["metrics"]["psnr_db"], abs=0.02)
    assert "--size is for images" in inrbench(tmp_path, "render", "siren+chord", "--size", "2x").stderr


def test_a_film_is_fitted_and_written(tmp_path: Path) -> None:
    small = ("--set", "data.frames=6", "--set", "data.shrink=2", "--set", "fitter.steps=100")
    record = ran(tmp_path, "siren+zone-plate", *small)
    assert (record["settings"]["data"]["frames"], record["settings"]["data"]["shrink"]) == (6, 2)
    done = inrbench(tmp_path, "render", "siren+zone-plate", "-o", "plate.png")
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["plate.mp4", "plate-original.mp4", "plate-frames.png"]
    (ours,) = File(ClipSettings(), str(tmp_path / "plate.mp4")).load(None)["test"].observed(0)
    assert ours.values.shape == (6, 24, 24, 3)


def test_a_file_of_ones_own(tmp_path: Path) -> None:
    tone = np.round(8000 * np.sin(2 * np.pi * 220 * np.arange(16_000) / 8000)).astype(np.int16)
    soundfile.write(tmp_path / "my clip.wav", tone, 8000)
    record = ran(tmp_path, "siren+file:my clip.wav", "--set", "data.stop=0.25")
    assert (record["dataset"], record["settings"]["data"]["stop"]) == ("file:my clip.wav", 0.25)
    done = inrbench(tmp_path, "render", record["cell"])
    assert done.returncode == 0, done.stderr
    assert soundfile.info(tmp_path / done.stdout.splitlines()[1]).frames == 2000
    soundfile.write(tmp_path / "my clip.wav", tone[::-1], 8000)
    changed = inrbench(tmp_path, "render", record["cell"])
    assert (changed.returncode, "is not what it was" in changed.stderr) == (1, True)


def test_a_file_that_is_no_clip_is_said_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "empty.wav").touch()
    done = inrbench(tmp_path, "run", "siren+file:empty.wav", *SMOKE)
    assert done.returncode != 0
    assert "file:empty.wav: is empty" in done.stderr
    assert "Traceback" not in done.stderr
