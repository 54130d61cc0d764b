"""A fitter of views that takes no time, for tests of what scores, verifies and draws them."""

from __future__ import annotations

from inrbench.plugin import Method, Plugin, hookimpl


@hookimpl
def inrbench_fitters() -> list[Plugin]:
    """The mean colour."""
    return [
        Plugin(
            kind="fitter",
            api_version=1,
            name="mean-colour",
            summary="the mean colour of what is observed, from everywhere",
            target="inrbench_mean_colour.code:MeanColour",
            settings="inrbench.settings:Settings",
            takes=("rays",),
            gives=("latent",),
        )
    ]


@hookimpl
def inrbench_methods() -> list[Method]:
    """It alone."""
    return [Method(api_version=1, name="mean-colour", summary="one colour a signal", fitter="mean-colour")]
