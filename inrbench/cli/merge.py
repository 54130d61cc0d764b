"""``inrbench merge``: folders of records as one."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import click

from inrbench.cli.lazy import say
from inrbench.cli.options import JSON

__all__ = ["merge"]

#: Records that are named; the folder holds all of them.
NAMED = 10


@click.command()
@click.argument("folders", nargs=-1, required=True, metavar="A B...", type=click.Path(path_type=Path))
@click.option(
    "-o", "--out", type=click.Path(path_type=Path), help="The folder to merge into, new or not; A if not given."
)
@JSON
@click.pass_context
def merge(context: click.Context, folders: Sequence[Path], out: Path | None, as_json: bool) -> None:
    """Merge folders of records into one.

    A, B and more are folders of records. What A lacks is copied into A; with -o nothing but that folder is changed.

    \b
      inrbench merge records from-the-cluster            records then has both
      inrbench merge node1 node2 node3 -o everything
      inrbench merge records records-of-an-older-code    other keys: all of them are kept

    Nothing is lost and nothing is there twice. A good record takes the place of a failure, a newer failure that of an
    older one. Where two good records of one key differ, as those of two machines can, the first folder's stays, and the
    other one goes to the folder `aside` below, where no table looks; `inrbench compare DIR DIR/aside` shows both.

    All records and vectors are checked first: where one is damaged, it is named and nothing is written. A merge that
    was killed is finished by the same command.

    The exit status is 0 where all fit, 1 where records of one key have different results, where one is damaged or the
    disk is full, 2 where a folder is not there.
    """  # noqa: D301
    from inrbench.merging import merge as merge_folders
    from inrbench.progress import Progress

    done = merge_folders(folders, out, progress=Progress())
    counts = {
        "added": done.added,
        "there before": done.there,
        "failures replaced": done.replaced,
        "failures left out": done.left_out,
        "set aside": len(done.aside),
    }
    if as_json:
        paths = {"aside": list(map(str, done.aside)), "differing": list(map(str, done.differing))}
        click.echo(json.dumps({"folder": str(done.folder), "counts": counts, **paths}, indent=2))
    else:
        said = ", ".join(f"{what} {count}" for what, count in counts.items() if count or what == "added")
        click.echo(f"{done.folder}: {said}")
    if done.differing:
        for path in done.differing[:NAMED]:
            say(f"another result of the same key: {path}")
        if len(done.differing) > NAMED:
            say(f"and {len(done.differing) - NAMED} more")
        aside = done.differing[0].parent
        say(f"`inrbench compare {done.folder} {aside}` shows how these differ from the ones that tables read")
    context.exit(1 if done.differing else 0)
