"""``inrbench schema``: the JSON Schema of sweep files, for editors."""

from __future__ import annotations

from pathlib import Path

import click

from inrbench.cli.lazy import say

__all__ = ["schema"]


@click.command()
@click.option("-o", "--out", type=click.Path(path_type=Path, dir_okay=False), help="The file to write; stdout if not.")
def schema(out: Path | None) -> None:
    """Print the JSON Schema of sweep files.

    \b
      inrbench schema -o sweep.schema.json

    With this as the first line of a sweep, editors that speak the YAML language server's protocol complete its keys,
    explain them, and underline what is none:

    \b
      # yaml-language-server: $schema=sweep.schema.json
    """  # noqa: D301
    from inrbench.errors import UsageError
    from inrbench.sweeps import schema as text

    if out is None:
        click.echo(text(), nl=False)
        return
    try:
        out.write_text(text(), encoding="utf-8")
    except OSError as error:
        raise UsageError(f"cannot write {str(out)!r}: {error.strerror or error}") from error
    say(f"wrote {out}")
