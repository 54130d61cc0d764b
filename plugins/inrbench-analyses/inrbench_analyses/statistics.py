"""Statistics of the training signals' rows: mean and spread, explained variance, norms.

Bauer et al., Spatial Functa, arXiv 2302.03130, figure 8: mean and standard deviation of each channel of the latents.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

import numpy as np

from inrbench.domains import Array
from inrbench.errors import Refused
from inrbench.interfaces import AnalysisContext, Findings
from inrbench.representations import Representations
from inrbench_analyses.channels import pooled
from inrbench_analyses.figures import png_of
from inrbench_analyses.settings import StatisticsSettings

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Statistics", "leading_variances"]

QUANTILES = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0)
#: Directions beside the wanted ones, which make the subspace iteration converge.
OVERSAMPLING = 16
WHAT = ("mean", "std", "min", "max")
WORDS = {"latent": "dimension", "latent-grid": "channel"}
BINS = 50


class Statistics:
    """All signals of the training split, some at a time; each row is flattened, its arrays by name."""

    def __init__(self, settings: StatisticsSettings) -> None:
        self.settings = settings

    def run(self, context: AnalysisContext) -> Findings:
        """Tables of channels (of arrays, where a row is no latent), components and norms."""
        if not context.num_signals("train"):
            raise Refused("analysis 'latent-statistics' needs training signals; this neural data set has none")
        channels = _channels(context)
        variances, total, norms = self._spectrum(context)
        shares = np.cumsum(variances) / total if total > 0.0 else np.full(len(variances), np.nan)
        components = [
            {"components": count, "explained_variance": float(shares[count - 1])} for count in _powers(len(variances))
        ]
        quantiles = [{"quantile": q, "norm": float(np.quantile(norms, q))} for q in QUANTILES]
        word = WORDS.get(context.layout.kind, "array")
        note = (
            f"Over {len(norms):,} training signals, augmented copies left out. The numbers of each {word} are over "
            f"the signals{' and the cells' if word == 'channel' else ' and its elements' if word == 'array' else ''}. "
            "`explained_variance` is the share of the variance of whole rows in their leading principal components "
            f"(subspace iteration, {self.settings.passes} passes). Norms are Euclidean, of whole rows."
        )
        drawn = _picture(word, channels, shares, norms)
        return Findings({f"{word}s": channels, "components": components, "norms": quantiles}, note, {"summary": drawn})

    def _spectrum(self, context: AnalysisContext) -> tuple[Array, float, Array]:
        """(leading variances, whole variance, norms [signals])."""
        names = sorted(context.layout.shapes)
        mean = np.concatenate([context.statistics[f"{name}/mean"].reshape(-1) for name in names])
        count = min(self.settings.components, len(mean), context.num_signals("train") - 1)
        size = len(mean), min(len(mean), count + OVERSAMPLING)
        start = context.run.rng("statistics", "directions").standard_normal(size)
        passes = self.settings.passes
        steps = context.run.steps("statistics", passes, dict, lambda arrays: None)
        return leading_variances(
            lambda: (_flat(rows, names) for rows in context.shards("train")), mean, start, count, passes, steps
        )


def leading_variances(
    shards: Callable[[], Iterator[Array]], mean: Array, start: Array, count: int, passes: int, steps: Iterable[int]
) -> tuple[Array, float, Array]:
    """(the ``count`` largest eigenvalues of the covariance, its trace, the rows' norms), by subspace iteration.

    ``shards()`` gives all rows [some, values], flattened; it is called once in each of the ``steps`` 0 .. passes - 1.
    Halko, Martinsson and Tropp, 2011, arXiv 0909.4061: each pass applies the covariance C to a block of directions,
    at first ``start`` [values, directions]; the last one compresses C to the block, QᵀCQ. Exact where the block spans
    all rows, else from below.
    """
    norms: list[Array] = []
    block = np.linalg.qr(start)[0]
    for number in steps:
        last = number == passes - 1
        product = np.zeros((block.shape[1],) * 2 if last else block.shape)
        rows, trace = 0, 0.0
        for values in shards():
            centred = values - mean
            projected = centred @ block
            product += projected.T @ projected if last else centred.T @ projected
            rows += len(values)
            if last:
                trace += float((centred**2).sum())
                norms.append(np.linalg.norm(values, axis=1))
        if not last:
            block = np.linalg.qr(product)[0]
    variances = np.linalg.eigvalsh(product / rows)[::-1][:count]
    return np.maximum(variances, 0.0), trace / rows, np.concatenate(norms)


def _flat(rows: Representations, names: list[str]) -> Array:
    arrays = [np.asarray(rows.arrays[name]).reshape(len(rows), -1) for name in names]
    return np.concatenate(arrays, axis=1).astype(np.float64)


def _channels(context: AnalysisContext) -> list[Mapping[str, float | str]]:
    """A row for each dimension of a latent, each channel of a grid, each array of anything else."""
    statistics = context.statistics
    found: list[Mapping[str, float | str]] = []
    word = WORDS.get(context.layout.kind)
    for name, shape in context.layout.shapes.items():
        if word:
            values = pooled(statistics, name)
            found += [
                {word: channel, **{what: float(values[what][channel]) for what in values}}
                for channel in range(shape[-1])
            ]
        else:
            flat = {f"{name}/{what}": statistics[f"{name}/{what}"].reshape(-1, 1) for what in WHAT}
            values = pooled(flat, name)
            found.append({"array": name, **{what: float(values[what][0]) for what in values}})
    return found


def _powers(largest: int) -> list[int]:
    """1, 2, 4, ... and ``largest``."""
    return sorted({min(2**power, largest) for power in range(largest.bit_length() + 1)}) if largest else []


def _picture(word: str, channels: list[Mapping[str, float | str]], shares: Array, norms: Array) -> bytes:
    """Figure 8 beside the explained variance and the distribution of norms."""

    def draw(figure: Figure) -> None:
        left, middle, right = figure.subplots(1, 3)
        places = np.arange(len(channels))
        mean, std = (np.asarray([row[what] for row in channels]) for what in ("mean", "std"))
        left.errorbar(places, mean, std, linestyle="none", marker=".", markersize=4, elinewidth=0.8)
        left.xaxis.get_major_locator().set_params(integer=True)
        left.set_xlabel(word)
        left.set_ylabel("mean ± standard deviation")
        middle.plot(np.arange(1, len(shares) + 1), 100.0 * shares)
        middle.set_xlabel("principal components")
        middle.set_ylabel("explained variance, %")
        middle.set_ylim(0.0, 103.0)
        right.hist(norms, bins=BINS)
        right.set_xlabel("norm of a row")
        right.set_ylabel("training signals")
        for axes in (left, middle, right):
            axes.grid(alpha=0.3)

    return png_of(draw, (15.0, 4.0))
