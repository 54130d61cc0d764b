"""Requests that are wrong: one clear line, exit status 2, no traceback, and nothing is computed or downloaded."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from inrbench.cli import cli


@pytest.fixture(autouse=True)
def _no_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("work was started")

    monkeypatch.setattr("inrbench.execution.supervisor.Supervisor.run", refuse)
    monkeypatch.setattr("inrbench.data.opened.download_file", refuse)
    monkeypatch.chdir(tmp_path)


def refused(*arguments: str, status: int = 2) -> str:
    result: Result = CliRunner().invoke(cli, ["run", *arguments], catch_exceptions=False)
    assert (result.exit_code, result.stdout, result.stderr.count("\n")) == (status, "", 1), result.output
    assert result.stderr.startswith("error: ")
    assert not list(Path().glob("records/*"))
    return result.stderr.removeprefix("error: ").rstrip("\n")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("mtw+digits", "no method named 'mtw'; did you mean 'mwt'? known: "),
        ("mwt+digit", "no data set named 'digit'; did you mean 'digits'? known: bach, beat, "),
        ("mwt+digits --profile papre", "no profile named 'papre'; did you mean 'paper'? known: laptop, paper, smoke"),
        ("mwt", "a cell is METHOD+DATASET, as in mwt+cifar10; given: 'mwt'"),
        ("mwt+", "a cell is METHOD+DATASET, as in mwt+cifar10; given: 'mwt+'"),
        ("mwt+folder", "data set 'folder': 'folder' needs a place, as in 'folder:PATH'"),
        ("mwt+digits:3", "data set 'digits:3': 'digits' takes none, as in 'digits'"),
        ("nothing.yaml", "sweep file 'nothing.yaml' cannot be read: "),
        ("mwt,wtt+digits", "no method named 'wtt'; did you mean 'wt'? known: "),
    ],
)
def test_an_unknown_name_is_answered_with_the_nearest(arguments: str, message: str) -> None:
    assert refused(*arguments.split()).startswith(message)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("fitter.step=3", "no setting 'fitter.step'; did you mean 'fitter.steps'? known: fitter.compile, "),
        ("fitter.train.epoch=3", "no setting 'fitter.train.epoch'; did you mean 'fitter.train.epochs'? known: fitter"),
        ("fiter.steps=3", "no setting 'fiter'; did you mean 'fitter'? known: data, fitter, inr, joint, reader"),
        ("fitter.steps=four", "setting fitter.steps='four': input should be a valid integer"),
        ("fitter.steps=2.5", "setting fitter.steps=2.5: input should be a valid integer"),
        ("fitter.steps=true", "setting fitter.steps=True: input should be a valid integer"),
        ("fitter.steps=0", "setting fitter.steps=0: input should be greater than or equal to 1"),
        ("fitter.lr=-1e-4", "setting fitter.lr=-0.0001: input should be greater than 0"),
        ("fitter.lr=nan", "setting fitter.lr=nan: input should be a finite number"),
        ("fitter.rates=none", "setting fitter.rates='none': input should be 'per-step' or 'shared'"),
        ("data.validation=1", "setting data.validation=1: input should be less than 1"),
        ("data.train_size=1000000", "setting data.train_size=1000000: there are only 1437 signals"),
        ("data.scored=validation", "data.scored=validation needs held-out signals: say --set data.validation=0.2 too"),
        ("fitter.steps", "--set takes KEY=VALUE, as in --set fitter.steps=4; given: 'fitter.steps'"),
        ("fitter.steps=[1", "--set fitter.steps: '[1' is not a YAML value: "),
        ("fitter.steps=2020-13-45", "--set fitter.steps: '2020-13-45' is not a YAML value: month must be in 1..12"),
        ("fitter={1: 2}", "--set fitter: a key is no text: '1'; put it in quotes"),
        ("fitter=7", "setting 'fitter' takes a name, as in --set fitter=NAME; given: 7"),
        ("data=7", "'data' holds settings, as in --set data.train_size=1000; given: 7"),
        ("joint=true", "'joint' holds settings, as in --set joint.share=0.01; given: True"),
    ],
)
def test_a_setting_of_the_wrong_name_type_or_range_is_refused(setting: str, message: str) -> None:
    assert refused("mwt+digits", "--profile", "smoke", "--set", setting).startswith(message)


@pytest.mark.parametrize(
    ("cell", "setting", "message"),
    [
        (
            "pixels+digits",
            "reader=weight-transformer",
            "reader 'weight-transformer' reads weights, but fitter 'samples' gives samples; readers of ",
        ),
        ("mwt+digits", "fitter=gradient-descent", "fitter 'gradient-descent' cannot train jointly; --set joint=null "),
        ("pixels+digits", "joint.share=0.1", "fitter 'samples' cannot train jointly; --set joint=null trains in two"),
        ("mwt+digits", "reader=null", "joint training needs a reader: say --set reader=NAME, or --set joint=null"),
        ("siren+digits", "reader.width=3", "no reader is chosen; settings were given for it: width; say --set reader="),
        ("pixels+digits", "inr.width=3", "fitter 'samples' adapts no INR, so 'inr' has no settings here"),
        ("mwt+digits", "fitter.backend=jax", "fitter 'meta-sgd' exists for torch, but jax is needed here"),
        ("mwt+digits", "reader=mpl", "no reader named 'mpl'; did you mean 'mlp'? known: "),
    ],
)
def test_parts_that_do_not_fit_are_named_with_what_would(cell: str, setting: str, message: str) -> None:
    assert refused(cell, "--set", setting).startswith(message)


@pytest.mark.parametrize(
    ("device", "message"),
    [
        ("gpu", "device 'gpu': allowed are auto, cpu, cuda and cuda:0, cuda:1, ..."),
        ("cuda:7777", "device 'cuda:7777': this machine has "),
        ("cuda:x", "device 'cuda:x': allowed are auto, cpu, cuda and cuda:0, cuda:1, ..."),
    ],
)
def test_a_device_that_is_not_there_is_refused(device: str, message: str) -> None:
    assert refused("mwt+digits", "--profile", "smoke", "--device", device).startswith(message)


def test_parts_too_large_for_the_machine_end_in_one_line() -> None:
    message = refused("mwt+digits", "--profile", "smoke", "--set", "inr.width=1000000000000000", status=1)
    assert message.startswith("mwt+digits-smoke-s0: its parts do not fit into memory: ")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[1, 2]", "sweep file 'sweep.yaml' must hold a mapping with `cells:`"),
        ("cells: [", "sweep file 'sweep.yaml' is not YAML: while parsing"),
        ("a: 2020-13-45", "sweep file 'sweep.yaml' is not YAML: month must be in 1..12"),
        ("a: !!python/object/apply:os.system [ls]", "sweep file 'sweep.yaml' is not YAML: could not determine a const"),
        ("cells: []", "setting sweep.yaml.cells=[]: list should have at least 1 item"),
        ("cels: []", "no setting 'sweep.yaml.cels'; did you mean 'sweep.yaml.cells'"),
        (
            "seeds: [-1]\ncells: [{run: mwt+digits}]",
            "setting sweep.yaml.seeds.0=-1: input should be greater than or equal to 0",
        ),
        (
            "cells: [{run: mwt+digits, set: {fitter.step: 3}}]",
            "sweep.yaml.cells.0: no setting 'fitter.step'; did you mean 'fitter.steps'",
        ),
    ],
)
def test_a_sweep_file_that_is_none_is_refused(text: str, message: str) -> None:
    Path("sweep.yaml").write_text(text)
    assert refused("sweep.yaml").startswith(message)


def test_records_that_cannot_be_written_are_found_out_first() -> None:
    Path("file").write_text("")
    message = refused("mwt+digits", "--records", "file/records")
    assert message == "records cannot be written to 'file/records' (Not a directory); say --records DIR"
