"""Why a cell is taken from its record or is run: every part of a key that can differ is named, with both values."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from inrbench.cli import cli
from inrbench.pipeline import Outcome
from inrbench.records import read_record, write_record
from inrbench.why import Difference, differences

SMOKE = ("--profile", "smoke")
CPU = ("--device", "cpu")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of records. Cells compute nothing."""
    monkeypatch.setenv("INRBENCH_RECORDS", str(tmp_path / "records"))
    monkeypatch.setenv("INRBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("inrbench.execution.cell.run_cell", lambda *_: Outcome({"accuracy": 0.5}, {"train_s": 1.0}))
    return tmp_path / "records"


def invoke(*arguments: str, status: int = 0) -> Result:
    result = CliRunner().invoke(cli, arguments, catch_exceptions=False)
    assert result.exit_code == status, result.output
    return result


def run(*arguments: str) -> None:
    invoke("run", *arguments, *SMOKE, *CPU, "--threads", "1", "--in-process")


def why(*arguments: str, profile: tuple[str, ...] = SMOKE) -> list[str]:
    return invoke("why", *arguments, *profile, *CPU).stdout.splitlines()


def edited(folder: Path, **changes: Any) -> Path:
    """Change the only record there."""
    (path,) = folder.glob("*.json")
    document = read_record(path)
    path.unlink()
    return write_record(folder, document | changes)


# ------------------------------------------------------------------ ingredients


def ingredients(**changes: Any) -> dict[str, Any]:
    plain = {
        "before": "x", "settings": {"fitter.lr": 0.1}, "seed": 0, "data": "c1", "device": "cpu",
        "code": {"inrbench.pipeline": "aa"}, "versions": {"torch": "2.1"},
    }  # fmt: skip
    return {stage: plain | changes.get(stage, {}) for stage in ("train", "fit", "read", "score")}


@pytest.mark.parametrize(
    ("here", "line"),
    [
        ({"settings": {"fitter.lr": 0.2}}, "train: setting fitter.lr is 0.2, there 0.1"),
        ({"settings": {"fitter.lr": None}}, "train: setting fitter.lr is null, there 0.1"),
        ({"settings": {"fitter.lr": 0.1, "inr.width": 8}}, "train: setting inr.width is 8, there is none there"),
        ({"settings": {}}, "train: setting fitter.lr is gone; there it was 0.1"),
        ({"seed": 3}, "train: seed is 3, there 0"),
        ({"data": "c2"}, "train: data checksum is c2, there c1"),
        ({"device": "cuda"}, "train: device is cuda, there cpu"),
        ({"code": {"inrbench.pipeline": "bb"}}, "train: module inrbench.pipeline is bb, there aa"),
        ({"versions": {"torch": "2.2"}}, "train: version of torch is 2.2, there 2.1"),
    ],
)
def test_each_part_that_differs_is_a_line(here: dict[str, Any], line: str) -> None:
    (found,) = differences(ingredients(train=here), ingredients())
    assert found.line() == line


def test_a_part_is_named_once_at_the_first_stage_and_keys_of_earlier_stages_are_not_repeated() -> None:
    edit = {"code": {"inrbench.pipeline": "bb"}, "before": "y"}
    found = differences(ingredients(fit=edit, read=edit, score=edit | {"settings": {"fitter.lr": 0.2}}), ingredients())
    assert found == [
        Difference("fit", "module", "inrbench.pipeline", "bb", "aa"),
        Difference("score", "setting", "fitter.lr", 0.2, 0.1),
    ]


def test_lists_and_tuples_are_equal_as_a_key_sees_them() -> None:
    one, other = ({"settings": {"inr.sizes": kind((1, 2))}} for kind in (list, tuple))
    assert differences(ingredients(train=one), ingredients(train=other)) == []
    assert differences(ingredients(), {"train": 3}) != []


# ------------------------------------------------------------------ cells


def test_a_cell_with_a_good_record_is_taken_from_it(folder: Path) -> None:
    run("pixels+digits")
    (path,) = folder.glob("*.json")
    line = f"pixels+digits-smoke-s0: nothing differs: it is taken from the record {path.name}"
    assert why("pixels+digits") == [line]
    for cell in ("pixels+digits-smoke-s0", path.stem, f"records/{path.name}"):
        assert why(cell, profile=()) == [line]


def test_a_cell_that_was_never_run_says_so() -> None:
    run("pixels+digits")
    (line,) = why("pixels+digits", "--seed", "7")
    assert line.startswith(
        "pixels+digits-smoke-s7: to do: there is no record of pixels+digits at profile smoke with seed 7"
    )


def test_settings_are_named_at_the_stage_they_count_for() -> None:
    run("pixels+digits")
    first, *lines = why(
        "pixels+digits", "--set", "reader.lr=0.5", "--set", "data.test_size=3", "--set", "data.train_size=9"
    )
    assert first.startswith("pixels+digits-smoke-s0: to do; it differs from the record pixels+digits-smoke-s0-")
    assert lines == [
        "  train: setting data.train_size is 9, there 64",
        "  read: setting reader.lr is 0.5, there 0.001",
        "  score: setting data.test_size is 3, there 32",
    ]


def test_code_versions_data_and_device_are_named(folder: Path) -> None:
    run("pixels+digits")
    (path,) = folder.glob("*.json")
    found = json.loads(path.read_text())["ingredients"]
    for stage in found.values():
        stage["code"] = {**stage["code"], "inrbench.pipeline": "old", "inrbench.gone": "older"}
        stage["versions"] = {**stage["versions"], "numpy": "1.0"}
        stage |= {"data": "other", "device": "cuda"}
    edited(folder, ingredients=found, key="f" * 32)
    _, *lines = why("pixels+digits-smoke-s0", profile=())
    said = {line.split(", there")[0].split("; there")[0].rsplit(" is ", 1)[0] for line in lines}
    assert {
        "  train: data checksum",
        "  train: device",
        "  train: module inrbench.pipeline",
        "  train: module inrbench.gone",
    } <= said
    assert next(line for line in lines if "numpy" in line).endswith(", there 1.0")
    assert len(lines) == 5


def test_the_nearest_record_is_the_one_with_the_fewest_settings_that_differ(folder: Path) -> None:
    run("pixels+digits", "--set", "reader.lr=0.5", "--set", "reader.width=24")
    edited(folder, finished="2099-01-01")  # the newest
    run("pixels+digits", "--set", "reader.lr=0.5")
    _, *lines = why("pixels+digits", "--set", "reader.lr=0.25")
    assert lines == ["  read: setting reader.lr is 0.25, there 0.5"]


def test_a_failure_is_run_again_and_its_status_said(folder: Path) -> None:
    run("pixels+digits")
    path = edited(folder, status="timeout", reason="2 h are over")
    assert why("pixels+digits") == [f"pixels+digits-smoke-s0: to do: the record {path.name} says timeout"]


def test_the_same_cell_under_another_name_says_so(folder: Path, tmp_path: Path) -> None:
    run("pixels+digits")
    sweep = tmp_path / "sweep.yaml"
    sweep.write_text("{profile: smoke, cells: [{run: pixels+digits, label: control}]}")
    first, second = why(str(sweep), profile=())
    assert first.endswith("and another name")
    assert second == '  record: label is control, there ""'


def test_stages_that_are_kept_are_named(tmp_path: Path) -> None:
    import numpy as np

    from inrbench.arrays import save_arrays
    from inrbench.requests import cells_of
    from inrbench.runner import Options
    from inrbench.why import explain

    options = Options(tmp_path / "records", device="cpu")
    cells = cells_of(["wt-two-stage+digits"], profile="smoke")
    (found,) = explain(cells, options)
    assert found.one.planned is not None
    save_arrays(
        tmp_path / "cache" / "stages" / found.one.planned.keys["train"] / "trained.safetensors", {"a": np.zeros(1)}
    )
    assert why("wt-two-stage+digits")[1:] == ["  train: kept in the cache"]
    (rerun,) = explain(cells, replace(options, rerun=True))
    assert rerun.one.stages["train"] == "to do"


def test_the_document_holds_both_values(folder: Path) -> None:
    run("pixels+digits")
    (one,) = json.loads(invoke("why", "pixels+digits", *SMOKE, *CPU, "--set", "reader.lr=0.5", "--json").stdout)
    assert one["differences"] == [
        {"stage": "read", "what": "setting", "name": "reader.lr", "here": 0.5, "there": 0.001}
    ]
    assert differences(ingredients(), {})[0].document().keys() == {"stage", "what", "name", "here"}
    assert (one["done"], one["record"]) == (False, next(folder.glob("*.json")).name)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nothing"], "a cell is METHOD+DATASET, as in mwt+cifar10; given: 'nothing'"),
        (["gone.json"], "there is no record at 'gone.json'"),
        (
            ["pixels+digits-smoke-s0", "--seed", "1"],
            "'pixels+digits-smoke-s0' names a record; --profile, --seed and --set",
        ),
    ],
)
def test_what_is_wrong_is_refused_in_one_line(arguments: list[str], message: str) -> None:
    run("pixels+digits")
    result = invoke("why", *arguments, status=2)
    assert result.stderr.startswith(f"error: {message}")
    assert result.stderr.count("\n") == 1


def test_a_record_that_today_s_code_cannot_ask_for_says_why(folder: Path) -> None:
    run("pixels+digits")
    (path,) = folder.glob("*.json")
    settings = json.loads(path.read_text())["settings"]
    edited(folder, settings={**settings, "reader": {**settings["reader"], "widht": 3}})
    result = invoke("why", "pixels+digits-smoke-s0", status=2)
    assert result.stderr.startswith(
        "error: pixels+digits-smoke-s0 can no longer be asked for: no setting 'reader.widht'"
    )


def test_a_reading_of_a_neural_data_set_is_told_elsewhere(folder: Path) -> None:
    run("pixels+digits")
    edited(folder, artefact={"name": "x"})
    result = invoke("why", "pixels+digits-smoke-s0", status=2)
    assert "was read from a neural data set: `inrbench read --dry-run` tells of it" in result.stderr
