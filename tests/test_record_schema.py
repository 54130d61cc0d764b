"""The schema of a record: the published one is today's, and it says no less than what reading checks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pydantic
import pytest

import inrbench.record_schema
from inrbench.record_schema import FailedRecord, GoodRecord, damage_of, json_schema

FILE = Path(inrbench.record_schema.__file__).with_name("records.schema.json")
GOOD: dict[str, Any] = {
    "schema": 2,
    **dict.fromkeys(("cell", "key", "method", "dataset", "profile", "label", "finished"), "x"),
    "seed": 0,
    "status": "ok",
    **{name: {} for name in ("metrics", "costs", "settings", "facts", "data", "keys")},
}
FAILED: dict[str, Any] = {**GOOD, "status": "timeout", "reason": "", "log_tail": ["a", "b"], "attempt": 2}


@pytest.mark.skipif(
    tuple(map(int, pydantic.VERSION.split(".")[:2])) < (2, 13), reason="earlier versions write JSON Schemas otherwise"
)
def test_the_published_schema_is_that_of_the_code() -> None:
    """`python -m inrbench.record_schema > inrbench/records.schema.json` makes it so."""
    assert json.loads(FILE.read_text()) == json_schema()


def test_the_schema_names_every_field_and_whether_a_record_needs_it() -> None:
    defined = json_schema()["$defs"]
    for model in (GoodRecord, FailedRecord):
        fields = {field.alias or name: field for name, field in model.model_fields.items()}
        assert defined[model.__name__]["properties"].keys() == fields.keys()
        needed = {name for name, field in fields.items() if field.is_required()}
        assert set(defined[model.__name__]["required"]) == needed | {"digest"}
    assert defined["GoodRecord"]["properties"]["schema"]["const"] == 2
    assert defined["FailedRecord"]["properties"]["status"]["not"] == {"const": "ok"}


def test_what_is_whole_is_not_damaged_and_more_fields_are_allowed() -> None:
    assert damage_of(GOOD) == damage_of(FAILED) == ""
    assert damage_of({**GOOD, "tracker": {"run": 3}, "vectors": None, "metrics": {"a": 1, "b": 0.5, "c": None}}) == ""


@pytest.mark.parametrize("name", sorted(GOOD.keys() - {"status"}))
def test_a_field_that_a_good_record_lacks_is_named(name: str) -> None:
    assert damage_of({key: value for key, value in GOOD.items() if key != name}) == f"it has no {name}"


@pytest.mark.parametrize(
    ("changes", "place"),
    [
        ({"seed": "0"}, "seed"),
        ({"seed": True}, "seed"),
        ({"seed": 0.0}, "seed"),
        ({"schema": 1}, "schema"),
        ({"status": ["ok"]}, "status"),
        ({"metrics": {"accuracy": "0.5"}}, "metrics.accuracy"),
        ({"metrics": {"accuracy": [0.5]}}, "metrics.accuracy"),
        ({"metrics": {"accuracy": float("inf")}}, "metrics.accuracy"),
        ({"costs": None}, "costs"),
        ({"keys": {"train": 3}}, "keys.train"),
        ({"published": 3}, "published"),
        ({"vectors": {"file": "../a.safetensors", "digest": "x"}}, "vectors.file"),
        ({"vectors": {"file": "a.exe", "digest": "x"}}, "vectors.file"),
        ({"vectors": {"file": "a.safetensors", "digest": 3}}, "vectors.digest"),
    ],
)
def test_what_does_not_belong_there_is_named(changes: dict[str, Any], place: str) -> None:
    assert damage_of({**GOOD, **changes}) == f"{place} holds what does not belong there"


@pytest.mark.parametrize(
    ("changes", "place"), [({"attempt": 0}, "attempt"), ({"log_tail": [3]}, "log_tail.0"), ({"status": ""}, "status")]
)
def test_what_does_not_belong_into_a_failure_is_named(changes: dict[str, Any], place: str) -> None:
    assert damage_of({**FAILED, **changes}) == f"{place} holds what does not belong there"


def test_what_is_no_document_lacks_everything() -> None:
    for nothing in ([], None, 3, "text", {}):
        assert damage_of(nothing).startswith("it has no schema, seed, cell, key, method")
