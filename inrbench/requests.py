"""Requests: ``mwt,wt+mnist`` or a sweep file, as cells.

A sweep file is YAML::

    title: The quick leaderboard
    profile: laptop
    seeds: [0, 1, 2]
    cells:
      - run: mwt,wt+digits
      - run: mwt+digits
        label: shuffled labels
        set: {data.labels: shuffled}
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from inrbench.cells import Cell, parse_grid, resolve
from inrbench.errors import UsageError
from inrbench.settings import Settings, merge, setting, tree_of, validated

__all__ = ["Sweep", "cells_of", "load_sweep"]


class SweepCell(Settings):
    """One line of a sweep: methods and data sets, and what is set for them."""

    run: str = setting(doc="METHOD+DATASET, each a list with commas")
    label: str = setting("", "the row's name in tables; the method's if empty")
    set: dict[str, Any] = setting({}, "settings, as --set: dotted keys or trees")


class Sweep(Settings):
    """A YAML file that spans cells."""

    title: str = setting("", "the table's title")
    profile: str = setting("paper", "paper, laptop or smoke")
    seeds: list[int] = setting([0], "seeds; paired over methods", min_length=1)
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
            sweep = load_sweep(Path(text))
            for line in sweep.cells:
                settings = merge(*(tree_of(key, value) for key, value in line.set.items()))
                over = [settings, *overrides]
                cells += _grid(line.run, profile or sweep.profile, seeds or sweep.seeds, over, line.label)
        else:
            cells += _grid(text, profile or "paper", seeds or [0], overrides, "")
    found: dict[tuple[str, str], Cell] = {}
    for cell in cells:
        found.setdefault((cell.name, str(cell.tree())), cell)
    return list(found.values())


def _grid(
    text: str, profile: str, seeds: Sequence[int], overrides: Sequence[Mapping[str, Any]], label: str
) -> list[Cell]:
    return [
        resolve(method, dataset, profile=profile, seed=seed, overrides=overrides, label=label)
        for method, dataset in parse_grid(text)
        for seed in seeds
    ]
