"""Requests: sweep files and lines of the shell, as cells."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from inrbench.errors import BadSetting, UnknownName, UsageError
from inrbench.keys import stage_keys
from inrbench.requests import cells_of, rows_without_cells
from inrbench.sweeps import load_sweep

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


# ------------------------------------------------------------------ grids, zipped lists, labels


GRID = """
profile: smoke
seeds: [0, 1]
cells:
  - run: siren+digits
    grid: {fitter.steps: [3, 4]}
    zip: {inr.width: [8, 9], inr.depth: [2, 3]}
"""


def varied(cells: list[Any], *keys: str) -> list[tuple[Any, ...]]:
    return [tuple(cell.tree()[key.split(".")[0]][key.split(".")[1]] for key in keys) for cell in cells]


def test_a_grid_is_every_combination_and_zipped_lists_go_together(sweep: Any) -> None:
    cells = cells_of([str(sweep(GRID))])
    keys = ("inr.width", "inr.depth", "fitter.steps")
    assert varied(cells[::2], *keys) == [(8, 2, 3), (9, 3, 3), (8, 2, 4), (9, 3, 4)]
    assert [cell.seed for cell in cells] == [0, 1] * 4
    assert cells[0].label == "fitter.steps=3, inr.width=8, inr.depth=2"


def test_settings_of_the_sweep_hold_on_every_line_below_the_lines_own(sweep: Any) -> None:
    text = """
    profile: smoke
    set: {inr: {width: 8, depth: 2}, fitter.steps: 3}
    cells:
      - run: siren+digits
      - {run: siren+digits, set: {inr.width: 9}, grid: {fitter.steps: [4]}}
    """
    keys = ("inr.width", "inr.depth", "fitter.steps")
    assert varied(cells_of([str(sweep(text))]), *keys) == [(8, 2, 3), (9, 2, 4)]


def test_a_part_and_a_tree_can_be_varied(sweep: Any) -> None:
    text = "{profile: smoke, cells: [{run: siren+digits, zip: {reader: [null, mlp], inr: [{width: 8}, {width: 9}]}}]}"
    cells = cells_of([str(sweep(text))])
    assert [cell.plugins["reader"] and cell.plugins["reader"].name for cell in cells] == [None, "mlp"]
    assert varied(cells, "inr.width") == [(8,), (9,)]
    assert [cell.label for cell in cells] == ["reader=null, inr={width: 8}", "reader=mlp, inr={width: 9}"]


def test_a_label_is_filled_with_what_the_cell_has(sweep: Any) -> None:
    text = """
    cells:
      - {run: siren+digits, label: "{method} on {dataset}, {fitter.name}, rate {fitter.lr}", set: {fitter.lr: 1e-4}}
    """
    (cell,) = cells_of([str(sweep(text))])
    assert cell.label == "siren on digits, gradient-descent, rate 0.0001"
    assert cell.name == "siren+digits-paper-s0-siren-on-digits-gradient-descent-rate-0.0001"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("grid: {inr.width: []}", "setting sweep.yaml.cells.0.grid.inr.width=[]: list should have at least 1 item"),
        ("grid: {inr.width: 8}", "setting sweep.yaml.cells.0.grid.inr.width=8: input should be a valid list"),
        ("grid: {inr.widht: [8]}", "sweep.yaml.cells.0: no setting 'inr.widht'; did you mean 'inr.width'? known: "),
        ("grids: {inr.width: [8]}", "no setting 'sweep.yaml.cells.0.grids'; did you mean 'sweep.yaml.cells.0.grid'?"),
        (
            "zip: {inr.width: [8, 9], inr.depth: [2]}",
            "sweep.yaml.cells.0: `zip` takes lists of one length; given: {'inr.width': 2, 'inr.depth': 1}",
        ),
        (
            "set: {inr.width: 8}, grid: {inr.width: [9]}",
            "sweep.yaml.cells.0: 'inr.width' stands more than once in `set`, `grid`, `zip` and `search`",
        ),
        (
            "label: 'width {inr.widht}'",
            "sweep.yaml.cells.0: {inr.widht} is no setting of this cell; did you mean 'inr.width'? known: ",
        ),
    ],
)
def test_what_varies_wrongly_is_refused_in_one_line(sweep: Any, line: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        cells_of([str(sweep(f"cells: [{{run: siren+digits, {line}}}]"))])
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


# ------------------------------------------------------------------ published values

PAPERS = """
paper:
  source: "Author, A Paper, 2026"
  tables:
    table1:
      title: "A table"
      rows:
      - {method: siren, steps: 3, digits: [50.0, 1.0], psnr_db: 20.5}
      - {method: siren, steps: 4, digits: 60.0, psnr_db: 21.5}
      - {method: another, digits: 70.0}
      - {method: third, digits: null}
"""
PUBLISHED = """
title: A table
profile: smoke
published: paper.table1
columns: {accuracy: "{dataset}"}
cells:
  - run: siren+digits
    grid: {fitter.steps: [3, 4]}
    published: {method: "{method}", steps: "{fitter.steps}"}
published_only: [{method: another}, {method: third}]
"""


@pytest.fixture
def published(sweep: Any) -> Path:
    path: Path = sweep(PUBLISHED)
    path.with_name("published.yaml").write_text(PAPERS)
    return path


def test_cells_carry_the_row_that_their_line_selects(published: Path) -> None:
    first, second = cells_of([str(published)])
    assert first.published is not None
    assert first.published["row"] == {"method": "siren", "steps": 3}
    assert first.published["metrics"] == {"accuracy": 0.5, "accuracy_sd": 0.01, "psnr_db": 20.5}
    assert first.published["source"] == "Author, A Paper, 2026"
    assert second.published is not None
    assert second.published["metrics"] == {"accuracy": 0.6, "psnr_db": 21.5}


def test_a_row_is_that_of_the_sweep_whatever_is_set_and_what_was_changed_is_said(published: Path) -> None:
    (own, _) = cells_of([str(published)])
    (set_, _) = cells_of([str(published)], overrides=[{"fitter": {"steps": 9}, "inr": {"width": 5}}])
    assert own.published is not None
    assert set_.published == {**own.published, "changed": ["fitter.steps", "inr.width"]}
    (other, _) = cells_of([str(published)], profile="laptop", seeds=[3])
    assert other.published == own.published


def test_what_is_published_is_part_of_no_key(published: Path) -> None:
    cell = cells_of([str(published)])[0]
    assert stage_keys(cell, "c", "cpu") == stage_keys(replace(cell, published=None, label=""), "c", "cpu")


def test_rows_without_cells_are_those_of_the_sweeps_data_sets(published: Path) -> None:
    (row,) = rows_without_cells(published)  # the third method has no value there
    assert (row.name, row.dataset, row.table.name) == ("another", "digits", "paper.table1")
    assert row.metrics == {"accuracy": 0.7}


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("[3, 4]", "[3, 5]", "sweep.yaml.cells.0: no row of paper.table1 has steps 5; there are: 3, 4"),
        (', steps: "{fitter.steps}"', "", "sweep.yaml.cells.0: 2 rows of paper.table1 fit {'method': 'siren'}; name"),
        (", steps: ", ", step: ", "sweep.yaml.cells.0: paper.table1 has no column 'step'; did you mean 'steps'?"),
        ("{fitter.steps}", "{fitter.step}", "sweep.yaml.cells.0: {fitter.step} is no setting of this cell; did you"),
        ("third", "fourth", "sweep.yaml.published_only.1: no row of paper.table1 has method fourth; there are: siren"),
        ('"{dataset}"', "mnist", "sweep.yaml.published_only.0: paper.table1 has no column 'mnist'; "),
        ("paper.table1", "paper.table2", "sweep.yaml.published_only.0: no table 'paper.table2' in "),
        ("accuracy: ", "acuracy: ", "no setting 'sweep.yaml.columns.acuracy'; did you mean 'sweep.yaml.columns.acc"),
        (
            "published: paper.table1",
            "",
            "sweep.yaml.published_only.0: it selects a published row, but the sweep names no table; say `published: ",
        ),
    ],
)
def test_a_published_row_that_is_not_one_is_refused_with_file_and_line(
    published: Path, old: str, new: str, message: str
) -> None:
    published.write_text(PUBLISHED.replace(old, new))
    with pytest.raises(UsageError) as caught:
        cells_of([str(published)])
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)
