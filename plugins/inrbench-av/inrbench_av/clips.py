"""Clips as signals: values stay as they are stored, whatever looks at them converts what it looks at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np

from inrbench.domains import Array, Grid
from inrbench.signals import Part
from inrbench_av.cuts import COLOURS

__all__ = ["ClipSignals", "clip_of", "peak_of"]


@dataclass(frozen=True)
class ClipSignals:
    """The split of one clip, or of none where it was taken from; implements `inrbench.signals.Signals`."""

    parts: tuple[Part, ...]
    ids: Array  # zeros, one for each entry

    labels = None

    def __len__(self) -> int:
        return len(self.ids)

    def observed(self, i: int) -> Sequence[Part]:
        """The whole clip: its picture, its sound, or both."""
        if not 0 <= i < len(self):
            raise IndexError(f"entry {i} of {len(self)}")
        return self.parts

    scored = observed

    def stacked(self) -> None:
        """None: parts differ, and a large clip stays as it is stored."""

    def take(self, indices: Array) -> ClipSignals:
        """The entries at ``indices``."""
        return replace(self, ids=self.ids[indices])

    def unlabelled(self) -> ClipSignals:
        """The same; a clip has no label."""
        return self


def clip_of(video: Array | None, audio: Array | None, seconds: tuple[Fraction, Fraction] | None = None) -> ClipSignals:
    """The clip of frames [frames, height, width, 3] uint8 and samples [samples, channels] int16 or float32.

    Sound lies on the time axis alone; that of a film at the middle of its picture, x = y = 0. Where both are there they
    share the axis: the longer of the two, of which ``seconds`` (picture, sound) tells, fills it. The largest absolute
    value of sound becomes 0 or 1, and silence 1/2.
    """
    parts = []
    shown_until, heard_until = (1.0, 1.0) if seconds is None else (_end(one, max(seconds)) for one in seconds)
    if video is not None:
        shown = slice(None) if audio is None else slice(0, COLOURS)
        parts.append(Part(_in_time(video.shape[:3], shown_until), video, shown, (1.0 / 255.0, 0.0), "video"))
    if audio is not None:
        to_unit = 0.5 / peak_of(audio), 0.5
        samples, channels = audio.shape
        if video is None:
            parts.append(Part(Grid.of(samples), audio, to_unit=to_unit, name="audio"))
        else:
            heard = slice(COLOURS, COLOURS + channels)
            values = audio.reshape(samples, 1, 1, channels)
            parts.append(Part(_in_time((samples, 1, 1), heard_until), values, heard, to_unit, "audio"))
    return ClipSignals(tuple(parts), np.zeros(1, dtype=np.int64))


def _in_time(shape: Sequence[int], until: float) -> Grid:
    """The grid of ``shape`` of which the first axis ends at ``until``."""
    (_, *others) = Grid.of(*shape).axes
    return Grid(((shape[0], -1.0, until), *others))


def _end(seconds: Fraction, longest: Fraction) -> float:
    return float(2 * seconds / longest - 1)


def peak_of(audio: Array) -> float:
    """The largest absolute value; 1 where all are 0."""
    return max(float(audio.max()), -float(audio.min())) or 1.0
