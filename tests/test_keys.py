"""Keys: what could change a stage's result changes its key and those behind it, and nothing else does."""

from __future__ import annotations

import hashlib
import importlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from inrbench import keys
from inrbench.cells import Cell
from inrbench.keys import STAGES, Codes, _read, fingerprint, source_of, stage_ingredients, stage_keys
from inrbench.plugin import KINDS, Method, Plugin
from inrbench.registry import Entry, registry
from inrbench.settings import DataSettings, JointSettings, Settings, TrainingSettings, setting


class FitterSettings(Settings):
    lr: float = setting(0.1, "matters from training on")
    test_steps: int = setting(4, "matters when fitting", stage="fit")


class ReaderSettings(Settings):
    width: int = setting(8, "from the reader's first stage on")
    train: TrainingSettings = setting(TrainingSettings(), "from the reader's first stage on")


FILES = {
    "__init__.py": "",
    "fitter.py": '"""A fitter."""\nfrom .shared import scale\n\nclass Fitter:\n    """It fits."""\n',
    "reader.py": "class Reader:\n    pass\n",
    "data.py": "class Data:\n    pass\n",
    "shared.py": "scale = 1.0  # a comment\n",
    "unrelated.py": "x = 1\n",
}

Edit = Callable[[str, str], None]


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[str, Edit]:
    """A package of its own for each test, and a function that writes its files."""
    name = f"keyed_{abs(hash(str(tmp_path)))}"
    (tmp_path / name).mkdir()
    monkeypatch.syspath_prepend(tmp_path)
    edits = iter(range(1, 1000))

    def edit(file: str, text: str) -> None:
        path = tmp_path / name / file
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        os.utime(path, (2e9, 2e9 + next(edits)))  # two edits within one tick of the clock
        importlib.invalidate_caches()

    for file, text in FILES.items():
        edit(file, text)
    return name, edit


@pytest.fixture
def cell(package: tuple[str, Edit], monkeypatch: pytest.MonkeyPatch) -> Cell:
    name, _ = package

    def plugin(kind: Any, module: str, backend: Any = "numpy") -> Plugin:
        target = f"{name}.{module}:{module.capitalize()}"
        return Plugin(
            api_version=1,
            kind=kind,
            name=module,
            summary="",
            target=target,
            settings="unused:Unused",
            backend=backend,
        )

    plugins = {
        "data": plugin("dataset", "data"),
        "inr": None,
        "fitter": plugin("fitter", "fitter", "torch"),
        "reader": plugin("reader", "reader", "torch"),
    }
    entries = [Entry(found, "keyed", "1", name) for found in plugins.values() if found is not None]
    monkeypatch.setattr(
        keys, "registry", lambda: SimpleNamespace(entries=lambda kind: [e for e in entries if e.record.kind == kind])
    )
    settings = {
        "data": DataSettings(),
        "inr": None,
        "fitter": FitterSettings(),
        "reader": ReaderSettings(),
        "joint": None,
    }
    return Cell(
        Method(api_version=1, name="m", summary="", fitter="fitter"),
        "data",
        "smoke",
        0,
        plugins,
        settings,
    )


def changed(first: Cell, second: Cell, checksum: str = "c", device: str = "cpu") -> tuple[str, ...]:
    one, other = stage_keys(first, "c", "cpu"), stage_keys(second, checksum, device)
    return tuple(stage for stage in STAGES if one[stage] != other[stage])


def with_setting(cell: Cell, part: str, **values: Any) -> Cell:
    model = cell.settings[part]
    assert model is not None
    return replace(cell, settings={**cell.settings, part: model.model_copy(update=values)})


def jointly(cell: Cell) -> Cell:
    return replace(cell, settings={**cell.settings, "joint": JointSettings()})


ALL = ("train", "fit", "read", "score")


# ------------------------------------------------------------------ settings


@pytest.mark.parametrize(
    ("part", "values", "two_stage", "joint"),
    [
        ("fitter", {"lr": 0.2}, ALL, ALL),
        ("fitter", {"test_steps": 5}, ("fit", "read", "score"), ("fit", "read", "score")),
        ("reader", {"width": 9}, ("read", "score"), ALL),
        ("reader", {"train": TrainingSettings(batch_size=7)}, ("read", "score"), ALL),
        ("data", {"train_size": 5}, ALL, ALL),
        ("data", {"validation": 0.5}, ALL, ALL),
        ("data", {"labels": "shuffled"}, ALL, ALL),
        ("data", {"test_size": 5}, ("score",), ("score",)),
        ("data", {"scored": "validation"}, ("score",), ("score",)),
    ],
)
def test_a_setting_changes_the_stages_from_its_own_on(
    cell: Cell, part: str, values: dict[str, Any], two_stage: tuple[str, ...], joint: tuple[str, ...]
) -> None:
    assert changed(cell, with_setting(cell, part, **values)) == two_stage
    assert changed(jointly(cell), with_setting(jointly(cell), part, **values)) == joint


def test_joint_training_and_its_share_change_all_stages(cell: Cell) -> None:
    assert changed(cell, jointly(cell)) == ALL
    assert changed(jointly(cell), with_setting(jointly(cell), "joint", share=0.5)) == ALL


def test_another_reader_shares_the_training_and_the_fits(cell: Cell) -> None:
    reader = cell.plugins["reader"]
    assert reader is not None
    other = replace(cell, plugins={**cell.plugins, "reader": replace(reader, name="other")})
    assert changed(cell, other) == ("read", "score")
    none = replace(cell, plugins={**cell.plugins, "reader": None}, settings={**cell.settings, "reader": None})
    assert changed(cell, none) == ("read", "score")


def test_seed_data_and_device_change_all_stages(cell: Cell) -> None:
    assert changed(cell, replace(cell, seed=1)) == ALL
    assert changed(cell, cell, checksum="d") == ALL
    assert changed(cell, cell, device="cuda") == ALL


def test_names_and_labels_change_nothing(cell: Cell) -> None:
    assert changed(cell, replace(cell, label="x")) == ()
    assert (
        changed(
            cell,
            replace(
                cell,
                method=Method(api_version=1, name="n", summary="", fitter="fitter"),
                profile="paper",
            ),
        )
        == ()
    )


def test_the_versions_of_the_frameworks_change_the_stages_that_use_them(
    cell: Cell, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = stage_ingredients(cell, "c", "cpu")
    assert before["train"]["versions"].keys() == {"numpy", "torch"}
    one = stage_keys(cell, "c", "cpu")
    monkeypatch.setattr(keys, "_version", lambda name: "99")
    assert all(one[stage] != stage_keys(cell, "c", "cpu")[stage] for stage in STAGES)


@pytest.mark.parametrize(("part", "stages"), [("data", ALL), ("fitter", ALL), ("reader", ("read", "score"))])
def test_the_versions_of_what_a_plugin_uses_change_its_stages(
    cell: Cell, monkeypatch: pytest.MonkeyPatch, part: str, stages: tuple[str, ...]
) -> None:
    versions = {"numpy": "2", "torch": "2", "meshes": "1.0"}
    monkeypatch.setattr(keys, "_version", lambda name: versions[name])
    plugin = cell.plugins[part]
    assert plugin is not None
    using = replace(cell, plugins={**cell.plugins, part: replace(plugin, uses=("meshes", "numpy"))})
    for stage, found in stage_ingredients(using, "c", "cpu").items():
        expected = {"numpy": "2", "torch": "2"} | ({"meshes": "1.0"} if stage in stages else {})
        assert found["versions"] == expected, stage
    assert changed(cell, using) == stages
    before = stage_keys(using, "c", "cpu")
    versions["meshes"] = "1.1"
    after = stage_keys(using, "c", "cpu")
    assert tuple(stage for stage in STAGES if before[stage] != after[stage]) == stages


def test_what_a_plugin_uses_and_is_not_installed_has_no_version(cell: Cell) -> None:
    plugin = cell.plugins["data"]
    assert plugin is not None
    using = replace(cell, plugins={**cell.plugins, "data": replace(plugin, uses=("no-such-distribution", "pytest"))})
    versions = stage_ingredients(using, "c", "cpu")["train"]["versions"]
    assert versions["no-such-distribution"] == "none"
    assert versions["pytest"] == pytest.__version__


def test_ingredients_tell_what_a_key_is_made_of(cell: Cell, package: tuple[str, Edit]) -> None:
    name, _ = package
    found = stage_ingredients(with_setting(cell, "data", test_size=5), "c", "cpu")
    assert found["train"]["settings"]["fitter"] == "fitter (torch)"
    assert found["train"]["settings"]["fitter.lr"] == 0.1
    assert found["fit"]["settings"] == {"fitter.test_steps": 4}
    assert found["read"]["settings"]["reader.train.batch_size"] == 16
    assert found["score"]["settings"] == {"data.test_size": 5, "data.scored": "test"}
    assert f"{name}.reader" not in found["train"]["code"]
    assert f"{name}.reader" in found["read"]["code"]
    assert {"inrbench.pipeline", f"{name}.fitter", f"{name}.shared", f"{name}.data"} <= set(found["train"]["code"])


def test_a_key_is_the_digest_of_what_it_is_made_of_so_that_records_keep_theirs(cell: Cell) -> None:
    found, made = stage_ingredients(cell, "c", "cpu"), stage_keys(cell, "c", "cpu")
    before = ""
    for stage in STAGES:
        assert found[stage]["before"] == before
        text = json.dumps(found[stage], sort_keys=True, default=str)
        assert made[stage] == (before := hashlib.sha256(text.encode()).hexdigest()[:32])


# ------------------------------------------------------------------ code


def test_many_cells_share_what_is_read_of_files_and_get_the_same_keys(
    cell: Cell, package: tuple[str, Edit], monkeypatch: pytest.MonkeyPatch
) -> None:
    cells = [cell, replace(cell, seed=1), with_setting(cell, "fitter", lr=0.5), jointly(cell)]
    expected = [stage_keys(one, "c", "cpu") for one in cells]
    asked = []
    monkeypatch.setattr(keys, "fingerprint", lambda *given: asked.append(given) or fingerprint(*given))
    codes: Codes = {}
    assert [stage_keys(one, "c", "cpu", codes) for one in cells] == expected
    assert len(asked) == len({tuple(modules) for modules, *_ in asked}) == 2  # without the reader, and with it

    _, edit = package
    edit("shared.py", "scale = 2.0\n")  # the next planning reads anew
    assert stage_keys(cell, "c", "cpu", {}) != expected[0]


@pytest.mark.parametrize(
    ("file", "text", "stages"),
    [
        ("fitter.py", FILES["fitter.py"].replace("pass", "") + "    rate = 2\n", ALL),
        ("shared.py", "scale = 2.0  # a comment\n", ALL),
        ("data.py", "class Data:\n    x = 1\n", ALL),
        ("reader.py", "class Reader:\n    x = 1\n", ("read", "score")),
        ("__init__.py", "x = 1\n", ALL),
        ("shared.py", "# another comment\n\n\nscale = 1.0\n", ()),
        ("fitter.py", FILES["fitter.py"].replace("It fits.", "It fits, well.").replace("A fitter.", "B."), ()),
        ("unrelated.py", "x = 2\n", ()),
    ],
)
def test_an_edit_changes_the_stages_that_reach_the_module(
    cell: Cell, package: tuple[str, Edit], file: str, text: str, stages: tuple[str, ...]
) -> None:
    _, edit = package
    before = stage_keys(cell, "c", "cpu")
    edit(file, text)
    after = stage_keys(cell, "c", "cpu")
    assert tuple(stage for stage in STAGES if before[stage] != after[stage]) == stages


@pytest.mark.parametrize(
    "statement",
    [
        "import {name}.shared",
        "import {name}.shared as other, json",
        "from {name} import shared",
        "from {name}.shared import scale",
        "from . import shared",
        "from .shared import scale",
        "def later():\n    from .shared import scale",
        "class A:\n    def later(self):\n        import {name}.shared",
        "try:\n    from .shared import scale\nexcept ImportError:\n    pass",
        "from .sub.deep import y",
    ],
)
def test_a_module_is_reached_however_it_is_imported(package: tuple[str, Edit], statement: str) -> None:
    name, edit = package
    edit("sub/__init__.py", "")
    edit("sub/deep.py", "from .. import shared\ny = 1\n")
    edit("fitter.py", statement.format(name=name) + "\n")
    assert f"{name}.shared" in fingerprint([f"{name}.fitter"], frozenset({name}))


def test_modules_outside_the_packages_and_missing_ones_are_left_out(package: tuple[str, Edit]) -> None:
    name, edit = package
    edit("fitter.py", "import json, numpy\nfrom .nowhere import x\nimport gone_module\n")
    assert set(fingerprint([f"{name}.fitter"], frozenset({name}))) == {name, f"{name}.fitter"}


def test_modules_that_import_each_other_are_counted_once(package: tuple[str, Edit]) -> None:
    name, edit = package
    edit("fitter.py", "from . import shared\n")
    edit("shared.py", "from . import fitter\n")
    assert set(fingerprint([f"{name}.fitter"], frozenset({name}))) == {name, f"{name}.fitter", f"{name}.shared"}


def test_code_in_a_docstrings_place_counts(package: tuple[str, Edit]) -> None:
    name, edit = package
    before = fingerprint([f"{name}.shared"], frozenset({name}))
    edit("shared.py", "scale = 1.0\n'a string that is no docstring'\n")
    assert fingerprint([f"{name}.shared"], frozenset({name})) != before


#: What others' packages are imported as, where their version could change a result.
COMPUTING = {"PIL": "pillow", "nfn": "nfn", "trimesh": "trimesh"}


def test_every_plugin_names_the_packages_of_others_that_its_results_depend_on() -> None:
    named = set()
    for plugin in (entry.record for kind in KINDS for entry in registry().entries(kind)):
        if isinstance(plugin, Plugin):
            module = plugin.target.partition(":")[0]
            found = set()
            for name in fingerprint([module], frozenset({module.partition(".")[0]})):
                path = source_of(name)
                assert path is not None
                found |= {imported.partition(".")[0] for imported in _read(path, path.stat().st_mtime_ns, name)[1]}
            wanted = {COMPUTING[name] for name in found & COMPUTING.keys()}
            assert wanted <= set(plugin.uses), plugin.name
            named |= wanted
    assert named >= {"pillow", "nfn"}


PROGRAM = """
import json, sys
from inrbench.keys import fingerprint
packages = frozenset(["inrbench", "inrbench_mwt"])
print(json.dumps(list(fingerprint(["inrbench.pipeline", "inrbench_mwt.meta_sgd"], packages))))
"""


@pytest.fixture(scope="module")
def reached() -> set[str]:
    """The modules in the fingerprint of MWT's training."""
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=120, check=True)
    return set(json.loads(done.stdout))


def test_what_computes_is_in_a_cells_fingerprint(reached: set[str]) -> None:
    assert {
        "inrbench.pipeline",
        "inrbench.metrics",
        "inrbench.selection",
        "inrbench.draws",
        "inrbench.schedules",
        "inrbench.backends.torch.training",
        "inrbench_mwt.meta_sgd",
        "inrbench_mwt.settings",
    } <= reached


def test_tables_and_the_command_line_are_in_no_cells_fingerprint(reached: set[str]) -> None:
    assert not [name for name in reached if name.startswith("inrbench.cli")]
    assert not reached & {"inrbench.leaderboard", "inrbench.plot", "inrbench.render", "inrbench.__main__"}


def test_what_only_asks_for_cells_is_in_no_cells_fingerprint(reached: set[str]) -> None:
    assert not reached & {
        "inrbench.api",
        "inrbench.published",
        "inrbench.requests",
        "inrbench.runner",
        "inrbench.provenance",
    }
