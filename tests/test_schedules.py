"""Schedules and batches: their shape. That the schedules are PyTorch's is tested with the engine."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from inrbench.cell_run import CellRun
from inrbench.schedules import batches, cosine, evaluations, inverse_sqrt, one_cycle, schedule, tenth
from inrbench.settings import TrainingSettings


@pytest.mark.parametrize("total", [100, 101, 1000])
@pytest.mark.parametrize("warmup", [0.05, 0.3])
def test_one_cycle_rises_to_one_and_falls_to_almost_nothing(total: int, warmup: float) -> None:
    factors, betas = zip(*(one_cycle(step, total, warmup) for step in range(total)), strict=True)
    peak = max(range(total), key=factors.__getitem__)
    assert abs(peak - (warmup * total - 1)) <= 1
    assert factors[0] == pytest.approx(1 / 25)
    assert max(factors) == pytest.approx(1.0, abs=0.02)
    assert factors[-1] == pytest.approx(1 / 2.5e5)
    assert all(a < b for a, b in itertools.pairwise(factors[: peak + 1]))
    assert all(a > b for a, b in itertools.pairwise(factors[peak:]))
    assert (betas[0], betas[-1]) == (pytest.approx(0.95), pytest.approx(0.95))
    assert min(betas) == pytest.approx(0.85, abs=0.01)


@pytest.mark.parametrize("total", [1, 2, 3])
def test_one_cycle_of_very_few_steps_stays_between_its_ends(total: int) -> None:
    for step in range(total):
        factor, beta = one_cycle(step, total, 0.05)
        assert 0.0 < factor <= 1.0
        assert 0.85 <= beta <= 0.95


def test_one_cycle_does_not_end_before_its_last_step() -> None:
    assert one_cycle(99, 100, 0.05)[0] == one_cycle(150, 100, 0.05)[0]


def test_a_constant_schedule_changes_neither_rate_nor_momentum() -> None:
    settings = TrainingSettings(schedule="constant")
    assert {schedule(settings, step, 10) for step in range(10)} == {(1.0, None)}


def test_the_schedule_reads_its_warmup_from_the_settings() -> None:
    settings = TrainingSettings(schedule="one-cycle", warmup=0.4)
    assert schedule(settings, 17, 50) == one_cycle(17, 50, 0.4)
    assert schedule(settings, 17, 50) != one_cycle(17, 50, 0.05)


@pytest.mark.parametrize(("total", "first"), [(1, 1), (5, 4), (7, 6), (10, 8), (303_600, 242_880)])
def test_the_rate_is_a_tenth_for_the_last_fifth_of_the_steps(total: int, first: int) -> None:
    assert [tenth(step, total) for step in (0, first - 1)] == [1.0, 1.0]
    assert {tenth(step, total) for step in range(first, total)} <= {0.1}
    assert schedule(TrainingSettings(schedule="step"), total, total) == (0.1, None)


def test_the_inverse_square_root_is_functas_for_diffusion() -> None:
    factors = {step: inverse_sqrt(step - 1, 1_000_000, 0.004) for step in (1, 2000, 4000, 16_000, 1_000_000)}
    assert factors == {
        1: pytest.approx(1 / 4000),
        2000: pytest.approx(0.5),
        4000: pytest.approx(1.0),
        16_000: pytest.approx(0.5),
        1_000_000: pytest.approx(math.sqrt(0.004)),
    }


def test_a_cosine_rises_linearly_and_falls_to_almost_nothing() -> None:
    factors = [cosine(step, 100, 0.2) for step in range(100)]
    assert factors[:20] == pytest.approx([(step + 1) / 20 for step in range(20)])
    assert factors[60] == pytest.approx(0.5 + 0.5 * math.cos(math.pi * 41 / 81))
    assert all(a > b for a, b in itertools.pairwise(factors[19:]))
    assert 0.0 < factors[-1] < 0.001


@pytest.mark.parametrize("total", [1, 2, 3])
@pytest.mark.parametrize("shape", [cosine, inverse_sqrt])
def test_a_few_steps_have_rates_between_0_and_1(shape: object, total: int) -> None:
    assert all(0.0 < shape(step, total, 0.05) <= 1.0 for step in range(total))  # type: ignore[operator]


@pytest.mark.parametrize(("name", "shape"), [("cosine", cosine), ("inverse-sqrt", inverse_sqrt)])
def test_schedules_without_a_momentum_leave_it_alone(name: str, shape: object) -> None:
    settings = TrainingSettings(schedule=name, warmup=0.3)  # type: ignore[arg-type]
    assert schedule(settings, 7, 20) == (shape(7, 20, 0.3), None)  # type: ignore[operator]


def test_an_exponential_schedule_falls_to_a_tenth_in_equal_ratios() -> None:
    settings = TrainingSettings(schedule="exponential")
    factors = [schedule(settings, step, 100)[0] for step in range(101)]
    assert factors[0] == 1.0
    assert factors[50] == pytest.approx(0.1**0.5)
    assert factors[100] == pytest.approx(0.1)
    assert schedule(settings, 3, 100)[1] is None


@pytest.mark.parametrize(("signals", "size"), [(12, 4), (13, 4), (3, 16), (16, 16), (7, 1)])
def test_an_epoch_is_a_permutation_without_its_short_rest(signals: int, size: int) -> None:
    batch = batches(signals, size, CellRun(0))
    taken = min(size, signals)
    per_epoch = signals // taken
    orders = []
    for epoch in range(3):
        parts = [batch(epoch * per_epoch + place) for place in range(per_epoch)]
        assert all(len(part) == taken for part in parts)
        order = np.concatenate(parts)
        assert len(set(order.tolist())) == len(order) == per_epoch * taken
        assert set(order.tolist()) <= set(range(signals))
        orders.append(order.tolist())
    if signals > 5:
        assert orders[0] != orders[1] != orders[2]


def test_a_batch_is_keyed_by_seed_and_step_alone() -> None:
    forward = [batches(20, 4, CellRun(0))(step).tolist() for step in range(15)]
    one = batches(20, 4, CellRun(0))
    assert [one(step).tolist() for step in reversed(range(15))] == forward[::-1]
    assert [batches(20, 4, CellRun(1))(step).tolist() for step in range(15)] != forward


def test_a_fit_is_looked_at_often_at_first_and_at_its_end() -> None:
    assert sorted(evaluations(1000, 5)) == [40, 160, 360, 640, 1000]
    assert sorted(evaluations(3, 10)) == [1, 2, 3]  # no step twice, and none before the first
    assert evaluations(1000, 0) == evaluations(0, 5) == frozenset()
    steps = sorted(evaluations(20_000, 40))
    assert len(steps) == 40
    assert all(b - a <= d - c for (a, b), (c, d) in itertools.pairwise(itertools.pairwise(steps)))
