"""What of a clip is used: which frames, rows, columns and samples, and what signals that makes."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from math import ceil

from inrbench.errors import BadSetting
from inrbench.signals import PartSpec, SignalSpec
from inrbench_av.settings import ClipSettings, FilmSettings, SoundSettings

__all__ = ["Cut", "Facts", "Film", "Sound", "cut_of"]

COLOURS = 3


@dataclass(frozen=True)
class Film:
    """The frames of a file; they count as evenly spaced."""

    frames: int
    height: int
    width: int
    rate: Fraction  # frames a second


@dataclass(frozen=True)
class Sound:
    """The samples of a file."""

    samples: int
    channels: int
    rate: int  # samples a second


@dataclass(frozen=True)
class Facts:
    """What a file holds; None for what it lacks."""

    film: Film | None
    sound: Sound | None


@dataclass(frozen=True)
class Cut:
    """What is used of a clip. Frames are shrunk first; rows and columns count what is left then."""

    film: Film | None  # as in the file; None where no picture is used
    sound: Sound | None
    frames: range = range(0)
    shrink: int = 1
    rows: range = range(0)
    columns: range = range(0)
    samples: range = range(0)

    @property
    def video_shape(self) -> tuple[int, int, int, int]:
        """[frames, height, width, 3]."""
        return len(self.frames), len(self.rows), len(self.columns), COLOURS

    @property
    def seconds(self) -> tuple[Fraction, Fraction] | None:
        """How long the picture and the sound last, where both are used."""
        if self.film is None or self.sound is None:
            return None
        return len(self.frames) / self.film.rate, Fraction(len(self.samples), self.sound.rate)

    def spec(self) -> SignalSpec:
        """One clip, in the split test, without classes."""
        parts = []
        if self.film is not None:
            parts.append(PartSpec("grid", self.video_shape[:3], 3, COLOURS, name="video"))
        if self.sound is not None:
            shape = (len(self.samples),) if self.film is None else (len(self.samples), 1, 1)
            parts.append(PartSpec("grid", shape, len(shape), self.sound.channels, name="audio"))
        return SignalSpec(tuple(parts), sizes={"test": 1})


def cut_of(facts: Facts, settings: SoundSettings, where: str) -> Cut:
    """What ``settings`` leave of the clip ``where``. Raises BadSetting where that is nothing, or more than there is."""
    film, sound = facts.film, facts.sound
    if isinstance(settings, ClipSettings) and settings.parts != "both":
        if (film if settings.parts == "video" else sound) is None:
            raise BadSetting(f"setting data.parts={settings.parts!r}: {where} has none; allowed is 'both'")
        film, sound = (film, None) if settings.parts == "video" else (None, sound)
    # the time of what is cut to a number of frames is theirs, whether the picture is used or not
    cut, start, stop = Cut(film, sound), settings.start, settings.stop
    if isinstance(settings, FilmSettings) and settings.frames is not None and facts.film is None:
        raise BadSetting(f"setting data.frames={settings.frames}: {where} has no frames")
    if isinstance(settings, FilmSettings) and facts.film is not None:
        frames = _within(facts.film.frames, facts.film.rate, start, stop, where)
        if settings.frames is not None:
            if settings.frames > len(frames):
                raise BadSetting(
                    f"setting data.frames={settings.frames}: allowed are 1 to {len(frames)}, as many as {where} has "
                    f"from data.start={settings.start} on"
                )
            frames = frames[: settings.frames]
            start, stop = float(frames.start / facts.film.rate), float(frames.stop / facts.film.rate)
            stop = None if frames.stop == facts.film.frames and settings.stop is None else stop
        if film is not None:
            shrunk = film.height // settings.shrink, film.width // settings.shrink
            if 0 in shrunk:
                largest = min(film.height, film.width)
                raise BadSetting(f"setting data.shrink={settings.shrink}: allowed are 1 to {largest} for {where}")
            rows = _middle(shrunk[0], settings.height, "height", where)
            columns = _middle(shrunk[1], settings.width, "width", where)
            cut = Cut(film, sound, frames, settings.shrink, rows, columns)
    if sound is None:
        return cut
    samples = _within(sound.samples, Fraction(sound.rate), start, stop, f"the sound of {where}")
    return Cut(film, sound, cut.frames, cut.shrink, cut.rows, cut.columns, samples)


def _within(count: int, rate: Fraction, start: float, stop: float | None, where: str) -> range:
    """Those of ``count`` moments, ``rate`` a second from 0 on, that are in [start, stop)."""
    first = ceil(round(start * float(rate), 6))
    last = count if stop is None else min(count, ceil(round(stop * float(rate), 6)))
    if first >= last:
        raise BadSetting(
            f"settings data.start={start} and data.stop={stop} leave nothing of {where}, "
            f"which lasts {float(count / rate):.3f} s"
        )
    return range(first, last)


def _middle(there: int, wanted: int | None, name: str, where: str) -> range:
    if wanted is None:
        return range(there)
    if wanted > there:
        raise BadSetting(f"setting data.{name}={wanted}: allowed are 1 to {there} for {where}")
    first = (there - wanted) // 2
    return range(first, first + wanted)
