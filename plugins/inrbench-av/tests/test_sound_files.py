"""Sound files written and read back: the very values, in one array."""

from __future__ import annotations

import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from inrbench_av.own_file import File
from inrbench_av.settings import ClipSettings

from inrbench.errors import BadData

RATE = 8000


def wave(samples: int = 5000, channels: int = 1) -> Any:
    return np.random.default_rng(0).integers(-32768, 32768, (samples, channels), dtype=np.int16)


def opened(path: Path, **settings: Any) -> Any:
    dataset = File(ClipSettings(**settings), str(path))
    (part,) = dataset.load(None)["test"].observed(0)
    (spec,) = dataset.spec().parts
    assert (spec.shape, spec.channels) == (part.values.shape[:-1], part.values.shape[-1])
    return part


@pytest.mark.parametrize("ending", ["wav", "flac"])
@pytest.mark.parametrize("channels", [1, 2])
def test_sixteen_bits_are_read_as_they_are(tmp_path: Path, ending: str, channels: int) -> None:
    values = wave(channels=channels)
    soundfile.write(tmp_path / f"a.{ending}", values, RATE)
    part = opened(tmp_path / f"a.{ending}")
    assert part.values.dtype == np.int16
    assert (part.values == values).all()
    assert part.to_unit == (0.5 / np.abs(values.astype(int)).max(), 0.5)


def test_floats_and_24_bits_are_read_as_floats(tmp_path: Path) -> None:
    values = np.linspace(-0.7, 0.9, 4000, dtype=np.float32)[:, None]
    soundfile.write(tmp_path / "a.wav", values, RATE, subtype="FLOAT")
    assert (opened(tmp_path / "a.wav").values == values).all()
    whole = np.arange(-2000, 2000, dtype=np.int32)[:, None] << 8
    soundfile.write(tmp_path / "b.flac", whole, RATE, subtype="PCM_24")
    part = opened(tmp_path / "b.flac")
    assert part.values.dtype == np.float32
    assert (part.values == whole / 2.0**31).all()


def test_bytes_become_int16(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", (np.arange(-128, 128, dtype=np.int16) << 8)[:, None], RATE, subtype="PCM_U8")
    assert (opened(tmp_path / "a.wav").values[:, 0] == np.arange(-128, 128) * 256).all()


def test_vorbis_is_read(tmp_path: Path) -> None:
    tone = 0.5 * np.sin(2 * np.pi * 440 * np.arange(2 * RATE) / RATE)[:, None]
    soundfile.write(tmp_path / "a.ogg", tone, RATE)
    part = opened(tmp_path / "a.ogg")
    assert part.values.shape == tone.shape
    assert np.abs(part.values - tone).mean() < 0.02


def test_a_part_in_time_is_read_alone(tmp_path: Path) -> None:
    values = wave(200_000)
    soundfile.write(tmp_path / "a.flac", values, RATE)
    part = opened(tmp_path / "a.flac", start=1.5, stop=20.0)
    assert (part.values == values[12_000:160_000]).all()


def test_nothing_is_held_twice(tmp_path: Path) -> None:
    values = wave(2_000_000, 2)
    soundfile.write(tmp_path / "a.wav", values, RATE)
    opened(tmp_path / "a.wav", stop=1.0)  # what is imported is not counted
    tracemalloc.start()
    part = opened(tmp_path / "a.wav")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert part.values.nbytes <= peak < 1.1 * part.values.nbytes


def test_a_sound_without_samples_is_bad_data(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", wave(0), RATE)
    with pytest.raises(BadData, match=r"a\.wav: holds neither frames nor samples"):
        opened(tmp_path / "a.wav")


def test_samples_that_are_not_finite_are_bad_data(tmp_path: Path) -> None:
    values = np.ones((100_000, 1), dtype=np.float32)
    values[90_000] = np.nan
    soundfile.write(tmp_path / "a.wav", values, RATE, subtype="FLOAT")
    with pytest.raises(BadData, match=r"a\.wav: has samples that are not finite"):
        opened(tmp_path / "a.wav")
