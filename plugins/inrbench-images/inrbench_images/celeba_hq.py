"""CelebA-HQ (Karras et al., 2018): 30,000 faces of 1024 x 1024, as CelebAMask-HQ (Lee et al., 2020) hands them out.

They are read from the folder ``CelebA-HQ-img`` of that archive, 0.jpg to 29999.jpg. Neither publisher gives a checksum
of it, so that it never counts as official. It has no classes and no split: as in functa's public code 90 % train and
10 % test, which is there an order that only its own tools reproduce, and here the first 27,000 numbers and the last
3,000. A pixel is the mean of the pixels that it covers, rounded: from the 128 x 128 copies that functa's public code
reads to 64 x 64 that is its bilinear resize. Faces are resized once and kept in the user's cache as arrays that later
runs map into memory.

This reader is tested on generated images of the same layout, not on the official ones.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from inrbench.data import AboutData, OfficialFile, cache_root, digests
from inrbench.errors import BadData, BadSetting
from inrbench.settings import DataSettings, setting
from inrbench.signals import PartSpec, Signals, SignalSpec
from inrbench_images.citations import CITATIONS
from inrbench_images.decoded import Decoded
from inrbench_images.pictures import decode, open_picture

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["CelebaHq", "CelebaHqSettings"]

SPLITS = ("train", "test")


class CelebaHqSettings(DataSettings):
    """How large the faces are."""

    size: int = setting(64, "height and width in pixels; it divides the faces' 1024", ge=1)


class CelebaHq:
    """27,000 training and 3,000 test faces, [size, size, 3], uint8, without classes."""

    sizes = (27_000, 3_000)  # of the splits; tests have fewer
    images = OfficialFile(
        path="CelebA-HQ-img",
        source="names: switchablenorms/CelebAMask-HQ, README.md, and README.txt in its archive; that archive is handed "
        "out there for download by hand, and no checksum of it is published",
    )

    def __init__(self, settings: CelebaHqSettings, rest: str = "") -> None:
        if rest:
            raise BadSetting(f"data set 'celeba-hq' takes nothing behind a colon; given: {rest!r}")
        self.settings = settings

    @property
    def files(self) -> Sequence[OfficialFile]:
        """The folder of faces; nobody may offer it for download."""
        return (self.images,)

    def about(self) -> AboutData:
        """Licence, homepage and citation."""
        return AboutData(
            licence="non-commercial research alone",
            licence_source="Dataset Agreement, switchablenorms/CelebAMask-HQ, README.md",
            homepage="https://github.com/switchablenorms/CelebAMask-HQ",
            download_bytes=0,  # by hand; its size was found nowhere to the byte
            citation=CITATIONS["celeba-hq"],
        )

    def spec(self) -> SignalSpec:
        """Square grids of three channels, no classes."""
        part = PartSpec("grid", (self.settings.size, self.settings.size), 2, 3)
        return SignalSpec((part,), sizes=dict(zip(SPLITS, self.sizes, strict=True)))

    def load(self, folder: Path | None) -> Mapping[str, Signals]:
        """The splits, memory-mapped. Raises BadData, naming the file, for a face that is damaged or missing."""
        if folder is None:
            raise ValueError("data set 'celeba-hq' is read from a folder; none was given")
        source = self.images.locate(folder)
        if source is None:
            raise BadData(f"celeba-hq: {self.images.path} missing in {folder}")
        paths = self._paths(source)
        decoded = self._decoded(source)
        splits = decoded.read(self.settings.size, SPLITS)
        if splits is None:
            self._decode(paths, decoded)
            splits = decoded.read(self.settings.size, SPLITS)
        if splits is None:
            raise BadData(f"celeba-hq: what was decoded from {source} cannot be read back from {decoded.place}")
        return {name: signals.unlabelled() for name, signals in splits.items()}

    def _paths(self, source: Path) -> list[Path]:
        """The faces in the order of their numbers."""
        count = sum(self.sizes)
        paths = [source / f"{number}.jpg" for number in range(count)]
        there = {path.name for path in source.iterdir()} if source.is_dir() else set()
        missing = [path.name for path in paths if path.name not in there]
        if missing:
            more = f" and {len(missing) - 1:,} more" if len(missing) > 1 else ""
            raise BadData(f"{source}: holds no {missing[0]}{more}; it should hold 0.jpg to {count - 1}.jpg")
        return paths

    def _decoded(self, source: Path) -> Decoded:
        import PIL

        # another version of the decoder may round differently
        parts = (digests(source).content["sha256"], *self.sizes, self.settings.size, PIL.__version__)
        key = hashlib.sha256("|".join(map(str, parts)).encode()).hexdigest()[:24]
        return Decoded(cache_root() / "images" / f"celeba-hq-{key}")

    def _decode(self, paths: Sequence[Path], decoded: Decoded) -> None:
        with decoded.writing(dict(zip(SPLITS, self.sizes, strict=True)), self.settings.size) as writer:
            for number, path in enumerate(paths):
                split, i = ("train", number) if number < self.sizes[0] else ("test", number - self.sizes[0])
                face = _reduced(open_picture(path, str(path), ("JPEG",)), self.settings.size, path)
                writer.put(split, i, decode(face, "rgb"), 0)  # the cache wants a class: `load` drops it


def _reduced(picture: Image, size: int, path: Path) -> Image:
    """``picture`` at ``size`` x ``size``, by the mean of the pixels that a new one covers."""
    if picture.width != picture.height or picture.width % size:
        raise BadData(f"{path}: {picture.height} x {picture.width} pixels; allowed are squares of a multiple of {size}")
    return picture.convert("RGB").reduce(picture.width // size)
