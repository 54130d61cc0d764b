"""Sound files (WAV, FLAC, OGG and whatever else libsndfile knows), read once into the array that a signal keeps."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from inrbench.domains import Array
from inrbench.errors import BadData
from inrbench_av.cuts import Sound

__all__ = ["checked", "probe_sound", "read_sound"]

#: Encodings that int16 holds without loss; all others become float32.
SHORT = ("PCM_16", "PCM_S8", "PCM_U8", "ULAW", "ALAW")
BLOCK = 1 << 16


def probe_sound(path: Path) -> Sound | None:
    """What the file holds; None where it is no sound file."""
    import soundfile

    try:
        with soundfile.SoundFile(str(path)) as file:
            return Sound(file.frames, file.channels, file.samplerate)
    except soundfile.LibsndfileError:
        return None


def read_sound(path: Path, sound: Sound, samples: range, where: str) -> Array:
    """The ``samples`` as [samples, channels], int16 where that holds them, else float32 in [-1, 1].

    Raises BadData for a file that is damaged, ends early or is not the ``sound`` that was asked for.
    """
    import soundfile

    try:
        with soundfile.SoundFile(str(path)) as file:
            if (file.channels, file.samplerate) != (sound.channels, sound.rate):
                raise BadData(
                    f"{where}: has {file.channels} channels of {file.samplerate} samples a second; the clip has "
                    f"{sound.channels} of {sound.rate}"
                )
            kind = np.int16 if file.subtype in SHORT else np.float32
            values = np.empty((len(samples), file.channels), dtype=kind)
            file.seek(samples.start)
            done = 0
            while done < len(samples):
                found = len(file.read(out=values[done : done + BLOCK]))
                if found == 0:
                    raise BadData(f"{where}: cut off, its samples end at {samples.start + done:,} of {samples.stop:,}")
                done += found
    except soundfile.LibsndfileError as error:
        raise BadData(f"{where}: not readable as sound ({_line(error)})") from None
    return checked(values, where)


def checked(values: Array, where: str) -> Array:
    """``values`` themselves. Raises BadData where one is not finite."""
    if values.dtype != np.int16:
        for first in range(0, len(values), BLOCK):
            if not np.isfinite(values[first : first + BLOCK]).all():
                raise BadData(f"{where}: has samples that are not finite")
    return values


def _line(error: Exception) -> str:
    return str(error).splitlines()[-1].rstrip(".")
