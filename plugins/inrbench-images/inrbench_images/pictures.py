"""Image files decoded to uint8 arrays, with one clear error for one that cannot be read."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from inrbench.domains import Array
from inrbench.errors import BadData

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["SUFFIXES", "Channels", "Resize", "decode", "open_picture", "resized"]

#: Formats that are looked for, by the end of a file's name in lower case.
SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".ppm", ".pgm", ".tif", ".tiff", ".webp")
#: Names of those formats in Pillow: nothing else is tried, whatever a file's content says.
_FORMATS = ("PNG", "JPEG", "BMP", "GIF", "PPM", "TIFF", "WEBP")

Channels = Literal["grey", "rgb"]
Resize = Literal["distort", "crop"]


def open_picture(source: Path | bytes, name: str, formats: tuple[str, ...] = _FORMATS) -> Image:
    """The first frame of an image file, decoded. Raises BadData with ``name`` where it cannot be, as ``formats``."""
    from PIL import Image

    try:
        picture = Image.open(io.BytesIO(source) if isinstance(source, bytes) else source, formats=formats)
        with picture:
            picture.load()
            return picture.copy()
    except (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError) as error:
        raise BadData(f"{name}: not a readable image ({str(error).splitlines()[0]})") from None


def resized(picture: Image, size: int, how: Resize) -> Image:
    """``picture`` as a square of ``size`` pixels, bicubic.

    ``distort`` maps the whole of it onto the square; ``crop`` scales the shorter side and cuts the middle out.
    """
    from PIL import Image

    width, height = picture.size
    if how == "distort" or width == height:
        return picture.resize((size, size), Image.Resampling.BICUBIC)
    shorter = min(width, height)
    left, top = (width - shorter) // 2, (height - shorter) // 2
    box = (left, top, left + shorter, top + shorter)
    return picture.resize((size, size), Image.Resampling.BICUBIC, box=box)


def decode(picture: Image, channels: Channels) -> Array:
    """Pixels as [height, width, 1 or 3], uint8; transparency is dropped, 16-bit grey is scaled to 8 bits."""
    if picture.mode.startswith("I"):  # 16 or 32 bits a pixel, which Pillow would clip instead of scale
        deep = np.asarray(picture).astype(np.float64)
        values = np.clip(np.round(deep / 257.0), 0, 255).astype(np.uint8)[..., None]
        return values if channels == "grey" else np.repeat(values, 3, axis=-1)
    if channels == "grey":
        return np.asarray(picture.convert("L"), dtype=np.uint8)[..., None]
    return np.asarray(picture.convert("RGB"), dtype=np.uint8)
