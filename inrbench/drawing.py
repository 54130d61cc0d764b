"""Pictures of panels with a legend below, as PNG: the same values give the same bytes, whatever the user's settings."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from inrbench.errors import InrbenchError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["legend", "panels", "style"]

COLOURS = 10  # of matplotlib's default cycle, C0 to C9
MARKERS = "osD^v"
PANEL_INCHES = (6.0, 4.0)
LEGEND_INCHES = 0.25  # a line of it
DPI = 150


@contextlib.contextmanager
def panels(out: Path, rows: int, columns: int, legend_lines: int) -> Iterator[tuple[Figure, list[list[Axes]]]]:
    """(a figure, its axes by row and column), written to ``out`` when the block is left without an error.

    Raises InrbenchError where the file cannot be written.
    """
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    width, height = PANEL_INCHES
    with matplotlib.rc_context():
        matplotlib.rcdefaults()  # whatever the user's matplotlibrc says
        size = (width * columns, height * rows + LEGEND_INCHES * legend_lines)
        figure = Figure(figsize=size, dpi=DPI, layout="constrained")
        FigureCanvasAgg(figure)
        yield figure, [list(row) for row in figure.subplots(rows, columns, squeeze=False)]
        try:
            out.parent.mkdir(parents=True, exist_ok=True)
            with out.open("wb") as file:
                figure.savefig(file, format="png", metadata={"Software": None})  # no version: equal bytes
        except OSError as error:
            raise InrbenchError(f"cannot write the plot {out}: {error.strerror or error}") from error


def style(number: int) -> dict[str, Any]:
    """The colour and the marker of the line with that number."""
    return {"color": f"C{number % COLOURS}", "marker": MARKERS[number % len(MARKERS)]}


def legend(figure: Figure, styles: Mapping[str, Mapping[str, Any]]) -> None:
    """The names of lines with their styles, below the panels."""
    from matplotlib.lines import Line2D

    handles = [Line2D([], [], label=name, **one) for name, one in styles.items()]
    figure.legend(handles=handles, loc="outside lower center", frameon=False)
