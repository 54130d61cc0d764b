"""`inrbench analyse` on neural data sets that `inrbench fit` made."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from inrbench.cli import cli


def invoke(*arguments: str | Path) -> Result:
    return CliRunner().invoke(cli, [*map(str, arguments)], catch_exceptions=False)


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Digits themselves as a neural data set: no framework is needed."""
    folder = tmp_path_factory.mktemp("made") / "digits"
    result = invoke("fit", "pixels+digits", "--profile", "smoke", "-o", folder, "--threads", "1")
    assert result.exit_code == 0, result.output
    return folder


def test_it_prints_a_table_and_writes_it_with_a_picture(samples: Path, tmp_path: Path) -> None:
    result = invoke(
        "analyse", "quantisation", samples, "-o", tmp_path, "--signals", "5", "--set", "analysis.bits=[2,32]"
    )
    assert result.exit_code == 0, result.output
    assert [line.split()[0] for line in result.stdout.splitlines()[:4]] == ["quantisation", "BITS", "2", "32"]
    assert "5 signals of the split 'test'" in result.stdout
    assert {path.name for path in tmp_path.iterdir()} == {f"quantisation.{end}" for end in ("md", "json", "csv", "png")}
    document = json.loads((tmp_path / "quantisation.json").read_text())
    assert document["of"] == "pixels+digits-smoke-s0"
    assert document["settings"] == {"bits": [2, 32], "signals": 5}
    assert [row["psnr_db"] for row in document["tables"]["quantisation"]][1] == 100.0
    assert (tmp_path / "quantisation.png").read_bytes().startswith(b"\x89PNG")


def test_it_prints_one_document_with_json(samples: Path, tmp_path: Path) -> None:
    result = invoke("analyse", "quantisation", samples, "-o", tmp_path, "--json", "--split", "train", "--signals", "7")
    document: Any = json.loads(result.stdout)
    assert document == json.loads((tmp_path / "quantisation.json").read_text())
    assert (document["split"], document["signals in the split"], document["kind"]) == ("train", 64, "samples")


def test_a_long_table_is_cut_on_the_screen_alone(samples: Path, tmp_path: Path) -> None:
    bits = f"analysis.bits={list(range(1, 25))}"
    result = invoke("analyse", "quantisation", samples, "-o", tmp_path, "--signals", "2", "--set", bits)
    assert "  and 4 rows more\n" in result.stdout
    assert len(result.stdout.partition("  and 4 rows")[0].splitlines()) == 2 + 20
    assert len((tmp_path / "quantisation.csv").read_text().splitlines()) == 25


def test_where_no_folder_is_given_it_is_named_after_the_neural_data_set(
    samples: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert invoke("analyse", "latent-statistics", samples).exit_code == 0
    assert (tmp_path / "analyses" / "digits" / "latent-statistics.md").is_file()


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (
            ["perturbation"],
            "analysis 'perturbation' takes latent, latent-grid, but DIR holds 'samples'; analyses of 'samples': "
            "latent-statistics, quantisation",
        ),
        (["quantization"], "no analysis named 'quantization'; did you mean 'quantisation'? known: "),
        (["quantisation", "--split", "tset"], "DIR has no split 'tset'; did you mean 'test'? known: test, train"),
        (["quantisation", "--set", "analysis.bit=3"], "no setting 'analysis.bit'; did you mean 'analysis.bits'?"),
        (["quantisation", "--set", "bits=[3]"], "no setting 'bits'; known: analysis"),
        (["latent-statistics", "--signals", "3"], "no setting 'analysis.signals'; did you mean"),
    ],
    ids=" ".join,
)
def test_what_cannot_be_is_one_line(arguments: list[str], line: str, samples: Path) -> None:
    result = invoke("analyse", arguments[0], samples, *arguments[1:])
    assert result.exit_code == 2
    assert f"error: {line}" in result.stderr.replace(str(samples), "DIR")
    assert result.stderr.count("\n") == 1


def test_a_folder_without_a_neural_data_set_is_one_line(tmp_path: Path) -> None:
    result = invoke("analyse", "quantisation", tmp_path / "nowhere")
    assert result.stderr.startswith("error: there is no neural data set at ")
    result = invoke("analyse", "quantisation", tmp_path)
    assert (result.exit_code, result.stderr.count("\n")) == (1, 1)


def test_analyses_are_listed_and_shown() -> None:
    rows = {row["name"]: row for row in json.loads(invoke("list", "analyses", "--json").stdout)}
    assert rows["perturbation"]["takes"] == ["latent", "latent-grid"]
    listed = invoke("list", "analyses").stdout
    assert [line.split()[:2] for line in listed.splitlines()][-1] == ["quantisation", "any"]
    shown = invoke("show", "perturbation").stdout
    assert "  takes latent, latent-grid\n" in shown
    assert "analysis.delta" in shown
    assert shown.endswith("run it: inrbench analyse perturbation DIR\n")
    assert invoke("cite", "perturbation").stdout.startswith("@")
