"""What settings leave of a clip: counts by hand, and errors that say what is allowed."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest
from inrbench_av.cuts import Cut, Facts, Film, Sound, cut_of
from inrbench_av.settings import ClipSettings, SoundSettings

from inrbench.errors import BadSetting
from inrbench.settings import validated

#: 2 s of 20 frames, and 2.1 s of sound.
FILM, SOUND = Film(20, 72, 128, Fraction(10)), Sound(16_800, 2, 8000)
BOTH = Facts(FILM, SOUND)


def cut(facts: Facts = BOTH, **settings: Any) -> Cut:
    return cut_of(facts, validated(ClipSettings, settings, "data"), "clip")


def test_everything_is_used_where_nothing_is_said() -> None:
    whole = cut()
    assert whole.video_shape == (20, 72, 128, 3)
    assert whole.samples == range(16_800)  # also what sounds on behind the last frame
    video, audio = whole.spec().parts
    assert (video.name, video.domain, video.shape, video.coord_dim, video.channels) == (
        "video",
        "grid",
        (20, 72, 128),
        3,
        3,
    )
    assert (audio.name, audio.shape, audio.coord_dim, audio.channels) == ("audio", (16_800, 1, 1), 3, 2)
    assert (whole.spec().channels, whole.spec().coord_dim, whole.spec().sizes) == (5, 3, {"test": 1})


def test_frames_cut_the_sound_to_their_time() -> None:
    some = cut(frames=5)
    assert (some.frames, some.samples) == (range(5), range(4000))
    later = cut(frames=5, start=0.75)  # frame 8 is the first at 0.75 s or later
    assert (later.frames, later.samples) == (range(8, 13), range(6400, 10_400))
    assert cut(frames=20).samples == range(16_800)
    assert cut(frames=2, start=1.8).samples == range(14_400, 16_800)
    assert cut(frames=5, parts="audio").samples == range(4000)


def test_seconds_cut_picture_and_sound() -> None:
    some = cut(start=0.3, stop=0.6)
    assert (some.frames, some.samples) == (range(3, 6), range(2400, 4800))
    # 7 / 25 x 48,000 is a little above 13,440 in floats
    film, sound = Film(20, 72, 128, Fraction(25)), Sound(40_000, 2, 48_000)
    assert cut(Facts(film, sound), frames=7).samples == range(13_440)
    assert cut(start=1.0).samples == range(8000, 16_800)
    assert cut(stop=100.0).frames == range(20)


def test_rows_and_columns_are_cut_out_of_the_middle_after_shrinking() -> None:
    some = cut(shrink=3, height=10, width=21)  # 24 x 42 are left by the shrinking
    assert (some.rows, some.columns) == (range(7, 17), range(10, 31))
    assert cut(shrink=5).video_shape == (20, 14, 25, 3)


def test_one_part_of_a_film_is_a_signal_of_its_own() -> None:
    (video,) = cut(parts="video").spec().parts
    assert (video.name, video.shape) == ("video", (20, 72, 128))
    (audio,) = cut(parts="audio").spec().parts
    assert (audio.name, audio.shape, audio.coord_dim) == ("audio", (16_800,), 1)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"frames": 21}, "setting data.frames=21: allowed are 1 to 20, as many as clip has from data.start=0.0 on"),
        ({"frames": 11, "start": 1.0}, "allowed are 1 to 10, as many as clip has from data.start=1.0 on"),
        ({"start": 2.0}, "settings data.start=2.0 and data.stop=None leave nothing of clip, which lasts 2.000 s"),
        ({"shrink": 73}, "setting data.shrink=73: allowed are 1 to 72 for clip"),
        ({"shrink": 2, "height": 37}, "setting data.height=37: allowed are 1 to 36 for clip"),
        ({"width": 129}, "setting data.width=129: allowed are 1 to 128 for clip"),
        ({"start": 1.0, "stop": 1.0}, "stop=1.0 must be above start=1.0"),
        ({"start": -1.0}, "greater than or equal to 0"),
        ({"frames": 0}, "greater than or equal to 1"),
        ({"parts": "sound"}, "'both', 'video' or 'audio'"),
    ],
)
def test_what_cannot_be_cut_is_said_in_one_line(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(BadSetting) as caught:
        cut(**settings)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_parts_that_are_not_there_are_refused() -> None:
    with pytest.raises(BadSetting, match=r"setting data.parts='video': clip has none; allowed is 'both'"):
        cut(Facts(None, SOUND), parts="video")
    with pytest.raises(BadSetting, match=r"setting data.parts='audio': clip has none"):
        cut(Facts(FILM, None), parts="audio")
    with pytest.raises(BadSetting, match=r"setting data.frames=3: clip has no frames"):
        cut(Facts(None, SOUND), frames=3)
    with pytest.raises(BadSetting, match=r"leave nothing of the sound of clip, which lasts 0.125 s"):
        cut(Facts(FILM, Sound(1000, 1, 8000)), start=0.5)


def test_sound_alone_is_cut_in_time() -> None:
    some = cut_of(Facts(None, SOUND), SoundSettings(start=0.25, stop=0.5), "clip")
    assert some.samples == range(2000, 4000)
    (part,) = some.spec().parts
    assert (part.name, part.shape, part.coord_dim, part.channels) == ("audio", (2000,), 1, 2)
