"""Compilation where a training asks for it: the same values, and a plain word where it cannot be."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from inrbench.backends.torch import compiled
from inrbench.errors import Refused


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was called: "plain", or "compiled" through a stand-in for `torch.compile`."""
    seen: list[str] = []

    def compile_(function: Any, **options: Any) -> Any:
        assert options == {"dynamic": False}

        def called(*arguments: Any, **more: Any) -> Any:
            seen.append("compiled")
            return function(*arguments, **more)

        return called

    monkeypatch.setattr(torch, "compile", compile_)
    return seen


def test_a_marked_function_is_compiled_only_where_that_is_wanted(calls: list[str]) -> None:
    @compiled.compilable
    def doubled(value: Tensor, *, times: float = 2.0) -> Tensor:
        """Times two."""
        return value * times

    value = torch.ones(2)
    assert doubled(value).tolist() == [2.0, 2.0]
    assert calls == []
    with compiled.compilation(True):
        assert doubled(value, times=3.0).tolist() == [3.0, 3.0]
        with compiled.compilation(False):
            doubled(value)
        assert calls == ["compiled"]
        doubled(value)
    doubled(value)
    assert calls == ["compiled", "compiled"]
    assert doubled.__doc__ == "Times two."


def test_an_error_within_leaves_compilation_as_it_was(calls: list[str]) -> None:
    marked = compiled.compilable(lambda value: value + 1)
    with pytest.raises(RuntimeError, match="stop"), compiled.compilation(True):
        raise RuntimeError("stop")
    marked(torch.ones(1))
    assert calls == []


def test_without_a_compiler_the_setting_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(Refused, match=r"fitter\.compile=true needs a C\+\+ compiler .* --set fitter\.compile=false"):
        compiled.require_compiler("fitter.compile")


def test_a_compiler_of_the_users_own_is_enough(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    mine = tmp_path / "my-compiler"
    mine.write_text("#!/bin/sh\n")
    mine.chmod(0o755)
    monkeypatch.setenv("PATH", "")
    monkeypatch.setenv("CXX", str(mine))
    compiled.require_compiler("fitter.compile")
