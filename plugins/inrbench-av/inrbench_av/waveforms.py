"""Waveforms of a sound, its reconstruction and the error."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from inrbench.domains import Array

__all__ = ["draw_waveforms", "envelope"]

#: Columns that a waveform is drawn in; each shows the lowest and the highest of its samples.
COLUMNS = 1200
INCHES = (5.0, 2.0)  # of one panel
DPI = 120


def envelope(values: Array, columns: int = COLUMNS) -> tuple[Array, Array]:
    """([columns], [columns]): the lowest and the highest of ``values`` [samples] in as many equal stretches.

    Where there are fewer samples than columns each has a stretch of its own.
    """
    starts = np.unique(np.arange(columns) * len(values) // columns)
    return np.minimum.reduceat(values, starts), np.maximum.reduceat(values, starts)


def draw_waveforms(original: Array, ours: Array, rate: int, path: Path) -> None:
    """A PNG with a column a channel: the original, the reconstruction and the error, [samples, channels] int16 each."""
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    channels = original.shape[1]
    with matplotlib.rc_context():
        matplotlib.rcdefaults()  # whatever the user's matplotlibrc says
        figure = Figure(figsize=(INCHES[0] * channels, INCHES[1] * 3), layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.subplots(3, channels, sharex=True, sharey="row", squeeze=False)
        for channel in range(channels):
            one, other = original[:, channel], ours[:, channel]
            shown = {"original": one, "reconstruction": other, "error": other.astype(np.int32) - one}
            for row, (name, values) in enumerate(shown.items()):
                low, high = (line / 32768.0 for line in envelope(values))
                seconds = np.arange(len(low)) / len(low) * len(one) / rate
                panel = axes[row, channel]
                panel.fill_between(seconds, low, high, step="post", color=f"C{row}", linewidth=0.5)
                if channel == 0:
                    panel.set_ylabel(name)
            axes[2, channel].set_xlabel("seconds" if channels == 1 else f"seconds (channel {channel})")
        for panel in axes[:2].flat:  # the same scale: what is quieter looks quieter
            largest = max(1.0 / 32768.0, float(np.abs(original.astype(np.int32)).max()) / 32768.0)
            panel.set_ylim(-1.05 * largest, 1.05 * largest)
        figure.savefig(path, dpi=DPI, metadata={"Software": None})
