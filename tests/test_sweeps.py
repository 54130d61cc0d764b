"""Sweep files: what is left out, what tables compare with, and the schema that editors read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pydantic
import pytest
import yaml

from inrbench.errors import UsageError
from inrbench.requests import cells_of
from inrbench.sweeps import load_sweep, schema

LEADERBOARDS = Path(__file__).resolve().parent.parent / "leaderboards"
SWEEP = """
profile: smoke
seeds: [0, 1]
cells:
  - run: siren,pixels+digits
  - run: siren+digits
    label: "{inr.width} wide"
    grid: {inr.width: [8, 9], fitter.steps: [3, 4]}
"""


@pytest.fixture
def sweep(tmp_path: Path) -> Any:
    def write(more: str = "", text: str = SWEEP) -> Path:
        path = tmp_path / "sweep.yaml"
        path.write_text(text + more)
        return path

    return write


def found(path: Path, **asked: Any) -> list[tuple[str, int]]:
    return [(str(cell.tree()), cell.seed) for cell in cells_of([str(path)], **asked)]


# ------------------------------------------------------------------ what is left out


@pytest.mark.parametrize(
    ("wanted", "left"),
    [
        ("{method: pixels}", 10),
        ("{method: pixels, seed: 1}", 11),
        ("{method: [pixels, siren], seed: 1}", 6),
        ("{dataset: digits, label: 8 wide}", 8),
        ("{inr.width: 8}", 8),
        ("{inr: {width: [8, 9]}, fitter.steps: 3}", 8),
        ("{inr.width: [8, 9], fitter.steps: 3, seed: 0}", 10),
        ("{reader: mlp}", 10),
        ("{reader.name: [mlp, knn], seed: 0}", 11),
        ("{fitter: samples}", 10),
        ("{fitter.lr: 7e-3, inr.width: 9}", None),
        ("{joint: null, method: siren, inr.width: 8}", 8),
    ],
)
def test_a_cell_that_is_all_of_an_exclusion_is_left_out(sweep: Any, wanted: str, left: int | None) -> None:
    whole = found(sweep())
    assert len(whole) == 12
    path = sweep(f"exclude: [{wanted}]")
    if left is None:
        with pytest.raises(UsageError, match=r"^sweep.yaml.exclude.0: no cell is \{fitter.lr: 7e-3, inr.width: 9\}$"):
            found(path)
    else:
        assert len(found(path)) == left
        assert set(found(path)) < set(whole)


def test_exclusions_add_up_and_hold_for_what_the_file_says(sweep: Any) -> None:
    path = sweep("exclude: [{method: pixels}, {inr.width: 8}, {seed: 1, inr.width: 9}]")
    kept = [(cell.label, cell.seed) for cell in cells_of([str(path)])]
    assert kept == [("", 0), ("", 1), ("9 wide", 0), ("9 wide", 0)]
    # with other seeds and settings the same lines are left out, and nothing is said of the seed that is not run
    set_ = cells_of([str(path)], seeds=[5], overrides=[{"inr": {"width": 4}}])
    assert [(cell.label, cell.seed, cell.tree()["inr"]["width"]) for cell in set_] == [
        ("", 5, 4),
        ("9 wide", 5, 4),
        ("9 wide", 5, 4),
    ]
    assert len(cells_of([str(path)], seeds=[1])) == 1


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ("exclude: [{method: mwt}]", "sweep.yaml.exclude.0: no cell is {method: mwt}"),
        ("exclude: [{seed: 1}, {seed: 7}]", "sweep.yaml.exclude.1: no cell is {seed: 7}"),
        ("exclude: [{seed: true}]", "sweep.yaml.exclude.0: no cell is {seed: true}"),
        (
            "exclude: [{inr.widht: 8}]",
            "sweep.yaml.exclude.0: no cell has 'inr.widht'; did you mean 'inr.width'? known: ",
        ),
        ("exclude: [{dataset: digits}]", "sweep.yaml.exclude: it leaves no cell"),
        ("exclude: [{}]", "setting sweep.yaml.exclude.0={}: dictionary should have at least 1 item"),
        ("exclude: {seed: 1}", "setting sweep.yaml.exclude={'seed': 1}: input should be a valid list"),
        ("baselines: {wide: {label: 10 wide}}", "sweep.yaml.baselines.wide: no row is {label: 10 wide}"),
        (
            "baselines: {wide: {label: 8 wide}}",
            "sweep.yaml.baselines.wide: 2 rows of digits are {label: 8 wide}; name m",
        ),
        ("baselines: {wide: {lable: 8}}", "sweep.yaml.baselines.wide: no cell has 'lable'; did you mean 'label'?"),
        ("baselines: [siren]", "setting sweep.yaml.baselines=['siren']: input should be a valid dict"),
    ],
)
def test_what_picks_nothing_is_refused_with_its_place(sweep: Any, more: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        cells_of([str(sweep(more))])
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


def test_a_baseline_is_one_row_of_each_data_set(sweep: Any) -> None:
    assert cells_of([str(sweep("baselines: {pixels: {method: pixels}, narrow: {inr.width: 8, fitter.steps: 3}}"))])
    both = SWEEP.replace("siren,pixels+digits", "siren,pixels+digits,mnist")
    assert cells_of([str(sweep("baselines: {pixels: {method: pixels}}", both))])


def test_a_sweep_of_more_cells_than_anybody_runs_is_refused_at_once(sweep: Any) -> None:
    values = f"[{', '.join(map(str, range(1, 101)))}]"
    grid = ", ".join(f"{key}: {values}" for key in ("inr.width", "inr.depth", "fitter.steps"))
    text = f"profile: smoke\ncells: [{{run: siren+digits, grid: {{{grid}}}}}]"
    with pytest.raises(
        UsageError, match=r"^sweep.yaml.cells.0: its grid has 1,000,000 rows; a sweep has at most 100,000"
    ):
        cells_of([str(sweep(text=text))])
    few = text.replace(f", fitter.steps: {values}", "").replace(values, "[1, 2, 3, 4]")
    with pytest.raises(UsageError, match=r"^sweep.yaml: it spans more than 100,000 cells$"):
        cells_of([str(sweep(text=few))], seeds=range(10000))


# ------------------------------------------------------------------ the schema


def test_the_published_schema_is_what_the_code_says() -> None:
    tested = dict(
        line.split("==") for line in (LEADERBOARDS.parent / "constraints.txt").read_text().split() if "==" in line
    )
    if tested["pydantic"] != pydantic.VERSION:
        pytest.skip("another pydantic writes the same in other words")
    assert (LEADERBOARDS / "sweep.schema.json").read_text() == schema(), (
        "inrbench schema -o leaderboards/sweep.schema.json"
    )


def test_the_schema_knows_every_key_and_no_other() -> None:
    tree = json.loads(schema())
    assert set(tree["properties"]) >= {"cells", "seeds", "exclude", "baselines", "set"}
    assert tree["additionalProperties"] is False
    assert tree["required"] == ["cells"]
    line = tree["$defs"]["SweepCell"]
    assert set(line["properties"]) == {"run", "label", "set", "grid", "zip", "search", "published", "columns"}
    assert all(line["properties"][key]["description"] for key in line["properties"])
    assert tree["$defs"]["Axis"]["oneOf"] == [{"required": ["low", "high"]}, {"required": ["choices"]}]


@pytest.mark.parametrize("path", sorted(LEADERBOARDS.rglob("*.yaml")), ids=lambda path: path.name)
def test_every_sweep_here_names_the_schema_and_is_one(path: Path) -> None:
    if path.name == "published.yaml":
        pytest.skip("values, no sweep")
    first, *_ = path.read_text().splitlines()
    named = (path.parent / first.removeprefix("# yaml-language-server: $schema=")).resolve()
    assert named == LEADERBOARDS / "sweep.schema.json"
    load_sweep(path)
    assert set(yaml.safe_load(path.read_text())) <= set(json.loads(schema())["properties"])
