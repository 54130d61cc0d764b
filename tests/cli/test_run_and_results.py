"""Cells from the command line: statuses, tables, records that are damaged, a disk that is full, Ctrl-C."""

from __future__ import annotations

import errno
import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from inrbench.cli import cli
from inrbench.errors import NotFinite
from inrbench.pipeline import Outcome

SMOKE = ("--profile", "smoke", "--threads", "1")
#: Where something is put in the place of the work, it must be in this process.
HERE = (*SMOKE, "--in-process")


@pytest.fixture(autouse=True)
def records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("INRBENCH_RECORDS", str(tmp_path / "records"))
    monkeypatch.setenv("INRBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "records"


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cells that compute nothing."""
    outcome = Outcome({"accuracy": 0.5, "psnr_db": 20.0}, {"train_s": 1.0})
    monkeypatch.setattr("inrbench.execution.cell.run_cell", lambda *_: outcome)


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(cli, arguments, catch_exceptions=False)


def rows() -> Any:
    return json.loads(invoke("results", "--json").stdout)


@pytest.mark.cells
def test_a_cell_is_run_recorded_shown_drawn_and_not_run_again(records: Path) -> None:
    first = invoke("run", "mwt,pixels+digits", *SMOKE)
    assert first.exit_code == 0, first.output
    assert "[1/2] mwt+digits-smoke-s0" in first.stdout
    assert "mwt+digits-smoke-s0     ok " in first.stdout
    assert f"`inrbench leaderboard --records {records}`" in first.stderr
    again = invoke("run", "mwt,pixels+digits", *SMOKE, "--json")
    assert again.stderr.count("done before") == 2
    assert [record["status"] for record in json.loads(again.stdout)] == ["ok", "ok"]
    assert {tuple(row) for row in rows()} == {
        ("cell", "method", "dataset", "profile", "seed", "status", "metrics", "costs")
    }
    mwt = next(row for row in rows() if row["method"] == "mwt")
    assert {"accuracy", "psnr_db"} <= set(mwt["metrics"])
    drawn = invoke("render", "mwt+digits", "--size", "2x", "-o", "digits.png")
    assert drawn.exit_code == 0, drawn.output
    assert Path("digits.png").read_bytes().startswith(b"\x89PNG")
    tables = invoke("leaderboard", "-o", "tables")
    assert tables.exit_code == 0, tables.output
    assert "mwt" in tables.stdout
    assert {path.suffix for path in Path("tables").iterdir()} == {".md", ".csv"}
    for _ in range(2):  # the second time over what the first one wrote
        assert invoke("leaderboard", "-o", "page.md").exit_code == 0
    assert "mwt" in Path("page.md").read_text()
    assert Path("page.csv").exists()


@pytest.mark.usefixtures("quick")
def test_seeds_are_given_one_by_one_as_a_list_or_as_a_span() -> None:
    result = invoke("run", "pixels+digits", *HERE, "--seed", "0-1", "--seed", "5", "--seed", "1,7", "--json")
    assert [record["seed"] for record in json.loads(result.stdout)] == [0, 1, 5, 7]


@pytest.mark.usefixtures("quick")
def test_a_dry_run_says_what_was_done_before() -> None:
    invoke("run", "pixels+digits", *HERE)
    result = invoke("run", "pixels+digits", *HERE, "--seed", "0-1", "--dry-run")
    assert result.exit_code == 0
    assert "pixels+digits-smoke-s0: done before\n" in result.stdout
    assert "pixels+digits-smoke-s1: to do\n" in result.stdout
    assert "\n2 cells, 1 to do: " in result.stdout
    documents = json.loads(invoke("run", "pixels+digits", *HERE, "--dry-run", "--json").stdout)["cells"]
    assert [(one["done"], one["status"], one["data"]["state"]) for one in documents] == [(True, "ok", "own")]
    again = json.loads(invoke("run", "pixels+digits", *HERE, "--dry-run", "--json", "--rerun").stdout)
    assert not again["cells"][0]["done"]


def test_a_cell_that_fails_is_a_record_with_its_reason_and_exit_status_1(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise NotFinite("the loss is not finite at step 3")

    monkeypatch.setattr("inrbench.execution.cell.run_cell", fail)
    result = invoke("run", "pixels+digits", *HERE)
    assert result.exit_code == 1
    assert "not-finite after " in result.stdout
    assert [(row["cell"], row["status"]) for row in rows()] == [("pixels+digits-smoke-s0", "not-finite")]
    assert "the loss is not finite at step 3" in invoke("results").stdout
    refused = invoke("render", "pixels+digits")
    assert refused.exit_code == 2
    assert "'pixels+digits-smoke-s0' has no reconstructions: not-finite, the loss is" in refused.stderr


def test_ctrl_c_ends_with_130_and_leaves_the_rest_undone(monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("inrbench.execution.cell.run_cell", stop)
    result = invoke("run", "pixels+digits", *HERE, "--seed", "0-2")
    assert result.exit_code == 130
    assert "2 of 3 cells were not started; the same command goes on from here" in result.stderr
    assert [row["status"] for row in rows()] == ["interrupted"]


@pytest.mark.usefixtures("quick")
def test_a_disk_that_is_full_at_the_record_is_one_line_and_leaves_no_half_record(
    records: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("inrbench.records.write_atomically", full)
    result = invoke("run", "pixels+digits", *HERE)
    assert result.exit_code == 1
    (line,) = result.stderr.splitlines()
    assert line.startswith(f"error: cannot write the record {records}/pixels+digits-smoke-s0-")
    assert "No space left on device; finished stages are kept, so free some space (or say --records DIR)" in line
    assert not list(records.iterdir())


@pytest.mark.cells
def test_a_disk_that_is_full_at_the_cache_costs_the_stage_and_not_the_cell(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("inrbench.stages.save_arrays", full)
    result = invoke("run", "pixels+digits", *HERE)
    assert result.exit_code == 0
    assert "cannot be kept" in caplog.text
    assert "No space left on device" in caplog.text
    assert "Traceback" not in result.output


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(
    "text",
    ["{", "[]", "{}", "\x00", "[" * 100_000, "9" * 5000],
    ids=["cut off", "a list", "empty", "no text", "deep", "a huge number"],
)
def test_a_damaged_record_is_named_and_the_others_are_shown(records: Path, text: str) -> None:
    invoke("run", "pixels+digits", *HERE)
    (records / "broken.json").write_text(text)
    result = invoke("results", "--json")
    assert result.exit_code == 1
    assert [row["status"] for row in json.loads(result.stdout)] == ["ok"]
    assert result.stderr.startswith(f"error: record {records}/broken.json ")
    assert result.stderr.count("\n") == 1


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(("key", "value"), [("schema", "1"), ("metrics", 3), ("costs", None), ("status", ["ok"])])
def test_a_record_with_wrong_contents_is_damaged(records: Path, key: str, value: object) -> None:
    invoke("run", "pixels+digits", *HERE)
    (path,) = records.glob("*.json")
    path.write_text(json.dumps(json.loads(path.read_text()) | {key: value}))
    result = invoke("results")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.endswith(f"is damaged: {key} holds what does not belong there\n")


@pytest.mark.parametrize("command", ["results", "leaderboard", "render x"])
def test_a_folder_of_records_that_is_not_there_is_refused(records: Path, command: str) -> None:
    result = invoke(*command.split())
    assert result.exit_code == 2
    assert result.stderr.startswith(f"error: there is no folder of records at '{records}'; `inrbench run METHOD+DATAS")


@pytest.mark.usefixtures("quick")
def test_a_cell_to_draw_is_found_by_name_by_beginning_and_by_path(records: Path) -> None:
    from inrbench.cli.render import record_of
    from inrbench.errors import UsageError

    invoke("run", "pixels,mwt,mwt-l+digits", *HERE)
    (path,) = records.glob("pixels*.json")
    for name in ("pixels+digits-smoke-s0", "pix", str(path), path.stem):
        assert record_of(name, records)["method"] == "pixels"
    assert record_of("mwt+", records)["method"] == "mwt"
    with pytest.raises(UsageError, match="'mwt' is the beginning of 2 records: mwt"):
        record_of("mwt", records)
    with pytest.raises(
        UsageError, match=r"no record of a cell 'pxels\+digits'.*did you mean 'pixels\+digits-smoke-s0'"
    ):
        record_of("pxels+digits", records)
