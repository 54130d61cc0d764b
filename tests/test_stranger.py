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
from collections.abc import Mapping
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

def record(kind, name, target, settings, **more):
    module = "inrbench_stranger"
    return Plugin(kind=kind, name=name, summary="", target=f"{module}.code:{target}",
                  settings=f"{module}.settings:{settings}", **more)

"""
DATASETS = "@hookimpl\ndef inrbench_datasets():\n    return [{records}]\n"
BARS = 'record("dataset", "{name}", "Bars", "BarsSettings", gives="grid"{more})'
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
        + DATASETS.format(
            records=BARS.format(name="twin-bars", more="") + ", " + BARS.format(name="one-bars", more="")
        )
        + READERS.format(records=READER.format(name="twin-means", more="")),
    ),
    "twin-two": (
        "2.0",
        "twins",
        RECORD
        + DATASETS.format(
            records=BARS.format(name="twin-bars", more="") + ", " + BARS.format(name="two-bars", more="")
        )
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

    def python(self, code: str, *arguments: str, **variables: str) -> Any:
        """What ``code`` prints, as JSON."""
        done = self.run("python", "-c", code, *arguments, **variables)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def cell(self, what: str, settings: Mapping[str, Any], records: Path, **variables: str) -> dict[str, Any]:
        """The record of a cell at the `smoke` profile."""
        assert self.python(RUN, what, json.dumps(settings), str(records), **variables) == 1
        (path,) = records.glob("*.json")
        return dict(json.loads(path.read_text(encoding="utf-8")))


RUN = """
import json, sys, inrbench
what, settings, records = sys.argv[1:]
frame = inrbench.run(what, profile="smoke", settings=json.loads(settings), records=records, device="cpu", quiet=True)
print(len(frame))
"""


def blocks_of_the_guide() -> dict[str, str]:
    """The files in plugins/README.md: a line with the name in backquotes and a colon, then a block of code."""
    found = re.findall(r"^`([^`\n]+)`:\n\n```\w+\n(.*?)^```$", GUIDE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
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


def test_what_the_stranger_offers_is_listed_and_found_without_a_framework(environment: Environment) -> None:
    found = environment.python(
        """
import json, sys
from inrbench.registry import registry
entries = [entry for kind in ("dataset", "inr", "fitter", "reader", "method") for entry in registry().entries(kind)]
loaded = [name for name in ("torch", "jax", "pandas") if name in sys.modules]
print(json.dumps([sorted([e.record.kind, e.record.name] for e in entries if e.distribution == "inrbench-stranger"),
                  sorted({e.distribution for e in entries}), loaded]))
"""
    )
    assert found[0] == [
        ["dataset", "bars"],
        ["fitter", "ridge"],
        ["inr", "gaussian-bumps"],
        ["method", "ridge-means"],
        ["reader", "class-means"],
    ]
    assert {"inrbench-fields", "inrbench-images", "inrbench-mwt", "inrbench-readers"} <= set(found[1])
    assert found[2] == []


def test_settings_and_parameters_of_the_strangers_cell_are_known_in_advance(environment: Environment) -> None:
    tree, counts = environment.python(
        """
import json
from inrbench.cells import resolve
cell = resolve("ridge-means", "bars")
built = cell.build()
print(json.dumps([cell.tree(), [built.fitter.facts().adapted_values, built.reader.facts().parameters]]))
"""
    )
    assert tree["fitter"] == {"name": "ridge", "backend": "numpy", "frequencies": 6, "ridge": 1e-3}
    assert tree["reader"]["standardise"] is True
    assert counts == [36, 4 * 36]


CELLS = {
    "the stranger's data with a method from here": ("mwt+bars", {}, {"data"}),
    "the stranger's field with a fitter from here": ("siren+digits", {"inr": "gaussian-bumps"}, {"inr"}),
    "the stranger's fitter with a reader from here": (
        "ridge-means+digits",
        {"reader": {"name": "mlp", "train": {"steps": 20}}},
        {"fitter"},
    ),
    "the stranger's reader on weights": ("siren+digits", {"reader": "class-means", "data": {"train_size": 16}}, {"reader"}),
    "the stranger's reader on meta-learned weights": (
        "mwt+digits",
        {"reader": "class-means", "joint": None},
        {"reader"},
    ),
    "the stranger's method on data from here": ("ridge-means+digits", {}, {"fitter", "reader"}),
    "all of it the stranger's": ("ridge-means+bars", {}, {"data", "fitter", "reader"}),
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


def test_the_strangers_method_reads_its_bars(environment: Environment, tmp_path: Path) -> None:
    record = environment.cell("ridge-means+bars", {"data": {"train_size": None}}, tmp_path)
    assert record["metrics"]["accuracy"] > 0.4  # a quarter by chance
    assert record["metrics"]["psnr_db"] > 20.0


# ------------------------------------------------------------------ what is refused, alone and with a reason


REFUSED = """
import json, sys
from inrbench.cells import resolve
from inrbench.errors import UsageError
try:
    resolve(sys.argv[1], sys.argv[2], overrides=[json.loads(sys.argv[3])])
except UsageError as error:
    print(json.dumps([type(error).__name__, str(error)]))
"""


@pytest.mark.parametrize(
    ("dataset", "settings", "kind", "said"),
    [
        (
            "misspelt-bars",
            {},
            "BrokenPlugin",
            r"'misspelt-bars' cannot be used: faulty-hook 1\.0: no hook named 'inrbench_reader'; "
            r"did you mean 'inrbench_readers'\?",
        ),
        (
            "future-bars",
            {},
            "BrokenPlugin",
            r"'future-bars' cannot be used: faulty-version 1\.0: .* interface version 99, this inrbench has 1",
        ),
        (
            "twin-bars",
            {},
            "BrokenPlugin",
            r"data set 'twin-bars' .*is offered by twin-one 1\.0 and twin-two 2\.0: uninstall one of them",
        ),
        (
            "bars",
            {"reader": "twin-means"},
            "BrokenPlugin",
            r"reader 'twin-means' .*is offered by twin-one 1\.0 and twin-two 2\.0: uninstall one of them",
        ),
        ("barz", {}, "UnknownName", r"no data set named 'barz'; did you mean 'bars'\?.*see `inrbench doctor`"),
        ("bars", {"inr": {"bumbs": 3}}, "BadSetting", ""),
    ],
)
def test_only_what_uses_a_faulty_plugin_is_refused(
    environment: Environment, dataset: str, settings: dict[str, Any], kind: str, said: str
) -> None:
    method = "siren" if "inr" in settings else "ridge-means"
    found = environment.python(REFUSED, method, dataset, json.dumps(settings))
    assert found[0] == kind
    assert re.search(said, found[1])
    assert "\n" not in found[1]


FAULTS = """
import json
from inrbench.registry import registry
known = registry()
names = [record.name for record in known.all("dataset")]
print(json.dumps([[[f.distribution, f.what, f.message] for f in known.faults], sorted(known.plugins), names]))
"""


def test_every_fault_is_known_with_its_distribution(environment: Environment) -> None:
    faults, plugins, names = environment.python(FAULTS)
    clash = "twin-one 1.0 and twin-two 2.0"
    assert sorted((distribution, what) for distribution, what, _ in faults) == [
        ("faulty-hook", "hook"),
        ("faulty-import", "import"),
        ("faulty-version", "api-version"),
        (clash, "clash"),
        (clash, "clash"),
    ]
    (message,) = (message for _, what, message in faults if what == "import")
    assert "ModuleNotFoundError: No module named 'a_module_that_nobody_has'" in message
    # two distributions with one entry point's name are both found
    assert {"twin-one:twins", "twin-two:twins", "inrbench-stranger:stranger", "tracker-raising:stranger"} <= set(plugins)
    assert {"one-bars", "two-bars", "bars", "tracked-bars", "digits"} <= set(names)
    assert not {"twin-bars", "future-bars", "misspelt-bars"} & set(names)
