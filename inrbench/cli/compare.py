"""``inrbench compare``: two folders of records, cell by cell and metric by metric."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from inrbench.cli.lazy import say
from inrbench.cli.options import JSON
from inrbench.cli.tables import show_table

if TYPE_CHECKING:
    from inrbench.comparing import Comparison, Paired

__all__ = ["compare"]

#: What is listed of changes of one kind, and of cells; --json has all of them.
LISTED = 6
CELLS = 20


@click.command()
@click.argument("first", metavar="A", type=click.Path(path_type=Path))
@click.argument("second", metavar="B", type=click.Path(path_type=Path))
@click.option(
    "--metric", "metrics", multiple=True, metavar="NAME", help="A metric or a cost, as in train_s; all metrics if none."
)
@JSON
@click.pass_context
def compare(context: click.Context, first: Path, second: Path, metrics: Sequence[str], as_json: bool) -> None:
    """Compare two folders of records, cell by cell.

    A and B are folders of records. A cell that both have is paired by its method, data set, profile, settings and seed;
    its key may differ, and what that is due to is said: code, versions, the kind of device.

    \b
      inrbench compare records records-of-another-version
      inrbench compare cpu gpu --metric accuracy --metric train_s
      inrbench compare records records/aside             what `inrbench merge` set aside
      inrbench compare before after --json

    A line is a row and a metric: the means of both over the seeds that both have, the mean paired difference B - A,
    its 95 % interval (Student's t; none for one seed), and how many seeds are equal to the last bit.

    The exit status is 0, and 1 where no cell is in both or a record is damaged.
    """  # noqa: D301
    from inrbench.comparing import comparison
    from inrbench.progress import Progress

    found = comparison(first, second, metrics, Progress())
    if as_json:
        click.echo(json.dumps(_document(found), indent=2, allow_nan=False))
    else:
        show_table([_line(pair.name, one) for pair in found.pairs for one in pair.metrics])
        for line in _lines(found, first, second):
            say(line)
    context.exit(0 if found.pairs else 1)


def _line(name: str, one: Paired) -> dict[str, str]:
    from inrbench.published import SCALES

    scale = SCALES.get(one.metric, 1.0)
    mean, low, high = (scale * value for value in one.difference)
    first, second = one.means
    return {
        "cells": name,
        "metric": one.metric + (" %" if scale == 100 else ""),
        "seeds": str(len(one.values)),
        "A": f"{scale * first:.6g}",
        "B": f"{scale * second:.6g}",
        "B - A": "0" if mean == 0 else f"{mean:+.3g}",
        "interval": "-" if math.isnan(low) else f"{low:+.3g} to {high:+.3g}",
        "equal": f"{one.equal} of {len(one.values)}",
    }


def _lines(found: Comparison, first: Path, second: Path) -> list[str]:
    """What a reader has to know beside the numbers."""
    other_keys = sum(pair.other_keys for pair in found.pairs)
    lines = [f"{found.cells} cells are good in both; the keys of {other_keys} differ"]
    changes: dict[str, dict[str, None]] = {}
    for pair in found.pairs:
        for what, named in pair.differences.items():
            changes.setdefault(what, {}).update(dict.fromkeys(named))
    for what, some in changes.items():
        more = f", and {len(some) - LISTED} more" if len(some) > LISTED else ""
        beside = " (in no key)" if what == "machine" else ""
        lines.append(f"  {what}{beside}: {', '.join(list(some)[:LISTED])}{more}")
    lines += _listed(
        "ended otherwise", [f"{cell}: {one} in A, {other} in B" for cell, one, other in found.other_status]
    )
    lines += _listed(f"only in {first}", found.only_first)
    return lines + _listed(f"only in {second}", found.only_second)


def _listed(title: str, names: Sequence[str]) -> list[str]:
    if not names:
        return []
    more = [f"  and {len(names) - CELLS} more"] if len(names) > CELLS else []
    return [f"{title}: {len(names)}", *(f"  {name}" for name in names[:CELLS]), *more]


def _document(found: Comparison) -> dict[str, Any]:
    def numbers(values: Sequence[float]) -> list[float | None]:
        return [None if math.isnan(value) else value for value in values]

    return {
        "pairs": [
            {
                "cells": pair.name,
                "other_keys": pair.other_keys,
                "differences": {what: list(some) for what, some in pair.differences.items()},
                "metrics": {
                    one.metric: {
                        "values": {str(seed): list(both) for seed, both in one.values.items()},
                        "means": list(one.means),
                        **dict(zip(("difference", "low", "high"), numbers(one.difference), strict=True)),
                        "equal": one.equal,
                    }
                    for one in pair.metrics
                },
            }
            for pair in found.pairs
        ],
        "ended_otherwise": [dict(zip(("cell", "first", "second"), one, strict=True)) for one in found.other_status],
        "only_first": list(found.only_first),
        "only_second": list(found.only_second),
    }
