"""Requests: ``mwt,wt+mnist`` or a sweep file, as cells.

A sweep file is YAML::

    title: "MWT, Table 4: ablations"
    profile: paper
    seeds: [0, 1, 2]
    set: {data.validation: 0.2, data.scored: validation}  # on every line
    published: mwt.table4                                 # of published.yaml beside this file
    cells:
      - run: mwt,pixels+cifar10
      - run: mwt+cifar10
        label: "w_cls {joint.share}"
        grid: {joint.share: [0, 0.001, 0.01]}             # every combination; `zip` takes one value of each list
        published: {axis: w_cls, value: "{joint.share}"}  # the one row of the table that has these values

In a label, in what selects a published row and in its columns, ``{key}`` stands for what the line says the cell's
setting is, whatever ``--set`` makes of it; ``{method}`` and ``{dataset}`` for their names.
"""

from __future__ import annotations

import contextlib
import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import Field

from inrbench.cells import Cell, parse_grid, resolve
from inrbench.errors import BadSetting, UsageError, nearest
from inrbench.published import PublishedRow, PublishedTable, load_table, selected
from inrbench.settings import Settings, flatten, merge, setting, tree_of, validated

__all__ = ["Sweep", "cells_of", "load_sweep", "rows_without_cells"]

Values = Annotated[list[Any], Field(min_length=1)]
FILLED = re.compile(r"\{([^{}]*)\}")


class Columns(Settings):
    """Columns of a published table."""

    accuracy: str | None = setting(None, "the column of the accuracy, in %; the one called `accuracy` if empty")
    psnr_db: str | None = setting(None, "the column of the PSNR, in dB; the one called `psnr_db` if empty")
    psnr_estimate_db: str | None = setting(None, "the column of a PSNR that was estimated on unseen points, in dB")


class SweepCell(Settings):
    """One line of a sweep: methods and data sets, what is set for them, and what was published of them."""

    run: str = setting(doc="METHOD+DATASET, each a list with commas")
    label: str = setting("", "the row's name in tables; what varies, else the method, if empty")
    set: dict[str, Any] = setting({}, "settings, as --set: dotted keys or trees")
    grid: dict[str, Values] = setting({}, "settings, each with its values: a row for every combination")
    zip: dict[str, Values] = setting({}, "settings, each with as many values: a row for the first of each, and so on")
    published: dict[str, Any] = setting({}, "columns and values that select one row of the published table")
    columns: Columns | None = setting(None, "the published table's columns, where not those of the sweep")


class Sweep(Settings):
    """A YAML file that spans cells."""

    title: str = setting("", "the table's title")
    profile: str = setting("paper", "paper, laptop or smoke")
    seeds: list[int] = setting([0], "seeds; paired over methods", min_length=1)
    set: dict[str, Any] = setting({}, "settings of every line, below its own")
    published: str = setting("", "PAPER.TABLE of the published.yaml beside the file")
    columns: Columns = setting(Columns(), "the published table's columns")
    published_only: list[dict[str, Any]] = setting([], "published rows without cells, as a line's `published`")
    cells: list[SweepCell] = setting(doc="the lines", min_length=1)


def load_sweep(path: Path) -> Sweep:
    """The sweep in ``path``. Raises UsageError with one line where it is none."""
    try:
        tree = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"sweep file {str(path)!r} cannot be read: {error}") from error
    except (yaml.YAMLError, ValueError) as error:  # ValueError: a date that does not exist
        raise UsageError(f"sweep file {str(path)!r} is not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(tree, Mapping):
        raise UsageError(f"sweep file {str(path)!r} must hold a mapping with `cells:`")
    return validated(Sweep, tree, path.name)


def cells_of(
    wanted: Sequence[str],
    *,
    profile: str | None = None,
    seeds: Sequence[int] | None = None,
    overrides: Sequence[Mapping[str, Any]] = (),
) -> list[Cell]:
    """The cells of ``wanted``, each a grid or a sweep file; what is given here goes above what a file says.

    Raises UsageError where a name, a setting or a combination is wrong.
    """
    if not wanted:
        raise UsageError("nothing to run: say METHOD+DATASET, as in mwt+cifar10, or a sweep file")
    cells: list[Cell] = []
    for text in wanted:
        if text.endswith((".yaml", ".yml")):
            cells += _cells_of_sweep(Path(text), profile, seeds, overrides)
        else:
            cells += [
                resolve(method, dataset, profile=profile or "paper", seed=seed, overrides=overrides)
                for method, dataset in parse_grid(text)
                for seed in seeds or [0]
            ]
    found: dict[tuple[str, str], Cell] = {}
    for cell in cells:
        found.setdefault((cell.name, str(cell.tree())), cell)
    return list(found.values())


def rows_without_cells(path: Path) -> list[PublishedRow]:
    """The published rows that the sweep in ``path`` lists without cells, for each data set that the sweep runs."""
    return _rows_without_cells(path, load_sweep(path))


def _rows_without_cells(path: Path, sweep: Sweep) -> list[PublishedRow]:
    datasets = dict.fromkeys(dataset for line in sweep.cells for _, dataset in parse_grid(line.run))
    found = []
    for number, wanted in enumerate(sweep.published_only):
        with _at(f"{path.name}.published_only.{number}"):
            table = _table(path, sweep)
            row = table.row(wanted)
            for dataset in datasets:
                metrics = table.metrics(row, _filled_all(sweep.columns.model_dump(), {"dataset": dataset}))
                name = ", ".join(str(value) for value in wanted.values())
                if metrics:
                    found.append(PublishedRow(table, name, dataset, metrics))
    return found


def _cells_of_sweep(
    path: Path, profile: str | None, seeds: Sequence[int] | None, overrides: Sequence[Mapping[str, Any]]
) -> Iterator[Cell]:
    sweep = load_sweep(path)
    _rows_without_cells(path, sweep)  # what is wrong there is said before anything runs
    for number, line in enumerate(sweep.cells):
        where = f"{path.name}.cells.{number}"
        for (method, dataset), varied in itertools.product(parse_grid(line.run), _varied(line, where)):
            said = merge(*(tree_of(*one) for one in (*sweep.set.items(), *line.set.items(), *varied.items())))
            with _at(where):
                own = resolve(method, dataset, profile=sweep.profile, overrides=[said])
                label, published = _described(path, sweep, line, own, varied)
            for seed in seeds or sweep.seeds:
                over = [said, *overrides]
                cell = resolve(
                    method, dataset, profile=profile or sweep.profile, seed=seed, overrides=over, label=label
                )
                if published:
                    changed = [] if cell.profile != own.profile else _changed(own, cell)
                    cell = replace(cell, published={**published, "changed": changed})
                yield cell


def _described(
    path: Path, sweep: Sweep, line: SweepCell, own: Cell, varied: Mapping[str, Any]
) -> tuple[str, dict[str, Any]]:
    """The label of a row, and what was published for it, from ``own``: the cell as the sweep says it."""
    values = {"method": own.method.name, "dataset": own.dataset, **dict(flatten(own.tree()))}
    label = FILLED.sub(lambda found: _shown(_value(found[1], values)), line.label)
    label = label or ", ".join(f"{key}={_shown(value)}" for key, value in varied.items())
    if not line.published:
        return label, {}
    columns = (line.columns or sweep.columns).model_dump()
    return label, selected(_table(path, sweep), _filled_all(line.published, values), _filled_all(columns, values))


def _varied(line: SweepCell, where: str) -> list[dict[str, Any]]:
    """The settings of each row of ``line``: every combination of its grid with the places of its zipped lists."""
    keys = [*line.set, *line.grid, *line.zip]
    if twice := next((key for key in keys if keys.count(key) > 1), None):
        raise BadSetting(f"{where}: {twice!r} stands more than once in `set`, `grid` and `zip`")
    lengths = {key: len(values) for key, values in line.zip.items()}
    if len(set(lengths.values())) > 1:
        raise BadSetting(f"{where}: `zip` takes lists of one length; given: {lengths}")
    zipped = [dict(zip(line.zip, place, strict=True)) for place in zip(*line.zip.values(), strict=True)] or [{}]
    products = [dict(zip(line.grid, place, strict=True)) for place in itertools.product(*line.grid.values())]
    return [product | place for product, place in itertools.product(products, zipped)]


def _table(path: Path, sweep: Sweep) -> PublishedTable:
    if not sweep.published:
        raise UsageError("it selects a published row, but the sweep names no table; say `published: PAPER.TABLE`")
    return load_table(path.parent, sweep.published)


def _changed(own: Cell, cell: Cell) -> list[str]:
    """The settings in which ``cell`` is not what its sweep says."""
    said, made = dict(flatten(own.tree())), dict(flatten(cell.tree()))
    return sorted(key for key in said.keys() | made.keys() if said.get(key) != made.get(key))


def _filled_all(tree: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """``tree`` with the value that each ``{key}`` stands for."""
    return {
        key: _value(match[1], values) if isinstance(value, str) and (match := FILLED.fullmatch(value)) else value
        for key, value in tree.items()
    }


def _value(key: str, values: Mapping[str, Any]) -> Any:
    if key not in values:
        raise BadSetting(f"{{{key}}} is no setting of this cell; {nearest(key, values)}")
    return values[key]


def _shown(value: Any) -> str:
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{key}: {_shown(inner)}' for key, inner in value.items())}}}"
    if isinstance(value, float):
        return f"{value:g}"
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


@contextlib.contextmanager
def _at(where: str) -> Iterator[None]:
    """Name the file and its line in front of what is wrong there."""
    try:
        yield
    except UsageError as error:
        raise type(error)(f"{where}: {error}") from error
