"""``inrbench query``: what the fields of a neural data set show, as one of samples."""

from __future__ import annotations

from pathlib import Path

import click

from inrbench.cli.fit import make, names_of, report
from inrbench.cli.options import JSON

__all__ = ["query"]


@click.command()
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option(
    "-o", "--out", type=click.Path(path_type=Path), required=True, metavar="OUT", help="The folder that holds it."
)
@click.option(
    "--size",
    metavar="32|2x",
    help="Pixels along each side, or times as many as the data has; as many as the data has if not given.",
)
@click.option("--splits", callback=names_of, metavar="train,test", help="The splits to query; all if not given.")
@click.option("--device", default="auto", show_default=True, metavar="auto|cpu|cuda[:i]", help="Where it computes.")
@click.option("--threads", type=click.IntRange(min=1), help="CPU threads; all of this process's cores if not given.")
@JSON
def query(
    folder: Path,
    out: Path,
    size: str | None,
    splits: list[str] | None,
    device: str,
    threads: int | None,
    as_json: bool,
) -> None:
    """Query the fields of a neural data set: their values as samples, for controls.

    DIR holds a neural data set, as `inrbench fit METHOD+DATASET -o DIR` makes it.

    \b
      inrbench query latents -o rendered
      inrbench query latents -o rendered-32 --size 32
      inrbench read mlp,latent-transformer rendered

    Every row of DIR is one of OUT: its field's values on the data's own grid, clamped to [0, 1], laid out as those of
    `inrbench fit pixels+DATASET`, with the row's id, copy, label and error. Readers have their defaults there, not the
    method's settings, which are for its representations: say --set where controls are to have one network. Ctrl-C keeps
    all finished shards: the same command goes on from there.
    """  # noqa: D301
    from inrbench.artefact import open_artefact
    from inrbench.artefacts.querying import plan_query
    from inrbench.errors import UsageError
    from inrbench.runner import num_threads

    cores = num_threads(threads)
    if out.resolve() == folder.resolve():
        raise UsageError(f"-o {str(out)!r} is DIR itself; say another folder")
    planned = plan_query(open_artefact(folder), size, splits or (), device)
    report(make(planned, planned.make, out, planned.cell.seed, cores), out, as_json)
