"""Comparing folders of records: which cells are the same, what differs, and why."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from inrbench.comparing import Comparison, compare, comparison, key_differences
from inrbench.errors import RecordError, UnknownName, UsageError
from inrbench.metrics import mean_interval
from inrbench.records import write_record

SETTINGS: dict[str, Any] = {"fitter": {"name": "meta-sgd", "steps": 4}, "reader": None, "data": {"scored": "test"}}


def record(seed: int = 0, *, key: str = "", settings: dict[str, Any] | None = None, **changes: Any) -> dict[str, Any]:
    return {
        "schema": 2,
        "cell": f"mwt+digits-smoke-s{seed}",
        "key": f"{key}{seed:032x}"[:32],
        "method": "mwt",
        "dataset": "digits",
        "profile": "smoke",
        "seed": seed,
        "status": "ok",
        "metrics": {"psnr_db": 20.0 + seed, "psnr_db_low": 1.0, "accuracy": 0.5},
        "costs": {"train_s": 1.5},
        "settings": SETTINGS if settings is None else settings,
        "facts": {"scored_split": "test"},
        "data": {},
        "keys": {"train": f"{key}t"},
        "label": "",
        "finished": "2026-01-01T00:00:00+00:00",
        **changes,
    }


def compared(tmp_path: Path, ours: list[dict[str, Any]], theirs: list[dict[str, Any]], *metrics: str) -> Comparison:
    for name, records in (("a", ours), ("b", theirs)):
        (tmp_path / name).mkdir(exist_ok=True)
        for one in records:
            write_record(tmp_path / name, one)
    return comparison(tmp_path / "a", tmp_path / "b", metrics)


# ------------------------------------------------------------------ numbers


def test_metrics_are_paired_over_the_seeds_that_both_have(tmp_path: Path) -> None:
    values = {0: (20.0, 20.5), 1: (21.0, 22.25), 2: (23.0, 23.0)}
    ours = [record(seed, metrics={"psnr_db": one}) for seed, (one, _) in values.items()]
    theirs = [record(seed, key="f", metrics={"psnr_db": other}) for seed, (_, other) in values.items()]
    found = compared(tmp_path, [*ours, record(3)], [*theirs, record(7)])
    (pair,) = found.pairs
    (one,) = pair.metrics
    assert (pair.name, one.metric, dict(one.values)) == ("mwt+digits-smoke", "psnr_db", values)
    assert one.means == (64.0 / 3, pytest.approx(65.75 / 3))
    mean, low, high = one.difference
    assert mean == pytest.approx(1.75 / 3)
    assert (low, high) == mean_interval(np.array([0.5, 1.25, 0.0]))
    assert one.equal == 1
    assert (found.only_first, found.only_second) == (("mwt+digits-smoke-s3",), ("mwt+digits-smoke-s7",))
    assert (found.cells, pair.other_keys) == (3, 3)


def test_one_seed_has_a_difference_and_no_interval(tmp_path: Path) -> None:
    found = compared(tmp_path, [record()], [record(metrics={"psnr_db": 21.0})])
    mean, low, high = found.pairs[0].metrics[0].difference
    assert mean == 1.0
    assert math.isnan(low)
    assert math.isnan(high)


def test_all_metrics_but_the_ends_of_intervals_are_compared_unless_some_are_named(tmp_path: Path) -> None:
    found = compared(tmp_path, [record()], [record()])
    assert [one.metric for one in found.pairs[0].metrics] == ["accuracy", "psnr_db"]
    named = compared(tmp_path, [], [], "train_s", "psnr_db_low")
    assert [one.metric for one in named.pairs[0].metrics] == ["train_s", "psnr_db_low"]
    with pytest.raises(UnknownName, match=r"no record holds a metric 'acuracy'; did you mean 'accuracy'"):
        compared(tmp_path, [], [], "acuracy")


def test_what_one_did_not_measure_is_left_out(tmp_path: Path) -> None:
    ours = [record(0, metrics={"psnr_db": None, "accuracy": 0.5}), record(1, metrics={"psnr_db": 3.0})]
    theirs = [record(0, metrics={"psnr_db": 1.0, "accuracy": 0.5}), record(1, metrics={"psnr_db": 4.0})]
    metrics = {one.metric: dict(one.values) for one in compared(tmp_path, ours, theirs).pairs[0].metrics}
    assert metrics == {"accuracy": {0: (0.5, 0.5)}, "psnr_db": {1: (3.0, 4.0)}}


def test_it_is_a_data_frame_too(tmp_path: Path) -> None:
    compared(tmp_path, [record(0), record(1)], [record(0, key="f"), record(1, key="f", metrics={"accuracy": 0.75})])
    frame = compare(tmp_path / "a", str(tmp_path / "b")).set_index("metric")
    assert frame.loc["accuracy", ["first", "second", "difference", "equal"]].tolist() == [0.5, 0.625, 0.125, 1]
    assert frame.loc["psnr_db", "seeds"] == [0]
    assert frame.loc["accuracy", "differing"] == "stages train"


# ------------------------------------------------------------------ which cells are the same


@pytest.mark.parametrize(
    "changes",
    [
        {"method": "wt"},
        {"dataset": "mnist"},
        {"dataset": "digits~12345678"},
        {"profile": "paper"},
        {"seed": 1},
        {"settings": {**SETTINGS, "fitter": {"name": "meta-sgd", "steps": 5}}},
        {"settings": {**SETTINGS, "reader": {"name": "knn"}}},
        {"facts": {"scored_split": "validation"}},
        {"artefact": {"seed": 0}},
    ],
    ids=str,
)
def test_another_cell_is_not_compared(tmp_path: Path, changes: dict[str, Any]) -> None:
    found = compared(tmp_path, [record()], [{**record(), **changes}])
    assert found.pairs == ()
    assert (len(found.only_first), len(found.only_second), found.cells) == (1, 1, 0)


@pytest.mark.parametrize("changes", [{"label": "a"}, {"key": "f" * 32}, {"versions": {"torch": "1"}}], ids=str)
def test_the_same_cell_under_another_label_or_key_is(tmp_path: Path, changes: dict[str, Any]) -> None:
    assert compared(tmp_path, [record()], [{**record(), **changes}]).cells == 1


def test_of_several_records_of_a_cell_the_newest_good_one_counts(tmp_path: Path) -> None:
    def at(hour: int, key: str, value: float, **changes: Any) -> dict[str, Any]:
        time = f"2026-01-01T{hour:02d}:00:00+00:00"
        return record(key=key, metrics={"psnr_db": value}, finished=time, **changes)

    ours = [at(1, "a", 1.0), at(3, "b", 3.0), at(2, "c", 2.0), at(4, "d", 4.0, status="crash")]
    assert compared(tmp_path, ours, [at(0, "e", 9.0)]).pairs[0].metrics[0].values == {0: (3.0, 9.0)}


def test_a_cell_that_failed_in_one_folder_is_named_with_both_ends(tmp_path: Path) -> None:
    found = compared(tmp_path, [record(0), record(1, status="timeout")], [record(0, status="crash"), record(1)])
    assert found.pairs == ()
    assert found.other_status == (("mwt+digits-smoke-s0", "ok", "crash"), ("mwt+digits-smoke-s1", "timeout", "ok"))
    assert (found.only_first, found.only_second) == ((), ())


def test_rows_of_one_method_are_told_apart_by_their_settings(tmp_path: Path) -> None:
    grid = [
        record(settings={**SETTINGS, "fitter": {"name": "meta-sgd", "steps": steps}}, key=str(steps))
        for steps in (1, 2)
    ]
    names = [pair.name for pair in compared(tmp_path, grid, grid).pairs]
    assert names == ["mwt+digits-smoke (fitter.steps=1)", "mwt+digits-smoke (fitter.steps=2)"]


# ------------------------------------------------------------------ settings that one version does not know


def newer(steps: int = 4, **more: Any) -> dict[str, Any]:
    fitter = {"name": "meta-sgd", "steps": steps, "compile": False, "train": {"ema": None}, **more}
    return {**SETTINGS, "fitter": fitter, "data": {"scored": "test", "copies": {"count": 1}}}


def test_settings_that_a_later_version_added_keep_no_cells_apart(tmp_path: Path) -> None:
    old = [record(settings={**SETTINGS, "fitter": {"name": "meta-sgd", "steps": n}}, key=str(n)) for n in (3, 4)]
    old = [{**one, "ingredients": {"train": {"settings": {}}}} for one in old]
    known = {"ingredients": {"train": {"settings": {"fitter.compile": False}}}}
    new = [record(settings=newer(n), key=f"f{n}", metrics={"psnr_db": 20.0 + n}, **known) for n in (3, 4, 5)]
    found = compared(tmp_path, old, new)
    assert [dict(pair.metrics[0].values)[0][1] for pair in found.pairs] == [23.0, 24.0]
    settings = ("data.copies.count=1", "fitter.compile=False", "fitter.train.ema=None")
    assert found.pairs[0].differences == {"settings of one alone": settings}
    assert found.only_second == ("mwt+digits-smoke-s0",)
    assert compared(tmp_path, [], []).cells == 2


def test_where_two_cells_could_be_meant_none_is(tmp_path: Path) -> None:
    found = compared(tmp_path, [record()], [record(settings=newer(), key="1"), record(settings=newer(lr=1), key="2")])
    assert (found.cells, len(found.only_first), len(found.only_second)) == (0, 1, 2)
    turned = comparison(tmp_path / "b", tmp_path / "a")
    assert (turned.cells, len(turned.only_first), len(turned.only_second)) == (0, 2, 1)


def test_a_part_that_is_null_is_no_setting_that_is_not_known(tmp_path: Path) -> None:
    reader = {"reader": {"train": {"steps": 3}}}
    assert compared(tmp_path, [record()], [record(settings={**SETTINGS, **reader})]).cells == 0


def test_what_is_in_one_folder_alone_says_how_the_other_one_differs(tmp_path: Path) -> None:
    other = {**SETTINGS, "fitter": {"name": "meta-sgd", "steps": 5, "lr": 0.1}}
    found = compared(tmp_path, [record(label="mine")], [record(settings=other)])
    assert found.only_first == ("mwt+digits-smoke-s0 (mine): the other has it with fitter.steps=5, not 4",)
    assert found.only_second == ("mwt+digits-smoke-s0: the other has it with fitter.steps=4, not 5",)


# ------------------------------------------------------------------ why keys differ


def ingredients(code: dict[str, str], torch: str, device: str = "cpu", before: str = "") -> dict[str, Any]:
    stage = {"stage": "train", "before": before, "seed": 0, "data": "c" * 64, "device": device, "settings": {}}
    return {"train": {**stage, "code": code, "versions": {"torch": torch, "numpy": "2"}}}


def test_the_ingredients_in_which_keys_differ_are_said() -> None:
    code = {"inrbench.arrays": "1", "inrbench.metrics": "2", "gone": "3"}
    one = {"ingredients": ingredients(code, "2.12.0")}
    other = {"ingredients": ingredients({**code, "inrbench.metrics": "9", "new": "4"}, "2.13.0", "cuda", "x")}
    del other["ingredients"]["train"]["code"]["gone"]
    assert key_differences(one, other) == {
        "code": ("gone", "inrbench.metrics", "new"),
        "versions": ("torch 2.12.0 → 2.13.0",),
        "device": ("cpu → cuda",),
    }
    assert key_differences(one, one) == {}
    assert key_differences({"keys": {"train": "1", "fit": "2"}}, {"keys": {"train": "1", "fit": "3"}}) == {
        "stages": ("fit",)
    }


def test_differences_are_gathered_over_seeds_and_the_machine_is_said_though_it_is_in_no_key(tmp_path: Path) -> None:
    machine = {"device": "cpu", "threads": 1}
    ours = [record(seed, ingredients=ingredients({"a": "1"}, "1"), machine=machine) for seed in (0, 1)]
    theirs = [
        record(0, key="f", ingredients=ingredients({"a": "2"}, "1"), machine=machine),
        record(1, ingredients=ingredients({"a": "1"}, "1"), machine={**machine, "threads": 2}),
    ]
    (pair,) = compared(tmp_path, ours, theirs).pairs
    assert pair.other_keys == 1
    assert pair.differences == {"code": ("a",), "machine": ("threads 1 → 2",)}


# ------------------------------------------------------------------ what is refused


def test_a_folder_that_is_not_there_and_a_damaged_record_are_named(tmp_path: Path) -> None:
    compared(tmp_path, [record()], [record()])
    with pytest.raises(UsageError, match=r"there is no folder of records at .*nowhere"):
        comparison(tmp_path / "a", tmp_path / "nowhere")
    (tmp_path / "b" / "broken.json").write_text("{}")
    with pytest.raises(RecordError, match=r"broken\.json is damaged"):
        comparison(tmp_path / "a", tmp_path / "b")
