"""Cleaning: what is referred to, in use, or not ours stays; the rest goes, and nothing else."""

from __future__ import annotations

import json
import math
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from inrbench.arrays import save_arrays
from inrbench.cell_run import CellRun
from inrbench.cleaning import IN_USE_S, Entry, Survey, remove, survey
from inrbench.data.check import digests
from inrbench.errors import Interrupted, RecordError
from inrbench.interfaces import Trained
from inrbench.merging import ASIDE, merge
from inrbench.records import read_records, vectors_of, write_record
from inrbench.stages import Stages

DAY = 86400.0
NOW = time.time()


def stage(cache: Path, letter: str, *, days: float) -> Path:
    """A finished stage whose files are so many days old."""
    stages = Stages(cache / "stages", {"train": 32 * letter})
    stages.keep_trained("train", Trained({"theta": np.zeros(100)}), CellRun(0))
    folder = cache / "stages" / (32 * letter)
    age(folder, days)
    return folder


def age(path: Path, days: float) -> Path:
    for one in (*path.rglob("*"), path):
        os.utime(one, (NOW - days * DAY, NOW - days * DAY), follow_symlinks=False)
    return path


def record(folder: Path, *letters: str, seed: int = 0, errors: float | None = None, **changes: Any) -> Path:
    names = ("method", "dataset", "profile", "label", "finished")
    document: dict[str, Any] = {"schema": 2, **dict.fromkeys(names, "x"), "status": "ok", "seed": seed}
    document |= {name: {} for name in ("metrics", "costs", "settings", "facts", "data")}
    document |= {"cell": f"x+x-s{seed}", "key": f"{seed:032x}", "keys": {letter: 32 * letter for letter in letters}}
    vectors = None if errors is None else {"ids": np.arange(2), "mse": np.full(2, errors)}
    return write_record(folder, {**document, **changes}, vectors)


def removable(cache: Path, *records: Path, days: float = 14, **more: Any) -> list[str]:
    found = survey(cache, records, NOW).removable(days * DAY, **more)
    return sorted(str(entry.path.relative_to(cache.parent)) for entry in found)


# ------------------------------------------------------------------ stages


def test_old_stages_that_no_record_refers_to_can_go(tmp_path: Path) -> None:
    cache, records = tmp_path / "cache", tmp_path / "records"
    for letter, days in (("a", 20), ("b", 20), ("c", 13), ("d", 15), ("e", 20)):
        stage(cache, letter, days=days)
    record(records, "a", "d")
    record(records, "e", seed=1, status="interrupted")
    assert removable(cache, records) == [f"cache/stages/{32 * 'b'}"]
    assert removable(cache, records, days=12) == [f"cache/stages/{32 * letter}" for letter in "bc"]
    assert removable(cache, tmp_path / "none") == [f"cache/stages/{32 * letter}" for letter in "abde"]


def test_several_folders_of_records_and_what_was_set_aside_refer_to_stages(tmp_path: Path) -> None:
    cache, (one, other) = tmp_path / "cache", (tmp_path / "one", tmp_path / "other")
    for letter in "abcd":
        stage(cache, letter, days=20)
    record(one, keys={"train": 32 * "a", "fit": 32 * "a"})
    record(other, "b")
    record(one / ASIDE, "c")
    assert removable(cache, one, other) == [f"cache/stages/{32 * 'd'}"]
    counts = {entry.path.name[0]: entry.records for entry in survey(cache, [one, other, one], NOW).entries}
    assert counts == {"a": 2, "b": 1, "c": 2, "d": 0}


@pytest.mark.parametrize(("minutes", "goes"), [(59, False), (61, True)])
def test_what_was_written_within_the_hour_is_in_use(tmp_path: Path, minutes: int, goes: bool) -> None:
    cache = tmp_path / "cache"
    folder = stage(cache, "a", days=20)
    save_arrays(folder / "fit.checkpoint.safetensors", {"step": np.zeros(1)})
    age(folder / "fit.checkpoint.safetensors", minutes / 60 / 24)
    age(folder / "trained.safetensors", 20)
    os.utime(folder, (NOW - 20 * DAY,) * 2)
    assert removable(cache, days=0) == ([f"cache/stages/{32 * 'a'}"] if goes else [])
    assert removable(cache, days=0, in_use_s=-1.0) == [f"cache/stages/{32 * 'a'}"]
    assert removable(cache, days=14, in_use_s=-1.0) == []


def test_a_checkpoint_counts_as_its_stage_and_an_interrupted_cell_goes_on_from_it(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    run = CellRun(0, folder=cache / "stages" / (32 * "a"))
    with pytest.raises(Interrupted):  # noqa: PT012
        for _ in run.steps("train", 5, lambda: {"x": np.zeros(1)}, lambda arrays: None):
            run.stop.set()
    age(cache / "stages" / (32 * "a"), 20)
    record(tmp_path / "records", "a", status="interrupted")
    assert removable(cache, tmp_path / "records") == []
    remove(survey(cache, [tmp_path / "records"], NOW).removable(DAY))
    restored: list[Any] = []
    again = CellRun(0, folder=cache / "stages" / (32 * "a"))
    assert list(again.steps("train", 5, lambda: {"x": np.zeros(1)}, restored.append)) == [1, 2, 3, 4]
    assert restored
    (entry,) = survey(cache, [], NOW).removable(-1.0, in_use_s=-math.inf)
    assert {path.name for path in entry.files} == {"train.checkpoint.safetensors"}


def test_a_removed_stage_is_gone_with_its_folder_and_is_done_again(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    folder = stage(cache, "a", days=20)
    temporary = folder / "representations-abc123_x"
    temporary.mkdir()
    np.save(temporary / "train-0.npy", np.zeros(10))
    age(folder, 20)
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    assert remove(survey(cache, [], NOW).removable(DAY)) == (size, [])
    assert not folder.exists()
    assert (cache / "stages").exists()
    assert Stages(cache / "stages", {"train": 32 * "a"}).trained("train", CellRun(0)) is None


def test_what_inrbench_does_not_know_is_never_touched(tmp_path: Path) -> None:
    cache, records = tmp_path / "cache", tmp_path / "records"
    folder = stage(cache, "a", days=0)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    mine = [
        folder / "notes.txt",
        folder / "mine" / "trained.safetensors",
        folder / "mine" / "a.npy",
        folder / "representations-abc" / "notes.txt",
        cache / "stages" / "notes" / "trained.safetensors",
        cache / "stages" / (31 * "a") / "trained.safetensors",
        cache / "stages" / "trained.safetensors",
        cache / "images" / "imagenette-1" / "a.npy",
        cache / "checksums" / f"{32 * 'a'}.json",
        cache / "checksums" / "notes.json",
        cache / "trained.safetensors",
        elsewhere / "trained.safetensors",
        records / "mine.safetensors",
        records / "notes.txt",
        records / "deep" / "x-00000000.00000000.safetensors",
    ]
    for path in mine:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("mine")
    (cache / "checksums" / "notes.json").write_text('{"path": "/nowhere/at/all"}')
    (cache / "stages" / (32 * "b")).symlink_to(elsewhere)
    (folder / "sample.safetensors").symlink_to(elsewhere / "trained.safetensors")
    age(tmp_path, 30)
    found = survey(cache, [records], NOW)
    assert found.others == {"stages": 7 * 4, "images": 4, "checksums": 4 + 27, "trained.safetensors": 4}
    remove(found.removable(0.0, in_use_s=0.0))
    assert [path for path in mine if not path.is_file()] == []
    assert not (folder / "trained.safetensors").exists()
    assert (folder / "sample.safetensors").is_symlink()
    assert (cache / "stages" / (32 * "b")).is_symlink()


def test_what_was_written_between_looking_and_removing_stays(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    folder, other = stage(cache, "a", days=20), stage(cache, "b", days=20)
    entries = survey(cache, [], NOW).removable(DAY)
    save_arrays(folder / "fit.checkpoint.safetensors", {"step": np.zeros(1)})
    remove(entries)
    assert (folder / "trained.safetensors").exists()
    assert not other.exists()


def test_files_that_go_meanwhile_are_no_error(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    folder = stage(cache, "a", days=20)
    entries = survey(cache, [], NOW).removable(DAY)
    (folder / "trained.safetensors").unlink()
    os.utime(folder, (NOW - 20 * DAY,) * 2)
    assert remove(entries) == (0, [])
    assert not folder.exists()


def test_what_cannot_be_deleted_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = tmp_path / "cache"
    folder = stage(cache, "a", days=20)

    def refuse(path: Path, missing_ok: bool = False) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "unlink", refuse)
    freed, refused = remove(survey(cache, [], NOW).removable(DAY))
    assert (freed, refused) == (0, [f"{folder / 'trained.safetensors'}: Permission denied"])


def test_a_cache_that_is_not_there_is_empty(tmp_path: Path) -> None:
    assert survey(tmp_path / "none", [tmp_path / "none"], NOW) == Survey(tmp_path / "none", NOW, (), {})


# ------------------------------------------------------------------ records


def test_vectors_that_no_record_names_can_go_and_others_never(tmp_path: Path) -> None:
    records = tmp_path / "records"
    record(records, errors=0.1)
    record(records, seed=1, errors=0.1)
    (orphan,) = records.glob("x+x-s1-*.safetensors")
    next(records.glob("x+x-s1-*.json")).unlink()
    assert removable(tmp_path / "cache", records) == []
    age(records, 2 / 24)
    assert removable(tmp_path / "cache", records) == [f"records/{orphan.name}"]
    freed, refused = remove(survey(tmp_path / "cache", [records], NOW).removable(14 * DAY))
    assert (freed > 0, refused, orphan.exists()) == (True, [], False)
    for one in read_records(records):
        assert vectors_of(records, one)


def test_vectors_that_were_set_aside_are_named_by_the_records_beside_them(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    record(one, errors=0.1)
    record(other, errors=0.2)
    (path,) = merge([one, other]).aside
    age(one, 1)
    assert removable(tmp_path / "cache", one) == []
    path.unlink()
    assert len(removable(tmp_path / "cache", one)) == 1


def test_a_damaged_record_is_named_and_nothing_is_looked_at(tmp_path: Path) -> None:
    record(tmp_path / "records").write_text("{}")
    with pytest.raises(RecordError, match="is damaged"):
        survey(tmp_path / "cache", [tmp_path / "records"], NOW)


@pytest.mark.parametrize(
    "place",
    [
        "records/.x+x-s0-00000000.json.4711.part",
        "records/.4711.probe",
        f"cache/stages/{32 * 'a'}/.trained.safetensors.4711.part",
        "cache/checksums/tmpab_12xyz.tmp",
    ],
)
def test_leftovers_of_writes_that_were_interrupted_can_go_after_an_hour(tmp_path: Path, place: str) -> None:
    cache, records = tmp_path / "cache", tmp_path / "records"
    stage(cache, "a", days=0)
    record(records, "a")
    path = tmp_path / place
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"half")
    assert removable(cache, records) == []
    age(path, 2 / 24)
    assert removable(cache, records) == [place]
    assert remove(survey(cache, [records], NOW).removable(14 * DAY)) == (4, [])
    assert not path.exists()
    assert (cache / "stages" / (32 * "a") / "trained.safetensors").exists()


def test_an_old_stage_goes_together_with_the_leftovers_in_it(tmp_path: Path) -> None:
    folder = stage(tmp_path / "cache", "a", days=0)
    (folder / ".trained.safetensors.4711.part").write_bytes(b"half")
    age(folder, 20)
    remove(survey(tmp_path / "cache", [], NOW).removable(DAY))
    assert list(folder.rglob("*")) == []


def test_leftovers_are_what_our_writes_leave(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The names are those that the code writes to before it renames."""
    written: list[str] = []
    rename = Path.replace

    def replace(path: Path, target: Path) -> Path:
        written.append(path.name)
        return rename(path, target)

    monkeypatch.setattr(Path, "replace", replace)
    monkeypatch.setenv("INRBENCH_CACHE", str(tmp_path / "cache"))
    record(tmp_path / "records", errors=0.1)
    digests(next((tmp_path / "records").glob("*.json")))
    assert len(written) == 3
    for name in written:
        path = tmp_path / "cache" / "checksums" / name
        path.write_bytes(b"half")
        age(path, 1)
    assert len([one for one in survey(tmp_path / "cache", [], NOW).entries if one.kind == "leftover"]) == 3


# ------------------------------------------------------------------ checksums


def test_checksums_of_data_that_is_gone_can_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = tmp_path / "cache"
    monkeypatch.setenv("INRBENCH_CACHE", str(cache))
    for name in ("here", "gone"):
        (tmp_path / name).write_text(name)
        digests(tmp_path / name)
    (tmp_path / "gone").unlink()
    age(cache, 20)
    (path,) = removable(cache)
    assert json.loads((tmp_path / path).read_text())["path"] == str(tmp_path / "gone")
    kinds = {(entry.kind, entry.wanted) for entry in survey(cache, [], NOW).entries}
    assert kinds == {("checksum", True), ("checksum", False)}


def test_an_entry_is_only_removable_where_nothing_speaks_for_it() -> None:
    def goes(**changes: Any) -> bool:
        entry = Entry(**{"kind": "stage", "path": Path("a"), "files": (), "size_bytes": 0, "written": 0.0, **changes})
        return bool(Survey(Path(), 2 * IN_USE_S, (entry,)).removable(1.5 * IN_USE_S))

    assert goes()
    assert not goes(records=1)
    assert not goes(wanted=True)
    assert not goes(written=IN_USE_S)
    assert not goes(written=0.75 * IN_USE_S)
    assert goes(written=0.75 * IN_USE_S, kind="vectors")
