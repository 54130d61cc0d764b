"""A neural data set on disk, opened: checked by content, its arrays mapped, its fitter built when it is asked for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

from inrbench.arrays import load_arrays
from inrbench.artefacts.manifest import (
    SHARED,
    SPLITS,
    STATISTICS,
    check_files,
    content_key,
    layout_of,
    read_manifest,
    signal_of,
)
from inrbench.artefacts.split import Split, open_split
from inrbench.cells import Cell, resolve
from inrbench.domains import Grid
from inrbench.errors import BadData, Refused, UsageError
from inrbench.interfaces import Fitter, Run
from inrbench.progress import Progress
from inrbench.representations import Arrays, Layout, NeuralDataSet
from inrbench.settings import load_target
from inrbench.signals import SignalSpec

__all__ = ["RENDERED", "Artefact", "open_artefact", "replace_reader"]

#: What an origin says of values that a neural data set was queried for: which one, and on what grid.
RENDERED = "rendered"


@dataclass(frozen=True)
class Artefact:
    """A neural data set on disk, opened and checked."""

    folder: Path
    manifest: Mapping[str, Any]
    layout: Layout
    signal: SignalSpec  # what is known of the signals: shape, channels, classes
    shared: Arrays  # the trained fitter's arrays
    splits: Mapping[str, Split]  # "train", "validation" (may be missing), "test"
    statistics: Arrays  # of copy 0 of train: "<array>/mean", "/std", "/min", "/max" of one row's shape, float64
    key: str  # a hash of the content

    @property
    def name(self) -> str:
        """``functa+mnist-laptop-s0``."""
        return str(self.manifest["name"])

    def cell(self) -> Cell:
        """The cell that made it. Raises Refused for an imported one, UsageError where a part is not installed."""
        origin = self.manifest["origin"]
        if origin.get("settings") is None:
            raise Refused(f"{self.folder} was imported from {origin.get('from', 'elsewhere')}: no cell made it")
        profile, seed = origin["profile"], origin["seed"]
        method = origin.get("as", origin["method"])
        return resolve(method, origin["dataset"], profile=profile, seed=seed, overrides=[origin["settings"]])

    @property
    def domain(self) -> Grid:
        """The grid that all of its signals share. Raises Refused where they share none."""
        parts = self.signal.parts
        if len(parts) != 1 or parts[0].domain != "grid":
            kinds = ", ".join(part.domain for part in parts)
            raise Refused(f"{self.folder}: its signals are not on one grid but on {kinds}")
        return Grid.of(*parts[0].shape)

    def fitting_cell(self) -> Cell:
        """The cell that made it, without its reader. Raises Refused for rows that are no field's."""
        rendered = self.manifest["origin"].get(RENDERED)
        if rendered:
            raise Refused(f"{self.folder} holds values that {rendered['name']} was queried for, and no field's rows")
        try:
            return replace_reader(self.cell())
        except Refused as error:
            raise Refused(f"{error}, so nobody can say what values its rows have (`query`)") from error

    def built_fitter(self) -> Fitter:
        """The fitter that made the rows, built and not loaded yet; raises what `fitter` raises."""
        cell = self.fitting_cell()
        parts = cell.plugins
        inr = None
        if parts["inr"] is not None:
            inr = load_target(parts["inr"].target, f"inr {parts['inr'].name!r}")(cell.settings["inr"], self.signal)
        plugin = parts["fitter"]
        assert plugin is not None
        target = load_target(plugin.target, f"fitter {plugin.name!r}")
        fitter = cast(Fitter, target(cell.settings["fitter"], self.signal, inr))
        if fitter.layout.shapes != self.layout.shapes or fitter.layout.relative_to != self.layout.relative_to:
            raise Refused(
                f"{self.folder} holds rows of {_shapes(self.layout)}, but fitter {plugin.name!r} as it is installed "
                f"makes {_shapes(fitter.layout)}"
            )
        return fitter

    def fitter(self, run: Run) -> Fitter:
        """The fitter that made the rows, built and loaded: it answers `query`.

        Raises Refused for rows of which the field is not known, or where what is installed makes other rows.
        """
        fitter = self.built_fitter()
        fitter.load(self.shared)
        return fitter

    def neural_data_set(self) -> NeuralDataSet:
        """What a reader learns from: the splits train and validation, and the shared arrays."""
        splits = {name: (split.rows, split.labels) for name, split in self.splits.items() if name != "test"}
        return NeuralDataSet(self.shared, splits, {"artefact": self.key, **self.manifest["origin"]})


def replace_reader(cell: Cell) -> Cell:
    """``cell`` without its reader, of which a fitter alone has no need."""
    plugins, settings = {**cell.plugins, "reader": None}, {**cell.settings, "reader": None, "joint": None}
    return replace(cell, plugins=plugins, settings=settings)


def open_artefact(folder: Path | str, progress: Progress | None = None) -> Artefact:
    """Open the neural data set in ``folder``; every file is checked by content, once.

    Raises UsageError where there is no such folder, BadData that names what is missing or damaged.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise UsageError(
            f"there is no neural data set at {str(folder)!r}; `inrbench fit METHOD+DATASET -o {folder}` makes one"
        )
    document = read_manifest(folder)
    check_files(folder, document, progress)
    try:
        layout, signal = layout_of(document), signal_of(document)
        said = document["splits"]
        splits = {name: open_split(folder, said[name], layout) for name in SPLITS if name in said}
        shared, _ = load_arrays(folder / SHARED)
        statistics, _ = load_arrays(folder / STATISTICS)
    except (KeyError, TypeError, ValueError) as error:
        raise BadData(f"{folder} holds no neural data set as this inrbench writes it: {error!r}") from error
    return Artefact(folder, document, layout, signal, shared, splits, statistics, content_key(document))


def _shapes(layout: Layout) -> str:
    told = ", ".join(f"{name} {list(shape)}" for name, shape in layout.shapes.items())
    return told + (" relative to the shared ones" if layout.relative_to else "")
