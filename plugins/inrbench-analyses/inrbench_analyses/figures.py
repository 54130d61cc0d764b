"""Figures as PNG bytes: the same values give the same bytes, whatever the user's matplotlibrc says."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from inrbench.domains import Array, Grid

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["has_pictures", "image_rows", "png_of"]

DPI = 150
TILE_INCHES = 1.3
LABEL_INCHES = 2.0
GAP = 16  # images are this many gaps wide


def png_of(draw: Callable[[Figure], None], inches: tuple[float, float]) -> bytes:
    """What ``draw`` puts on an empty figure of ``inches`` (width, height), as a PNG."""
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        figure = Figure(figsize=inches, dpi=DPI, layout="constrained")
        FigureCanvasAgg(figure)
        draw(figure)
        file = io.BytesIO()
        figure.savefig(file, format="png", metadata={"Software": None})  # no version: equal bytes
    return file.getvalue()


def has_pictures(domain: object, channels: int) -> bool:
    """Whether values on ``domain`` can be shown as images."""
    return isinstance(domain, Grid) and len(domain.shape) == 2 and channels in (1, 3)


def image_rows(rows: Sequence[tuple[str, Sequence[Array]]], cells: int | None = None) -> bytes:
    """Images [height, width, channels] in [0, 1] in labelled rows, with lines between ``cells`` a side."""
    height, width = rows[0][1][0].shape[:2]
    gap = max(1, width // GAP)
    columns = len(rows[0][1])
    mosaic = np.ones((len(rows) * (height + gap) - gap, columns * (width + gap) - gap, 3))
    corners = [(row * (height + gap), column * (width + gap)) for row in range(len(rows)) for column in range(columns)]
    images = [image for _, line in rows for image in line]
    for (top, left), image in zip(corners, images, strict=True):
        mosaic[top : top + height, left : left + width] = np.clip(image, 0.0, 1.0)  # grey: in each of the 3

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        axes.imshow(mosaic, interpolation="nearest")
        axes.set_xticks([])
        axes.set_yticks([row * (height + gap) + (height - 1) / 2 for row in range(len(rows))], [row[0] for row in rows])
        axes.tick_params(length=0, labelsize=7)
        axes.spines[:].set_visible(False)
        tops, lefts = (np.repeat([corner[axis] - 0.5 for corner in corners], (cells or 1) - 1) for axis in (0, 1))
        borders = np.tile(np.arange(1, cells or 1) / (cells or 1), len(corners))
        axes.hlines(tops + borders * height, lefts, lefts + width, color="tab:red", linewidth=0.3)
        axes.vlines(lefts + borders * width, tops, tops + height, color="tab:red", linewidth=0.3)

    return png_of(draw, (TILE_INCHES * columns + LABEL_INCHES, TILE_INCHES * len(rows) * height / width + 0.2))
