"""``inrbench fit``: the signals of a data set as a neural data set on disk."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import click

from inrbench.cli import suggestions
from inrbench.cli.lazy import say
from inrbench.cli.options import DATA_ROOT, JSON, PROFILE, SET, assignments
from inrbench.cli.tables import show_table

if TYPE_CHECKING:
    from inrbench.artefact import Artefact
    from inrbench.artefacts.folder import ArtefactFolder
    from inrbench.cell_run import CellRun
    from inrbench.representations import Layout

__all__ = ["Planned", "fit", "make", "names_of", "report", "rows_of", "summary"]


class Planned(Protocol):
    """A neural data set that is to be made, checked."""

    @property
    def name(self) -> str: ...  # noqa: D102

    @property
    def layout(self) -> Layout: ...  # noqa: D102

    @property
    def rows(self) -> int: ...  # noqa: D102

    @property
    def needed_bytes(self) -> int: ...  # noqa: D102

    @property
    def device(self) -> str: ...  # noqa: D102

    def origin(self) -> Mapping[str, Any]: ...  # noqa: D102


def names_of(ctx: click.Context, param: click.Parameter, text: str | None) -> list[str] | None:
    """``train,test`` as a list; None where nothing was given."""
    return None if text is None else [name.strip() for name in text.split(",") if name.strip()]


@click.command()
@click.argument("what", metavar="METHOD+DATASET", shell_complete=suggestions.cells)
@click.option(
    "-o", "--out", type=click.Path(path_type=Path), required=True, metavar="DIR", help="The folder that holds it."
)
@PROFILE
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="The seed.")
@SET
@click.option("--splits", callback=names_of, metavar="train,test", help="The splits to fit; all if not given.")
@click.option(
    "--copies",
    type=click.IntRange(min=1),
    metavar="N",
    help="Rows of a training signal, augmented copies among them: short for --set data.copies.count=N.",
)
@click.option("--device", default="auto", show_default=True, metavar="auto|cpu|cuda[:i]", help="Where it computes.")
@click.option("--threads", type=click.IntRange(min=1), help="CPU threads; all of this process's cores if not given.")
@DATA_ROOT
@click.option("--unofficial-data", is_flag=True, help="Fit data that is not the official one, and mark it everywhere.")
@JSON
def fit(
    what: str,
    out: Path,
    profile: str | None,
    seed: int,
    settings: Sequence[str],
    splits: list[str] | None,
    copies: int | None,
    device: str,
    threads: int | None,
    data_root: Path | None,
    unofficial_data: bool,
    as_json: bool,
) -> None:
    """Fit a method to a data set and keep the representations: a neural data set.

    \b
      inrbench fit siren+digits -o sirens --profile smoke
      inrbench fit wt-two-stage+mnist -o weights --profile laptop --splits train,test
      inrbench fit functa+cifar10 -o latents --copies 50 --set data.copies.pad=4 --set data.copies.flip=true

    The training is the one of `inrbench run`: what that kept is taken up, and the other way round. Ctrl-C keeps all
    finished shards: the same command goes on from there. `inrbench read READER DIR` reads the result,
    `inrbench export DIR FILE.h5` hands it on.
    """  # noqa: D301
    from functools import partial

    from inrbench.artefacts.fitting import plan_fit
    from inrbench.cells import parse_grid, resolve
    from inrbench.errors import UsageError
    from inrbench.runner import QUICKER, num_threads
    from inrbench.stages import Stages, cache_folder

    pairs = parse_grid(what)
    if len(pairs) > 1:
        raise UsageError(f"a neural data set is of one METHOD+DATASET; given: {what!r}, which is {len(pairs)} of them")
    count = [] if copies is None else [{"data": {"copies": {"count": copies}}}]
    overrides = [*assignments(settings), *count]
    cell = resolve(*pairs[0], profile=profile or "paper", seed=seed, overrides=overrides)
    cores = num_threads(threads)
    fitting = plan_fit(cell, splits, device, data_root, unofficial_data)
    work = partial(fitting.make, stages=Stages(cache_folder() / "stages", fitting.keys))
    report(make(fitting, work, out, seed, cores, QUICKER[cell.profile]), out, as_json)


def make(
    planned: Planned,
    work: Callable[[ArtefactFolder, CellRun], Artefact],
    out: Path,
    seed: int,
    cores: int,
    quicker: str = "",
) -> Artefact:
    """The neural data set in the folder ``out``: what is there, else what ``work`` makes of it."""
    import threading

    from inrbench.artefacts.folder import ArtefactFolder
    from inrbench.cell_run import CellRun, stop_on_signals
    from inrbench.progress import Progress

    folder = ArtefactFolder(out, planned.origin())
    if (made := folder.begin()) is not None:
        say(f"{out}: made before")
        return made
    values = f"{planned.layout.num_values:,} values"
    say(f"{planned.name}: {planned.rows:,} rows of {values}, about {_size(planned.needed_bytes)} in {out}")
    stop = threading.Event()
    with stop_on_signals(stop):
        progress = Progress(quicker=quicker)
        return work(folder, CellRun(seed, device=planned.device, threads=cores, progress=progress, stop=stop))


def report(made: Artefact, out: Path, as_json: bool) -> None:
    """Print what a neural data set holds, and what reads it."""
    if as_json:
        click.echo(json.dumps(summary(made), indent=2))
        return
    show_table(rows_of(made))
    say(f"{made.name} is in {out}; `inrbench read {_reader(made)} {out}` reads it")


def summary(artefact: Artefact) -> dict[str, Any]:
    """What is printed of a neural data set with ``--json``."""
    return {
        "name": artefact.name,
        "folder": str(artefact.folder),
        "key": artefact.key,
        "kind": artefact.layout.kind,
        "values": artefact.layout.num_values,
        "splits": {name: _facts(artefact, name) for name in artefact.splits},
    }


def rows_of(artefact: Artefact) -> list[dict[str, str]]:
    """The table of a neural data set, one row a split."""
    rows = []
    for name in artefact.splits:
        facts = _facts(artefact, name)
        rows.append(
            {
                "split": name,
                "signals": f"{facts['signals']:,}",
                "rows": f"{facts['rows']:,}",
                "values a row": f"{artefact.layout.num_values:,}",
                "bytes": _size(facts["bytes"]),
                "psnr db": "-" if facts["psnr_db"] is None else f"{facts['psnr_db']:.2f}",
            }
        )
    return rows


def _facts(artefact: Artefact, name: str) -> Mapping[str, Any]:
    from inrbench.metrics import psnr_db

    split = artefact.splits[name]
    own = split.copies == 0
    psnr = None if split.mse is None or not own.any() else float(psnr_db(split.mse[own]).mean())
    files = [artefact.folder / shard["file"] for shard in artefact.manifest["splits"][name]["shards"]]
    size = sum(path.stat().st_size for path in files)
    return {"signals": int(own.sum()), "rows": len(split), "bytes": size, "psnr_db": psnr}


def _reader(artefact: Artefact) -> str:
    """A reader to name: the method's own, else one that reads this kind."""
    from inrbench.registry import registry

    methods = {method.name: method for method in registry().all("method")}
    method = methods.get(str(artefact.manifest["origin"].get("method")))
    kind = artefact.layout.kind
    fitting = [one.name for one in registry().all("reader") if one.reads(kind) and "classes" in one.gives]
    own = [method.reader] if method is not None and method.reader in fitting else []
    return str([*own, *fitting, "READER"][0])


def _size(count: float) -> str:
    for unit, scale in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= scale:
            return f"{count / scale:,.1f} {unit}"
    return f"{count:.0f} B"
