"""A plugin of cells that take no time and go wrong in every way, for tests of what runs them."""

from __future__ import annotations

from inrbench.plugin import Method, Plugin, hookimpl


@hookimpl
def inrbench_fitters() -> list[Plugin]:
    """The fitter that fails."""
    return [
        Plugin(
            kind="fitter",
            api_version=1,
            name="trouble",
            summary="represents a signal by its mean, or does what it is told",
            target="inrbench_trouble.code:Trouble",
            settings="inrbench_trouble.settings:TroubleSettings",
            takes=("grid",),
            gives=("latent",),
        ),
        Plugin(
            kind="fitter",
            api_version=1,
            name="trouble-in-torch",
            summary="the same in a process that has loaded PyTorch",
            backend="torch",
            target="inrbench_trouble.code:Trouble",
            settings="inrbench_trouble.settings:TroubleSettings",
            takes=("grid",),
            gives=("latent",),
        ),
    ]


@hookimpl
def inrbench_datasets() -> list[Plugin]:
    """Some dots."""
    return [
        Plugin(
            kind="dataset",
            api_version=1,
            name="dots",
            summary="random dots",
            target="inrbench_trouble.code:Dots",
            settings="inrbench_trouble.settings:DotsSettings",
            gives=("grid",),
        ),
        Plugin(
            kind="dataset",
            api_version=1,
            name="dotted",
            summary="the same dots, from a file",
            target="inrbench_trouble.code:Dotted",
            settings="inrbench_trouble.settings:DotsSettings",
            gives=("grid",),
        ),
    ]


@hookimpl
def inrbench_executors() -> list[Plugin]:
    """One that begins at the end."""
    return [
        Plugin(
            kind="executor",
            api_version=1,
            name="backwards",
            summary="the last cell first",
            target="inrbench_trouble.executor:run_backwards",
            settings="inrbench_trouble.settings:BackwardsSettings",
        )
    ]


@hookimpl
def inrbench_methods() -> list[Method]:
    """The method of both."""
    return [Method(api_version=1, name="trouble", summary="goes wrong", fitter="trouble")]
