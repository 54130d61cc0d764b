"""``inrbench leaderboard``: the records of a folder as tables."""

from __future__ import annotations

from pathlib import Path

import click

from inrbench.cli.lazy import say
from inrbench.cli.options import RECORDS, records_folder

__all__ = ["leaderboard"]


@click.command()
@RECORDS
@click.option(
    "-o",
    "--out",
    type=click.Path(path_type=Path),
    help="Folder for leaderboard.md and leaderboard.csv, or the .md file to write, with its .csv beside it.",
)
def leaderboard(records: Path, out: Path | None) -> None:
    """Print tables of records, with intervals and ranks.

    \b
      inrbench leaderboard
      inrbench leaderboard --records runs/today -o tables
      inrbench leaderboard --records runs/today -o today.md

    Only cells that can be compared stand in one table: the same scored data, the same profile.
    """  # noqa: D301
    from inrbench.leaderboard import tables, write

    found = tables(records_folder(records))
    if not found:
        say(f"no records to rank in {records}; `inrbench run METHOD+DATASET` makes some")
        return
    click.echo("\n\n".join(table.markdown().strip() for table in found))
    if out is not None:
        for path in write(found, out):
            say(f"wrote {path}")
