"""`inrbench compare`: the table, what stands below it, and the exit status."""

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
    for folder in "ab":
        Path(folder).mkdir()


def write(folder: str, seed: int, accuracy: float, key: str = "", **changes: Any) -> None:
    record: dict[str, Any] = {"schema": 2, "method": "mwt", "dataset": "digits", "profile": "smoke", "label": ""}
    record |= {name: {} for name in ("settings", "facts", "data", "keys")} | {"status": "ok"}
    record |= {"cell": f"mwt+digits-smoke-s{seed}", "key": f"{key}{seed:032x}", "seed": seed, "finished": "2026"}
    record |= {"metrics": {"accuracy": accuracy, "accuracy_low": 0.0}, "costs": {"train_s": 2.0 + seed}}
    write_record(Path(folder), {**record, **changes})


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(cli, ["compare", *arguments], catch_exceptions=False)


def test_a_line_is_a_row_and_a_metric_with_both_values_and_their_paired_difference() -> None:
    for seed in (0, 1):
        write("a", seed, 0.5)
        write("b", seed, 0.5 + 0.01 * seed, key="f")
    result = invoke("a", "b", "--metric", "accuracy", "--metric", "train_s")
    assert result.exit_code == 0
    table = [[part.strip() for part in line.split("  ") if part.strip()] for line in result.stdout.splitlines()]
    assert table == [
        ["CELLS", "METRIC", "SEEDS", "A", "B", "B - A", "INTERVAL", "EQUAL"],
        ["mwt+digits-smoke", "accuracy %", "2", "50", "50.5", "+0.5", "-5.85 to +6.85", "1 of 2"],
        ["mwt+digits-smoke", "train_s", "2", "2.5", "2.5", "0", "+0 to +0", "2 of 2"],
    ]
    assert result.stderr == "2 cells are good in both; the keys of 2 differ\n"


def test_why_keys_differ_and_what_is_in_one_alone_stand_below() -> None:
    code = {f"module{i}": "1" for i in range(9)}
    write("a", 0, 0.5, ingredients={"train": {"code": code}})
    write("b", 0, 0.5, key="f", ingredients={"train": {"code": dict.fromkeys(code, "2")}}, machine={"threads": 2})
    write("a", 1, 0.5)
    write("b", 1, 0.5, status="timeout", metrics={})
    write("a", 2, 0.5)
    for seed in range(3, 30):
        write("b", seed, 0.5)
    lines = invoke("a", "b").stderr.splitlines()
    assert lines[:8] == [
        "1 cells are good in both; the keys of 1 differ",
        "  code: module0, module1, module2, module3, module4, module5, and 3 more",
        "  machine (in no key): threads none → 2",
        "ended otherwise: 1",
        "  mwt+digits-smoke-s1: ok in A, timeout in B",
        "only in a: 1",
        "  mwt+digits-smoke-s2",
        "only in b: 27",
    ]
    assert lines[-1] == "  and 7 more"


def test_all_of_it_is_one_json_document() -> None:
    write("a", 0, 0.5)
    write("b", 0, 0.25, machine={"threads": 2})
    write("b", 1, 0.5)
    document = json.loads(invoke("a", "b", "--json").stdout)
    numbers = {"difference": -0.25, "low": None, "high": None, "equal": 0}
    metrics = {"accuracy": {"values": {"0": [0.5, 0.25]}, "means": [0.5, 0.25], **numbers}}
    pair = {"cells": "mwt+digits-smoke", "other_keys": 0, "differences": {"machine": ["threads none → 2"]}}
    assert document == {
        "pairs": [{**pair, "metrics": metrics}],
        "ended_otherwise": [],
        "only_first": [],
        "only_second": ["mwt+digits-smoke-s1"],
    }


def test_nothing_in_both_is_said_and_exit_status_1() -> None:
    write("a", 0, 0.5)
    result = invoke("a", "b")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("0 cells are good in both")


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["a", "c"], "error: there is no folder of records at 'c'\n"),
        (["a"], "error: missing argument 'B' (see `inrbench compare --help`)\n"),
        (["a", "b", "--metric", "acuracy"], "error: no record holds a metric 'acuracy'; did you mean 'accuracy'"),
    ],
)
def test_what_cannot_be_compared_is_refused(arguments: list[str], line: str) -> None:
    write("a", 0, 0.5)
    result = invoke(*arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith(line)
