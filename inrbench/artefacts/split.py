"""One split of a neural data set, its rows mapped from their files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from inrbench.artefacts.mapped import mapped_arrays, stacked
from inrbench.domains import Array
from inrbench.errors import BadData
from inrbench.representations import Layout, Representations

__all__ = ["ROWS", "Split", "open_split"]

#: In front of the names of a row's arrays in a file.
ROWS = "rows/"


@dataclass(frozen=True)
class Split:
    """The rows of one split: of each signal copy 0, the signal itself, and behind these the augmented copies."""

    rows: Representations  # arrays are mapped: `rows.take(indices)` reads these rows alone
    labels: Array | None  # [rows] class numbers
    mse: Array | None  # [rows], or [rows, views], squared error of the reconstruction in [0, 1]; NaN for copies
    unclamped: Array | None  # [rows] the same without the clamp
    estimate: Array | None  # [rows] the same on points that `fit` never saw, where the fitter leaves some out

    @property
    def ids(self) -> Array:
        """[rows] which signal a row stands for."""
        return self.rows.ids

    @property
    def copies(self) -> Array:
        """[rows] which copy of it; 0 is the signal itself."""
        return self.rows.copies

    def __len__(self) -> int:
        return len(self.rows)


def open_split(folder: Path, said: Mapping[str, Any], layout: Layout) -> Split:
    """The split of which the manifest in ``folder`` says ``said``. Raises BadData where a file holds something else."""
    shards = [mapped_arrays(folder / shard["file"]) for shard in said["shards"]]
    for shard, arrays in zip(said["shards"], shards, strict=True):
        wrong = [name for name, array in arrays.items() if len(array) != shard["rows"]]
        wrong += [n for n, shape in layout.shapes.items() if arrays[f"{ROWS}{n}"].shape[1:] != shape]
        if wrong:
            raise BadData(f"{folder / shard['file']} holds another {wrong[0]!r} than the manifest says")
    whole = {name: stacked([arrays[name] for arrays in shards]) for name in shards[0]}
    small = {name: np.asarray(whole[name]) for name in whole if not name.startswith(ROWS)}
    rows = {name: whole[f"{ROWS}{name}"] for name in layout.shapes}
    return Split(
        Representations(layout, rows, small["ids"], small["copies"]),
        small.get("labels"),
        small.get("mse"),
        small.get("mse_unclamped"),
        small.get("mse_estimate"),
    )
