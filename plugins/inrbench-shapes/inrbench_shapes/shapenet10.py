"""shapenet10: 35,984 shapes of ten categories of ShapeNet as occupancies, in fit-a-nef's point format.

What is known of the format is what fit-a-nef's reader takes (samuelepapa/fit-a-nef, dataset/shape_dataset/shapenet.py):
``ShapeNet/SYNSET/MODEL.npz``, each with points and their occupancies, uniform ones (`random_points`,
`random_points_occupancy`) and others near the surface (`near_surf_points`, `near_surf_points_occupancy`). Its shapes
are listed by category, in the order of `CATEGORIES`, then by name; two are left out; the list is shuffled by NumPy's
generator with the seed 42. NeoMLP (arXiv:2412.08731) has 29,000 of them for training, 2,000 for validation and 4,984
for testing. Which these are it does not say: here the test split is the end of the shuffled list, and the validation
signals are cut from the 31,000 before it as from every data set (``data.validation``).

No download and no checksum of the files was found, so that they are never official. How many points a file has and
how far they reach is stated nowhere: all are used, and `extent` says what lies at the cube's sides. A signal is scored
on its uniform points, since the share of these that two solids have in common estimates that of their volumes; points
near the surface would weigh what is there. They are fixed in the file, and observed too, as an image's pixels are.

This reader is tested on generated files of the same layout, not on the original ones.
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np

from inrbench.data import AboutData, OfficialFile
from inrbench.domains import Array
from inrbench.errors import BadData, BadSetting
from inrbench.settings import DataSettings, setting
from inrbench.signals import Part, SignalSpec
from inrbench_shapes.citations import SHAPENET
from inrbench_shapes.points import occupancy_part, occupancy_spec

__all__ = ["FileSignals", "ShapeNet10", "ShapeNet10Settings", "read_points"]

ROOT = "ShapeNet"
#: WordNet ids and names in fit-a-nef's order. NeoMLP's paper calls the seventh "cap", which has another id.
CATEGORIES = {
    "03691459": "loudspeaker",
    "02828884": "bench",
    "04530566": "watercraft",
    "03636649": "lamp",
    "04090263": "rifle",
    "04256520": "sofa",
    "02958343": "car",
    "02691156": "airplane",
    "03001627": "chair",
    "04379243": "table",
}
#: Shapes that fit-a-nef leaves out.
LEFT_OUT = ("03691459/a76f63c6b3702a4981c9b20aad15512.npz", "03001627/a5d21835219c8fed19fb4103277a6b93.npz")
#: Seed of fit-a-nef's shuffle.
SHUFFLE_SEED = 42
SHAPES, TRAINING, VALIDATION = 35_984, 31_000, 2_000
#: The arrays of a file: points, and their occupancies.
ARRAYS = (("random_points", "random_points_occupancy"), ("near_surf_points", "near_surf_points_occupancy"))
#: What is counted for each kind of points where nobody knows how many a file has.
ASSUMED_POINTS = 100_000

Occupied = tuple[Array, Array]


class ShapeNet10Settings(DataSettings):
    """Which of a file's points are used. Validation has NeoMLP's 2,000 signals."""

    validation: float = setting(
        VALIDATION / TRAINING, "share of the training split that is held out of training", ge=0.0, lt=1.0
    )
    points: int | None = setting(
        None, "points of each kind that are used, the first of a file; all of them if empty", ge=1
    )
    extent: float = setting(1.0, "the coordinate in the files that becomes 1, the side of the cube", gt=0.0)
    scored_on: Literal["random", "all"] = setting(
        "random", "points that a signal is scored on: the uniform ones, or those near the surface too", stage="score"
    )


@dataclass(frozen=True)
class FileSignals:
    """Occupancies that are read from a file of each shape when they are asked for."""

    files: tuple[Path, ...]
    rows: Array  # [entries], which of the files
    ids: Array
    labels: Array | None
    settings: ShapeNet10Settings

    def __len__(self) -> int:
        return len(self.rows)

    def observed(self, i: int) -> Sequence[Part]:
        """All points of entry ``i``: the uniform ones, then those near the surface. Raises BadData."""
        return (self._part(i, "all"),)

    def scored(self, i: int) -> Sequence[Part]:
        """The uniform points of entry ``i``, or all of them. Raises BadData."""
        return (self._part(i, self.settings.scored_on),)

    def stacked(self) -> None:
        """None: every signal has points of its own."""
        return

    def take(self, indices: Array) -> FileSignals:
        """The entries at ``indices``, in that order, with their ids."""
        labels = None if self.labels is None else self.labels[indices]
        return replace(self, rows=self.rows[indices], ids=self.ids[indices], labels=labels)

    def unlabelled(self) -> FileSignals:
        """The same entries without labels."""
        return replace(self, labels=None)

    def _part(self, i: int, wanted: Literal["random", "all"]) -> Part:
        settings = self.settings
        uniform, near = read_points(self.files[int(self.rows[i])], settings.points, settings.extent)
        if wanted == "random":
            return occupancy_part(*uniform)
        return occupancy_part(np.concatenate([uniform[0], near[0]]), np.concatenate([uniform[1], near[1]]))


class ShapeNet10:
    """31,000 shapes for training and validation, 4,984 for testing, of ten classes."""

    def __init__(self, settings: ShapeNet10Settings, rest: str = "") -> None:
        if rest:
            raise BadSetting(f"data set 'shapenet10' takes nothing behind a colon; given: {rest!r}")
        self.settings = settings

    @property
    def files(self) -> Sequence[OfficialFile]:
        """A folder of each category; no download of them was found."""
        source = "the layout: samuelepapa/fit-a-nef, dataset/shape_dataset/shapenet.py; no download, size or checksum"
        return [OfficialFile(path=f"{ROOT}/{synset}", source=f"{source} was found") for synset in CATEGORIES]

    def about(self) -> AboutData:
        """Licence, homepage and citation."""
        return AboutData(
            licence="that of ShapeNet: non-commercial research and education alone; registration",
            licence_source="ShapeNet's terms of access, huggingface.co/datasets/ShapeNet/shapenetcore-glb",
            homepage="https://github.com/samuelepapa/fit-a-nef",
            download_bytes=0,
            citation=SHAPENET,
        )

    def spec(self) -> SignalSpec:
        """Points with one occupancy each, ten classes; as many points as are asked for, or an assumed number."""
        return SignalSpec(
            parts=(occupancy_spec(2 * (self.settings.points or ASSUMED_POINTS)),),
            num_classes=len(CATEGORIES),
            class_names=tuple(CATEGORIES.values()),
            sizes={"train": TRAINING, "test": SHAPES - TRAINING},
        )

    def load(self, folder: Path | None) -> Mapping[str, FileSignals]:
        """The splits, of which nothing is read yet but the names; of fewer shapes the same share is for training.

        Raises BadData for a category without shapes.
        """
        if folder is None:
            raise ValueError("data set 'shapenet10' is read from a folder; none was given")
        listed = [(path, label) for label, synset in enumerate(CATEGORIES) for path in _shapes(folder / ROOT, synset)]
        np.random.default_rng(SHUFFLE_SEED).shuffle(listed)
        files = tuple(path for path, _ in listed)
        labels = np.array([label for _, label in listed], dtype=np.int64)
        first_test = round(len(files) * TRAINING / SHAPES)
        rows = np.arange(len(files))
        whole = FileSignals(files, rows, rows, labels, self.settings)
        return {"train": whole.take(rows[:first_test]), "test": whole.take(rows[first_test:])}


def _shapes(root: Path, synset: str) -> list[Path]:
    """The files of a category, in the order of their names."""
    try:
        names = sorted(path.name for path in (root / synset).iterdir() if path.suffix == ".npz")
    except OSError as error:
        raise BadData(f"{root / synset}: cannot be read ({error.strerror or error})") from None
    found = [root / synset / name for name in names if f"{synset}/{name}" not in LEFT_OUT]
    if not found:
        raise BadData(f"{root / synset}: holds no shapes ({CATEGORIES[synset]}); looked for MODEL.npz")
    return found


def read_points(path: Path, count: int | None, extent: float) -> tuple[Occupied, Occupied]:
    """(coords [points, 3] in [-1, 1], float32, occupancies [points]) of the uniform points and of those near by.

    Of each kind the first ``count`` (None: all); coordinates are divided by ``extent``. Raises BadData, naming the
    file, where it is damaged, has fewer points, or holds something else.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            present = {name.removesuffix(".npy") for name in archive.namelist()}
        wanted = [name for pair in ARRAYS for name in pair]
        if missing := [name for name in wanted if name not in present]:
            raise BadData(f"{path}: lacks {', '.join(missing)}; allowed are files with {', '.join(wanted)}")
        with np.load(path, allow_pickle=False) as held:
            arrays = [(held[points], held[occupancy]) for points, occupancy in ARRAYS]
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise BadData(f"{path}: damaged file ({str(error).splitlines()[0] if str(error) else error!r})") from None
    first, second = (
        _checked(f"{path}: {name}", points, occupancy, count, extent)
        for (name, _), (points, occupancy) in zip(ARRAYS, arrays, strict=True)
    )
    return first, second


def _checked(where: str, points: Array, occupancy: Array, count: int | None, extent: float) -> Occupied:
    if points.ndim != 2 or points.shape[1] != 3 or points.dtype.kind != "f":
        raise BadData(
            f"{where} has the shape {points.shape} and holds {points.dtype}; allowed is [points, 3], floating"
        )
    flat = occupancy.reshape(-1)
    if len(flat) != len(points):
        raise BadData(f"{where} has {len(points):,} points and {len(flat):,} occupancies; allowed is one for each")
    if len(points) < (count or 1):
        raise BadData(f"{where} has {len(points):,} points; setting data.points={count or 1} asks for more")
    points, flat = points[:count].astype(np.float32) / np.float32(extent), flat[:count]
    if not np.isfinite(points).all():
        raise BadData(f"{where} has coordinates that are not finite")
    if (largest := float(np.abs(points).max())) > 1.0:
        raise BadData(
            f"{where} reaches {largest * extent:.4g}; allowed are coordinates up to setting data.extent={extent:g}"
        )
    if flat.dtype.kind not in "biuf" or not np.isin(flat, (0, 1)).all():
        raise BadData(f"{where} has other occupancies than 0 and 1")
    return points, flat
