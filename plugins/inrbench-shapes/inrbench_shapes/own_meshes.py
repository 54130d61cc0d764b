"""mesh:PATH: the user's own meshes, as occupancies.

PATH is a mesh, or a folder of meshes, each of which is then a test signal; or a folder of class folders, of which a
fixed share is held out for testing. Folders are not searched deeper, and hidden files are left out.

What is inside is told by generalised winding numbers (`inrbench_shapes.winding`) and not by rays, since these need a
watertight mesh and a library beside trimesh.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache, partial
from pathlib import Path
from typing import Any, Literal

import numpy as np

from inrbench import draws
from inrbench.data import AboutData, OfficialFile
from inrbench.domains import Array
from inrbench.errors import BadData, BadSetting
from inrbench.settings import setting
from inrbench.signals import Part, SignalSpec
from inrbench_shapes.enclosed import SUFFIXES, read_enclosed
from inrbench_shapes.points import OccupancySettings, moved, occupancy_part, occupancy_spec, uniform

__all__ = ["Mesh", "MeshSettings", "MeshSignals"]

#: Fixed points are the same for every cell: their seed is never the cell's.
SEED = 20260716
#: Meshes whose occupancies are kept; of 1.3 MB each with the default numbers of points.
KEPT = 256

_fixed = partial(draws.generator, SEED)


class MeshSettings(OccupancySettings):
    """How a mesh is placed in the cube, and where it is looked at."""

    random_points: int = setting(32_768, "observed points that are uniform in the cube", ge=1)
    near_points: int = setting(32_768, "observed points near the surface", ge=0)
    near_deviation: float = setting(
        0.02, "standard deviation along each axis of the observed points near the surface from it", gt=0.0, le=1.0
    )
    scored_points: int = setting(32_768, "uniform points that a signal is scored on", stage="score", ge=1)
    fill: float = setting(0.9, "how far the longest side of a mesh reaches from the centre of the cube", gt=0.0, le=1.0)
    open_meshes: Literal["winding", "refuse"] = setting(
        "winding", "meshes that are not watertight: closed where the winding number is 1/2, or refused"
    )
    test_share: float = setting(0.2, "share of each class to hold out where there are class folders", gt=0.0, lt=1.0)


class _Meshes:
    """Points of the meshes in ``files`` with their occupancies, kept once they are computed."""

    def __init__(self, files: tuple[Path, ...], settings: MeshSettings) -> None:
        self.files, self.settings = files, settings
        self.part = lru_cache(maxsize=2 * KEPT)(self._part)

    def __reduce__(self) -> tuple[Any, ...]:
        return _Meshes, (self.files, self.settings)  # another process computes for itself

    def _part(self, row: int, purpose: Literal["observed", "scored"]) -> Part:
        settings, path = self.settings, self.files[row]
        mesh = read_enclosed(path, settings.fill, watertight=settings.open_meshes == "refuse")
        if purpose == "scored":
            coords = uniform(_fixed("scored", row), settings.scored_points)
        else:
            rng = _fixed("near", row)
            try:
                near = moved(mesh.surface(settings.near_points, rng), settings.near_deviation, rng)
            except ValueError as error:
                raise BadData(f"{path}: {error}") from None
            coords = np.concatenate([uniform(_fixed("random", row), settings.random_points), near])
        inside = mesh.contains(coords)
        if not inside.any():
            raise BadData(f"{path}: encloses none of {len(coords):,} points; allowed are meshes of solids")
        return occupancy_part(coords, inside)


@dataclass(frozen=True)
class MeshSignals:
    """Occupancies of meshes; the id of a signal is its row among all files of the data set."""

    meshes: _Meshes
    ids: Array
    labels: Array | None

    def __len__(self) -> int:
        return len(self.ids)

    def observed(self, i: int) -> Sequence[Part]:
        """The same points of entry ``i`` each time: the uniform ones, then those near its surface. Raises BadData."""
        return (self.meshes.part(int(self.ids[i]), "observed"),)

    def scored(self, i: int) -> Sequence[Part]:
        """The same uniform points of entry ``i`` each time, others than the observed ones. Raises BadData."""
        return (self.meshes.part(int(self.ids[i]), "scored"),)

    def stacked(self) -> None:
        """None: every signal has points of its own."""
        return

    def take(self, indices: Array) -> MeshSignals:
        """The entries at ``indices``, in that order, with their ids."""
        labels = None if self.labels is None else self.labels[indices]
        return replace(self, ids=self.ids[indices], labels=labels)

    def unlabelled(self) -> MeshSignals:
        """The same entries without labels."""
        return replace(self, labels=None)


class Mesh:
    """Meshes of one file, one folder, or the class folders in it."""

    def __init__(self, settings: MeshSettings, rest: str = "") -> None:
        if not rest:
            raise BadSetting("data set 'mesh' needs a place, as in mesh:PATH; given: 'mesh'")
        self.settings = settings
        self.place = Path(rest).expanduser()

    @property
    def files(self) -> Sequence[OfficialFile]:
        """None: the data is the user's own."""
        return ()

    def own_files(self) -> Mapping[str, Path]:
        """What is read, by its path below the folder."""
        if self.place.is_file():
            return {self.place.name: self.place}
        return {path.relative_to(self.place).as_posix(): path for path, _ in self._entries}

    def about(self) -> AboutData:
        """Nothing is known of the user's own data."""
        return AboutData(
            licence="your own data", licence_source="", homepage=str(self.place), download_bytes=0, citation=""
        )

    def spec(self) -> SignalSpec:
        """What there is, by its names. Raises BadData where there are no meshes."""
        settings = self.settings
        return SignalSpec(
            parts=(occupancy_spec(settings.random_points + settings.near_points),),
            num_classes=len(self._classes) or None,
            class_names=tuple(self._classes),
            sizes={split: len(rows) for split, rows in self._splits.items()},
        )

    def load(self, folder: Path | None) -> Mapping[str, MeshSignals]:
        """The splits, of which nothing is read yet. Raises BadData where there are no meshes."""
        labels = np.array([label for _, label in self._entries], dtype=np.int64) if self._classes else None
        files = tuple(path for path, _ in self._entries)
        whole = MeshSignals(_Meshes(files, self.settings), np.arange(len(files)), labels)
        return {split: whole.take(rows) for split, rows in self._splits.items()}

    @cached_property
    def _classes(self) -> list[str]:
        if not self.place.exists():
            raise BadData(f"mesh:{self.place}: does not exist; expected a mesh or a folder of meshes")
        if self.place.is_file() or _meshes_in(self.place):
            return []
        return sorted(one.name for one in self.place.iterdir() if one.is_dir() and _meshes_in(one))

    @cached_property
    def _entries(self) -> list[tuple[Path, int]]:
        """All meshes with the numbers of their classes, in the order of their names."""
        if self._classes:
            found = [(path, k) for k, name in enumerate(self._classes) for path in _meshes_in(self.place / name)]
        elif self.place.is_file():
            found = [(self.place, 0)] if self.place.suffix.lower() in SUFFIXES else []
        else:
            found = [(path, 0) for path in _meshes_in(self.place)]
        if not found:
            what = "is no mesh" if self.place.is_file() else "holds no meshes"
            raise BadData(f"mesh:{self.place}: {what}; looked for {', '.join(SUFFIXES)}")
        return found

    @cached_property
    def _splits(self) -> dict[str, Array]:
        """The rows of each split. Within a class the meshes whose names have the smallest hashes are held out."""
        if not self._classes:
            return {"test": np.arange(len(self._entries))}
        test: list[int] = []
        for label, name in enumerate(self._classes):
            rows = [row for row, (_, one) in enumerate(self._entries) if one == label]
            count = round(self.settings.test_share * len(rows))
            if not 0 < count < len(rows):
                raise BadData(
                    f"mesh:{self.place}: class {name!r} has {len(rows)} meshes, of which setting "
                    f"data.test_share={self.settings.test_share:g} holds out {count}; allowed are 1 to {len(rows) - 1}"
                )
            ranks = [draws.number(0, "mesh", name, self._entries[row][0].name) for row in rows]
            test += [row for _, row in sorted(zip(ranks, rows, strict=True))[:count]]
        held_out = np.isin(np.arange(len(self._entries)), test)
        return {"train": np.flatnonzero(~held_out), "test": np.flatnonzero(held_out)}


def _meshes_in(folder: Path) -> list[Path]:
    found = [one for one in folder.iterdir() if one.suffix.lower() in SUFFIXES and one.is_file()]
    return sorted(one for one in found if not one.name.startswith("."))
