"""``inrbench plot``: metrics of records against a setting, as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from inrbench.cli.lazy import say
from inrbench.cli.options import RECORDS, records_folder

__all__ = ["plot"]


@click.command()
@click.option(
    "--against",
    required=True,
    multiple=True,
    metavar="KEY",
    help="The setting, as in joint.share or fitter.steps; or step, or fit_s, or both in turn, for curves of fits.",
)
@click.option(
    "--metric",
    "metrics",
    multiple=True,
    metavar="NAME",
    help="A metric of the records, a panel each; accuracy and psnr_db, or distances of samples, if not given; of "
    "curves all that were evaluated.",
)
@click.option(
    "--log", is_flag=True, help="A logarithmic axis for the setting, where 0 has a place; or for steps and seconds."
)
@click.option(
    "-o", "--out", type=click.Path(path_type=Path, dir_okay=False), help="The PNG; named after --against if not given."
)
@RECORDS
def plot(against: Sequence[str], metrics: Sequence[str], log: bool, out: Path | None, records: Path) -> None:
    """Draw how metrics depend on a setting, or how fits came closer, as a PNG.

    \b
      inrbench plot --against fitter.steps
      inrbench plot --records runs/mwt-figure4 --against joint.share --log -o figure4.png
      inrbench plot --records runs/today --against reader.name --metric accuracy
      inrbench plot --records runs/generated --against reader.guidance
      inrbench plot --records runs/bach --against step --against fit_s --log -o bach.png

    A line joins records that differ in the setting alone: mean over seeds, 95 % interval. Where other settings differ
    too there are several lines, each named by what differs. Published values that records hold are open markers.

    \b
    Curves are of fits that were evaluated on their way (--set fitter.evaluate=30): PSNR against steps, and against
    seconds of fitting without the evaluations. All methods of a data set are lines of one panel.
    """  # noqa: D301
    from inrbench.curves import AGAINST, curves_of, draw_curves
    from inrbench.errors import UsageError
    from inrbench.plot import draw, plot_of
    from inrbench.records import read_records

    path = out or Path("-".join(dict.fromkeys(against)) + ".png")
    if path.suffix != ".png":
        raise UsageError(f"a plot is written as PNG: say -o {path.with_suffix('.png')}; given: {str(path)!r}")
    found = list(read_records(records_folder(records)))
    if not any(record["status"] == "ok" for record in found):
        say(f"no records to draw in {records}; `inrbench run METHOD+DATASET` makes some")
        return
    if any(key in AGAINST for key in against):
        curves = curves_of(found, against, metrics)
        click.echo(draw_curves(curves, path, log=log))
        if curves.left_out:
            say(f"left out, since they hold no curve: {curves.left_out}")
        return
    if len(against) > 1:
        raise UsageError(f"--against takes one setting, or {' and '.join(AGAINST)}; given: {', '.join(against)}")
    drawn = plot_of(found, against[0], metrics)
    click.echo(draw(drawn, path, log=log))
    if drawn.left_out:
        say(f"left out, since no other record equals them in all but {against[0]}: {drawn.left_out}")
