"""The registry: every plugin is found, a broken one stops only what uses it, and says why."""

from __future__ import annotations

import ast
import importlib
import inspect
import logging
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from inrbench import hookspecs
from inrbench.errors import BrokenPlugin, UnknownName
from inrbench.plugin import API_VERSION, KINDS, Method, Plugin, hookimpl
from inrbench.registry import Registry

HOOKS = [name for name in vars(hookspecs) if name.startswith("inrbench_")]


@dataclass(frozen=True)
class Distribution:
    name: str
    version: str


@dataclass(frozen=True)
class Point:
    """What the registry uses of an importlib.metadata.EntryPoint."""

    name: str
    value: str
    dist: Distribution | None

    def load(self) -> ModuleType:
        return importlib.import_module(self.value)


def record(kind: str, name: str, **changes: Any) -> Plugin | Method:
    changes = {"api_version": API_VERSION, **changes}
    if kind == "method":
        return Method(name=name, summary="", fitter="none", **changes)
    return Plugin(kind=kind, name=name, summary="", target="nowhere:Class", settings="nowhere:Settings", **changes)  # type: ignore[arg-type]


def lists(hook: str, *records: object) -> Callable[[], Any]:
    """An implementation of a hook that returns ``records``."""

    def implementation() -> Any:
        return records

    implementation.__name__ = hook
    return hookimpl(implementation)


@pytest.fixture
def package(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Point]:
    """Makes a module of hooks and the entry point that names it."""

    def make(distribution: str, *hooks: Callable[..., Any], point: str = "plugin", version: str = "1.0") -> Point:
        module = ModuleType(f"fake_{distribution.replace('-', '_')}_{point}")
        for hook in hooks:
            setattr(module, hook.__name__, hook)
        monkeypatch.setitem(sys.modules, module.__name__, module)
        return Point(point, module.__name__, Distribution(distribution, version))

    return make


Package = Callable[..., Point]
good = lists("inrbench_datasets", record("dataset", "good"))


# ------------------------------------------------------------------ hooks


@pytest.mark.parametrize("hook", HOOKS)
def test_every_hook_is_documented(hook: str) -> None:
    documentation = inspect.getdoc(getattr(hookspecs, hook))
    assert documentation
    assert documentation.splitlines()[0].endswith(".")
    assert "alled" in documentation  # when it is called


def test_every_hook_is_exercised_by_a_test() -> None:
    implemented = set()
    for path in Path(__file__).parent.rglob("test_*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef) and any(ast.unparse(d) == "hookimpl" for d in node.decorator_list):
                implemented.add(node.name)
    assert implemented >= set(HOOKS)


def test_every_kind_has_a_hook_that_lists_it() -> None:
    assert set(hookspecs.LISTING_HOOKS) == set(KINDS)
    assert set(hookspecs.LISTING_HOOKS.values()) <= set(HOOKS)


def test_each_listing_hook_offers_its_records(package: Package) -> None:
    @hookimpl
    def inrbench_inrs() -> Any:
        return [record("inr", "a")]

    @hookimpl
    def inrbench_fitters() -> Any:
        return (record("fitter", "a") for _ in range(1))  # any iterable will do

    @hookimpl
    def inrbench_readers() -> Any:
        return [record("reader", "b"), record("reader", "a")]

    @hookimpl
    def inrbench_datasets() -> Any:
        return [record("dataset", "a"), record("dataset", "place", scheme=True)]

    @hookimpl
    def inrbench_methods() -> Any:
        return [record("method", "a")]

    @hookimpl
    def inrbench_analyses() -> Any:
        return [record("analysis", "a")]

    @hookimpl
    def inrbench_executors() -> Any:
        return [record("executor", "a")]

    hooks = [
        *(inrbench_inrs, inrbench_fitters, inrbench_readers, inrbench_datasets, inrbench_methods),
        *(inrbench_analyses, inrbench_executors),
    ]
    known = Registry([package("whole", *hooks)])
    assert known.faults == []
    for kind in KINDS:
        assert known.find(kind, "a").name == "a"
        assert known.entry(kind, "a").distribution == "whole"
    assert [one.name for one in known.all("reader")] == ["a", "b"]
    assert known.find("dataset", "place:some/where").name == "place"


def test_life_cycle_hooks_are_told_what_they_ask_for(package: Package) -> None:
    told: list[Any] = []

    @hookimpl
    def inrbench_cell_started(cell: Any) -> None:
        told.append(cell)

    @hookimpl
    def inrbench_cell_finished() -> None:  # pluggy lets an implementation leave arguments out
        told.append("finished")

    known = Registry([package("tracker", inrbench_cell_started, inrbench_cell_finished)])
    known.notify("inrbench_cell_started", cell={"cell": "a"})
    known.notify("inrbench_cell_finished", record={"status": "ok"})
    assert told == [{"cell": "a"}, "finished"]


def test_a_life_cycle_hook_that_raises_is_logged_and_stops_nothing(
    package: Package, caplog: pytest.LogCaptureFixture
) -> None:
    told: list[str] = []

    def noted(cell: Any) -> None:
        told.append(cell["cell"])

    def raising(cell: Any) -> None:
        raise RuntimeError("no network")

    noted.__name__ = raising.__name__ = "inrbench_cell_started"
    points = [
        package("a-first", hookimpl(noted)),
        package("b-broken", hookimpl(raising)),
    ]

    def noted_too(cell: Any) -> None:
        told.append(cell["cell"] + " too")

    noted_too.__name__ = "inrbench_cell_started"
    known = Registry([*points, package("c-last", hookimpl(noted_too), good)])
    with caplog.at_level(logging.WARNING, "inrbench"):
        known.notify("inrbench_cell_started", cell={"cell": "x"})
    assert sorted(told) == ["x", "x too"]
    assert "b-broken" in caplog.text
    assert "no network" in caplog.text
    assert known.find("dataset", "good")


def test_a_life_cycle_hook_with_a_wrong_argument_is_a_fault(package: Package) -> None:
    def wrong(cells: Any) -> None: ...

    wrong.__name__ = "inrbench_cell_started"
    known = Registry([package("wrong", hookimpl(wrong)), package("right", good)])
    assert [(fault.distribution, fault.what) for fault in known.faults] == [("wrong", "hook")]
    assert "inrbench_cell_started" in known.faults[0].message
    known.notify("inrbench_cell_started", cell={})
    assert known.find("dataset", "good")


# ------------------------------------------------------------------ broken plugins


def test_a_plugin_that_cannot_be_imported_is_quarantined(package: Package) -> None:
    broken = Point("plugin", "no_such_module_anywhere", Distribution("broken", "2.1"))
    known = Registry([broken, package("right", good)])
    (fault,) = known.faults
    assert (fault.distribution, fault.what) == ("broken", "import")
    assert fault.message == (
        "broken 2.1: importing 'no_such_module_anywhere' failed: "
        "ModuleNotFoundError: No module named 'no_such_module_anywhere'"
    )
    assert known.find("dataset", "good")
    assert set(known.plugins) == {"broken:plugin", "right:plugin"}
    with pytest.raises(UnknownName, match=r"no data set named 'lost'; .*1 fault\(s\) .* `inrbench doctor`"):
        known.find("dataset", "lost")


def test_a_misspelt_hook_blocks_its_plugin_and_shows_the_nearest_hook(package: Package) -> None:
    misspelt = lists("inrbench_reader", record("reader", "lost"))
    known = Registry([package("misspelt", misspelt, lists("inrbench_fitters", record("fitter", "mine"))), *[]])
    (fault,) = known.faults
    assert fault.what == "hook"
    assert fault.message.startswith(
        "misspelt 1.0: no hook named 'inrbench_reader'; did you mean 'inrbench_readers'? known: "
    )
    with pytest.raises(BrokenPlugin, match=r"fitter 'mine' cannot be used: misspelt 1\.0: no hook named"):
        known.find("fitter", "mine")


@pytest.mark.parametrize("kind", KINDS)
def test_a_listing_hook_that_raises_is_a_fault_with_its_error(package: Package, kind: str) -> None:
    hook = hookspecs.LISTING_HOOKS[kind]  # type: ignore[index]

    def raising() -> Any:
        raise OSError("disk gone")

    raising.__name__ = hook
    known = Registry([package("raising", hookimpl(raising)), package("right", good)])
    assert [fault.message for fault in known.faults] == [f"raising 1.0: {hook} failed: OSError: disk gone"]
    assert known.find("dataset", "good")


@pytest.mark.parametrize("kind", KINDS)
def test_a_record_for_another_interface_version_is_refused_alone(package: Package, kind: str) -> None:
    hook = hookspecs.LISTING_HOOKS[kind]  # type: ignore[index]
    newer = API_VERSION + 1
    hooks = lists(hook, record(kind, "new", api_version=newer), record(kind, "fine"))
    known = Registry([package("future", hooks)])
    assert known.find(kind, "fine")  # type: ignore[arg-type]
    said = rf"'new' cannot be used: future 1\.0: .* interface version {newer}, this inrbench has {API_VERSION}"
    with pytest.raises(BrokenPlugin, match=said):
        known.find(kind, "new")  # type: ignore[arg-type]
    assert [one.name for one in known.all(kind)] == ["fine"]  # type: ignore[arg-type]


@pytest.mark.parametrize("stray", ["a string", record("reader", "odd"), None], ids=["text", "another kind", "None"])
def test_what_is_no_record_of_its_kind_is_refused(package: Package, stray: object) -> None:
    known = Registry([package("odd", lists("inrbench_inrs", stray, record("inr", "fine")))])
    (fault,) = known.faults
    assert fault.what == "record"
    assert "inrbench_inrs lists" in fault.message
    assert "which is no INR record" in fault.message
    assert known.find("inr", "fine")


# ------------------------------------------------------------------ names


@pytest.mark.parametrize("kind", KINDS)
def test_two_plugins_with_one_name_are_refused_and_both_are_named(package: Package, kind: str) -> None:
    hook = hookspecs.LISTING_HOOKS[kind]  # type: ignore[index]
    points = [
        package("first", lists(hook, record(kind, "same"), record(kind, "only-first"))),
        package("second", lists(hook, record(kind, "same")), version="3.2"),
    ]
    known = Registry(points)
    with pytest.raises(BrokenPlugin, match=r"'same'.* is offered by first 1\.0 and second 3\.2: uninstall one"):
        known.find(kind, "same")  # type: ignore[arg-type]
    assert known.find(kind, "only-first")  # type: ignore[arg-type]
    assert [fault.what for fault in known.faults] == ["clash"]


def test_one_name_in_two_backends_is_no_clash(package: Package) -> None:
    torch, jax = record("inr", "siren", backend="torch"), record("inr", "siren", backend="jax")
    known = Registry([package("first", lists("inrbench_inrs", jax)), package("second", lists("inrbench_inrs", torch))])
    assert known.faults == []
    assert known.find("inr", "siren") is torch
    assert known.find("inr", "siren", backend="jax") is jax
    with pytest.raises(UnknownName, match="INR 'siren' exists for torch, jax, but numpy is needed here"):
        known.find("inr", "siren", backend="numpy")


def test_two_packages_with_one_entry_point_name_are_both_found(package: Package) -> None:
    points = [
        package("first", lists("inrbench_datasets", record("dataset", "a")), point="data"),
        package("second", lists("inrbench_datasets", record("dataset", "b")), point="data"),
    ]
    known = Registry(points)
    assert known.faults == []
    assert [one.name for one in known.all("dataset")] == ["a", "b"]
    assert set(known.plugins) == {"first:data", "second:data"}


def test_an_unknown_name_shows_the_nearest_and_all(package: Package) -> None:
    known = Registry([package("some", lists("inrbench_fitters", record("fitter", "functa"), record("fitter", "maml")))])
    with pytest.raises(UnknownName, match=r"^no fitter named 'fucta'; did you mean 'functa'\? known: functa, maml$"):
        known.find("fitter", "fucta")
    with pytest.raises(UnknownName, match=r"^no reader named 'mlp'; there are none$"):
        known.find("reader", "mlp")


def test_a_scheme_needs_a_place_and_other_data_sets_take_none(package: Package) -> None:
    known = Registry([package("some", good, point="a"), package("more", _place())])
    with pytest.raises(UnknownName, match="'place' needs a place, as in 'place:PATH'"):
        known.find("dataset", "place")
    with pytest.raises(UnknownName, match="'good' takes none, as in 'good'"):
        known.find("dataset", "good:here")


def _place() -> Callable[[], Any]:
    return lists("inrbench_datasets", record("dataset", "place", scheme=True))
