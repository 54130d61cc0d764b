"""solids: ten categories of solids whose occupancy is known in closed form, embedded and made when asked for.

The points of a signal are those of fit-a-nef's files: some uniform in the cube [-1, 1]³, some near the surface. It is
scored on uniform points of its own. Solids are drawn by number alone: other sizes of the splits leave each as it is.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from inrbench import draws
from inrbench.data import AboutData, OfficialFile
from inrbench.domains import Array
from inrbench.errors import BadSetting, Refused
from inrbench.settings import setting
from inrbench.signals import Part, SignalSpec
from inrbench_shapes.categories import CATEGORIES, Pose, Solid, drawn_solid
from inrbench_shapes.citations import SOLIDS
from inrbench_shapes.points import OccupancySettings, moved, occupancy_part, occupancy_spec, uniform

if TYPE_CHECKING:
    from inrbench.settings import Augmentation

__all__ = ["SolidSignals", "Solids", "SolidsSettings"]

#: Solids and fixed points are the same for every cell: their seed is never the cell's.
SEED = 20260715
#: Test solids are numbered from here on: more training solids never become test solids.
FIRST_TEST = 1_000_000
CLASSES = tuple(CATEGORIES)
#: Points at which the checksum looks at a solid.
CHECKED_POINTS = 1024

_fixed = partial(draws.generator, SEED)


class SolidsSettings(OccupancySettings):
    """How many solids there are, how they stand, and where they are looked at."""

    train_solids: int = setting(2_000, "training solids that there are", ge=1, le=FIRST_TEST)
    test_solids: int = setting(500, "test solids that there are", ge=1)
    pose: Pose = setting("upright", "how solids are turned: about the vertical axis alone, or in any way")


@dataclass(frozen=True)
class SolidSignals:
    """Occupancies of the solids numbered ``ids``, which take turns in their classes."""

    settings: SolidsSettings
    ids: Array
    labels: Array | None

    def __len__(self) -> int:
        return len(self.ids)

    def solid(self, i: int) -> Solid:
        """What entry ``i`` is the occupancy of."""
        number = int(self.ids[i])
        return drawn_solid(CLASSES[number % len(CLASSES)], self.settings.pose, _fixed("solid", number))

    @property
    def num_points(self) -> int:
        """Points that each signal lists: a share of its points is one of these."""
        return self.settings.random_points + self.settings.near_points

    def observed(self, i: int) -> Sequence[Part]:
        """The same points of entry ``i`` each time: the uniform ones, then those near its surface."""
        solid, settings, number = self.solid(i), self.settings, int(self.ids[i])
        near_rng = _fixed("near", number)
        near = moved(solid.surface(settings.near_points, near_rng), settings.near_deviation, near_rng)
        coords = np.concatenate([uniform(_fixed("random", number), settings.random_points), near])
        return (occupancy_part(coords, solid.contains(coords)),)

    def scored(self, i: int) -> Sequence[Part]:
        """The same uniform points of entry ``i`` each time, others than the observed ones."""
        coords = uniform(_fixed("scored", int(self.ids[i])), self.settings.scored_points)
        return (occupancy_part(coords, self.solid(i).contains(coords)),)

    def draw(
        self, i: int, sets: int, count: int, rng: np.random.Generator, augmentation: Augmentation | None = None
    ) -> tuple[Array, Array]:
        """Coords [sets, count, 3] and occupancies [sets, count, 1] of one copy of entry ``i``, float32.

        Each point is near the surface with the share that such points have of those that `observed` lists, else
        uniform. The copy is scaled by U(1 - scale, 1 + scale) about the origin. Raises Refused for jitter.
        """
        solid, settings, total = self.solid(i), self.settings, sets * count
        if augmentation is not None and augmentation.scale > 0.0:
            factor = rng.uniform(1.0 - augmentation.scale, 1.0 + augmentation.scale)
            x, y, z = (factor * one for one in solid.shift)
            solid = replace(solid, scale=factor * solid.scale, shift=(x, y, z))
        if augmentation is not None and augmentation.jitter > 0.0:
            raise Refused(
                f"data set 'solids' has no surface points to be moved by an augmentation's jitter="
                f"{augmentation.jitter}; allowed is 0"
            )
        near = rng.random(total) * self.num_points < settings.near_points
        coords = uniform(rng, total)
        coords[near] = moved(solid.surface(int(near.sum()), rng), settings.near_deviation, rng)
        values = solid.contains(coords).astype(np.float32)
        return coords.reshape(sets, count, 3), values.reshape(sets, count, 1)

    def stacked(self) -> None:
        """None: every signal has points of its own."""
        return

    def take(self, indices: Array) -> SolidSignals:
        """The entries at ``indices``, in that order, with their ids."""
        labels = None if self.labels is None else self.labels[indices]
        return replace(self, ids=self.ids[indices], labels=labels)

    def unlabelled(self) -> SolidSignals:
        """The same entries without labels."""
        return replace(self, labels=None)


class Solids:
    """Training and test solids of ten classes as occupancies, embedded: nothing is downloaded."""

    def __init__(self, settings: SolidsSettings, rest: str = "") -> None:
        if rest:
            raise BadSetting(f"data set 'solids' takes nothing behind a colon; given: {rest!r}")
        self.settings = settings

    @property
    def files(self) -> Sequence[OfficialFile]:
        """None: the solids are made."""
        return ()

    def about(self) -> AboutData:
        """Licence, homepage and citation."""
        return AboutData(
            licence="Apache-2.0",
            licence_source="this package, which makes the solids",
            homepage="",  # none of its own
            download_bytes=0,
            citation=SOLIDS,
        )

    def spec(self) -> SignalSpec:
        """Points with one occupancy each, ten classes."""
        settings = self.settings
        return SignalSpec(
            parts=(occupancy_spec(settings.random_points + settings.near_points),),
            num_classes=len(CLASSES),
            class_names=CLASSES,
            sizes={"train": settings.train_solids, "test": settings.test_solids},
        )

    def made_of(self) -> str:
        """The checksum of all solids, and of where the first of each category is."""
        splits, whole = self.load(None), hashlib.sha256()
        for signals in splits.values():
            for i in range(len(signals)):
                whole.update(f"{signals.ids[i]} {signals.solid(i)!r}\n".encode())
        coords = uniform(_fixed("checksum"), CHECKED_POINTS)
        for i in range(min(len(CLASSES), len(splits["train"]))):
            whole.update(np.packbits(splits["train"].solid(i).contains(coords)).tobytes())
        return whole.hexdigest()

    def load(self, folder: Path | None) -> Mapping[str, SolidSignals]:
        """The splits; no solid is made yet."""
        train = self._signals(np.arange(self.settings.train_solids))
        return {"train": train, "test": self._signals(FIRST_TEST + np.arange(self.settings.test_solids))}

    def _signals(self, ids: Array) -> SolidSignals:
        return SolidSignals(self.settings, ids, ids % len(CLASSES))
