"""The fields of a neural data set, queried on a grid: their values as a neural data set of the kind `samples`.

It is the control of what a representation is read for: the same reader, given what the representation shows.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from inrbench.artefacts.folder import MORE_BYTES, ArtefactFolder, shard_rows
from inrbench.artefacts.opened import RENDERED, Artefact
from inrbench.artefacts.shards import Made, Piece, write_split
from inrbench.artefacts.split import Split
from inrbench.backends import engine_of
from inrbench.cell_run import CellRun
from inrbench.cells import Cell
from inrbench.domains import Array, Grid
from inrbench.errors import BadSetting, InrbenchError, NotFinite, OutOfMemory, Refused, UsageError, nearest
from inrbench.interfaces import Fitter
from inrbench.keys import stage_keys
from inrbench.provenance import commit, versions
from inrbench.representations import Layout, Representations

__all__ = ["Querying", "grid_of", "plan_query"]

#: Rows that the fitter is asked for at a time, and values of these.
ROWS, VALUES = 1024, 1 << 22
#: Cells along an axis of a grid, at most.
LARGEST = 4096


@dataclass(frozen=True)
class Querying:
    """A neural data set whose fields are to be queried, checked."""

    artefact: Artefact
    cell: Cell
    fitter: Fitter  # not loaded yet
    grid: Grid
    splits: tuple[str, ...]
    device: str

    @property
    def name(self) -> str:
        """``functa+mnist-laptop-s0-rendered``."""
        return "-".join([self.artefact.name, RENDERED, *(["x".join(map(str, self.grid.shape))] if self.finer else [])])

    @property
    def finer(self) -> bool:
        """Whether the grid is another one than the data's own."""
        return self.grid != self.artefact.domain

    @property
    def layout(self) -> Layout:
        """That of the fitter `samples` for signals on this grid."""
        return Layout("samples", {"values": (*self.grid.shape, self.artefact.signal.parts[0].channels)})

    @property
    def rows(self) -> int:
        """How many there will be."""
        return sum(len(self.artefact.splits[split]) for split in self.splits)

    @property
    def needed_bytes(self) -> int:
        """About what it takes on the disk."""
        return self.rows * (4 * self.layout.num_values + MORE_BYTES)

    def pieces(self, split: str) -> list[Piece]:
        """The shards of ``split``, in the order of its rows."""
        count, size = len(self.artefact.splits[split]), shard_rows(self.layout.num_values)
        return [Piece(i, start, min(start + size, count)) for i, start in enumerate(range(0, count, size))]

    def origin(self) -> dict[str, Any]:
        """All that the values depend on: the origin of the rows, and which rows and what grid these are."""
        before = self.artefact.manifest["origin"]
        data = self.artefact.manifest["data"]
        own = stage_keys(self.artefact.cell(), data["checksum"], self.device.partition(":")[0])
        return {
            **before,
            "splits": list(self.splits),
            "keys": {**before.get("keys", {}), "query": own["fit"]},
            RENDERED: {
                "name": self.artefact.name,
                "key": self.artefact.key,
                "kind": self.artefact.layout.kind,
                "grid": list(self.grid.shape),
                "data_grid": list(self.artefact.domain.shape),
            },
        }

    def make(self, folder: ArtefactFolder, run: CellRun) -> Artefact:
        """Query and write; what an earlier call finished is not done again.

        Raises Interrupted between two chunks of rows once ``run`` is to stop, NotFinite, OutOfMemory.
        """
        folder.room_for(self.needed_bytes)
        engine = engine_of(self.cell.backends)
        engine.prepare(self.device, run.threads)
        try:
            self.fitter.load(self.artefact.shared)
            for split in self.splits:
                make = partial(self._queried, self.artefact.splits[split], run=run)
                write_split("query", split, self.pieces(split), make, folder, run)
        except Exception as error:
            if isinstance(error, MemoryError) or engine.is_out_of_memory(error):
                raise OutOfMemory(f"{self.name}: {error}") from error
            raise
        shards = {split: [piece.rows for piece in self.pieces(split)] for split in self.splits}
        return folder.finish(self._document(run), {}, shards)

    def _queried(self, split: Split, piece: Piece, run: CellRun) -> Iterator[Made]:
        """The values of the rows of ``piece``, clamped to [0, 1], with all that is known of these rows."""
        size = max(1, min(ROWS, VALUES // max(self.layout.num_values, self.artefact.layout.num_values)))
        columns = _columns(split)
        for first in range(piece.start, piece.stop, size):
            rows = split.rows.take(slice(first, min(first + size, piece.stop)))
            start = 0
            for values in self.fitter.query(rows, self.grid, run):
                part = slice(start, start + len(values))
                ids = rows.ids[part]
                if values.shape != (len(ids), *self.layout.shapes["values"]):
                    raise InrbenchError(
                        f"the fitter gave values {list(values.shape)} for {len(ids)} rows on {self._shown}"
                    )
                finite = np.isfinite(values.reshape(len(values), -1)).all(axis=1)
                if not finite.all():
                    raise NotFinite(f"the reconstruction of signal {ids[int(finite.argmin())]} is not finite")
                clamped = np.clip(values, 0.0, 1.0).astype(np.float32)
                made = Representations(self.layout, {"values": clamped}, ids, rows.copies[part])
                place = slice(first + start, first + start + len(values))
                yield made, {name: column[place] for name, column in columns.items()}
                start += len(values)
            if start != len(rows):
                raise InrbenchError(f"the fitter gave the values of {start} rows where {len(rows)} were asked for")

    @property
    def _shown(self) -> str:
        return " x ".join(map(str, self.grid.shape))

    def _document(self, run: CellRun) -> dict[str, Any]:
        manifest, signal = self.artefact.manifest, self.artefact.signal
        kept = {key: manifest[key] for key in ("dataset", "data", "plugins")}
        return {
            **kept,
            "name": self.name,
            "layout": self.layout,
            "signal": replace(signal, parts=(replace(signal.parts[0], shape=self.grid.shape),)),
            "facts": {**manifest["facts"], "scope": "samples", RENDERED: True},
            "fitter": manifest.get("fitter"),
            "versions": versions(),
            "commit": commit(),
            "machine": {"device": self.device, "threads": run.threads},
        }


def plan_query(
    artefact: Artefact, size: str | None = None, splits: Sequence[str] = (), device: str = "auto"
) -> Querying:
    """The fields of ``artefact`` on the grid of ``size`` (see `grid_of`), with all that can be known before work.

    Raises Refused where it holds no fields, nobody knows them, or its signals share no grid; UsageError where a split,
    the size or the device does not fit.
    """
    if artefact.layout.kind == "samples" and RENDERED not in artefact.manifest["origin"]:
        raise Refused(f"{artefact.folder} holds 'samples': the values themselves, which readers read as they are")
    cell = artefact.fitting_cell()
    grid = grid_of(size, artefact.domain)
    for name in splits:
        if name not in artefact.splits:
            raise UsageError(f"{artefact.folder} has no split {name!r}; {nearest(name, artefact.splits)}")
    chosen = tuple(name for name in artefact.splits if name in (splits or artefact.splits))
    place = engine_of(cell.backends).resolve_device(device)
    return Querying(artefact, cell, artefact.built_fitter(), grid, chosen, place)


def grid_of(size: str | None, own: Grid) -> Grid:
    """``32``: 32 cells along each axis; ``2x``: twice as many as ``own`` has; None: ``own``. Raises BadSetting."""
    if size is None:
        return own
    times = size.removesuffix("x")
    counts: Mapping[bool, tuple[int, ...]] = {}
    if times.isascii() and times.isdigit():
        number = int(times)
        counts = {True: tuple(number * count for count in own.shape), False: (number,) * own.coord_dim}
    wanted = counts.get(size.endswith("x"), ())
    if not wanted or not all(1 <= count <= LARGEST for count in wanted):
        raise BadSetting(
            f"--size {size}: allowed are 1 to {LARGEST} pixels a side, as in 32, or times as many, as in 2x"
        )
    return Grid.of(*wanted)


def _columns(split: Split) -> dict[str, Array]:
    """What is known of each row beside its values, by the names that a shard's file has for it."""
    found = {
        "labels": split.labels,
        "mse": split.mse,
        "mse_unclamped": split.unclamped,
        "mse_estimate": split.estimate,
    }
    return {name: column for name, column in found.items() if column is not None}
