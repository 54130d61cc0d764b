"""Representations: named arrays that stand for signals, and neural data sets made of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from math import prod
from typing import Any, Literal

import numpy as np

from inrbench.domains import Array

__all__ = ["Arrays", "Layout", "NeuralDataSet", "Representations"]

Arrays = Mapping[str, Array]  # named arrays: all that crosses a stage, a process or the disk


@dataclass(frozen=True)
class Layout:
    """How representations are laid out: their kind, the shape of each array, and the field's convention."""

    kind: str  # weights, latent, latent-grid, tokens, samples, or a plugin's own
    shapes: Mapping[str, tuple[int, ...]]  # of one row; weights are [out, in], biases [out]
    relative_to: Literal["shared"] | None = None  # "shared": rows are phi - theta
    convention: Mapping[str, Any] = field(default_factory=dict)

    @property
    def num_values(self) -> int:
        """Numbers in one row."""
        return sum(prod(shape) for shape in self.shapes.values())


@dataclass(frozen=True)
class Representations:
    """A batch of representations: every array is [rows, ...]; copy 0 is the signal itself."""

    layout: Layout
    arrays: Arrays
    ids: Array
    copies: Array

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, indices: Array | slice) -> Representations:
        """The rows at ``indices``."""
        arrays = {name: array[indices] for name, array in self.arrays.items()}
        return Representations(self.layout, arrays, self.ids[indices], self.copies[indices])

    @classmethod
    def joined(cls, shards: Iterable[Representations]) -> Representations:
        """All rows of ``shards``, in order. Raises ValueError where there is none."""
        rows = list(shards)
        if not rows:
            raise ValueError("no representations to join: the fitter yielded no shard")
        return cls(
            rows[0].layout,
            {name: np.concatenate([shard.arrays[name] for shard in rows]) for name in rows[0].arrays},
            np.concatenate([shard.ids for shard in rows]),
            np.concatenate([shard.copies for shard in rows]),
        )


@dataclass(frozen=True)
class NeuralDataSet:
    """Representations by split with the trained fitter's shared arrays: enough to read it and to query it."""

    shared: Arrays
    splits: Mapping[str, tuple[Representations, Array | None]]  # rows and their labels
    origin: Mapping[str, Any]  # the keys of the stages that made it
