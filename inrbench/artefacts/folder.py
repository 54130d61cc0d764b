"""The folder of a neural data set while it is made: taken for one origin, filled by shard, finished by its manifest."""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from inrbench.arrays import load_arrays, save_arrays, write_atomically
from inrbench.artefacts.manifest import BEGUN, MANIFEST, SHARED, STATISTICS, plain, read_manifest, write_manifest
from inrbench.artefacts.mapped import mapped_arrays
from inrbench.artefacts.opened import Artefact, open_artefact
from inrbench.artefacts.split import ROWS
from inrbench.data.check import digests
from inrbench.domains import Array
from inrbench.errors import BadData, InrbenchError, UsageError
from inrbench.representations import Arrays, Representations
from inrbench.trees import flatten

__all__ = ["ArtefactFolder", "shard_rows", "statistics"]

#: Where what is being computed checkpoints.
CHECKPOINTS = "checkpoints"
#: A shard's size: large enough to be read in one go, small enough that not much is lost with one.
SHARD_BYTES, SHARD_ROWS = 1 << 26, 4096
#: What the signals of a shard may take, which are held at once.
SIGNAL_BYTES = 1 << 28
#: Behind the arrays of a row: its id, copy, label and errors.
MORE_BYTES = 48


def shard_rows(num_values: int, signal_values: int = 1) -> int:
    """Rows in a shard, of ``num_values`` numbers each, of signals with ``signal_values``."""
    row_bytes, signal_bytes = 4 * num_values + MORE_BYTES, 4 * signal_values
    return max(1, min(SHARD_ROWS, SHARD_BYTES // row_bytes, SIGNAL_BYTES // signal_bytes))


class ArtefactFolder:
    """A folder that a neural data set is written to. ``origin`` is all that its content depends on."""

    def __init__(self, folder: Path, origin: Mapping[str, Any]) -> None:
        self.folder = folder
        self.origin = plain(origin)

    def begin(self) -> Artefact | None:
        """Take the folder, or take it up again; the neural data set where it was finished before.

        Raises UsageError where the folder holds something else or one of another origin, and says in what it differs.
        """
        folder = self.folder
        try:
            if folder.exists() and not folder.is_dir():
                raise UsageError(f"{str(folder)!r} is a file; say -o DIR")
            if (folder / MANIFEST).exists():
                self._compare(read_manifest(folder)["origin"], "holds a neural data set")
                return open_artefact(folder)
            if (folder / BEGUN).exists():
                self._compare(self._begun(), "holds the beginning of a neural data set")
                return None
            if folder.is_dir() and any(folder.iterdir()):
                raise UsageError(f"{str(folder)!r} holds something else; say -o DIR with a new or an empty folder")
            write_atomically(folder / BEGUN, (json.dumps(self.origin, sort_keys=True, indent=1) + "\n").encode())
        except OSError as error:
            reason = error.strerror or error
            raise UsageError(f"nothing can be written to {str(folder)!r} ({reason}); say -o DIR") from error
        return None

    def room_for(self, needed: int, or_use: str = "") -> None:
        """Raise UsageError where the disk has no room for ``needed`` bytes, less what is there already.

        ``or_use`` says what else than another disk would help.
        """
        there = sum(path.stat().st_size for path in self.folder.glob("*.safetensors"))
        free = shutil.disk_usage(self.folder).free
        if free < needed - there:
            raise UsageError(
                f"{self.folder} needs {(needed - there) / 1e9:,.2f} GB and its disk has {free / 1e9:,.2f} GB free; say "
                "-o DIR on another one" + (f", or use {or_use}" if or_use else "")
            )

    @property
    def checkpoints(self) -> Path:
        """Where what is being computed checkpoints."""
        return self.folder / CHECKPOINTS

    def path(self, split: str, number: int) -> Path:
        """The file of a shard."""
        return self.folder / f"{split}-{number:05d}.safetensors"

    def has(self, split: str, number: int) -> bool:
        """Whether the shard is there, whole."""
        path = self.path(split, number)
        if not path.exists():
            return False
        try:
            load_arrays(path)
        except BadData:
            return False  # it is written anew
        return True

    def write(self, split: str, number: int, rows: Representations, more: Arrays) -> None:
        """Write a shard; ``more`` are labels and errors. Raises InrbenchError where the disk refuses."""
        arrays = {f"{ROWS}{name}": array for name, array in rows.arrays.items()}
        arrays |= {"ids": rows.ids.astype(np.int64), "copies": rows.copies.astype(np.int64), **more}
        with self._disk():
            save_arrays(self.path(split, number), arrays)

    def finish(self, document: Mapping[str, Any], shared: Arrays, shards: Mapping[str, Sequence[int]]) -> Artefact:
        """Write what belongs to the whole, the manifest last. ``shards`` are the rows of each shard of each split."""
        files = {split: [self.path(split, i) for i in range(len(counts))] for split, counts in shards.items()}
        layout = document["layout"]
        with self._disk():
            save_arrays(self.folder / SHARED, shared)
            save_arrays(self.folder / STATISTICS, statistics(layout.shapes, files.get("train", [])))
            splits = {
                split: [
                    {"file": path.name, "rows": count, "sha256": digests(path).content["sha256"]}
                    for path, count in zip(files[split], counts, strict=True)
                ]
                for split, counts in shards.items()
            }
            whole = {
                **document,
                "kind": layout.kind,
                "origin": self.origin,
                "splits": {split: {"rows": sum(shards[split]), "shards": listed} for split, listed in splits.items()},
                "files": {name: digests(self.folder / name).content["sha256"] for name in (SHARED, STATISTICS)},
            }
            write_manifest(self.folder, whole)
        (self.folder / BEGUN).unlink(missing_ok=True)
        shutil.rmtree(self.checkpoints, ignore_errors=True)
        for part in self.folder.glob(".*.part"):  # of a process that was killed while it wrote
            part.unlink(missing_ok=True)
        return open_artefact(self.folder)

    def _begun(self) -> Mapping[str, Any]:
        path = self.folder / BEGUN
        try:
            found = json.loads(path.read_bytes())
        except (OSError, ValueError) as error:
            raise BadData(f"{path} is damaged ({error}); delete {self.folder} to make it anew") from error
        return found if isinstance(found, dict) else {}

    def _compare(self, found: Mapping[str, Any], what: str) -> None:
        """Raise UsageError where ``found`` is another origin."""
        ours, theirs = dict(flatten(self.origin)), dict(flatten(found))
        differ = sorted(
            (key for key in ours.keys() | theirs.keys() if ours.get(key) != theirs.get(key)),
            key=lambda key: (key.startswith("keys."), not key.startswith("settings."), key),
        )
        if not differ:
            return
        first = differ[0].removeprefix("settings.")
        said = [key for key in differ if not key.startswith("keys.")]
        more = f" ({len(said)} things differ)" if len(said) > 1 else ""
        if differ[0].startswith("keys."):
            reason = "that was made by other code or versions, or on another kind of device"
        else:
            reason = f"with {first}={theirs.get(differ[0])!r}, not {ours.get(differ[0])!r}{more}"
        raise UsageError(f"{str(self.folder)!r} {what} {reason}; say -o DIR with another folder")

    @contextlib.contextmanager
    def _disk(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise InrbenchError(
                f"cannot write to {self.folder}: {error.strerror or error}; finished shards are kept, so free some "
                "space and give the same command again"
            ) from error


def statistics(shapes: Mapping[str, tuple[int, ...]], files: Sequence[Path]) -> dict[str, Array]:
    """Mean, standard deviation, minimum and maximum of each element over the rows of copy 0, shard by shard.

    In double precision; the moments are joined as in Chan, Golub and LeVeque (1979). Empty for no rows.
    """
    found: dict[str, Array] = {}
    count = 0
    for path in files:
        arrays = mapped_arrays(path)
        own = np.flatnonzero(arrays["copies"] == 0)
        if not len(own):
            continue
        both = count + len(own)
        for name in shapes:
            values = arrays[f"{ROWS}{name}"][own].astype(np.float64)
            mean, squares = values.mean(axis=0), ((values - values.mean(axis=0)) ** 2).sum(axis=0)
            low, high = values.min(axis=0), values.max(axis=0)
            if count:
                away = mean - found[f"{name}/mean"]
                squares = found[f"{name}/std"] + squares + away**2 * (count * len(own) / both)
                mean = found[f"{name}/mean"] + away * (len(own) / both)
                low, high = np.minimum(low, found[f"{name}/min"]), np.maximum(high, found[f"{name}/max"])
            found |= {f"{name}/mean": mean, f"{name}/std": squares, f"{name}/min": low, f"{name}/max": high}
        count = both
    return {name: np.sqrt(a / count) if name.endswith("/std") else a for name, a in found.items()}
