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
@click.option(
    "--sweep",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The sweep that made the records: its title, baselines, and the published rows that it lists without cells.",
)
def leaderboard(records: Path, out: Path | None, sweep: Path | None) -> None:
    """Print tables of records, with intervals and ranks.

    \b
      inrbench leaderboard
      inrbench leaderboard --records runs/today -o tables
      inrbench leaderboard --records runs/today -o today.md
      inrbench leaderboard --records runs/t1 --sweep leaderboards/papers/mwt-table1.yaml

    Only cells that can be compared stand in one table: the same scored data, the same profile. What a paper printed
    for a row stands beside it, with a badge: reproduced, above or below, or why it is not compared. Where the sweep
    names baselines, a column holds each row's paired difference to each of them, over seeds.
    """  # noqa: D301
    from inrbench.leaderboard import tables, write
    from inrbench.requests import rows_without_cells
    from inrbench.sweeps import load_sweep

    said = load_sweep(sweep) if sweep else None
    title = said.title if said else ""
    baselines = said.baselines if said else {}
    found = tables(records_folder(records), rows_without_cells(sweep) if sweep else (), baselines)
    if not found:
        say(f"no records to rank in {records}; `inrbench run METHOD+DATASET` makes some")
        return
    heading = [f"# {title}"] if title else []
    click.echo("\n\n".join([*heading, *(table.markdown().strip() for table in found)]))
    if out is not None:
        for path in write(found, out, title or "Leaderboard"):
            say(f"wrote {path}")
