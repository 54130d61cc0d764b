"""``inrbench run``: cells from a line of the shell, or from sweep files."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from inrbench.cli import suggestions
from inrbench.cli.lazy import say
from inrbench.cli.limits import DURATION, SIZE, statuses
from inrbench.cli.options import (
    DATA_ROOT,
    EXECUTOR,
    JSON,
    PROFILE,
    RECORDS,
    SEEDS,
    SET,
    WITH,
    assignments,
    executor_tree,
)
from inrbench.cli.tables import show_table

__all__ = ["run"]


@click.command()
@click.argument("what", nargs=-1, required=True, metavar="WHAT...", shell_complete=suggestions.cells)
@PROFILE
@SEEDS
@SET
@click.option("--device", default="auto", show_default=True, metavar="auto|cpu|cuda[:i]", help="Where cells compute.")
@click.option(
    "--threads",
    type=click.IntRange(min=1),
    help="CPU threads a cell; if not given the cores, shared by --jobs, or 1 in a Slurm job.",
)
@click.option("--jobs", type=click.IntRange(min=1), default=1, show_default=True, help="Cells at once.")
@click.option("--per-gpu", type=click.IntRange(min=1), default=1, show_default=True, help="Of them on one GPU.")
@click.option(
    "--timeout", type=DURATION, metavar="90s|10m|2h", help="Kill a cell that takes longer; a later run goes on."
)
@click.option("--memory", type=SIZE, metavar="800M|16G", help="Kill a cell whose processes grow beyond this.")
@click.option(
    "--checkpoint-every", type=DURATION, default=60.0, metavar="TIME", help="Between checkpoints.  [default: 60s]"
)
@click.option("--retry", callback=statuses, metavar="STATUS,...|none", help="Failures to run again: all if not given.")
@click.option("--log", "logs", is_flag=True, help="Keep what each cell prints, in RECORDS/.logs.")
@EXECUTOR
@WITH
@click.option("--wait/--no-wait", default=True, help="Or leave cells in the queue; the same command waits for them.")
@click.option("--in-process", is_flag=True, help="No process for each cell: for a debugger.")
@DATA_ROOT
@RECORDS
@click.option("--unofficial-data", is_flag=True, help="Run data that is not the official one, and mark it everywhere.")
@click.option("--rerun", is_flag=True, help="Run also what has a record, and every stage of it.")
@click.option("--dry-run", is_flag=True, help="As `inrbench plan`: check all and say what would be done.")
@JSON
@click.pass_context
def run(
    context: click.Context,
    what: Sequence[str],
    profile: str | None,
    seeds: list[int] | None,
    settings: Sequence[str],
    device: str,
    threads: int | None,
    jobs: int,
    per_gpu: int,
    timeout: float | None,
    memory: int | None,
    checkpoint_every: float,
    retry: tuple[str, ...] | None,
    logs: bool,
    executor: str,
    executor_settings: Sequence[str],
    wait: bool,
    in_process: bool,
    data_root: Path | None,
    records: Path,
    unofficial_data: bool,
    rerun: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Run cells: methods on data sets.

    WHAT is METHOD+DATASET, lists of both, or a sweep file in YAML.

    \b
      inrbench run mwt+digits --profile laptop           half a minute on two cores, no download
      inrbench run mwt,wt+mnist,cifar10 --seed 0-4       20 cells
      inrbench run mwt+cifar10 --set fitter.steps=4      another number of inner steps
      inrbench run siren+folder:~/photos --set data.size=64
      inrbench run leaderboards/quick.yaml --dry-run     what is there, what is missing
      inrbench run sweep.yaml --jobs 4 --timeout 2h --memory 16G
      inrbench run sweep.yaml --executor slurm --with partition=main --with gpus=1 --with time=2h --threads 8

    Each cell runs in a process of its own: whatever happens to it, it ends in a record that says so, and the others go
    on. A cell that has a good record is not run again, and Ctrl-C keeps a checkpoint: the same command goes on from
    there. Several runs over one folder of records, on several machines too, share the cells; `inrbench status` shows
    them and `inrbench stop` ends them. The exit status is 0 where all cells are ok, 1 where one failed, 2 where the
    request is wrong, 130 after Ctrl-C.
    """  # noqa: D301
    from inrbench.cli.plan import show_plan
    from inrbench.requests import requested
    from inrbench.runner import Options, plan, run_cells
    from inrbench.search import run_requested

    asked = requested(what, profile=profile, seeds=seeds, overrides=assignments(settings))
    options = Options(
        records,
        data_root,
        unofficial_data,
        device,
        threads,
        rerun,
        isolate=not in_process,
        jobs=jobs,
        per_gpu=per_gpu,
        timeout=timeout,
        memory=memory,
        retry=retry,
        logs=logs,
        checkpoint_s=checkpoint_every,
        executor=executor,
        executor_settings=executor_tree(executor_settings),
        wait=wait,
    )
    if dry_run:
        show_plan(asked, options, as_json)
        return
    report = say if as_json else click.echo
    done = run_requested(asked, lambda cells: run_cells(plan(cells, options), options, report, quiet=False), report)
    if as_json:
        click.echo(json.dumps(done, indent=2))
    elif len(done) > 1:
        click.echo()
        show_table([_row(record) for record in done])
    missing = len(asked.cells) - len(done)
    if missing > 0 and options.wait:
        say(f"{missing} of {len(asked.cells)} cells were not started; the same command goes on from here")
    folder = "" if records == Path("records") else f" --records {records}"
    say(f"records are in {records}; `inrbench leaderboard{folder}` shows them as tables")
    statuses = {record["status"] for record in done}
    good = {"ok"} if done or options.wait else set()
    context.exit(130 if "interrupted" in statuses else int(statuses != good))


def _row(record: Mapping[str, Any]) -> dict[str, str]:
    metrics, costs = record["metrics"], record["costs"]
    interval = _interval(metrics)
    return {
        "cell": record["cell"] + (f" ({record['label']})" if record.get("label") else ""),
        "status": record["status"],
        "accuracy %": f"{100 * metrics['accuracy']:.1f}{interval}" if "accuracy" in metrics else "-",
        "psnr db": f"{metrics['psnr_db']:.2f}" if "psnr_db" in metrics else "-",
        "training": _seconds(sum(costs.get(part, 0.0) for part in ("train_s", "fit_train_s", "read_train_s"))),
        "fit a signal": _seconds(costs.get("fit_s_per_signal")),
    }


def _interval(metrics: Mapping[str, Any]) -> str:
    low, high = metrics.get("accuracy_low"), metrics.get("accuracy_high")
    return f" ({100 * low:.1f} to {100 * high:.1f})" if low is not None and high is not None else ""


def _seconds(value: float | None) -> str:
    from inrbench.progress import duration

    if value is None:
        return "-"
    return duration(value) if value >= 10 else f"{value:.3g} s"
