"""The executors that the core offers, by the hook that plugins use too."""

from __future__ import annotations

from inrbench.plugin import API_VERSION, Plugin, hookimpl

__all__ = ["inrbench_executors"]


@hookimpl
def inrbench_executors() -> list[Plugin]:
    """`local`."""
    return [
        Plugin(
            kind="executor",
            name="local",
            summary="processes of this machine, --jobs at once",
            api_version=API_VERSION,
            target="inrbench.execution.local:run_locally",
            settings="inrbench.execution.executors:ExecutorSettings",
        ),
    ]
