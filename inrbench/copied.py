"""Augmented copies of a signal, fixed and numbered: what a reader that trains on its own gets beside the signals.

A copy keeps its signal's id. Copy 0 is the signal itself; another is the signal padded, cut to its size anywhere, and
perhaps mirrored, as in spatial functa (Bauer et al., 2023, arXiv 2302.03130): 32 x 32 crops of an image padded with
zeros to 40 x 40, and flips, 50 to a training image. What is drawn depends on (seed, copy, id) alone. (Augmentations
that a fitter's training draws anew at each step are `inrbench.settings.Augmentation`.)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import prod

import numpy as np

from inrbench.domains import Array, Grid
from inrbench.errors import BadSetting, Refused
from inrbench.settings import Copies
from inrbench.signals import GridSignals, Signals, SignalSpec

__all__ = ["check_copies", "copied", "pieces"]

#: Padded copies that are made at a time.
PIECE_BYTES = 1 << 28


def check_copies(copies: Copies, spec: SignalSpec) -> None:
    """Raise BadSetting where signals like ``spec`` can have no such copies."""
    if copies.count == 1:
        return
    part = spec.parts[0]
    if len(spec.parts) != 1 or part.domain != "grid":
        shown = " and ".join(one.domain for one in spec.parts)
        raise BadSetting(
            f"setting data.copies.count={copies.count}: allowed is 1 for signals on {shown}; only signals that share "
            "one grid have copies"
        )
    if copies.flip and len(part.shape) != 2:
        raise BadSetting(f"setting data.copies.flip=true: allowed is false for signals with {len(part.shape)} axes")
    if copies.pad_mode == "reflect" and copies.pad >= min(part.shape):
        raise BadSetting(
            f"setting data.copies.pad={copies.pad}: allowed are 0 to {min(part.shape) - 1} for a reflection of "
            f"signals of {' x '.join(map(str, part.shape))}"
        )


def pieces(signals: Signals, copies: Copies, *, whole: bool = False) -> Iterator[slice]:
    """Slices of ``signals`` whose padded copies fit into `PIECE_BYTES`; all in one with ``whole``."""
    if whole:
        return iter((slice(0, len(signals)),))
    stacked = signals.stacked()
    assert stacked is not None, "checked before: see check_copies"
    _, values, _ = stacked
    sides = [side + 2 * copies.pad for side in values.shape[1:-1]]
    rows = max(1, PIECE_BYTES // (prod(sides) * values.shape[-1] * 4))
    return (slice(first, min(first + rows, len(signals))) for first in range(0, len(signals), rows))


def copied(signals: Signals, copies: Copies, number: int, rng: Callable[..., np.random.Generator]) -> Signals:
    """Copy ``number`` of each of ``signals``, unlabelled, with their ids; the signals themselves for number 0.

    ``rng("copy", number, id)`` gives what is drawn for a signal. Raises Refused where they share no grid.
    """
    if number == 0:
        return signals.unlabelled()
    stacked = signals.stacked()
    if stacked is None or not isinstance(stacked[0], Grid):
        raise Refused(f"copy {number}: only signals that share one grid have copies")
    _, values, (scale, offset) = stacked
    padded, to_unit = _padded(np.asarray(values), copies, scale, offset)
    result = np.empty(values.shape, padded.dtype)
    axes = values.ndim - 2
    for i, one in enumerate(signals.ids.tolist()):
        drawn = rng("copy", number, one)
        first = drawn.integers(0, 2 * copies.pad + 1, size=axes)
        mirrored = bool(drawn.random() < 0.5) and copies.flip
        crop = padded[i]
        for axis, start in enumerate(first.tolist()):
            crop = crop.take(range(start, start + values.shape[1 + axis]), axis=axis)
        result[i] = crop[:, ::-1] if mirrored else crop
    return GridSignals(result, None, signals.ids, to_unit)


def _padded(values: Array, copies: Copies, scale: float, offset: float) -> tuple[Array, tuple[float, float]]:
    """``values`` with room for crops on all sides, and their scale: floats where the stored type has no zero."""
    room = [(0, 0), *[(copies.pad, copies.pad)] * (values.ndim - 2), (0, 0)]
    if copies.pad_mode == "reflect":
        return np.pad(values, room, mode="reflect"), (scale, offset)
    zero = -offset / scale
    if values.dtype.kind in "iu":
        limits = np.iinfo(values.dtype)
        if zero != round(zero) or not limits.min <= zero <= limits.max:
            values, zero = values.astype(np.float32) * np.float32(scale) + np.float32(offset), 0.0
            scale, offset = 1.0, 0.0
    return np.pad(values, room, constant_values=values.dtype.type(zero)), (scale, offset)
