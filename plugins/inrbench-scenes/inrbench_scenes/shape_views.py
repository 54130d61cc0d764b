"""shape-views: pieces of furniture made of coloured solids, each seen by cameras around it, rendered when asked for.

A pixel is the colour of what the ray through its centre meets first, in front of white: with the cameras given, a field
can be exact. Pieces and cameras are drawn by number alone, so that other sizes of the splits leave each as it is.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from functools import lru_cache
from math import prod
from pathlib import Path
from typing import Any, Literal

import numpy as np

from inrbench import draws
from inrbench.data import AboutData, OfficialFile
from inrbench.domains import Array
from inrbench.errors import BadSetting
from inrbench.settings import setting
from inrbench.signals import Signals, SignalSpec
from inrbench.views import Cameras, DrawnEpisodes, EpisodeSettings, ViewSignals, focal_of, rays_of, view_spec
from inrbench_scenes.citations import CITATIONS
from inrbench_scenes.furniture import KINDS, piece
from inrbench_scenes.solids import Solid, cast

__all__ = ["RenderedPieces", "ShapeViews", "ShapeViewsSettings"]

SEED = 20260601
#: Test pieces are numbered from here on: more training pieces never become test pieces.
FIRST_TEST = 1_000_000
#: Cameras stand so far away from the centre of a piece, which is within the unit sphere.
DISTANCE = 4.0
NEAR, FAR, BACKGROUND = DISTANCE - 1.0, DISTANCE + 1.0, 1.0
#: A camera's horizontal angle in radians: the unit sphere fills nine tenths of the image.
ANGLE = 0.54
#: How near to the pole a camera may stand, as a height on the unit sphere: there "up" has no meaning.
HIGHEST = 0.98
#: Rendered images that are kept in memory, in bytes.
KEPT_BYTES = 1 << 30

EVERY = slice(None)

Category = Literal["chairs", "tables", "lamps", "all"]


class ShapeViewsSettings(EpisodeSettings):
    """How many pieces there are, of what, and how they are seen."""

    category: Category = setting("chairs", "what the pieces are; all: one third each, with three classes")
    size: int = setting(32, "height and width of a view in pixels", ge=1)
    views: int = setting(25, "views of each piece", ge=1)
    train_objects: int = setting(1_000, "training pieces that there are", ge=1, le=FIRST_TEST)
    test_objects: int = setting(100, "test pieces that there are", ge=1)
    around: Literal["hemisphere", "sphere"] = setting("hemisphere", "where cameras stand: above a piece, or all around")


class RenderedPieces:
    """Pieces that are rendered when they are asked for; implements `inrbench.views.PosedImages`. Row i is a number."""

    def __init__(self, settings: ShapeViewsSettings) -> None:
        self.settings = settings
        self.size = settings.size, settings.size
        kept = max(1, KEPT_BYTES // (settings.views * prod(self.size) * 3))
        self._poses = lru_cache(maxsize=None)(self._placed)
        self._images = lru_cache(maxsize=kept)(self._rendered)

    def __reduce__(self) -> tuple[Any, ...]:
        return RenderedPieces, (self.settings,)  # another process renders for itself

    def num_views(self, row: int) -> int:
        """The same of each."""
        return self.settings.views

    def images(self, row: int, views: Array | slice) -> Array:
        """[views, size, size, 3], uint8."""
        return self._images(row)[views]

    def poses(self, row: int, views: Array | slice) -> Array:
        """[views, 4, 4]: cameras that look at the centre, with z up."""
        return self._poses(row)[views]

    def focal(self, row: int) -> float:
        """The same of each."""
        return focal_of(ANGLE, self.size[1])

    def solids(self, row: int) -> list[Solid]:
        """What piece ``row`` is made of."""
        return piece(self.kind(row), draws.generator(SEED, "piece", self.settings.category, row))

    def kind(self, row: int) -> str:
        """What piece ``row`` is: of all kinds they take turns."""
        kinds = [*KINDS]
        return kinds[row % len(kinds)] if self.settings.category == "all" else self.settings.category.removesuffix("s")

    def _placed(self, row: int) -> Array:
        rng = draws.generator(SEED, "cameras", row)
        turn = rng.uniform(0.0, 2.0 * np.pi, size=self.settings.views)
        height = rng.uniform(-HIGHEST if self.settings.around == "sphere" else 0.0, HIGHEST, size=self.settings.views)
        flat = np.sqrt(1.0 - height**2)
        back = np.stack([flat * np.cos(turn), flat * np.sin(turn), height], axis=-1)
        right = np.stack([-np.sin(turn), np.cos(turn), np.zeros_like(turn)], axis=-1)
        found = np.tile(np.eye(4), (self.settings.views, 1, 1))
        found[:, :3, :] = np.stack([right, np.cross(back, right), back, DISTANCE * back], axis=-1)
        return found

    def _rendered(self, row: int) -> Array:
        rays = rays_of(self._poses(row), self.focal(row), self.size, Cameras(NEAR, FAR, BACKGROUND))
        colours, _ = cast(self.solids(row), rays.origins.reshape(-1, 3), rays.directions.reshape(-1, 3), BACKGROUND)
        images = np.round(255.0 * colours).astype(np.uint8).reshape(*rays.shape, 3)
        images.setflags(write=False)  # it is kept
        return images


class ShapeViews:
    """Training and test pieces, [views, size, size, 3] each, embedded: nothing is downloaded."""

    def __init__(self, settings: ShapeViewsSettings, rest: str = "") -> None:
        if rest:
            raise BadSetting(f"data set 'shape-views' takes nothing behind a colon; given: {rest!r}")
        parted = DrawnEpisodes.of(settings)
        if parted.needed > settings.views:
            raise BadSetting(
                f"setting data.views={settings.views}: an episode needs {settings.support_views} to observe and "
                f"{settings.query_views} to be scored on (data.support_views, data.query_views)"
            )
        self.settings, self.parted = settings, parted

    @property
    def files(self) -> Sequence[OfficialFile]:
        """None: the pieces are made."""
        return ()

    def about(self) -> AboutData:
        """Licence, homepage and citation."""
        return AboutData(
            licence="Apache-2.0",
            licence_source="this package, which makes the images",
            homepage="",  # none of its own
            download_bytes=0,
            citation=CITATIONS["shape-views"],
        )

    def spec(self) -> SignalSpec:
        """Views of three channels; three classes where pieces of all kinds are asked for."""
        settings, classes = self.settings, tuple(KINDS) if self.settings.category == "all" else ()
        return SignalSpec(
            parts=(view_spec((settings.size, settings.size), settings.query_views),),
            num_classes=len(classes) or None,
            class_names=classes,
            sizes={"train": settings.train_objects, "test": settings.test_objects},
        )

    def made_of(self) -> str:
        """The checksum of all solids and cameras, and of what is seen of the first piece."""
        pieces, whole = RenderedPieces(self.settings), hashlib.sha256()
        for row in (*range(self.settings.train_objects), *range(FIRST_TEST, FIRST_TEST + self.settings.test_objects)):
            whole.update(f"{row} {pieces.solids(row)!r}\n".encode())
            whole.update(pieces.poses(row, EVERY).astype("<f8").tobytes())
        whole.update(f"{self.settings.size} {NEAR} {FAR} {BACKGROUND} {self.settings.directions}".encode())
        whole.update(np.ascontiguousarray(pieces.images(0, EVERY)).tobytes())
        return whole.hexdigest()

    def load(self, folder: Path | None) -> Mapping[str, Signals]:
        """The splits; nothing is rendered yet."""
        pieces = RenderedPieces(self.settings)
        train = np.arange(self.settings.train_objects)
        test = FIRST_TEST + np.arange(self.settings.test_objects)
        return {
            "train": self._signals(pieces, train),
            "test": self._signals(pieces, test).as_episodes(),
        }

    def _signals(self, pieces: RenderedPieces, rows: Array) -> ViewSignals:
        labels = None
        if self.settings.category == "all":
            labels = np.array([[*KINDS].index(pieces.kind(row)) for row in rows.tolist()], dtype=np.int64)
        cameras = Cameras(NEAR, FAR, BACKGROUND, self.settings.directions)
        return ViewSignals(pieces, rows, rows, labels, cameras, self.parted)
