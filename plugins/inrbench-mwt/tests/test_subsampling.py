"""Subsampling: which points a step sees, that a signal's draws are its own, and points that no step has seen."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
import torch
from inrbench_fields.settings import SirenSettings
from inrbench_fields.siren import Siren
from inrbench_mwt.meta_sgd import MetaSGD
from inrbench_mwt.settings import MetaSGDSettings
from torch import Tensor

from inrbench import draws
from inrbench.cell_run import CellRun
from inrbench.cells import resolve
from inrbench.domains import Array, Grid, Points
from inrbench.interfaces import SteppingFitter, SubsamplingFitter
from inrbench.metrics import psnr_db, squared_error
from inrbench.pipeline import run_cell
from inrbench.representations import Representations
from inrbench.selection import Selected
from inrbench.settings import Augmentation
from inrbench.signals import GridSignals, Part, PartSpec, SignalSpec
from inrbench.stages import Stages

POINTS = 64
SMALL: dict[str, Any] = {"inr": {"width": 6, "depth": 2}, "fitter": {"steps": 3}, "reader": None, "joint": None}


class Watched:
    """A field that keeps the coordinates and the targets of every loss that it is asked for."""

    def __init__(self, field: Any) -> None:
        self.field, self.to_unit, self.init, self.apply = field, field.to_unit, field.init, field.apply
        self.convention, self.flops = field.convention, field.flops
        self.seen: list[tuple[Tensor, Tensor]] = []

    def loss_and_gradient(self, arrays: Any, coords: Tensor, target: Tensor, adapted: Any, **how: Any) -> Any:
        self.seen.append((coords, target))
        return self.field.loss_and_gradient(arrays, coords, target, adapted, **how)

    def points(self) -> dict[int, list[Array]]:
        """For each of `flat` signals the points of each of its losses, in order."""
        found: dict[int, list[Array]] = defaultdict(list)
        for coords, target in self.seen:
            for places, values in zip(coords.expand(len(target), -1, -1), target, strict=True):
                (number,) = np.unique(np.round((values.numpy() + 1.0) / 2.0 * 255.0 / 10.0))
                rows, columns = np.round((places.numpy() + 1.0) * 4.0 - 0.5).astype(int).T
                found[int(number)].append(8 * rows + columns)
        return dict(found)


class Noting(CellRun):
    """A run that keeps what its draws are for."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__(seed)
        self.purposes: list[Any] = []

    def rng(self, *purpose: object) -> np.random.Generator:
        self.purposes.append(purpose[0])
        return super().rng(*purpose)


def fitter_of(state: Mapping[str, Array] | None = None, **fitter: Any) -> MetaSGD:
    """A small fitter whose field is watched, drawn with seed 0 or with ``state``."""
    built = resolve("mwt", "digits", overrides=[SMALL, {"fitter": fitter}]).build()
    found = built.fitter
    assert isinstance(found, MetaSGD)
    found.field = Watched(found.field)  # type: ignore[assignment]
    found.start(CellRun(0))
    if state is not None:
        found.load(state)
    return found


def watched(fitter: MetaSGD) -> Watched:
    assert isinstance(fitter.field, Watched)
    return fitter.field


def flat(count: int = 5) -> GridSignals:
    """Signal i has the value 10 i everywhere: a target tells whose it is."""
    return GridSignals(np.repeat(np.arange(count, dtype=np.uint8) * 10, POINTS).reshape(count, 8, 8, 1))


def noise(count: int = 5) -> GridSignals:
    return GridSignals(draws.generator(0, "noise").integers(0, 256, (count, 8, 8, 1), dtype=np.uint8))


def trained_on(signals: GridSignals, *, steps: int = 2, micro_batch: int | None = None, **fitter: Any) -> MetaSGD:
    training = {"steps": steps, "batch_size": len(signals), "micro_batch": micro_batch}
    found = fitter_of(train=training, **fitter)
    found.train(signals, signals.take(np.arange(0)), CellRun(0))
    return found


def fitted(fitter: MetaSGD, signals: Any, seed: int = 0) -> Representations:
    return Representations.joined(fitter.fit(signals.unlabelled(), CellRun(seed)))


def assert_same_draws(one: dict[int, list[Array]], other: dict[int, list[Array]]) -> None:
    assert set(one) & set(other)
    for number in set(one) & set(other):
        np.testing.assert_array_equal(one[number], other[number], err_msg=f"signal {number}")


def assert_rows_close(one: Representations, other: Representations, tolerance: float) -> None:
    assert list(one.ids) == list(other.ids)
    for name, array in one.arrays.items():
        np.testing.assert_allclose(array, other.arrays[name], rtol=0, atol=tolerance, err_msg=name)


# ------------------------------------------------------------------ what a step sees


def test_a_training_step_takes_one_draw_for_each_inner_step_and_one_for_the_outer_loss() -> None:
    seen = watched(trained_on(flat(), steps=2, subsample=0.3)).points()
    assert set(seen) == set(range(5))
    for sets in seen.values():
        assert len(sets) == 2 * (3 + 1)
        assert all(len(one) == len(np.unique(one)) == 19 for one in sets)  # ⌊0.3 · 64⌋, none twice
        assert all(set(one) <= set(range(POINTS)) for one in sets)
        assert len({tuple(sorted(one)) for one in sets}) == len(sets)  # every one is fresh
    assert len({tuple(sorted(sets[0])) for sets in seen.values()}) == 5  # and each signal's own


def test_fitting_takes_one_draw_for_each_step() -> None:
    fitter = fitter_of(subsample=0.3)
    fitted(fitter, flat())
    assert {number: len(sets) for number, sets in watched(fitter).points().items()} == dict.fromkeys(range(5), 3)


@pytest.mark.parametrize(("share", "count"), [(0.5, 32), (0.3, 19), (0.03, 1), (0.001, 1), (0.999, 63)])
def test_a_draw_is_the_share_rounded_down_and_at_least_one_point(share: float, count: int) -> None:
    fitter = fitter_of(subsample=share)
    fitted(fitter, flat(2))
    assert {len(one) for sets in watched(fitter).points().values() for one in sets} == {count}
    facts, forward = fitter.facts(), fitter.field.flops(count)
    assert (facts.train_flops, facts.fit_flops) == (forward * (9 * 3 + 3), forward * 9)


def test_every_point_is_drawn_as_often_as_any_other() -> None:
    fitter = fitter_of(subsample=0.25, steps=50)
    fitted(fitter, flat(10))
    times = np.bincount(np.concatenate([np.concatenate(sets) for sets in watched(fitter).points().values()]))
    assert times.sum() == 10 * 50 * 16
    deviation = np.sqrt(500 * 0.25 * 0.75)
    assert np.abs(times - 125).max() < 4.5 * deviation


# ------------------------------------------------------------------ whose draws they are


def test_a_signals_draws_in_training_are_keyed_by_step_and_signal() -> None:
    together = watched(trained_on(flat(), subsample=0.3)).points()
    apart = watched(trained_on(flat(), subsample=0.3, micro_batch=1)).points()
    few = watched(trained_on(flat().take(np.array([4, 1])), subsample=0.3)).points()
    assert_same_draws(together, apart)
    assert_same_draws(together, few)
    assert set(few) == {1, 4}


def test_training_on_a_part_of_the_batch_at_a_time_learns_the_same() -> None:
    whole, parts = (trained_on(noise(), steps=3, subsample=0.3, micro_batch=size).state() for size in (5, 2))
    start = fitter_of(subsample=0.3).state()
    for name, array in whole.items():
        assert (array != start[name]).any(), name
        np.testing.assert_allclose(parts[name], array, rtol=0, atol=2e-6, err_msg=name)


def test_a_signals_fit_does_not_depend_on_what_it_is_fitted_with() -> None:
    signals, state = noise(), fitter_of().state()
    together = fitted(fitter_of(state, subsample=0.3), signals)
    for shard in (1, 2, 16):
        fitter = fitter_of(state, subsample=0.3, shard=shard)
        for order in ([2], [4, 1], [3, 0, 2, 4, 1]):
            index = np.array(order)
            assert_rows_close(fitted(fitter, signals.take(index)), together.take(index), 2e-6)


def test_signals_that_come_one_by_one_have_the_same_draws() -> None:
    class OneByOne(GridSignals):
        def stacked(self) -> Any:
            return None

    signals, state = flat(), fitter_of().state()
    apart = OneByOne(signals.values, None, signals.ids, signals.to_unit)
    one, other = fitter_of(state, subsample=0.3), fitter_of(state, subsample=0.3)
    assert_rows_close(fitted(one, signals), fitted(other, apart), 2e-6)
    assert_same_draws(watched(one).points(), watched(other).points())
    assert len(watched(other).seen) == 5 * 3 > len(watched(one).seen)


def test_another_seed_draws_other_points() -> None:
    fitter, again, other = (fitter_of(subsample=0.3) for _ in range(3))
    first, second, third = fitted(fitter, flat(), 0), fitted(again, flat(), 0), fitted(other, flat(), 1)
    assert_rows_close(first, second, 0.0)
    assert_same_draws(watched(fitter).points(), watched(again).points())
    for number, sets in watched(fitter).points().items():
        assert not np.array_equal(sets[0], watched(other).points()[number][0])
    assert all((array != third.arrays[name]).any() for name, array in first.arrays.items())


def test_at_s_1_nothing_is_drawn_and_every_step_sees_every_point() -> None:
    run, fitter, plain = Noting(), fitter_of(subsample=1.0), fitter_of()
    rows = Representations.joined(fitter.fit(noise(), run))
    assert_rows_close(rows, fitted(plain, noise()), 0.0)
    assert run.purposes == []
    coords = torch.as_tensor(Grid.of(8, 8).coords()).reshape(-1, 2)
    assert len(watched(fitter).seen) == 3
    assert all(torch.equal(seen, coords) for seen, _ in watched(fitter).seen)

    run = Noting()
    fitter_of(subsample=1.0, train={"steps": 2, "batch_size": 2}).train(noise(), noise(0), run)
    assert "points" not in run.purposes
    run = Noting()
    fitter_of(subsample=0.9, train={"steps": 2, "batch_size": 2}).train(noise(), noise(0), run)
    assert "points" in run.purposes  # what is looked for has this name


# ------------------------------------------------------------------ signals that have a value anywhere


@dataclass(frozen=True)
class Distances:
    """Distances to the origin, from 0 to 2 in units of 2, that of signal i scaled by 1 - i / 10."""

    ids: Array
    labels: Array | None = None
    num_points: int = 40

    def __len__(self) -> int:
        return len(self.ids)

    def value(self, i: int, coords: Array) -> Array:
        away = np.linalg.norm(coords, axis=-1, keepdims=True) / 2.0
        return np.asarray(away * (1.0 - self.ids[i] / 10.0), dtype=np.float32)

    def observed(self, i: int) -> Sequence[Part]:
        coords = draws.generator(9, "listed", int(self.ids[i])).uniform(-1.0, 1.0, (self.num_points, 3))
        return (Part(Points(coords.astype(np.float32)), self.value(i, coords)),)

    scored = observed

    def draw(
        self, i: int, sets: int, count: int, rng: np.random.Generator, augmentation: Augmentation | None = None
    ) -> tuple[Array, Array]:
        coords = rng.uniform(-1.0, 1.0, (sets, count, 3)).astype(np.float32)
        return coords, self.value(i, coords)

    def stacked(self) -> None:
        return None

    def take(self, indices: Array) -> Distances:
        return replace(self, ids=self.ids[indices])

    def unlabelled(self) -> Distances:
        return replace(self, labels=None)


def distances(**fitter: Any) -> MetaSGD:
    """A fitter of fields of three coordinates in the data's own unit, drawn with seed 0."""
    spec = SignalSpec((PartSpec("points", (40,), 3, 1, span=2.0),))
    field = Siren(SirenSettings(width=16, depth=1, omega_0=3.0, omega_hidden=1.0, values="unit"), spec)
    settings = MetaSGDSettings.model_validate({"steps": 3, "rate_high": 0.2, "lr": 3e-3, **fitter})
    found = MetaSGD(settings, spec, Watched(field))
    found.start(CellRun(0))
    return found


@pytest.mark.parametrize(("share", "count"), [(1.0, 40), (0.5, 20), (0.001, 1)])
def test_signals_with_a_value_anywhere_are_drawn_at_fresh_points_at_every_step(share: float, count: int) -> None:
    fitter, signals = distances(subsample=share), Distances(np.arange(4))
    rows = fitted(fitter, signals)
    seen = watched(fitter).seen
    assert [coords.shape for coords, _ in seen] == [(4, count, 3)] * 3
    everything = torch.cat([coords.reshape(-1, 3) for coords, _ in seen])
    assert len(everything.unique(dim=0)) == len(everything)
    for coords, target in seen:
        expected = coords.norm(dim=-1) * (1.0 - torch.arange(4.0)[:, None] / 10.0)  # in the data's own unit
        torch.testing.assert_close(target[..., 0], expected, rtol=1e-5, atol=1e-6)
    for shard, order in ((1, [0, 1, 2, 3]), (2, [3, 0]), (16, [2])):
        part = fitted(distances(subsample=share, shard=shard), signals.take(np.array(order)))
        assert_rows_close(part, rows.take(np.array(order)), 2e-5)
    other = fitted(distances(subsample=share), signals, seed=1)
    assert all((array != other.arrays[name]).any() for name, array in rows.arrays.items())


def test_nothing_is_held_out_of_signals_with_a_value_anywhere() -> None:
    assert distances(subsample=0.1).held_out(Distances(np.arange(4)), CellRun(0)) is None


def test_the_way_of_the_steps_on_drawn_points_ends_at_the_fit() -> None:
    fitter, signals = distances(subsample=0.5), Distances(np.arange(4))
    rows = fitter.trace(signals, CellRun(0))
    assert len(rows) == 4
    assert_rows_close(rows[-1], fitted(fitter, signals), 0.0)


def test_training_on_signals_with_a_value_anywhere_lowers_the_error_of_their_fits() -> None:
    signals, none = Distances(np.arange(8)), Distances(np.arange(0))
    fitter = distances(subsample=0.5, train={"steps": 40, "batch_size": 8})

    def error() -> float:
        rows = fitted(fitter, signals)
        found = []
        for i in range(len(signals)):
            (part,) = signals.scored(i)
            (values,) = fitter.query(rows.take(slice(i, i + 1)), part.domain, CellRun(0))
            found.append(squared_error(values, part.unit_values()[None])[0])
        return float(np.mean(found))

    before = error()
    run = CellRun(0)
    fitter.load(fitter.train(signals, none, run).shared)
    assert len(run.history) == 40
    assert error() < 0.5 * before


# ------------------------------------------------------------------ what no step has seen


@pytest.mark.parametrize(
    ("share", "more"), [(0.1, {}), (0.3, {}), (0.5, {}), (0.1, {"rates": "shared", "test_steps": 7})]
)
def test_held_out_points_are_disjoint_from_all_that_a_fit_saw(share: float, more: dict[str, Any]) -> None:
    fitter = fitter_of(subsample=share, **more)
    assert isinstance(fitter, SubsamplingFitter)
    assert isinstance(fitter, SteppingFitter)
    fitted(fitter, flat())
    held_out = fitter.held_out(flat(), CellRun(0))
    assert held_out is not None
    assert len(held_out) == 5
    short = 0
    for number, sets in watched(fitter).points().items():
        assert len(sets) == more.get("test_steps", 3)
        seen, kept = np.unique(np.concatenate(sets)), held_out[number]
        assert len(kept) == len(np.unique(kept)) == min(POINTS - len(seen), len(sets[0])) > 0
        assert np.intersect1d(kept, seen).size == 0
        assert 0 <= kept.min() < kept.max() < POINTS
        short += len(kept) < len(sets[0])
    assert short == (5 if share == 0.5 else 0)  # 32 of 64, three times: about 8 points are left


def test_held_out_points_are_keyed_by_the_signal() -> None:
    fitter = fitter_of(subsample=0.1)
    together = fitter.held_out(flat(), CellRun(0))
    part = fitter.held_out(flat().take(np.array([3, 1])), CellRun(0))
    other = fitter.held_out(flat(), CellRun(1))
    assert together is not None
    assert part is not None
    assert other is not None
    np.testing.assert_array_equal(part, [together[3], together[1]])
    assert len({tuple(sorted(one)) for one in [*together, *other]}) == 10


def test_where_all_points_are_seen_none_are_held_out() -> None:
    assert fitter_of().held_out(flat(), CellRun(0)) is None
    nearly = fitter_of(subsample=0.99).held_out(flat(), CellRun(0))
    assert nearly is not None
    assert [len(one) for one in nearly] == [0] * 5


def test_held_out_points_lie_all_over_the_image() -> None:
    found = fitter_of(subsample=0.1).held_out(flat(25), CellRun(0))
    assert found is not None
    times = np.bincount(np.concatenate(found), minlength=POINTS)
    assert times.sum() == 25 * 6
    assert (times > 0).sum() > 50  # of 64; 58 are expected to be hit


def test_a_cells_estimate_is_the_error_on_the_held_out_points() -> None:
    fitter, signals = fitter_of(subsample=0.1, train={"steps": 2, "batch_size": 2}), noise()
    scored = GridSignals(signals.values, None, signals.ids + 100)
    data = Selected(signals, signals.take(np.arange(0)), scored, None, "test")
    outcome = run_cell(fitter, None, None, data, CellRun(0), Stages(None, {}))
    held_out, rows = fitter.held_out(scored, CellRun(0)), fitted(fitter, scored)
    assert held_out is not None
    (values,) = fitter.query(rows, scored.domain, CellRun(0))
    truth = scored.values.astype(np.float32) / np.float32(255.0)
    expected = [
        squared_error(values[i].reshape(1, POINTS)[:, kept], truth[i].reshape(1, POINTS)[:, kept])[0]
        for i, kept in enumerate(held_out)
    ]
    np.testing.assert_allclose(outcome.vectors["mse_estimate"], expected, rtol=1e-5)
    assert outcome.metrics["psnr_estimate_db"] == pytest.approx(float(psnr_db(np.array(expected)).mean()), rel=1e-5)
    assert outcome.metrics["psnr_estimate_db"] != outcome.metrics["psnr_db"]

    all_points = fitter_of(train={"steps": 2, "batch_size": 2})
    outcome = run_cell(all_points, None, None, data, CellRun(0), Stages(None, {}))
    assert "psnr_estimate_db" not in outcome.metrics
    assert "mse_estimate" not in outcome.vectors
