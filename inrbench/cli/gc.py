"""``inrbench gc``: what the cache takes of the disk, and what of it can go."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from inrbench.cli.lazy import say
from inrbench.cli.options import JSON, records_folder
from inrbench.cli.tables import show_table

if TYPE_CHECKING:
    from inrbench.cleaning import Entry, Survey

__all__ = ["gc"]

HOUR_S, DAY_S = 3600.0, 86400.0
#: What is listed of that which can go, largest first; --json has all of it.
LISTED = 20
NAMES = {
    ("stage", True): "stages that records refer to",
    ("stage", False): "other stages",
    ("checksum", True): "checksums of data that is there",
    ("checksum", False): "checksums of data that is gone",
    ("vectors", False): "vectors that no record names",
    ("leftover", False): "leftovers of interrupted writes",
}


def _age(ctx: click.Context, param: click.Parameter, text: str) -> float:
    match = re.fullmatch(r"(\d{1,5})([hd])", text)
    if match is None:
        raise click.BadParameter(f"{text!r} is no age; allowed are hours and days, as in 12h and 14d", ctx, param)
    return int(match[1]) * (HOUR_S if match[2] == "h" else DAY_S)


@click.command()
@click.option(
    "--records",
    type=click.Path(path_type=Path, file_okay=False),
    envvar="INRBENCH_RECORDS",
    multiple=True,
    default=[Path("records")],
    show_default=True,
    help="Folder of records whose stages stay; more than once for several. $INRBENCH_RECORDS, where that is set.",
)
@click.option(
    "--older-than",
    "older_than_s",
    default="14d",
    show_default=True,
    metavar="AGE",
    callback=_age,
    help="Stages that nothing was written to for so long can go: 12h, 14d.",
)
@click.option(
    "--delete/--dry-run", "delete", default=False, help="Delete what can go, or only show it.  [default: --dry-run]"
)
@click.option("--now", is_flag=True, help="Also what was written within the last hour; only while nothing runs.")
@JSON
@click.pass_context
def gc(
    context: click.Context, records: Sequence[Path], older_than_s: float, delete: bool, now: bool, as_json: bool
) -> None:
    """Show what the cache takes of the disk, and free some.

    Nothing is deleted without --delete: the command alone shows what is there and what would go.

    \b
      inrbench gc                                        what is there, what can go
      inrbench gc --records records --records old/records --older-than 30d
      inrbench gc --older-than 12h --delete

    The cache holds finished stages (trained fitters and readers, a sample of representations), checkpoints, and
    checksums of data. Stages stay that a record in --records refers to, a failure's too: `inrbench render` and
    `inrbench verify` need their samples, and an interrupted cell goes on from its checkpoint. Name all folders of
    records that you work with; what goes is computed again where it is needed.

    Beside records it finds vectors that no record names, and in both what writes left that were interrupted. What is
    younger than an hour may be in use and stays, and so does every file that inrbench does not know.

    The exit status is 1 where a record is damaged (then nothing is deleted) or a file cannot be deleted.
    """  # noqa: D301
    from inrbench.cleaning import IN_USE_S, remove, survey
    from inrbench.data.root import cache_root
    from inrbench.progress import Progress

    found = survey(cache_root(), [records_folder(folder) for folder in records], progress=Progress())
    removable = found.removable(older_than_s, in_use_s=-1.0 if now else IN_USE_S)
    freed, refused = remove(removable) if delete else (0, [])
    if as_json:
        click.echo(json.dumps(_document(found, removable, freed if delete else None, refused), indent=2))
    else:
        _show(found, removable, delete)
    size = sum(entry.size_bytes for entry in removable)
    if delete:
        say(f"freed {_size(freed)}")
    elif removable:
        say(f"{_size(size)} can go; the same command with --delete frees them")
    else:
        say("nothing can go")
    for line in refused:
        say(f"error: cannot delete {line}")
    context.exit(1 if refused else 0)


def _show(found: Survey, removable: Sequence[Entry], deleted: bool) -> None:
    gone = {entry.path for entry in removable}
    groups: dict[str, list[Entry]] = {}
    for entry in found.entries:
        groups.setdefault(NAMES[entry.kind, bool(entry.records or entry.wanted)], []).append(entry)
    rows = []
    for name in NAMES.values():
        if some := groups.get(name):
            going = sum(entry.size_bytes for entry in some if entry.path in gone)
            ages = [found.now - entry.written for entry in some]
            rows.append(
                {
                    "what": name,
                    "number": f"{len(some):,}",
                    "size": _size(sum(entry.size_bytes for entry in some)),
                    "youngest": _shown_age(min(ages)),
                    "oldest": _shown_age(max(ages)),
                    "deleted" if deleted else "can go": _size(going) if going else "-",
                }
            )
    click.echo(f"cache {found.cache}")
    show_table(rows, indent="  ")
    for name, size in sorted(found.others.items()):
        click.echo(f"  {name}: {_size(size)}, not looked into")
    if not rows and not found.others:
        click.echo("  empty")
    if removable:
        largest = sorted(removable, key=lambda entry: -entry.size_bytes)
        click.echo("\ndeleted" if deleted else "\ncan go")
        show_table(
            [
                {
                    "path": str(entry.path),
                    "size": _size(entry.size_bytes),
                    "age": _shown_age(found.now - entry.written),
                    "what": NAMES[entry.kind, False],
                }
                for entry in largest[:LISTED]
            ],
            indent="  ",
        )
        if len(largest) > LISTED:
            click.echo(f"  and {len(largest) - LISTED:,} more")


def _shown_age(seconds: float) -> str:
    from inrbench.progress import duration

    return duration(max(0.0, seconds))


def _size(num_bytes: float) -> str:
    for unit, scale in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if num_bytes >= scale:
            return f"{num_bytes / scale:,.1f} {unit}"
    return f"{num_bytes:.0f} bytes"


def _document(found: Survey, removable: Sequence[Entry], freed: int | None, refused: Sequence[str]) -> dict[str, Any]:
    gone = {entry.path for entry in removable}
    return {
        "cache": str(found.cache),
        "entries": [
            {
                "kind": entry.kind,
                "path": str(entry.path),
                "bytes": entry.size_bytes,
                "age_s": found.now - entry.written,
                "records": entry.records,
                "can_go": entry.path in gone,
            }
            for entry in found.entries
        ],
        "not_looked_into": dict(found.others),
        "can_go_bytes": sum(entry.size_bytes for entry in removable),
        "freed_bytes": freed,
        "refused": list(refused),
    }
