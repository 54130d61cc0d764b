"""What a shell may complete: cells, profiles, settings, records. Loads no framework, and never complains."""

from __future__ import annotations

import contextlib
from pathlib import Path

import click

__all__ = [
    "analyses",
    "cells",
    "executor_settings",
    "executors",
    "names",
    "profiles",
    "readers",
    "records",
    "settings",
]


def profiles(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """The profiles."""
    return [name for name in ("paper", "laptop", "smoke") if name.startswith(incomplete)]


def cells(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """``mw`` as ``mwt+`` and ``mwt,wt+ci`` as ``mwt,wt+cifar10``; and sweep files."""
    methods, plus, datasets = incomplete.partition("+")
    if plus:
        return [f"{methods}+{name}" for name in _last(datasets, "dataset")]
    files = [str(path) for suffix in ("yaml", "yml") for path in _files(incomplete, suffix)]
    return [f"{name}+" for name in _last(methods, "method")] + files


def analyses(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """The analyses."""
    return _last(incomplete, "analysis")


def executors(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """The executors."""
    return _last(incomplete, "executor")


def executor_settings(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """The keys of ``--with``: those of the executor that was named."""
    from inrbench.errors import InrbenchError
    from inrbench.registry import registry
    from inrbench.settings import load_target

    with contextlib.suppress(InrbenchError):
        plugin = registry().find("executor", ctx.params.get("executor") or "local")
        known = load_target(plugin.settings, "").model_fields
        return [f"{key}=" for key in known if key.startswith(incomplete)]
    return []


def readers(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """The readers, one or several with commas."""
    return _last(incomplete, "reader")


def names(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Methods, data sets, and both together."""
    if "+" in incomplete:
        return cells(ctx, param, incomplete)
    return [*_last(incomplete, "method"), *_last(incomplete, "dataset")]


def settings(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """The keys of ``--set``: those of the cell that is being typed, else the parts."""
    if "=" in incomplete:
        return []
    from inrbench.cells import PARTS, parse_grid, resolve
    from inrbench.errors import InrbenchError
    from inrbench.trees import flatten

    known = [f"{part}." for part in PARTS]
    # a line that ends in `--set` is no whole one for click, which leaves the words before it in ctx.args
    what = ctx.params.get("what") or ctx.args
    typed = next((text for text in ([what] if isinstance(what, str) else what) if "+" in text), None)
    with contextlib.suppress(InrbenchError):  # a shell that completes has no place for an error
        if typed is not None:
            cell = resolve(*parse_grid(typed)[0])
            known = [f"{part}=" for part in ("inr", "fitter", "reader")]
            for part, model in cell.settings.items():
                known += [] if model is None else [f"{part}.{key}=" for key, _ in flatten(model.model_dump())]
    return [key for key in known if key.startswith(incomplete)]


def records(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """The cells that have a record."""
    folder = ctx.params.get("records") or Path("records")
    return sorted({path.stem for path in folder.glob("*.json") if path.stem.startswith(incomplete)})


def _last(typed: str, kind: str) -> list[str]:
    """``typed`` with its last name, behind the last comma, completed to each one of ``kind`` that fits."""
    from inrbench.registry import registry

    before, comma, last = typed.rpartition(",")
    known = [
        f"{record.name}:" if getattr(record, "scheme", False) else record.name
        for record in registry().all(kind)  # type: ignore[arg-type]
    ]
    return [f"{before}{comma}{name}" for name in known if name.startswith(last)]


def _files(incomplete: str, suffix: str) -> list[Path]:
    folder = Path(incomplete) if incomplete.endswith("/") else Path(incomplete).parent
    return sorted(path for path in folder.glob(f"*.{suffix}") if str(path).startswith(incomplete))
