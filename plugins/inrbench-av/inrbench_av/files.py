"""A file of sound, film or both: what it holds, and reading what is used of it."""

from __future__ import annotations

from pathlib import Path

from inrbench.errors import BadData
from inrbench_av.clips import ClipSignals, clip_of
from inrbench_av.cut_off import missing_bytes
from inrbench_av.cuts import Cut, Facts
from inrbench_av.films import probe_film, read_film
from inrbench_av.sounds import probe_sound, read_sound

__all__ = ["probe", "read"]


def probe(path: Path, where: str) -> Facts:
    """What the file holds. Raises BadData, naming ``where``, where it is missing, empty, cut off or undecodable."""
    if not path.exists():
        raise BadData(f"{where}: does not exist")
    if not path.is_file():
        raise BadData(f"{where}: is not a file")
    try:
        if path.stat().st_size == 0:
            raise BadData(f"{where}: is empty")
        missing = missing_bytes(path)
    except OSError as error:
        raise BadData(f"{where}: cannot be read ({error.strerror or error})") from None
    if missing is not None:
        raise BadData(f"{where}: cut off, at least {missing:,} bytes are missing at its end")
    sound = probe_sound(path)
    facts = Facts(None, sound) if sound is not None else probe_film(path, where)
    if facts.film is None and (facts.sound is None or not facts.sound.samples):
        raise BadData(f"{where}: holds neither frames nor samples")
    return facts


def read(path: Path, cut: Cut, where: str) -> ClipSignals:
    """The clip, one array a part. Raises BadData for a file that is damaged or ends early."""
    if cut.film is None and cut.sound is not None and probe_sound(path) is not None:
        return clip_of(None, read_sound(path, cut.sound, cut.samples, where))
    return clip_of(*read_film(path, cut, where), cut.seconds)
