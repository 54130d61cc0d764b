"""A cell's signals as a neural data set on disk: its fitter trained as `run` does, then every split, shard by shard."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from math import prod
from pathlib import Path
from typing import Any, cast

import numpy as np

from inrbench.artefacts.folder import MORE_BYTES, ArtefactFolder, shard_rows
from inrbench.artefacts.manifest import SPLITS
from inrbench.artefacts.opened import Artefact, replace_reader
from inrbench.artefacts.shards import Made, Piece, write_split
from inrbench.backends import engine_of
from inrbench.cell_run import CellRun
from inrbench.cells import Built, Cell, build_dataset
from inrbench.copied import copied
from inrbench.data import OpenedData, open_dataset
from inrbench.domains import Array
from inrbench.errors import BadSetting, InrbenchError, NotFinite, OutOfMemory, UsageError
from inrbench.facts import facts_of
from inrbench.interfaces import SubsamplingFitter
from inrbench.keys import stage_keys
from inrbench.pipeline import heads_of, trained_fitter
from inrbench.plugin import Plugin
from inrbench.provenance import commit, versions
from inrbench.registry import registry
from inrbench.representations import Layout, Representations
from inrbench.scoring import Errors, check_finite, errors_of
from inrbench.selection import Selected, select
from inrbench.settings import Copies
from inrbench.signals import Signals
from inrbench.stages import Stages

__all__ = ["Fitting", "plan_fit"]

#: What makes a neural data set smaller.
FEWER = "fewer signals (data.train_size) or copies (data.copies.count)"


@dataclass(frozen=True)
class CopyPiece(Piece):
    """A shard: some of a split's signals, as one of their copies."""

    copy: int


@dataclass(frozen=True)
class Fitting:
    """A cell that is to become a neural data set, checked."""

    cell: Cell
    built: Built
    opened: OpenedData
    selected: Selected
    signals: Mapping[str, Signals]  # by split
    keys: Mapping[str, str]
    device: str

    @property
    def name(self) -> str:
        """``mwt+cifar10~1a2b3c4d-laptop-s0``."""
        return f"{self.cell.method.name}+{self.opened.name}-{self.cell.profile}-s{self.cell.seed}"

    @property
    def layout(self) -> Layout:
        """Of its rows."""
        return self.built.fitter.layout

    @property
    def rows(self) -> int:
        """How many there will be."""
        return sum(piece.rows for split in self.signals for piece in self.pieces(split))

    @property
    def needed_bytes(self) -> int:
        """About what it takes on the disk, but for what the fitter shares."""
        return self.rows * (4 * self.layout.num_values + MORE_BYTES)

    def pieces(self, split: str) -> list[CopyPiece]:
        """The shards of ``split``: all signals, then all of them as their first copy, and so on."""
        signal_values = sum(prod(part.shape) * part.channels for part in self.built.spec.parts)
        size, count = shard_rows(self.layout.num_values, signal_values), len(self.signals[split])
        copies = self.copies.count if split == "train" else 1
        if self.built.fitter.facts().pooled:
            size = count  # its signals are fitted together
        spans = [(copy, start) for copy in range(copies) for start in range(0, count, size)]
        return [CopyPiece(i, start, min(start + size, count), copy) for i, (copy, start) in enumerate(spans)]

    @property
    def copies(self) -> Copies:
        """What copies the training signals get."""
        return self.selected.copies

    def origin(self) -> dict[str, Any]:
        """All that the rows depend on."""
        return {
            "method": self.cell.method.name,
            "dataset": self.cell.dataset,
            "profile": self.cell.profile,
            "seed": self.cell.seed,
            "settings": self.cell.tree(),
            "splits": list(self.signals),
            "data": self.opened.checksum,
            "keys": {stage: self.keys[stage] for stage in ("train", "fit")},
        }

    def make(self, folder: ArtefactFolder, run: CellRun, stages: Stages) -> Artefact:
        """Train, fit, score and write; what an earlier call finished is not done again.

        Raises Interrupted between two shards of the fitter once ``run`` is to stop; and what training and fitting do.
        """
        folder.room_for(self.needed_bytes, or_use=FEWER)
        engine = engine_of(self.cell.backends)
        engine.prepare(self.device, run.threads)
        fitter = self.built.fitter
        joint = self.cell.joint
        heads = heads_of(self.built.reader, None if joint is None else joint.share, self.selected)
        try:
            trained = trained_fitter(fitter, heads, self.selected, run, stages)
            for split in self.signals:
                write_split("fit", split, self.pieces(split), partial(self._fitted, split, run=run), folder, run)
        except Exception as error:
            if isinstance(error, MemoryError) or engine.is_out_of_memory(error):
                raise OutOfMemory(f"{self.name}: {error}") from error
            raise
        shards = {split: [piece.rows for piece in self.pieces(split)] for split in self.signals}
        return folder.finish(self._document(run), trained.shared, shards)

    def _fitted(self, split: str, piece: CopyPiece, run: CellRun) -> Iterator[Made]:
        entries = self.signals[split].take(np.arange(piece.start, piece.stop))
        signals = copied(entries, self.copies, piece.copy, run.rng)
        with run.of_copy(piece.copy):
            yield from self._made(split, piece, signals, run)

    def _made(self, split: str, piece: CopyPiece, to_fit: Signals, run: CellRun) -> Iterator[Made]:
        """The fitter's own shards of ``piece``, each with its labels and errors. Raises NotFinite."""
        signals = self.signals[split].take(np.arange(piece.start, piece.stop))
        labels = self.selected.train_labels if split == "train" else self.signals[split].labels
        start = 0
        for rows in self.built.fitter.fit(to_fit, run):
            entries = signals.take(np.arange(start, min(start + len(rows), len(signals))))
            if not np.array_equal(rows.ids, entries.ids):
                raise InrbenchError(f"the fitter's rows from {start} on are not those of the {split} signals, in order")
            for name, array in rows.arrays.items():
                finite = np.isfinite(array.reshape(len(rows), -1)).all(axis=1)
                if not finite.all():
                    raise NotFinite(f"{name} of signal {rows.ids[int(finite.argmin())]} of {split} is not finite")
            more = self._errors(rows, entries, piece, run)
            if labels is not None:
                place = piece.start + start
                more["labels"] = np.asarray(labels[place : place + len(rows)]).astype(np.int64)
            yield replace(rows, copies=np.full(len(rows), piece.copy, dtype=np.int64)), more
            start += len(rows)
        if start != len(signals):
            raise InrbenchError(f"the fitter gave {start} representations for {len(signals)} {split} signals")

    def _errors(self, rows: Representations, entries: Signals, piece: CopyPiece, run: CellRun) -> dict[str, Array]:
        """Squared errors of the reconstruction; NaN for a copy, of which nobody asks for one."""
        fitter = self.built.fitter
        if fitter.facts().scope == "samples":
            return {}
        nothing = np.full(len(rows), np.nan)
        errors = Errors(nothing, nothing, nothing)
        if piece.copy == 0:
            errors = errors_of(fitter, rows, entries, run)
            check_finite(errors, rows.ids)
        more = {"mse": errors.mse, "mse_unclamped": errors.unclamped}
        return more | ({"mse_estimate": errors.unseen} if isinstance(fitter, SubsamplingFitter) else {})

    def _document(self, run: CellRun) -> dict[str, Any]:
        facts = self.built.fitter.facts()
        return {
            "name": self.name,
            "dataset": self.opened.name,
            "data": {"checksum": self.opened.checksum, "official": self.opened.official},
            "layout": self.layout,
            "signal": self.built.spec,
            "facts": {**facts_of(self.cell, facts, self.selected), "copies": self.copies.count},
            "fitter": asdict(facts),
            "plugins": _distributions(self.cell),
            "versions": versions(),
            "commit": commit(),
            "machine": {"device": self.device, "threads": run.threads},
        }


def plan_fit(
    cell: Cell, splits: Sequence[str] | None, device: str, data_root: Path | None, unofficial: bool
) -> Fitting:
    """``cell`` with all that can be known before work starts; downloads data that is missing.

    Raises UsageError where a split, a setting, a device or a part does not fit, BadData for its data.
    """
    if cell.data_settings.scored != "test":
        raise BadSetting(
            "setting data.scored=validation: a neural data set holds all splits; `inrbench read --scored validation` "
            "chooses"
        )
    for name in splits or ():
        if name not in SPLITS:
            raise UsageError(f"no split {name!r}; known: {', '.join(SPLITS)}")
    making = cell if cell.joint is not None else replace_reader(cell)
    used = engine_of(making.backends).resolve_device(device)
    built = making.build()
    plugin = cast(Plugin, cell.plugins["data"])
    dataset = build_dataset(plugin, cell.dataset, cell.data_settings)
    opened = open_dataset(cell.dataset, dataset, data_root, unofficial=unofficial)
    selected = select(opened.splits, cell.data_settings, cell.seed)
    there = {"train": selected.train, "validation": selected.validation, "test": selected.scored}
    wanted = [name for name in SPLITS if (name in splits if splits else len(there[name]))]
    if empty := [name for name in wanted if not len(there[name])]:
        raise UsageError(
            f"{opened.name} has no signals in its split {empty[0]!r}"
            + ("; --set data.validation=0.2 holds some out" if empty[0] == "validation" else "")
        )
    keys = stage_keys(cell, opened.checksum, used.partition(":")[0])
    return Fitting(making, built, opened, selected, {name: there[name] for name in wanted}, keys, used)


def _distributions(cell: Cell) -> dict[str, str]:
    found = {}
    for part, plugin in cell.plugins.items():
        if plugin is not None:
            backend = None if plugin.kind == "dataset" else plugin.backend
            entry = registry().entry(plugin.kind, cell.dataset if part == "data" else plugin.name, backend=backend)
            found[part] = f"{entry.distribution} {entry.version}"
    return found
