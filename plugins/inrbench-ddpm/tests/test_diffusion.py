"""The diffusion: schedules by hand, q(z_t | z_0), how often a time step is drawn, fewer steps."""

from __future__ import annotations

import math

import numpy as np
import pytest
from inrbench_ddpm.diffusion import Diffusion, betas, time_step_probabilities


def test_the_linear_schedule_is_that_of_ho_et_al() -> None:
    found = betas("linear", 1000)
    assert found[0] == 1e-4
    assert found[-1] == 0.02
    np.testing.assert_allclose(np.diff(found), (0.02 - 1e-4) / 999, rtol=1e-9)
    assert Diffusion.of("linear", 1000).alpha_bars[-1] == pytest.approx(4.036e-5, rel=1e-3)


def test_the_linear_schedule_of_fewer_steps_ends_as_noisy() -> None:
    np.testing.assert_allclose(betas("linear", 100)[[0, -1]], [1e-3, 0.2])
    assert Diffusion.of("linear", 100).alpha_bars[-1] < 1e-4
    assert betas("linear", 4).max() == 0.999


def test_the_cosine_schedule_is_that_of_nichol_and_dhariwal() -> None:
    found = Diffusion.of("cosine", 1000).alpha_bars

    def f(t: float) -> float:
        return math.cos(math.pi / 2 * (t / 1000 + 0.008) / 1.008) ** 2

    for t in (1, 250, 500, 999):
        assert found[t - 1] == pytest.approx(f(t) / f(0), rel=1e-9)
    assert betas("cosine", 1000)[-1] == 0.999  # where the quotient would be 0
    assert (betas("cosine", 1000)[:-1] < 0.999).all()


@pytest.mark.parametrize("schedule", ["cosine", "linear"])
def test_signal_falls_from_almost_all_to_almost_none(schedule: str) -> None:
    found = Diffusion.of(schedule, 1000).alpha_bars  # type: ignore[arg-type]
    assert (np.diff(found) < 0.0).all()
    assert found[0] > 0.9998
    assert 0.0 < found[-1] < 1e-4


def test_a_ratio_of_one_draws_all_time_steps_alike() -> None:
    np.testing.assert_allclose(time_step_probabilities(1000, 1.0), 1e-3)


def test_time_steps_are_drawn_by_the_ratio() -> None:
    # r = 3, T = 4: weights 3 - 2 t / 4 = 2.5, 2, 1.5, 1
    np.testing.assert_allclose(time_step_probabilities(4, 3.0), np.array([2.5, 2.0, 1.5, 1.0]) / 7.0)
    many = time_step_probabilities(1000, 3.0)
    assert many[0] / many[-1] == pytest.approx(3.0, rel=1e-3)
    assert many.sum() == pytest.approx(1.0)


def test_fewer_steps_keep_the_ends_and_the_signal_left_at_each() -> None:
    whole = Diffusion.of("linear", 1000)
    few = whole.respaced(4)
    assert few.times.tolist() == [1, 334, 667, 1000]
    np.testing.assert_array_equal(few.alpha_bars, whole.alpha_bars[few.times - 1])
    np.testing.assert_allclose(np.cumprod(1.0 - few.betas), few.alpha_bars, rtol=1e-12)
    assert whole.respaced(None) is whole
    assert whole.respaced(1000) is whole
    assert whole.respaced(1).times.tolist() == [1000]


def test_all_steps_have_the_betas_that_they_were_made_of() -> None:
    np.testing.assert_allclose(Diffusion.of("cosine", 50).betas, betas("cosine", 50), rtol=1e-9)


def test_the_posterior_is_that_of_two_gaussians_multiplied() -> None:
    diffusion = Diffusion.of("linear", 20)
    of_start, of_current = diffusion.mean_coefficients
    for t in range(1, 20):
        # q(z_{t-1} | z_t, z_0) ∝ N(z_t; √α z_{t-1}, β) N(z_{t-1}; √ᾱ_{t-1} z_0, 1 - ᾱ_{t-1})
        alpha, beta, before = 1 - diffusion.betas[t], diffusion.betas[t], diffusion.alpha_bars[t - 1]
        precision = alpha / beta + 1 / (1 - before)
        assert diffusion.variances("posterior")[t] == pytest.approx(1 / precision, rel=1e-9)
        assert of_current[t] == pytest.approx(math.sqrt(alpha) / beta / precision, rel=1e-9)
        assert of_start[t] == pytest.approx(math.sqrt(before) / (1 - before) / precision, rel=1e-9)


def test_the_last_step_adds_no_noise_and_gives_what_was_predicted() -> None:
    diffusion = Diffusion.of("cosine", 1000).respaced(10)
    of_start, of_current = diffusion.mean_coefficients
    assert (of_start[0], of_current[0]) == (pytest.approx(1.0), 0.0)
    assert diffusion.variances("posterior")[0] == 0.0
    assert diffusion.variances("beta")[0] == 0.0
    np.testing.assert_array_equal(diffusion.variances("beta")[1:], diffusion.betas[1:])
    assert (diffusion.variances("beta") >= diffusion.variances("posterior")).all()
