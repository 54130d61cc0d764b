"""Schedules: their shape. That they are PyTorch's is tested with the engine."""

from __future__ import annotations

import itertools

import pytest

from inrbench.schedules import one_cycle, schedule
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
