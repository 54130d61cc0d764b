"""YAML that a user wrote: plain values, soon, or one line that says why not."""

from __future__ import annotations

import time
from typing import Any

import pytest
import yaml

from inrbench.plain_yaml import NotPlain, read_plain

LAUGHS = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{new}: &{new} [{', '.join([f'*{old}'] * 9)}]\n" for old, new in zip("abcdefghijk", "bcdefghijkl", strict=True)
)
MERGED = "a: &a {k: 1}\n" + "".join(
    f"{new}: &{new} {{<<: [{', '.join([f'*{old}'] * 9)}]}}\n"
    for old, new in zip("abcdefghijk", "bcdefghijkl", strict=True)
)


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("", None),
        (
            "{a: [1, 2.5, x, true, null], b: {c: '2026-01-01'}}",
            {"a": [1, 2.5, "x", True, None], "b": {"c": "2026-01-01"}},
        ),
        ("[&a {k: 1}, {<<: *a, l: 2}, *a]", [{"k": 1}, {"k": 1, "l": 2}, {"k": 1}]),
    ],
)
def test_plain_values_are_what_yaml_says(text: str, values: Any) -> None:
    assert read_plain(text) == values


@pytest.mark.parametrize("text", [LAUGHS, MERGED], ids=["aliases", "merges"])
def test_aliases_that_stand_for_more_than_memory_holds_are_refused_at_once(text: str) -> None:
    started = time.perf_counter()
    with pytest.raises(NotPlain, match="it holds more than 200,000 values, counting each alias as all that it stands"):
        read_plain(text)
    assert time.perf_counter() - started < 2.0


def test_what_aliases_share_is_copied() -> None:
    first, second = read_plain("[&a [1], *a]")
    first.append(2)
    assert second == [1]


def test_an_alias_deep_within_another_counts_with_its_own_depth() -> None:
    half = "[" * 20 + "x" + "]" * 20
    assert read_plain(f"[&a {half}, *a]")
    with pytest.raises(NotPlain, match="nested more than 32 deep"):
        read_plain(f"[&a {half}, {'[' * 15}*a{']' * 15}]")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: {b: [1, 2026-01-01]}", "a date at 'a.b.1' is neither text nor a number: '2026-01-01'; put it in quotes"),
        ("a: {2: x}", "a key at 'a' is no text: '2'; put it in quotes"),
        ('a: "x\\ny"', "text at 'a' holds a control character: 'x\\ny'"),
        ('a: "\\ud800"', "text at 'a' holds a control character"),
        ('"x\\0": 1', "text holds a control character: 'x\\x00'"),
        ("a: 0x" + "f" * 5000, "a number at 'a' does not fit into 64 bits"),
        ("a: !!set {b}", "a set at 'a' is neither text nor a number"),
        ("&a {b: *a}", "an alias stands for what it is itself a part of"),
        ("x" * 1_000_001, "it is longer than 1,000,000 bytes"),
    ],
)
def test_what_is_not_plain_is_named_with_its_place(text: str, message: str) -> None:
    with pytest.raises(NotPlain) as caught:
        read_plain(text)
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "text", ["[", "a: b: c", "!!int ''", "!!bool x", "!!timestamp x", "1" * 5000, "!!python/none x", "{[a]: 1}", "%"]
)
def test_what_is_no_yaml_is_one_line_whatever_the_parser_raises(text: str) -> None:
    with pytest.raises(yaml.YAMLError) as caught:
        read_plain(text)
    assert str(caught.value)
    assert "\n" not in str(caught.value)
