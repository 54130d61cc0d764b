"""The pixel control's fitter: the samples themselves, in order, and their nearest neighbours on other grids."""

from __future__ import annotations

import numpy as np
import pytest
from inrbench_readers.samples import Samples
from inrbench_readers.settings import SamplesSettings

from inrbench import draws
from inrbench.cell_run import CellRun
from inrbench.domains import Grid, Points
from inrbench.errors import Refused
from inrbench.representations import Representations
from inrbench.signals import GridSignals, PartSpec, SignalSpec

SPEC = SignalSpec((PartSpec("grid", (4, 6), 2, 3),))
FITTER = Samples(SamplesSettings(), SPEC)


def images(count: int) -> GridSignals:
    stored = draws.generator(0, "images").integers(0, 256, (count, 4, 6, 3), dtype=np.uint8)
    return GridSignals(stored, np.arange(count) % 10)


def fitted(signals: GridSignals) -> Representations:
    return Representations.joined(FITTER.fit(signals, CellRun(0)))


def test_a_representation_is_the_signals_values_in_unit_range() -> None:
    signals = images(7)
    rows = fitted(signals.take(np.array([5, 2, 6])))
    assert list(rows.ids) == [5, 2, 6]
    np.testing.assert_allclose(rows.arrays["values"], signals.values[[5, 2, 6]] / 255.0, atol=1e-6)
    assert rows.arrays["values"].shape[1:] == FITTER.layout.shapes["values"] == (4, 6, 3)
    assert FITTER.layout.kind == "samples"


def test_values_stored_on_another_scale_are_brought_to_unit_range() -> None:
    stored = np.linspace(-1.0, 1.0, 72, dtype=np.float32).reshape(1, 4, 6, 3)
    values = fitted(GridSignals(stored, to_unit=(0.5, 0.5))).arrays["values"]
    np.testing.assert_allclose(values, stored / 2 + 0.5, atol=1e-6)


def test_many_signals_come_by_shard_in_order() -> None:
    signals = images(2100)
    shards = list(FITTER.fit(signals, CellRun(0)))
    assert [len(shard) for shard in shards] == [1024, 1024, 52]
    np.testing.assert_array_equal(Representations.joined(shards).ids, np.arange(2100))


def test_a_query_on_the_signals_own_grid_gives_it_back() -> None:
    rows = fitted(images(3))
    (found,) = FITTER.query(rows, Grid.of(4, 6), CellRun(0))
    np.testing.assert_array_equal(found, rows.arrays["values"])


def test_a_query_on_another_grid_gives_the_nearest_sample() -> None:
    rows = fitted(images(2))
    (fine,) = FITTER.query(rows, Grid.of(8, 12), CellRun(0))
    np.testing.assert_array_equal(fine, rows.arrays["values"].repeat(2, axis=1).repeat(2, axis=2))
    quarter = Grid(((2, -1.0, 0.0), (3, 0.0, 1.0)))  # the upper right quarter
    (part,) = FITTER.query(rows, quarter, CellRun(0))
    np.testing.assert_array_equal(part, rows.arrays["values"][:, :2, 3:])


def test_free_points_are_refused() -> None:
    with pytest.raises(Refused, match="fitter 'samples' can be asked on grids alone"):
        list(FITTER.query(fitted(images(1)), Points(np.zeros((3, 2))), CellRun(0)))


class Ragged:
    """Signals that share no grid."""

    def stacked(self) -> None:
        return None


def test_signals_without_a_common_grid_are_refused() -> None:
    with pytest.raises(Refused, match="fitter 'samples' takes signals that share one grid"):
        list(FITTER.fit(Ragged(), CellRun(0)))  # type: ignore[arg-type]


def test_it_learns_nothing_and_says_so() -> None:
    trained = FITTER.train(images(2), images(0), CellRun(0))
    assert (dict(trained.shared), trained.steps) == ({}, 0)
    facts = FITTER.facts()
    assert (facts.parameters, facts.adapted_values, facts.scope, facts.initialisation) == (0, 72, "samples", "none")
