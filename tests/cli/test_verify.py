"""`inrbench verify`: one cell or all, what is said, and the exit status."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

from inrbench import metrics
from inrbench.arrays import load_arrays, save_arrays
from inrbench.cli import cli
from inrbench.records import read_record, write_record

IDS, MSE = np.arange(4), np.array([0.01, 0.02, 0.03, 0.04])


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("INRBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("INRBENCH_RECORDS", raising=False)


def write(folder: str = "records", seed: int = 0, *, off: float = 0.0, stored: bool = True, **changes: Any) -> Path:
    values = metrics.of_vectors({"ids": IDS, "mse": MSE}, MSE) if stored else {}
    record: dict[str, Any] = {
        "schema": 2,
        "cell": f"mwt+digits-smoke-s{seed}",
        "key": f"{seed:032x}",
        "method": "mwt",
        "dataset": "digits",
        "profile": "smoke",
        "seed": seed,
        "status": "ok",
        "metrics": {name: value + off for name, value in values.items()},
        **{name: {} for name in ("costs", "settings", "facts", "data", "keys")},
        "label": "",
        "finished": "2026-01-01T00:00:00+00:00",
        **changes,
    }
    return write_record(Path(folder), record, {"ids": IDS, "mse": MSE} if stored else None)


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(cli, ["verify", *arguments], catch_exceptions=False)


def test_each_number_is_shown_as_recorded_and_as_recomputed() -> None:
    write()
    result = invoke("mwt+digits")
    assert result.exit_code == 0
    lines = [line.split() for line in result.stdout.splitlines()]
    assert lines[0] == ["WHAT", "RECORDED", "RECOMPUTED", "DIFFERENCE", "ALLOWED", "HOLDS"]
    assert ["psnr_db", *["16.5494718957"] * 2, "0", "1.7e-08", "yes"] in lines
    assert result.stderr.splitlines() == [
        "nothing is stored to recompute: psnr_unclamped_db",
        "its representations are not kept in the cache, so they are not queried again",
    ]


def test_a_number_that_does_not_hold_is_said_with_exit_status_1() -> None:
    write(off=0.25)
    result = invoke("mwt+digits-smoke-s0")
    assert result.exit_code == 1
    assert ["psnr_db", "16.7994718957", "16.5494718957", "-0.25", "1.7e-08", "NO"] in [
        line.split() for line in result.stdout.splitlines()
    ]
    assert result.stderr.splitlines()[-1].startswith("mwt+digits-smoke-s0 does not hold: psnr_db, psnr_db_low, ")
    (document,) = json.loads(invoke("mwt+digits-smoke-s0", "--json").stdout)
    check = next(one for one in document["checks"] if one["what"] == "psnr_db")
    assert (check["holds"], check["difference"]) == (False, pytest.approx(-0.25))


def test_a_record_named_by_its_path_has_its_vectors_beside_it() -> None:
    path = write("elsewhere")
    assert invoke(str(path)).exit_code == 0
    refused = invoke("mwt+digits")
    assert (refused.exit_code, refused.stdout) == (2, "")


def test_all_good_records_of_a_folder_are_checked_and_each_has_a_line() -> None:
    write(seed=0)
    write(seed=1, off=0.25)
    write(seed=2, stored=False)
    write(seed=3, status="crash", stored=False)
    result = invoke("--all")
    assert result.exit_code == 1
    lines = [line.split(maxsplit=3) for line in result.stdout.splitlines()]
    assert lines[1] == ["mwt+digits-smoke-s0", "5", "-", "yes"]
    assert lines[2][3].startswith("NO: psnr_db, psnr_db_low")
    assert lines[3] == ["mwt+digits-smoke-s2", "0", "-", "nothing stored to check"]
    assert len(lines) == 4
    assert result.stderr == "2 of 3 good records checked, 1 do not hold, 0 damaged\n"
    assert invoke("--all", "--records", "records", "--json").exit_code == 1


def test_damage_is_named_and_the_others_are_checked() -> None:
    write(seed=0)
    write(seed=1).write_text("{}")
    path = write(seed=2)
    vectors = path.with_name(read_record(path)["vectors"]["file"])
    vectors.unlink()
    result = invoke("--all")
    assert result.exit_code == 1
    assert "mwt+digits-smoke-s0" in result.stdout
    first, second, last = result.stderr.splitlines()
    assert first.startswith("error: record records/mwt+digits-smoke-s1-00000000.json is damaged: ")
    assert second.startswith(f"error: the vectors {vectors} of record mwt+digits-smoke-s2 are missing")
    assert last == "1 of 3 good records checked, 0 do not hold, 2 damaged"
    one = invoke("mwt+digits-smoke-s2")
    assert (one.exit_code, one.stderr) == (1, f"{second}\n")


def test_where_nothing_can_be_checked_the_exit_status_is_1() -> None:
    write(stored=False)
    result = invoke("mwt+digits")
    assert (result.exit_code, result.stderr) == (1, "nothing of mwt+digits-smoke-s0 could be checked\n")
    assert invoke("--all").exit_code == 1


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ([], "error: say which: CELL, or --all for all good records of the folder\n"),
        (["x", "--all"], "error: say which: CELL, or --all for all good records of the folder\n"),
        (["x"], "error: no record of a cell 'x' in 'records'; known: mwt+digits-smoke-s0\n"),
        (["--all", "--records", "nowhere"], "error: there is no folder of records at 'nowhere'; `inrbench run"),
    ],
)
def test_what_names_no_record_is_refused(arguments: list[str], line: str) -> None:
    write()
    result = invoke(*arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith(line)


@pytest.mark.cells
def test_a_cell_that_was_run_holds_until_its_vectors_or_its_sample_are_others(tmp_path: Path) -> None:
    ran = CliRunner().invoke(cli, ["run", "mwt+digits", "--profile", "smoke", "--threads", "1"])
    assert ran.exit_code == 0, ran.output
    result = invoke("mwt+digits", "--json")
    assert result.exit_code == 0, result.output
    (document,) = json.loads(result.stdout)
    assert document["queried"] == 16
    assert max(abs(check["difference"]) for check in document["checks"]) < 1e-6
    assert len(document["checks"]) == 11
    (sample,) = (tmp_path / "cache" / "stages").glob("*/sample.safetensors")
    arrays, metadata = load_arrays(sample)
    name = next(name for name in arrays if name.startswith("rows/"))
    save_arrays(sample, {**arrays, name: arrays[name] * 1.5}, metadata)
    again = invoke("mwt+digits")
    assert again.exit_code == 1
    assert "does not hold: root of squared error, signal " in again.stderr
    assert invoke("mwt+digits", "--vectors-only").exit_code == 0
