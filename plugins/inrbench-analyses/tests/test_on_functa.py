"""The analyses of what functa and spatial functa make of digits, by the command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from inrbench.artefact import open_artefact
from inrbench.cli import cli
from inrbench.metrics import psnr_db

pytestmark = pytest.mark.cells


def invoke(*arguments: str | Path) -> str:
    result = CliRunner().invoke(cli, [*map(str, arguments)], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.fixture(scope="module", params=["functa", "spatial-functa"])
def latents(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp(request.param) / "latents"
    invoke("fit", f"{request.param}+digits", "--profile", "smoke", "-o", folder, "--threads", "1", "--device", "cpu")
    return folder


def analysed(name: str, folder: Path, out: Path, *more: str) -> Any:
    options = ["-o", out, "--threads", "1", "--device", "cpu", "--json"]
    return json.loads(invoke("analyse", name, folder, *options, *more))["tables"]


def test_as_it_is_the_psnr_is_the_fits_own_and_fewer_bits_lose_more(latents: Path, tmp_path: Path) -> None:
    tables = analysed("quantisation", latents, tmp_path, "--set", "analysis.bits=[1,4,16,32]")
    own = open_artefact(latents).splits["test"].mse
    assert own is not None
    whole = float(psnr_db(own).mean())
    psnr = {row["bits"]: row["psnr_db"] for row in tables["quantisation"]}
    assert psnr[32] == pytest.approx(whole, abs=1e-3)
    assert psnr[16] == pytest.approx(whole, abs=0.05)  # some signals lie outside the training range
    assert psnr[1] < psnr[4] < psnr[32]


def test_small_moves_change_little_and_about_linearly(latents: Path, tmp_path: Path) -> None:
    near = ["--signals", "4", "--set", "analysis.delta=0.001", "--set", "analysis.reach=0.002"]
    far = ["--signals", "4", "--set", "analysis.delta=0.002", "--set", "analysis.reach=0.002"]
    kind = open_artefact(latents).layout.kind
    word = "channel" if kind == "latent-grid" else "dimension"
    one, other = (analysed("perturbation", latents, tmp_path, *settings)[f"{word}s"] for settings in (near, far))
    effects = [{row[word]: row["effect"] for row in rows} for rows in (one, other)]
    for index, effect in effects[0].items():
        assert effects[1][index] == pytest.approx(2.0 * effect, rel=0.1)
        assert effect > 0.0
    if word == "channel":
        assert min(row["r2_up"] for row in one) > 0.99
        assert all(0.0 <= row["repeats"] <= 1.0 for row in one)
    assert (tmp_path / "perturbation.png").stat().st_size > 10_000


def test_statistics_are_those_of_the_training_rows(latents: Path, tmp_path: Path) -> None:
    tables = analysed("latent-statistics", latents, tmp_path)
    rows = np.asarray(open_artefact(latents).splits["train"].rows.arrays["latent"], dtype=np.float64)
    flat = rows.reshape(-1, rows.shape[-1])
    found = next(iter(tables.values()))
    assert [row["std"] for row in found] == pytest.approx(list(flat.std(axis=0)), rel=1e-4)
    assert tables["norms"][-1]["norm"] == pytest.approx(np.linalg.norm(rows.reshape(len(rows), -1), axis=1).max())
