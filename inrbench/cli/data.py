"""``inrbench data``: which data sets there are, where they lie, and whether they are the official ones."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from inrbench.cli.options import DATA_ROOT
from inrbench.cli.tables import show_table

if TYPE_CHECKING:
    from inrbench.data import AboutData, DataCheck
    from inrbench.interfaces import DataSet
    from inrbench.plugin import Plugin

__all__ = ["data"]

_JSON = click.option("--json", "as_json", is_flag=True, help="Print one JSON document instead of a table.")


@click.group()
def data() -> None:
    """List, download and check data sets.

    \b
      inrbench data list                   what there is, and what is here
      inrbench data fetch mnist cifar10    download the official files
      inrbench data check cifar10          are these the official files?
    """  # noqa: D301


@data.command("list")
@DATA_ROOT
@_JSON
def list_(data_root: Path | None, as_json: bool) -> None:
    """List the data sets of all installed plugins.

    \b
      inrbench data list
      inrbench data list --data-root /big/disk --json

    HERE says whether all files are there (not yet whether they are the official ones: `inrbench data check NAME`).
    """  # noqa: D301
    from inrbench.registry import registry

    rows = [_row(plugin, data_root) for plugin in registry().all("dataset")]
    if as_json:
        click.echo(json.dumps(rows, indent=2))
        return
    shown = [
        {
            "name": row["name"],
            "signals": " + ".join(f"{n:,}" for n in row["sizes"].values()) or "?",
            "shape": row["shape"] or "?",
            "download": _megabytes(row["download_bytes"]),
            "licence": row["licence"],
            "here": row["here"],
        }
        for row in rows
    ]
    if not shown:
        click.echo("no data sets are installed; install some, such as plugins/inrbench-images of the checkout")
    show_table(shown)


@data.command()
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@DATA_ROOT
def fetch(names: Sequence[str], data_root: Path | None) -> None:
    """Download the official files of data sets, where they are not here yet.

    \b
      inrbench data fetch cifar10
      inrbench data fetch mnist fashion-mnist --data-root /big/disk

    A download that was cut off is resumed; where a mirror fails the next one is tried; what arrives is compared with
    the published checksums.
    """  # noqa: D301
    from inrbench.data import check_dataset
    from inrbench.data import fetch as fetch_dataset

    for name, dataset in [(name, _dataset(name)) for name in names]:
        if not dataset.files:
            click.echo(f"{name}: nothing to download")
            continue
        folder = fetch_dataset(name, dataset, data_root)
        found = check_dataset(name, dataset, data_root)
        click.echo(f"{name}: {found.state}, in {folder}")


@data.command()
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@DATA_ROOT
@_JSON
@click.pass_context
def check(context: click.Context, names: Sequence[str], data_root: Path | None, as_json: bool) -> None:
    """Compare the files of data sets with what their publishers published.

    \b
      inrbench data check mnist
      inrbench data check mnist cifar10 --json

    Compares content: a re-compressed copy is official if its bytes are. The exit status is 1 where a file is missing
    or is not the official one.
    """  # noqa: D301
    from inrbench.data import check_dataset
    from inrbench.data.opened import marked_name

    documents = []
    for name, dataset in [(name, _dataset(name)) for name in names]:
        found = check_dataset(name, dataset, data_root) if dataset.files else None
        documents.append(_document(name, found))
        if as_json:
            continue
        if found is None:
            click.echo(f"{name}: no files of a publisher")
            continue
        marked = f"; with --unofficial-data it runs as {marked_name(name, found.checksum)}"
        click.echo(f"{name}: {found.state}, in {found.folder}{marked if found.state == 'unofficial' else ''}")
        for file in found.files:
            detail = f" ({file.difference()})" if file.state == "unofficial" else ""
            click.echo(f"  {file.state:<10}  {file.file.path}{detail}")
    if as_json:
        click.echo(json.dumps(documents, indent=2))
    if any(document["state"] in ("missing", "unofficial") for document in documents):
        context.exit(1)


@data.command()
@click.argument("name", required=False)
@DATA_ROOT
def where(name: str | None, data_root: Path | None) -> None:
    """Print the data root, or the folder of one data set.

    \b
      inrbench data where
      cd "$(inrbench data where cifar10)"
    """  # noqa: D301
    from inrbench.data import root
    from inrbench.registry import registry

    if name is None:
        click.echo(root.data_root(data_root))
        return
    registry().find("dataset", name)
    place = name.partition(":")[2]
    click.echo(Path(place).absolute() if place else root.data_folder(name, data_root))


def _dataset(name: str) -> DataSet:
    """The data set ``name`` with its default settings."""
    from inrbench.cells import build_dataset
    from inrbench.registry import registry
    from inrbench.settings import load_target, validated

    plugin: Plugin = registry().find("dataset", name)
    model = load_target(plugin.settings, f"data set {plugin.name!r}")
    return build_dataset(plugin, name, validated(model, {}, "data"))


def _row(plugin: Plugin, data_root: Path | None) -> dict[str, Any]:
    row: dict[str, Any] = {"name": plugin.name, "summary": plugin.summary, "source": plugin.source}
    unknown: dict[str, Any] = {"sizes": {}, "shape": "", "num_classes": None, "download_bytes": 0}
    unknown |= {"licence": "", "homepage": ""}
    if plugin.scheme:  # nothing is known before there is a place
        return row | unknown | {"name": f"{plugin.name}:PATH", "here": "your own"}
    from inrbench.data import data_folder
    from inrbench.errors import BrokenPlugin

    try:
        dataset = _dataset(plugin.name)
    except BrokenPlugin as error:  # stops what uses this data set, not the list of the others
        return row | unknown | {"here": f"cannot be loaded: {error}"}
    spec = dataset.spec()
    parts = [" x ".join(map(str, (*part.shape, part.channels))) for part in spec.parts]
    about: AboutData | None = dataset.about() if hasattr(dataset, "about") else None
    folder = data_folder(plugin.name, data_root)
    present = [file.locate(folder) is not None for whole in dataset.files for file in whole.read_files()]
    here = "built in" if not present else "yes" if all(present) else "in part" if any(present) else "no"
    return row | {
        "sizes": spec.sizes,
        "shape": ", ".join(parts),
        "num_classes": spec.num_classes,
        "download_bytes": about.download_bytes if about else 0,
        "licence": about.licence if about else "",
        "homepage": about.homepage if about else "",
        "here": here,
    }


def _document(name: str, found: DataCheck | None) -> dict[str, Any]:
    if found is None:
        return {"name": name, "state": "no files"}
    files = [
        {
            "path": file.file.path,
            "state": file.state,
            "found_at": str(file.path) if file.path else None,
            "algorithm": file.algorithm,
            "published": file.published,
            "actual": file.actual,
            "source": file.file.source,
        }
        for file in found.files
    ]
    return {
        "name": name,
        "state": found.state,
        "folder": str(found.folder),
        "checksum": found.checksum if found.state != "missing" else None,
        "files": files,
    }


def _megabytes(num_bytes: int) -> str:
    return f"{num_bytes / 1e6:,.0f} MB" if num_bytes else "-"
