"""Migrations: records as earlier versions wrote them are read as today's; the files stay as they are."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from inrbench.errors import RecordError
from inrbench.leaderboard import tables
from inrbench.migrations import FAILURE, MIGRATIONS, SCHEMA, migrated
from inrbench.records import read_record, read_records, vectors_of, write_record

#: A good record and a crash, written by the last version before schema 2.
FIRST = Path(__file__).parent / "schema-1"
GOOD, CRASH = FIRST / "pixels+digits-smoke-s0-10932cea.json", FIRST / "pixels+digits-smoke-s1-a7fd6bac.json"
FOLDER = Path(__file__).parents[1] / "leaderboards"
COMMITTED = sorted(path for path in FOLDER.rglob("*.json") if not path.name.endswith(".schema.json"))


def written(path: Path) -> dict[str, Any]:
    found = json.loads(path.read_text())
    assert isinstance(found, dict)
    return found


def test_a_good_record_of_schema_1_is_the_same_but_for_its_schema() -> None:
    assert written(GOOD)["schema"] == 1
    assert read_record(GOOD) == {**written(GOOD), "schema": SCHEMA}
    assert vectors_of(FIRST, read_record(GOOD)).keys() == {"ids", "logits", "labels", "correct"}


def test_a_failure_of_schema_1_gets_what_failures_hold_today() -> None:
    before = written(CRASH)
    assert (before["schema"], "log_tail" in before, "attempt" in before) == (1, False, False)
    found = read_record(CRASH)
    assert found == {**before, "schema": SCHEMA, "log_tail": [], "attempt": 1}
    assert found["reason"] == "ZeroDivisionError: a bug in line 7"


def test_reading_changes_no_file(tmp_path: Path) -> None:
    shutil.copytree(FIRST, tmp_path / "records")
    before = {path.name: path.read_bytes() for path in FIRST.iterdir()}
    assert len(list(read_records(tmp_path / "records"))) == 2
    assert {path.name: path.read_bytes() for path in (tmp_path / "records").iterdir()} == before


def test_a_migrated_record_is_written_with_todays_schema_and_a_digest(tmp_path: Path) -> None:
    for path in (GOOD, CRASH):
        again = write_record(tmp_path, read_record(path))
        assert written(again)["schema"] == SCHEMA
        assert len(written(again)["digest"]) == 32
        assert read_record(again) == read_record(path)


def test_a_record_of_schema_1_needs_no_digest_and_one_of_today_does(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text(json.dumps({**written(GOOD), "schema": SCHEMA}))
    with pytest.raises(RecordError, match=r"a\.json is damaged: it has no digest"):
        read_record(path)


@pytest.mark.parametrize("schema", [0, -1, None, "1", True, 1.0, [1]])
def test_a_schema_that_never_was_is_damage(tmp_path: Path, schema: object) -> None:
    path = tmp_path / "a.json"
    path.write_text(json.dumps({**written(GOOD), "schema": schema}))
    with pytest.raises(RecordError, match=r"a\.json is damaged: schema holds what does not belong there"):
        read_record(path)


def test_there_is_a_way_from_every_schema_to_the_next() -> None:
    assert sorted(MIGRATIONS) == list(range(1, SCHEMA))


@pytest.mark.parametrize("document", [{}, {"schema": 1}, {"schema": 1, "status": ["ok"]}, {"schema": SCHEMA}])
def test_migrating_never_fails_and_changes_nothing_that_was_given(document: dict[str, Any]) -> None:
    before = dict(document)
    assert {**FAILURE, **migrated(document)} == {**FAILURE, **document, **({"schema": SCHEMA} if document else {})}
    assert document == before


def test_every_committed_record_is_read_and_its_tables_are_made() -> None:
    assert COMMITTED
    for path in COMMITTED:
        assert read_record(path)["schema"] == SCHEMA
    for folder in sorted({path.parent for path in COMMITTED}):
        assert tables(folder), folder
