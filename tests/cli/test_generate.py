"""`inrbench generate` on latents that `inrbench fit` made."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from inrbench.cli import cli
from inrbench.records import read_records

pytestmark = pytest.mark.cells


def invoke(*arguments: str | Path) -> Result:
    return CliRunner().invoke(cli, [*map(str, arguments)], catch_exceptions=False)


@pytest.fixture(scope="module")
def latents(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("functa") / "latents"
    made = invoke("fit", "functa+digits", "--profile", "smoke", "-o", folder, "--threads", "1", "--device", "cpu")
    assert made.exit_code == 0, made.output
    return folder


def test_it_leaves_samples_pictures_tables_and_records_that_can_be_drawn(latents: Path, tmp_path: Path) -> None:
    common = ("--samples", "40", "--threads", "1", "--device", "cpu")
    out, records = tmp_path / "out", tmp_path / "records"
    result = invoke("generate", latents, *common, "--guidance", "1,3", "-o", out, "--records", records)
    assert result.exit_code == 0, result.output
    assert "small classifier, test".upper() in result.stdout
    assert "trained before" not in result.stderr
    names = {path.name for path in out.iterdir()}
    assert {"generation.md", "generation.json", "generation.csv", "generation.png"} <= names
    assert {"generation-nearest-guidance-3.png", "samples-guidance-3.safetensors"} <= names
    document = json.loads((out / "generation.json").read_text())
    assert (document["samples"], document["guidance"], document["profile"]) == (40, [1.0, 3.0], "smoke")
    found = list(read_records(records))
    assert {record["settings"]["reader"]["guidance"] for record in found} == {1.0, 3.0}
    assert all({"frechet_latent", "gaussian_frechet_latent"} <= set(record["metrics"]) for record in found)
    plot = ("plot", "--against", "reader.guidance", "--metric", "frechet_classifier", "--records", records)
    drawn = invoke(*plot, "-o", tmp_path / "guidance.png")
    assert drawn.exit_code == 0, drawn.output
    assert (tmp_path / "guidance.png").read_bytes().startswith(b"\x89PNG")
    again = invoke("generate", latents, *common, "--guidance", "3", "-o", tmp_path / "again", "--json")
    assert "ddpm was trained before; it samples only" in again.stderr
    tables = json.loads(again.stdout)["tables"]["Fréchet distances"]
    same = next(row for row in document["tables"]["Fréchet distances"] if row["rows"] == "samples, guidance 3")
    assert tables[0]["latents, test"] == same["latents, test"]


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (("--guidance", "much"), "'much': allowed are numbers with commas"),
        (("--classes", "1.5"), "'1.5': allowed are whole numbers with commas"),
        (("--set", "reader.scale=0"), "reader.scale=0"),
    ],
)
def test_a_wrong_option_is_one_line(latents: Path, tmp_path: Path, arguments: tuple[str, ...], line: str) -> None:
    result = invoke("generate", latents, *arguments, "-o", tmp_path)
    assert result.exit_code == 2
    assert result.stderr.count("\n") == 1
    assert line in result.stderr


def test_a_folder_that_holds_no_latents_is_one_line(tmp_path: Path) -> None:
    result = invoke("generate", tmp_path / "none")
    assert result.exit_code == 2
    assert "there is no neural data set at" in result.stderr
