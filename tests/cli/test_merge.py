"""`inrbench merge`: what it prints, how it exits, and what it leaves."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from inrbench.cli import cli
from inrbench.records import write_record


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def write(folder: str, seed: int, status: str = "ok", **metrics: float) -> None:
    names = ("method", "dataset", "profile", "label")
    record: dict[str, Any] = {"schema": 2, **dict.fromkeys(names, "x"), "finished": "2026-01-01T00:00:00+00:00"}
    record |= {name: {} for name in ("costs", "settings", "facts", "data", "keys")}
    cell = {"cell": f"x+x-s{seed}", "key": f"{seed:032x}", "seed": seed}
    write_record(Path(folder), {**record, **cell, "status": status, "metrics": metrics})


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(cli, ["merge", *arguments], catch_exceptions=False)


def test_what_was_done_is_counted() -> None:
    write("a", 0)
    write("a", 1, "crash")
    write("b", 0)
    write("b", 1)
    result = invoke("a", "b")
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == "a: added 1, there before 1, failures replaced 1\n"
    assert invoke("a", "b").stdout == "a: added 0, there before 2\n"
    assert invoke("a", "b", "-o", "all").stdout == "all: added 2, there before 2\n"
    assert len(list(Path("all").iterdir())) == 2


def test_other_results_are_named_with_the_command_that_shows_them_and_exit_status_1() -> None:
    for seed in range(12):
        write("a", seed, accuracy=0.5)
        write("b", seed, accuracy=0.6)
    result = invoke("a", "b")
    assert (result.exit_code, result.stdout) == (1, "a: added 0, set aside 12\n")
    lines = result.stderr.splitlines()
    assert lines[0].startswith("another result of the same key: a/aside/x+x-s0-00000000.")
    assert lines[-2:] == [
        "and 2 more",
        "`inrbench compare a a/aside` shows how these differ from the ones that tables read",
    ]
    document = json.loads(invoke("a", "b", "--json").stdout)
    assert document["counts"] == {
        "added": 0,
        "there before": 0,
        "failures replaced": 0,
        "failures left out": 0,
        "set aside": 12,
    }
    assert sorted(document["differing"]) == sorted(map(str, Path("a/aside").glob("*.json")))


def test_damage_is_one_line_and_exit_status_1() -> None:
    write("a", 0)
    write("b", 1)
    next(Path("b").iterdir()).write_text("{}")
    result = invoke("a", "b")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("error: nothing was merged: record b/x+x-s1-00000000.json is damaged: it has no ")
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["a"], "error: a merge takes two folders of records or more, or one and the folder to merge it into\n"),
        (["a", "nowhere"], "error: there is no folder of records at 'nowhere'\n"),
        ([], "error: missing argument 'A B...' (see `inrbench merge --help`)\n"),
    ],
)
def test_what_is_no_merge_is_refused(arguments: list[str], line: str) -> None:
    write("a", 0)
    result = invoke(*arguments)
    assert (result.exit_code, result.stdout, result.stderr) == (2, "", line)
