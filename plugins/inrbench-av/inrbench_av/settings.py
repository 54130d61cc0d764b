"""Settings of clips: which part of a file in time, which pixels, and whether picture, sound or both."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import model_validator

from inrbench.settings import DataSettings, setting

__all__ = ["BeatSettings", "BigBuckBunnySettings", "ChordSettings", "ClipSettings", "FilmSettings", "SoundSettings"]
__all__ += ["Parts", "ZonePlateSettings"]

Parts = Literal["both", "video", "audio"]


class SoundSettings(DataSettings):
    """Which part of a clip is used, in time."""

    start: float = setting(0.0, "seconds of the clip that are left out at its beginning", ge=0.0)
    stop: float | None = setting(None, "seconds of the clip after which the rest is left out; its end if empty", gt=0.0)

    @model_validator(mode="after")
    def _ends_after_its_start(self) -> Self:
        if self.stop is not None and self.stop <= self.start:
            raise ValueError(f"stop={self.stop} must be above start={self.start}")
        return self


class FilmSettings(SoundSettings):
    """Which part of a film is used, in time and space."""

    frames: int | None = setting(None, "frames from `start` on; all if empty; sound is cut to the same time", ge=1)
    shrink: int = setting(1, "so many pixels a side become one, by their mean", ge=1)
    height: int | None = setting(None, "rows that are cut out of the middle, after `shrink`; all if empty", ge=1)
    width: int | None = setting(None, "columns that are cut out of the middle, after `shrink`; all if empty", ge=1)


class ClipSettings(FilmSettings):
    """Which part of a clip is used, of picture, sound or both."""

    parts: Parts = setting("both", "what is used of a film with sound")


class BigBuckBunnySettings(ClipSettings):
    """The clip at half size, 360 x 640, as NeoMLP takes it."""

    shrink: int = setting(2, "so many pixels a side become one, by their mean", ge=1)


class ChordSettings(SoundSettings):
    """How long the chord sounds."""

    seconds: float = setting(2.0, "how long it lasts", gt=0.0, le=600.0)
    rate: int = setting(8_000, "samples a second", ge=2_000, le=192_000)


class ZonePlateSettings(FilmSettings):
    """How large the moving zone plate is."""

    size: int = setting(48, "rows and columns", ge=2, le=4096)
    length: int = setting(24, "frames that there are", ge=1, le=100_000)


class BeatSettings(ClipSettings):
    """How large the film of the beat is."""

    size: int = setting(24, "rows and columns", ge=2, le=4096)
    length: int = setting(16, "frames that there are, 16 a second", ge=1, le=100_000)
