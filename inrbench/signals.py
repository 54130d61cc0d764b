"""Signals: what a fitter may see of one thing to represent, and what it is scored on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal, Protocol, runtime_checkable

import numpy as np

from inrbench.domains import Array, Domain, Grid

if TYPE_CHECKING:
    from inrbench.settings import Augmentation

__all__ = [
    "DrawableSignals",
    "EpisodicSignals",
    "GridSignals",
    "Part",
    "PartSpec",
    "PosedViews",
    "SignalSpec",
    "Signals",
    "WindowedSignals",
    "num_signals",
    "numbered",
    "unit_values",
]


@dataclass(frozen=True)
class PartSpec:
    """What is known of one part of every signal before the data is there."""

    domain: Literal["grid", "points", "rays"]
    shape: tuple[int, ...]  # cells of a grid; (points,); (views, height, width) of what is scored of one entry
    coord_dim: int
    channels: int
    name: str = ""  # "" where a signal has one part; else a modality, as "video"
    span: float = 1.0  # what [0, 1] spans in the data's own units (a distance); 1 for images
    measure: Literal["values", "occupancy"] = "values"  # as in `Part`


@dataclass(frozen=True)
class SignalSpec:
    """What is known of a data set's signals before the data is there: enough to build and to count."""

    parts: tuple[PartSpec, ...]
    num_classes: int | None = None
    class_names: tuple[str, ...] = ()
    sizes: dict[str, int] = field(default_factory=dict)  # signals in each official split

    @property
    def coord_dim(self) -> int:
        """Coordinates of a point; the same for all parts."""
        return self.parts[0].coord_dim

    @property
    def channels(self) -> int:
        """Channels of all parts together."""
        return sum(part.channels for part in self.parts)

    @property
    def domains(self) -> tuple[str, ...]:
        """The kinds of domain that occur, each once."""
        return tuple(dict.fromkeys(part.domain for part in self.parts))


@dataclass(frozen=True)
class Part:
    """Values on a domain: an image has one part; film with sound has two, on other channels of one field."""

    domain: Domain
    values: Array  # as stored (uint8, perhaps memory-mapped), [*domain, channels]
    channels: slice = field(default_factory=lambda: slice(None))
    to_unit: tuple[float, float] = (1.0, 0.0)  # a * value + b lies in [0, 1]
    name: str = ""  # a modality: "video", or "audio", which is scored as sound too
    measure: Literal["values", "occupancy"] = "values"  # occupancy, 0 or 1, is scored by intersection over union too

    def unit_values(self) -> Array:
        """The values in [0, 1], float32, [*domain, channels]."""
        return unit_values(self.values, self.to_unit)


def unit_values(stored: Array, to_unit: tuple[float, float]) -> Array:
    """``stored`` in [0, 1], float32: a * value + b for (a, b) = ``to_unit``."""
    scale, offset = to_unit
    return stored.astype(np.float32) * np.float32(scale) + np.float32(offset)


class Signals(Protocol):
    """One split. An entry is one episode of one signal; a data set may list a signal several times."""

    @property
    def ids(self) -> Array:
        """[episodes] integers: which signal an episode belongs to, stable under subsetting."""
        ...

    @property
    def labels(self) -> Array | None:
        """[episodes] class numbers; None where there are none, and wherever a fitter may look."""
        ...

    def __len__(self) -> int: ...

    def observed(self, i: int) -> Sequence[Part]:
        """All that a fitter sees of entry ``i``."""
        ...

    def scored(self, i: int) -> Sequence[Part]:
        """All that a metric sees of entry ``i``; the same as observed for an image."""
        ...

    def stacked(self) -> tuple[Domain, Array, tuple[float, float]] | None:
        """(domain, values [episodes, *domain, channels], to_unit) if all entries share one domain, else None."""
        ...

    def take(self, indices: Array) -> Signals:
        """The entries at ``indices``, in that order, with their ids."""
        ...

    def unlabelled(self) -> Signals:
        """The same entries without labels: what a fitter gets."""
        ...


@runtime_checkable
class DrawableSignals(Signals, Protocol):
    """Signals with a value at any point, such as distances to a surface: points are drawn, not listed."""

    @property
    def num_points(self) -> int:
        """What a share of a signal's points is taken of; as many as `observed` lists."""
        ...

    def draw(
        self, i: int, sets: int, count: int, rng: np.random.Generator, augmentation: Augmentation | None = None
    ) -> tuple[Array, Array]:
        """``sets`` fresh sets of ``count`` points of one copy of entry ``i``, spread as `observed` lists them.

        Returns (coords [sets, count, coord_dim] in [-1, 1], values [sets, count, channels] in [0, 1]), float32. With
        ``augmentation`` the copy is an augmented one, drawn from ``rng`` too.
        """
        ...


@runtime_checkable
class WindowedSignals(Signals, Protocol):
    """Images that were made from larger ones: training may cut its copies out of these instead."""

    def windows(self, indices: Array, rngs: Callable[[int], np.random.Generator]) -> Array:
        """A fresh window, of the signals' size, of the original of each entry at ``indices``; values as in `stacked`.

        ``rngs`` maps an entry's id to the generator of its draws.
        """
        ...


@runtime_checkable
class EpisodicSignals(Signals, Protocol):
    """Signals whose entries observe all that there is, as those that one trains on; scored, something is held out."""

    def as_episodes(self) -> Signals:
        """The same signals as a test split has them, each with its ids and as often as it has episodes."""
        ...


@runtime_checkable
class PosedViews(Signals, Protocol):
    """Signals that are seen by cameras; `stacked` is None.

    An entry of a training split observes all its views, and a fitter draws support and query views among them. One of
    a test split is an episode: it observes its support views and is scored on others.
    """

    def num_views(self, i: int) -> int:
        """How many views entry ``i`` observes."""
        ...

    def views(self, i: int, chosen: Array) -> Part:
        """The views numbered ``chosen`` [views] of those that entry ``i`` observes, with their rays, in that order."""
        ...


@dataclass(frozen=True)
class GridSignals:
    """Signals that share one grid: ``values`` as stored, [signals, *grid, channels]."""

    values: Array
    labels: Array | None = None
    ids: Array = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    to_unit: tuple[float, float] = (1.0 / 255.0, 0.0)

    def __post_init__(self) -> None:
        """Number the signals where no ids were given; check that the lengths agree."""
        if len(self.ids) == 0 and len(self.values):
            object.__setattr__(self, "ids", np.arange(len(self.values)))
        if len(self.ids) != len(self.values) or (self.labels is not None and len(self.labels) != len(self.values)):
            labels = None if self.labels is None else len(self.labels)
            raise ValueError(f"{len(self.values)} signals with {len(self.ids)} ids and {labels} labels")

    def __len__(self) -> int:
        return len(self.values)

    @property
    def domain(self) -> Grid:
        """The grid that all signals share."""
        return Grid.of(*self.values.shape[1:-1])

    def observed(self, i: int) -> Sequence[Part]:
        """The whole of signal ``i``."""
        return (Part(self.domain, self.values[i], to_unit=self.to_unit),)

    scored = observed

    def stacked(self) -> tuple[Domain, Array, tuple[float, float]]:
        """(grid, values [signals, *grid, channels] as stored, to_unit)."""
        return self.domain, self.values, self.to_unit

    def take(self, indices: Array) -> GridSignals:
        """The signals at ``indices``, in that order, with their ids."""
        labels = None if self.labels is None else self.labels[indices]
        return replace(self, values=self.values[indices], labels=labels, ids=self.ids[indices])

    def unlabelled(self) -> GridSignals:
        """The same signals without labels."""
        return replace(self, labels=None)


def num_signals(signals: Signals) -> int:
    """How many signals the entries of ``signals`` are episodes of."""
    return len(np.unique(signals.ids))


def numbered(splits: Mapping[str, GridSignals]) -> dict[str, GridSignals]:
    """The same splits with ids that run on from one to the next, so that no two signals share one."""
    first, result = 0, {}
    for name, signals in splits.items():
        result[name] = replace(signals, ids=np.arange(first, first + len(signals)))
        first += len(signals)
    return result
