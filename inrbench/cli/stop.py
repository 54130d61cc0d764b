"""``inrbench stop``: end what runs over a folder of records."""

from __future__ import annotations

from pathlib import Path

import click

from inrbench.cli.options import RECORDS, records_folder

__all__ = ["stop"]


@click.command()
@click.option("--now", is_flag=True, help="Kill cells at once; the last checkpoint they wrote is kept.")
@RECORDS
@click.pass_context
def stop(context: click.Context, now: bool, records: Path) -> None:
    """Stop what runs over a folder of records; checkpoints are kept.

    \b
      inrbench stop                         of ./records
      inrbench stop --records /shared/sweep --now

    Every run over the folder is asked to stop, on other machines too: cells at work checkpoint and are recorded as
    interrupted, within a few seconds and a step of theirs, and the others are left undone. Slurm jobs that wait in the
    queue are cancelled. The same `inrbench run` goes on from there. The exit status is 1 where a run cannot be reached.
    """  # noqa: D301
    from inrbench.execution.runs import remove_gone, runs
    from inrbench.execution.slurm_jobs import settle
    from inrbench.execution.stopping import stop_run

    folder = records_folder(records)
    for run in remove_gone(folder):
        click.echo(f"run {run.id} is gone already: {run.about['host']}, pid {run.about['pid']}")
    for line in settle(folder):
        click.echo(line)
    failed = False
    found = list(runs(folder))
    for run in found:
        said, reached = stop_run(run, now=now)
        failed |= not reached
        click.echo(said, err=not reached)
    if not found:
        click.echo(f"nothing runs over {records}")
    else:
        click.echo("`inrbench status` shows what is still at work; the same `inrbench run` goes on later")
    context.exit(int(failed))
