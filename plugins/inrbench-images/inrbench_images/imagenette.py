"""Imagenette (Howard, 2019): 13,394 photographs of ten ImageNet classes, from the archive ``imagenette2-320.tgz``.

The archive is read as it lies, without unpacking; an unpacked folder ``imagenette2-320`` is read where there is no
archive, but since only the archive's checksum is published such a folder is never official. The photographs are
resized once and kept in the user's cache as arrays that later runs map into memory. The official split ``val`` is the
test split. Training may cut its copies out of the photographs as they lie in the archive (`inrbench_images.originals`).

This reader is tested on generated archives of the same layout, not on the official one.
"""

from __future__ import annotations

import hashlib
import tarfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Literal

from inrbench.data import AboutData, OfficialFile, cache_root, digests, md5, safe_members, sha256
from inrbench.errors import BadData, BadSetting
from inrbench.settings import DataSettings, setting
from inrbench.signals import PartSpec, Signals, SignalSpec
from inrbench_images.citations import CITATIONS
from inrbench_images.decoded import Decoded
from inrbench_images.originals import Originals, WindowedPhotographs
from inrbench_images.pictures import decode, open_picture, resized

__all__ = ["Imagenette", "ImagenetteSettings"]

CLASSES = {
    "n01440764": "tench",
    "n02102040": "English springer",
    "n02979186": "cassette player",
    "n03000684": "chain saw",
    "n03028079": "church",
    "n03394916": "French horn",
    "n03417042": "garbage truck",
    "n03425413": "gas pump",
    "n03445777": "golf ball",
    "n03888257": "parachute",
}
SPLITS = {"train": "train", "val": "test"}


class ImagenetteSettings(DataSettings):
    """How the photographs are made square."""

    size: int = setting(178, "height and width in pixels", ge=1)
    resize: Literal["distort", "crop"] = setting(
        "distort", "map the whole photograph onto the square, or scale its shorter side and cut the middle out"
    )


class Imagenette:
    """9,469 training and 3,925 test photographs of ten classes, [size, size, 3], uint8."""

    archive = OfficialFile(
        path="imagenette2-320.tgz",
        # tensorflow-datasets lists size and sha256 of an older archive that once lay at the same url
        source="url: fastai/imagenette, README.md; md5: pytorch/vision, torchvision/datasets/imagenette.py; "
        "sha256: FluxML/FastAI.jl, src/datasets/fastaidatasets.jl; size: given beside each of the two checksums in "
        "several public repositories that downloaded it",
        urls=("https://s3.amazonaws.com/fast-ai-imageclas/imagenette2-320.tgz",),
        checksums=(
            md5("3df6f0d01a2c9592104656642f5e78a3"),
            sha256("569b4497c98db6dd29f335d1f109cf315fe127053cedf69010d047f0188e158c"),
        ),
        size_bytes=341_663_724,
        alternatives=("imagenette2-320",),
    )

    def __init__(self, settings: ImagenetteSettings, rest: str = "") -> None:
        if rest:
            raise BadSetting(f"data set 'imagenette' takes nothing behind a colon; given: {rest!r}")
        self.settings = settings

    @property
    def files(self) -> Sequence[OfficialFile]:
        """The archive."""
        return (self.archive,)

    def about(self) -> AboutData:
        """Licence, homepage and citation."""
        return AboutData(
            licence="Apache 2.0 (photographs: ImageNet's)",
            licence_source="as given on huggingface.co/datasets/frgfm/imagenette for fastai/imagenette",
            homepage="https://github.com/fastai/imagenette",
            download_bytes=self.archive.size_bytes or 0,
            citation=CITATIONS["imagenette"],
        )

    def spec(self) -> SignalSpec:
        """Square grids of three channels, ten classes."""
        return SignalSpec(
            parts=(PartSpec("grid", (self.settings.size, self.settings.size), 2, 3),),
            num_classes=10,
            class_names=tuple(CLASSES.values()),
            sizes={"train": 9469, "test": 3925},
        )

    def load(self, folder: Path | None) -> Mapping[str, Signals]:
        """The official splits, memory-mapped. Raises BadData for photographs that are damaged or missing."""
        if folder is None:
            raise ValueError("data set 'imagenette' is read from a folder; none was given")
        source = self.archive.locate(folder)
        if source is None:
            raise BadData(f"imagenette: {self.archive.path} missing in {folder}")
        decoded = self._decoded(source)
        splits = decoded.read(self.settings.size)
        if splits is None:
            self._decode(source, decoded)
            splits = decoded.read(self.settings.size)
        if splits is None:
            raise BadData(f"imagenette: what was decoded from {source} cannot be read back from {decoded.place}")
        train = splits["train"]
        originals = Originals(self._originals(source), len(train), lambda: _training_photographs(source))
        return {**splits, "train": WindowedPhotographs(train.values, train.labels, train.ids, originals=originals)}

    def _originals(self, source: Path) -> Path:
        return cache_root() / "images" / f"imagenette-originals-{digests(source).content['sha256'][:24]}"

    def _decoded(self, source: Path) -> Decoded:
        import PIL

        # another version of the decoder may round differently
        parts = (digests(source).content["sha256"], self.settings.size, self.settings.resize, PIL.__version__)
        key = hashlib.sha256("|".join(map(str, parts)).encode()).hexdigest()[:24]
        return Decoded(cache_root() / "images" / f"imagenette-{key}")

    def _decode(self, source: Path, decoded: Decoded) -> None:
        """Decode every photograph; they are put in the order of their names, whatever the archive's order is."""
        places: dict[str, list[str]] = {split: [] for split in SPLITS.values()}
        for name, _ in _photographs(source, read=False):
            places[_split_of(name)].append(name)
        rows: dict[str, tuple[str, int]] = {}
        for split, names in places.items():
            if not names:
                raise BadData(f"{source}: holds no photographs of the split {split!r}")
            rows.update({name: (split, i) for i, name in enumerate(sorted(names))})
        classes = list(CLASSES)
        with decoded.writing({split: len(names) for split, names in places.items()}, self.settings.size) as writer:
            for name, content in _photographs(source, read=True):
                split, i = rows[name]
                picture = resized(open_picture(content, f"{source}: {name}"), self.settings.size, self.settings.resize)
                writer.put(split, i, decode(picture, "rgb"), classes.index(name.split("/")[1]))


def _training_photographs(source: Path) -> Iterator[tuple[int, bytes]]:
    """(number of the signal, content) of every training photograph: they are numbered in the order of their names."""
    names = sorted(name for name, _ in _photographs(source, read=False) if _split_of(name) == "train")
    rows = {name: row for row, name in enumerate(names)}
    for name, content in _photographs(source, read=True):
        if name in rows:
            yield rows[name], content


def _photographs(source: Path, *, read: bool) -> Iterator[tuple[str, bytes]]:
    """(``train/n01440764/NAME.JPEG``, content) of every photograph in an archive or an unpacked folder."""
    if source.is_dir():
        for path in sorted(source.rglob("*.JPEG")):
            if name := _name_of(path.relative_to(source.parent).as_posix()):
                yield name, path.read_bytes() if read else b""
        return
    try:
        with tarfile.open(source, "r:*") as archive:
            for entry_name, entry in safe_members(archive, source):
                if name := _name_of(entry_name):
                    content = archive.extractfile(entry) if read else None
                    yield name, content.read() if content is not None else b""
    except (tarfile.TarError, EOFError, zlib.error, OSError) as error:
        raise BadData(f"{source}: damaged archive ({error}); fetch it again") from None


def _name_of(entry: str) -> str | None:
    """``train/n01440764/NAME.JPEG`` for the path of a photograph within the archive; None for anything else."""
    parts = PurePosixPath(entry).parts
    if len(parts) != 4 or parts[1] not in SPLITS or parts[2] not in CLASSES or not parts[3].endswith(".JPEG"):
        return None
    return "/".join(parts[1:])


def _split_of(name: str) -> str:
    return SPLITS[name.partition("/")[0]]
