"""Executors are found by the hook, their settings are checked before any work, and runs go through them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from inrbench.cells import resolve
from inrbench.cli import cli
from inrbench.errors import BadSetting, Refused, UnknownName, UsageError
from inrbench.execution.executors import chosen
from inrbench.execution.local import run_locally
from inrbench.execution.slurm_settings import SlurmSettings
from inrbench.runner import Options, devices_of
from inrbench.settings import validated


def test_the_core_offers_its_executors_by_the_hook() -> None:
    done = CliRunner().invoke(cli, ["list", "executors", "--json"])
    rows = {row["name"]: row["distribution"] for row in json.loads(done.stdout)}
    assert {"local": "inrbench", "slurm": "inrbench"}.items() <= rows.items()
    execute, settings = chosen(Options())
    assert execute is run_locally
    assert settings.model_dump() == {}
    shown = CliRunner().invoke(cli, ["show", "slurm", "--json"])
    explained = {row["key"]: row["allowed"] for row in json.loads(shown.stdout)["explained"]}
    assert explained["partition"] == "str or null"
    assert explained["gpus"] == "int >= 0"


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        ({"executor": "slurn"}, UnknownName, "no executor named 'slurn'; did you mean 'slurm'?"),
        ({"executor_settings": {"gpus": 1}}, BadSetting, "no setting 'local.gpus'; there are none"),
        (
            {"executor": "slurm", "executor_settings": {"partion": "main"}},
            BadSetting,
            "no setting 'slurm.partion'; did you mean 'slurm.partition'?",
        ),
        ({"executor": "slurm", "isolate": False}, UsageError, "--in-process runs cells here"),
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


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"time": 7200}, "setting slurm.time=7200: a time is 90s, 10m, 2h or 1d"),
        ({"time": "90"}, "setting slurm.time='90': a time is 90s, 10m, 2h or 1d"),
        ({"time": "soon"}, "setting slurm.time='soon': 'soon' is no time"),
        ({"memory": "much"}, "setting slurm.memory='much': 'much' is no size"),
        ({"gpus": -1}, "setting slurm.gpus=-1: input should be greater"),
        ({"sbatch": {"mem": "3G"}}, "sbatch.mem: inrbench sets it by the setting memory"),
        (
            {"sbatch": {"cpus_per_task": 3}},
            "cpus_per_task: inrbench sets it by the setting --threads and --jobs",
        ),
        ({"sbatch": {"--array": "0-3"}}, "sbatch.--array: inrbench sets it by the setting array"),
        ({"sbatch": {"output": "x"}}, "sbatch.output: inrbench sets it itself"),
        ({"sbatch": {"qos": [1]}}, "setting slurm.sbatch.qos"),
    ],
    ids=str,
)
def test_settings_of_slurm_that_do_not_go_are_named(given: dict[str, Any], message: str) -> None:
    with pytest.raises(BadSetting) as error:
        validated(SlurmSettings, given, "slurm")
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_settings_of_slurm_as_slurm_counts() -> None:
    settings = validated(SlurmSettings, {"time": "90s", "memory": "16G", "account": 1234}, "slurm")
    assert (settings.minutes, settings.seconds, settings.megabytes) == (2, 120.0, 15259)
    assert settings.account == "1234"
    assert validated(SlurmSettings, {"time": "1.5h", "memory": "2GiB"}, "slurm").minutes == 90
    none = validated(SlurmSettings, {}, "slurm")
    assert (none.minutes, none.seconds, none.megabytes) == (0, None, None)


@pytest.mark.parametrize(
    ("given", "asked", "torch", "numpy"),
    [
        ({}, "auto", "cpu", "cpu"),
        ({"gpus": 1}, "auto", "cuda:0", "cpu"),
        ({"gpus": 1}, "cpu", "cpu", "cpu"),
        ({"gpus": 2}, "cuda:1", "cuda:1", Refused),
        ({"gpus": 1}, "cuda", "cuda:0", Refused),
        ({"sbatch": {"gres": "gpu:a100:1"}}, "auto", "cuda:0", "cpu"),
        ({}, "cuda", Refused, Refused),
        ({"gpus": 1}, "cuda:1", Refused, Refused),
        ({"gpus": 1}, "gpu", Refused, Refused),
    ],
    ids=str,
)
def test_the_device_of_a_job_is_decided_without_one(given: dict[str, Any], asked: str, torch: Any, numpy: Any) -> None:
    """The machine that submits has no GPU; the kind of device is part of the key."""
    settings = validated(SlurmSettings, given, "slurm")
    for name, expected in (("mwt+digits", torch), ("pixels+digits", numpy)):
        cell = resolve(*name.split("+"), profile="smoke", overrides=[{"reader": "knn"}] if name[0] == "p" else [])
        if isinstance(expected, str):
            assert settings.device(cell, asked) == expected
        else:
            with pytest.raises(expected):
                settings.device(cell, asked)


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
