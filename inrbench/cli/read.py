"""``inrbench read``: readers on neural data sets that lie on a disk."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from inrbench.cli import suggestions
from inrbench.cli.lazy import say
from inrbench.cli.options import JSON, RECORDS, SEEDS, assignments
from inrbench.cli.tables import show_table

__all__ = ["read"]


@click.command()
@click.argument("readers", metavar="READER[,READER...]", shell_complete=suggestions.readers)
@click.argument("folders", nargs=-1, required=True, metavar="DIR...", type=click.Path(path_type=Path))
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="KEY=VALUE",
    help="Change a setting of the reader, as in --set reader.lr=0.001; `inrbench show READER` lists them.",
)
@SEEDS
@click.option("--scored", default="test", show_default=True, metavar="test|validation", help="The split to score on.")
@click.option("--device", default="auto", show_default=True, metavar="auto|cpu|cuda[:i]", help="Where it computes.")
@click.option("--threads", type=click.IntRange(min=1), help="CPU threads; all of this process's cores if not given.")
@RECORDS
@click.option("--rerun", is_flag=True, help="Read also what has a record.")
@click.option("--dry-run", is_flag=True, help="Check all and say what would be done; compute nothing.")
@JSON
@click.pass_context
def read(
    context: click.Context,
    readers: str,
    folders: Sequence[Path],
    settings: Sequence[str],
    seeds: list[int] | None,
    scored: str,
    device: str,
    threads: int | None,
    records: Path,
    rerun: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Train readers on neural data sets and score them.

    READER is one or several with commas, DIR a folder that `inrbench fit` or `inrbench import` made; each reader reads
    each of them, in the reader's framework, whatever made it.

    \b
      inrbench read mlp latents
      inrbench read linear-probe,knn,mlp latents weights --seed 0-4
      inrbench read mlp latents --set reader.lr=0.003 --scored validation

    The method's own reader has the method's settings, another one its defaults; the seed is the one of the fit if none
    is given. Every reading ends in a record that `inrbench leaderboard` shows beside those of cells. The exit status is
    0 where all are ok, 1 where one failed, 2 where the request is wrong, 130 after Ctrl-C.
    """  # noqa: D301
    from inrbench.artefact import open_artefact
    from inrbench.artefacts.recorded import plan_reading, run_readings
    from inrbench.runner import check_folder, num_threads

    names = [name.strip() for name in readers.split(",") if name.strip()]
    cores = num_threads(threads)
    check_folder(records)
    overrides = assignments(settings)
    wanted: Sequence[int | None] = seeds or [None]
    planned = [
        plan_reading(name, artefact, overrides=overrides, seed=seed, scored=scored, device=device, records=records)
        for artefact in [open_artefact(folder) for folder in folders]
        for name in names
        for seed in wanted
    ]
    if dry_run:
        for one in planned:
            click.echo(f"{one.name}: {'done before' if one.done and not rerun else 'to do'}")
        return
    shown = say if as_json else click.echo
    done = run_readings(planned, records, threads=cores, rerun=rerun, report=shown, quiet=False)
    if as_json:
        click.echo(json.dumps(done, indent=2))
    elif len(planned) > 1:
        click.echo()
        show_table([_row(record) for record in done])
    if missing := len(planned) - len(done):
        say(f"{missing} of {len(planned)} readings were not started; the same command goes on from here")
    folder = "" if records == Path("records") else f" --records {records}"
    say(f"records are in {records}; `inrbench leaderboard{folder}` shows them as tables")
    statuses = {record["status"] for record in done}
    context.exit(130 if "interrupted" in statuses else int(statuses != {"ok"}))


def _row(record: Mapping[str, Any]) -> dict[str, str]:
    metrics, costs = record["metrics"], record["costs"]
    return {
        "neural data set": record["artefact"]["name"],
        "reader": record["settings"]["reader"]["name"],
        "seed": str(record["seed"]),
        "status": record["status"],
        "accuracy %": f"{100 * metrics['accuracy']:.1f}" if "accuracy" in metrics else "-",
        "psnr db": f"{metrics['psnr_db']:.2f}" if "psnr_db" in metrics else "-",
        "parameters": f"{costs['reader_parameters']:,.0f}" if "reader_parameters" in costs else "-",
        "training": f"{costs['read_train_s']:.3g} s" if "read_train_s" in costs else "-",
    }
