"""Whole cells of Trans-INR on images: alone, with a reader of its tokens, with steps at test time, with a SIREN."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from inrbench.cli import cli

pytestmark = pytest.mark.cells


def run(folder: Path, *sets: str) -> dict[str, Any]:
    chosen = [word for one in sets for word in ("--set", one)]
    command = ["run", "trans-inr+digits", "--profile", "smoke", "--threads", "1", "--records", str(folder), *chosen]
    done = CliRunner().invoke(cli, command)
    assert done.exit_code == 0, done.output
    (path,) = folder.glob("*.json")
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def test_a_cell_reconstructs_and_says_what_it_is(tmp_path: Path) -> None:
    record = run(tmp_path)
    assert record["status"] == "ok"
    assert record["facts"]["initialisation"] == "generated"
    assert 5 < record["metrics"]["psnr_db"] < 40
    assert record["costs"]["fit_flops_per_signal"] < record["costs"]["train_flops_per_signal"]


def test_a_reader_reads_its_tokens(tmp_path: Path) -> None:
    record = run(tmp_path, "reader=linear-probe")
    assert record["metrics"]["accuracy"] > 0.1


@pytest.mark.parametrize(
    "sets", [("fitter.test_steps=5",), ("inr=siren", "inr.width=16", "fitter.column_norm=initial")]
)
def test_steps_at_test_time_and_another_field(sets: tuple[str, ...], tmp_path: Path) -> None:
    record = run(tmp_path, *sets)
    assert record["metrics"]["psnr_db"] > 5
