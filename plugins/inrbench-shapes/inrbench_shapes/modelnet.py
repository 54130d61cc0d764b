"""ModelNet40 (Wu et al., 2015, arXiv:1406.5670): 12,311 CAD models of 40 classes, from ``ModelNet40.zip``.

The signals are those of MWT (Gielisse and van Gemert, 2025, arXiv:2503.18123): points are drawn uniformly from each
surface, centred, and divided by the largest absolute value; a signal is the distance to the nearest of them. Centred
means here: their mean is moved to the origin.

The archive is read as it lies, without unpacking; an unpacked folder ``ModelNet40`` is read where there is no archive,
but since only the archive's checksum is published such a folder is never official. The surface points are drawn once
and kept in the user's cache as arrays that later runs map into memory.

This reader is tested on generated archives of the same layout, not on the official one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path

import numpy as np

from inrbench import draws
from inrbench.data import AboutData, OfficialFile, cache_root, digests, sha256
from inrbench.domains import Array
from inrbench.errors import BadData, BadSetting
from inrbench.progress import Progress, Task
from inrbench.settings import DataSettings, setting
from inrbench.signals import PartSpec, Signals, SignalSpec
from inrbench_shapes.citations import MODELNET
from inrbench_shapes.clouds import Clouds
from inrbench_shapes.distances import OBSERVED_POINTS, SEED, SPAN, DistanceSignals, Surfaces
from inrbench_shapes.meshes import SPLITS, Meshes, class_of
from inrbench_shapes.surfaces import drawn_from, normalised

__all__ = ["ModelNet40", "ModelNet40Settings"]

CLASSES = (
    *("airplane", "bathtub", "bed", "bench", "bookshelf", "bottle", "bowl", "car", "chair", "cone"),
    *("cup", "curtain", "desk", "door", "dresser", "flower_pot", "glass_box", "guitar", "keyboard", "lamp"),
    *("laptop", "mantel", "monitor", "night_stand", "person", "piano", "plant", "radio", "range_hood", "sink"),
    *("sofa", "stairs", "stool", "table", "tent", "toilet", "tv_stand", "vase", "wardrobe", "xbox"),
)
#: Of what is kept in the cache; another number where the same files give other points.
RECIPE = 1


class ModelNet40Settings(DataSettings):
    """How finely a surface is sampled, and where it is scored."""

    surface_points: int = setting(32_768, "points drawn from each surface; distances are to the nearest", ge=1)
    scored_points: int = setting(4_096, "uniform points that a signal is scored on", stage="score", ge=1)


class ModelNet40:
    """9,843 training and 2,468 test shapes of 40 classes, as distances on [-1, 1]³ in units of its diagonal."""

    archive = OfficialFile(
        path="ModelNet40.zip",
        # an MD5 stands in one repository alone (arthurdjn/pytorch-pointcloud) and is left out
        source="url, size and sha256: tensorflow/graphics, tensorflow_graphics/datasets/modelnet40/checksums/"
        "model_net40.txt; the same sha256: InterDigitalInc/CompressAI, compressai/datasets/pointcloud/modelnet.py, and "
        "FluxML/Flux3D.jl, src/datasets/modelnet/base.jl; https: mikedh/trimesh, pull request 753",
        urls=("https://modelnet.cs.princeton.edu/ModelNet40.zip", "http://modelnet.cs.princeton.edu/ModelNet40.zip"),
        checksums=(sha256("42dc3e656932e387f554e25a4eb2cc0e1a1bd3ab54606e2a9eae444c60e536ac"),),
        size_bytes=2_039_180_837,
        alternatives=("ModelNet40",),
    )

    def __init__(self, settings: ModelNet40Settings, rest: str = "") -> None:
        if rest:
            raise BadSetting(f"data set 'modelnet40' takes nothing behind a colon; given: {rest!r}")
        self.settings = settings

    @property
    def files(self) -> Sequence[OfficialFile]:
        """The archive."""
        return (self.archive,)

    def about(self) -> AboutData:
        """Terms of use, homepage and citation."""
        return AboutData(
            licence="for academic research only; the models' authors hold the copyright",
            licence_source="modelnet.cs.princeton.edu, as quoted on huggingface.co/datasets/MichielBontenbal/"
            "ModelNet10_small",
            homepage="https://modelnet.cs.princeton.edu",
            download_bytes=self.archive.size_bytes or 0,
            citation=MODELNET,
        )

    def spec(self) -> SignalSpec:
        """Points of the cube with one distance each, forty classes."""
        return SignalSpec(
            parts=(PartSpec("points", (OBSERVED_POINTS,), 3, 1, span=SPAN),),
            num_classes=len(CLASSES),
            class_names=CLASSES,
            sizes={"train": 9843, "test": 2468},
        )

    def load(self, folder: Path | None) -> Mapping[str, Signals]:
        """The official splits. Raises BadData for meshes that are damaged, missing or of no class."""
        if folder is None:
            raise ValueError("data set 'modelnet40' is read from a folder; none was given")
        source = self.archive.locate(folder)
        if source is None:
            raise BadData(f"modelnet40: {self.archive.path} missing in {folder}")
        clouds = Clouds(self._place(source), self.settings.surface_points)
        splits = clouds.read(SPLITS)
        if splits is None:
            self._draw(source, clouds)
            splits = clouds.read(SPLITS)
        if splits is None:
            raise BadData(f"modelnet40: what was drawn from {source} cannot be read back from {clouds.place}")
        return self._numbered(splits)

    def _place(self, source: Path) -> Path:
        # another version of NumPy may draw other numbers, one of trimesh cut polygons up differently
        versions = (RECIPE, np.__version__, version("trimesh"))
        parts = (digests(source).content["sha256"], self.settings.surface_points, *versions)
        key = hashlib.sha256("|".join(map(str, parts)).encode()).hexdigest()[:24]
        return cache_root() / "shapes" / f"modelnet40-{key}"

    def _draw(self, source: Path, clouds: Clouds) -> None:
        """Draw the points of every mesh, in the order of the names, whatever the archive's order is."""
        with Meshes(source, CLASSES) as meshes:
            total = sum(len(names) for names in meshes.names.values())
            with Progress().task("drawing surface points", total) as task:
                clouds.write(
                    {
                        split: (_labels(names), self._clouds(meshes, names, task))
                        for split, names in meshes.names.items()
                    }
                )

    def _clouds(self, meshes: Meshes, names: Sequence[str], task: Task) -> Iterator[Array]:
        for name in names:
            vertices, triangles = meshes.read(name)
            rng = draws.generator(SEED, "surface", name)
            try:
                cloud = normalised(drawn_from(vertices, triangles, self.settings.surface_points, rng))
            except ValueError as error:
                raise BadData(f"{meshes.source}: {name}: {error}") from None
            yield cloud
            task.advance()

    def _numbered(self, splits: Mapping[str, tuple[Array, Array]]) -> dict[str, Signals]:
        first = 0
        result: dict[str, Signals] = {}
        for split, (clouds, labels) in splits.items():
            rows = np.arange(len(labels))
            result[split] = DistanceSignals(Surfaces(clouds), rows, first + rows, labels, self.settings.scored_points)
            first += len(labels)
        return result


def _labels(names: Sequence[str]) -> Array:
    return np.array([CLASSES.index(class_of(name)) for name in names], dtype=np.int64)
