"""folder:PATH: the user's own images, one folder per class.

Either ``PATH/<class>/*.png`` (or .jpg, ...), of which a fixed share is held out for testing, or
``PATH/train/<class>/...`` and ``PATH/test/<class>/...``. Folders are searched to any depth, hidden files are left out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np

from inrbench.data import AboutData, OfficialFile
from inrbench.domains import Array
from inrbench.errors import BadData, BadSetting
from inrbench.settings import DataSettings, setting
from inrbench.signals import GridSignals, PartSpec, Signals, SignalSpec
from inrbench_images.pictures import SUFFIXES, Channels, decode, open_picture, resized
from inrbench_images.split import stratified_split

__all__ = ["Folder", "FolderSettings"]

Entry = tuple[Path, int]  # an image and its class


class FolderSettings(DataSettings):
    """How the user's images are read."""

    size: int | None = setting(None, "height and width in pixels; if empty all must be of the first one's", ge=1)
    resize: Literal["distort", "crop"] = setting(
        "distort", "with `size`: map the whole image onto the square, or cut its middle out"
    )
    channels: Literal["auto", "grey", "rgb"] = setting("auto", "auto: rgb where the first image has colours")
    test_share: float = setting(0.2, "share of each class to hold out where there is no folder `test`", gt=0.0, lt=1.0)


class Folder:
    """Images of one size below a folder of the user's, with the folders in it as classes."""

    def __init__(self, settings: FolderSettings, rest: str = "") -> None:
        if not rest:
            raise BadSetting("data set 'folder' needs a place, as in folder:PATH; given: 'folder'")
        self.settings = settings
        self.place = Path(rest).expanduser()

    @property
    def files(self) -> Sequence[OfficialFile]:
        """None: the data is the user's own."""
        return ()

    def own_files(self) -> Mapping[str, Path]:
        """What is read, by its path below the folder."""
        return {path.relative_to(self.place).as_posix(): path for path, _ in (*self._entries[0], *self._entries[1])}

    def about(self) -> AboutData:
        """Nothing is known of the user's own data."""
        return AboutData(
            licence="your own data", licence_source="", homepage=str(self.place), download_bytes=0, citation=""
        )

    def spec(self) -> SignalSpec:
        """What the folder holds, from its names and its first image. Raises BadData where it holds no images."""
        height, width = self._shape
        train, test = self._entries
        return SignalSpec(
            parts=(PartSpec("grid", (height, width), 2, 1 if self._channels == "grey" else 3),),
            num_classes=len(self._classes),
            class_names=tuple(self._classes),
            sizes={"train": len(train), "test": len(test)},
        )

    def load(self, folder: Path | None) -> Mapping[str, Signals]:
        """The splits. Raises BadData, naming the file, for an image that is unreadable or of another size."""
        train, test = self._entries
        return {
            "train": self._signals(train, first_id=0),
            "test": self._signals(test, first_id=len(train)),
        }

    @cached_property
    def _has_splits(self) -> bool:
        if not self.place.is_dir():
            what = "is not a folder" if self.place.exists() else "does not exist"
            raise BadData(f"folder:{self.place}: {what}; expected PATH/<class>/*.png or PATH/train/<class>/*.png")
        return (self.place / "train").is_dir() and (self.place / "test").is_dir()

    @cached_property
    def _classes(self) -> list[str]:
        places = [self.place / "train", self.place / "test"] if self._has_splits else [self.place]
        names = {entry.name for place in places for entry in place.iterdir() if entry.is_dir()}
        found = sorted(name for name in names if not name.startswith("."))
        if not found:
            raise BadData(f"folder:{self.place}: holds no class folders; expected PATH/<class>/*.png")
        return found

    @cached_property
    def _entries(self) -> tuple[list[Entry], list[Entry]]:
        if self._has_splits:
            train, test = self._images(self.place / "train"), self._images(self.place / "test")
        else:
            found = self._images(self.place)
            labels = np.asarray([label for _, label in found], dtype=np.int64)
            names = [path.relative_to(self.place).as_posix() for path, _ in found]
            num_test = round(self.settings.test_share * len(found))
            kept, held_out = stratified_split(labels, names, num_test, "folder")
            train, test = [found[i] for i in kept], [found[i] for i in held_out]
        for split, entries in (("train", train), ("test", test)):
            if not entries:
                raise BadData(
                    f"folder:{self.place}: no images for the split {split!r}; looked for {', '.join(SUFFIXES)} "
                    f"in the class folders {', '.join(self._classes[:8])}"
                )
        return train, test

    def _images(self, place: Path) -> list[Entry]:
        found: list[Entry] = []
        for label, name in enumerate(self._classes):
            below = [path for path in (place / name).rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file()]
            visible = [path for path in below if not any(p.startswith(".") for p in path.relative_to(place).parts)]
            found += [(path, label) for path in sorted(visible, key=lambda path: path.relative_to(place).as_posix())]
        return found

    @cached_property
    def _first(self) -> tuple[int, int, Channels]:
        path = self._entries[0][0][0]
        picture = open_picture(path, str(path))
        channels: Channels = "grey" if picture.mode in ("1", "L", "LA", "I", "F") or "I;" in picture.mode else "rgb"
        return picture.height, picture.width, channels

    @property
    def _shape(self) -> tuple[int, int]:
        return (self.settings.size, self.settings.size) if self.settings.size is not None else self._first[:2]

    @property
    def _channels(self) -> Channels:
        return self._first[2] if self.settings.channels == "auto" else self.settings.channels

    def _signals(self, entries: Sequence[Entry], first_id: int) -> GridSignals:
        height, width = self._shape
        values = np.empty((len(entries), height, width, 1 if self._channels == "grey" else 3), dtype=np.uint8)
        for i, (path, _) in enumerate(entries):
            values[i] = self._pixels(path, height, width)
        labels = np.asarray([label for _, label in entries], dtype=np.int64)
        return GridSignals(values, labels, ids=np.arange(first_id, first_id + len(entries)))

    def _pixels(self, path: Path, height: int, width: int) -> Array:
        picture = open_picture(path, str(path))
        if self.settings.size is not None:
            picture = resized(picture, self.settings.size, self.settings.resize)
        elif (picture.height, picture.width) != (height, width):
            raise BadData(
                f"{path}: {picture.height} x {picture.width} pixels, but the first image has {height} x {width}; "
                f"resize all of them with --set data.size=N"
            )
        return decode(picture, self._channels)
