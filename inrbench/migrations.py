"""Migrations: a record of an older schema as today's, in memory. What lies on the disk stays as it was written.

A new schema is one more function in `MIGRATIONS`, from the schema before it. Nothing here may look at more than the
document, and none of it may fail: what is damaged is found behind it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

__all__ = ["FAILURE", "MIGRATIONS", "SCHEMA", "migrated"]

Document = dict[str, Any]
#: What every failure says from schema 2 on, and what stands there where nothing is known.
FAILURE: Mapping[str, Any] = {"reason": "", "log_tail": [], "attempt": 1}


def _failures_say_more(document: Document) -> Document:
    """1 to 2: failures hold the last lines of their log and the number of the attempt; records have a digest."""
    return document if document.get("status") == "ok" else {**FAILURE, **document}


#: From each older schema to the one behind it.
MIGRATIONS: Mapping[int, Callable[[Document], Document]] = {1: _failures_say_more}
#: The version of a record's layout; a reader refuses a newer one.
SCHEMA = 1 + max(MIGRATIONS)


def migrated(document: Document) -> Document:
    """``document`` with the layout of `SCHEMA`; one of a schema that there never was is given back as it is."""
    schema = document.get("schema")
    while type(schema) is int and schema in MIGRATIONS:
        document = {**MIGRATIONS[schema](document), "schema": schema + 1}
        schema += 1
    return document
