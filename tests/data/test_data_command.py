"""The command ``inrbench data`` on a registry with two data sets."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from click.testing import CliRunner

from inrbench import registry as registry_module
from inrbench.cli.data import data
from inrbench.data.official import AboutData, OfficialFile, md5
from inrbench.errors import UnknownName
from inrbench.plugin import Plugin
from inrbench.settings import DataSettings
from inrbench.signals import GridSignals, PartSpec, Signals, SignalSpec

CONTENT = bytes(range(64))


class Tiny:
    def __init__(self, settings: DataSettings, rest: str) -> None:
        digest = hashlib.md5(CONTENT).hexdigest()
        self.files: Sequence[OfficialFile] = (OfficialFile(path="images", source="here", checksums=(md5(digest),)),)

    def about(self) -> AboutData:
        return AboutData(licence="MIT", licence_source="", homepage="", download_bytes=64_000_000, citation="")

    def spec(self) -> SignalSpec:
        return SignalSpec((PartSpec("grid", (4, 4), 2, 1),), sizes={"train": 3000, "test": 1})

    def load(self, folder: Path | None) -> Mapping[str, Signals]:
        return {"test": GridSignals(np.frombuffer(CONTENT, dtype=np.uint8).reshape(4, 4, 4, 1))}


class Listed:
    plugins = (
        Plugin(api_version=1, kind="dataset", name="own", summary="", target="x:y", settings="x:y", scheme=True),
        Plugin(
            api_version=1,
            kind="dataset",
            name="tiny",
            summary="",
            target="tiny_data:Tiny",
            settings="tiny_data:Settings",
        ),
        Plugin(
            api_version=1,
            kind="dataset",
            name="torn",
            summary="",
            target="not_there:Torn",
            settings="not_there:Settings",
        ),
    )

    def all(self, kind: str) -> list[Plugin]:
        return list(self.plugins)

    def find(self, kind: str, name: str) -> Plugin:
        for plugin in self.plugins:
            if plugin.name == name.partition(":")[0]:
                return plugin
        raise UnknownName(f"no data set named {name!r}")


@pytest.fixture(autouse=True)
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    module = ModuleType("tiny_data")
    module.__dict__.update(Tiny=Tiny, Settings=DataSettings)
    monkeypatch.setitem(sys.modules, "tiny_data", module)
    monkeypatch.setattr(registry_module, "registry", Listed)
    monkeypatch.setenv("INRBENCH_DATA", str(tmp_path))
    return tmp_path


def put(root: Path, content: bytes) -> None:
    (root / "tiny").mkdir()
    (root / "tiny" / "images").write_bytes(content)


def test_list_shows_sizes_shape_licence_and_whether_it_is_here(root: Path) -> None:
    result = CliRunner().invoke(data, ["list"], catch_exceptions=False)
    (row,) = [line for line in result.output.splitlines() if line.startswith("tiny")]
    assert row.split() == ["tiny", "3,000", "+", "1", "4", "x", "4", "x", "1", "64", "MB", "MIT", "no"]
    put(root, CONTENT)
    rows = json.loads(CliRunner().invoke(data, ["list", "--json"], catch_exceptions=False).output)
    here = {row["name"]: row["here"] for row in rows}
    assert here["own:PATH"] == "your own"
    assert here["tiny"] == "yes"
    assert here["torn"].startswith("cannot be loaded: ")


def test_check_tells_official_from_unofficial_from_missing(root: Path) -> None:
    missing = CliRunner().invoke(data, ["check", "tiny"], catch_exceptions=False)
    assert (missing.exit_code, "missing     images" in missing.output) == (1, True)
    put(root, CONTENT)
    official = CliRunner().invoke(data, ["check", "tiny"], catch_exceptions=False)
    assert (official.exit_code, "tiny: official, in " in official.output) == (0, True)
    (root / "tiny" / "images").write_bytes(b"other")
    other = CliRunner().invoke(data, ["check", "tiny"], catch_exceptions=False)
    both = f"(md5 published {hashlib.md5(CONTENT).hexdigest()}, found {hashlib.md5(b'other').hexdigest()})"
    assert other.exit_code == 1
    assert both in other.output
    assert "with --unofficial-data it runs as tiny~" in other.output
    (document,) = json.loads(CliRunner().invoke(data, ["check", "tiny", "--json"], catch_exceptions=False).output)
    assert (document["state"], document["files"][0]["source"]) == ("unofficial", "here")


def test_fetch_of_what_is_here_downloads_nothing(root: Path) -> None:
    put(root, CONTENT)
    result = CliRunner().invoke(data, ["fetch", "tiny"], catch_exceptions=False)
    assert result.output == f"tiny: official, in {root / 'tiny'}\n"


def test_fetch_refuses_an_unknown_name_before_it_starts(root: Path) -> None:
    result = CliRunner().invoke(data, ["fetch", "tiny", "tinny"])
    assert isinstance(result.exception, UnknownName)
    assert "no data set named 'tinny'" in str(result.exception)


def test_where_prints_the_root_and_the_folder_of_a_data_set(root: Path) -> None:
    assert CliRunner().invoke(data, ["where"]).output.strip() == str(root)
    assert CliRunner().invoke(data, ["where", "tiny"]).output.strip() == str(root / "tiny")
    assert CliRunner().invoke(data, ["where", "own:/my/images"]).output.strip() == "/my/images"
    assert CliRunner().invoke(data, ["where", "tiny", "--data-root", "/d"]).output.strip() == "/d/tiny"


@pytest.mark.parametrize("command", ["list", "fetch", "check", "where"])
def test_every_command_teaches_by_example(command: str) -> None:
    assert f"inrbench data {command}" in CliRunner().invoke(data, [command, "--help"]).output
