"""An executor of a stranger's: this machine, the last cell first."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from inrbench.execution.local import run_locally
from inrbench.runner import Options, Planned
from inrbench_trouble.settings import BackwardsSettings


def run_backwards(
    planned: Sequence[Planned],
    options: Options,
    settings: BackwardsSettings,
    report: Callable[[str], None],
    quiet: bool,
) -> list[dict[str, Any]]:
    report(settings.word)
    return run_locally(planned[::-1], options, settings, report, quiet)[::-1]
