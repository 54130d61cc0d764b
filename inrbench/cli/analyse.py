"""``inrbench analyse``: a neural data set as a table and pictures."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click

from inrbench.cli import suggestions
from inrbench.cli.lazy import say
from inrbench.cli.options import DATA_ROOT, JSON, assignments
from inrbench.cli.tables import show_table, title

if TYPE_CHECKING:
    from inrbench.artefact import Artefact
    from inrbench.plugin import Plugin
    from inrbench.settings import Settings

__all__ = ["analyse"]

#: Rows of a table that are printed; its file holds all of them.
PRINTED = 20


@click.command()
@click.argument("name", metavar="ANALYSIS", shell_complete=suggestions.analyses)
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path, file_okay=False))
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="KEY=VALUE",
    help="Change a setting, as in --set analysis.bits=[4,6]; `inrbench show ANALYSIS` lists them.",
)
@click.option("--split", default="test", show_default=True, help="The signals to look at.")
@click.option(
    "--signals", type=click.IntRange(min=1), metavar="N", help="How many of them: short for --set analysis.signals=N."
)
@click.option(
    "-o", "--out", type=click.Path(path_type=Path, file_okay=False), help="The folder; analyses/DIR if not given."
)
@click.option("--device", default="auto", show_default=True, metavar="auto|cpu|cuda[:i]", help="Where it computes.")
@click.option("--threads", type=click.IntRange(min=1), help="CPU threads; all of this process's cores if not given.")
@DATA_ROOT
@JSON
def analyse(
    name: str,
    folder: Path,
    settings: Sequence[str],
    split: str,
    signals: int | None,
    out: Path | None,
    device: str,
    threads: int | None,
    data_root: Path | None,
    as_json: bool,
) -> None:
    """Analyse a neural data set: a table and pictures.

    DIR holds a neural data set, as `inrbench fit METHOD+DATASET -o DIR` makes it.

    \b
      inrbench analyse quantisation latents/             PSNR against bits
      inrbench analyse perturbation latents/ --signals 4
      inrbench analyse latent-statistics latents/ -o figures/
      inrbench analyse quantisation latents/ --set analysis.bits=[4,6,8] --json

    Writes ANALYSIS.md with all tables, the same as .json and .csv, and ANALYSIS.png. `inrbench list analyses` says
    which there are, and which kinds of representation each takes.
    """  # noqa: D301
    from inrbench.analysis import Context, check_takes, settings_of
    from inrbench.analysis import analyse as run_analysis
    from inrbench.artefact import open_artefact
    from inrbench.cell_run import stop_on_signals
    from inrbench.findings import document_of, write_findings
    from inrbench.registry import registry

    plugin: Plugin = registry().find("analysis", name)
    count = [{"analysis": {"signals": signals}}] if signals is not None else []
    chosen = settings_of(plugin, [*assignments(settings), *count])
    artefact = open_artefact(folder)
    check_takes(plugin, artefact.layout.kind, str(folder))
    stop = threading.Event()
    context = Context(artefact, _run_of(artefact, device, threads, stop), split=split, data_root=data_root)
    with stop_on_signals(stop):
        findings = run_analysis(plugin, chosen, context)
    about = _about(plugin, chosen, artefact, context)
    paths = write_findings(findings, about, out or Path("analyses") / folder.resolve().name, name)
    if as_json:
        click.echo(json.dumps(document_of(findings, about), indent=2))
        return
    for number, (table, rows) in enumerate(findings.tables.items()):
        title(("\n" if number else "") + table)
        _print(rows)
    click.echo(f"\n{findings.note}")
    say(f"written to {', '.join(map(str, paths))}")


def _run_of(artefact: Artefact, device: str, threads: int | None, stop: threading.Event) -> Any:
    """The run of an analysis: on the device of the framework that made the rows, with the seed that they have."""
    from inrbench.backends import engine
    from inrbench.cell_run import CellRun
    from inrbench.errors import Refused
    from inrbench.progress import Progress
    from inrbench.runner import num_threads

    try:
        cell = artefact.cell()
        backend, seed = cast("Plugin", cell.plugins["fitter"]).backend, cell.seed
    except Refused:  # imported: nobody knows what made it, and no framework is needed to look at the rows
        backend, seed = "numpy", 0
    used = engine(backend)
    place, cores = used.resolve_device(device), num_threads(threads)
    used.prepare(place, cores)
    return CellRun(seed, device=place, threads=cores, progress=Progress(), stop=stop)


def _about(plugin: Plugin, settings: Settings, artefact: Artefact, context: Any) -> Mapping[str, Any]:
    """What repeats the analysis."""
    from inrbench.provenance import commit, versions

    return {
        "analysis": plugin.name,
        "of": artefact.name,
        "key": artefact.key,
        "kind": artefact.layout.kind,
        "split": context.split,
        "signals in the split": context.num_signals(context.split),
        "device": context.run.device,
        "threads": context.run.threads,
        "commit": commit(),
        "settings": settings.model_dump(mode="json"),
        "versions": versions(),
    }


def _print(rows: Sequence[Mapping[str, Any]]) -> None:
    from inrbench.findings import cell_text

    show_table([{key: cell_text(value) for key, value in row.items()} for row in rows[:PRINTED]], indent="  ")
    if len(rows) > PRINTED:
        click.echo(f"  and {len(rows) - PRINTED:,} rows more")
