"""Perturbation: what moving one dimension of a latent, or one channel in every cell of a grid, does to the signal.

Bauer et al., Spatial Functa, arXiv 2302.03130: figure 4 (a latent's dimensions with the largest, the median and the
least mean absolute change), figure 12 (one channel in every cell: the pattern repeats with the cell's size) and
figure 13 (RMSE against the move, about linear).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from inrbench.domains import Array, Grid
from inrbench.interfaces import AnalysisContext, Findings
from inrbench.metrics import mean_interval
from inrbench.representations import Representations
from inrbench_analyses.channels import pooled
from inrbench_analyses.perturbation_pictures import pictures_of
from inrbench_analyses.settings import PerturbationSettings

__all__ = ["Measured", "Perturbation", "line_through_origin", "repeating_share"]

#: Signals in a picture.
SHOWN = 6


class Perturbation:
    """Moves of one index of the last axis, in all cells alike; changes are of unclamped values in [0, 1]."""

    def __init__(self, settings: PerturbationSettings) -> None:
        self.settings = settings

    def run(self, context: AnalysisContext) -> Findings:
        """A row for each dimension or channel, the largest effect first."""
        moves = _Moves(context.sample(self.settings.signals), context, self.settings)
        measured = moves.measured()
        order = np.argsort(-measured.effects.mean(axis=1), kind="stable")
        word = "channel" if moves.cells else "dimension"
        rows = [{word: int(measured.indices[place]), **measured.row(int(place))} for place in order]
        tables: dict[str, Sequence[Mapping[str, float]]] = {f"{word}s": rows}
        if moves.cells:
            tables["rmse"] = measured.curve()
        three = [int(measured.indices[place]) for place in (order[0], order[len(order) // 2], order[-1])]
        images = [(index, *moves.images(index, SHOWN)) for index in three]
        effects = np.asarray([row["effect"] for row in rows])
        pictures = pictures_of(word, effects, moves.base[:SHOWN], images, measured, moves.cells)
        return Findings(tables, self._note(word, moves, context), pictures)

    def _note(self, word: str, moves: _Moves, context: AnalysisContext) -> str:
        unit = "" if self.settings.unit == "latent" else " standard deviations of the training signals"
        where = " in every cell" if moves.cells else ""
        said = (
            f"Over {len(moves.rows):,} signals of the split {context.split!r}: `effect` is the mean absolute change of "
            f"the values when one {word}{where} moves by {self.settings.delta:g}{unit}, up and down, with its 95 % "
            "interval over signals."
        )
        if moves.cells:
            said += (
                f" RMSE is the mean over signals, at moves up to {self.settings.reach:g}{unit}; `slope` is that of the "
                "line through the origin that fits it best, per side, `r2` is 1 - SS(residuals) / SS(RMSE about its "
                "mean) on that side: 1 where RMSE is linear in the move. `repeats` is the share of the change's energy "
                "in the pattern that all cells share: 1 where it repeats exactly with the cell's size."
            )
        return said


@dataclass(frozen=True)
class Measured:
    """Changes by index and move: ``rmse`` [indices, moves, signals] at ``deltas``, effects and energies at ±δ."""

    indices: Array
    deltas: Array  # of the curve, ascending, without 0; empty for a latent
    rmse: Array
    unit: str  # of the deltas
    effects: Array  # [indices, signals]: mean absolute change, of up and down
    repeats: Array  # [indices]

    def row(self, place: int) -> dict[str, float]:
        """The numbers of one dimension or channel."""
        low, high = mean_interval(self.effects[place])
        row = {"effect": float(self.effects[place].mean()), "effect_low": low, "effect_high": high}
        if not len(self.deltas):
            return row
        rmse = self.rmse[place].mean(axis=-1)
        for name, side in (("down", self.deltas < 0), ("up", self.deltas > 0)):
            row[f"slope_{name}"], row[f"r2_{name}"] = line_through_origin(np.abs(self.deltas[side]), rmse[side])
        return row | {"repeats": float(self.repeats[place])}

    def curve(self) -> list[dict[str, float]]:
        """RMSE against the move, a row for each channel and move."""
        return [
            {"channel": int(index), "delta": float(delta), "rmse": float(value.mean())}
            for index, values in zip(self.indices, self.rmse, strict=True)
            for delta, value in zip(self.deltas, values, strict=True)
        ]


def line_through_origin(x: Array, y: Array) -> tuple[float, float]:
    """(slope, R²) of the least-squares line y = slope x; R² is NaN where ``y`` does not vary."""
    slope = float((x * y).sum() / (x**2).sum())
    spread = float(((y - y.mean()) ** 2).sum())
    return slope, 1.0 - float(((y - slope * x) ** 2).sum()) / spread if spread > 0.0 else np.nan


def repeating_share(change: Array, cells: tuple[int, ...]) -> tuple[float, float]:
    """(energy of what all cells share, whole energy) of ``change`` [signals, *grid, channels].

    What cells share is the mean over those of one signal. NaN where the grid does not divide into the cells.
    """
    grid = change.shape[1:-1]
    if len(grid) != len(cells) or any(side % count for side, count in zip(grid, cells, strict=True)):
        return np.nan, np.nan
    split = [size for side, count in zip(grid, cells, strict=True) for size in (count, side // count)]
    tiles = change.astype(np.float64).reshape(len(change), *split, change.shape[-1])
    mean = tiles.mean(axis=tuple(range(1, tiles.ndim - 1, 2)), keepdims=True)
    whole = float((tiles**2).sum())
    return whole - float(((tiles - mean) ** 2).sum()), whole


class _Moves:
    """The signals' latents, where they are moved to, and what the fitter then says."""

    def __init__(self, rows: Representations, context: AnalysisContext, settings: PerturbationSettings) -> None:
        self.rows, self.context, self.settings = rows, context, settings
        ((self.name, self.latents),) = rows.arrays.items()
        self.cells = self.latents.shape[1:-1]  # () for a latent
        size = self.latents.shape[-1]
        self.unit = pooled(context.statistics, self.name)["std"] if settings.unit == "std" else np.ones(size)
        self.indices = np.arange(size)
        if settings.dimensions is not None and settings.dimensions < size:
            drawn = context.run.rng("perturbation", "dimensions").choice(size, settings.dimensions, replace=False)
            self.indices = np.sort(drawn)
        steps = np.arange(1, settings.steps + 1) * settings.reach / settings.steps if self.cells else np.zeros(0)
        self.deltas = np.concatenate([-steps[::-1], steps])

    @cached_property
    def base(self) -> Array:
        """The reconstructions, [signals, *grid, channels], unclamped."""
        return self._asked(self.latents)

    def measured(self) -> Measured:
        """All moves of all indices, a few at a time."""
        deltas = np.asarray([-self.settings.delta, self.settings.delta, *self.deltas])
        moves = [(int(index), float(delta)) for index in self.indices for delta in deltas]
        shape = (len(self.indices), len(deltas), len(self.rows))
        absolute, rmse = np.empty((2, len(moves), len(self.rows)))
        energies = np.full((len(moves), 2), np.nan)
        for first, changes in self._changes(moves):
            flat = changes.reshape(*changes.shape[:2], -1).astype(np.float64)
            place = slice(first, first + len(changes))
            absolute[place] = np.abs(flat).mean(axis=-1)
            rmse[place] = np.sqrt((flat**2).mean(axis=-1))
            if self.cells:
                energies[place] = [repeating_share(change, self.cells) for change in changes]
        up_and_down = energies.reshape(*shape[:2], 2)[:, :2].sum(axis=1)
        with np.errstate(invalid="ignore"):  # what does not change has no pattern: NaN
            repeats = up_and_down[:, 0] / up_and_down[:, 1]
        effects = absolute.reshape(shape)[:, :2].mean(axis=1)
        unit = "" if self.settings.unit == "latent" else "training standard deviations"
        return Measured(self.indices, self.deltas, rmse.reshape(shape)[:, 2:], unit, effects, repeats)

    def images(self, index: int, count: int) -> tuple[Array, Array]:
        """Values of the first ``count`` signals with ``index`` moved down, and up, by δ."""
        down, up = (self._asked(self._moved(index, sign * self.settings.delta)[:count]) for sign in (-1.0, 1.0))
        return down, up

    def _changes(self, moves: Sequence[tuple[int, float]]) -> Iterator[tuple[int, Array]]:
        """(place of the first move, changes [moves, signals, *grid, channels])."""
        at_once = max(1, self.settings.rows // len(self.rows))
        total = -(-len(moves) // at_once)
        for step in self.context.run.steps("perturbation", total, dict, lambda arrays: None):
            first = step * at_once
            latents = np.concatenate([self._moved(*move) for move in moves[first : first + at_once]])
            values = self._asked(latents)
            yield first, values.reshape(-1, *self.base.shape) - self.base

    def _moved(self, index: int, delta: float) -> Array:
        latents = self.latents.copy()
        latents[..., index] += delta * self.unit[index]
        return latents

    def _asked(self, latents: Array) -> Array:
        """The fitter's values for ``latents``; a latent that was moved has the id of its signal."""
        times = -(-len(latents) // len(self.rows))
        ids = np.tile(self.rows.ids, times)[: len(latents)]
        rows = Representations(self.rows.layout, {self.name: latents}, ids, np.zeros(len(latents), dtype=np.int64))
        return np.concatenate(list(self.context.fitter.query(rows, self._grid, self.context.run)))

    @cached_property
    def _grid(self) -> Grid:
        domain = self.context.domain
        assert isinstance(domain, Grid)
        return domain
