"""`inrbench gc`: shows by default, deletes where it is asked to, and says what it did."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

from inrbench.arrays import save_arrays
from inrbench.cli import cli
from inrbench.records import write_record

OLD, NEW = 32 * "a", 32 * "b"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("INRBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("INRBENCH_RECORDS", raising=False)
    Path("records").mkdir()
    for name, days in ((OLD, 20.0), (NEW, 0.5)):
        folder = tmp_path / "cache" / "stages" / name
        save_arrays(folder / "trained.safetensors", {"theta": np.zeros(1000)})
        for path in (folder / "trained.safetensors", folder):
            os.utime(path, (time.time() - days * 86400,) * 2)
    return tmp_path / "cache"


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(cli, ["gc", *arguments], catch_exceptions=False)


def record(folder: str, key: str) -> Path:
    names = ("cell", "key", "method", "dataset", "profile", "label", "finished")
    document: dict[str, Any] = {"schema": 2, **dict.fromkeys(names, "x"), "status": "ok", "seed": 0}
    document |= {name: {} for name in ("metrics", "costs", "settings", "facts", "data")}
    return write_record(Path(folder), {**document, "keys": {"train": key}})


def there(cache: Path) -> list[str]:
    return sorted(path.name[0] for path in (cache / "stages").iterdir())


@pytest.mark.parametrize("arguments", [(), ("--dry-run",)])
def test_without_being_asked_to_it_deletes_nothing(cache: Path, arguments: tuple[str, ...]) -> None:
    result = invoke(*arguments)
    assert result.exit_code == 0
    lines = [line.split() for line in result.stdout.splitlines()]
    assert lines[0] == ["cache", str(cache)]
    assert lines[1] == ["WHAT", "NUMBER", "SIZE", "YOUNGEST", "OLDEST", "CAN", "GO"]
    size = (cache / "stages" / OLD / "trained.safetensors").stat().st_size
    said = ["2", f"{size / 500:.1f}", "kB", "12", "h", "0", "min", "20", "d", "0", "h", f"{size / 1000:.1f}", "kB"]
    assert lines[2] == ["other", "stages", *said]
    assert lines[-1][:4] == [str(cache / "stages" / OLD), "8.1", "kB", "20"]
    assert result.stderr == "8.1 kB can go; the same command with --delete frees them\n"
    assert there(cache) == ["a", "b"]


def test_it_deletes_what_it_showed(cache: Path) -> None:
    result = invoke("--delete")
    assert (result.exit_code, result.stderr) == (0, "freed 8.1 kB\n")
    assert "DELETED" in result.stdout
    assert there(cache) == ["b"]
    assert invoke("--older-than", "11h", "--delete").stderr == "freed 8.1 kB\n"
    again = invoke("--delete")
    assert (again.stdout, again.stderr) == (f"cache {cache}\n  empty\n", "freed 0 bytes\n")


def test_what_records_in_any_of_the_folders_refer_to_stays(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    record("records", OLD)
    record("more", NEW)
    result = invoke("--records", "records", "--records", "more", "--older-than", "0h", "--delete")
    assert result.stderr == "freed 0 bytes\n"
    assert "stages that records refer to  2" in result.stdout
    monkeypatch.setenv("INRBENCH_RECORDS", f"records{os.pathsep}more")
    assert invoke("--older-than", "0h").stderr == "nothing can go\n"
    assert invoke("--older-than", "0h", "--records", "more").stderr.startswith("8.1 kB can go")
    assert there(cache) == ["a", "b"]


def test_what_may_be_in_use_goes_only_now(cache: Path) -> None:
    (cache / "stages" / NEW / "trained.safetensors").touch()
    assert invoke("--older-than", "0h", "--delete").stderr == "freed 8.1 kB\n"
    assert there(cache) == ["b"]
    assert invoke("--older-than", "0h", "--now", "--delete").stderr == "freed 8.1 kB\n"
    assert there(cache) == []


def test_all_of_it_is_one_json_document(cache: Path) -> None:
    (cache / "images").mkdir()
    (cache / "images" / "a.npy").write_bytes(b"1234")
    document = json.loads(invoke("--json").stdout)
    entries = {Path(one["path"]).name: one for one in document["entries"]}
    assert (entries[OLD]["can_go"], entries[NEW]["can_go"]) == (True, False)
    assert entries[OLD]["age_s"] == pytest.approx(20 * 86400, abs=60)
    assert document["not_looked_into"] == {"images": 4}
    assert (document["can_go_bytes"], document["freed_bytes"]) == (entries[OLD]["bytes"], None)
    done = json.loads(invoke("--json", "--delete").stdout)
    assert (done["freed_bytes"], done["refused"]) == (entries[OLD]["bytes"], [])
    assert "images: 4 bytes, not looked into" in invoke().stdout


def test_a_damaged_record_is_named_and_nothing_is_deleted(cache: Path) -> None:
    path = record("records", OLD)
    path.write_text("{}")
    result = invoke("--delete", "--older-than", "0h")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith(f"error: record {path} is damaged: ")
    assert there(cache) == ["a", "b"]


def test_what_cannot_be_deleted_is_said_with_exit_status_1(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path, missing_ok: bool = False) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "unlink", refuse)
    result = invoke("--delete")
    assert result.exit_code == 1
    first, second = result.stderr.splitlines()
    assert first == "freed 0 bytes"
    assert second.startswith("error: cannot delete ")
    assert second.endswith("trained.safetensors: Permission denied")


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (
            ["--older-than", "2w"],
            "error: invalid value for '--older-than': '2w' is no age; allowed are hours and",
        ),
        (["--older-than", "-1d"], "error: invalid value for '--older-than': '-1d' is no age"),
        (["--records", "nowhere"], "error: there is no folder of records at 'nowhere'; `inrbench run METHOD+DATASET`"),
    ],
)
def test_what_is_no_age_and_no_folder_is_refused(arguments: list[str], line: str) -> None:
    result = invoke(*arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith(line)
