"""What can go wrong."""

from __future__ import annotations

from typing import Literal

from inrbench.execution.executors import ExecutorSettings
from inrbench.settings import DataSettings, Settings, setting

Deed = Literal[
    "nothing",
    "raise",
    "segfault",
    "hang",
    "spin",
    "memory",
    "memory-error",
    "not-finite",
    "exit",
    "kill",
    "kill-keeper",
    "kill-supervisor",
    "kill-all",
    "child",
    "print",
    "bad-data",
    "some",
]


class TroubleSettings(Settings):
    """What the fitter does while it trains."""

    does: Deed = setting("nothing", "what goes wrong; `some`: drawn by the seed")
    steps: int = setting(1, "steps of training, each with a draw", ge=1)
    seconds: float = setting(0.0, "that a step takes", ge=0.0)
    number: int = setting(0, "tells cells apart")
    mark: str = setting("", "a file: the deed is done where it does not exist yet, and it is made; always if empty")
    gate: str = setting("", "a file: the deed waits until it is there")


class BackwardsSettings(ExecutorSettings):
    """How the executor of this package says so."""

    word: str = setting("backwards", "what it says first")


class DotsSettings(DataSettings):
    """Nothing to say."""
