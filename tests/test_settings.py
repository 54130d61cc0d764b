"""Settings: how trees are merged and read from the command line, and what validation says."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import model_validator

from inrbench.errors import BadSetting, BrokenPlugin
from inrbench.settings import (
    Augmentation,
    DataSettings,
    Settings,
    TrainingSettings,
    load_target,
    setting,
    stage_of,
    validated,
)
from inrbench.trees import flatten, merge


class Inner(Settings):
    rate: float = setting(0.1, "a rate", gt=0.0)
    late: int = setting(1, "matters when scoring", stage="score")


class Outer(Settings):
    steps: int = setting(4, "steps", ge=1)
    name: str = setting("a", "a name")
    flag: bool = setting(False, "a flag")
    inner: Inner = setting(Inner(), "a group")
    reading: Inner = setting(Inner(), "a group that matters from reading on", stage="read")
    maybe: Inner | None = setting(None, "a group that may be missing")


class Between(Settings):
    low: int = setting(0, "a number")
    high: int = setting(1, "a larger number")

    @model_validator(mode="after")
    def _in_order(self) -> Between:
        if self.low >= self.high:
            raise ValueError(f"low={self.low} is not below high={self.high}")
        return self


class Around(Settings):
    between: Between = setting(Between(), "a group of two that go together")


class Needy(Settings):
    must: int = setting(doc="has no default")


# ------------------------------------------------------------------ merging


def test_the_later_tree_is_above_the_earlier() -> None:
    trees: list[dict[str, Any]] = [
        {"fitter": {"steps": 1, "lr": 0.1}},
        {"fitter": {"steps": 2}},
        {"fitter": {"steps": 3}, "data": {"a": 1}},
    ]
    assert merge(*trees) == {"fitter": {"steps": 3, "lr": 0.1}, "data": {"a": 1}}


def test_merging_changes_none_of_the_trees() -> None:
    first: dict[str, Any] = {"fitter": {"train": {"steps": 1}}}
    merged = merge(first, {"fitter": {"train": {"steps": 2}}})
    merged["fitter"]["train"]["steps"] = 3
    assert first == {"fitter": {"train": {"steps": 1}}}


@pytest.mark.parametrize("part", ["inr", "fitter", "reader"])
def test_a_parts_name_alone_stands_for_the_part(part: str) -> None:
    assert merge({part: "mlp"}) == {part: {"name": "mlp"}}


def test_the_name_of_the_same_part_keeps_its_settings() -> None:
    assert merge({"reader": {"name": "mlp", "width": 3}}, {"reader": "mlp"}) == {"reader": {"name": "mlp", "width": 3}}


def test_another_part_drops_what_was_set_for_the_old_one() -> None:
    merged = merge({"reader": "mlp"}, {"reader": {"width": 3}}, {"reader": {"name": "knn", "k": 5}})
    assert merged == {"reader": {"name": "knn", "k": 5}}


def test_none_drops_a_part() -> None:
    assert merge({"reader": {"name": "mlp", "width": 3}}, {"reader": None}) == {"reader": None}


def test_a_name_inside_a_group_is_a_setting_like_any_other() -> None:
    merged = merge({"data": {"name": "a", "size": 1}}, {"data": {"size": 2}}, {"fitter": {"train": {"reader": "x"}}})
    assert merged == {"data": {"name": "a", "size": 2}, "fitter": {"train": {"reader": "x"}}}


def test_a_group_replaces_a_value_and_a_value_replaces_a_group() -> None:
    assert merge({"joint": None}, {"joint": {"share": 1.0}}) == {"joint": {"share": 1.0}}
    assert merge({"joint": {"share": 1.0}}, {"joint": None}, {"joint": {}}) == {"joint": {}}


# ------------------------------------------------------------------ validation


def test_an_unknown_key_shows_the_nearest_one() -> None:
    with pytest.raises(BadSetting, match=r"^no setting 'fitter.stesp'; did you mean 'fitter.steps'\? known: .*name"):
        validated(Outer, {"stesp": 4}, "fitter")


@pytest.mark.parametrize("group", ["inner", "reading", "maybe"])
def test_an_unknown_key_within_a_group_shows_the_nearest_one_of_that_group(group: str) -> None:
    with pytest.raises(BadSetting) as caught:
        validated(Outer, {group: {"rats": 1.0}}, "fitter")
    known = f"known: fitter.{group}.late, fitter.{group}.rate"
    assert str(caught.value) == f"no setting 'fitter.{group}.rats'; did you mean 'fitter.{group}.rate'? {known}"


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"steps": True}, "setting fitter.steps=True: input should be a valid integer"),
        ({"steps": 4.0}, "setting fitter.steps=4.0: input should be a valid integer"),
        ({"steps": 4.5}, "setting fitter.steps=4.5: input should be a valid integer"),
        ({"steps": "4"}, "setting fitter.steps='4': input should be a valid integer"),
        ({"steps": None}, "setting fitter.steps=None: input should be a valid integer"),
        ({"steps": 0}, "setting fitter.steps=0: input should be greater than or equal to 1"),
        ({"name": 3}, "setting fitter.name=3: input should be a valid string"),
        ({"flag": 1}, "setting fitter.flag=1: input should be a valid boolean"),
        ({"flag": "yes"}, "setting fitter.flag='yes': input should be a valid boolean"),
        ({"inner": {"rate": "0.1"}}, "setting fitter.inner.rate='0.1': input should be a valid number"),
        ({"inner": {"rate": True}}, "setting fitter.inner.rate=True: input should be a valid number"),
        ({"inner": {"rate": 0}}, "setting fitter.inner.rate=0: input should be greater than 0"),
        ({"inner": {"rate": float("nan")}}, "setting fitter.inner.rate=nan: input should be a finite number"),
        ({"inner": {"rate": float("inf")}}, "setting fitter.inner.rate=inf: input should be a finite number"),
        ({"inner": 3}, "setting fitter.inner=3: input should be a valid dictionary or instance of Inner"),
    ],
    ids=repr,
)
def test_a_wrong_value_is_named_with_what_is_allowed(values: dict[str, Any], message: str) -> None:
    with pytest.raises(BadSetting) as caught:
        validated(Outer, values, "fitter")
    assert str(caught.value) == message


def test_settings_that_do_not_go_together_are_refused_in_the_models_own_words() -> None:
    with pytest.raises(BadSetting, match=r"^settings of 'fitter': low=3 is not below high=1$"):
        validated(Between, {"low": 3}, "fitter")
    with pytest.raises(BadSetting, match=r"^settings of 'fitter\.between': low=0 is not below high=-1$"):
        validated(Around, {"between": {"high": -1}}, "fitter")
    assert validated(Around, {"between": {"low": 3, "high": 4}}, "fitter").between.high == 4


def test_a_whole_number_does_for_a_float() -> None:
    assert validated(Outer, {"inner": {"rate": 1}}, "fitter").inner.rate == 1.0


def test_a_setting_without_a_default_must_be_given() -> None:
    with pytest.raises(BadSetting, match=r"'data.must' has no default and must be given, as --set data.must=VALUE"):
        validated(Needy, {}, "data")


def test_a_choice_names_what_is_allowed() -> None:
    with pytest.raises(BadSetting, match=r"data.scored='train': input should be 'test' or 'validation'"):
        validated(DataSettings, {"scored": "train"}, "data")


def test_validated_settings_never_change() -> None:
    with pytest.raises(ValueError, match="frozen"):
        validated(Outer, {}, "fitter").steps = 5


@pytest.mark.parametrize(
    ("settings", "signals", "steps"),
    [
        ({"epochs": 2.0, "batch_size": 16}, 100, 12),  # 6 whole batches an epoch
        ({"epochs": 0.5, "batch_size": 10}, 100, 5),
        ({"epochs": 3.0, "batch_size": 16}, 5, 3),  # a batch larger than the split is the split
        ({"epochs": 0.001, "batch_size": 16}, 16, 1),
        ({"steps": 7}, 100, 7),
        ({"steps": 0}, 100, 0),
    ],
)
def test_epochs_are_counted_in_whole_batches(settings: dict[str, Any], signals: int, steps: int) -> None:
    assert TrainingSettings(**settings).num_steps(signals) == steps


# ------------------------------------------------------------------ flattening and stages


def test_flattening_gives_the_leaves_with_dotted_keys() -> None:
    tree = {"a": {"b": 1, "c": {"d": [2]}}, "e": None, "f": {}}
    assert dict(flatten(tree)) == {"a.b": 1, "a.c.d": [2], "e": None, "f": {}}


@pytest.mark.parametrize(
    ("path", "stage"),
    [
        ("steps", "train"),
        ("inner", "train"),
        ("inner.rate", "train"),
        ("inner.late", "score"),
        ("reading", "read"),
        ("reading.rate", "read"),
        ("reading.late", "score"),
        ("nowhere", "train"),
        ("steps.deeper", "train"),
        ("maybe.late", "score"),
    ],
)
def test_a_setting_matters_from_its_own_stage_on_or_from_that_of_its_group(path: str, stage: str) -> None:
    assert stage_of(Outer, path.split("."), "train") == stage


def test_how_many_signals_are_scored_matters_when_scoring_alone() -> None:
    stages = {name: stage_of(DataSettings, [name], "train") for name in DataSettings.model_fields}
    assert stages == {
        "train_size": "train",
        "test_size": "score",
        "validation": "train",
        "scored": "score",
        "labels": "train",
        "copies": "read",
    }


# ------------------------------------------------------------------ targets


def test_a_target_is_loaded_by_name() -> None:
    assert load_target("inrbench.settings:Augmentation", "reader 'x'") is Augmentation


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        ("no_module_of_this_name:A", "ModuleNotFoundError: No module named 'no_module_of_this_name'"),
        ("inrbench.settings:Augmantation", "AttributeError: .* has no attribute 'Augmantation'"),
    ],
)
def test_a_target_that_cannot_be_loaded_names_its_owner_and_the_reason(target: str, reason: str) -> None:
    with pytest.raises(BrokenPlugin, match=f"reader 'x': cannot load '{target}': {reason}"):
        load_target(target, "reader 'x'")
