"""Limits as people write them: durations, sizes, statuses."""

from __future__ import annotations

from typing import Any

import click

from inrbench.quantities import num_bytes, seconds

__all__ = ["DURATION", "SIZE", "STATUSES", "statuses"]

#: How a cell that is not `ok` can have ended.
STATUSES = (
    "failed",
    "refused",
    "bad-data",
    "not-finite",
    "out-of-memory",
    "timeout",
    "crash",
    "interrupted",
)


class Duration(click.ParamType):  # type: ignore[type-arg, unused-ignore]
    """``90``, ``90s``, ``10m``, ``1.5h``, ``2d`` as seconds."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Seconds."""
        if isinstance(value, float):
            return value
        try:
            return seconds(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)


class Size(click.ParamType):  # type: ignore[type-arg, unused-ignore]
    """``800M``, ``16G``, ``16GiB`` as bytes."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Bytes."""
        if isinstance(value, int):
            return value
        try:
            return num_bytes(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)


DURATION = Duration()
SIZE = Size()


def statuses(ctx: click.Context, param: click.Parameter, text: str | None) -> tuple[str, ...] | None:
    """``timeout,crash`` in order; () for ``none``; None, for all, where nothing was given."""
    if text is None or text == "all":
        return None
    if text == "none":
        return ()
    found = tuple(one.strip() for one in text.split(","))
    for one in found:
        if one not in STATUSES:
            raise click.BadParameter(
                f"{one!r} is no status; allowed are {', '.join(STATUSES)}, all and none", ctx, param
            )
    return found
