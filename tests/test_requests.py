"""Requests: sweep files and lines of the shell, as cells."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from inrbench.errors import BadSetting, UnknownName, UsageError
from inrbench.requests import cells_of, load_sweep

SWEEP = """
title: A sweep
profile: smoke
seeds: [0, 2]
cells:
  - run: siren,pixels+digits
  - run: siren+digits
    label: a narrow siren
    set: {inr.width: 8, fitter: {steps: 3}}
"""


@pytest.fixture
def sweep(tmp_path: Path) -> Any:
    def write(text: str | bytes = SWEEP) -> Path:
        path = tmp_path / "sweep.yaml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write


def test_a_sweep_spans_its_cells(sweep: Any) -> None:
    cells = cells_of([str(sweep())])
    assert [(cell.name, cell.label) for cell in cells] == [
        ("siren+digits-smoke-s0", ""),
        ("siren+digits-smoke-s2", ""),
        ("pixels+digits-smoke-s0", ""),
        ("pixels+digits-smoke-s2", ""),
        ("siren+digits-smoke-s0-a-narrow-siren", "a narrow siren"),
        ("siren+digits-smoke-s2-a-narrow-siren", "a narrow siren"),
    ]
    assert load_sweep(sweep()).title == "A sweep"
    narrow = cells[-1].tree()
    assert (narrow["inr"]["width"], narrow["fitter"]["steps"]) == (8, 3)


def test_what_is_asked_for_goes_above_what_a_file_says(sweep: Any) -> None:
    over = [{"inr": {"width": 5}}]
    cells = cells_of([str(sweep(SWEEP.replace("siren,pixels", "siren")))], profile="laptop", seeds=[7], overrides=over)
    assert {(cell.profile, cell.seed) for cell in cells} == {("laptop", 7)}
    assert {cell.tree()["inr"]["width"] for cell in cells} == {5}
    assert sorted(cell.tree()["fitter"]["steps"] for cell in cells) == [3, 300]


def test_a_line_of_the_shell_has_the_papers_profile_and_seed_0() -> None:
    (cell,) = cells_of(["siren+digits"])
    assert (cell.profile, cell.seed, cell.label) == ("paper", 0, "")
    assert [cell.seed for cell in cells_of(["siren+digits"], seeds=[3, 1])] == [3, 1]


def test_cells_that_are_asked_for_twice_are_run_once(sweep: Any) -> None:
    cells = cells_of(["siren+digits", "siren+digits"], profile="smoke", seeds=[0, 0])
    assert len(cells) == 1
    both = cells_of([str(sweep()), "siren+digits"], profile="smoke", seeds=[0])
    assert [cell.name for cell in both] == [
        "siren+digits-smoke-s0",
        "pixels+digits-smoke-s0",
        "siren+digits-smoke-s0-a-narrow-siren",
    ]


def test_numbers_in_a_sweep_are_read_as_those_of_set(sweep: Any) -> None:
    (cell,) = cells_of([str(sweep("cells: [{run: siren+digits, set: {fitter.lr: 1e-4}}]"))])
    assert cell.tree()["fitter"]["lr"] == 1e-4


def test_nothing_asked_for_is_refused() -> None:
    with pytest.raises(UsageError, match=r"nothing to run: say METHOD\+DATASET, as in mwt\+cifar10, or a sweep file"):
        cells_of([])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"\xff\xfe\x00\x01", "sweep file '{path}' cannot be read: "),
        ("cells: [", "sweep file '{path}' is not YAML: "),
        ("cells: [{run: siren+digits, label: 2026-02-31}]", "sweep file '{path}' is not YAML: "),
        ("- run: siren+digits", "sweep file '{path}' must hold a mapping with `cells:`"),
        ("", "sweep file '{path}' must hold a mapping with `cells:`"),
        ("!!python/object/apply:os.getcwd []", "sweep file '{path}' is not YAML: "),
    ],
)
def test_what_is_no_sweep_file_is_refused_in_one_line(sweep: Any, text: str | bytes, message: str) -> None:
    path = sweep(text)
    with pytest.raises(UsageError) as caught:
        load_sweep(path)
    assert str(caught.value).startswith(message.format(path=path))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("cels: []", "no setting 'sweep.yaml.cels'; did you mean 'sweep.yaml.cells'? known: "),
        ("cells: []", "setting sweep.yaml.cells=[]: list should have at least 1 item"),
        ("cells: [{run: siren+digits}]\nseeds: []", "setting sweep.yaml.seeds=[]: list should have at least 1 item"),
        ("cells: [{run: siren+digits}]\nseeds: 3", "setting sweep.yaml.seeds=3: input should be a valid list"),
        ("cells: [{run: siren+digits}]\nseeds: [true]", "setting sweep.yaml.seeds.0=True: input should be a valid int"),
        ("cells: [{run: 3}]", "setting sweep.yaml.cells.0.run=3: input should be a valid string"),
        ("cells: [{run: siren+digits, set: 3}]", "setting sweep.yaml.cells.0.set=3: input should be a valid dict"),
    ],
)
def test_a_wrong_entry_of_a_sweep_is_named(sweep: Any, text: str, message: str) -> None:
    with pytest.raises(BadSetting) as caught:
        load_sweep(sweep(text))
    assert str(caught.value).startswith(message)


def test_an_unknown_key_of_a_sweeps_line_shows_the_nearest(sweep: Any) -> None:
    with pytest.raises(BadSetting, match=r"'sweep.yaml.cells.0.lable'; did you mean 'sweep.yaml.cells.0.label'\?"):
        load_sweep(sweep("cells: [{run: siren+digits, lable: x}]"))


def test_a_sweep_without_cells_does_not_send_the_reader_to_set(sweep: Any) -> None:
    with pytest.raises(BadSetting, match=r"sweep\.yaml\.cells") as caught:
        load_sweep(sweep("title: x"))
    assert "--set" not in str(caught.value)


def test_a_file_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"sweep file '.*missing\.yml' cannot be read: .*No such file"):
        cells_of([str(tmp_path / "missing.yml")])


def test_wrong_names_and_settings_in_a_sweep_are_refused(sweep: Any) -> None:
    with pytest.raises(UnknownName, match=r"no profile named 'smok'; did you mean 'smoke'\?"):
        cells_of([str(sweep(SWEEP.replace("profile: smoke", "profile: smok")))])
    with pytest.raises(BadSetting, match=r"no setting 'inr.widht'; did you mean 'inr.width'\?"):
        cells_of([str(sweep(SWEEP.replace("inr.width", "inr.widht")))])
