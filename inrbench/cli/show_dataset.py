"""A data set as `inrbench show` prints it: what is known of it without its data, and where that would be."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from inrbench.cells import build_dataset
from inrbench.cli.explained import explained
from inrbench.cli.tables import show_defaults, show_table, title
from inrbench.data import data_folder
from inrbench.settings import load_target, validated

if TYPE_CHECKING:
    from inrbench.plugin import Plugin

__all__ = ["show_dataset"]


def show_dataset(plugin: Plugin, name: str, as_json: bool) -> None:
    """Print the data set ``name``. Raises BadData where it is a folder of the user's that holds no images."""
    settings = validated(load_target(plugin.settings, f"data set {plugin.name!r}"), {}, "data")
    dataset = build_dataset(plugin, name, settings)
    spec = dataset.spec()
    about = dataset.about() if hasattr(dataset, "about") else None
    folder = data_folder(name) if dataset.files else None
    files = [
        {
            "path": file.path,
            "size_bytes": file.size_bytes,
            "checksums": [str(checksum) for checksum in (*file.checksums, *file.content_checksums)],
            "urls": list(file.urls),
            "source": file.source,
            "here": folder is not None and file.is_there(folder),
        }
        for file in dataset.files
    ]
    document: dict[str, Any] = {
        "name": name,
        "summary": plugin.summary,
        "source": plugin.source,
        "citation": about.citation if about else plugin.citation,
        "parts": [
            {"name": part.name, "domain": part.domain, "shape": list(part.shape), "channels": part.channels}
            for part in spec.parts
        ],
        "num_classes": spec.num_classes,
        "class_names": list(spec.class_names),
        "sizes": spec.sizes,
        "licence": about.licence if about else "",
        "licence_source": about.licence_source if about else "",
        "homepage": about.homepage if about else "",
        "download_bytes": about.download_bytes if about else 0,
        "folder": None if folder is None else str(folder),
        "files": files,
        "explained": list(explained(settings, "data")),
    }
    if as_json:
        click.echo(json.dumps(document, indent=2))
        return
    _print(document)


def _print(data: dict[str, Any]) -> None:
    title(f"data set {data['name']}")
    click.echo(f"  {data['summary']}")
    shapes = [_shape(part) for part in data["parts"]]
    facts = {
        "source": data["source"],
        "signals": ", ".join(f"{split} {size:,}" for split, size in data["sizes"].items()),
        "shape": ", ".join(shapes),
        "classes": f"{data['num_classes']:,}: {', '.join(data['class_names'])}"[:200].removesuffix(": ")
        if data["num_classes"]
        else "",
        "licence": data["licence"],
        "homepage": data["homepage"],
        "download": _download(data),
        "folder": data["folder"],
    }
    for fact, value in facts.items():
        if value:
            click.echo(f"  {fact:<10}{value}")
    if data["files"]:
        title("\nofficial files")
        show_table(
            [
                {
                    "file": file["path"],
                    "bytes": f"{file['size_bytes']:,}" if file["size_bytes"] else "?",
                    "here": "yes" if file["here"] else "no",
                    "published checksum": ", ".join(file["checksums"]) or "none",
                }
                for file in data["files"]
            ],
            indent="  ",
        )
    title("\nsettings")
    show_defaults(data["explained"])


def _shape(part: dict[str, Any]) -> str:
    """The cells and channels of a part; of views, those of one, and how many an entry is scored on."""
    views = part["domain"] == "rays"
    values = " x ".join(map(str, (*part["shape"][1 if views else 0 :], part["channels"])))
    return f"views of {values}, {part['shape'][0]} of which are scored" if views else values


def _download(data: dict[str, Any]) -> str:
    """How much there is to fetch, and whether that is left to the user."""
    size = [f"{data['download_bytes'] / 1e6:,.0f} MB"] if data["download_bytes"] else []
    by_hand = ["by hand"] if any(not file["urls"] for file in data["files"]) else []
    return ", ".join(size + by_hand) or "nothing"
