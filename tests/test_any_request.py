"""Any sweep file and any --set: cells, or one clear line. Whatever is written there, no traceback and no waiting."""

from __future__ import annotations

import copy
import os
import time
import unicodedata
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from inrbench.assignments import parse_assignment
from inrbench.cells import Cell
from inrbench.errors import InrbenchError
from inrbench.requests import requested
from inrbench.search import Search

#: The same examples every time, and as many as take seconds; INRBENCH_EXAMPLES asks for more, and for others.
MORE = int(os.environ.get("INRBENCH_EXAMPLES", "0"))
bounded = settings(
    max_examples=MORE or 60,
    derandomize=not MORE,
    deadline=None,  # `answered` counts the processor's time: how busy a machine is says nothing
    database=None,
    suppress_health_check=list(HealthCheck),
)

#: Of the processor, for any answer.
LONGEST_S = 10.0

SWEEP: dict[str, Any] = {
    "title": "A sweep",
    "profile": "smoke",
    "seeds": [0, 1],
    "set": {"data.validation": 0.2, "data": {"scored": "validation"}},
    "published": "paper.table",
    "columns": {"accuracy": "digits", "psnr_db": None},
    "published_only": [{"method": "other"}],
    "exclude": [{"method": "pixels", "seed": [1, 2]}],
    "baselines": {"narrow": {"label": "width 8"}},
    "cells": [
        {
            "run": "siren,pixels+digits",
            "label": "",
            "published": {"method": "{method}"},
            "columns": {"accuracy": "digits"},
        },
        {
            "run": "siren+digits",
            "label": "width {inr.width}",
            "set": {"fitter.lr": "1e-4"},
            "grid": {"inr.width": [8, 9]},
            "zip": {"fitter.steps": [3], "inr.depth": [2]},
        },
        {
            "run": "mwt+digits",
            "search": {
                "trials": 3,
                "choose": "accuracy",
                "sampler": "random",
                "seed": 1,
                "at_once": 2,
                "space": {
                    "fitter.lr": {"low": "1e-4", "high": 0.01, "log": True},
                    "reader.blocks": {"choices": [1, 2]},
                    "fitter.steps": {"low": 2, "high": 8, "step": 2},
                },
            },
        },
    ],
}
PUBLISHED = """
paper:
  source: "Author, 2026"
  tables: {table: {rows: [{method: siren, digits: 50.0}, {method: pixels, digits: 60.0}, {method: other, digits: 1.0}]}}
"""

WORDS = [
    "",
    "mwt+digits",
    "siren",
    "digits",
    "mlp",
    "1e-4",
    "null",
    "{inr.width}",
    "{",
    "a\nb",
    "\0",
    "é",
    "0x10",
    "+",
    ",",
    ".",
]
scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 40),
    st.sampled_from([10**15, -(2**63), 2**64, 10**400]),
    st.floats(),
    st.dates(),
    st.datetimes(),
    st.binary(max_size=4),
    st.sampled_from(WORDS),
    st.text(max_size=8),
)
KEYS = [
    *SWEEP, *SWEEP["cells"][0], *SWEEP["cells"][1], *SWEEP["cells"][2]["search"], "low", "high", "log", "step",
    "choices", "inr", "fitter", "reader", "joint", "data", "name", "backend", "inr.width", "fitter.lr", "reader.name",
    "method", "<<",
]  # fmt: skip
keys = st.one_of(
    st.sampled_from(KEYS), st.sampled_from(KEYS), st.text(max_size=5), st.integers(-2, 2), st.none(), st.dates()
)
trees = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=4), max_leaves=12
)


def answered(ask: Callable[[], Any]) -> None:
    """Call it: it gives cells, or one line of what is wrong, and soon."""
    said = ""
    started = time.process_time()
    try:
        found = ask()
    except InrbenchError as error:
        said = str(error)
    assert time.process_time() - started < LONGEST_S
    if not said:
        assert all(isinstance(cell, Cell) for cell in found.cells)
        assert all(isinstance(search, Search) for search in found.searches)
        assert found.cells or found.searches
        assert all(cell.tree() and cell.name for cell in found.cells)
        return
    assert len(said.splitlines()) == 1, said
    assert not any(unicodedata.category(char) == "Cc" for char in said), said
    said.encode()  # it can be written too


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with published values for its sweeps."""
    made = tmp_path_factory.mktemp("sweeps")
    (made / "published.yaml").write_text(PUBLISHED)
    return made


def asked_by(folder: Path, content: bytes) -> None:
    path = folder / "sweep.yaml"
    path.write_bytes(content)
    answered(lambda: requested([str(path)]))


def dumped(tree: Any) -> bytes:
    return yaml.safe_dump(tree, allow_unicode=True, sort_keys=False).encode(errors="surrogatepass")


def test_the_sweep_that_is_mutated_here_is_one(folder: Path) -> None:
    (folder / "sweep.yaml").write_bytes(dumped(SWEEP))
    found = requested([str(folder / "sweep.yaml")])
    assert (len(found.cells), len(found.searches)) == (7, 1)
    assert {cell.label for cell in found.cells} == {"", "width 8", "width 9"}


# ------------------------------------------------------------------ sweep files


@bounded
@given(st.binary(max_size=200))
@example(b"\xff\xfe\x00\x01")
@example(b"a: &a [*a]")
@example(b"? {a: 1}\n: 2")
@example(b"cells: !!timestamp x")
@example(b"%YAML 9.9\n---\n")
@example(b"--- 1\n--- 2\n")
@example(b"[" * 5000)
@example(b"- " * 3000)
@example(b"!!python/object/apply:os.system [ls]")
def test_any_bytes(folder: Path, content: bytes) -> None:
    asked_by(folder, content)


@bounded
@given(st.text(st.sampled_from(list("[]{}:,-&*!|>#%@\"'? \n\tab01.e<~\\")), max_size=60))
def test_any_text_of_yaml_s_own_characters(folder: Path, text: str) -> None:
    asked_by(folder, text.encode())
    asked_by(folder, b"cells:\n- run: siren+digits\n  set: " + text.encode())


@bounded
@given(trees)
def test_any_tree(folder: Path, tree: Any) -> None:
    asked_by(folder, dumped(tree))


def _paths(tree: Any, prefix: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The place of every value in ``tree``."""
    inner = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    found = [prefix] if prefix else []
    for key, value in inner:
        found += _paths(value, (*prefix, key))
    return found


@bounded
@given(
    st.lists(
        st.tuples(st.sampled_from(_paths(SWEEP)), st.sampled_from(["set", "drop", "rename", "add"]), keys, trees),
        min_size=1,
        max_size=3,
    )
)
def test_a_sweep_with_some_of_its_values_changed(folder: Path, changes: Sequence[tuple[Any, str, Any, Any]]) -> None:
    tree = copy.deepcopy(SWEEP)
    for path, how, key, value in changes:
        place = tree
        try:
            for part in path[:-1]:
                place = place[part]
            old = place[path[-1]]
        except (KeyError, IndexError, TypeError):
            continue  # an earlier change took it away
        if how == "set":
            place[path[-1]] = value
        elif how == "add" and isinstance(old, dict):
            old[key] = value
        elif how == "add" and isinstance(old, list):
            old.append(value)
        else:
            del place[path[-1]]
            if how == "rename" and isinstance(place, dict):
                place[key] = old
    asked_by(folder, dumped(tree))


@bounded
@given(st.lists(st.tuples(st.integers(0, 900), st.integers(0, 12), st.text(max_size=6)), min_size=1, max_size=4))
def test_a_sweep_with_some_of_its_text_changed(folder: Path, changes: Sequence[tuple[int, int, str]]) -> None:
    text = dumped(SWEEP).decode()
    for start, length, new in changes:
        text = text[:start] + new + text[start + length :]
    asked_by(folder, text.encode(errors="surrogatepass"))


@bounded
@given(trees)
def test_any_published_values_beside_it(folder: Path, tree: Any) -> None:
    beside = folder / "beside"
    beside.mkdir(exist_ok=True)
    for content in (
        tree,
        {"paper": tree},
        {"paper": {"tables": {"table": tree}}},
        {"paper": {"tables": {"table": {"rows": tree}}}},
    ):
        (beside / "published.yaml").write_bytes(dumped(content))
        asked_by(beside, dumped(SWEEP))


# ------------------------------------------------------------------ settings and requests

KNOWN = [
    "inr", "inr.name", "inr.backend", "inr.width", "inr.depth", "fitter", "fitter.name", "fitter.backend", "fitter.lr",
    "fitter.steps", "fitter.train", "fitter.train.epochs", "fitter.rates", "reader", "reader.name", "reader.blocks",
    "reader.train.steps", "joint", "joint.share", "data", "data.train_size", "data.validation", "data.scored",
    "data.copies", "data.copies.count", "data.labels", "data.name",
]  # fmt: skip
set_keys = st.one_of(st.sampled_from(KNOWN), st.sampled_from(KNOWN), st.text(max_size=12))
set_values = st.one_of(
    st.sampled_from(
        ["", "mlp", "knn", "samples", "siren", "null", "{}", "{name: mlp}", "{name: [1]}", "{name: {}}", "[1, 2]"]
    ),
    st.sampled_from(
        ["1e-4", "nan", ".inf", "-1", "1e400", "0x" + "f" * 40, "2020-01-01", "!!set {a}", "&a [*a]", "{1: 2}"]
    ),
    trees.map(lambda tree: yaml.safe_dump(tree, default_flow_style=True)),
    st.text(max_size=12),
)
WANTED = ["mwt+digits", "siren+digits", "pixels+digits", "functa+digits", "wt-two-stage+mnist"]


@bounded
@given(st.sampled_from(WANTED), st.lists(st.tuples(set_keys, set_values), min_size=1, max_size=3))
@example("mwt+digits", [(".".join("a" * 20000), "1")])
@example("siren+digits", [("reader", "[" * 2000)])
@example("siren+digits", [("reader.a\nb", "3")])
def test_any_assignment(wanted: str, assignments: Sequence[tuple[str, str]]) -> None:
    answered(
        lambda: requested(
            [wanted], profile="smoke", overrides=[parse_assignment(f"{key}={value}") for key, value in assignments]
        )
    )


@bounded
@given(st.text(max_size=30))
def test_any_text_as_an_assignment(text: str) -> None:
    answered(lambda: requested(["mwt+digits"], overrides=[parse_assignment(text)]))


@bounded
@given(
    st.one_of(
        st.text(max_size=20),
        st.lists(st.sampled_from([*"+,:.~/ ", "mwt", "digits", "folder", "\0", "a\nb", ".yaml"])).map("".join),
    )
)
@example("\0.yaml")
@example("x" * 5000 + ".yaml")
@example("\ud800.yaml")
def test_any_text_as_a_request(text: str) -> None:
    answered(lambda: requested([text]))


@bounded
@given(st.sampled_from(KNOWN), st.one_of(st.integers(-2, 24), st.floats(-1, 2), st.booleans(), st.none()))
def test_any_small_number_as_a_setting_is_refused_or_can_be_constructed(key: str, value: Any) -> None:
    for wanted in ("siren+digits", "mwt+digits", "pixels+digits"):

        def constructed(wanted: str = wanted) -> Any:
            found = requested([wanted], profile="smoke", overrides=[parse_assignment(f"{key}={yaml.safe_dump(value)}")])
            for cell in found.cells:
                cell.build()
            return found

        answered(constructed)
