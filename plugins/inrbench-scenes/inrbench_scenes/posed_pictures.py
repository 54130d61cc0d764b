"""Posed pictures on a disk, decoded when they are asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from inrbench.domains import Array
from inrbench.errors import BadData, BadSetting
from inrbench.views import focal_of
from inrbench_scenes.transforms import read_transforms

__all__ = ["PictureFiles", "PosedFiles", "PosedPictures"]

#: Decoded pictures that are kept in memory, in bytes; transforms files that are.
KEPT_BYTES, KEPT_FILES = 1 << 30, 8192


@dataclass(frozen=True)
class PosedPictures:
    """The cameras of one object and where its pictures are."""

    angle: float
    poses: Array
    paths: tuple[Path, ...]


@dataclass(frozen=True)
class PictureFiles:
    """One object: transforms files, whose frames follow one another; ``first`` of each are used, or all."""

    files: tuple[Path, ...]
    first: int | None = None
    beside: bool = False  # whether pictures lie beside the file, wherever their paths say

    def read(self) -> PosedPictures:
        """Raises BadData for a file that is damaged, or files of several angles."""
        found = [read_transforms(path) for path in self.files]
        if len({one.angle for one in found}) > 1:
            raise BadData(f"{self.files[0]} and {self.files[1]} have cameras of other angles")
        paths = [
            file.parent / f"{Path(name).name if self.beside else name}.png"
            for file, one in zip(self.files, found, strict=True)
            for name in one.images[: self.first]
        ]
        return PosedPictures(found[0].angle, np.concatenate([one.poses[: self.first] for one in found]), tuple(paths))


class PosedFiles:
    """Objects as images of ``size`` x ``size`` in front of white; implements `inrbench.views.PosedImages`.

    What is transparent is mixed with white and rounded to 8 bits; a pixel is then the mean of those that it covers,
    by Pillow's box filter where ``size`` does not divide theirs.
    """

    def __init__(self, objects: Sequence[PictureFiles], size: int) -> None:
        self.objects = objects
        self.size = size, size
        self._read = lru_cache(maxsize=KEPT_FILES)(self._transforms)
        self._picture = lru_cache(maxsize=max(1, KEPT_BYTES // (3 * size**2)))(self._decoded)

    def __reduce__(self) -> tuple[Any, ...]:
        return PosedFiles, (self.objects, self.size[0])  # another process reads for itself

    def num_views(self, row: int) -> int:
        """As many as there are frames."""
        return len(self._read(row).paths)

    def images(self, row: int, views: Array) -> Array:
        """[views, size, size, 3], uint8. Raises BadData that names a picture that cannot be decoded."""
        paths = self._read(row).paths
        found = np.empty((len(views), *self.size, 3), dtype=np.uint8)
        for i, view in enumerate(views.tolist()):
            found[i] = self._picture(paths[view])
        return found

    def poses(self, row: int, views: Array) -> Array:
        """[views, 4, 4], as the file has them."""
        return np.asarray(self._read(row).poses[views])

    def focal(self, row: int) -> float:
        """In pixels of ``size``."""
        return focal_of(self._read(row).angle, self.size[1])

    def _transforms(self, row: int) -> PosedPictures:
        return self.objects[row].read()

    def _decoded(self, path: Path) -> Array:
        from PIL import Image

        try:
            with Image.open(path, formats=("PNG",)) as picture:
                rgba = np.asarray(picture.convert("RGBA")).astype(np.uint16)
        except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
            raise BadData(f"{path}: not a readable image ({str(error).splitlines()[0]})") from None
        height, width = rgba.shape[:2]
        size = self.size[0]
        if height != width:
            raise BadData(f"{path}: {height} x {width} pixels; allowed are squares")
        if size > width:
            raise BadSetting(f"setting data.size={size}: allowed are 1 to {width}, as {path.name} is {width} x {width}")
        alpha = rgba[..., 3:]
        mixed = ((rgba[..., :3] * alpha + 255 * (255 - alpha) + 127) // 255).astype(np.uint8)
        if size == width:
            return mixed
        whole = Image.fromarray(mixed)
        if width % size == 0:
            return np.asarray(whole.reduce(width // size))
        return np.asarray(whole.resize((size, size), Image.Resampling.BOX))
