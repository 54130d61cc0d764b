"""What a user writes as settings: dotted keys, and values in YAML."""

from __future__ import annotations

import math
from typing import Any

import pytest

from inrbench.assignments import parse_assignment, tree_of
from inrbench.errors import BadSetting


@pytest.mark.parametrize(
    ("raw", "value"),
    [
        ("4", 4),
        ("4.5", 4.5),
        ("1e-4", 1e-4),
        ("1e4", 1e4),
        ("-1", -1),
        ("true", True),
        ("null", None),
        ("", None),
        ("[1, 2]", [1, 2]),
        ("{a: 1}", {"a": 1}),
        ("one-cycle", "one-cycle"),
        ("a=b", "a=b"),
    ],
)
def test_the_value_of_an_assignment_is_yaml(raw: str, value: object) -> None:
    parsed = parse_assignment(f"fitter.lr={raw}")["fitter"]["lr"]
    assert parsed == value
    assert type(parsed) is type(value)


def test_a_dotted_key_is_a_tree() -> None:
    assert parse_assignment(" fitter.train.steps = 4") == {"fitter": {"train": {"steps": 4}}}
    assert parse_assignment("reader=mlp") == {"reader": "mlp"}


@pytest.mark.parametrize("text", ["fitter.steps", "=4", "fitter.=4", ".steps=4", "a..b=1", ""])
def test_what_is_no_assignment_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(BadSetting) as caught:
        parse_assignment(text)
    assert str(caught.value) == f"--set takes KEY=VALUE, as in --set fitter.steps=4; given: {text!r}"


@pytest.mark.parametrize("raw", ["[1", "{a", "2026-02-31", "a: b: c"])
def test_what_is_no_yaml_is_refused_in_one_line(raw: str) -> None:
    with pytest.raises(BadSetting, match=r"^--set fitter.x: .* is not a YAML value: [^\n]+$") as caught:
        parse_assignment(f"fitter.x={raw}")
    assert repr(raw) in str(caught.value)


def test_what_is_no_setting_whatever_its_name_is_refused_in_one_line() -> None:
    with pytest.raises(BadSetting, match=r"^no setting 'a\.a.*\.\.\.': a setting has at most 16 parts$"):
        parse_assignment(".".join("a" * 5000) + "=1")
    with pytest.raises(BadSetting, match=r"^no setting 'fitter.a\\nb': its name holds a control character$"):
        parse_assignment("fitter.a\nb=1")


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        ("{1: 2}", "--set fitter.x: a key is no text: '1'; put it in quotes"),
        ("2026-01-01", "--set fitter.x: a date is neither text nor a number: '2026-01-01'; put it in quotes"),
        ("[&a [1, 1, 1, 1], *a, !!binary aGk=]", "--set fitter.x: a bytes at '2' is neither text nor a number"),
        ("1" * 30, "--set fitter.x: a number does not fit into 64 bits"),
        ("[" * 5000, "--set fitter.x: it is nested more than 32 deep"),
        ("&a [*a]", "--set fitter.x: an alias stands for what it is itself a part of"),
    ],
)
def test_a_value_that_no_setting_can_have_is_refused_in_one_line(raw: str, message: str) -> None:
    with pytest.raises(BadSetting) as caught:
        parse_assignment(f"fitter.x={raw}")
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


def test_numbers_within_a_tree_are_numbers_whatever_yaml_says() -> None:
    tree: dict[str, Any] = tree_of("fitter.train", {"lr": "1e-3", "name": "one", "deep": {"limit": "nan"}})
    assert tree["fitter"]["train"]["lr"] == 1e-3
    assert tree["fitter"]["train"]["name"] == "one"
    assert math.isnan(tree["fitter"]["train"]["deep"]["limit"])
