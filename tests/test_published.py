"""Published values: one row selected, in the units of a record, and compared with ours only where that is fair."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from inrbench.errors import UnknownName, UsageError
from inrbench.published import PublishedTable, badge, load_table, selected

PAPERS = """
a-paper:
  source: "Author, A Paper, 2026"
  tables:
    table1:
      title: "A table"
      rows:
      - {method: a, mnist: [98.33, 0.11], cifar10: null}
      - {method: b, mnist: 17.55, cifar10: [56.9, 0.29]}
    table2:
      title: "Ablations"
      rows:
      - {axis: k, value: 1, accuracy: 49.7, psnr_db: 23.63}
      - {axis: k, value: 2, accuracy: 52.46, psnr_db: [25.24, 0.5]}
      - {axis: shared, value: true, accuracy: 54.38, psnr_db: null, reader_params: "1.1M"}
    text: {title: "No table", mflops: 3}
"""
DEFAULT: dict[str, str | None] = {"accuracy": None, "psnr_db": None}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "published.yaml").write_text(PAPERS)
    return tmp_path


@pytest.fixture
def ablations(folder: Path) -> PublishedTable:
    return load_table(folder, "a-paper.table2")


# ------------------------------------------------------------------ tables and rows


def test_a_table_has_its_title_its_papers_source_and_its_rows(ablations: PublishedTable) -> None:
    assert (ablations.name, ablations.title) == ("a-paper.table2", "Ablations")
    assert ablations.source == "Author, A Paper, 2026"
    assert ablations.columns == ["axis", "value", "accuracy", "psnr_db", "reader_params"]
    assert ablations.row({"axis": "k", "value": 2})["accuracy"] == 52.46


def test_values_are_in_the_units_of_a_record(ablations: PublishedTable) -> None:
    row = ablations.row({"axis": "k", "value": 2.0})
    assert ablations.metrics(row, DEFAULT) == {"accuracy": 0.5246, "psnr_db": 25.24, "psnr_db_sd": 0.5}


def test_a_column_can_be_named_and_what_is_not_printed_is_left_out(folder: Path) -> None:
    table = load_table(folder, "a-paper.table1")
    assert table.metrics(table.rows[0], {"accuracy": "mnist"}) == {"accuracy": 0.9833, "accuracy_sd": 0.0011}
    assert table.metrics(table.rows[0], {"accuracy": "cifar10"}) == {}
    assert table.metrics(table.rows[1], {"accuracy": "mnist"}) == {"accuracy": 0.1755}


def test_true_is_not_the_number_1(ablations: PublishedTable) -> None:
    assert ablations.row({"value": True})["axis"] == "shared"
    assert ablations.row({"value": 1})["axis"] == "k"


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ({"axis": "k"}, "2 rows of a-paper.table2 fit {'axis': 'k'}; name more of: axis, value, accuracy"),
        ({"axis": "k", "value": 3}, "no row of a-paper.table2 has value 3; there are: 1, 2"),
        ({"axis": "lambda"}, "no row of a-paper.table2 has axis lambda; there are: k, shared"),
        ({"axes": "k"}, "a-paper.table2 has no column 'axes'; did you mean 'axis'? known: accuracy, axis"),
    ],
)
def test_a_selection_of_no_row_or_of_several_is_refused(
    ablations: PublishedTable, wanted: dict[str, Any], message: str
) -> None:
    with pytest.raises(UsageError) as caught:
        ablations.row(wanted)
    assert str(caught.value).startswith(message)


def test_a_column_that_is_not_there_or_holds_no_number_is_refused(ablations: PublishedTable) -> None:
    row = ablations.row({"axis": "shared"})
    with pytest.raises(UnknownName, match="table2 has no column 'acuracy'; did you mean 'accuracy'"):
        ablations.metrics(row, {"accuracy": "acuracy"})
    with pytest.raises(UsageError, match=r"column 'reader_params' of a-paper\.table2 holds no number: '1\.1M'"):
        ablations.metrics(row, {"accuracy": "reader_params"})


def test_a_row_that_prints_nothing_in_the_columns_is_refused(folder: Path) -> None:
    table = load_table(folder, "a-paper.table1")
    with pytest.raises(UsageError, match=r"the row {'method': 'a'} of a-paper.table1 prints no accuracy, PSNR or IoU"):
        selected(table, {"method": "a"}, {"accuracy": "cifar10"})


def test_what_a_cell_carries_names_table_source_and_row(ablations: PublishedTable) -> None:
    assert selected(ablations, {"axis": "k", "value": 1}, DEFAULT) == {
        "table": "a-paper.table2",
        "title": "Ablations",
        "source": "Author, A Paper, 2026",
        "row": {"axis": "k", "value": 1},
        "metrics": {"accuracy": 0.497, "psnr_db": 23.63},
        "changed": [],
    }


# ------------------------------------------------------------------ files


def test_a_table_that_is_not_there_is_answered_with_the_nearest(folder: Path) -> None:
    with pytest.raises(UnknownName, match=r"no table 'a-paper.table3' in .*; did you mean 'a-paper.table[12]'\? known"):
        load_table(folder, "a-paper.table3")
    with pytest.raises(UnknownName, match=r"no table 'a-paper.text' in"):
        load_table(folder, "a-paper.text")


def test_a_file_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"published values '.*published.yaml' cannot be read: .*No such file"):
        load_table(tmp_path, "a.b")


@pytest.mark.parametrize("text", ["a: [", "- a", "a: 1", "a: {source: x}", "2026-02-31"])
def test_a_file_laid_out_otherwise_is_one_line(tmp_path: Path, text: str) -> None:
    (tmp_path / "published.yaml").write_text(text)
    with pytest.raises(UsageError, match=r"published values '.*published.yaml' are not YAML|it must map papers") as one:
        load_table(tmp_path, "a.b")
    assert "\n" not in str(one.value)


# ------------------------------------------------------------------ badges


def record(**changes: Any) -> dict[str, Any]:
    published = {"metrics": {"accuracy": 0.5, "accuracy_sd": 0.01, "psnr_db": 30.0}, "changed": []}
    return {"profile": "paper", "data": {"official": True}, "published": published, **changes}


NAN = float("nan")


@pytest.mark.parametrize(
    ("accuracy", "half", "psnr", "psnr_half", "said"),
    [
        (0.53, 0.031, 30.0, 0.0, "accuracy reproduced, PSNR reproduced"),  # within our interval
        (0.519, 0.001, 29.0, 0.5, "accuracy reproduced, PSNR below"),  # within 2 published standard deviations
        (0.53, 0.029, 31.0, 0.5, "accuracy above, PSNR above"),
        (0.47, NAN, 29.5, NAN, "accuracy below, PSNR below"),  # one seed, no interval
        (NAN, NAN, 29.9, 0.2, "PSNR reproduced"),  # not measured
        (NAN, NAN, NAN, NAN, ""),
    ],
)
def test_a_badge_is_computed_from_the_two(
    accuracy: float, half: float, psnr: float, psnr_half: float, said: str
) -> None:
    assert badge(record(), {"accuracy": (accuracy, half), "psnr_db": (psnr, psnr_half)}) == said


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"profile": "laptop"}, "other profile"),
        ({"data": {"official": False}}, "unofficial data"),
        ({"profile": "smoke", "data": {"official": False}}, "other profile, unofficial data"),
        (
            {"published": {"metrics": {"accuracy": 0.5}, "changed": ["inr.width", "joint.share"]}},
            "other settings: inr.width, joint.share",
        ),
    ],
)
def test_a_cell_that_is_not_the_published_one_is_not_compared(changes: dict[str, Any], said: str) -> None:
    assert badge(record(**changes), {"accuracy": (0.5, 0.1), "psnr_db": (30.0, 1.0)}) == said


def test_a_column_that_is_said_to_hold_an_estimate_is_not_the_full_psnr(tmp_path: Path) -> None:
    text = "p: {source: S, tables: {t: {title: T, rows: [{k: 1, accuracy: 50.0, psnr_db: [21.0, 0.5]}]}}}"
    (tmp_path / "published.yaml").write_text(text)
    table = load_table(tmp_path, "p.t")
    plain = selected(table, {"k": 1}, {})["metrics"]
    assert plain == {"accuracy": 0.5, "psnr_db": 21.0, "psnr_db_sd": 0.5}
    estimate = selected(table, {"k": 1}, {"accuracy": None, "psnr_db": None, "psnr_estimate_db": "psnr_db"})
    assert estimate["metrics"] == {"accuracy": 0.5, "psnr_estimate_db": 21.0, "psnr_estimate_db_sd": 0.5}
    record = {"profile": "paper", "data": {"official": True}, "published": estimate}
    ours = {"accuracy": (0.5, 0.1), "psnr_db": (30.0, 0.1), "psnr_estimate_db": (20.5, 0.1)}
    assert badge(record, ours) == "accuracy reproduced, PSNR estimate reproduced"
