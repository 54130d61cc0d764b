"""Requests: ``mwt,wt+mnist`` or a sweep file (`inrbench.sweeps`), as cells and searches."""

from __future__ import annotations

import contextlib
import itertools
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from inrbench.assignments import tree_of
from inrbench.cells import Cell, parse_grid, resolve
from inrbench.errors import BadSetting, UsageError, nearest
from inrbench.matching import check_keys, picked, picks, values_of
from inrbench.published import PublishedRow, PublishedTable, load_table, selected
from inrbench.search import Requested, Search
from inrbench.sweeps import Sweep, SweepCell, load_sweep
from inrbench.trees import flatten, merge

__all__ = ["cells_of", "requested", "rows_without_cells"]

#: A sweep of more is a mistake: nobody has the time.
MOST_CELLS = 100_000
FILLED = re.compile(r"\{([^{}]*)\}")


@dataclass(frozen=True)
class _Row:
    """One row of a sweep: a line's method, data set and place in its grid."""

    where: str
    line: SweepCell
    own: Cell  # as the sweep says it, whatever --set and --profile do
    said: Mapping[str, Any]  # its settings: the sweep's, then the line's, then those of its place
    label: str
    published: Mapping[str, Any] = field(default_factory=dict)

    def values(self) -> dict[str, Any]:
        """What it can be picked by, but for the seed."""
        return values_of(self.own.method.name, self.own.dataset, self.own.tree(), self.label)


def cells_of(
    wanted: Sequence[str],
    *,
    profile: str | None = None,
    seeds: Sequence[int] | None = None,
    overrides: Sequence[Mapping[str, Any]] = (),
) -> list[Cell]:
    """The cells of ``wanted``, as `requested`. Raises UsageError too where one of them is a search."""
    found = requested(wanted, profile=profile, seeds=seeds, overrides=overrides)
    if found.searches:
        raise UsageError(f"{found.searches[0].where}: a search chooses its cells as it goes: `inrbench run` runs it")
    return found.cells


def requested(
    wanted: Sequence[str],
    *,
    profile: str | None = None,
    seeds: Sequence[int] | None = None,
    overrides: Sequence[Mapping[str, Any]] = (),
) -> Requested:
    """What ``wanted`` asks for, each a grid or a sweep file; what is given here goes above what a file says.

    Raises UsageError where a name, a setting or a combination is wrong.
    """
    if not wanted:
        raise UsageError("nothing to run: say METHOD+DATASET, as in mwt+cifar10, or a sweep file")
    cells: list[Cell] = []
    searches: list[Search] = []
    for text in wanted:
        if text.endswith((".yaml", ".yml")):
            more = _requested_by_sweep(Path(text), profile, seeds, overrides)
            cells += more.cells
            searches += more.searches
        else:
            for method, dataset in parse_grid(text):
                first = resolve(
                    method, dataset, profile=profile or "paper", seed=min(seeds or [0]), overrides=overrides
                )
                cells += [replace(first, seed=seed) for seed in seeds or [0]]
    return Requested(_each_once(cells), searches)


def rows_without_cells(path: Path) -> list[PublishedRow]:
    """The published rows that the sweep in ``path`` lists without cells, for each data set that the sweep runs."""
    return _rows_without_cells(path, load_sweep(path))


def _each_once(cells: Sequence[Cell]) -> list[Cell]:
    found: dict[tuple[str, str], Cell] = {}
    trees: dict[int, str] = {}  # by id: the cells of all seeds share their settings
    for cell in cells:
        if id(cell.settings) not in trees:
            trees[id(cell.settings)] = str(cell.tree())
        found.setdefault((cell.name, trees[id(cell.settings)]), cell)
    return list(found.values())


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


def _requested_by_sweep(
    path: Path, profile: str | None, seeds: Sequence[int] | None, overrides: Sequence[Mapping[str, Any]]
) -> Requested:
    sweep = load_sweep(path)
    _rows_without_cells(path, sweep)  # what is wrong there is said before anything runs
    rows: list[_Row] = []
    for row in _rows(path, sweep):
        rows.append(row)
        if len(rows) * len(seeds or sweep.seeds) > MOST_CELLS:
            raise UsageError(f"{path.name}: it spans more than {MOST_CELLS:,} cells")
    _check_baselines(path, sweep, rows)
    found = Requested([], [])
    for row, wanted in zip(rows, _seeds_of(path, sweep, rows, seeds or sweep.seeds), strict=True):
        if not wanted:
            continue
        trees = [row.said, *overrides]
        method, dataset, profile_ = row.own.method.name, row.own.dataset, profile or sweep.profile
        if row.line.search is not None:
            search = Search(row.where, method, dataset, profile_, wanted, trees, row.line.search, row.line.label)
            with _at(row.where):
                search.check(overrides)
            found.searches.append(search)
            continue
        cell = replace(row.own, label=row.label)
        if overrides or profile_ != sweep.profile:
            cell = resolve(method, dataset, profile=profile_, seed=min(wanted), overrides=trees, label=row.label)
        if row.published:
            changed = [] if cell.profile != row.own.profile else _changed(row.own, cell)
            cell = replace(cell, published={**row.published, "changed": changed})
        found.cells.extend(replace(cell, seed=seed) for seed in wanted)
    if not found.cells and not found.searches:
        raise UsageError(f"{path.name}.exclude: it leaves no cell")
    return found


def _rows(path: Path, sweep: Sweep) -> Iterator[_Row]:
    for number, line in enumerate(sweep.cells):
        where = f"{path.name}.cells.{number}"
        with _at(where):
            pairs = parse_grid(line.run)
        for (method, dataset), varied in itertools.product(pairs, _varied(line, where)):
            with _at(where):
                said = merge(*(tree_of(*one) for one in (*sweep.set.items(), *line.set.items(), *varied.items())))
                own = resolve(method, dataset, profile=sweep.profile, overrides=[said])
                label, published = _described(path, sweep, line, own, varied)
            if line.search is not None:
                label = Search.best_label(line.search, line.label)
            yield _Row(where, line, own, said, label, published)


def _seeds_of(path: Path, sweep: Sweep, rows: Sequence[_Row], seeds: Sequence[int]) -> Iterator[list[int]]:
    """For each row the ``seeds`` that no exclusion takes out. Raises UsageError for one that takes out nothing."""
    excluded = [picks(one) for one in sweep.exclude]
    used = [False] * len(excluded)
    known: set[str] = {"seed"}
    for row in rows:
        left = list(seeds)
        if excluded:
            values = row.values()
            known |= values.keys()
            for seed in dict.fromkeys([*seeds, *sweep.seeds]):  # what the file says of its own seeds stays true
                out = [picked(wanted, {**values, "seed": seed}) for wanted in excluded]
                used = [was or now for was, now in zip(used, out, strict=True)]
                if any(out):
                    left = [one for one in left if one != seed]
        yield left
    for number, wanted in enumerate(excluded):
        if not used[number]:
            with _at(f"{path.name}.exclude.{number}"):
                check_keys(wanted, known)
                raise UsageError(f"no cell is {_shown(sweep.exclude[number])}")


def _check_baselines(path: Path, sweep: Sweep, rows: Sequence[_Row]) -> None:
    """Raises UsageError for a baseline that is no row, or several of one data set."""
    if not sweep.baselines:
        return
    values = [row.values() for row in rows]
    for name, asked in sweep.baselines.items():
        with _at(f"{path.name}.baselines.{name}"):
            wanted = picks(asked)
            check_keys(wanted, {key for one in values for key in one})
            found = [row.own.dataset for row, one in zip(rows, values, strict=True) if picked(wanted, one)]
            if not found:
                raise UsageError(f"no row is {_shown(asked)}")
            if twice := next((dataset for dataset in found if found.count(dataset) > 1), None):
                raise UsageError(f"{found.count(twice)} rows of {twice} are {_shown(asked)}; name more of the one")


def _described(
    path: Path, sweep: Sweep, line: SweepCell, own: Cell, varied: Mapping[str, Any]
) -> tuple[str, dict[str, Any]]:
    """The label of a row, and what was published for it, from ``own``: the cell as the sweep says it."""
    label = line.label or ", ".join(f"{key}={_shown(value)}" for key, value in varied.items())
    if not (line.published or FILLED.search(line.label)):
        return label, {}
    values = {"method": own.method.name, "dataset": own.dataset, **dict(flatten(own.tree()))}
    label = FILLED.sub(lambda found: _shown(_value(found[1], values)), line.label) or label
    if not line.published:
        return label, {}
    columns = (line.columns or sweep.columns).model_dump()
    return label, selected(_table(path, sweep), _filled_all(line.published, values), _filled_all(columns, values))


def _varied(line: SweepCell, where: str) -> list[dict[str, Any]]:
    """The settings of each row of ``line``: every combination of its grid with the places of its zipped lists."""
    keys = [*line.set, *line.grid, *line.zip, *(line.search.space if line.search else {})]
    if twice := next((key for key in keys if keys.count(key) > 1), None):
        raise BadSetting(f"{where}: {twice!r} stands more than once in `set`, `grid`, `zip` and `search`")
    lengths = {key: len(values) for key, values in line.zip.items()}
    if len(set(lengths.values())) > 1:
        raise BadSetting(f"{where}: `zip` takes lists of one length; given: {lengths}")
    zipped = [dict(zip(line.zip, place, strict=True)) for place in zip(*line.zip.values(), strict=True)] or [{}]
    if (rows := math.prod(map(len, line.grid.values())) * len(zipped)) > MOST_CELLS:
        raise BadSetting(f"{where}: its grid has {rows:,} rows; a sweep has at most {MOST_CELLS:,} cells")
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
    """``tree`` with the value that each ``{key}`` stands for, alone or in a text."""
    return {key: _filled(value, values) if isinstance(value, str) else value for key, value in tree.items()}


def _filled(text: str, values: Mapping[str, Any]) -> Any:
    if match := FILLED.fullmatch(text):
        return _value(match[1], values)
    return FILLED.sub(lambda match: str(_value(match[1], values)), text)


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
