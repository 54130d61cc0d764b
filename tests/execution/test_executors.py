"""Executors are found by the hook, their settings are checked before any work, and runs go through them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from inrbench.cli import cli
from inrbench.errors import BadSetting, UnknownName, UsageError
from inrbench.execution.executors import chosen
from inrbench.execution.local import run_locally
from inrbench.runner import Options, devices_of


def test_the_core_offers_its_executors_by_the_hook() -> None:
    done = CliRunner().invoke(cli, ["list", "executors", "--json"])
    rows = {row["name"]: row["distribution"] for row in json.loads(done.stdout)}
    assert {"local": "inrbench"}.items() <= rows.items()
    execute, settings = chosen(Options())
    assert execute is run_locally
    assert settings.model_dump() == {}


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        ({"executor": "locol"}, UnknownName, "no executor named 'locol'; did you mean 'local'?"),
        ({"executor_settings": {"gpus": 1}}, BadSetting, "no setting 'local.gpus'; there are none"),
        ({"wait": False}, UsageError, "--no-wait needs an executor that has a queue"),
    ],
    ids=str,
)
def test_what_does_not_go_is_refused_before_any_work(
    tmp_path: Path, options: dict[str, Any], kind: type[Exception], message: str
) -> None:
    with pytest.raises(kind) as error:
        devices_of([], Options(tmp_path, **options))
    assert message in str(error.value)


@pytest.mark.cells
def test_a_plugin_brings_an_executor(place: Any) -> None:
    sweep = {"profile": "smoke", "cells": [{"run": "trouble+dots", "grid": {"fitter.number": [0, 1]}}]}
    (place.folder / "sweep.yaml").write_text(json.dumps(sweep))
    done = place.run("sweep.yaml", "--executor", "backwards", "--with", "word=last first", "--jobs", "1")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == "last first"
    assert "number=1" in lines[1]
    assert len(place.records()) == 2
    done = place.run("sweep.yaml", "--executor", "backwards", "--with", "wrd=x")
    assert done.returncode == 2
    assert done.stderr == "error: no setting 'backwards.wrd'; did you mean 'backwards.word'? known: backwards.word\n"
