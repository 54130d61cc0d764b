"""Signals that are seen by cameras: posed images, their rays, and episodes of support and query views.

A camera is that of NeRF's transforms files (Mildenhall et al., 2020, arXiv 2003.08934), which is OpenGL's: x to the
right, y up, looking along -z. Its pose is the matrix from camera to world. A pixel's ray goes through its centre.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, Protocol

import numpy as np

from inrbench import draws
from inrbench.domains import Array, Rays
from inrbench.errors import BadData
from inrbench.settings import DataSettings, setting
from inrbench.signals import Part, PartSpec

__all__ = [
    "Cameras",
    "Directions",
    "DrawnEpisodes",
    "EpisodeSettings",
    "Episodes",
    "FixedEpisode",
    "PosedImages",
    "ViewSettings",
    "ViewSignals",
    "focal_of",
    "rays_of",
    "view_spec",
]

TO_UNIT = (1.0 / 255.0, 0.0)
#: Episodes are the same for every cell: their seed is never the cell's.
SEED = 20220804

Directions = Literal["camera", "unit"]


class ViewSettings(DataSettings):
    """How views become rays."""

    directions: Directions = setting(
        "camera", "ray directions: of z = -1 before a camera is turned, so that near and far are depths; or unit length"
    )


class EpisodeSettings(ViewSettings):
    """What a test object is seen by, and what it is scored on."""

    support_views: int = setting(1, "views of a test object that an episode observes", ge=1, stage="fit")
    query_views: int = setting(1, "other views that it is scored on, the same whatever it observes", ge=1, stage="fit")
    episodes: int = setting(1, "draws of support and query views for each test object", ge=1, stage="fit")


class PosedImages(Protocol):
    """The posed images of objects, each object of one camera; what is asked for may be read or rendered then."""

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of every image."""
        ...

    def num_views(self, row: int) -> int:
        """How many views there are of object ``row``."""
        ...

    def images(self, row: int, views: Array) -> Array:
        """[views, height, width, 3], uint8."""
        ...

    def poses(self, row: int, views: Array) -> Array:
        """[views, 4, 4], from camera to world."""
        ...

    def focal(self, row: int) -> float:
        """The focal length in pixels."""
        ...


@dataclass(frozen=True)
class Cameras:
    """What all rays of a data set share: between which depths a scene lies, in front of what, and how they are told."""

    near: float
    far: float
    background: float = 1.0
    directions: Directions = "camera"


class Episodes(Protocol):
    """How the views of a signal are parted."""

    @property
    def count(self) -> int:
        """Episodes of each signal."""
        ...

    def views(self, number: int, episode: int, num_views: int) -> tuple[Array, Array]:
        """(support, query) views of an ``episode`` of signal ``number``, which has ``num_views`` in all."""
        ...


@dataclass(frozen=True)
class DrawnEpisodes:
    """Episodes that are drawn by (signal, episode) alone, so that they are the same for every cell.

    An episode's query views are the same whatever it observes, and fewer support views are the first of more: rows
    that differ in these are scored on equal images.
    """

    count: int = 1
    support_views: int = 1
    query_views: int = 1
    seed: int = SEED

    @classmethod
    def of(cls, settings: EpisodeSettings) -> DrawnEpisodes:
        """As ``settings`` say."""
        return cls(settings.episodes, settings.support_views, settings.query_views)

    @property
    def needed(self) -> int:
        """Views that a signal must have."""
        return self.support_views + self.query_views

    def views(self, number: int, episode: int, num_views: int) -> tuple[Array, Array]:
        """Views without repetition. Raises BadData where there are not as many."""
        if num_views < self.needed:
            raise BadData(
                f"signal {number} has {num_views} views, and an episode needs {self.support_views} to observe and "
                f"{self.query_views} to be scored on: data.support_views + data.query_views may be up to {num_views}"
            )
        order = draws.generator(self.seed, "episode", number, episode).permutation(num_views)
        return order[self.query_views : self.needed], order[: self.query_views]


@dataclass(frozen=True)
class FixedEpisode:
    """One episode: the views ``held_out`` are scored, all others observed."""

    held_out: Sequence[int]

    @property
    def count(self) -> int:
        """One."""
        return 1

    def views(self, number: int, episode: int, num_views: int) -> tuple[Array, Array]:
        """Both in ascending order."""
        query = np.asarray(self.held_out, dtype=np.int64)
        return np.setdiff1d(np.arange(num_views), query), query


@dataclass(frozen=True)
class ViewSignals:
    """Posed images of objects; implements `inrbench.signals.PosedViews`, and `EpisodicSignals`.

    Without ``numbers`` an entry observes, and is scored on, all its views; with them it is the episode of that number.
    """

    objects: PosedImages  # shared by all subsets
    rows: Array  # [entries] which of the objects
    ids: Array
    labels: Array | None
    cameras: Cameras
    parted: Episodes
    numbers: Array | None = None  # [entries] which episode of the object

    def __len__(self) -> int:
        return len(self.rows)

    def num_views(self, i: int) -> int:
        """How many views entry ``i`` observes."""
        return len(self._chosen(i)[0])

    def views(self, i: int, chosen: Array) -> Part:
        """The views ``chosen`` of those that entry ``i`` observes."""
        return self._part(i, self._chosen(i)[0][np.asarray(chosen)])

    def observed(self, i: int) -> Sequence[Part]:
        """All views, or the support views of the episode."""
        return (self._part(i, self._chosen(i)[0]),)

    def scored(self, i: int) -> Sequence[Part]:
        """All views, or the query views of the episode."""
        return (self._part(i, self._chosen(i)[1]),)

    def finer(self, i: int, times: int) -> Rays:
        """The rays of what entry ``i`` is scored on, of the same cameras with ``times`` the pixels along a side."""
        return self._rays(i, self._chosen(i)[1], times)

    def stacked(self) -> None:
        """None: every view has rays of its own."""
        return

    def as_episodes(self) -> ViewSignals:
        """Each signal as often as it has episodes, one behind the other; episodes themselves stay as they are."""
        if self.numbers is not None:
            return self
        count = self.parted.count
        index = np.repeat(np.arange(len(self)), count)
        return replace(self.take(index), numbers=np.tile(np.arange(count), len(self)))

    def take(self, indices: Array) -> ViewSignals:
        """The entries at ``indices``, in that order, with their ids."""
        labels = None if self.labels is None else self.labels[indices]
        numbers = None if self.numbers is None else self.numbers[indices]
        return replace(self, rows=self.rows[indices], ids=self.ids[indices], labels=labels, numbers=numbers)

    def unlabelled(self) -> ViewSignals:
        """The same entries without labels."""
        return replace(self, labels=None)

    def _chosen(self, i: int) -> tuple[Array, Array]:
        """(observed, scored) views of entry ``i``, numbered as its object has them."""
        num_views = self.objects.num_views(int(self.rows[i]))
        if self.numbers is None:
            every = np.arange(num_views)
            return every, every
        return self.parted.views(int(self.ids[i]), int(self.numbers[i]), num_views)

    def _part(self, i: int, views: Array) -> Part:
        return Part(self._rays(i, views), self.objects.images(int(self.rows[i]), views), to_unit=TO_UNIT)

    def _rays(self, i: int, views: Array, times: int = 1) -> Rays:
        row, (height, width) = int(self.rows[i]), self.objects.size
        poses = self.objects.poses(row, views)
        return rays_of(poses, self.objects.focal(row) * times, (height * times, width * times), self.cameras)


def view_spec(size: tuple[int, int], scored_views: int) -> PartSpec:
    """The part of a signal of colour images of ``size`` (height, width), of which an entry is scored on so many."""
    return PartSpec("rays", (scored_views, *size), 3, 3)


def focal_of(angle: float, width: int) -> float:
    """The focal length in pixels of a camera whose ``width`` pixels span the horizontal ``angle``, in radians."""
    return 0.5 * width / math.tan(0.5 * angle)


def rays_of(poses: Array, focal: float, size: tuple[int, int], cameras: Cameras) -> Rays:
    """The rays through the pixel centres of pinhole cameras with ``poses`` [views, 4, 4] and a focal length in pixels.

    The principal point is the image's centre. Origins and directions are [views, height, width, 3], float32.
    """
    height, width = size
    x = (np.arange(width) + 0.5 - 0.5 * width) / focal
    y = (0.5 * height - np.arange(height) - 0.5) / focal
    right, up, back, centre = (np.asarray(poses, dtype=np.float64)[:, None, None, :3, k] for k in range(4))
    directions = x[:, None] * right + (y[:, None, None] * up - back)  # exact products and sums: no library's own order
    if cameras.directions == "unit":
        directions /= np.sqrt(x**2 + y[:, None] ** 2 + 1.0)[..., None]
    origins = np.broadcast_to(centre, directions.shape)
    near, far, background = cameras.near, cameras.far, cameras.background
    return Rays(origins.astype(np.float32), directions.astype(np.float32), near, far, background)
