"""MP4 files: H.264 where this build of FFmpeg can encode it, with AAC sound."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np

from inrbench.domains import Array
from inrbench.errors import InrbenchError

if TYPE_CHECKING:
    from av.audio.stream import AudioStream
    from av.container import OutputContainer
    from av.video.stream import VideoStream

__all__ = ["ENCODERS", "write_movie"]

log = logging.getLogger("inrbench")
#: Encoders of pictures, the first that is there is used, and their options: little loss.
ENCODERS = {
    "libx264": {"crf": "15"},
    "libopenh264": {},
    "h264_videotoolbox": {},
    "mpeg4": {"qscale": "2"},
}
#: Layouts of as many channels as AAC knows.
LAYOUTS = {1: "mono", 2: "stereo", 3: "3.0", 4: "4.0", 5: "5.0", 6: "5.1", 8: "7.1"}
#: Samples that are encoded at once.
CHUNK = 1024


def write_movie(
    frames: Iterator[Array],
    size: tuple[int, int],
    rate: Fraction,
    path: Path,
    sound: Array | None = None,
    sample_rate: int | None = None,
) -> None:
    """Write ``frames`` [height, width, 3] uint8 of ``size`` and perhaps ``sound`` [samples, channels] int16.

    An odd row or column is doubled, since the encoder wants even numbers. Sound that AAC has no layout or rate for is
    left out with a warning. Raises InrbenchError where this build of FFmpeg has none of `ENCODERS`.
    """
    import av

    encoder = _encoder()
    height, width = size
    even = ((0, height % 2), (0, width % 2), (0, 0))
    try:
        with av.open(str(path), "w", format="mp4") as container:
            picture = cast("VideoStream", container.add_stream(encoder, rate=rate, options=dict(ENCODERS[encoder])))
            picture.height, picture.width, picture.pix_fmt = height + height % 2, width + width % 2, "yuv420p"
            voice = None if sound is None or sample_rate is None else _voice(container, sound.shape[1], sample_rate)
            done = 0
            for number, frame in enumerate(frames):
                shown = av.VideoFrame.from_ndarray(np.pad(frame, even, mode="edge"), format="rgb24")
                shown.pts = number
                shown.time_base = 1 / rate
                container.mux(picture.encode(shown))
                if voice is not None and sound is not None and sample_rate is not None:
                    done = _speak(container, voice, sound, done, int((number + 1) / rate * sample_rate))
            container.mux(picture.encode(None))
            if voice is not None and sound is not None:
                _speak(container, voice, sound, done, len(sound))
                container.mux(voice.encode(None))
    except av.FFmpegError as error:
        raise InrbenchError(f"cannot write {path}: {error.strerror}") from error


def _encoder() -> str:
    there = [name for name in ENCODERS if _encodes(name)]
    if not there:
        raise InrbenchError(
            f"this build of FFmpeg has none of the encoders {', '.join(ENCODERS)}: reinstall PyAV from PyPI "
            "(pip install --force-reinstall av)"
        )
    if there[0] == "mpeg4":
        log.warning("this build of FFmpeg has no encoder of H.264: films are written as MPEG-4 part 2")
    return there[0]


def _encodes(name: str) -> bool:
    import av

    try:
        av.Codec(name, "w")
    except av.codec.codec.UnknownCodecError:
        return False
    return True


def _voice(container: OutputContainer, channels: int, rate: int) -> AudioStream | None:
    import av

    rates = av.Codec("aac", "w").audio_rates or []
    if channels not in LAYOUTS or rate not in rates:
        log.warning("the film's sound, %d channels at %d Hz, fits no AAC: it is in the WAV file alone", channels, rate)
        return None
    voice: AudioStream = container.add_stream("aac", rate=rate, layout=LAYOUTS[channels])
    voice.bit_rate = 96_000 * channels
    return voice


def _speak(container: OutputContainer, voice: AudioStream, sound: Array, first: int, last: int) -> int:
    """Encode samples from ``first`` on in whole chunks up to ``last``; where it stopped."""
    import av

    last = min(last, len(sound))
    while first < last and (first + CHUNK <= last or last == len(sound)):
        chunk = sound[first : min(first + CHUNK, len(sound))]
        packed = np.ascontiguousarray(chunk).reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(packed, format="s16", layout=LAYOUTS[sound.shape[1]])
        frame.sample_rate, frame.pts, frame.time_base = voice.rate, first, Fraction(1, voice.rate)
        container.mux(voice.encode(frame))
        first += len(chunk)
    return first
