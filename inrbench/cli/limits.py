"""Limits as people write them: durations, sizes, statuses."""

from __future__ import annotations

import re
from typing import Any

import click

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
SECONDS = {"": 1.0, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
BYTES = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12, "ki": 2**10, "mi": 2**20, "gi": 2**30, "ti": 2**40}


class Duration(click.ParamType):  # type: ignore[type-arg, unused-ignore]
    """``90``, ``90s``, ``10m``, ``1.5h``, ``2d`` as seconds."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Seconds."""
        if isinstance(value, float):
            return value
        match = re.fullmatch(r"(\d+(?:\.\d+)?) *([a-z]*)", str(value).strip().lower())
        if match is None or match[2] not in SECONDS or float(match[1]) == 0.0:
            self.fail(f"{value!r} is no time; allowed are 90s, 10m, 2h and 1d", param, ctx)
        return float(match[1]) * SECONDS[match[2]]


class Size(click.ParamType):  # type: ignore[type-arg, unused-ignore]
    """``800M``, ``16G``, ``16GiB`` as bytes."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Bytes."""
        if isinstance(value, int):
            return value
        match = re.fullmatch(r"(\d+(?:\.\d+)?) *([a-z]*)", str(value).strip().lower())
        unit = "" if match is None else match[2].removesuffix("b")
        if match is None or unit not in BYTES or float(match[1]) == 0.0:
            self.fail(f"{value!r} is no size; allowed are 800M, 16G and 16GiB", param, ctx)
        return int(float(match[1]) * BYTES[unit])


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
