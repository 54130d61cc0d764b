"""What an analysis found, as files."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path

import pytest

from inrbench.errors import InrbenchError
from inrbench.findings import cell_text, write_findings
from inrbench.interfaces import Findings

FOUND = Findings(
    {
        "channels": [{"channel": 3, "mean": 0.123456, "r2": math.nan}, {"channel": 1200, "mean": 2.0, "r2": 1.0}],
        "by name": [{"array": "a", "share": 0.5}],
        "empty": [],
    },
    "Over 8 signals.",
    {"curve": b"first", "moved images": b"second"},
)
ABOUT = {"analysis": "waves", "of": "mwt+digits", "settings": {"bits": [4, 6]}, "versions": {"numpy": "2"}}


def test_all_tables_and_pictures_are_written_and_the_first_is_called_as_the_analysis(tmp_path: Path) -> None:
    paths = write_findings(FOUND, ABOUT, tmp_path / "new" / "folder", "waves")
    assert sorted(path.name for path in paths) == sorted(path.name for path in (tmp_path / "new" / "folder").iterdir())
    assert [path.name for path in paths] == [
        *("waves.md", "waves.json", "waves.csv", "waves-by-name.csv", "waves-empty.csv"),
        *("waves.png", "waves-moved-images.png"),
    ]
    assert [path.read_bytes() for path in paths[-2:]] == [b"first", b"second"]


def test_numbers_are_whole_in_the_files_for_programs_and_what_was_not_measured_is_empty(tmp_path: Path) -> None:
    write_findings(FOUND, ABOUT, tmp_path, "waves")
    document = json.loads((tmp_path / "waves.json").read_text())
    assert document["tables"]["channels"][0] == {"channel": 3, "mean": 0.123456, "r2": None}
    assert (document["note"], document["settings"]) == ("Over 8 signals.", {"bits": [4, 6]})
    rows = list(csv.DictReader((tmp_path / "waves.csv").read_text().splitlines()))
    assert rows[0] == {"channel": "3", "mean": "0.123456", "r2": ""}


def test_the_page_says_what_was_analysed_and_how(tmp_path: Path) -> None:
    write_findings(FOUND, ABOUT, tmp_path, "waves")
    page = (tmp_path / "waves.md").read_text()
    assert page.startswith("# waves\n\nanalysis waves, of mwt+digits\n\nSettings: bits=[4, 6].\n\nOver 8 signals.\n")
    assert (
        "## channels\n\n| channel | mean | r2 |\n| --- | --- | --- |\n| 3 | 0.1235 | – |\n| 1,200 | 2 | 1 |\n" in page
    )
    assert "![curve](waves.png)" in page
    assert "## empty" not in page


SHOWN = [(1234567, "1,234,567"), (27.61234, "27.61"), (1e-5, "1e-05"), (math.nan, "–"), (None, "–"), ("a", "a")]


@pytest.mark.parametrize(("value", "text"), [*SHOWN, (True, "true")])
def test_a_value_is_shown_for_people(value: object, text: str) -> None:
    assert cell_text(value) == text


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InrbenchError, match=r"cannot write to '.*/file'"):
        write_findings(FOUND, ABOUT, tmp_path / "file", "waves")
