"""Films without loss, which tests write and read back."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

Array = np.ndarray[Any, Any]


def write_lossless(
    path: Path, frames: Array | None, sound: Array | None = None, fps: int = 10, rate: int = 8000, layout: str = "mono"
) -> Path:
    """Frames [frames, height, width, 3] uint8 as PNGs or FFV1, samples [samples, channels] int16 as they are."""
    with av.open(str(path), "w") as container:
        voice = None if sound is None else container.add_stream("pcm_s16le", rate=rate, layout=layout)
        if frames is not None:
            codec, colours = ("png", "rgb24") if path.suffix == ".mov" else ("ffv1", "bgr0")
            picture = container.add_stream(codec, rate=fps)
            picture.height, picture.width, picture.pix_fmt = frames.shape[1], frames.shape[2], colours
            for number, pixels in enumerate(frames):
                shown = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")
                shown.pts, shown.time_base = number, Fraction(1, fps)
                container.mux(picture.encode(shown))
            container.mux(picture.encode(None))
        if voice is not None and sound is not None:
            heard = av.AudioFrame.from_ndarray(np.ascontiguousarray(sound).reshape(1, -1), format="s16", layout=layout)
            heard.sample_rate, heard.pts = rate, 0
            container.mux(voice.encode(heard))
            container.mux(voice.encode(None))
    return path


@pytest.fixture
def lossless() -> Callable[..., Path]:
    return write_lossless


@pytest.fixture
def film() -> Array:
    """Twelve frames of 6 x 10 colours."""
    return np.random.default_rng(1).integers(0, 256, (12, 6, 10, 3), dtype=np.uint8)


@pytest.fixture
def sound() -> Array:
    """As long as twelve frames at ten a second: 9,600 samples at 8 kHz."""
    return np.random.default_rng(2).integers(-32768, 32768, (9600, 1), dtype=np.int16)
