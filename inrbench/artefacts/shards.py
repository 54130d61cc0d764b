"""The rows of a split, made and written shard by shard: what was interrupted goes on behind the last whole one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from inrbench.artefacts.folder import ArtefactFolder
from inrbench.cell_run import CellRun
from inrbench.domains import Array
from inrbench.errors import Interrupted
from inrbench.representations import Representations

__all__ = ["Made", "Piece", "write_split"]

#: Rows of a shard with what is known of each: labels, errors.
Made = tuple[Representations, dict[str, Array]]


@dataclass(frozen=True)
class Piece:
    """A shard: ``start`` to ``stop`` of what a split is made of."""

    number: int
    start: int
    stop: int

    @property
    def rows(self) -> int:
        """How many."""
        return self.stop - self.start


P = TypeVar("P", bound=Piece)


def write_split(
    verb: str,
    split: str,
    pieces: Sequence[P],
    make: Callable[[P], Iterator[Made]],
    folder: ArtefactFolder,
    run: CellRun,
) -> None:
    """Write the shards that ``folder`` does not have yet; ``make`` yields the rows of one, some at a time, in order.

    ``verb`` is what is done, for the progress: fit. Raises Interrupted between two yields once ``run`` is to stop.
    """
    todo = [piece for piece in pieces if not folder.has(split, piece.number)]
    total, left = (sum(piece.rows for piece in some) for some in (pieces, todo))
    with run.progress.task(f"{verb} {split}", total, done=total - left) as task:
        for piece in todo:
            with run.checkpoints_in(folder.checkpoints, f"{split}-{piece.number:05d}-"):
                found: list[Made] = []
                for rows, more in make(piece):
                    found.append((rows, more))
                    task.advance(len(rows))
                    if run.stop.is_set():
                        raise Interrupted(
                            f"stopped; {total - left:,} of {total:,} rows of {split} are in {folder.folder}, and "
                            "the same command goes on behind them"
                        )
            columns = {name: np.concatenate([more[name] for _, more in found]) for name in found[0][1]}
            folder.write(split, piece.number, Representations.joined(rows for rows, _ in found), columns)
            left -= piece.rows
