"""``inrbench export`` and ``inrbench import``: neural data sets to and from other people's files."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from inrbench.cli import suggestions
from inrbench.cli.fit import names_of, rows_of, summary
from inrbench.cli.lazy import say
from inrbench.cli.options import JSON, PROFILE, SET, assignments
from inrbench.cli.tables import show_table

__all__ = ["export", "import_"]


def _sizes(ctx: click.Context, param: click.Parameter, text: str | None) -> list[int]:
    if text is None:
        return []
    parts = text.split(",")
    if not all(part.strip().isdigit() and int(part) > 0 for part in parts):
        raise click.BadParameter(f"{text!r} are no numbers of rows; as in 55000,5000,10000", ctx, param)
    return [int(part) for part in parts]


@click.command()
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.argument("file", metavar="FILE.h5", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--splits", callback=names_of, metavar="train,test", help="The splits to write; all if not given.")
@click.option(
    "--absolute", is_flag=True, help="Add θ to rows that are relative to it: the fields' own weights, for others."
)
def export(folder: Path, file: Path, splits: list[str] | None, absolute: bool) -> None:
    """Write a neural data set as HDF5 of fit-a-nef and neural-field-arena.

    \b
      inrbench export sirens nefs_0-70000.hdf5
      inrbench export weights nefs_0-60000.hdf5 --splits train --absolute

    The file holds `params` [N, P], `param_config` (names and shapes, as JSON) and `labels`, the splits one behind the
    other, and beside these all that `inrbench import` needs to give the same neural data set back. neural-field-arena
    reads a folder of files that are named NAME_START-END.hdf5.
    """  # noqa: D301
    from inrbench.artefact import open_artefact
    from inrbench.artefacts.hdf5 import export_hdf5, require_h5py

    require_h5py()
    artefact = open_artefact(folder)
    counts = export_hdf5(artefact, file, splits or (), absolute=absolute)
    spans, start = [], 0
    for name, count in counts.items():
        spans.append(f"{name} {start:,} to {start + count:,}")
        start += count
    click.echo(f"{file}: {start:,} rows of {artefact.layout.num_values:,} values; {', '.join(spans)}")
    if artefact.layout.relative_to and not absolute:
        say("its rows are relative to θ, which is in the group `shared`; --absolute adds it")


@click.command("import")
@click.argument("files", metavar="FILE...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "-o", "--out", type=click.Path(path_type=Path), required=True, metavar="DIR", help="The folder that holds it."
)
@click.option("--validation", multiple=True, type=click.Path(path_type=Path), help="A file of validation rows.")
@click.option("--test", multiple=True, type=click.Path(path_type=Path), help="A file of test rows.")
@click.option(
    "--splits", callback=_sizes, metavar="N,N[,N]", help="Rows of train, (validation,) test, one behind the other."
)
@click.option("--dataset", default="", help="What the signals are, for tables; the file's name if not given.")
@click.option("--kind", default="weights", show_default=True, help="The kind of representation, where FILE is silent.")
@click.option(
    "--convention",
    multiple=True,
    metavar="KEY=VALUE",
    help="What is known of the fields, as --convention omega_0=30; it is kept in the manifest.",
)
@click.option(
    "--as",
    "field",
    metavar="METHOD+DATASET",
    shell_complete=suggestions.cells,
    help="Whose fields these are, with --profile and --set: then they can be queried.",
)
@PROFILE
@SET
@JSON
def import_(
    files: Sequence[Path],
    out: Path,
    validation: Sequence[Path],
    test: Sequence[Path],
    splits: list[int],
    dataset: str,
    kind: str,
    convention: Sequence[str],
    field: str | None,
    profile: str | None,
    settings: Sequence[str],
    as_json: bool,
) -> None:
    """Make a neural data set from HDF5 of fit-a-nef or neural-field-arena.

    FILE is a file, several of them, or a folder of files NAME_START-END.hdf5; a file that `inrbench export` wrote says
    all that is needed.

    \b
      inrbench import nefs_0-70000.hdf5 -o sirens
      inrbench import MNIST/SIREN -o mnist --splits 55000,5000,10000 --convention omega_0=9
      inrbench import train.hdf5 --test test.hdf5 -o mnist --as siren+mnist --set inr.width=32

    What the files do not say is recorded as unknown: such rows can be read, and not queried.
    """  # noqa: D301
    from inrbench.artefacts.folder import ArtefactFolder
    from inrbench.artefacts.hdf5 import require_h5py
    from inrbench.artefacts.importing import plan_import
    from inrbench.assignments import parse_assignment
    from inrbench.cells import parse_grid, resolve
    from inrbench.errors import UsageError

    for path in files:  # a pickle is refused whatever is installed
        if path.is_file():
            _refuse_pickle(path)
    require_h5py()
    if field is None and (profile or settings):
        raise UsageError("--profile and --set say whose fields these are, together with --as METHOD+DATASET")
    cell = None
    if field is not None:
        pairs = parse_grid(field)
        cell = resolve(*pairs[0], profile=profile or "paper", overrides=assignments(settings))
    known: dict[str, Any] = {}
    for text in convention:
        known |= parse_assignment(text)
    others = {"validation": validation, "test": test}
    planned = plan_import(files, others=others, sizes=splits, kind=kind, dataset=dataset, convention=known, cell=cell)
    folder = ArtefactFolder(out, planned.origin())
    made = folder.begin() or planned.make(folder)
    if as_json:
        click.echo(json.dumps(summary(made), indent=2))
        return
    show_table(rows_of(made))
    say(f"{made.name} is in {out}; `inrbench read READER {out}` reads it")


def _refuse_pickle(path: Path) -> None:
    from inrbench.artefacts.hdf5 import refuse_pickle

    refuse_pickle(path)
