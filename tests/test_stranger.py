"""A stranger's package, taken from plugins/README.md, installed beside ours and beside broken ones, and run.

Everything lives outside the repository, in an environment that holds nothing else. Broken packages are installed from
the start: whatever works here works in their presence.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.cells

ROOT = Path(__file__).resolve().parent.parent
GUIDE = ROOT / "plugins" / "README.md"

PYPROJECT = """
[build-system]
requires = ["hatchling>=1.21"]
build-backend = "hatchling.build"

[project]
name = "{name}"
version = "{version}"

[project.entry-points.inrbench]
{point} = "{module}"

[tool.hatch.build.targets.wheel]
packages = ["{module}"]
"""
RECORD = """
from inrbench.plugin import Method, Plugin, hookimpl

def record(kind, name, target, settings, api_version=1, **more):
    module = "inrbench_stranger"
    return Plugin(kind=kind, name=name, summary="", api_version=api_version, target=f"{module}.code:{target}",
                  settings=f"{module}.settings:{settings}", **more)

"""
DATASETS = "@hookimpl\ndef inrbench_datasets():\n    return [{records}]\n"
BARS = 'record("dataset", "{name}", "Bars", "BarsSettings", gives=("grid",){more})'
READER = 'record("reader", "{name}", "ClassMeans", "ClassMeansSettings", takes=("*",){more})'
READERS = "@hookimpl\ndef inrbench_readers():\n    return [{records}]\n"

#: Distribution -> (version, entry point's name, source of its module of records).
FAULTY = {
    "faulty-import": ("1.0", "plugin", "import a_module_that_nobody_has\n"),
    "faulty-hook": (
        "1.0",
        "plugin",
        RECORD
        + DATASETS.format(records=BARS.format(name="misspelt-bars", more=""))
        + "\n@hookimpl\ndef inrbench_reader():\n    return []\n",
    ),
    "faulty-version": (
        "1.0",
        "plugin",
        RECORD + DATASETS.format(records=BARS.format(name="future-bars", more=", api_version=99")),
    ),
    "twin-one": (
        "1.0",
        "twins",
        RECORD
        + DATASETS.format(records=BARS.format(name="twin-bars", more="") + ", " + BARS.format(name="one-bars", more=""))
        + READERS.format(records=READER.format(name="twin-means", more="")),
    ),
    "twin-two": (
        "2.0",
        "twins",
        RECORD
        + DATASETS.format(records=BARS.format(name="twin-bars", more="") + ", " + BARS.format(name="two-bars", more=""))
        + READERS.format(records=READER.format(name="twin-means", more="")),
    ),
    "tracker-raising": (
        "1.0",
        "stranger",  # the entry point's name that the stranger uses too
        RECORD
        + DATASETS.format(records=BARS.format(name="tracked-bars", more=""))
        + "\n@hookimpl\ndef inrbench_cell_started(cell):\n    raise RuntimeError('no network')\n",
    ),
}


class Environment:
    """A virtual environment with inrbench, its plugins, the stranger's package and the faulty ones."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.bin = folder / "env" / ("Scripts" if os.name == "nt" else "bin")

    def run(self, *command: str | Path, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run a program of the environment, outside the repository."""
        environment = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "PYTHONHOME")}
        return subprocess.run(
            [str(self.bin / command[0]), *map(str, command[1:])],
            cwd=self.folder,
            env=environment | variables,
            capture_output=True,
            text=True,
            check=False,
        )

    def install(self, *arguments: str | Path) -> None:
        done = self.run("python", "-m", "pip", "install", "--quiet", *arguments)
        assert done.returncode == 0, done.stderr

    def inrbench(self, *arguments: str | Path, status: int = 0, **variables: str) -> str:
        """What the command prints on stdout; on stderr where it is to end with another status than 0."""
        done = self.run("inrbench", *arguments, **variables)
        assert done.returncode == status, done.stderr
        return done.stdout if status == 0 else done.stdout + done.stderr

    def cell(self, what: str, settings: Sequence[str], records: Path, **variables: str) -> dict[str, Any]:
        """The record of a cell at the `smoke` profile, on the CPU."""
        assignments = [word for setting in settings for word in ("--set", setting)]
        command = ["run", what, "--profile", "smoke", "--device", "cpu", "--records", records, "--json", *assignments]
        (record,) = json.loads(self.inrbench(*command, **variables))
        return dict(record)


def blocks_of_the_guide() -> dict[str, str]:
    """The files in plugins/README.md: a line with the name in backquotes and a colon, then a block of code."""
    found = re.findall(
        r"^`([^`\n]+)`:\n\n```\w+\n(.*?)^```$", GUIDE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE
    )
    return dict(found)


def write_package(folder: Path, files: Mapping[str, str]) -> Path:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content, encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Environment:
    place = Environment(tmp_path_factory.mktemp("stranger"))
    subprocess.run([sys.executable, "-m", "venv", str(place.folder / "env")], check=True)
    constraints = ROOT / "constraints.txt"
    limits: list[str | Path] = ["-c", constraints] if constraints.exists() else []
    # torch by its version, so that pip takes no bigger build of another
    place.install(*limits, "torch==2.13.0", "hatchling")
    packages = [write_package(place.folder / "inrbench-stranger", blocks_of_the_guide())]
    for name, (version, point, source) in FAULTY.items():
        module = name.replace("-", "_")
        pyproject = PYPROJECT.format(name=name, version=version, point=point, module=module)
        files = {"pyproject.toml": pyproject, f"{module}/__init__.py": source}
        packages.append(write_package(place.folder / name, files))
    ours = [path.parent for path in sorted(ROOT.glob("plugins/inrbench-*/pyproject.toml"))]
    place.install(*limits, "--no-build-isolation", ROOT, *ours, *packages)
    return place


# ------------------------------------------------------------------ what works


def test_the_guide_holds_a_whole_package() -> None:
    assert list(blocks_of_the_guide()) == [
        "pyproject.toml",
        "inrbench_stranger/__init__.py",
        "inrbench_stranger/settings.py",
        "inrbench_stranger/code.py",
    ]


def test_the_guide_uses_documented_interfaces_alone() -> None:
    source = "\n".join(blocks_of_the_guide().values())
    imported = set(re.findall(r"^from (inrbench\S*) import", source, re.MULTILINE))
    documented = {"domains", "errors", "interfaces", "plugin", "representations", "settings", "signals"}
    assert imported == {f"inrbench.{name}" for name in documented} | {"inrbench_stranger.settings"}


def test_what_the_stranger_offers_is_listed(environment: Environment) -> None:
    listed = json.loads(environment.inrbench("list", "--json"))
    names = {kind: {row["name"]: row.get("distribution") for row in rows} for kind, rows in listed.items()}
    offered = {
        kind: {name for name, owner in rows.items() if owner == "inrbench-stranger"} for kind, rows in names.items()
    }
    assert {kind: found for kind, found in offered.items() if found and kind != "plugins"} == {
        "methods": {"ridge-means"},
        "datasets": {"bars"},
        "inrs": {"gaussian-bumps"},
        "fitters": {"ridge"},
        "readers": {"class-means"},
        "analyses": {"participation-ratio"},
    }
    assert {"mwt", "wt", "siren", "pixels"} <= set(names["methods"])
    assert {"digits", "cifar10"} <= set(names["datasets"])


def test_the_strangers_things_are_shown(environment: Environment) -> None:
    method = environment.inrbench("show", "ridge-means", "--json")
    assert "closed-form latents" in method
    dataset = environment.inrbench("show", "bars", "--json")
    assert "procedural images" in dataset


def test_settings_and_parameters_of_the_strangers_cell_are_shown(environment: Environment) -> None:
    shown = json.loads(environment.inrbench("show", "ridge-means+bars", "--json"))
    assert shown["settings"]["fitter"] == {"name": "ridge", "backend": "numpy", "frequencies": 6, "ridge": 1e-3}
    assert shown["settings"]["data"]["size"] == 12
    assert shown["settings"]["reader"]["standardise"] is True
    assert shown["parameters"] == {"fitter": 0, "reader": 4 * 36}


CELLS = {
    "the stranger's data with a method from here": ("mwt+bars", [], {"data"}),
    "the stranger's field with a fitter from here": ("siren+digits", ["inr=gaussian-bumps"], {"inr"}),
    "the stranger's fitter with a reader from here": (
        "ridge-means+digits",
        ["reader=mlp", "reader.train.steps=20"],
        {"fitter"},
    ),
    "the stranger's reader on weights": (
        "siren+digits",
        ["reader=class-means", "data.train_size=16"],
        {"reader"},
    ),
    "the stranger's reader on meta-learned weights": ("mwt+digits", ["reader=class-means", "joint=null"], {"reader"}),
    "the stranger's method on data from here": ("ridge-means+digits", [], {"fitter", "reader"}),
    "all of it the stranger's": ("ridge-means+bars", [], {"data", "fitter", "reader"}),
}


@pytest.mark.parametrize("name", CELLS)
def test_the_strangers_parts_run_with_what_is_here(environment: Environment, tmp_path: Path, name: str) -> None:
    what, settings, parts = CELLS[name]
    record = environment.cell(what, settings, tmp_path / "records", STRANGER_LOG=str(tmp_path / "log"))
    assert (record["status"], record["reason"]) == ("ok", "")
    assert {part for part, owner in record["plugins"].items() if owner == "inrbench-stranger 1.0"} == parts
    assert record["metrics"]["psnr_db"] > 5.0
    assert ("accuracy" in record["metrics"]) == (record["settings"]["reader"] is not None)
    assert (tmp_path / "log").read_text(encoding="utf-8") == f"{record['cell']} ok\n"  # its life-cycle hook was called


def test_the_commands_of_the_guide_are_those_that_are_run_here() -> None:
    commands = re.findall(
        r"^    inrbench run (\S+) --profile smoke(.*?)(?: +#.*)?$", GUIDE.read_text("utf-8"), re.MULTILINE
    )
    assert len(commands) == 5
    known = {(what, *settings) for what, settings, _ in CELLS.values()}
    for what, rest in commands:
        assert (what, *re.findall(r"--set (\S+)", rest)) in known


def test_the_strangers_method_reads_its_bars(environment: Environment, tmp_path: Path) -> None:
    record = environment.cell("ridge-means+bars", ["data.train_size=null"], tmp_path)
    assert record["metrics"]["accuracy"] > 0.4  # a quarter by chance
    assert record["metrics"]["psnr_db"] > 20.0


def test_the_strangers_parts_work_on_neural_data_sets_as_the_guide_says(
    environment: Environment, tmp_path: Path
) -> None:
    found = re.findall(r"^    inrbench ((?:fit|read|query|analyse) .*?)(?: +#.*)?$", GUIDE.read_text("utf-8"), re.M)
    assert [command.split()[0] for command in found] == ["fit", "read", "query", "analyse"]
    places = {name: str(tmp_path / name) for name in ("latents", "rendered")}
    variables = {"INRBENCH_RECORDS": str(tmp_path / "records")}
    printed = {}
    for command in found:
        words = [places.get(word, word) for word in command.split()]
        more = ["-o", str(tmp_path / "analysis")] if words[0] == "analyse" else []
        printed[words[0]] = json.loads(environment.inrbench(*words, *more, "--json", **variables))
    assert printed["fit"]["kind"] == "latent"
    assert [record["status"] for record in printed["read"]] == ["ok", "ok"]
    assert printed["read"][0]["plugins"]["reader"] == "inrbench-stranger 1.0"
    assert (printed["query"]["kind"], printed["query"]["values"]) == ("samples", 144)
    (row,) = printed["analyse"]["tables"]["participation ratio"]
    assert (row["array"], row["values"]) == ("latent", 36)
    assert 1.0 < row["participation_ratio"] < 32.0  # of the 32 signals that there are
    read = environment.inrbench("read", "class-means", places["rendered"], "--json", **variables)
    assert json.loads(read)[0]["label"] == "read by class-means on rendered pixels"


# ------------------------------------------------------------------ what is refused, alone and with a reason


@pytest.mark.parametrize(
    ("what", "settings", "said"),
    [
        (
            "ridge-means+misspelt-bars",
            [],
            r"data set 'misspelt-bars' cannot be used: faulty-hook 1\.0: no hook named 'inrbench_reader'; "
            r"did you mean 'inrbench_readers'\?",
        ),
        (
            "ridge-means+future-bars",
            [],
            r"'future-bars' cannot be used: faulty-version 1\.0: .* interface version 99, this inrbench has 1",
        ),
        (
            "ridge-means+twin-bars",
            [],
            r"data set 'twin-bars' .*is offered by twin-one 1\.0 and twin-two 2\.0: uninstall one of them",
        ),
        (
            "ridge-means+bars",
            ["reader=twin-means"],
            r"reader 'twin-means' .*is offered by twin-one 1\.0 and twin-two 2\.0: uninstall one of them",
        ),
        ("ridge-means+barz", [], r"no data set named 'barz'; did you mean 'bars'\?.*see `inrbench doctor`"),
        (
            "ridge-means+bars",
            ["fitter.frequences=3"],
            r"no setting 'fitter\.frequences'; did you mean 'fitter\.frequencies'\?",
        ),
        ("ridge-means+bars", ["fitter.frequencies=0"], r"setting fitter\.frequencies=0: input should be greater than"),
        (
            "mwt+bars",
            ["reader=class-means"],
            r"reader 'class-means' cannot train jointly; --set joint=null trains in two stages",
        ),
        (
            "ridge-means+bars",
            ["reader=weight-transformer"],
            r"reader 'weight-transformer' reads weights, but fitter 'ridge' gives latent; "
            r"readers of latent that tell classes: class-means, .*\bmlp\b",
        ),
    ],
)
def test_only_what_uses_a_faulty_plugin_is_refused(
    environment: Environment, tmp_path: Path, what: str, settings: list[str], said: str
) -> None:
    assignments = [word for setting in settings for word in ("--set", setting)]
    printed = environment.inrbench(
        "run", what, "--profile", "smoke", "--records", tmp_path / "records", *assignments, status=2
    )
    assert re.search(said, printed), printed
    assert len(printed.strip().splitlines()) == 1  # and no traceback
    assert not list((tmp_path / "records").glob("*.json"))  # refused before anything started


@pytest.mark.parametrize("dataset", ["one-bars", "two-bars", "tracked-bars"])
def test_what_else_a_clashing_or_failing_package_offers_still_works(
    environment: Environment, tmp_path: Path, dataset: str
) -> None:
    record = environment.cell(f"ridge-means+{dataset}", [], tmp_path)
    assert record["status"] == "ok"


def test_a_life_cycle_hook_that_raises_is_logged_and_the_cell_goes_on(environment: Environment, tmp_path: Path) -> None:
    done = environment.run("inrbench", "run", "ridge-means+bars", "--profile", "smoke", "--records", tmp_path)
    assert done.returncode == 0
    assert "plugin tracker-raising:stranger failed in inrbench_cell_started" in done.stderr
    assert "RuntimeError: no network" in done.stderr


def test_the_doctor_shows_every_fault_with_its_distribution(environment: Environment) -> None:
    printed = environment.inrbench("doctor", status=1)
    for said in (
        r"import: faulty-import 1\.0: importing 'faulty_import' failed: ModuleNotFoundError: No module named "
        r"'a_module_that_nobody_has'",
        r"hook: faulty-hook 1\.0: no hook named 'inrbench_reader'; did you mean 'inrbench_readers'\?",
        r"api-version: faulty-version 1\.0: data set 'future-bars' is written for interface version 99",
        r"clash: data set 'twin-bars' .*is offered by twin-one 1\.0 and twin-two 2\.0",
        r"clash: reader 'twin-means' .*is offered by twin-one 1\.0 and twin-two 2\.0",
    ):
        assert re.search(said, printed), said
    # distributions whose entry points have one name are both found
    for name in ("twin-one", "twin-two", "inrbench-stranger", "tracker-raising"):
        assert re.search(rf"^  {name} ", printed, re.MULTILINE), name


def test_a_faulty_plugins_things_are_not_listed_and_the_others_are(environment: Environment) -> None:
    rows = json.loads(environment.inrbench("list", "datasets", "--json"))
    found = rows["datasets"] if isinstance(rows, dict) else rows
    names = {row["name"] for row in found}
    assert {"bars", "one-bars", "two-bars", "tracked-bars", "digits"} <= names
    assert not {"twin-bars", "future-bars", "misspelt-bars"} & names
