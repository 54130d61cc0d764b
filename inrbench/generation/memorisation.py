"""Memorisation: how many distinct training images are the nearest ones of samples (Bauer et al., 2023, Table 7)."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from inrbench.domains import Array

__all__ = ["distinct", "expected_distinct", "nearest"]

#: Rows that are compared with a chunk of images at once.
ROWS = 512


def nearest(rows: Array, images: Iterable[tuple[Array, Array]], classes: Array | None = None) -> tuple[Array, Array]:
    """For each row the place of the nearest image by L2, and the root of the mean squared difference.

    ``rows`` are [rows, values]. ``images`` come in chunks, each with the images' classes, [images, values] and
    [images]; places count on from chunk to chunk. With ``classes`` [rows] images of a row's own class alone count;
    where there is none of it the place is -1.
    """
    best = np.full(len(rows), np.inf)  # squared, as found
    exact = np.full(len(rows), np.inf)  # squared and without the cancellation of a product
    place = np.full(len(rows), -1)
    start = 0
    for values, labels in images:
        chunk = values.astype(np.float32)
        norms = np.square(chunk).sum(axis=1, dtype=np.float64)
        for first in range(0, len(rows), ROWS):
            part = slice(first, first + ROWS)
            own = rows[part].astype(np.float32)
            squares = norms - 2.0 * (own @ chunk.T) + np.square(own).sum(axis=1, dtype=np.float64)[:, None]
            if classes is not None:
                squares = np.where(labels[None, :] == classes[part][:, None], squares, np.inf)
            found = squares.argmin(axis=1)
            least = squares[np.arange(len(own)), found]
            better = least < best[part]
            best[part] = np.where(better, least, best[part])
            place[part] = np.where(better, start + found, place[part])
            away = np.square(own[better] - chunk[found[better]]).mean(axis=1, dtype=np.float64)
            exact[first + np.flatnonzero(better)] = away
        start += len(chunk)
    return place, np.sqrt(exact)


def distinct(places: Array) -> int:
    """Different images among ``places``; -1 is none."""
    return len(np.unique(places[places >= 0]))


def expected_distinct(images: int, draws: int) -> tuple[float, float]:
    """Mean and standard deviation of the number of distinct ones among ``draws`` of ``images``, with replacement.

    N (1 - (1 - 1/N)ⁿ); variance N (N - 1) (1 - 2/N)ⁿ + N (1 - 1/N)ⁿ - N² (1 - 1/N)²ⁿ (occupancy; Feller I, II.11).
    """
    if images < 1:
        return 0.0, 0.0
    missed = (1.0 - 1.0 / images) ** draws
    both_missed = (1.0 - 2.0 / images) ** draws if images > 1 else 0.0
    variance = images * (images - 1) * both_missed + images * missed - (images * missed) ** 2
    return images * (1.0 - missed), math.sqrt(max(0.0, variance))
