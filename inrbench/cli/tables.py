"""Plain tables on a terminal or in a pipe."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import click

__all__ = ["show_defaults", "show_table", "shown", "title"]


def show_table(rows: Sequence[Mapping[str, str]], *, indent: str = "", err: bool = False) -> None:
    """Print rows of equal keys under their keys, in columns."""
    from tabulate import tabulate

    if rows:
        text = tabulate(
            [list(row.values()) for row in rows],
            headers=[key.upper() for key in rows[0]],
            tablefmt="plain",
            disable_numparse=True,
        )
        click.echo("\n".join(f"{indent}{line}".rstrip() for line in text.splitlines()), err=err)


def show_defaults(rows: Sequence[Mapping[str, Any]]) -> None:
    """Print explained settings (`inrbench.cli.explained`) with their defaults."""
    columns = [
        {"key": row["key"], "default": shown(row["value"]), "allowed": row["allowed"], "meaning": row["description"]}
        for row in rows
    ]
    show_table(columns, indent="  ")


def title(text: str) -> None:
    """A heading; bold on a terminal."""
    click.secho(text, bold=True)


def shown(value: Any) -> str:
    """A setting's value as ``--set`` takes it."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:g}" if float(f"{value:g}") == value else repr(value)
    if isinstance(value, list | tuple):
        return f"[{', '.join(shown(item) for item in value)}]"
    if value in ("true", "false", "null", "yes", "no", "on", "off"):
        return f"'{value}'"  # words that YAML reads as something else
    return str(value)
