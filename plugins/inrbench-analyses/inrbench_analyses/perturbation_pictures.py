"""The pictures of the perturbation: figures 4, 12 and 13 of Spatial Functa, and the effects in order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np

from inrbench.domains import Array, Grid
from inrbench_analyses.figures import has_pictures, image_rows, png_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["pictures_of"]

RANKS = ("largest", "median", "least")


class _Curve(Protocol):
    @property
    def deltas(self) -> Array: ...

    @property
    def rmse(self) -> Array: ...

    @property
    def unit(self) -> str: ...


def pictures_of(
    word: str,
    effects: Array,
    base: Array,
    images: Sequence[tuple[int, Array, Array]],
    measured: _Curve,
    cells: tuple[int, ...],
) -> dict[str, bytes]:
    """The pictures by name.

    ``effects`` are in descending order; ``base`` [signals, *grid, channels] are the reconstructions; ``images`` holds
    (index, values moved down, values moved up) for the largest, the median and the least effect.
    """
    found: dict[str, bytes] = {}
    if has_pictures(Grid.of(*base.shape[1:-1]), base.shape[-1]):
        found["moved"] = _moved(word, base, images, cells[0] if len(set(cells)) == 1 else None)
    if len(measured.deltas):
        found["rmse"] = _rmse(measured)
    return found | {"effects": _effects(word, effects)}


def _moved(word: str, base: Array, images: Sequence[tuple[int, Array, Array]], cells: int | None) -> bytes:
    """Rows: reconstructions, then for each of the three the move down, up, and the change by the latter, amplified."""
    largest = max(float(np.abs(up - base).max()) for _, _, up in images)
    times = 1.0 / largest if largest > 0.0 else 1.0
    rows = [("as it is", list(base))]
    for rank, (index, down, up) in zip(RANKS, images, strict=True):
        name = f"{rank} effect\n{word} {index}"
        rows += [(f"{name}, down", list(down)), (f"{name}, up", list(up))]
        rows += [(f"|change| x {times:.3g}", list(np.abs(up - base) * times))]
    return image_rows(rows, cells)


def _rmse(measured: _Curve) -> bytes:
    """Figure 13: a line for each channel."""

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        middle = int(np.searchsorted(measured.deltas, 0.0))
        deltas = np.insert(measured.deltas, middle, 0.0)
        for values in measured.rmse.mean(axis=-1):
            axes.plot(deltas, np.insert(values, middle, 0.0), linewidth=0.8, marker=".", markersize=3)
        axes.set_xlabel(f"move of one channel in every cell{measured.unit and ', '}{measured.unit}")
        axes.set_ylabel("RMSE")
        axes.grid(alpha=0.3)

    return png_of(draw, (6.0, 4.0))


def _effects(word: str, effects: Array) -> bytes:
    """The effect of each dimension or channel, the largest first."""

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        axes.plot(np.arange(1, len(effects) + 1), effects, marker=".", markersize=3)
        axes.set_ylim(bottom=0.0)
        axes.set_xlabel(f"{word}s, by effect")
        axes.set_ylabel("mean absolute change")
        axes.grid(alpha=0.3)

    return png_of(draw, (6.0, 4.0))
