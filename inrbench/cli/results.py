"""``inrbench results``: the records of a folder, one row a cell."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from inrbench.cli.lazy import say
from inrbench.cli.options import JSON, RECORDS, records_folder
from inrbench.cli.tables import show_table

__all__ = ["results"]

COLUMNS = ("cell", "method", "dataset", "profile", "seed", "status", "metrics", "costs")


@click.command()
@RECORDS
@JSON
@click.pass_context
def results(context: click.Context, records: Path, as_json: bool) -> None:
    """Show the records of cells, one row a cell.

    \b
      inrbench results
      inrbench results --records runs/today --json

    Failures are rows too, with their reason. The exit status is 1 where a record is damaged; the others are shown.
    """  # noqa: D301
    from inrbench.errors import RecordError
    from inrbench.records import read_record

    found, damaged = [], 0
    for path in sorted(records_folder(records).glob("*.json")):
        try:
            found.append(read_record(path))
        except RecordError as error:
            damaged += 1
            say(f"error: {' '.join(str(error).split())}")
    if as_json:
        click.echo(json.dumps([{column: record[column] for column in COLUMNS} for record in found], indent=2))
    elif found:
        show_table([_row(record) for record in found])
    elif not damaged:
        say(f"no records in {records}; `inrbench run METHOD+DATASET` makes some")
    context.exit(1 if damaged else 0)


def _row(record: dict[str, Any]) -> dict[str, str]:
    metrics, costs = record["metrics"], record["costs"]
    return {
        "cell": record["cell"] + (f" ({record['label']})" if record.get("label") else ""),
        "status": record["status"],
        "accuracy %": _number(metrics.get("accuracy"), ".1f", 100.0),
        "psnr db": _number(metrics.get("psnr_db"), ".2f"),
        "total s": _number(costs.get("total_s"), ".1f"),
        "reason": record.get("reason") or "",
    }


def _number(value: object, form: str, scale: float = 1.0) -> str:
    return format(scale * value, form) if isinstance(value, int | float) else "-"
