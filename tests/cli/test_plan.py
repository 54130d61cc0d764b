"""`inrbench plan` and `inrbench run --dry-run`: what would be done, before anything starts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from inrbench.cli import cli
from inrbench.pipeline import Outcome
from inrbench.records import read_record, write_record

SMOKE = ("--profile", "smoke", "--threads", "1", "--device", "cpu")


@pytest.fixture(autouse=True)
def _folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INRBENCH_RECORDS", str(tmp_path / "records"))
    monkeypatch.setenv("INRBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    costs = {"train_s": 4.0, "fit_s": 0.5, "query_s": 0.25, "read_s": 0.25}
    monkeypatch.setattr(
        "inrbench.execution.cell.run_cell", lambda *_: Outcome({"accuracy": 0.5, "psnr_db": 20.0}, costs)
    )


def invoke(*arguments: str) -> Result:
    result = CliRunner().invoke(cli, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result


def document(*arguments: str) -> Any:
    return json.loads(invoke("plan", *arguments, *SMOKE, "--json").stdout)


def test_a_plan_says_what_is_done_what_is_to_do_and_what_it_will_take() -> None:
    first = invoke("plan", "pixels+digits", *SMOKE).stdout
    assert "pixels+digits-smoke-s0: to do\n  data: no files to download\n" in first
    assert "expected: unknown time, " in first
    assert "(no record of pixels+digits at profile smoke on cpu)" in first
    assert first.splitlines()[-1].startswith("1 cells, 1 to do: unknown time, unknown memory, ")
    assert not Path("records").exists()

    invoke("run", "--in-process", "pixels+digits", *SMOKE)
    then = invoke("plan", "pixels+digits", *SMOKE, "--seed", "0-1").stdout
    assert "pixels+digits-smoke-s0: done before\n" in then
    assert "pixels+digits-smoke-s1: to do\n" in then
    assert "expected: about 5 s, " in then
    assert "(from pixels+digits-smoke-s0)" in then
    assert "2 cells, 1 to do: about 5 s one after the other, up to " in then
    assert then.endswith("on disk; downloads: none\n")


def test_a_dry_run_is_the_same() -> None:
    arguments = ("mwt,pixels+digits", *SMOKE, "--set", "data.test_size=3")
    assert invoke("run", *arguments, "--dry-run").stdout == invoke("plan", *arguments).stdout
    assert invoke("run", *arguments, "--dry-run", "--json").stdout == invoke("plan", *arguments, "--json").stdout


def test_a_failure_that_is_not_run_again_is_left_as_it_is() -> None:
    invoke("run", "--in-process", "pixels+digits", *SMOKE)
    (path,) = Path("records").glob("*.json")
    record = read_record(path)
    path.unlink()
    write_record(Path("records"), record | {"status": "timeout"})
    shown = invoke("run", "pixels+digits", *SMOKE, "--dry-run", "--retry", "crash").stdout
    assert "pixels+digits-smoke-s0: left as it is (the record says: timeout)\n" in shown
    again = invoke("run", "pixels+digits", *SMOKE, "--dry-run").stdout
    assert "pixels+digits-smoke-s0: to do (the record says: timeout)\n" in again


def test_downloads_are_named_once_with_size_and_licence(tmp_path: Path) -> None:
    there = ("--data-root", str(tmp_path / "data"))
    shown = invoke("plan", "pixels+cifar10,digits", *SMOKE, "--seed", "0-2", *there).stdout
    assert shown.endswith("; downloads: cifar10 170 MB (licence: not stated by the publisher)\n")
    (download,) = document("pixels+cifar10,digits", *there)["downloads"]
    assert (download["name"], round(download["bytes"], -6)) == ("cifar10", 170e6)
    assert not (tmp_path / "data").exists()


SWEEP = """
profile: smoke
seeds: [0, 1, 2, 3]
cells:
  - run: pixels+digits
  - {run: siren+digits, label: "width {inr.width}", grid: {inr.width: WIDTHS}}
"""


def test_many_cells_are_summed_up_and_shown_on_demand(tmp_path: Path) -> None:
    path = tmp_path / "sweep.yaml"
    path.write_text(SWEEP.replace("WIDTHS", str(list(range(2, 14)))))
    invoke("run", "--in-process", "pixels+digits", *SMOKE, "--seed", "0-1")
    lines = [line.split("  ") for line in invoke("plan", str(path), *SMOKE).stdout.splitlines()]
    table = {tuple(cell.strip() for cell in line if cell.strip())[:4] for line in lines}
    assert {("pixels+digits", "-", "4", "2"), ("siren+digits", "width 2", "4", "0")} <= table
    assert len([line for line in lines if line[0].startswith("siren")]) == 12
    assert lines[-1][0].startswith("52 cells, 50 to do: more than ")
    assert invoke("plan", str(path), *SMOKE, "--verbose").stdout.count(": to do\n") == 50
    assert len(document(str(path))["cells"]) == 52

    path.write_text(SWEEP.replace("WIDTHS", str(list(range(2, 44)))))
    rows = [line for line in invoke("plan", str(path), *SMOKE).stdout.splitlines() if line.startswith("siren")]
    assert len(rows) == 1
    assert rows[0].split()[:5] == ["siren+digits", "42", "labels", "168", "0"]


def test_the_document_holds_all_cells_and_the_total() -> None:
    invoke("run", "--in-process", "mwt+digits", *SMOKE)
    found = document("mwt+digits", "--seed", "0-1", "--set", "data.test_size=16")
    assert [one["done"] for one in found["cells"]] == [False, False]
    one = found["cells"][0]
    assert (one["stages"], one["status"], one["device"]) == ({"train": "to do", "score": "to do"}, None, "cpu")
    assert one["expected"]["source"] == "from mwt+digits-smoke-s0, of other settings"
    # 16 signals in place of 32: half of fitting and reading
    assert one["expected"]["seconds"] == pytest.approx(4.5, abs=0.5)
    total = found["total"]
    assert total["seconds"] == pytest.approx(sum(one["expected"]["seconds"] for one in found["cells"]))
    assert total["disk_bytes"] == sum(one["expected"]["disk_bytes"] for one in found["cells"])
    assert (total["cells"], total["done"], total["unknown_time"]) == (2, 0, 0)
    assert found["downloads"] == found["searches"] == []


def test_a_search_is_planned_by_one_of_its_trials(tmp_path: Path) -> None:
    path = tmp_path / "search.yaml"
    path.write_text(
        """
        profile: smoke
        seeds: [0, 1]
        set: {data.validation: 0.2, data.scored: validation}
        cells:
          - run: siren+digits
            search: {trials: 5, choose: psnr_db, space: {inr.width: {low: 4, high: 8}}}
        """
    )
    shown = invoke("plan", str(path), *SMOKE).stdout
    assert "search siren+digits, best of 5 trials: up to 12 cells, chosen as it goes; unknown time for" in shown
    assert shown.splitlines()[-1].startswith("0 cells, 0 to do, and up to 12 of 1 searches: unknown time")
    (search,) = document(str(path))["searches"]
    assert (search["cells"], search["seconds_a_trial"]) == (12, None)


def test_what_is_wrong_is_refused_as_a_run_refuses_it() -> None:
    result = CliRunner().invoke(cli, ["plan", "mwt+digits", *SMOKE, "--set", "fitter.stepz=3"])
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith("error: no setting 'fitter.stepz'; did you mean 'fitter.steps'?")
