"""What is written of a clip and of its reconstruction, read back."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from inrbench_av import movies
from inrbench_av.clips import clip_of
from inrbench_av.films import probe_film
from inrbench_av.own_file import File
from inrbench_av.procedural import Beat, Chord, ZonePlate
from inrbench_av.settings import BeatSettings, ChordSettings, ClipSettings, ZonePlateSettings
from inrbench_av.waveforms import envelope
from inrbench_av.writing import write_clip
from PIL import Image

from inrbench.errors import InrbenchError
from inrbench.signals import Part, unit_values

Array = np.ndarray[Any, Any]


def blocks(part: Part, points: int = 500, plus: float = 0.0) -> Iterator[Array]:
    """The part's own values as a fitter's, some planes at a time."""
    for planes, _ in part.domain.blocks(points):  # type: ignore[union-attr]
        yield unit_values(part.values[planes], part.to_unit) + np.float32(plus)


def read_back(path: Path) -> dict[str, Part]:
    return {part.name: part for part in File(ClipSettings(), str(path)).load(None)["test"].observed(0)}


def test_sound_is_written_as_it_was(tmp_path: Path) -> None:
    chord = Chord(ChordSettings(seconds=0.5))
    parts = chord.load(None)["test"].observed(0)
    paths = chord.write(parts, [blocks(part) for part in parts], tmp_path / "new", "chord")
    assert [path.name for path in paths] == ["chord.wav", "chord-original.wav", "chord-waveform.png"]
    for path in paths[:2]:
        values, rate = soundfile.read(path, dtype="int16", always_2d=True)
        assert (values == parts[0].values).all()
        assert rate == 8000
    with Image.open(paths[2]) as picture:
        assert picture.size == (600, 720)


def test_a_reconstruction_is_clamped_and_scaled_as_its_original(tmp_path: Path) -> None:
    stored = np.array([[-0.5], [0.25], [0.5], [0.0]], dtype=np.float32)
    (part,) = clip_of(None, stored).observed(0)
    assert part.to_unit == (1.0, 0.5)
    ours = np.array([[-3.0], [0.75], [7.0], [0.6]], dtype=np.float32)
    write_clip([part], [iter([ours[:3], ours[3:]])], tmp_path, "a", None, 8000)
    found, _ = soundfile.read(tmp_path / "a.wav", dtype="int16")
    assert found.tolist() == [-16384, 8192, 16384, 3277]  # 32767 x [-0.5, 0.25, 0.5, 0.1], rounded
    original, _ = soundfile.read(tmp_path / "a-original.wav", dtype="int16")
    assert original.tolist() == [-16384, 8192, 16384, 0]


def test_a_film_is_written_nearly_as_it_was(tmp_path: Path) -> None:
    plate = ZonePlate(ZonePlateSettings(length=7))
    grey = plate.load(None)["test"].observed(0)[0].values[..., :1].repeat(3, axis=-1) // 2 + 30
    (part,) = parts = clip_of(grey, None).observed(0)  # colours have half the resolution in such a file
    paths = plate.write(parts, [blocks(part, 5000, plus=0.2)], tmp_path, "a.b")
    assert [path.name for path in paths] == ["a.b.mp4", "a.b-original.mp4", "a.b-frames.png"]
    wanted = np.clip(part.values / 255 + 0.2, 0, 1), part.values / 255
    for path, values in zip(paths, wanted, strict=False):
        found = read_back(path)["video"].values / 255
        assert found.shape == values.shape
        assert np.square(found - values).mean() < 10**-3.5
        film = probe_film(path, "a").film
        assert film is not None
        assert film.rate == 24
    with Image.open(paths[2]) as picture:
        pixels = np.asarray(picture)
    assert pixels.shape == (2 * (96 + 4), 6 * (96 + 4), 3)  # 48 pixels are enlarged twice
    upper, lower = np.split(pixels, 2)
    for place, frame in enumerate((0, 1, 2, 4, 5, 6)):  # evenly spaced
        shown = slice(place * 100 + 2, place * 100 + 98, 2)
        assert (upper[2:98:2, shown] == part.values[frame]).all()
        assert (lower[2:98:2, shown] == np.round(255 * np.clip(part.values[frame] / 255 + 0.2, 0, 1))).mean() > 0.99


def test_film_and_sound_go_into_one_file(tmp_path: Path) -> None:
    beat = Beat(BeatSettings(length=32))
    parts = beat.load(None)["test"].observed(0)
    paths = beat.write(parts, [blocks(part) for part in parts], tmp_path, "beat")
    names = ["beat.mp4", "beat-original.mp4", "beat-frames.png", "beat.wav", "beat-original.wav", "beat-waveform.png"]
    assert [path.name for path in paths] == names
    found = read_back(paths[0])
    assert found["video"].values.shape == (32, 24, 24, 3)
    loud = found["audio"].values[:, 0, 0].astype(float)
    assert loud.shape[1] == 2
    assert len(loud) >= 16_000  # AAC comes in whole packets
    best = max(np.corrcoef(loud[k : k + 15_000, 0], parts[1].values[:15_000, 0, 0, 0])[0, 1] for k in range(1100))
    assert best > 0.99


@pytest.mark.parametrize("size", [(5, 7), (6, 7), (5, 8)])
def test_an_odd_last_row_or_column_is_doubled(tmp_path: Path, size: tuple[int, int]) -> None:
    height, width = size
    board = 60 + 120 * (np.indices(size).sum(axis=0) % 2)
    frames = np.repeat(board[None, ..., None], 3, axis=-1).repeat(3, axis=0).astype(np.uint8)
    movies.write_movie(iter(frames), size, ZonePlate.rate, tmp_path / "a.mp4")
    found = read_back(tmp_path / "a.mp4")["video"].values
    assert found.shape == (3, height + height % 2, width + width % 2, 3)
    wanted = np.pad(frames, ((0, 0), (0, height % 2), (0, width % 2), (0, 0)), mode="edge")
    assert np.abs(found.astype(int) - wanted).max() <= 12


def test_without_h264_another_encoder_is_used_and_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(movies, "ENCODERS", {"no-such-encoder": {}, "mpeg4": movies.ENCODERS["mpeg4"]})
    frames = np.full((3, 16, 16, 3), 90, dtype=np.uint8)
    with caplog.at_level(logging.WARNING, "inrbench"):
        movies.write_movie(iter(frames), (16, 16), ZonePlate.rate, tmp_path / "a.mp4")
    assert "no encoder of H.264: films are written as MPEG-4 part 2" in caplog.text
    assert read_back(tmp_path / "a.mp4")["video"].values.shape == frames.shape
    monkeypatch.setattr(movies, "ENCODERS", {"no-such-encoder": {}})
    with pytest.raises(InrbenchError, match="has none of the encoders no-such-encoder: reinstall PyAV"):
        movies.write_movie(iter(frames), (16, 16), ZonePlate.rate, tmp_path / "b.mp4")


def test_sound_that_fits_no_aac_is_in_the_wav_alone(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    video = np.zeros((4, 16, 16, 3), dtype=np.uint8)
    audio = np.ones((400, 7), dtype=np.int16)
    parts = clip_of(video, audio).observed(0)
    paths = write_clip(parts, [blocks(part) for part in parts], tmp_path, "a", ZonePlate.rate, 2400)
    assert "7 channels at 2400 Hz, fits no AAC: it is in the WAV file alone" in caplog.text
    assert [*read_back(paths[0])] == ["video"]
    assert soundfile.info(tmp_path / "a.wav").channels == 7


def test_a_film_is_never_held_as_floats(tmp_path: Path) -> None:
    """A block is asked for when the one before it is written."""
    plate = ZonePlate(ZonePlateSettings(length=12))
    (part,) = parts = plate.load(None)["test"].observed(0)
    alive: list[Any] = []
    most = 0

    def watched() -> Iterator[Array]:
        nonlocal most
        import weakref

        for block in blocks(part, 2 * 48 * 48):
            alive[:] = [one for one in alive if one() is not None]
            most = max(most, len(alive))
            alive.append(weakref.ref(block))
            yield block

    plate.write(parts, [watched()], tmp_path, "a")
    assert most <= 2


def test_a_reconstruction_that_is_too_short_is_an_error(tmp_path: Path) -> None:
    plate, chord = ZonePlate(ZonePlateSettings()), Chord(ChordSettings(seconds=0.1))
    for dataset, message in (
        (plate, "the reconstruction of the video has 5 of 24 planes"),
        (chord, "of the audio has 5 of 800"),
    ):
        (part,) = parts = dataset.load(None)["test"].observed(0)
        short = iter([part.unit_values()[:5]])
        with pytest.raises(InrbenchError, match=message):
            dataset.write(parts, [short], tmp_path, "a")


def test_a_folder_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for dataset in (ZonePlate(ZonePlateSettings(length=1)), Chord(ChordSettings(seconds=0.1))):
        parts = dataset.load(None)["test"].observed(0)
        with pytest.raises(InrbenchError, match="cannot write"):
            dataset.write(parts, [blocks(part) for part in parts], tmp_path / "file" / "below", "a")


def test_an_envelope_has_the_lowest_and_highest_of_each_stretch() -> None:
    low, high = envelope(np.array([3, 1, 2, 9, 8, 7]), 3)
    assert (low.tolist(), high.tolist()) == ([1, 2, 7], [3, 9, 8])
    low, high = envelope(np.array([4, 5]), 100)
    assert (low.tolist(), high.tolist()) == ([4, 5], [4, 5])
