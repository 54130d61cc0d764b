"""Compilation by `torch.compile`: functions worth it are marked, and are compiled where a training asks for that.

Compiling takes half a minute of a run's start and saves some of every step after it; results differ by rounding.
"""

from __future__ import annotations

import contextlib
import functools
import os
import shutil
from collections.abc import Callable, Iterator
from typing import Any, TypeVar, cast

import torch

from inrbench.errors import Refused

__all__ = ["compilable", "compilation", "compile_seconds", "require_compiler"]

F = TypeVar("F", bound=Callable[..., Any])
#: Whether marked functions are compiled now. Not a variable of the context: backward passes may run in other threads.
_wanted = False


@contextlib.contextmanager
def compilation(wanted: bool) -> Iterator[None]:
    """Within the block functions marked as `compilable` are compiled when they are first called, if ``wanted``."""
    global _wanted
    before, _wanted = _wanted, wanted
    try:
        yield
    finally:
        _wanted = before


def compilable(function: F) -> F:
    """Mark a function of tensors and plain values that gains from compilation; each set of shapes is compiled once."""

    @functools.cache
    def compiled() -> Callable[..., Any]:
        return torch.compile(function, dynamic=False)

    @functools.wraps(function)
    def called(*arguments: Any, **options: Any) -> Any:
        return (compiled() if _wanted else function)(*arguments, **options)

    return cast(F, called)


def require_compiler(setting: str) -> None:
    """Raise Refused where there is no C++ compiler, which `torch.compile` needs; ``setting`` is where it was asked."""
    names = [os.environ.get("CXX", ""), "g++", "clang++", "c++"]
    if os.name == "posix" and not any(name and shutil.which(name) for name in names):
        raise Refused(f"{setting}=true needs a C++ compiler (g++ or clang++), and there is none; --set {setting}=false")


def compile_seconds() -> float:
    """Seconds that this process has spent compiling so far."""
    from torch._dynamo.utils import calculate_time_spent

    return float(calculate_time_spent().get("total_wall_time", 0.0))
