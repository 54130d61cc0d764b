"""What a record is, as types: every record is checked against them when it is read.

``records.schema.json`` is the same as a JSON Schema, for other programs; ``python -m inrbench.record_schema`` prints
it. Fields that are not named here are allowed: plugins and later versions add some.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from inrbench.migrations import SCHEMA

__all__ = ["FailedRecord", "GoodRecord", "damage_of", "json_schema"]

Numbers = dict[str, float | None]


class Vectors(BaseModel):
    """The file of a record's vectors, beside it."""

    model_config = ConfigDict(strict=True, extra="allow")

    file: str = Field(pattern=r"^[^/\\]+\.safetensors$", description="its name")
    digest: str = Field(description="of its arrays: names, types, shapes and bytes")


class _Record(BaseModel):
    model_config = ConfigDict(strict=True, extra="allow", allow_inf_nan=False, protected_namespaces=())

    schema_: Literal[SCHEMA] = Field(alias="schema", description="the version of this layout")  # type: ignore[valid-type]
    seed: int
    cell: str = Field(description="its name: method, data set, profile and seed")
    key: str = Field(description="a hash of all that could change the result; the record is filed under it")
    method: str
    dataset: str = Field(description="with ~ and the data's own hash where the data is not the official one")
    profile: str
    status: str
    metrics: Numbers
    costs: Numbers
    settings: dict[str, Any]
    vectors: Vectors | None = Field(default=None, description="of its scored signals, where it has some")
    published: dict[str, Any] = Field(default_factory=dict, description="what a paper printed for this cell")
    digest: str = Field(default="", description="BLAKE2b-128 of the file with zeros in its place, in hex")


class GoodRecord(_Record):
    """A cell that ended well."""

    status: Literal["ok"]
    facts: dict[str, Any] = Field(description="what lanes and tables are computed from")
    data: dict[str, Any]
    keys: dict[str, str] = Field(description="of each stage")
    label: str
    finished: str = Field(description="when, in UTC, as ISO 8601")


class FailedRecord(_Record):
    """A cell that failed."""

    status: str = Field(
        min_length=1,
        json_schema_extra={"not": {"const": "ok"}},
        description="how it ended: crash, timeout, not-finite, ...",
    )
    reason: str
    log_tail: list[str] = Field(description="the last lines of its log")
    attempt: int = Field(ge=1, description="which attempt at this cell it was")


def damage_of(document: Any) -> str:
    """What is wrong with a document of today's schema; empty where nothing is."""
    whole = document if isinstance(document, Mapping) else {}
    status = whole.get("status")
    failed = isinstance(status, str) and status != "ok"
    try:
        (FailedRecord if failed else GoodRecord).model_validate(whole)
    except ValidationError as error:
        places = [(".".join(map(str, one["loc"])), one["type"]) for one in error.errors()]
        if missing := [place for place, kind in places if kind == "missing"]:
            return f"it has no {', '.join(missing)}"
        return f"{places[0][0]} holds what does not belong there"
    return ""


def json_schema() -> dict[str, Any]:
    """The JSON Schema of a record as it lies on a disk."""
    either: TypeAdapter[Any] = TypeAdapter(GoodRecord | FailedRecord)
    whole = either.json_schema()
    for model in whole["$defs"].values():
        for field in model["properties"].values():
            field.pop("title", None)
            field.pop("default", None)  # what is not there is not there
        if "digest" not in model["required"]:
            model["required"].append("digest")  # records of schema 1 alone have none
    dialect = "https://json-schema.org/draft/2020-12/schema"
    return {"$schema": dialect, "title": "A record of inrbench", **whole}


if __name__ == "__main__":
    print(json.dumps(json_schema(), indent=2))  # noqa: T201
