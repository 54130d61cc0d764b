"""Executors: what runs planned cells. Each is a plugin of the kind ``executor``; the core offers `local` and `slurm`.

The target of an executor is a function that runs cells and returns their records::

    def run(
        planned: Sequence[Planned],  # checked, with the records that exist
        options: Options,
        settings: ExecutorSettings,  # of the executor's own model
        report: Callable[[str], None],  # takes a line a cell
        quiet: bool,  # no progress on stderr
    ) -> list[dict[str, Any]]: ...  # in order, failures too; cells without a record are left out

It runs the cells that `inrbench.runner.to_do` names, and may hand them to `inrbench.execution.supervisor.Supervisor`
on whatever machine it finds for them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from inrbench.errors import UsageError
from inrbench.registry import registry
from inrbench.settings import Settings, load_target, validated

if TYPE_CHECKING:
    from inrbench.cells import Cell
    from inrbench.plugin import Plugin
    from inrbench.runner import Options

__all__ = ["ExecutorSettings", "chosen"]


class ExecutorSettings(Settings):
    """Base of the settings of an executor, ``--with KEY=VALUE``."""

    def device(self, cell: Cell, asked: str) -> str | None:
        """The device of a cell where it will run, from ``--device``; None where that is this machine, to be looked at.

        Its kind is part of the cell's key, so it must be known before. Raises Refused.
        """
        return None


def chosen(options: Options) -> tuple[Any, ExecutorSettings]:
    """The function of the executor that the options name, and its settings.

    Raises UnknownName, BadSetting, BrokenPlugin, or UsageError where it does not go with other options.
    """
    if not options.isolate and options.executor != "local":
        raise UsageError(f"--in-process runs cells here; given with it: --executor {options.executor}")
    plugin = cast("Plugin", registry().find("executor", options.executor))
    owner = f"executor {plugin.name!r}"
    settings = validated(load_target(plugin.settings, owner), options.executor_settings, plugin.name)
    if not options.wait and plugin.name == "local":
        raise UsageError("--no-wait needs an executor that has a queue, as --executor slurm; local has none")
    return load_target(plugin.target, owner), cast(ExecutorSettings, settings)
