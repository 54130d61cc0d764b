"""Finished stages on disk, by key: what a run leaves so that no run after it does the same again.

``<cache>/stages/<key>/`` holds ``trained.safetensors`` (shared arrays and heads), checkpoints while a stage works,
and for the last stage ``sample.safetensors``. Everything here can be deleted at any time; records live elsewhere.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from inrbench.arrays import load_arrays, save_arrays
from inrbench.cell_run import CellRun
from inrbench.data.root import cache_root
from inrbench.domains import Array
from inrbench.errors import BadData
from inrbench.interfaces import Trained
from inrbench.representations import Layout, Representations
from inrbench.signals import Signals

__all__ = ["Sample", "Stages", "cache_folder"]

log = logging.getLogger("inrbench")
#: The largest original that is stored beside a sample, in bytes.
LARGEST_ORIGINAL = 4_000_000


def cache_folder() -> Path:
    """Where finished stages and checksums are kept: ``INRBENCH_CACHE``, else the user's cache folder."""
    return cache_root()


class Sample:
    """The first scored signals of a cell: representations, shared arrays and originals."""

    def __init__(self, arrays: Mapping[str, Array], layout: Mapping[str, Any]) -> None:
        self.shared = _below(arrays, "shared/")
        shapes = {name: tuple(shape) for name, shape in layout["shapes"].items()}
        self.layout = Layout(layout["kind"], shapes, layout["relative_to"], layout["convention"])
        self.rows = Representations(self.layout, _below(arrays, "rows/"), arrays["ids"], arrays["copies"])
        self.originals = arrays.get("originals")  # [rows, *grid, channels] in [0, 1], where there is one grid


class Stages:
    """The stages of one cell. ``keys`` maps train, fit, read and score to their keys; folder None keeps nothing."""

    def __init__(self, folder: Path | None, keys: Mapping[str, str]) -> None:
        self.folder = folder
        self.keys = dict(keys)

    def path(self, stage: str) -> Path | None:
        """The folder of a stage."""
        return None if self.folder is None else self.folder / self.keys[stage]

    def forget(self) -> None:
        """Drop what these stages left, so that they are done again; checkpoints of one that was interrupted stay."""
        for stage in self.keys:
            folder = self.path(stage)
            if folder is not None:
                for name in ("trained.safetensors", "sample.safetensors"):
                    (folder / name).unlink(missing_ok=True)

    def trained(self, stage: str, run: CellRun) -> Trained | None:
        """What the stage left, if it was finished before; its seconds count as if they were spent now."""
        folder = self.path(stage)
        if folder is None or not (folder / "trained.safetensors").exists():
            return None
        try:
            arrays, metadata = load_arrays(folder / "trained.safetensors")
        except BadData as error:
            log.warning("%s; doing this stage again", error)
            return None
        for name, seconds in json.loads(metadata["seconds"]).items():
            run.seconds[name] = run.seconds.get(name, 0.0) + seconds
        names = json.loads(metadata["heads"])
        heads = {name: _below(arrays, f"heads/{name}/") for name in names}
        measured = json.loads(metadata.get("metrics", "{}"))
        return Trained(_below(arrays, "shared/"), heads, int(metadata["steps"]), float(metadata["compile_s"]), measured)

    def keep_trained(self, stage: str, trained: Trained, run: CellRun) -> None:
        """Keep what a stage left."""
        folder = self.path(stage)
        if folder is None:
            return
        arrays = {f"shared/{name}": array for name, array in trained.shared.items()}
        for head, state in trained.heads.items():
            arrays |= {f"heads/{head}/{name}": array for name, array in state.items()}
        clocks = ("train",) if stage == "train" else ("fit_train", "read_train")
        metadata = {
            "heads": json.dumps(list(trained.heads)),
            "steps": str(trained.steps),
            "compile_s": str(trained.compile_s),
            "metrics": json.dumps(dict(trained.metrics)),
            "seconds": json.dumps({name: run.seconds[name] for name in clocks if name in run.seconds}),
        }
        self._save(folder / "trained.safetensors", arrays, metadata)

    def keep_sample(self, rows: Representations, shared: Mapping[str, Array], start: int, entries: Signals) -> None:
        """Keep the first scored representations (``start`` is 0 for the first shard; later shards are not kept)."""
        folder = self.path("score")
        if folder is None or start > 0:
            return
        arrays = {f"shared/{name}": array for name, array in shared.items()}
        arrays |= {f"rows/{name}": array for name, array in rows.arrays.items()}
        arrays |= {"ids": rows.ids, "copies": rows.copies}
        stacked = entries.take(np.arange(len(rows))).stacked()
        if stacked is not None and stacked[1][0].nbytes <= LARGEST_ORIGINAL:
            _, values, (scale, offset) = stacked
            arrays["originals"] = values.astype(np.float32) * np.float32(scale) + np.float32(offset)
        self._save(folder / "sample.safetensors", arrays, {"layout": json.dumps(asdict(rows.layout))})

    def _save(self, path: Path, arrays: Mapping[str, Array], metadata: Mapping[str, str]) -> None:
        """Save, or say why not and go on: what was computed still counts, it only cannot be taken up again."""
        try:
            save_arrays(path, arrays, metadata)
        except OSError as error:
            log.warning("a finished stage cannot be kept at %s (%s); going on without", path, error.strerror or error)

    def sample(self) -> Sample | None:
        """The kept sample of this cell; None where there is none. Raises BadData where it is damaged."""
        folder = self.path("score")
        if folder is None or not (folder / "sample.safetensors").exists():
            return None
        arrays, metadata = load_arrays(folder / "sample.safetensors")
        return Sample(arrays, json.loads(metadata["layout"]))


def _below(arrays: Mapping[str, Array], prefix: str) -> dict[str, Array]:
    return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}
