"""Leaderboards: ranks within lanes, from records made by hand."""

from __future__ import annotations

import csv
import io
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from inrbench import metrics
from inrbench.errors import UsageError
from inrbench.leaderboard import Table, tables, write
from inrbench.published import PublishedRow, PublishedTable
from inrbench.records import read_record, write_record
from inrbench.rows import Row, lane_of, paired_difference, row_of, told_apart

FACTS = {
    "initialisation": "meta-learned",
    "scope": "global",
    "labels_shape_fit": False,
    "shuffled_labels": False,
    "copies": 1,
    "scored_signals": 360,
    "scored_split": "test",
    "scored_checksum": "aa",
    "augmented": False,
}


def record(method: str, seed: int, value: float, metric: str = "accuracy", **changes: Any) -> dict[str, Any]:
    facts = {**FACTS, **changes.pop("facts", {})}
    label = changes.get("label", "")
    return {
        "schema": 1,
        "cell": f"{method}{label}+digits-smoke-s{seed}",
        "key": f"{abs(hash((method, label, seed, str(facts)))):016x}",
        "method": method,
        "label": "",
        "dataset": "digits",
        "profile": "smoke",
        "seed": seed,
        "status": "ok",
        "metrics": {metric: value, f"{metric}_low": value - 0.1, f"{metric}_high": value + 0.1},
        "costs": {"adapted_values": 1234.0, "train_s": 2.0 + seed},
        "settings": {"fitter": {"name": method, "label": label}},
        "data": {"official": True},
        "keys": {},
        "finished": "2026-01-01T00:00:00+00:00",
        "facts": facts,
        **changes,
    }


def rows_of(method: str, values: list[float], **changes: Any) -> list[dict[str, Any]]:
    return [record(method, seed, value, **changes) for seed, value in enumerate(values)]


@pytest.fixture
def board(tmp_path: Path) -> Any:
    def make(*groups: list[dict[str, Any]]) -> list[Table]:
        for group in groups:
            for one in group:
                write_record(tmp_path / "records", one)
        return tables(tmp_path / "records")

    return make


def ranked(table: Table) -> list[tuple[str, int | None]]:
    return [(row.name, rank) for row, rank in zip(table.rows, table.ranks, strict=True)]


# ------------------------------------------------------------------ ranks


def test_rows_rank_by_their_means_and_share_a_rank_where_the_difference_is_not_significant(board: Any) -> None:
    (table,) = board(
        rows_of("worst", [0.10, 0.11, 0.12]),
        rows_of("best", [0.90, 0.91, 0.92]),
        rows_of("second", [0.80, 0.81, 0.82]),
        rows_of("like-second", [0.70, 0.86, 0.81]),
    )
    assert ranked(table) == [("best", 1), ("second", 2), ("like-second", 2), ("worst", 4)]


def test_pairing_tells_rows_apart_that_the_seeds_spread_hides(board: Any) -> None:
    (table,) = board(rows_of("a", [0.50, 0.70, 0.90]), rows_of("b", [0.49, 0.69, 0.891]))
    assert ranked(table) == [("a", 1), ("b", 2)]


def test_one_seed_tells_no_rows_apart(board: Any) -> None:
    (table,) = board(rows_of("a", [0.9]), rows_of("b", [0.1]))
    assert ranked(table) == [("a", 1), ("b", 1)]


def test_rows_of_other_lanes_rank_apart(board: Any) -> None:
    (table,) = board(
        rows_of("a", [0.9, 0.91]),
        rows_of("b", [0.5, 0.51]),
        rows_of("c", [0.7, 0.71], facts={"labels_shape_fit": True}),
    )
    assert ranked(table) == [("a", 1), ("b", 2), ("c", 1)]


def test_reconstructions_rank_by_psnr_behind_what_classifies(board: Any) -> None:
    (table,) = board(
        rows_of("low", [20.0, 20.1], metric="psnr_db"),
        rows_of("high", [30.0, 30.1], metric="psnr_db"),
        rows_of("classifies", [0.1, 0.2]),
    )
    assert ranked(table) == [("classifies", 1), ("high", 2), ("low", 3)]


def test_controls_are_last_and_not_ranked(board: Any) -> None:
    (table,) = board(
        rows_of("pixels", [0.95, 0.96], facts={"scope": "samples", "initialisation": "none"}),
        rows_of("c", [0.99, 0.99], facts={"shuffled_labels": True}),
        rows_of("a", [0.9, 0.91]),
        rows_of("b", [0.5, 0.51]),
    )
    assert ranked(table) == [("a", 1), ("b", 2), ("c, shuffled labels", None), ("pixels", None)]
    assert [cells[0] for cells in table.cells()] == ["1", "2", "control", "control"]


# ------------------------------------------------------------------ lanes and tables


@pytest.mark.parametrize(
    ("facts", "lane"),
    [
        ({}, "meta-learned, global, fit without labels"),
        ({"labels_shape_fit": True}, "meta-learned, global, labels in the fit"),
        (
            {"initialisation": "generated", "scope": "spatial", "copies": 4, "augmented": True},
            "generated, spatial, fit without labels, 4 copies, augmented",
        ),
        ({"observed_views": 1}, "meta-learned, global, from 1 view, fit without labels"),
        ({"observed_views": 2}, "meta-learned, global, from 2 views, fit without labels"),
        ({"pooled": True}, "meta-learned, global, fit without labels, pooled draws"),
        ({"scope": "samples"}, "raw samples"),
    ],
)
def test_a_lane_is_computed_from_facts(facts: dict[str, Any], lane: str) -> None:
    assert lane_of({"facts": {**FACTS, **facts}}) == lane


def test_other_scored_signals_data_sets_and_profiles_are_other_tables(board: Any) -> None:
    found = board(
        rows_of("a", [0.9]),
        rows_of("b", [0.8], facts={"scored_checksum": "bb", "scored_signals": 100}),
        rows_of("c", [0.7], profile="laptop"),
        rows_of("d", [0.6], dataset="mnist"),
    )
    assert [(table.title, [row.name for row in table.rows]) for table in found] == [
        ("digits, profile laptop: test split, 360 signals", ["c"]),
        ("digits, profile smoke: test split, 360 signals", ["a"]),
        ("digits, profile smoke: test split, 100 signals", ["b"]),
        ("mnist, profile smoke: test split, 360 signals", ["d"]),
    ]


def test_other_settings_are_other_rows_and_failures_are_none(board: Any) -> None:
    (table,) = board(
        rows_of("a", [0.9, 0.8]),
        rows_of("a", [0.7], label="wide a"),
        rows_of("b", [0.0], status="crash"),
    )
    assert [(row.name, len(row.records)) for row in table.rows] == [("a", 2), ("wide a", 1)]


def test_a_cell_run_again_by_other_code_counts_once_and_the_newest_counts(board: Any) -> None:
    old, new = record("a", 0, 0.5), record("a", 0, 0.9)
    newest = {**new, "key": "0" * 16, "finished": "2026-02-01T00:00:00+00:00"}
    (table,) = board([old, newest])
    assert table.rows[0].mean("accuracy") == 0.9
    assert table.cells()[0][6] == "0"


# ------------------------------------------------------------------ numbers


def row(values: dict[int, float]) -> Row:
    return Row("r", "lane", False, tuple(record("r", seed, value) for seed, value in values.items()))


def test_a_paired_difference_worked_by_hand() -> None:
    first, second = row({0: 3.0, 1: 5.0, 2: 7.0}), row({0: 1.0, 1: 2.0, 2: 3.0, 9: 0.0})
    mean, low, high = paired_difference(first, second, "accuracy")
    half = 4.302653 * 1.0 / math.sqrt(3)  # differences 2, 3, 4; t of 2 degrees of freedom
    assert (mean, low, high) == pytest.approx((3.0, 3.0 - half, 3.0 + half))


def test_with_one_seed_in_common_the_interval_is_over_signals(tmp_path: Path) -> None:
    def row_at(mse: list[list[float]], ids: list[int], seeds: tuple[int, ...] = (0,)) -> Row:
        records = []
        for seed in seeds:
            vectors = {"ids": np.array(ids), "mse": np.array(mse)}
            psnr_db = metrics.of_vectors(vectors)["psnr_db"]
            one = record(str((mse, ids, seeds)), seed, psnr_db, "psnr_db")
            records.append(read_record(write_record(tmp_path, one, vectors)))
        return row_of(records, tmp_path)

    errors = [[1e-3], [1e-1], [1e-2]]  # 30 and 10, 20 dB
    first = row_at(errors, [7, 7, 8])
    second = row_at([[1e-2], [1e-1], [1e-1]], [7, 7, 8])  # 20 and 10, 10 dB
    mean, low, high = paired_difference(first, second, "psnr_db")
    half = 12.706205 * np.std([5.0, 10.0], ddof=1) / math.sqrt(2)
    assert (mean, low, high) == pytest.approx((7.5, 7.5 - half, 7.5 + half))
    assert math.isnan(paired_difference(first, row_at(errors, [7, 7, 9]), "psnr_db")[1])  # other signals
    again = row_at(errors, [7, 7, 8], (0, 1))
    assert paired_difference(again, again, "psnr_db") == (0.0, 0.0, 0.0)
    for path in tmp_path.glob("*.safetensors"):
        path.unlink()
    assert math.isnan(paired_difference(first, second, "psnr_db")[1])


def test_rows_without_a_common_seed_have_no_difference() -> None:
    assert all(math.isnan(part) for part in paired_difference(row({0: 1.0}), row({1: 1.0}), "accuracy"))
    mean, low, _ = paired_difference(row({0: 1.0}), row({0: 0.5}), "accuracy")
    assert mean == 0.5
    assert math.isnan(low)


def test_a_row_of_one_seed_shows_its_interval_over_signals() -> None:
    assert row({0: 0.5}).half_interval("accuracy") == pytest.approx(0.1)
    assert row({0: 0.4, 1: 0.6}).half_interval("accuracy") == pytest.approx(12.7062 * 0.1, rel=1e-4)
    assert math.isnan(row({0: 0.5}).half_interval("psnr_db"))


def test_the_body_is_percent_and_decibel(board: Any) -> None:
    changes = {"costs": {"adapted_values": 1234.0, "reader_parameters": 56789.0}}
    first, second = board(
        rows_of("a", [0.9], **changes), rows_of("b", [30.123], metric="psnr_db", facts={"scored_checksum": "bb"})
    )
    lane = lane_of(first.rows[0].records[0])
    assert first.cells() == [["1", "a", "90.0 ± 10.0", "–", "1,234", "56,789", "0", lane]]
    assert second.cells() == [["1", "b", "–", "30.12 ± 0.10", "1,234", "–", "0", lane]]


def test_the_page_lists_paired_differences_against_the_first_row(board: Any) -> None:
    (table,) = board(rows_of("a", [0.9, 0.9]), rows_of("b", [0.5, 0.6]))
    assert table.differences() == [
        "Paired differences over seeds, with 95 % intervals:\n\n- a − b: +35.0 points of accuracy [-28.5, +98.5]"
    ]
    assert "- a − b: +35.0" in table.markdown()


def test_unofficial_data_is_marked_on_the_page(board: Any) -> None:
    name = "digits~1a2b3c4d"
    (marked,) = board(rows_of("a", [0.9], dataset=name, data={"official": False}))
    assert f"`{name}` is not the official data set: the mark behind `~` is the hash" in marked.markdown()


def test_official_data_is_not_marked(board: Any) -> None:
    (table,) = board(rows_of("a", [0.9]))
    assert "not the official" not in table.markdown()


def test_the_csv_parses_back_with_unrounded_values(board: Any) -> None:
    (table,) = board(rows_of("a, with a comma", [1 / 3, 2 / 3]), rows_of("pixels", [0.5], facts={"scope": "samples"}))
    first, second = csv.DictReader(io.StringIO(table.csv()))
    shown = [first[column] for column in ("method", "rank", "control", "seeds")]
    assert shown == ["a, with a comma", "1", "False", "0 1"]
    assert float(first["accuracy"]) == 0.5
    assert float(first["accuracy_half_interval"]) == table.rows[0].half_interval("accuracy")
    assert (first["psnr_db"], first["reader_parameters"]) == ("", "")
    assert float(first["train_s"]) == 2.5
    assert (second["rank"], second["control"]) == ("", "True")


def test_a_page_of_two_tables_has_one_csv_with_one_header(board: Any, tmp_path: Path) -> None:
    found = board(rows_of("a", [0.9]), rows_of("b", [0.8], dataset="mnist"))
    page, sheet = write(found, tmp_path / "out", "A title")
    assert (page.name, sheet.name) == ("leaderboard.md", "leaderboard.csv")
    assert page.read_text().startswith("# A title\n")
    assert [line["dataset"] for line in csv.DictReader(io.StringIO(sheet.read_text()))] == ["digits", "mnist"]
    paths = write(found, tmp_path / "elsewhere" / "board.md")
    assert [path.name for path in paths] == ["board.md", "board.csv"]


def test_no_records_are_no_tables(tmp_path: Path) -> None:
    assert tables(tmp_path) == []


def test_rows_of_one_name_are_told_apart_by_the_settings_that_differ(board: Any) -> None:
    def rows(method: str, value: float, **settings: Any) -> list[dict[str, Any]]:
        return rows_of(method, [value, value], settings=settings, key=f"{round(1e6 * value):08d}")

    (table,) = board(
        rows("a", 0.9, reader={"name": "mlp", "width": 8}, fitter={"lr": 1}),
        rows("a", 0.8, reader={"name": "knn", "width": 9}, fitter={"lr": 2}),
        rows("b", 0.7, fitter={"lr": 1, "steps": 4}),
        rows("b", 0.6, fitter={"lr": 2, "steps": 4}),
        rows("c", 0.5, fitter={"lr": 1}),
    )
    names = ["a (reader=mlp)", "a (reader=knn)", "b (fitter.lr=1)", "b (fitter.lr=2)", "c"]
    assert [name for name, _ in ranked(table)] == names


def test_names_that_share_a_part_too_are_told_apart_by_the_rest() -> None:
    settings = [
        {"reader.name": "mlp", "reader.width": 8, "fitter.steps": 2},
        {"reader.name": "mlp", "reader.width": 8, "fitter.steps": 4},
        {"reader.name": "knn", "reader.neighbours": 3, "fitter.steps": 2},
    ]
    said = ["a (reader=mlp, fitter.steps=2)", "a (reader=mlp, fitter.steps=4)", "a (reader=knn)"]
    assert told_apart(["a"] * 3, settings) == said
    assert told_apart(["a", "b", "c"], settings) == ["a", "b", "c"]
    many = [{f"data.{letter}": i for letter in "abcd"} for i in range(2)]
    assert told_apart(["a", "a"], many, most=2) == ["a (data.a=0, data.b=0)", "a (data.a=1, data.b=1)"]


# ------------------------------------------------------------------ published values

PUBLISHED = {
    "table": "paper.table1",
    "title": "A table",
    "source": "Author, A Paper, 2026",
    "row": {"method": "a"},
    "metrics": {"accuracy": 0.569, "accuracy_sd": 0.0029},
    "changed": [],
}
TABLE = PublishedTable("paper.table1", "A table", "Author, A Paper, 2026", ())


def published_rows(**changes: Any) -> list[dict[str, Any]]:
    return rows_of("a", [0.55, 0.57, 0.58], profile="paper", published={**PUBLISHED}, **changes)


def test_a_published_value_stands_beside_ours_with_a_badge(board: Any) -> None:
    (table,) = board(published_rows(), rows_of("b", [0.1, 0.1, 0.1], profile="paper"))
    assert table.headers()[2:7] == ["accuracy, %", "PSNR, dB", "published accuracy, %", "badge", "adapted values"]
    assert [cells[4:6] for cells in table.cells()] == [["56.90 (0.29)", "accuracy reproduced"], ["–", ""]]
    note = "from `paper.table1` (Author, A Paper, 2026). `reproduced`: it lies in our 95 % interval, or"
    assert note in table.markdown()


def test_a_table_of_which_nothing_was_published_has_no_such_columns(board: Any) -> None:
    (table,) = board(rows_of("a", [0.9]))
    assert "published" not in table.markdown()
    assert len(table.headers()) == len(table.cells()[0]) == 8


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"dataset": "digits~1a2b3c4d", "data": {"official": False}}, "unofficial data"),
        ({"profile": "laptop"}, "other profile"),
        ({"published": {**PUBLISHED, "changed": ["inr.width"]}}, "other settings: inr.width"),
        ({"metrics": {"accuracy": 0.4, "accuracy_low": 0.39, "accuracy_high": 0.41}}, "accuracy below"),
    ],
)
def test_a_row_that_is_not_what_was_published_says_so(board: Any, changes: dict[str, Any], said: str) -> None:
    rows = [{**one, **changes} for one in published_rows()]
    (table,) = board(rows)
    assert [cells[5] for cells in table.cells()] == [said]


def test_rows_without_cells_stand_below_unranked(board: Any, tmp_path: Path) -> None:
    board(published_rows(dataset="digits~1a2b3c4d"), rows_of("b", [0.9], dataset="mnist"))
    others = [
        PublishedRow(TABLE, "another", "digits", {"accuracy": 0.9}),
        PublishedRow(TABLE, "elsewhere", "mnist", {"accuracy": 0.9}),  # no row of mnist is from that table
    ]
    first, second = tables(tmp_path / "records", others)
    assert first.cells()[-1] == ["published", "another", "–", "–", "90.00", "", "–", "–", "–", "–"]
    assert [row.name for row in first.only_published] == ["another"]
    assert second.only_published == ()


def test_the_csv_has_what_was_published_and_where(board: Any, tmp_path: Path) -> None:
    board(published_rows(), rows_of("b", [0.9, 0.9], profile="paper"))
    (table,) = tables(tmp_path / "records", [PublishedRow(TABLE, "another", "digits", {"psnr_db": 30.5})])
    lines = {line["method"]: line for line in csv.DictReader(io.StringIO(table.csv()))}
    keys = ("rank", "published_accuracy", "published_accuracy_sd", "published_psnr_db", "published_table", "badge")
    assert [lines["a"][key] for key in keys] == ["2", "0.569", "0.0029", "", "paper.table1", "accuracy reproduced"]
    assert [lines["b"][key] for key in keys] == ["1", "", "", "", "", ""]
    assert [lines["another"][key] for key in keys] == ["published", "", "", "30.5", "paper.table1", ""]


# ------------------------------------------------------------------ estimates


def test_a_psnr_on_unseen_points_stands_beside_the_full_one(board: Any) -> None:
    metrics = {"psnr_db": 20.0, "psnr_estimate_db": 18.25}
    some = [{**one, "metrics": {**one["metrics"], **metrics}} for one in rows_of("some", [0.5, 0.6])]
    whole = [{**one, "metrics": {**one["metrics"], "psnr_db": 21.0}} for one in rows_of("whole", [0.7, 0.8])]
    (table,) = board(some, whole)
    assert table.headers()[:5] == ["rank", "method", "accuracy, %", "PSNR, dB", "PSNR estimate, dB"]
    shown = {line[1]: line[4] for line in table.cells()}
    assert shown["some"].startswith("18.25")
    assert shown["whole"] == "–"
    assert "no step of the fit drew" in table.markdown()
    lines = csv.DictReader(io.StringIO(table.csv()), strict=True)
    assert {line["method"]: line["psnr_estimate_db"] for line in lines} == {"some": "18.25", "whole": ""}


def test_without_an_estimate_there_is_no_column_for_it(board: Any) -> None:
    (table,) = board(rows_of("whole", [0.7, 0.8]))
    assert "PSNR estimate, dB" not in table.headers()
    assert "no step of the fit drew" not in table.markdown()


# ------------------------------------------------------------------ baselines


def with_baselines(board: Any, tmp_path: Path, wanted: dict[str, Any], *groups: list[dict[str, Any]]) -> list[Table]:
    board(*groups)
    return tables(tmp_path / "records", baselines=wanted)


def psnr(rows: list[dict[str, Any]], *values: float) -> list[dict[str, Any]]:
    """The rows with a PSNR too."""
    return [{**row, "metrics": {**row["metrics"], "psnr_db": value}} for row, value in zip(rows, values, strict=True)]


def test_every_other_row_is_compared_with_a_baseline_over_the_seeds_of_both(board: Any, tmp_path: Path) -> None:
    a, b = psnr(rows_of("a", [0.9, 0.8, 0.7]), 20, 21, 22), psnr(rows_of("b", [0.5, 0.6]), 22, 22)
    (table,) = with_baselines(board, tmp_path, {"b": {"method": "b"}}, a, b, rows_of("c", [0.4]))
    assert table.headers()[2:6] == ["accuracy, %", "PSNR, dB", "accuracy − b, points", "PSNR − b, dB"]
    # differences of accuracy 0.4, 0.2; of PSNR -2, -1; t of 1 degree of freedom is 12.7062, and s/sqrt(2) half a range
    assert {cells[1]: cells[4:6] for cells in table.cells()} == {
        "a": ["+30.0 ± 127.1", "-1.50 ± 6.35"],
        "b": ["–", "–"],
        "c": ["-10.0", "–"],
    }
    page = table.markdown()
    assert "− NAME: the mean of the row's paired difference to the row of that name" in page
    assert "Paired differences over seeds, with" not in page
    lines = {line["method"]: line for line in csv.DictReader(io.StringIO(table.csv()), strict=True)}
    assert float(lines["a"]["accuracy_minus_b"]) == pytest.approx(0.3)
    assert float(lines["a"]["accuracy_minus_b_half_interval"]) == pytest.approx(12.7062 * 0.1, rel=1e-4)
    assert float(lines["a"]["psnr_db_minus_b"]) == pytest.approx(-1.5)
    assert [lines["b"]["accuracy_minus_b"], lines["c"]["accuracy_minus_b_half_interval"]] == ["", ""]


def test_baselines_are_picked_by_label_data_set_and_settings_and_stand_in_their_own_tables(
    board: Any, tmp_path: Path
) -> None:
    wanted = {"wide": {"label": "wide a"}, "elsewhere": {"method": "a", "dataset": "mnist"}, "set": {"fitter": "b"}}
    groups = [
        rows_of("a", [0.9, 0.8], label="wide a"),
        rows_of("b", [0.5, 0.6]),
        rows_of("a", [0.3, 0.4], dataset="mnist~1a2b3c4d"),
        rows_of("c", [0.2, 0.3], dataset="mnist~1a2b3c4d"),
    ]
    digits, mnist = with_baselines(board, tmp_path, wanted, *groups)
    assert [header for header in digits.headers() if "−" in header] == [
        "accuracy − wide, points",
        "accuracy − set, points",
    ]
    assert [header for header in mnist.headers() if "−" in header] == ["accuracy − elsewhere, points"]
    _, sheet = write([digits, mnist], tmp_path / "out")
    lines = list(csv.DictReader(io.StringIO(sheet.read_text()), strict=True))
    compared = {line["method"]: line["accuracy_minus_elsewhere"] for line in lines if line["dataset"] != "digits"}
    assert compared["a"] == ""
    assert float(compared["c"]) == pytest.approx(-0.1)
    assert None not in {value for line in lines for value in line.values()}


def test_a_baseline_that_is_several_rows_of_a_table_is_refused(board: Any, tmp_path: Path) -> None:
    groups = [rows_of("a", [0.9]), rows_of("a", [0.8], label="wide a")]
    with pytest.raises(UsageError, match=r"^baseline 'a' is 2 rows of digits: a, wide a; name more of the one$"):
        with_baselines(board, tmp_path, {"a": {"method": "a"}}, *groups)


def test_published_rows_stand_below_with_a_column_for_each_baseline(board: Any, tmp_path: Path) -> None:
    board(published_rows(), rows_of("b", [0.9, 0.9], profile="paper"))
    others = [PublishedRow(TABLE, "another", "digits", {"accuracy": 0.9})]
    (table,) = tables(tmp_path / "records", others, {"b": {"method": "b"}})
    assert {len(cells) for cells in table.cells()} == {len(table.headers())}
    assert len({len(line) for line in csv.reader(io.StringIO(table.csv()))}) == 1
