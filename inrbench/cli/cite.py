"""``inrbench cite``: BibTeX."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import click

from inrbench.cli import suggestions

__all__ = ["cite"]


@click.command()
@click.argument("names", nargs=-1, required=True, metavar="NAME...", shell_complete=suggestions.names)
def cite(names: Sequence[str]) -> None:
    """Print BibTeX for methods and data sets.

    \b
      inrbench cite mwt
      inrbench cite cifar10 >> references.bib
      inrbench cite mwt+cifar10        the method with its parts, and the data set
    """  # noqa: D301
    entries = dict.fromkeys(entry for name in names for entry in _entries(name))
    click.echo("\n\n".join(entries))


def _entries(name: str) -> list[str]:
    """The BibTeX entries of one name. Raises UsageError where there is none."""
    from inrbench.cli.named import find_named
    from inrbench.errors import UsageError
    from inrbench.plugin import Method

    records: list[Any] = []
    for record in find_named(name):
        records.append(record)
        if isinstance(record, Method):
            records += _parts(record)
    found = [record.citation.strip() for record in records if record.citation]
    if not found:
        raise UsageError(f"{name!r} names no publication to cite; `inrbench show {name}` says where it is from")
    return found


def _parts(method: Any) -> list[Any]:
    from inrbench.registry import registry

    chosen = {"inr": method.inr, "fitter": method.fitter, "reader": method.reader}
    return [registry().find(cast(Any, kind), name) for kind, name in chosen.items() if name is not None]
