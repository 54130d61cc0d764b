"""The clips that are computed: what they are by hand, whatever is cut out of them."""

from __future__ import annotations

import numpy as np
from inrbench_av.procedural import Beat, Chord, ZonePlate
from inrbench_av.settings import BeatSettings, ChordSettings, ZonePlateSettings

from inrbench.data import open_dataset


def test_the_chord_holds_its_notes() -> None:
    (part,) = Chord(ChordSettings()).load(None)["test"].observed(0)
    assert (part.name, part.values.shape, part.values.dtype) == ("audio", (16_000, 1), np.int16)
    assert np.abs(part.values).max() == round(0.9 * 32767)
    spectrum = np.abs(np.fft.rfft(part.values[:, 0] * np.hanning(16_000)))
    frequency = np.fft.rfftfreq(16_000, 1 / 8000)
    loud = {round(float(f)) for f in frequency[spectrum > 0.35 * spectrum.max()]}
    for note in (110.0, 220.0, 261.63, 329.63):
        assert any(abs(note - f) < 1 for f in loud)
    assert all(min(abs(note - f) for note in (110, 220, 261.63, 329.63)) < 2 for f in loud)


def test_the_chord_has_a_vibrato() -> None:
    """A single note, seen from close by: its phase leaves that of a steady note by depth x note / vibrato radians."""
    chord = Chord(ChordSettings(rate=48_000))
    chord.notes = (300.0,)  # type: ignore[assignment]
    seconds = np.arange(48_000) / 48_000 + 1.0
    tone = chord.heard(seconds)[:, 0] / (np.exp(-1.2 * seconds) * (1 - np.exp(-40 * seconds)))
    turning = np.exp(-2j * np.pi * 300.0 * seconds) * tone
    smooth = np.convolve(turning, np.ones(480) / 480, mode="valid")
    swing = np.unwrap(np.angle(smooth))
    assert np.isclose((swing.max() - swing.min()) / 2, 0.006 * 300.0 / 5.5, rtol=0.05)


def test_the_zone_plate_is_its_formula() -> None:
    (part,) = ZonePlate(ZonePlateSettings(size=9, length=30)).load(None)["test"].observed(0)
    assert (part.name, part.values.shape, part.values.dtype) == ("video", (30, 9, 9, 3), np.uint8)
    # frame 0: the centre is at (0, 0.3); the middle pixel is at the origin, r² = 0.09
    phase = np.pi * 9 / 5.2 * 0.09 - 2 * np.pi / 3 * np.arange(3)
    np.testing.assert_allclose(part.values[0, 4, 4] / 255, 0.5 + 0.5 * np.cos(phase), atol=0.003)
    # a quarter of a turn later the centre is at (0.3, 0), and the rings have run on by half a turn
    np.testing.assert_allclose(part.values[6, 4, 4] / 255, 0.5 + 0.5 * np.cos(phase - np.pi), atol=0.003)
    assert (part.values[24] == part.values[0]).all()  # a turn a second


def test_the_beat_of_the_disc_is_that_of_the_tone() -> None:
    video, audio = Beat(BeatSettings()).load(None)["test"].observed(0)
    assert (video.values.shape, audio.values.shape) == ((16, 24, 24, 3), (8000, 1, 1, 2))
    bright = video.values[..., 0].reshape(16, -1).mean(axis=1)
    loud = np.abs(audio.values[:, 0, 0].astype(float)).reshape(16, 500, 2).max(axis=(1, 2))
    assert np.corrcoef(bright, loud)[0, 1] > 0.85
    assert (bright.argmax() % 8, bright.argmin() % 8) == (2, 6)  # twice a second of 16 frames


def test_a_cut_is_a_part_of_the_whole() -> None:
    whole = Beat(BeatSettings()).load(None)["test"].observed(0)
    some = Beat(BeatSettings(start=0.25, frames=3, height=4, width=6)).load(None)["test"].observed(0)
    assert (some[0].values == whole[0].values[4:7, 10:14, 9:15]).all()
    assert (some[1].values == whole[1].values[2000:3500]).all()
    half = ZonePlate(ZonePlateSettings(shrink=2)).load(None)["test"].observed(0)[0].values
    full = ZonePlate(ZonePlateSettings()).load(None)["test"].observed(0)[0].values
    mean = full.reshape(24, 24, 2, 24, 2, 3).mean(axis=(2, 4))
    assert (half == np.floor(mean + 0.5)).all()


def test_the_clips_are_the_same_everywhere() -> None:
    found = {
        cls.name: open_dataset(cls.name, cls(settings()), None, unofficial=False).checksum[:8]  # type: ignore[arg-type]
        for cls, settings in ((Chord, ChordSettings), (ZonePlate, ZonePlateSettings), (Beat, BeatSettings))
    }
    assert found == {"chord": "17647f12", "zone-plate": "c2f329b8", "beat": "cc60d45c"}
