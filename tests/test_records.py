"""Records: whole or not there, and read back as they were written."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from inrbench.arrays import digest_of
from inrbench.errors import RecordError
from inrbench.records import (
    SCHEMA,
    file_stem,
    load_records,
    now,
    read_record,
    read_records,
    vectors_of,
    write_record,
)

VECTORS = {"ids": np.arange(3), "mse": np.array([0.1, 0.2, 0.3])}


def record(**changes: Any) -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "cell": "mwt+digits-smoke-s0",
        "key": "0123456789abcdef",
        "method": "mwt",
        "dataset": "digits",
        "profile": "smoke",
        "seed": 0,
        "status": "ok",
        "metrics": {"psnr_db": 20.5},
        "costs": {"train_s": 1.5},
        "settings": {"fitter": {"steps": 4}, "reader": None},
        "facts": {},
        "data": {},
        "keys": {},
        "label": "",
        "finished": "2026-01-01T00:00:00+00:00",
        **changes,
    }


def test_a_record_and_its_vectors_come_back_as_they_were(tmp_path: Path) -> None:
    path = write_record(tmp_path / "deep", record(), VECTORS)
    assert path.name == "mwt+digits-smoke-s0-01234567.json"
    found = read_record(path)
    assert {key: found[key] for key in record()} == record()
    vectors = vectors_of(path.parent, found)
    assert vectors.keys() == VECTORS.keys()
    np.testing.assert_array_equal(vectors["mse"], VECTORS["mse"])


def test_published_values_come_back_and_what_is_none_is_damaged(tmp_path: Path) -> None:
    values = {"table": "paper.table1", "metrics": {"accuracy": 0.5}}
    path = write_record(tmp_path, record(published=values))
    assert read_record(path)["published"] == values
    assert "published" not in read_record(write_record(tmp_path, record(key="fedcba9876543210")))
    path.write_text(path.read_text().replace('"published": {', '"published": 3, "more": {'))
    with pytest.raises(RecordError, match=r"is damaged: published holds what does not belong there"):
        read_record(path)


def test_a_record_without_vectors_has_none(tmp_path: Path) -> None:
    assert vectors_of(tmp_path, read_record(write_record(tmp_path, record()))) == {}


def test_what_is_not_finite_becomes_null_and_numpys_numbers_plain_ones(tmp_path: Path) -> None:
    metrics = {"a": float("nan"), "b": np.float32(np.inf), "c": np.int64(3)}
    path = write_record(tmp_path, record(metrics=metrics, facts={"d": [np.bool_(True), (1.5,)]}))
    assert read_record(path)["metrics"] == {"a": None, "b": None, "c": 3}
    assert read_record(path)["facts"] == {"d": [True, [1.5]]}
    assert "NaN" not in path.read_text()


def test_names_become_file_names_that_every_system_takes() -> None:
    assert file_stem("siren+folder:/a b/ü-paper-s0", "abcdefghij") == "siren+folder_a_b_-paper-s0-abcdefgh"
    assert file_stem("mwt+cifar10~1a2b3c4d-paper-s0", "abcdefghij") == "mwt+cifar10~1a2b3c4d-paper-s0-abcdefgh"


def test_the_time_is_utc() -> None:
    assert now().endswith("+00:00")


def test_a_failure_says_what_failures_say_though_its_writer_did_not(tmp_path: Path) -> None:
    found = read_record(write_record(tmp_path, record(status="crash", attempt=3)))
    assert (found["reason"], found["log_tail"], found["attempt"]) == ("", [], 3)
    good = read_record(write_record(tmp_path, record()))
    assert not {"reason", "log_tail", "attempt"} & good.keys()


# ------------------------------------------------------------------ replacing


def test_a_failure_never_replaces_a_good_record(tmp_path: Path) -> None:
    good = write_record(tmp_path, record(), VECTORS)
    failed = write_record(tmp_path, record(status="crash", metrics={}))
    assert failed.name == good.name.replace(".json", ".failed.json")
    assert read_record(good)["status"] == "ok"
    assert vectors_of(tmp_path, read_record(good)).keys() == VECTORS.keys()
    assert sorted(found["status"] for found in read_records(tmp_path)) == ["crash", "ok"]


def test_a_good_record_replaces_failures_and_their_files(tmp_path: Path) -> None:
    write_record(tmp_path, record(), VECTORS)
    write_record(tmp_path, record(status="crash"))
    write_record(tmp_path, record(metrics={"psnr_db": 21.0}), {**VECTORS, "mse": np.zeros(3)})
    (found,) = read_records(tmp_path)
    assert found["metrics"] == {"psnr_db": 21.0}
    assert vectors_of(tmp_path, found)["mse"].tolist() == [0.0, 0.0, 0.0]
    assert len(list(tmp_path.iterdir())) == 2


def test_a_failure_replaces_an_earlier_failure(tmp_path: Path) -> None:
    write_record(tmp_path, record(status="crash"))
    write_record(tmp_path, record(status="out-of-memory"))
    assert [found["status"] for found in read_records(tmp_path)] == ["out-of-memory"]


def test_a_failure_replaces_a_damaged_record(tmp_path: Path) -> None:
    path = write_record(tmp_path, record())
    path.write_text("{")
    assert write_record(tmp_path, record(status="crash")) == path
    assert read_record(path)["status"] == "crash"


def test_records_of_other_keys_and_their_vectors_are_left_alone(tmp_path: Path) -> None:
    first = write_record(tmp_path, record(), VECTORS)
    write_record(tmp_path, record(key="ffff"), VECTORS)
    assert vectors_of(tmp_path, read_record(first)).keys() == VECTORS.keys()


# ------------------------------------------------------------------ damage


def without(key: str) -> Callable[[dict[str, Any]], str]:
    return lambda document: json.dumps({k: v for k, v in document.items() if k != key})


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda document: json.dumps(document)[:-20], "cannot be read: "),
        (lambda document: "", "cannot be read: "),
        (lambda document: "[" * 200_000, "cannot be read: "),
        (lambda document: "[]", "is damaged: it has no schema, seed, cell"),
        (lambda document: "null", "is damaged: it has no schema"),
        (without("metrics"), "is damaged: it has no metrics"),
        (
            lambda document: json.dumps({**document, "costs": 3}),
            "is damaged: costs holds what does not belong there",
        ),
    ],
)
def test_a_damaged_record_is_named(tmp_path: Path, damage: Callable[[dict[str, Any]], str], message: str) -> None:
    path = write_record(tmp_path, record())
    path.write_text(damage(record()))
    with pytest.raises(RecordError) as caught:
        list(read_records(tmp_path))
    assert str(caught.value).startswith(f"record {path} {message}")


@pytest.mark.parametrize(
    ("before", "after"),
    [("20.5", "21.5"), ('"mwt"', '"mwu"'), ('"steps": 4', '"steps": 5'), ('"label": ""', '"label": "a"'), ("1.5", "1")],
)
def test_another_value_in_a_valid_document_is_damage(tmp_path: Path, before: str, after: str) -> None:
    path = write_record(tmp_path, record())
    assert path.read_text().count(before) == 1
    path.write_text(path.read_text().replace(before, after))
    with pytest.raises(RecordError) as caught:
        read_record(path)
    assert str(caught.value) == f"record {path} is damaged: its content does not match its digest"


@pytest.mark.parametrize(
    ("before", "after"),
    [("\n", " "), ('"seed": 0', '"seed":  0'), ("1e-05", "1E-05"), ("27.571741087751928", "27.571741087751929")],
)
def test_a_byte_that_changes_no_value_is_damage_all_the_same(tmp_path: Path, before: str, after: str) -> None:
    path = write_record(tmp_path, record(metrics={"a": 1e-05, "b": 27.571741087751928}))
    found = json.loads(path.read_text())
    path.write_text(path.read_text().replace(before, after, 1))
    assert json.loads(path.read_text()) == found
    with pytest.raises(RecordError, match="its content does not match its digest"):
        read_record(path)


def test_the_line_ends_of_another_system_are_no_damage(tmp_path: Path) -> None:
    path = write_record(tmp_path, record())
    before = read_record(path)
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    assert read_record(path) == before


def test_other_digests_in_a_document_are_left_alone(tmp_path: Path) -> None:
    zeros = {"digest": 32 * "0", "deep": {"digest": 32 * "0"}, "text": '\n  "digest": "' + 32 * "0" + '"'}
    path = write_record(tmp_path, record(facts=zeros, digest="x"), VECTORS)
    assert read_record(path)["facts"] == zeros
    assert read_record(path)["vectors"]["digest"] == digest_of(VECTORS)
    assert "digest" not in read_record(path)


@pytest.mark.parametrize("word", ["NaN", "Infinity", "-Infinity"])
def test_what_json_has_no_number_for_is_damage(tmp_path: Path, word: str) -> None:
    path = write_record(tmp_path, record())
    path.write_text(path.read_text().replace("20.5", word))
    with pytest.raises(RecordError, match=f"json cannot be read: {word} is no JSON"):
        read_record(path)


def test_vectors_outside_of_the_folder_are_never_looked_for(tmp_path: Path) -> None:
    path = write_record(tmp_path, record(vectors={"file": "../a.safetensors", "digest": "x"}))
    with pytest.raises(RecordError, match=r"is damaged: vectors.file holds what does not belong there"):
        read_record(path)


def test_a_record_that_is_no_text_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(RecordError, match=r"a\.json cannot be read"):
        read_record(path)


def test_a_record_of_a_newer_schema_asks_for_an_update(tmp_path: Path) -> None:
    path = write_record(tmp_path, record(schema=SCHEMA + 1))
    with pytest.raises(RecordError) as caught:
        read_record(path)
    assert str(caught.value) == f"record {path} has schema {SCHEMA + 1}, this inrbench reads up to {SCHEMA}: update it"


def test_a_newer_schema_is_told_from_damage_whatever_else_it_holds(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text(json.dumps({"schema": SCHEMA + 1, "outcome": "ok"}))
    with pytest.raises(RecordError, match=f"has schema {SCHEMA + 1}"):
        read_record(path)


def test_missing_vectors_are_named(tmp_path: Path) -> None:
    found = read_record(write_record(tmp_path, record(), VECTORS))
    (tmp_path / found["vectors"]["file"]).unlink()
    with pytest.raises(RecordError, match=r"the vectors .*safetensors of record mwt\+digits-smoke-s0 are missing"):
        vectors_of(tmp_path, found)


def test_vectors_of_another_record_are_refused(tmp_path: Path) -> None:
    mine = read_record(write_record(tmp_path, record(), VECTORS))
    other = read_record(write_record(tmp_path, record(key="ffff"), {"ids": np.zeros(1)}))
    (tmp_path / other["vectors"]["file"]).replace(tmp_path / mine["vectors"]["file"])
    with pytest.raises(RecordError, match=r"are not those of record mwt\+digits-smoke-s0"):
        vectors_of(tmp_path, mine)


# ------------------------------------------------------------------ a disk that refuses


@pytest.mark.parametrize("writes", [0, 1])
def test_a_full_disk_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, writes: int) -> None:
    """The disk is full at once, or behind the vectors."""
    path = write_record(tmp_path, record(), VECTORS)
    before = path.read_bytes()
    sync, left = os.fsync, iter([True] * writes)

    def fsync(descriptor: int) -> None:
        if not next(left, False):
            raise OSError(28, "No space left on device")
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(RecordError) as caught:
        write_record(tmp_path, record(metrics={}), {"ids": np.zeros(2)})
    assert str(caught.value).startswith(f"cannot write the record {path}: No space left on device; ")
    assert "--records DIR" in str(caught.value)
    monkeypatch.undo()
    assert path.read_bytes() == before
    np.testing.assert_array_equal(vectors_of(tmp_path, read_record(path))["mse"], VECTORS["mse"])
    assert not list(tmp_path.glob(".*"))


def test_a_folder_that_is_a_file_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "records").write_text("")
    with pytest.raises(
        RecordError, match=r"cannot write the record .*records.*: File exists; finished stages are kept"
    ):
        write_record(tmp_path / "records", record())


# ------------------------------------------------------------------ tables


def test_a_damaged_record_is_named_and_no_table_is_made(tmp_path: Path) -> None:
    write_record(tmp_path, record())
    (tmp_path / "broken.json").write_text("{}")
    with pytest.raises(RecordError, match=r"record .*broken\.json is damaged: it has no schema"):
        load_records(tmp_path)


def test_a_folder_of_records_is_a_data_frame_with_dotted_columns(tmp_path: Path) -> None:
    long = {"log": [{"step": 1.0}], "log_tail": ["a"], "ingredients": {"fit": {"code": {"inrbench.arrays": "0"}}}}
    write_record(tmp_path, record(**long), VECTORS)
    write_record(tmp_path, record(key="ffff", seed=1, cell="mwt+digits-smoke-s1", metrics={"accuracy": 0.5}))
    frame = load_records(tmp_path).set_index("seed")
    assert len(frame) == 2
    assert {"cell", "status", "metrics.psnr_db", "metrics.accuracy", "costs.train_s", "settings.fitter.steps"} <= set(
        frame.columns
    )
    assert not [name for name in frame.columns if name.partition(".")[0] in long]
    assert frame.loc[0, "metrics.psnr_db"] == 20.5
    assert frame["metrics.accuracy"].isna()[0]
    assert frame.loc[1, "metrics.accuracy"] == 0.5


def test_no_records_are_an_empty_data_frame_that_can_be_asked(tmp_path: Path) -> None:
    frame = load_records(tmp_path)
    assert frame.empty
    assert frame[frame["status"] == "ok"]["cell"].tolist() == []
    write_record(tmp_path, record())
    assert set(frame.columns) < set(load_records(tmp_path).columns)
    with pytest.raises(RecordError, match="there is no folder of records at"):
        load_records(tmp_path / "nowhere")
