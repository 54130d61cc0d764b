"""``inrbench plan``, and ``inrbench run --dry-run``: what a run would do, before anything starts."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from inrbench.cli import suggestions
from inrbench.cli.options import (
    DATA_ROOT,
    EXECUTOR,
    JSON,
    PROFILE,
    RECORDS,
    SEEDS,
    SET,
    WITH,
    assignments,
    executor_tree,
)
from inrbench.cli.tables import show_table, shown

if TYPE_CHECKING:
    from inrbench.expected import Expected
    from inrbench.planning import Foreseen
    from inrbench.runner import Options
    from inrbench.search import Requested, Search

__all__ = ["plan", "show_plan"]

#: More cells than this are summed up by method, data set and label.
MOST_SHOWN = 40

Pair = tuple["Foreseen", "Expected"]


@click.command()
@click.argument("what", nargs=-1, required=True, metavar="WHAT...", shell_complete=suggestions.cells)
@PROFILE
@SEEDS
@SET
@click.option("--device", default="auto", show_default=True, metavar="auto|cpu|cuda[:i]", help="Where cells compute.")
@click.option("--threads", type=click.IntRange(min=1), help="CPU threads; all of this process's cores if not given.")
@EXECUTOR
@WITH
@DATA_ROOT
@RECORDS
@click.option("--unofficial-data", is_flag=True, help="Accept data that is not the official one.")
@click.option("--rerun", is_flag=True, help="As if no cell had a record and no stage was kept.")
@click.option("--verbose", is_flag=True, help=f"Every cell, where more than {MOST_SHOWN} would be summed up.")
@JSON
def plan(
    what: Sequence[str],
    profile: str | None,
    seeds: list[int] | None,
    settings: Sequence[str],
    device: str,
    threads: int | None,
    executor: str,
    executor_settings: Sequence[str],
    data_root: Path | None,
    records: Path,
    unofficial_data: bool,
    rerun: bool,
    verbose: bool,
    as_json: bool,
) -> None:
    """Show what a run would do: cells, time, memory, disk, downloads.

    WHAT is as in `inrbench run`, whose --dry-run is the same. All is checked; nothing is computed or downloaded.

    \b
      inrbench plan mwt+cifar10                       is it done, how long will it take, what is downloaded
      inrbench plan sweep.yaml --records runs/sweep   a summary, where there are many cells
      inrbench plan sweep.yaml --json | jq .total

    Times and memory are those of records in --records of the same method, data set and profile, scaled by the work;
    where there is none they are unknown, and said to be. The exit status is 2 where the request is wrong.
    """  # noqa: D301
    from inrbench.requests import requested
    from inrbench.runner import Options

    asked = requested(what, profile=profile, seeds=seeds, overrides=assignments(settings))
    options = Options(records, data_root, unofficial_data, device, threads, rerun, executor=executor)
    show_plan(asked, replace(options, executor_settings=executor_tree(executor_settings)), as_json, verbose)


def show_plan(asked: Requested, options: Options, as_json: bool, verbose: bool = False) -> None:
    """Print what running ``asked`` would do. Raises UsageError or BadData, as the run would."""
    from inrbench.expected import expected
    from inrbench.planning import foresee

    trials = [search.trial(0, search.first_values()) for search in asked.searches]
    found = foresee([*asked.cells, *(cell for some in trials for cell in some)], options)
    pairs = list(zip(found, expected(found, options.records), strict=True))
    cells, rest = pairs[: len(asked.cells)], pairs[len(asked.cells) :]
    searches: list[tuple[Search, list[Pair]]] = []
    for search, own in zip(asked.searches, trials, strict=True):
        searches.append((search, rest[: len(own)]))
        rest = rest[len(own) :]
    papers: dict[tuple[str, str], dict[str, Any]] = {}
    if as_json:
        documents = [_document(one, guess, one.differs(papers)) for one, guess in cells]
        total = _total(cells, searches)
        click.echo(
            json.dumps({"cells": documents, **_searched(searches), "downloads": _downloads(found), **total}, indent=2)
        )
        return
    if len(cells) <= MOST_SHOWN or verbose:
        for one, guess in cells:
            click.echo("\n".join(_lines(one, guess, one.differs(papers))))
    else:
        show_table(_summary(cells))
        for line in dict.fromkeys(f"{one.cell.dataset}: {one.data.line(one.unofficial)}" for one, _ in cells):
            click.echo(line)
    for search, some in searches:
        _, took = _sum(some)
        click.echo(
            f"search {search.name}: up to {search.num_cells:,} cells, chosen as it goes; {took} for each trial's"
        )
    click.echo(_last_line(cells, searches, found))


def _lines(one: Foreseen, guess: Expected, differs: Mapping[str, Any]) -> list[str]:
    state = "to do" if not one.done else "done before" if one.before == "ok" else "left as it is"
    if one.before and one.before != "ok":
        state += f" (the record says: {one.before})"
    label = f" ({one.cell.label})" if one.cell.label else ""
    lines = [f"{one.name}{label}: {state}", f"  data: {one.data.line(one.unofficial)}"]
    if differs:
        values = "  ".join(f"{key}={shown(value)}" for key, value in differs.items())
        lines.append(f"  not as in the paper profile: {values}")
    if one.done:
        return lines
    if any(state != "to do" for state in one.stages.values()):
        lines.append(f"  stages: {', '.join(f'{stage} {STATES[state]}' for stage, state in one.stages.items())}")
    memory = "" if guess.memory_bytes is None else f", {_memory(guess.memory_bytes)} of {_kind(one)}"
    disk = f", {_size(one.kept_bytes)} on disk"
    if one.passing_bytes:
        disk += f" and {_size(one.passing_bytes)} more while a reader trains"
    took = _took(guess.seconds or 0.0, guess.known)
    return [*lines, f"  expected: {took}{memory}{disk} ({guess.source})"]


STATES = {"kept": "kept", "shared": "shared with a cell above", "interrupted": "from a checkpoint", "to do": "to do"}


def _summary(cells: Sequence[Pair]) -> list[dict[str, str]]:
    """A row for each method, data set and label; without labels where these are too many."""
    groups: dict[tuple[str, ...], list[Pair]] = {}
    for one, guess in cells:
        groups.setdefault((one.cell.method.name, one.cell.dataset, one.cell.label), []).append((one, guess))
    if len(groups) > MOST_SHOWN:
        labels = Counter(place[:2] for place in groups)
        merged: dict[tuple[str, ...], list[Pair]] = {}
        for place, some in groups.items():
            merged.setdefault((*place[:2], f"{labels[place[:2]]:,} labels"), []).extend(some)
        groups = merged
    rows = []
    for (method, dataset, label), some in groups.items():
        seconds, took = _sum(some)
        memory = [guess.memory_bytes for _, guess in some if guess.memory_bytes is not None]
        rows.append(
            {
                "cell": f"{method}+{dataset}",
                "label": label or "-",
                "cells": f"{len(some):,}",
                "done": f"{sum(one.done for one, _ in some):,}",
                "trained elsewhere": f"{sum(not one.done and one.stages['train'] != 'to do' for one, _ in some):,}",
                "time": took if seconds or any(not one.done for one, _ in some) else "-",
                "memory": f"{_memory(max(memory))} of {_kind(some[0][0])}" if memory else "unknown",
                "disk": _size(sum(one.kept_bytes for one, _ in some)),
            }
        )
    return rows


def _last_line(cells: Sequence[Pair], searches: Sequence[tuple[Search, list[Pair]]], found: Sequence[Foreseen]) -> str:
    to_do = sum(not one.done for one, _ in cells)
    line = f"{len(cells):,} cells, {to_do:,} to do"
    if searches:
        line += f", and up to {sum(search.num_cells for search, _ in searches):,} of {len(searches)} searches"
    if to_do or searches:
        total = _total(cells, searches)["total"]
        memory = "unknown memory" if total["memory_bytes"] is None else f"up to {_memory(total['memory_bytes'])}"
        took = _took(total["seconds"], not total["unknown_time"])
        line += f": {took}{' one after the other' if total['seconds'] else ''}, {memory}"
        line += f", {_size(total['disk_bytes'])} on disk"
        if total["passing_bytes"]:
            line += f" and {_size(total['passing_bytes'])} more for a while"
    downloads = _downloads(found)
    said = [f"{one['name']} {one['bytes'] / 1e6:,.0f} MB (licence: {one['licence']})" for one in downloads]
    return f"{line}; downloads: {', '.join(said) or 'none'}"


def _total(cells: Sequence[Pair], searches: Sequence[tuple[Search, list[Pair]]]) -> dict[str, Any]:
    every = [*cells, *(pair for _, some in searches for pair in some)]
    seconds = sum(guess.seconds or 0.0 for _, guess in cells)
    disk = sum(one.kept_bytes for one, _ in cells)
    for search, some in searches:
        seconds += (search.line.trials + 1) * _sum(some)[0]
        disk += (search.line.trials + 1) * sum(one.kept_bytes for one, _ in some)
    memory = [guess.memory_bytes for one, guess in every if not one.done and guess.memory_bytes is not None]
    return {
        "total": {
            "cells": len(cells),
            "done": sum(one.done for one, _ in cells),
            "seconds": seconds,
            "unknown_time": sum(not guess.known for _, guess in every),
            "memory_bytes": max(memory, default=None),
            "disk_bytes": disk,
            "passing_bytes": max((one.passing_bytes for one, _ in every), default=0),
        }
    }


def _searched(searches: Sequence[tuple[Search, list[Pair]]]) -> dict[str, Any]:
    return {
        "searches": [
            {
                "search": search.name,
                "trials": search.line.trials,
                "seeds": list(search.seeds),
                "cells": search.num_cells,
                "seconds_a_trial": _sum(some)[0] if all(guess.known for _, guess in some) else None,
            }
            for search, some in searches
        ]
    }


def _downloads(found: Iterable[Foreseen]) -> list[dict[str, Any]]:
    return list(
        {
            one.cell.dataset: {
                "name": one.cell.dataset,
                "bytes": one.data.download_bytes,
                "licence": one.data.licence or "not stated by the publisher",
                "folder": str(one.data.folder),
                "by_hand": one.data.by_hand,
            }
            for one in found
            if one.data.state == "missing"
        }.values()
    )


def _document(one: Foreseen, guess: Expected, differs: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "cell": one.name,
        "label": one.cell.label,
        "method": one.cell.method.name,
        "dataset": one.cell.dataset,
        "profile": one.cell.profile,
        "seed": one.cell.seed,
        "key": one.planned.key if one.planned else None,
        "device": one.device,
        "done": one.done,
        "status": one.before,
        "stages": dict(one.stages),
        "data": {
            "state": one.data.state,
            "folder": None if one.data.folder is None else str(one.data.folder),
            "download_bytes": one.data.download_bytes if one.data.state == "missing" else 0,
            "licence": one.data.licence,
        },
        "expected": {
            "seconds": guess.seconds,
            "unknown": list(guess.unknown),
            "memory_bytes": guess.memory_bytes,
            "disk_bytes": one.kept_bytes,
            "passing_bytes": one.passing_bytes,
            "source": guess.source,
        },
        "settings": one.cell.tree(),
        "differs": dict(differs),
    }


def _sum(some: Sequence[Pair]) -> tuple[float, str]:
    """The seconds of several cells, and how they are said."""
    seconds = sum(guess.seconds or 0.0 for _, guess in some)
    return seconds, _took(seconds, all(guess.known for _, guess in some))


def _took(seconds: float, known: bool) -> str:
    from inrbench.progress import duration

    if not seconds and not known:
        return "unknown time"
    return f"{'about' if known else 'more than'} {duration(seconds)}"


def _kind(one: Foreseen) -> str:
    return "memory" if one.device == "cpu" else "GPU memory"


def _memory(count: int) -> str:
    return f"{count / 2**30:.1f} GiB"


def _size(count: float) -> str:
    for unit, size in (("GB", 1e9), ("MB", 1e6)):
        if count >= size:
            return f"{count / size:.3g} {unit}"
    return f"{count / 1e3:.0f} kB"
