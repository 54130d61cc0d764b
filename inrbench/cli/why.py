"""``inrbench why``: why a cell is taken from its record, or is run."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import click

from inrbench.cli import suggestions
from inrbench.cli.lazy import say
from inrbench.cli.options import (
    DATA_ROOT,
    EXECUTOR,
    JSON,
    PROFILE,
    RECORDS,
    SEEDS,
    SET,
    WITH,
    assignments,
    executor_tree,
)

__all__ = ["why"]


@click.command()
@click.argument("what", nargs=-1, required=True, metavar="CELL|WHAT...", shell_complete=suggestions.cells)
@PROFILE
@SEEDS
@SET
@click.option(
    "--device", default="auto", show_default=True, metavar="auto|cpu|cuda[:i]", help="Where it would compute."
)
@EXECUTOR
@WITH
@DATA_ROOT
@RECORDS
@JSON
def why(
    what: Sequence[str],
    profile: str | None,
    seeds: list[int] | None,
    settings: Sequence[str],
    device: str,
    executor: str,
    executor_settings: Sequence[str],
    data_root: Path | None,
    records: Path,
    as_json: bool,
) -> None:
    """Say why cells are taken from their records, or are run: the parts that differ.

    CELL is a record's cell as `inrbench results` prints it, or the path of a record; WHAT is as in `inrbench run`.

    \b
      inrbench why mwt+digits-laptop-s0            would it be run again, and why
      inrbench why mwt+digits --profile laptop --set fitter.steps=5
      inrbench why sweep.yaml --records runs/sweep

    A cell is compared with the nearest record of its method, data set, profile and seed: a line for each setting,
    module, version, data checksum or device that differs, at the first stage (train, fit, read, score) that it counts
    for. Nothing is computed, downloaded or written. The exit status is 2 where the request is wrong.
    """  # noqa: D301
    from inrbench.errors import UsageError
    from inrbench.requests import requested
    from inrbench.runner import Options
    from inrbench.why import Explanation, cell_of, explain, named_records

    more = executor_tree(executor_settings)
    options = Options(records, data_root, device=device, executor=executor, executor_settings=more)
    found: list[Explanation] = []
    for text in what:
        known = named_records(text, records)
        if not known:
            asked = requested([text], profile=profile, seeds=seeds, overrides=assignments(settings))
            found += explain(asked.cells, options)
            for search in asked.searches:
                say(f"search {search.name}: it chooses its cells as it goes; name one by its record")
            continue
        if profile or seeds or settings:
            raise UsageError(f"{text!r} names a record; --profile, --seed and --set go with METHOD+DATASET or a sweep")
        newest = max(known, key=lambda record: str(record.get("finished")))
        found += explain([cell_of(newest)], options, known)
    if as_json:
        click.echo(json.dumps([one.document() for one in found], indent=2))
        return
    for one in found:
        click.echo("\n".join(one.lines()))
