"""Films written without loss and read back: the very pixels and samples, each in one array."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from inrbench_av.films import averaged
from inrbench_av.own_file import File
from inrbench_av.settings import ClipSettings

from inrbench.errors import BadData
from inrbench.signals import Part

Array = np.ndarray[Any, Any]
Write = Callable[..., Path]


def parts(path: Path, **settings: Any) -> dict[str, Part]:
    dataset = File(ClipSettings(**settings), str(path))
    found = {part.name: part for part in dataset.load(None)["test"].observed(0)}
    told = {part.name: (part.domain, part.shape, part.coord_dim, part.channels) for part in dataset.spec().parts}
    assert told == {
        name: ("grid", part.values.shape[:-1], part.domain.coord_dim, part.values.shape[-1])
        for name, part in found.items()
    }
    return found


@pytest.mark.parametrize("ending", ["mkv", "mov"])
def test_frames_are_read_as_they_are(tmp_path: Path, lossless: Write, film: Array, ending: str) -> None:
    (part,) = parts(lossless(tmp_path / f"a.{ending}", film)).values()
    assert (part.name, part.values.dtype) == ("video", np.uint8)
    assert (part.values == film).all()


@pytest.mark.parametrize("layout", ["mono", "stereo", "5.1"])
def test_film_and_sound_are_read_as_they_are(
    tmp_path: Path, lossless: Write, film: Array, sound: Array, layout: str
) -> None:
    channels = {"mono": 1, "stereo": 2, "5.1": 6}[layout]
    heard = np.concatenate([sound // (k + 1) for k in range(channels)], axis=1)
    found = parts(lossless(tmp_path / "a.mkv", film, heard, layout=layout))
    assert (found["video"].values == film).all()
    assert found["audio"].values.dtype == np.int16
    assert (found["audio"].values[:, 0, 0] == heard).all()
    assert found["audio"].channels == slice(3, 3 + channels)


def test_each_part_alone(tmp_path: Path, lossless: Write, film: Array, sound: Array) -> None:
    path = lossless(tmp_path / "a.mkv", film, sound)
    video, audio = parts(path, parts="video"), parts(path, parts="audio")
    assert [*video] == ["video"]
    assert [*audio] == ["audio"]
    assert (video["video"].values == film).all()
    assert (audio["audio"].values == sound).all()  # [samples, channels]: on time alone
    alone = lossless(tmp_path / "b.mkv", None, sound)
    assert (parts(alone)["audio"].values == sound).all()


def test_a_part_in_time_and_space(tmp_path: Path, lossless: Write, film: Array, sound: Array) -> None:
    path = lossless(tmp_path / "a.mkv", film, sound)
    found = parts(path, start=0.2, frames=5, height=4, width=3)
    assert (found["video"].values == film[2:7, 1:5, 3:6]).all()
    assert found["audio"].values.ravel().tolist() == sound[1600:5600].ravel().tolist()
    assert found["video"].values.flags["C_CONTIGUOUS"]


def test_shrunk_frames_are_means(tmp_path: Path, lossless: Write, film: Array) -> None:
    (part,) = parts(lossless(tmp_path / "a.mkv", film), shrink=2).values()
    mean = film.reshape(12, 3, 2, 5, 2, 3).mean(axis=(2, 4))
    assert (part.values == np.floor(mean + 0.5)).all()


def test_a_mean_is_rounded_and_what_is_left_over_is_dropped() -> None:
    pixels = np.array([[0, 1, 9], [1, 0, 9], [255, 255, 9]], dtype=np.uint8)[..., None]
    assert averaged(pixels, 2).tolist() == [[[1]]]  # 0.5 is rounded up
    assert averaged(np.full((8, 9, 3), 255, dtype=np.uint8), 4).tolist() == [[[255] * 3] * 2] * 2
    assert averaged(pixels, 1) is pixels


def test_sound_in_other_formats(tmp_path: Path) -> None:
    """Planar floats are read as they are; 32-bit integers are divided by 2³¹."""
    values = np.linspace(-0.5, 0.5, 2000, dtype=np.float32)
    for codec, name, given in (
        ("pcm_f32le", "flt", values),
        ("pcm_s32le", "s32", (values.astype(np.float64) * 2**31).astype(np.int32)),
        ("pcm_u8", "u8", (128 + values * 200).astype(np.uint8)),
    ):
        path = tmp_path / f"{codec}.mkv"
        with av.open(str(path), "w") as container:
            stream = container.add_stream(codec, rate=8000, layout="mono")
            frame = av.AudioFrame.from_ndarray(given[None], format=name, layout="mono")
            frame.sample_rate, frame.pts = 8000, 0
            container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
        (part,) = parts(path).values()
        expected = {"flt": values, "s32": given / 2.0**31, "u8": (given.astype(int) - 128) * 256}[name]
        assert part.values.dtype == (np.int16 if name == "u8" else np.float32)
        np.testing.assert_allclose(part.values[:, 0], expected, atol=1e-7)


def test_nothing_is_held_twice(tmp_path: Path, lossless: Write) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (24, 160, 200, 3), dtype=np.uint8)
    path = lossless(tmp_path / "a.mkv", noise)
    parts(path, frames=1)  # what is imported is not counted
    dataset = File(ClipSettings(), str(path))
    tracemalloc.start()
    (part,) = dataset.load(None)["test"].observed(0)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert part.values.nbytes == noise.nbytes
    assert noise.nbytes <= peak < 1.2 * noise.nbytes  # and a frame or two


def test_frames_of_another_size_are_bad_data(tmp_path: Path, lossless: Write, film: Array) -> None:
    path = lossless(tmp_path / "a.mkv", film)
    dataset = File(ClipSettings(), str(path))
    dataset.facts  # noqa: B018
    lossless(path, film[:, :4])
    with pytest.raises(BadData, match=r"frame 0 has 4 x 10 pixels; the clip has 6 x 10"):
        dataset.load(None)
    lossless(path, film[:5])
    with pytest.raises(BadData, match=r"cut off, its frames end at 5 of 12"):
        dataset.load(None)
