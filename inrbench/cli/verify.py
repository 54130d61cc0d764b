"""``inrbench verify``: a record's metrics, computed once more from what is stored."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from inrbench.cli import suggestions
from inrbench.cli.lazy import say
from inrbench.cli.options import DATA_ROOT, JSON, RECORDS, records_folder
from inrbench.cli.render import record_of
from inrbench.cli.tables import show_table

if TYPE_CHECKING:
    from inrbench.verifying import Verified

__all__ = ["verify"]


@click.command()
@click.argument("cell", required=False, shell_complete=suggestions.records)
@click.option("--all", "every", is_flag=True, help="All good records of the folder.")
@click.option("--vectors-only", is_flag=True, help="Query no representations: loads no framework.")
@RECORDS
@DATA_ROOT
@JSON
@click.pass_context
def verify(
    context: click.Context,
    cell: str | None,
    every: bool,
    vectors_only: bool,
    records: Path,
    data_root: Path | None,
    as_json: bool,
) -> None:
    """Compute a record's metrics once more from what is stored.

    CELL is the name of a cell as `inrbench results` prints it, its beginning, or the path of a record.

    \b
      inrbench verify mwt+digits-laptop-s0
      inrbench verify records/mwt+digits-laptop-s0-1a2b3c4d.json
      inrbench verify --all --records leaderboards/quick
      inrbench verify --all --vectors-only --json

    The metrics are computed from the squared errors, logits and labels beside the record. Where the cache keeps
    representations of the first scored signals, the fitter is built and loaded as it was trained, and queried again:
    the root of each squared error must be within 1e-5 of the recorded one (values are in [0, 1]), which another batch
    or number of threads can make of it; within 1e-2 on another kind of device or in bfloat16.

    Nothing is changed. The exit status is 1 where a number does not hold, where something is damaged, or where nothing
    could be checked.
    """  # noqa: D301
    from inrbench.errors import InrbenchError, UsageError
    from inrbench.progress import Progress
    from inrbench.records import read_record
    from inrbench.verifying import verify as verify_record

    if every == (cell is not None):
        raise UsageError("say which: CELL, or --all for all good records of the folder")
    found: list[Verified] = []
    damaged = 0
    paths = sorted(records_folder(records).glob("*.json")) if every else []
    progress = Progress(quiet=not every)
    with progress.task("verify", len(paths)) as task:
        for path in paths:
            try:
                record = read_record(path)
                if record["status"] == "ok":
                    found.append(verify_record(record, records, query=not vectors_only, data_root=data_root))
            except InrbenchError as error:
                damaged += 1
                progress.say(f"error: {' '.join(str(error).split())}")
            task.advance()
    if cell is not None:
        folder = Path(cell).parent if cell.endswith(".json") else records
        found.append(verify_record(record_of(cell, records), folder, query=not vectors_only, data_root=data_root))
    if as_json:
        click.echo(json.dumps([_document(one) for one in found], indent=2))
    elif every:
        _show_all(found)
    else:
        _show(found[0])
    checked = [one for one in found if one.checks]
    if every:
        wrong = sum(bool(one.wrong) for one in found)
        say(f"{len(checked)} of {len(found) + damaged} good records checked, {wrong} do not hold, {damaged} damaged")
    context.exit(1 if damaged or not checked or any(one.wrong for one in found) else 0)


def _show(one: Verified) -> None:
    show_table(
        [
            {
                "what": check.name,
                "recorded": _number(check.recorded),
                "recomputed": _number(check.recomputed),
                "difference": f"{check.difference:.2g}",
                "allowed": f"{check.allowed:.2g}",
                "holds": "yes" if check.holds else "NO",
            }
            for check in one.checks
        ]
    )
    for note in one.notes:
        say(note)
    if not one.checks:
        say(f"nothing of {one.cell} could be checked")
    elif one.wrong:
        say(f"{one.cell} does not hold: {', '.join(check.name for check in one.wrong)}")


def _show_all(found: list[Verified]) -> None:
    show_table(
        [
            {
                "cell": one.cell,
                "numbers": str(len(one.checks)),
                "queried again": f"{one.queried} signals" if one.queried else "-",
                "holds": "NO: " + ", ".join(check.name for check in one.wrong)
                if one.wrong
                else "yes"
                if one.checks
                else "nothing stored to check",
            }
            for one in found
        ]
    )


def _number(value: float) -> str:
    return "none" if math.isnan(value) else f"{value:.12g}"


def _document(one: Verified) -> dict[str, Any]:
    def number(value: float) -> float | None:
        return value if math.isfinite(value) else None

    return {
        "cell": one.cell,
        "checks": [
            {
                "what": check.name,
                "recorded": number(check.recorded),
                "recomputed": number(check.recomputed),
                "difference": number(check.difference),
                "allowed": check.allowed,
                "holds": check.holds,
            }
            for check in one.checks
        ],
        "queried": one.queried,
        "notes": list(one.notes),
    }
