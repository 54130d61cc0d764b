"""Merging: nothing lost, nothing twice, whatever is killed; and nothing is written over what cannot be read."""

from __future__ import annotations

import itertools
import os
import shutil
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from inrbench.errors import BadData, RecordError, UsageError
from inrbench.merging import ASIDE, Merged, _Merge, merge
from inrbench.records import read_record, read_records, vectors_of, write_record


def record(seed: int = 0, **changes: Any) -> dict[str, Any]:
    return {
        "schema": 2,
        "cell": f"mwt+digits-smoke-s{seed}",
        "key": f"{seed:032x}",
        "method": "mwt",
        "dataset": "digits",
        "profile": "smoke",
        "seed": seed,
        "status": "ok",
        "metrics": {"psnr_db": 20.5},
        "costs": {"train_s": 1.5},
        "settings": {},
        "facts": {},
        "data": {},
        "keys": {},
        "label": "",
        "finished": "2026-01-01T00:00:00+00:00",
        **changes,
    }


def failure(seed: int = 0, **changes: Any) -> dict[str, Any]:
    return record(seed, **{"status": "crash", "metrics": {}, "reason": "a bug", **changes})


def write(folder: Path, *records: dict[str, Any], errors: float = 0.1) -> Path:
    for one in records:
        good = one["status"] == "ok"
        write_record(folder, one, {"ids": np.arange(3), "mse": np.full(3, errors) + one["seed"]} if good else None)
    return folder


def content(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.name.endswith(".part")
    }


def counts(done: Merged) -> tuple[int, ...]:
    return done.added, done.there, done.replaced, done.left_out, len(done.aside), len(done.differing)


def rows(folder: Path) -> list[tuple[int, str, Any]]:
    return sorted((one["seed"], one["status"], one["metrics"].get("psnr_db")) for one in read_records(folder))


# ------------------------------------------------------------------ what is there afterwards


def test_all_records_are_there_once_with_their_vectors_and_sources_are_as_they_were(tmp_path: Path) -> None:
    a = write(tmp_path / "a", record(0), record(1))
    b = write(tmp_path / "b", record(1), record(2), failure(3))
    before = content(a), content(b)
    done = merge([a, b], tmp_path / "new" / "all")
    assert counts(done) == (4, 1, 0, 0, 0, 0)
    assert rows(done.folder) == [(0, "ok", 20.5), (1, "ok", 20.5), (2, "ok", 20.5), (3, "crash", None)]
    for one in read_records(done.folder):
        if one["status"] == "ok":
            np.testing.assert_array_equal(vectors_of(done.folder, one)["mse"], np.full(3, 0.1) + one["seed"])
    assert (content(a), content(b)) == before
    assert content(done.folder) == {**before[0], **before[1]}


def test_without_another_folder_the_first_one_gets_what_it_lacks(tmp_path: Path) -> None:
    a, b = write(tmp_path / "a", record(0)), write(tmp_path / "b", record(0), record(1))
    assert counts(merge([a, b])) == (1, 1, 0, 0, 0, 0)
    assert content(a) == content(b)


def test_a_merge_that_is_given_again_does_nothing(tmp_path: Path) -> None:
    a = write(tmp_path / "a", record(0), failure(1))
    b = write(tmp_path / "b", record(0, metrics={"psnr_db": 21.0}), failure(1), record(2), errors=0.2)
    first = merge([a, b])
    before = content(a)
    again = merge([a, b])
    assert content(a) == before
    assert counts(again) == (0, 2, 0, 0, 1, 1)
    assert again.differing == first.differing


@pytest.mark.parametrize("order", list(itertools.permutations("abc")), ids="".join)
def test_whatever_the_order_each_key_has_its_good_record(tmp_path: Path, order: tuple[str, ...]) -> None:
    write(tmp_path / "a", failure(0), record(1), failure(2, finished="2026-01-01T00:00:01+00:00"))
    write(tmp_path / "b", record(0), failure(1), failure(2, finished="2026-01-01T00:00:03+00:00", reason="newest"))
    write(tmp_path / "c", failure(0), failure(1), failure(2, finished="2026-01-01T00:00:02+00:00"))
    done = merge([tmp_path / name for name in order])
    assert rows(done.folder) == [(0, "ok", 20.5), (1, "ok", 20.5), (2, "crash", None)]
    assert next(one for one in read_records(done.folder) if one["seed"] == 2)["reason"] == "newest"
    assert len(list(done.folder.glob("*.json"))) == 3


def test_a_good_record_takes_the_place_of_a_failure(tmp_path: Path) -> None:
    a, b = write(tmp_path / "a", failure(0)), write(tmp_path / "b", record(0))
    assert counts(merge([a, b])) == (1, 0, 1, 0, 0, 0)
    assert content(a) == content(b)


def test_a_failure_behind_a_good_record_stays_where_it_is_and_is_not_copied(tmp_path: Path) -> None:
    a = write(tmp_path / "a", record(0), failure(0, finished="2026-01-02T00:00:00+00:00"))
    b = write(tmp_path / "b", record(0))
    assert len(list(a.glob("*.failed.json"))) == 1
    before = content(a)
    assert counts(merge([a, b])) == (0, 1, 0, 0, 0, 0)
    assert content(a) == before
    assert counts(merge([b, a])) == (0, 1, 0, 1, 0, 0)
    assert rows(b) == [(0, "ok", 20.5)]


def test_a_good_record_counts_once_though_its_folder_has_a_failure_too(tmp_path: Path) -> None:
    b = write(tmp_path / "b", record(0), failure(0))
    assert counts(merge([b], tmp_path / "all")) == (1, 0, 0, 1, 0, 0)
    assert rows(tmp_path / "all") == [(0, "ok", 20.5)]


@pytest.mark.parametrize("name", ["mine.json", "mwt+digits-smoke-s0-00000000.failed.json"])
def test_a_failure_goes_whatever_its_file_is_called(tmp_path: Path, name: str) -> None:
    a, b = write(tmp_path / "a", failure(0)), write(tmp_path / "b", record(0))
    next(a.glob("*.json")).rename(a / name)
    assert counts(merge([a, b])) == (1, 0, 1, 0, 0, 0)
    assert content(a) == content(b)
    shutil.copy(next(write(tmp_path / "c", failure(0)).glob("*.json")), a / name)  # as if killed before it went
    merge([a, b])
    assert content(a) == content(b)


def test_records_of_one_cell_with_other_keys_are_all_kept(tmp_path: Path) -> None:
    a, b = write(tmp_path / "a", record(0)), write(tmp_path / "b", record(0, key="f" * 32))
    assert counts(merge([a, b])) == (1, 0, 0, 0, 0, 0)
    assert len(rows(a)) == 2


def test_a_file_that_was_renamed_is_known_by_what_it_holds(tmp_path: Path) -> None:
    a, b = write(tmp_path / "a", record(0)), write(tmp_path / "b", record(0))
    (path,) = a.glob("*.json")
    path.rename(a / "mine.json")
    assert counts(merge([a, b])) == (0, 1, 0, 0, 0, 0)
    assert [path.name for path in a.glob("*.json")] == ["mine.json"]


# ------------------------------------------------------------------ two good records of one key


def test_another_result_of_the_same_key_is_kept_where_no_table_looks(tmp_path: Path) -> None:
    a = write(tmp_path / "a", record(0))
    b = write(tmp_path / "b", record(0, metrics={"psnr_db": 21.0}), errors=0.2)
    done = merge([a, b])
    assert counts(done) == (0, 0, 0, 0, 1, 1)
    assert rows(a) == [(0, "ok", 20.5)]
    (path,) = done.aside
    assert path.parent == a / ASIDE
    assert read_record(path) == next(read_records(b))
    np.testing.assert_array_equal(vectors_of(path.parent, read_record(path))["mse"], np.full(3, 0.2))
    assert rows(a / ASIDE) == [(0, "ok", 21.0)]


def test_the_same_result_at_another_time_is_kept_and_is_no_difference(tmp_path: Path) -> None:
    a = write(tmp_path / "a", record(0))
    b = write(tmp_path / "b", record(0, finished="2025-01-01T00:00:00+00:00", costs={"train_s": 9.0}))
    assert counts(merge([a, b])) == (0, 0, 0, 0, 1, 0)
    assert next(read_records(a / ASIDE))["costs"] == {"train_s": 9.0}


def test_equal_metrics_of_other_vectors_are_a_difference(tmp_path: Path) -> None:
    a, b = write(tmp_path / "a", record(0)), write(tmp_path / "b", record(0), errors=0.2)
    assert counts(merge([a, b])) == (0, 0, 0, 0, 1, 1)


def test_other_metrics_of_equal_vectors_are_a_difference(tmp_path: Path) -> None:
    a = write(tmp_path / "a", record(0))
    b = write(tmp_path / "b", record(0, metrics={"psnr_db": 21.0}))
    shutil.copytree(b, tmp_path / "c")
    assert counts(merge([a, b, tmp_path / "c"])) == (0, 0, 0, 0, 1, 1)


def test_what_was_set_aside_alone_stays_aside_until_it_is_found_in_a_table(tmp_path: Path) -> None:
    lonely, b = write(tmp_path / "a" / ASIDE, record(0)), write(tmp_path / "b", record(0))
    assert counts(merge([lonely.parent], tmp_path / "one")) == (0, 0, 0, 0, 1, 1)
    assert (rows(tmp_path / "one"), rows(tmp_path / "one" / ASIDE)) == ([], [(0, "ok", 20.5)])
    assert counts(merge([b], tmp_path / "one")) == (1, 0, 0, 0, 0, 0)
    assert counts(merge([lonely.parent, b], tmp_path / "two")) == (1, 1, 0, 0, 0, 0)
    assert content(tmp_path / "two") == content(b)


def test_what_was_set_aside_travels_and_is_never_there_twice(tmp_path: Path) -> None:
    for name, value in (("a", 20.0), ("b", 21.0), ("c", 22.0)):
        write(tmp_path / name, record(0, metrics={"psnr_db": value}), errors=value)
    merge([tmp_path / "a", tmp_path / "b"])
    done = merge([tmp_path / "c", tmp_path / "a"], tmp_path / "all")
    assert rows(done.folder) == [(0, "ok", 22.0)]
    assert rows(done.folder / ASIDE) == [(0, "ok", 20.0), (0, "ok", 21.0)]
    merge([tmp_path / "a", tmp_path / "b", tmp_path / "c"], done.folder)
    assert len(rows(done.folder)) == 1
    assert len(rows(done.folder / ASIDE)) == 2


def test_what_a_sweep_added_to_a_record_is_added_and_makes_no_other_record(tmp_path: Path) -> None:
    values = {"table": "paper.table1", "metrics": {"accuracy": 0.5}}
    a, b = write(tmp_path / "a", record(0)), write(tmp_path / "b", record(0, published=values))
    assert counts(merge([a, b])) == (0, 1, 0, 0, 0, 0)
    assert next(read_records(a)) == next(read_records(b))
    assert counts(merge([b, write(tmp_path / "c", record(0))])) == (0, 1, 0, 0, 0, 0)
    other = write(tmp_path / "d", record(0, published={"table": "another"}))
    assert counts(merge([b, other])) == (0, 1, 0, 0, 0, 0)
    assert next(read_records(b))["published"] == values


def test_a_record_of_schema_1_is_copied_as_it_is_and_known_in_todays(tmp_path: Path) -> None:
    old = Path(__file__).parent / "schema-1"
    done = merge([old], tmp_path / "all")
    assert content(done.folder) == content(old)
    for one in read_records(old):
        write_record(tmp_path / "new", one)
    for path in old.glob("*.safetensors"):
        shutil.copy(path, tmp_path / "new")
    assert counts(merge([done.folder, tmp_path / "new"])) == (0, 2, 0, 0, 0, 0)


# ------------------------------------------------------------------ what is refused


def damaged(folder: Path, what: str) -> str:
    (document,) = folder.glob("*.json")
    (vectors,) = folder.glob("*.safetensors")
    path = document if what == "record" else vectors
    if what == "missing":
        path.unlink()
    else:
        whole = bytearray(path.read_bytes())
        whole[-20] ^= 1
        path.write_bytes(whole)
    return str(path)


@pytest.mark.parametrize("what", ["record", "vectors", "missing"])
@pytest.mark.parametrize("where", ["a", "b", "c"])
def test_damage_anywhere_is_named_before_anything_is_written(tmp_path: Path, what: str, where: str) -> None:
    folders = [write(tmp_path / name, record(seed)) for seed, name in enumerate("abc")]
    path = damaged(tmp_path / where, what)
    before = content(tmp_path)
    with pytest.raises(RecordError) as caught:
        merge(folders)
    assert str(caught.value).startswith("nothing was merged: ")
    assert path in str(caught.value)
    assert content(tmp_path) == before


def test_the_number_of_damaged_records_is_said(tmp_path: Path) -> None:
    a = write(tmp_path / "a", record(0), record(1), record(2))
    for path in list(a.glob("*.json"))[:2]:
        path.write_text("{")
    with pytest.raises(RecordError, match=r"^nothing was merged: record .* cannot be read: .*; and 1 more$"):
        merge([a], tmp_path / "all")
    assert not (tmp_path / "all").exists()


@pytest.mark.parametrize("whole", [True, False], ids=["other vectors", "no vectors"])
def test_a_file_in_the_way_is_never_written_over(tmp_path: Path, whole: bool) -> None:
    a, b = write(tmp_path / "a", record(0)), write(tmp_path / "b", record(1))
    (mine,), (theirs,) = a.glob("*.safetensors"), b.glob("*.safetensors")
    place = a / theirs.name
    place.write_bytes(mine.read_bytes() if whole else b"my own notes")
    before = content(tmp_path)
    with pytest.raises(RecordError, match=r"^nothing was merged: ") as caught:
        merge([a, b])
    assert str(place) in str(caught.value)
    assert content(tmp_path) == before


def test_two_cells_that_want_one_file_are_refused(tmp_path: Path) -> None:
    a, b = (write(tmp_path / str(i), record(0, cell=cell)) for i, cell in enumerate(("a/b", "a b")))
    with pytest.raises(
        RecordError, match=r"nothing was merged: record .* would have the file name of a record of another"
    ):
        merge([a, b], tmp_path / "all")


def test_vectors_that_are_damaged_meanwhile_are_never_named_by_a_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    a, b = write(tmp_path / "a", record(0)), write(tmp_path / "b", record(1))
    check = _Merge._checked

    def and_then(self: _Merge) -> Any:
        found = check(self)
        next(b.glob("*.safetensors")).write_bytes(b"")
        return found

    monkeypatch.setattr(_Merge, "_checked", and_then)
    with pytest.raises(BadData, match="is damaged"):
        merge([a, b])
    assert rows(a) == [(0, "ok", 20.5)]


def test_a_folder_that_is_not_there_or_alone_is_refused(tmp_path: Path) -> None:
    a = write(tmp_path / "a", record(0))
    with pytest.raises(UsageError, match=r"there is no folder of records at .*nowhere"):
        merge([a, tmp_path / "nowhere"])
    with pytest.raises(UsageError, match="a merge takes two folders of records or more"):
        merge([a])
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="is a file; a merge writes to a folder"):
        merge([a, a], tmp_path / "file")


def test_a_folder_with_itself_is_left_as_it_is(tmp_path: Path) -> None:
    a = write(tmp_path / "a", record(0))
    (tmp_path / "link").symlink_to(a)
    before = content(a)
    assert counts(merge([a, a, tmp_path / "link"])) == (0,) * 6
    assert counts(merge([tmp_path / "link"], a)) == (0,) * 6
    assert content(a) == before


def test_a_full_disk_is_said_and_the_same_merge_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    a = write(tmp_path / "a", *(record(seed) for seed in range(4)))
    sync, left = os.fsync, iter(range(5))

    def full(descriptor: int) -> None:
        if next(left, None) is None:
            raise OSError(28, "No space left on device")
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(RecordError, match=r"cannot write to .*all: No space left on device; what was merged is whole"):
        merge([a], tmp_path / "all")
    monkeypatch.undo()
    assert len(rows(tmp_path / "all")) == 2
    assert counts(merge([a], tmp_path / "all")) == (2, 2, 0, 0, 0, 0)
    assert content(tmp_path / "all") == content(a)


# ------------------------------------------------------------------ killed between any two operations on files


def folders_to_merge(tmp_path: Path) -> list[Path]:
    a = write(tmp_path / "a", record(0), failure(1), failure(3), failure(4, finished="2025-01-01T00:00:00+00:00"))
    b = write(tmp_path / "b", record(0, metrics={"psnr_db": 21.0}), record(1), record(2), failure(4), errors=0.2)
    c = write(tmp_path / "c", record(0, published={"table": "t"}), record(3))
    return [a, b, c]


def killed_at(number: int, folders: list[Path]) -> bool:
    """Whether a merge in a process of its own was killed before its ``number``-th operation on a file of the first."""
    place, seen = str(folders[0]), itertools.count()

    def audit(event: str, arguments: tuple[Any, ...]) -> None:
        touched = event in ("os.rename", "os.remove", "os.mkdir") or (event == "open" and "w" in str(arguments[1]))
        if touched and str(arguments[0]).startswith(place) and next(seen) == number:
            os._exit(9)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # the child touches nothing that a thread could hold
        child = os.fork()
    if child == 0:
        try:
            sys.addaudithook(audit)
            merge(folders)
            os._exit(0)
        finally:
            os._exit(1)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert status in (0, 9)
    return status == 9


@pytest.mark.filterwarnings("ignore:os.fork")  # where another test has loaded JAX in this process
def test_a_merge_that_is_killed_anywhere_leaves_whole_records_and_is_finished_by_the_next(tmp_path: Path) -> None:
    begun = folders_to_merge(tmp_path / "begun")
    before = rows(begun[0])
    shutil.copytree(tmp_path / "begun", tmp_path / "whole")
    wanted = content(merge([tmp_path / "whole" / folder.name for folder in begun]).folder)
    for number in itertools.count():
        shutil.copytree(tmp_path / "begun", tmp_path / str(number))
        folders = [tmp_path / str(number) / folder.name for folder in begun]
        sources = [content(folder) for folder in folders[1:]]
        killed = killed_at(number, folders)
        for folder in (folders[0], folders[0] / ASIDE):
            for one in read_records(folder):
                vectors_of(folder, one)
        assert {seed for seed, *_ in before} <= {seed for seed, *_ in rows(folders[0])}
        merge(folders)
        assert content(folders[0]) == wanted
        assert [content(folder) for folder in folders[1:]] == sources
        if not killed:
            break
    assert number > 12


def test_what_a_sweep_records_meanwhile_is_not_written_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The cell ends between the check and the write."""
    a, b = write(tmp_path / "a", failure(0)), write(tmp_path / "b", record(0), errors=0.2)
    check = _Merge._checked

    def and_then(self: _Merge) -> Any:
        found = check(self)
        write(a, record(0, metrics={"psnr_db": 30.0}))
        return found

    monkeypatch.setattr(_Merge, "_checked", and_then)
    assert counts(merge([a, b])) == (0, 0, 0, 0, 1, 1)
    assert rows(a) == [(0, "ok", 30.0)]
