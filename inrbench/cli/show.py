"""``inrbench show``: a method, a data set, one part, or the resolved settings of a method on a data set."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from inrbench.cli import suggestions
from inrbench.cli.options import JSON, PROFILE, SET, assignments
from inrbench.cli.tables import show_defaults, show_table, shown, title

if TYPE_CHECKING:
    from inrbench.plugin import Method, Plugin

__all__ = ["show"]


@click.command()
@click.argument("what", metavar="METHOD|DATASET|METHOD+DATASET", shell_complete=suggestions.names)
@PROFILE
@SET
@JSON
def show(what: str, profile: str | None, settings: Sequence[str], as_json: bool) -> None:
    """Show a method, a data set, or the settings of both together.

    \b
      inrbench show mwt                  where it is from, its parts, its settings in each profile
      inrbench show cifar10              sizes, licence, official files, where they are
      inrbench show mwt+cifar10          the resolved settings, and how many parameters that makes
      inrbench show mwt+cifar10 --profile laptop --set inr.width=32 --json
    """  # noqa: D301
    from inrbench.cli.named import find_named
    from inrbench.errors import UsageError
    from inrbench.plugin import Method

    if "+" in what:
        _show_cell(what, profile, settings, as_json)
        return
    if settings or profile:
        raise UsageError(f"--profile and --set need METHOD+DATASET, as in mwt+cifar10; given: {what!r}")
    (record,) = find_named(what)
    if isinstance(record, Method):
        _show_method(record, as_json)
    elif record.kind == "dataset":
        from inrbench.cli.show_dataset import show_dataset

        show_dataset(record, what, as_json)
    else:
        _show_part(record, as_json)


def _show_cell(what: str, profile: str | None, settings: Sequence[str], as_json: bool) -> None:
    from inrbench.cells import parse_grid, resolve
    from inrbench.cli.explained import explained
    from inrbench.errors import UsageError
    from inrbench.keys import stage_ingredients

    pairs = parse_grid(what)
    if len(pairs) != 1:
        raise UsageError(f"one METHOD+DATASET at a time, as in mwt+cifar10; given: {what!r}")
    cell = resolve(*pairs[0], profile=profile or "paper", overrides=assignments(settings))
    built = cell.build()
    reader = None if built.reader is None else built.reader.facts().parameters
    facts = built.fitter.facts()
    stages = {
        key: stage
        for stage, ingredients in stage_ingredients(cell, "", "cpu").items()
        for key in ingredients["settings"]
    }
    rows = [
        row | {"stage": stages[row["key"]]}
        for part, model in cell.settings.items()
        if model is not None
        for row in explained(model, part)
    ]
    parts = {part: None if plugin is None else plugin.name for part, plugin in cell.plugins.items() if part != "data"}
    if as_json:
        document = {
            "method": cell.method.name,
            "dataset": cell.dataset,
            "profile": cell.profile,
            "parts": parts,
            "settings": cell.tree(),
            "parameters": {"fitter": facts.parameters, "reader": reader},
            "adapted_values": facts.adapted_values,
            "initialisation": facts.initialisation,
            "scope": facts.scope,
            "explained": rows,
        }
        click.echo(json.dumps(document, indent=2))
        return
    title(f"{cell.method.name}+{cell.dataset}, profile {cell.profile}")
    click.echo(f"  {cell.method.summary}")
    for part, name in parts.items():
        click.echo(f"  {part:<8}{name or '-'}")
    click.echo(f"  parameters: fitter {facts.parameters:,}" + (f", reader {reader:,}" if reader is not None else ""))
    click.echo(f"  adapted values of a signal: {facts.adapted_values:,}")
    title("\nsettings, each with the stage from which on it matters")
    show_table(
        [
            {"key": row["key"], "value": shown(row["value"]), "allowed": row["allowed"], "stage": row["stage"]}
            | {"meaning": row["description"]}
            for row in rows
        ],
        indent="  ",
    )


def _show_method(method: Method, as_json: bool) -> None:
    from inrbench.cli.explained import explained, method_settings
    from inrbench.trees import flatten, merge

    profiles = ("paper", "laptop", "smoke")
    settings = {profile: method_settings(method, profile) for profile in profiles}
    parts = {"inr": method.inr, "fitter": method.fitter, "reader": method.reader}
    special = {
        dataset: merge(method.for_dataset.get(dataset, {}))
        for dataset in sorted({*method.for_dataset, *(d for p in method.profiles_for_dataset.values() for d in p)})
    }
    if as_json:
        document = {
            "name": method.name,
            "summary": method.summary,
            "source": method.source,
            "citation": method.citation,
            "parts": parts,
            "profiles": {
                profile: {part: model.model_dump() for part, model in models.items()}
                for profile, models in settings.items()
            },
            "for_dataset": {name: dict(tree) for name, tree in special.items() if tree},
            "profiles_for_dataset": {
                profile: {name: dict(tree) for name, tree in trees.items()}
                for profile, trees in method.profiles_for_dataset.items()
            },
        }
        click.echo(json.dumps(document, indent=2))
        return
    title(f"method {method.name}")
    click.echo(f"  {method.summary}")
    if method.source:
        click.echo(textwrap.fill(method.source, 100, initial_indent="  ", subsequent_indent="  "))
    for part, name in parts.items():
        click.echo(f"  {part:<8}{name or '-'}")
    title("\nsettings by profile")
    rows: dict[str, dict[str, str]] = {}
    for profile, models in settings.items():
        for part, model in models.items():
            for row in explained(model, part):
                empty = {"key": row["key"], **dict.fromkeys(profiles, "-"), "meaning": row["description"]}
                rows.setdefault(row["key"], empty)[profile] = shown(row["value"])
    show_table(list(rows.values()), indent="  ")
    for dataset in special:
        trees = {"": special[dataset]} | {
            f", {profile}": trees.get(dataset, {}) for profile, trees in method.profiles_for_dataset.items()
        }
        for where, tree in trees.items():
            if tree:
                values = "  ".join(f"{key}={shown(value)}" for key, value in flatten(tree))
                click.echo(f"  on {dataset}{where}: {values}")
    click.echo(f"\nrun it: inrbench run {method.name}+digits --profile laptop")


def _show_part(plugin: Plugin, as_json: bool) -> None:
    """A reader, a fitter, an INR, an analysis or an executor with its settings and their defaults."""
    from inrbench.cli.explained import explained
    from inrbench.registry import registry
    from inrbench.settings import load_target, validated

    entry = registry().entry(plugin.kind, plugin.name)
    model = load_target(plugin.settings, f"{plugin.kind} {plugin.name!r}")
    rows = list(explained(validated(model, {}, plugin.kind), plugin.kind))
    if plugin.kind == "executor":
        rows = [row | {"key": row["key"].removeprefix("executor.")} for row in rows]
    if as_json:
        document = {"kind": plugin.kind, "name": plugin.name, "summary": plugin.summary, "source": plugin.source}
        document |= {"backend": plugin.backend, "takes": list(plugin.takes), "gives": list(plugin.gives)}  # type: ignore[dict-item]
        click.echo(json.dumps({**document, "distribution": entry.distribution, "explained": rows}, indent=2))
        return
    backend = "" if plugin.kind == "executor" else f"{plugin.backend}, "
    title(f"{plugin.kind} {plugin.name} ({backend}{entry.distribution} {entry.version})")
    click.echo(f"  {plugin.summary}")
    if plugin.source:
        click.echo(f"  {plugin.source}")
    if plugin.kind == "analysis":
        click.echo(f"  takes {', '.join(plugin.takes).replace('*', 'any')}")
    title("\nsettings")
    if rows:
        show_defaults(rows)
    else:
        click.echo("  none")
    if plugin.kind == "analysis":
        click.echo(f"\nrun it: inrbench analyse {plugin.name} DIR")
    if plugin.kind == "executor":
        given = f" --with {rows[0]['key']}=..." if rows else ""
        click.echo(f"\nuse it: inrbench run mwt+digits --executor {plugin.name}{given}")
