"""``inrbench doctor``: what this installation has, and what is wrong with it."""

from __future__ import annotations

import importlib
import importlib.util
import shutil
import tempfile
from pathlib import Path

import click

from inrbench.cli.options import DATA_ROOT
from inrbench.cli.tables import show_table, title

__all__ = ["doctor"]

FRAMEWORKS = ("torch", "jax")


@click.command()
@DATA_ROOT
@click.pass_context
def doctor(context: click.Context, data_root: Path | None) -> None:
    """Check this installation: versions, devices, plugins, folders.

    \b
      inrbench doctor

    The exit status is 1 where a plugin, or something that it offers, cannot be used.
    """  # noqa: D301
    from inrbench.cli.listing import plugin_rows
    from inrbench.provenance import versions
    from inrbench.registry import registry

    title("versions")
    for name, version in versions().items():
        click.echo(f"  {name} {version}")
    title("\ndevices")
    for framework in FRAMEWORKS:
        click.echo(f"  {framework}: {_devices(framework)}")
    title("\nfolders")
    from inrbench.data import cache_root
    from inrbench.data import data_root as root

    for name, folder in (("cache", cache_root()), ("data", root(data_root))):
        click.echo(f"  {name}: {folder}: {_folder(folder)}")
    title("\nplugins")
    known = registry()
    show_table(
        [{**row, "state": "ok" if row["state"] == "ok" else "faulty"} for row in plugin_rows(known)], indent="  "
    )
    for fault in known.faults:
        click.echo(f"  {fault.what}: {fault.message}")
    if not known.plugins:
        click.echo("  none installed; install one, such as plugins/inrbench-mwt of the checkout")
    context.exit(1 if known.faults else 0)


def _devices(framework: str) -> str:
    """What a framework computes on; loads it."""
    if importlib.util.find_spec(framework) is None:
        return "not installed"
    try:
        if framework == "torch":
            torch = importlib.import_module(framework)
            count = torch.cuda.device_count() if torch.cuda.is_available() else 0
            found = [f"cuda:{i} ({torch.cuda.get_device_name(i)})" for i in range(count)]
            return ", ".join(["cpu", *found])
        return ", ".join(str(device) for device in importlib.import_module(framework).devices())
    except Exception as error:  # a framework that does not load is what this command is for
        return f"cannot be loaded: {type(error).__name__}: {' '.join(str(error).split())}"


def _folder(folder: Path) -> str:
    """Whether ``folder``, or the nearest one above it, can be written, and how much space it has."""
    there = next((place for place in (folder, *folder.parents) if place.exists()), Path("/"))
    free = f"{shutil.disk_usage(there).free / 1e9:,.1f} GB free"
    try:
        with tempfile.TemporaryFile(dir=there):
            pass
    except OSError as error:
        return f"cannot be written ({error.strerror or error}), {free}"
    return f"{'writable' if there == folder else 'will be made'}, {free}"
