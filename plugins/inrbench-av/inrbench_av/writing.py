"""Writing a clip and its reconstruction: WAV, MP4 and PNG, block by block, so that no film is ever held as floats."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np

from inrbench.domains import Array
from inrbench.errors import InrbenchError
from inrbench.signals import Part
from inrbench_av.movies import write_movie
from inrbench_av.waveforms import draw_waveforms

__all__ = ["write_clip"]

#: Frames in the picture of a film, evenly spaced from the first to the last.
FRAMES = 6
#: White around each of them, and their shortest side in pixels: small ones are enlarged without smoothing.
GAP, SMALLEST_SIDE = 2, 64
#: Samples that are converted at once.
CHUNK = 2**18


def write_clip(
    parts: Sequence[Part],
    predicted: Sequence[Iterator[Array]],
    folder: Path,
    stem: str,
    frame_rate: Fraction | None,
    sample_rate: int | None,
) -> list[Path]:
    """Write ``stem.wav``, ``stem.mp4``, their originals and pictures into ``folder``; the paths, main ones first.

    ``predicted`` holds, for each of ``parts``, its blocks along the first axis in order, [n, ..., channels] in [0, 1].
    Raises InrbenchError where a file cannot be written.
    """
    audio = next((i for i, part in enumerate(parts) if part.name == "audio"), None)
    video = next((i for i, part in enumerate(parts) if part.name == "video"), None)
    heard = _sound_of(parts[audio], predicted[audio]) if audio is not None else None
    try:
        folder.mkdir(parents=True, exist_ok=True)
        written: list[Path] = []
        if video is not None and frame_rate is not None:
            written += _write_film(parts[video], predicted[video], heard, folder, stem, frame_rate, sample_rate)
        if heard is not None and sample_rate is not None:
            written += _write_sound(*heard, folder, stem, sample_rate)
    except OSError as error:
        raise InrbenchError(f"cannot write {folder / stem}: {error.strerror or error}") from error
    return written


def _sound_of(part: Part, blocks: Iterator[Array]) -> tuple[Array, Array]:
    """(reconstruction, original) as int16 [samples, channels]: what is written and drawn."""
    samples, channels = len(part.values), part.values.shape[-1]
    values = part.values.reshape(samples, channels)
    scale, offset = part.to_unit
    # stored int16 is written as it is, stored floats with 1 as the largest int16
    loudness = 1.0 if values.dtype == np.int16 else 32767.0
    ours, original = np.empty((samples, channels), dtype=np.int16), values
    if values.dtype != np.int16:
        original = np.empty_like(ours)
        for first in range(0, samples, CHUNK):
            original[first : first + CHUNK] = _shorts(values[first : first + CHUNK] * loudness)
    first = 0
    for block in blocks:
        clamped = np.clip(block.reshape(len(block), channels), 0.0, 1.0)
        ours[first : first + len(block)] = _shorts((clamped - offset) / scale * loudness)
        first += len(block)
    _check_whole(part, first)
    return ours, original


def _write_sound(ours: Array, original: Array, folder: Path, stem: str, rate: int) -> list[Path]:
    import soundfile

    written = []
    for name, values in ((f"{stem}.wav", ours), (f"{stem}-original.wav", original)):
        try:
            soundfile.write(str(folder / name), values, rate, subtype="PCM_16", format="WAV")
        except soundfile.LibsndfileError as error:
            raise InrbenchError(f"cannot write {folder / name}: {error.error_string}") from error
        written.append(folder / name)
    written.append(folder / f"{stem}-waveform.png")
    draw_waveforms(original, ours, rate, written[-1])
    return written


def _write_film(
    part: Part,
    blocks: Iterator[Array],
    heard: tuple[Array, Array] | None,
    folder: Path,
    stem: str,
    rate: Fraction,
    sample_rate: int | None,
) -> list[Path]:
    from PIL import Image

    count, height, width = part.values.shape[:3]
    chosen = np.unique(np.linspace(0, count - 1, min(FRAMES, count)).round().astype(int))
    kept: dict[int, Array] = {}
    scale, offset = part.to_unit

    def frames() -> Iterator[Array]:
        first = 0
        for block in blocks:
            for i, frame in enumerate(block):
                pixels = np.round((np.clip(frame, 0.0, 1.0) - offset) / scale).astype(np.uint8)
                if first + i in chosen:
                    kept[first + i] = pixels
                yield pixels
            first += len(block)
        _check_whole(part, first)

    ours, original = heard if heard is not None else (None, None)
    movies = folder / f"{stem}.mp4", folder / f"{stem}-original.mp4"
    write_movie(frames(), (height, width), rate, movies[0], ours, sample_rate)
    write_movie(iter(part.values), (height, width), rate, movies[1], original, sample_rate)
    zoom = max(1, -(-SMALLEST_SIDE // min(height, width)))
    rows = [_row([part.values[i] for i in chosen], zoom), _row([kept[int(i)] for i in chosen], zoom)]
    picture = folder / f"{stem}-frames.png"
    Image.fromarray(np.concatenate(rows)).save(picture)
    return [*movies, picture]


def _row(frames: Sequence[Array], zoom: int) -> Array:
    enlarged = [frame.repeat(zoom, axis=0).repeat(zoom, axis=1) for frame in frames]
    border = ((GAP, GAP), (GAP, GAP), (0, 0))
    return np.concatenate([np.pad(frame, border, constant_values=255) for frame in enlarged], axis=1)


def _shorts(values: Array) -> Array:
    return np.clip(np.round(values), -32768, 32767).astype(np.int16)


def _check_whole(part: Part, planes: int) -> None:
    if planes != len(part.values):
        raise InrbenchError(f"the reconstruction of the {part.name} has {planes} of {len(part.values)} planes")
