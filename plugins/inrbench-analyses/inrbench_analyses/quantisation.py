"""Quantisation: how many bits of a value the reconstruction needs.

Bauer et al., Spatial Functa, arXiv 2302.03130, figure 11: each latent dimension is put into 2^bits uniform bins over
the training split's range, and stands for the centre of its bin.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from inrbench.domains import Array
from inrbench.errors import Refused
from inrbench.interfaces import AnalysisContext, Findings
from inrbench.metrics import mean_interval, psnr_db, squared_error
from inrbench.representations import Arrays, Representations
from inrbench_analyses.figures import png_of
from inrbench_analyses.settings import UNQUANTISED, QuantisationSettings

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Quantisation", "quantised"]

#: Signals that are asked for at once.
SHARD = 64


def quantised(values: Array, low: Array, high: Array, bits: int) -> Array:
    """``values`` [rows, *shape] as the centres of 2^bits equal bins of [low, high], each of shape [*shape].

    What lies outside goes to the bins at the ends; where ``low`` is ``high``, everything is that value.
    """
    bins = 2**bits
    width = (high.astype(np.float64) - low) / bins
    place = np.floor((values - low.astype(np.float64)) / np.where(width > 0.0, width, 1.0))
    centres = low + (np.clip(place, 0, bins - 1) + 0.5) * width
    return np.asarray(centres).astype(values.dtype)


class Quantisation:
    """PSNR by the project's protocol after each array of a row was quantised element by element."""

    def __init__(self, settings: QuantisationSettings) -> None:
        self.settings = settings

    def run(self, context: AnalysisContext) -> Findings:
        """The table of bits; PSNR in dB with its 95 % interval over signals, and the paired change by quantising."""
        rows = context.sample(self.settings.signals)
        levels = sorted({*self.settings.bits, UNQUANTISED})
        errors = self._squared_errors(rows, levels, context)
        whole = psnr_db(errors[UNQUANTISED])
        table = [self._row(bits, psnr_db(errors[bits]), whole, context) for bits in sorted(set(self.settings.bits))]
        outside = _share_outside(rows, context.statistics)
        note = (
            f"PSNR over {len(rows):,} signals of the split {context.split!r}: mean with 95 % interval. Each "
            "value is the centre of its bin, of 2^bits equal ones over the training signals' range of that element; "
            f"{100 * outside:.3g} % of the values lie outside and go to the end bins. `change_db` is the mean of the "
            f"signals' differences to the values as they are ({UNQUANTISED} bits), with its 95 % interval."
        )
        return Findings({"quantisation": table}, note, {"psnr": _picture(table, float(whole.mean()))})

    def _squared_errors(
        self, rows: Representations, levels: list[int], context: AnalysisContext
    ) -> Mapping[int, Array]:
        """The clamped squared errors [signals] at each number of bits."""
        shards = [rows.take(slice(first, first + SHARD)) for first in range(0, len(rows), SHARD)]
        errors: dict[int, list[Array]] = {bits: [] for bits in levels}
        total = len(shards) * len(levels)
        for step in context.run.steps("quantisation", total, dict, lambda arrays: None):
            shard, bits = shards[step // len(levels)], levels[step % len(levels)]
            if step % len(levels) == 0:
                stacked = context.signals(shard).stacked()
                if stacked is None:
                    raise Refused("analysis 'quantisation' takes signals that share one grid")
                domain, stored, (scale, offset) = stacked
                values = stored.astype(np.float32) * np.float32(scale) + np.float32(offset)
            found = context.fitter.query(_with(shard, context.statistics, bits), domain, context.run)
            errors[bits].append(squared_error(np.concatenate(list(found)), values))
        return {bits: np.concatenate(parts) for bits, parts in errors.items()}

    def _row(self, bits: int, psnr: Array, whole: Array, context: AnalysisContext) -> Mapping[str, float]:
        low, high = mean_interval(psnr)
        change = psnr - whole
        change_low, change_high = mean_interval(change)
        return {
            "bits": bits,
            "bits_per_signal": bits * context.layout.num_values,
            "psnr_db": float(psnr.mean()),
            "psnr_db_low": low,
            "psnr_db_high": high,
            "change_db": float(change.mean()),
            "change_db_low": change_low,
            "change_db_high": change_high,
        }


def _with(rows: Representations, statistics: Arrays, bits: int) -> Representations:
    """The rows, quantised."""
    if bits == UNQUANTISED:
        return rows
    arrays = {
        name: quantised(array, statistics[f"{name}/min"], statistics[f"{name}/max"], bits)
        for name, array in rows.arrays.items()
    }
    return Representations(rows.layout, arrays, rows.ids, rows.copies)


def _share_outside(rows: Representations, statistics: Arrays) -> float:
    outside = [
        ((array < statistics[f"{name}/min"]) | (array > statistics[f"{name}/max"])).reshape(-1)
        for name, array in rows.arrays.items()
    ]
    return float(np.concatenate(outside).mean())


def _picture(table: list[Mapping[str, float]], whole: float) -> bytes:
    """Figure 11: PSNR over bits, with the unquantised one as a line across."""
    points = [row for row in table if row["bits"] != UNQUANTISED]

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        bits = [row["bits"] for row in points]
        mean = [row["psnr_db"] for row in points]
        half = np.nan_to_num([(row["psnr_db_high"] - row["psnr_db_low"]) / 2 for row in points])
        axes.errorbar(bits, mean, half, marker="o", markersize=5, capsize=3, color="C0", label="quantised")
        axes.axhline(whole, color="grey", linestyle="--", label="as it is, 32 bits")
        axes.set_xticks(bits)
        axes.set_xlabel("bits of a value")
        axes.set_ylabel("PSNR, dB")
        axes.grid(alpha=0.3)
        axes.legend(frameon=False)

    return png_of(draw, (6.0, 4.0))
