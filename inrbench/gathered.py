"""All representations of a split in one place: in memory, or on disk where they are too large for that."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from inrbench.domains import Array
from inrbench.errors import InrbenchError, OutOfMemory
from inrbench.representations import Layout, Representations

__all__ = ["IN_MEMORY_BYTES", "gathered", "room_for"]

#: Representations up to this size are held in memory; larger ones are mapped from files that are deleted afterwards.
IN_MEMORY_BYTES = 2**31


@contextlib.contextmanager
def room_for(layout: Layout, num_rows: int, folder: Path | None) -> Iterator[Path | None]:
    """A folder within ``folder`` for the block, if ``num_rows`` are too large for memory; else None.

    Raises OutOfMemory where the disk has no room for them either.
    """
    needed = 4 * layout.num_values * num_rows
    if needed <= IN_MEMORY_BYTES or folder is None:
        yield None
        return
    folder.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise OutOfMemory(
            f"{num_rows:,} representations need {needed / 1e9:.1f} GB and {folder} has {free / 1e9:.1f} GB free; name "
            "another folder with the environment variable INRBENCH_CACHE, or use fewer signals (data.train_size)"
        )
    with tempfile.TemporaryDirectory(dir=folder, prefix="representations-", ignore_cleanup_errors=True) as place:
        yield Path(place)


def gathered(shards: Iterable[Representations], num_rows: int, folder: Path | None, name: str) -> Representations:
    """All rows of ``shards``, in order; in files of ``folder`` that begin with ``name``, or in memory.

    Raises InrbenchError where there are not ``num_rows`` of them.
    """
    if folder is None:
        return Representations.joined(shards)
    arrays: dict[str, Array] = {}
    ids, copies, layout, start = [], [], None, 0
    for rows in shards:
        layout = rows.layout
        if start + len(rows) > num_rows:
            raise InrbenchError(f"the fitter gave more than {num_rows} representations for the {name} signals")
        for key, array in rows.arrays.items():
            if key not in arrays:
                path = folder / f"{name}-{len(arrays)}.npy"
                shape = (num_rows, *array.shape[1:])
                arrays[key] = np.lib.format.open_memmap(path, mode="w+", dtype=array.dtype, shape=shape)
            arrays[key][start : start + len(rows)] = array
        ids.append(rows.ids)
        copies.append(rows.copies)
        start += len(rows)
    if layout is None or start != num_rows:
        raise InrbenchError(f"the fitter gave {start} representations for {num_rows} {name} signals")
    return Representations(layout, arrays, np.concatenate(ids), np.concatenate(copies))
