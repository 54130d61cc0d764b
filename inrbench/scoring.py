"""How far reconstructions are from the signals: what `query` gives on everything that is scored, in bounded memory.

This module's source is part of every stage's key.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from inrbench import metrics
from inrbench.domains import Array, Domain, Grid, Rays
from inrbench.errors import InrbenchError, NotFinite
from inrbench.interfaces import Fitter, Run, SubsamplingFitter
from inrbench.representations import Representations
from inrbench.signals import Part, Signals, unit_values

__all__ = ["Errors", "check_finite", "errors_of"]

#: A grid of more cells than these is queried in blocks of whole planes.
BLOCK_POINTS = 2**20


@dataclass(frozen=True)
class Errors:
    """Of some entries: squared errors in [0, 1], and what their parts are measured by beside."""

    mse: Array  # predictions clamped to [0, 1]: [entries], or [entries, views] with one for each image
    unclamped: Array  # predictions as they are, of the same shape
    unseen: Array  # [entries], on points that `fit` never saw; NaN where it saw all or none was left over
    parts: dict[str, Array] = field(default_factory=dict)  # `mse_<name>`, `si_snr_db`, `iou`: [entries] each


def errors_of(fitter: Fitter, rows: Representations, entries: Signals, run: Run) -> Errors:
    """The errors of ``rows`` against what ``entries`` are scored on; all entries have the same parts."""
    stacked = entries.stacked()
    unseen = np.full(len(rows), np.nan)
    if stacked is not None:
        domain, stored, to_unit = stacked
        values = unit_values(stored, to_unit)
        predicted = np.concatenate(list(fitter.query(rows, domain, run)))
        held_out = fitter.held_out(entries.unlabelled(), run) if isinstance(fitter, SubsamplingFitter) else None
        for i, points in enumerate(held_out or ()):
            if len(points):
                one, other = (array[i].reshape(-1, array.shape[-1])[points] for array in (predicted, values))
                unseen[i] = metrics.squared_error(one[None], other[None])[0]
        clamped, unclamped = (metrics.squared_error(predicted, values, clamp=clamp) for clamp in (True, False))
        return Errors(clamped, unclamped, unseen)
    found = [_of_entry(fitter, rows.take(slice(i, i + 1)), entries.scored(i), run) for i in range(len(rows))]
    both = np.stack([errors for errors, _ in found], axis=1)
    parts = {name: np.asarray([one[name] for _, one in found]) for name in found[0][1]}
    return Errors(both[0], both[1], unseen, parts)


def check_finite(errors: Errors, ids: Array) -> None:
    """Raise NotFinite, and name the first signal, where a squared error is not finite."""
    finite = np.isfinite(errors.mse) & np.isfinite(errors.unclamped)
    bad = ids[~finite.reshape(len(ids), -1).all(axis=1)]
    if len(bad):
        raise NotFinite(f"the reconstruction of signal {bad[0]} is not finite ({len(bad)} such in this shard)")


def _of_entry(fitter: Fitter, row: Representations, parts: Sequence[Part], run: Run) -> tuple[Array, dict[str, float]]:
    """[2] or [2, views] squared errors, clamped and not, and what the parts are measured by beside."""
    if any(isinstance(part.domain, Rays) for part in parts):
        if len(parts) > 1:
            raise InrbenchError(f"signal {row.ids[0]} is scored on views and on other parts: these share no metric")
        return _of_views(fitter, row, parts[0], run), {}
    total, count, more = np.zeros(2), 0, {}
    for part in parts:
        tally = metrics.Tally(part.values.shape[-1])
        for domain, values in _blocks(part):
            predicted = _query(fitter, row, domain, run)[0][..., part.channels]
            tally.add(predicted, unit_values(values, part.to_unit))
        total += tally.squared
        count += tally.count
        if len(parts) > 1:
            more[f"mse_{part.name}"] = float(tally.squared[0] / tally.count)
        if part.name == "audio":
            more["si_snr_db"] = tally.si_snr_db()
        if part.measure == "occupancy":
            more["iou"] = tally.iou()
    return total / count, more


def _of_views(fitter: Fitter, row: Representations, part: Part, run: Run) -> Array:
    """[2, views]: the squared error of each image, clamped and not; one view at a time, since a view has many rays."""
    assert isinstance(part.domain, Rays)
    found = []
    for i, rays in enumerate(part.domain.by_view()):
        predicted = _query(fitter, row, rays, run)[..., part.channels]
        values = unit_values(part.values[i : i + 1], part.to_unit)[None]
        found.append([metrics.squared_error(predicted, values, clamp=clamp)[0] for clamp in (True, False)])
    return np.transpose(found)


def _blocks(part: Part) -> Iterator[tuple[Domain, Array]]:
    """The part's domain with its values as stored, a large grid in blocks."""
    if isinstance(part.domain, Grid) and part.domain.num_points > BLOCK_POINTS:
        for planes, block in part.domain.blocks(BLOCK_POINTS):
            yield block, part.values[planes]
    else:
        yield part.domain, part.values


def _query(fitter: Fitter, row: Representations, domain: Domain, run: Run) -> Array:
    return np.concatenate(list(fitter.query(row, domain, run)))
