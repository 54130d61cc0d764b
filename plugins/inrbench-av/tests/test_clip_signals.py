"""Clips as signals: domains, channels, values in [0, 1] by hand, and that nothing is copied."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from inrbench_av.clips import clip_of, peak_of

from inrbench.data import signals_checksum
from inrbench.domains import Grid
from inrbench.signals import num_signals

VIDEO = np.arange(4 * 2 * 3 * 3, dtype=np.uint8).reshape(4, 2, 3, 3)
AUDIO = np.array([[0, 100], [-200, 50], [25, -1], [0, 0], [7, 7], [1, 2], [3, 4], [5, 6]], dtype=np.int16)


def test_sound_alone_lies_on_time() -> None:
    (part,) = clip_of(None, AUDIO).observed(0)
    assert (part.name, part.domain, part.channels) == ("audio", Grid.of(8), slice(None))
    np.testing.assert_allclose(part.domain.coords()[:, 0], np.arange(-7, 8, 2) / 8)
    # 0.5 / 200 and 0.5: the largest absolute value becomes 0, silence 1/2
    np.testing.assert_allclose(part.unit_values()[:3], [[0.5, 0.75], [0.0, 0.625], [0.5625, 0.4975]], atol=1e-7)


def test_film_lies_on_time_rows_and_columns() -> None:
    (part,) = clip_of(VIDEO, None).observed(0)
    assert (part.name, part.domain, part.channels) == ("video", Grid.of(4, 2, 3), slice(None))
    assert part.unit_values()[0, 0, 1].tolist() == pytest.approx([3 / 255, 4 / 255, 5 / 255])


def test_the_sound_of_a_film_lies_in_its_middle_and_on_the_channels_behind_it() -> None:
    video, audio = clip_of(VIDEO, AUDIO).observed(0)
    assert (video.channels, audio.channels) == (slice(0, 3), slice(3, 5))
    assert audio.domain == Grid(((8, -1.0, 1.0), (1, -1.0, 1.0), (1, -1.0, 1.0)))
    coords = audio.domain.coords()
    assert coords.shape == (8, 1, 1, 3)
    assert (coords[..., 1:] == 0.0).all()
    # two samples a frame: their mean time is the frame's
    np.testing.assert_allclose(
        coords[:, 0, 0, 0].reshape(4, 2).mean(axis=1), video.domain.coords()[:, 0, 0, 0], atol=1e-7
    )
    assert audio.values.shape == (8, 1, 1, 2)
    assert (audio.values[:, 0, 0] == AUDIO).all()


def test_the_longer_of_picture_and_sound_fills_the_time_axis() -> None:
    # four frames in 2 s under eight samples in 8 s: samples lie 1/4 apart, and so do two frames
    video, audio = clip_of(VIDEO, AUDIO, (Fraction(2), Fraction(8))).observed(0)
    assert audio.domain == Grid.of(8, 1, 1)
    assert video.domain.axes == ((4, -1.0, -0.5), (2, -1.0, 1.0), (3, -1.0, 1.0))
    video, audio = clip_of(VIDEO, AUDIO, (Fraction(8), Fraction(2))).observed(0)
    assert video.domain == Grid.of(4, 2, 3)
    assert audio.domain.axes[0] == (8, -1.0, -0.5)


def test_values_stay_where_they_are() -> None:
    audio = AUDIO.astype(np.float32)
    video, sound = clip_of(VIDEO, audio).observed(0)
    assert np.shares_memory(video.values, VIDEO)
    assert np.shares_memory(sound.values, audio)
    assert clip_of(VIDEO, audio).observed(0)[0].values.dtype == np.uint8


def test_the_peak_is_exact_at_the_ends_of_int16() -> None:
    assert peak_of(np.array([[-32768], [3]], dtype=np.int16)) == 32768.0
    assert peak_of(np.zeros((3, 1), dtype=np.int16)) == 1.0
    (part,) = clip_of(None, np.zeros((3, 1), dtype=np.int16)).observed(0)
    assert (part.unit_values() == 0.5).all()


def test_one_entry_without_a_label() -> None:
    clip = clip_of(VIDEO, AUDIO)
    assert (len(clip), clip.ids.tolist(), clip.labels, clip.stacked()) == (1, [0], None, None)
    assert num_signals(clip) == 1
    assert clip.scored(0) == clip.observed(0)
    none = clip.take(np.zeros(0, dtype=np.int64))
    assert len(none) == 0
    with pytest.raises(IndexError):
        none.observed(0)
    assert len(clip.take(np.array([0])).unlabelled()) == 1


def test_the_checksum_tells_values_and_channels_apart() -> None:
    other = VIDEO.copy()
    other[-1, -1, -1, -1] += 1
    clips = [clip_of(VIDEO, AUDIO), clip_of(other, AUDIO), clip_of(VIDEO, -AUDIO), clip_of(VIDEO, None)]
    assert len({signals_checksum(clip) for clip in clips}) == 4
    assert signals_checksum(clip_of(VIDEO.copy(), AUDIO.copy())) == signals_checksum(clips[0])
