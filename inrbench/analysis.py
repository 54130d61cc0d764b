"""Analyses: what one looks at, and how it is run on a neural data set on disk."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from inrbench import draws
from inrbench.cells import build_dataset
from inrbench.data import open_dataset
from inrbench.domains import Array, Domain
from inrbench.errors import BadData, BadSetting, InrbenchError, Refused, UsageError, nearest
from inrbench.interfaces import Analysis, Findings, Fitter, Run
from inrbench.plugin import Plugin
from inrbench.registry import Registry, registry
from inrbench.representations import Representations
from inrbench.selection import INDEX_SEED
from inrbench.settings import Settings, load_target, validated
from inrbench.signals import EpisodicSignals, Signals, num_signals
from inrbench.trees import merge

if TYPE_CHECKING:
    from inrbench.artefact import Artefact

__all__ = ["Context", "analyse", "check_takes", "settings_of"]

#: Rows that `Context.shards` holds at a time, and numbers in them.
SHARD = 1024
SHARD_VALUES = 2**22


class Context:
    """An opened neural data set as an analysis sees it; implements `inrbench.interfaces.AnalysisContext`.

    The data that it was made of is looked for below ``data_root`` once somebody asks for it.
    """

    def __init__(self, artefact: Artefact, run: Run, *, split: str = "test", data_root: Path | None = None) -> None:
        if split not in artefact.splits:
            raise UsageError(f"{artefact.folder} has no split {split!r}; {nearest(split, artefact.splits)}")
        self.artefact = artefact
        self.run = run
        self.layout = artefact.layout
        self.statistics = artefact.statistics
        self.split = split
        self.data_root = data_root

    @cached_property
    def fitter(self) -> Fitter:
        """The fitter, loaded."""
        return self.artefact.fitter(self.run)

    @cached_property
    def domain(self) -> Domain:
        """The signals' own grid."""
        return self.artefact.domain

    def num_signals(self, split: str) -> int:
        """Signals of ``split``."""
        return len(self._places(split))

    def shards(self, split: str) -> Iterator[Representations]:
        """The rows of the signals of ``split``, as many at a time as memory easily holds."""
        places = self._places(split)
        size = max(1, min(SHARD, SHARD_VALUES // self.layout.num_values))
        for first in range(0, len(places), size):
            yield self.artefact.splits[split].rows.take(places[first : first + size])

    def sample(self, count: int) -> Representations:
        """Rows of ``count`` signals, drawn by how many there are alone."""
        places = self._places(self.split)
        if count < len(places):
            drawn = draws.generator(INDEX_SEED, "analysis", len(places)).choice(len(places), count, replace=False)
            places = places[np.sort(drawn)]
        return self.artefact.splits[self.split].rows.take(places)

    def signals(self, rows: Representations) -> Signals:
        """The signals of ``rows``, from the data that the neural data set was made of."""
        for split in self._data.values():
            signals = split
            if self.split == "validation" and isinstance(split, EpisodicSignals):
                signals = split.as_episodes()
            if num_signals(signals) < len(signals):
                raise Refused(
                    f"{self.artefact.folder} lists signals as several episodes, and which of them a row stands for is "
                    "not kept: data.episodes=1 has one of each"
                )
            order = np.argsort(signals.ids, kind="stable")
            found = order[np.minimum(np.searchsorted(signals.ids, rows.ids, sorter=order), len(order) - 1)]
            if np.array_equal(signals.ids[found], rows.ids):
                return signals.take(found)
        raise BadData(f"{self.artefact.folder}: not all signals of its split {self.split!r} are in its data set")

    def _places(self, split: str) -> Array:
        if split not in self.artefact.splits:
            raise UsageError(f"{self.artefact.folder} has no split {split!r}; {nearest(split, self.artefact.splits)}")
        return np.flatnonzero(np.asarray(self.artefact.splits[split].rows.copies) == 0)

    @cached_property
    def _data(self) -> Mapping[str, Signals]:
        cell = self.artefact.cell()
        dataset = build_dataset(cast(Plugin, cell.plugins["data"]), cell.dataset, cell.data_settings)
        # what is not official was accepted when the rows were made: their data it must be, and no other
        opened = open_dataset(cell.dataset, dataset, self.data_root, unofficial=True, download=False)
        made_of = self.artefact.manifest["data"]["checksum"]
        if opened.checksum != made_of:
            raise BadData(
                f"{self.artefact.folder} was made of {cell.dataset} with checksum {made_of[:8]}, but what lies there "
                f"has {opened.checksum[:8]}; --data-root DIR names another data root"
            )
        return opened.splits


def check_takes(plugin: Plugin, kind: str, where: str, known: Registry | None = None) -> None:
    """Raise Refused, and say what would fit, where the analysis takes no rows of ``kind``."""
    if "*" in plugin.takes or kind in plugin.takes:
        return
    fitting = [one.name for one in (known or registry()).all("analysis") if one.reads(kind)]
    raise Refused(
        f"analysis {plugin.name!r} takes {', '.join(plugin.takes)}, but {where} holds {kind!r}; "
        f"analyses of {kind!r}: {', '.join(fitting) or 'none installed'}"
    )


def settings_of(plugin: Plugin, trees: list[Mapping[str, Any]]) -> Settings:
    """The settings of an analysis from trees as ``--set`` makes them. Raises BadSetting."""
    tree = merge(*trees)
    if stray := [key for key in tree if key != "analysis"]:
        raise BadSetting(f"no setting {stray[0]!r}; {nearest(stray[0], ['analysis'])}")
    values = tree.get("analysis") or {}
    if not isinstance(values, Mapping):
        raise BadSetting(f"'analysis' holds settings, as `inrbench show {plugin.name}` lists them; given: {values!r}")
    model: type[Settings] = load_target(plugin.settings, f"analysis {plugin.name!r}")
    return validated(model, values, "analysis")


def analyse(plugin: Plugin, settings: Settings, context: Context) -> Findings:
    """Run the analysis. Raises Refused where it does not take these rows, InrbenchError where it found nothing."""
    check_takes(plugin, context.layout.kind, str(context.artefact.folder))
    made = cast(Analysis, load_target(plugin.target, f"analysis {plugin.name!r}")(settings))
    found = made.run(context)
    if not any(found.tables.values()):
        raise InrbenchError(f"analysis {plugin.name!r} left no table of {context.artefact.folder}")
    return found
