"""The executors that the core offers, by the hook that plugins use too."""

from __future__ import annotations

from inrbench.plugin import API_VERSION, Plugin, hookimpl

__all__ = ["inrbench_executors"]


@hookimpl
def inrbench_executors() -> list[Plugin]:
    """`local` and `slurm`."""
    return [
        Plugin(
            kind="executor",
            name="local",
            summary="processes of this machine, --jobs at once",
            api_version=API_VERSION,
            target="inrbench.execution.local:run_locally",
            settings="inrbench.execution.executors:ExecutorSettings",
        ),
        Plugin(
            kind="executor",
            name="slurm",
            summary="jobs of a Slurm cluster, as arrays; needs the extra inrbench[slurm]",
            api_version=API_VERSION,
            target="inrbench.execution.slurm:run_on_slurm",
            settings="inrbench.execution.slurm_settings:SlurmSettings",
        ),
    ]
