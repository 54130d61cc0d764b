"""Files that FFmpeg decodes, by PyAV: picture and sound, read frame by frame into the arrays that a signal keeps."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from inrbench.domains import Array
from inrbench.errors import BadData
from inrbench_av.cuts import Cut, Facts, Film, Sound
from inrbench_av.sounds import checked

if TYPE_CHECKING:
    from av.container import InputContainer

__all__ = ["averaged", "probe_film", "read_film"]

#: Sample formats that int16 holds without loss; all others become float32.
SHORT = ("u8", "u8p", "s16", "s16p")


def probe_film(path: Path, where: str) -> Facts:
    """What the file holds, counted by decoding it once. Raises BadData for what nobody can decode."""
    size: tuple[int, int] | None = None
    heard: tuple[int, int] | None = None
    frames, samples = 0, 0
    with _opened(path, where) as container:
        for frame in _decoded(container, video=True, audio=True):
            if _is_picture(frame):
                frames += 1
                size = size or (frame.height, frame.width)
            else:
                samples += frame.samples
                heard = heard or (len(frame.layout.channels), frame.sample_rate)
        rate = _rate(container)
    film = None if size is None else Film(frames, *size, rate)
    return Facts(film, None if heard is None else Sound(samples, *heard))


def read_film(path: Path, cut: Cut, where: str) -> tuple[Array | None, Array | None]:
    """Frames [frames, height, width, 3] uint8, and samples [samples, channels] int16 or float32, as ``cut`` says.

    Each is one array that is filled as the file is decoded. Raises BadData for a file that is damaged or ends early.
    """
    film, sound = cut.film, cut.sound
    video = None if film is None else np.empty(cut.video_shape, dtype=np.uint8)
    audio: Array | None = None
    frame_number, sample_number = 0, 0
    with _opened(path, where) as container:
        if sound is not None:
            if not container.streams.audio:
                raise BadData(f"{where}: has no sound")
            kind = np.int16 if container.streams.audio[0].format.name in SHORT else np.float32
            audio = np.empty((len(cut.samples), sound.channels), dtype=kind)
        for frame in _decoded(container, video=video is not None, audio=audio is not None):
            if _is_picture(frame):
                if film is not None and (frame.height, frame.width) != (film.height, film.width):
                    raise BadData(
                        f"{where}: frame {frame_number} has {frame.height} x {frame.width} pixels; the clip has "
                        f"{film.height} x {film.width}"
                    )
                if video is not None and frame_number in cut.frames:
                    video[frame_number - cut.frames.start] = _pixels(frame, cut)
                frame_number += 1
            elif audio is not None and sound is not None:
                if (len(frame.layout.channels), frame.sample_rate) != (sound.channels, sound.rate):
                    raise BadData(f"{where}: its sound is not {sound.channels} channels at {sound.rate} Hz throughout")
                sample_number += _hear(frame, audio, sample_number - cut.samples.start)
            if frame_number >= cut.frames.stop and sample_number >= cut.samples.stop:
                break
    for there, wanted, what in (
        (frame_number, cut.frames.stop, "frames"),
        (sample_number, cut.samples.stop, "samples"),
    ):
        if there < wanted:
            raise BadData(f"{where}: cut off, its {what} end at {there:,} of {wanted:,}")
    return video, None if audio is None else checked(audio, where)


def averaged(pixels: Array, shrink: int) -> Array:
    """[height, width, channels] uint8 with the rounded mean of each ``shrink`` x ``shrink`` pixels as one.

    What is left over at the bottom and at the right is dropped.
    """
    if shrink == 1:
        return pixels
    height, width = (side // shrink for side in pixels.shape[:2])
    total = np.full((height, width, pixels.shape[-1]), shrink**2 // 2, dtype=np.uint32)
    for place in np.ndindex(shrink, shrink):
        total += pixels[place[0] : height * shrink : shrink, place[1] : width * shrink : shrink]
    return (total // shrink**2).astype(np.uint8)


@contextmanager
def _opened(path: Path, where: str) -> Iterator[InputContainer]:
    """The file, decoded within the block; whatever a decoder stumbles over becomes BadData."""
    import av

    try:
        with av.open(str(path), metadata_errors="replace") as container:  # titles may be in any encoding
            yield container
    except (av.FFmpegError, ValueError) as error:
        reason = error.strerror if isinstance(error, av.FFmpegError) else error
        raise BadData(f"{where}: not readable as sound or film ({reason})") from None


def _decoded(container: InputContainer, *, video: bool, audio: bool) -> Iterator[Any]:
    """The frames of the first picture and of the first sound of a file, as they come; a cover is no film."""
    from av.stream import Disposition

    pictures = [one for one in container.streams.video if not one.disposition & Disposition.attached_pic]
    streams = [*(pictures[:1] if video else []), *(container.streams.audio[:1] if audio else [])]
    if not streams:
        return
    for packet in container.demux(*streams):
        yield from packet.decode()


def _is_picture(frame: Any) -> bool:
    return hasattr(frame, "height")


def _rate(container: InputContainer) -> Fraction:
    for stream in container.streams.video:
        if stream.average_rate:
            return Fraction(stream.average_rate)
    return Fraction(25)


def _pixels(frame: Any, cut: Cut) -> Array:
    pixels = averaged(frame.to_ndarray(format="rgb24"), cut.shrink)
    return pixels[cut.rows.start : cut.rows.stop, cut.columns.start : cut.columns.stop]


def _hear(frame: Any, audio: Array, place: int) -> int:
    """Put a frame's samples into ``audio`` from ``place`` on, as far as they belong there; how many it has."""
    values = frame.to_ndarray()  # [channels, samples] where planar, else [1, samples x channels]
    values = values.T if frame.format.is_planar else values.reshape(frame.samples, -1)
    first, last = max(0, -place), min(len(values), len(audio) - place)
    if first < last:
        audio[place + first : place + last] = _scaled(values[first:last])
    return len(values)


def _scaled(values: Array) -> Array:
    """int16 as it is, unsigned bytes as int16, floats as they are, int32 in [-1, 1]."""
    if values.dtype == np.uint8:
        return (values.astype(np.int16) - 128) << 8
    if values.dtype == np.int32:
        return values.astype(np.float32) / np.float32(2**31)
    return values
