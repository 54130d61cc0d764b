"""``inrbench plot``: metrics of records against a setting, as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from inrbench.cli.lazy import say
from inrbench.cli.options import RECORDS, records_folder

__all__ = ["plot"]


@click.command()
@click.option("--against", required=True, metavar="KEY", help="The setting, as in joint.share or fitter.steps.")
@click.option(
    "--metric",
    "metrics",
    multiple=True,
    metavar="NAME",
    help="A metric of the records, a panel each; accuracy and psnr_db, or distances of samples, if not given.",
)
@click.option("--log", is_flag=True, help="A logarithmic axis for the setting; 0 has a place on it.")
@click.option(
    "-o", "--out", type=click.Path(path_type=Path, dir_okay=False), help="The PNG; the setting's name if not given."
)
@RECORDS
def plot(against: str, metrics: Sequence[str], log: bool, out: Path | None, records: Path) -> None:
    """Draw how metrics depend on a setting, as a PNG.

    \b
      inrbench plot --against fitter.steps
      inrbench plot --records runs/mwt-figure4 --against joint.share --log -o figure4.png
      inrbench plot --records runs/today --against reader.name --metric accuracy
      inrbench plot --records runs/generated --against reader.guidance

    A line joins records that differ in the setting alone: mean over seeds, 95 % interval. Where other settings differ
    too there are several lines, each named by what differs. Published values that records hold are open markers.
    """  # noqa: D301
    from inrbench.errors import UsageError
    from inrbench.plot import draw, plot_of
    from inrbench.records import read_records

    path = out or Path(f"{against}.png")
    if path.suffix != ".png":
        raise UsageError(f"a plot is written as PNG: say -o {path.with_suffix('.png')}; given: {str(path)!r}")
    found = list(read_records(records_folder(records)))
    if not any(record["status"] == "ok" for record in found):
        say(f"no records to draw in {records}; `inrbench run METHOD+DATASET` makes some")
        return
    drawn = plot_of(found, against, metrics)
    click.echo(draw(drawn, path, log=log))
    if drawn.left_out:
        say(f"left out, since no other record equals them in all but {against}: {drawn.left_out}")
