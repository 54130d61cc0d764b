"""Tables and plots from the command line, of records that a sweep made."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from inrbench.cli import cli
from inrbench.pipeline import Outcome

SWEEP = """
title: How many steps
profile: smoke
published: paper.table1
cells:
  - run: siren+digits
    label: "k {fitter.steps}"
    grid: {fitter.steps: [2, 3]}
    published: {k: "{fitter.steps}"}
published_only: [{method: another}]
"""
PAPERS = """
paper:
  source: "Author, A Paper, 2026"
  tables:
    table1:
      title: "A table"
      rows: [{k: 2, psnr_db: 20.5}, {k: 3, psnr_db: 21.5}, {method: another, psnr_db: 22.25}]
"""


@pytest.fixture(autouse=True)
def _records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The records of the sweep, whose cells compute nothing."""
    outcome = Outcome({"psnr_db": 20.0}, {"train_s": 1.0, "adapted_values": 10.0})
    monkeypatch.setattr("inrbench.execution.cell.run_cell", lambda *_: outcome)
    monkeypatch.setenv("INRBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    Path("sweep.yaml").write_text(SWEEP)
    Path("published.yaml").write_text(PAPERS)
    assert invoke("run", "sweep.yaml", "--threads", "1", "--in-process").exit_code == 0


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(cli, arguments, catch_exceptions=False)


def test_a_leaderboard_of_a_sweep_has_its_title_and_the_published_rows() -> None:
    result = invoke("leaderboard", "--sweep", "sweep.yaml", "-o", "page.md")
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("# How many steps\n\n## digits, profile smoke: test split, ")
    assert "siren, k 2" in result.stdout
    assert result.stdout.count("| other profile |") == 2
    assert "22.25" in result.stdout
    assert Path("page.md").read_text().startswith("# How many steps\n")
    assert "published,another" in Path("page.csv").read_text()


def test_a_leaderboard_without_a_sweep_has_what_the_records_hold() -> None:
    result = invoke("leaderboard")
    assert result.stdout.startswith("## digits, profile smoke")
    assert "21.50" in result.stdout
    assert "| another" not in result.stdout


def test_a_sweep_that_is_not_there_is_one_line() -> None:
    result = invoke("leaderboard", "--sweep", "seep.yaml")
    assert result.exit_code == 2
    assert result.stderr.startswith("error: sweep file 'seep.yaml' cannot be read: ")


def test_a_plot_is_named_after_the_setting_or_as_asked() -> None:
    result = invoke("plot", "--against", "fitter.steps")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "fitter.steps.png\n", "")
    assert Path("fitter.steps.png").read_bytes().startswith(b"\x89PNG")
    result = invoke("plot", "--against", "fitter.steps", "--metric", "psnr_db", "--log", "-o", "deep/a.png")
    assert (result.exit_code, result.stdout) == (0, "deep/a.png\n")


def test_what_a_plot_leaves_out_is_said() -> None:
    invoke("run", "siren+digits", "--profile", "smoke", "--set", "inr.width=9", "--threads", "1", "--in-process")
    result = invoke("plot", "--against", "fitter.steps")
    assert result.stderr == "left out, since no other record equals them in all but fitter.steps: 1\n"


def test_curves_are_drawn_against_steps_and_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    def evaluated(*given: Any) -> Outcome:
        for k in (1, 2):
            given[4].log(k, psnr_db=10.0 + k, fit_s=0.1 * k)
        return Outcome({"psnr_db": 20.0}, {"train_s": 1.0, "adapted_values": 10.0})

    monkeypatch.setattr("inrbench.execution.cell.run_cell", evaluated)
    invoke("run", "siren+digits", "--profile", "smoke", "--set", "inr.width=9", "--threads", "1", "--in-process")
    result = invoke("plot", "--against", "step", "--against", "fit_s", "--log")
    assert (result.exit_code, result.stdout) == (0, "step-fit_s.png\n"), result.output
    assert result.stderr == "left out, since they hold no curve: 2\n"
    assert Path("step-fit_s.png").read_bytes().startswith(b"\x89PNG")
    result = invoke("plot", "--against", "fit_s", "--metric", "psnr")
    assert result.stderr == "error: no curve holds a metric 'psnr'; did you mean 'psnr_db'? known: psnr_db\n"
    result = invoke("plot", "--against", "fit_s", "--against", "fitter.steps")
    assert result.stderr.startswith("error: curves are drawn against step and fit_s, not together with 'fitter.steps'")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--against", "step"], "no record holds a curve; a fit that is run with --set fitter.evaluate=30 logs one"),
        (
            ["--against", "fitter.steps", "--against", "inr.width"],
            "--against takes one setting, or step and fit_s; given: fitter.steps, inr.width",
        ),
        (["--against", "fitter.step"], "no record holds a setting 'fitter.step'; did you mean 'fitter.steps'? known: "),
        (["--against", "inr.width"], "inr.width has one value in all records, "),
        (["--against", "fitter.steps", "--metric", "psnr"], "no record holds a metric 'psnr'; did you mean 'psnr_db'?"),
        (["--against", "fitter.steps", "-o", "a.pdf"], "a plot is written as PNG: say -o a.png; given: 'a.pdf'"),
        (["--against", "fitter.steps", "--records", "nowhere"], "there is no folder of records at 'nowhere'; "),
        ([], "missing option '--against'"),
    ],
)
def test_what_cannot_be_plotted_is_one_line(arguments: list[str], message: str) -> None:
    result = invoke("plot", *arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith(f"error: {message}")
    assert result.stderr.count("\n") == 1


def test_a_folder_without_good_records_has_nothing_to_draw() -> None:
    Path("empty").mkdir()
    result = invoke("plot", "--against", "fitter.steps", "--records", "empty")
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr == "no records to draw in empty; `inrbench run METHOD+DATASET` makes some\n"
