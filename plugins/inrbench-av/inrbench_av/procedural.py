"""Clips that are computed: a chord with vibrato, a moving zone plate, and a film of a disc that beats with its tone."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np

from inrbench.data import AboutData
from inrbench.domains import Array, Grid
from inrbench_av.citations import CITATIONS
from inrbench_av.clip_data import ClipData
from inrbench_av.clips import ClipSignals, clip_of
from inrbench_av.cuts import Facts, Film, Sound
from inrbench_av.films import averaged
from inrbench_av.settings import BeatSettings, ChordSettings, ZonePlateSettings

__all__ = ["Beat", "Chord", "ZonePlate"]

LOUDNESS = 0.9 * 32767


class Procedural(ClipData):
    """A clip that is computed frame by frame; nothing is downloaded."""

    def read(self, folder: Path | None) -> ClipSignals:
        """What is used of the clip."""
        cut, video, audio = self.cut, None, None
        if cut.film is not None:
            video = np.empty(cut.video_shape, dtype=np.uint8)
            for place, frame in enumerate(cut.frames):
                whole = averaged(_bytes(self.frame(frame)), cut.shrink)
                video[place] = whole[cut.rows.start : cut.rows.stop, cut.columns.start : cut.columns.stop]
        if cut.sound is not None:
            values = self.heard(np.arange(cut.sound.samples) / cut.sound.rate)
            loudest = LOUDNESS / np.abs(values).max()
            audio = np.round(loudest * values[cut.samples.start : cut.samples.stop]).astype(np.int16)
        return clip_of(video, audio, cut.seconds)

    def frame(self, number: int) -> Array:
        """[height, width, 3] in [0, 1]."""
        raise NotImplementedError

    def heard(self, seconds: Array) -> Array:
        """[samples, channels], of any loudness."""
        raise NotImplementedError

    def about(self) -> AboutData:
        """It comes with this package."""
        return AboutData(
            licence="Apache-2.0",
            licence_source="this package, which computes it",
            homepage="",  # none of its own
            download_bytes=0,
            citation=CITATIONS[self.name],
        )


class Chord(Procedural):
    """A minor with its root an octave below, int16 with one channel: three partials a note, all with vibrato."""

    name = "chord"
    settings: ChordSettings
    notes = (110.0, 220.0, 261.63, 329.63)  # Hz
    #: Vibratos a second, and how far a note moves at most, as a share of its frequency.
    vibrato, depth = 5.5, 0.006

    @property
    def facts(self) -> Facts:
        """As long as the settings say."""
        samples = max(1, round(self.settings.seconds * self.settings.rate))
        return Facts(None, Sound(samples, 1, self.settings.rate))

    def heard(self, seconds: Array) -> Array:
        """The notes begin one after the other and die away."""
        total = np.zeros_like(seconds)
        for number, note in enumerate(self.notes):
            after = seconds - 0.08 * number
            turn = 2.0 * np.pi * self.vibrato
            # the integral of note (1 + depth cos(turn t)), in turns
            phase = 2.0 * np.pi * note * (after + self.depth / turn * np.sin(turn * after))
            tone = sum(np.sin(k * phase) / k**2 for k in (1, 2, 3) if k * note * (1 + self.depth) < 0.5 * self._rate)
            total += np.where(after > 0.0, (1.0 - np.exp(-40.0 * after)) * np.exp(-1.2 * after), 0.0) * tone
        return total[:, None]

    @property
    def _rate(self) -> int:
        return self.settings.rate


class ZonePlate(Procedural):
    """Rings that are finer the further out, uint8: they run outwards while their centre moves on a circle."""

    name = "zone-plate"
    settings: ZonePlateSettings
    rate = Fraction(24)

    @property
    def facts(self) -> Facts:
        """As large as the settings say."""
        size = self.settings.size
        return Facts(Film(self.settings.length, size, size, self.rate), None)

    def frame(self, number: int) -> Array:
        """The three colours are a third of a ring apart; at the far side a ring is two pixels wide."""
        size = self.settings.size
        place = Grid.of(size, size).coords().astype(np.float64)
        turn = 2.0 * np.pi * number / float(self.rate)
        away = place - 0.3 * np.array([np.sin(turn), np.cos(turn)])
        # cos(k r²) turns by 2 k r a unit of r: half a turn a pixel of 2 / size at r = 1.3
        phase = np.pi * size / (4.0 * 1.3) * (away**2).sum(axis=-1)
        thirds = 2.0 * np.pi / 3.0 * np.arange(3)
        return np.asarray(0.5 + 0.5 * np.cos(phase[..., None] - 2.0 * turn - thirds))


class Beat(Procedural):
    """A disc that grows and shrinks twice a second, and a tone of two channels that swells with it."""

    name = "beat"
    settings: BeatSettings
    rate, samples_a_second, beats = Fraction(16), 8_000, 2.0

    @property
    def facts(self) -> Facts:
        """As large as the settings say; sound and picture last as long."""
        size, length = self.settings.size, self.settings.length
        samples = length * self.samples_a_second // int(self.rate)
        return Facts(Film(length, size, size, self.rate), Sound(samples, 2, self.samples_a_second))

    def frame(self, number: int) -> Array:
        """A soft disc, of another colour than what is around it."""
        size = self.settings.size
        radius = np.sqrt((Grid.of(size, size).coords().astype(np.float64) ** 2).sum(axis=-1))
        edge = 0.3 + 0.4 * self._strength(np.array([number / float(self.rate)]))
        inside = 1.0 / (1.0 + np.exp(np.clip(12.0 * (radius - edge), -60.0, 60.0)))[..., None]
        return np.asarray(inside * np.array([0.95, 0.6, 0.2]) + (1.0 - inside) * np.array([0.1, 0.2, 0.35]))

    def heard(self, seconds: Array) -> Array:
        """A fifth, one note a channel."""
        strength = 0.1 + 0.9 * self._strength(seconds)
        return np.stack([strength * np.sin(2.0 * np.pi * note * seconds) for note in (220.0, 330.0)], axis=-1)

    def _strength(self, seconds: Array) -> Array:
        """[0, 1]: how strong the beat is."""
        return np.asarray(0.5 + 0.5 * np.sin(2.0 * np.pi * self.beats * seconds))


def _bytes(colours: Array) -> Array:
    return np.asarray(np.round(255.0 * colours).astype(np.uint8))
