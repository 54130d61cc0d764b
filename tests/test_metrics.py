"""Metrics: the protocol's formulas against cases worked by hand and against SciPy."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from inrbench import metrics


def test_psnr_of_a_case_worked_by_hand() -> None:
    values = np.array([[[0.0], [0.5]], [[1.0], [1.0]]], dtype=np.float32)
    predicted = np.array([[[0.1], [0.4]], [[0.0], [1.0]]], dtype=np.float32)
    mse = metrics.squared_error(predicted, values)
    np.testing.assert_allclose(mse, [0.01, 0.5], rtol=1e-6)
    np.testing.assert_allclose(metrics.psnr_db(mse), [20.0, 10 * math.log10(2)], rtol=1e-6)


def test_predictions_are_clamped_unless_asked_otherwise() -> None:
    values = np.array([[0.0, 1.0]], dtype=np.float32)
    predicted = np.array([[-1.0, 3.0]], dtype=np.float32)
    assert metrics.squared_error(predicted, values).tolist() == [0.0]
    assert metrics.squared_error(predicted, values, clamp=False).tolist() == [(1.0 + 4.0) / 2]


def test_squared_errors_are_summed_in_double_precision() -> None:
    values = np.zeros((1, 3), dtype=np.float32)
    assert metrics.squared_error(values, values).dtype == np.float64


def test_a_reconstruction_without_error_has_100_db() -> None:
    assert metrics.psnr_db(np.array([0.0, 1e-12, 1e-10])).tolist() == [100.0, 100.0, 100.0]


def test_predictions_of_another_shape_are_refused() -> None:
    with pytest.raises(ValueError, match=r"predictions of shape \(1, 2\) for values of shape \(1, 3\)"):
        metrics.squared_error(np.zeros((1, 2)), np.zeros((1, 3)))


def test_psnr_is_averaged_over_the_episodes_of_a_signal_and_then_over_signals() -> None:
    mse = np.array([1e-1, 1e-2, 1e-3, 1e-4])  # 10, 20, 30, 40 dB
    values = metrics.of_vectors({"ids": np.array([7, 3, 7, 7]), "mse": mse}, 10 * mse)
    first, second = (10 + 30 + 40) / 3, 20.0
    assert values["psnr_db"] == pytest.approx((first + second) / 2)
    assert values["psnr_median_db"] == pytest.approx((first + second) / 2)
    assert values["psnr_unclamped_db"] == pytest.approx((first + second) / 2 - 10)
    assert values["psnr_global_db"] == pytest.approx(-10 * math.log10(mse.mean()))
    low, high = metrics.mean_interval(np.array([first, second]))
    assert (values["psnr_db_low"], values["psnr_db_high"]) == pytest.approx((low, high))


def test_an_estimate_is_averaged_as_a_reconstruction_is_and_named_apart() -> None:
    mse, ids = np.array([1e-1, 1e-2, 1e-3, 1e-4]), np.array([7, 3, 7, 7])
    unseen = {"ids": np.append(ids, 9), "mse": np.full(5, 0.5), "mse_estimate": np.append(mse, np.nan)}
    values = {name: value for name, value in metrics.of_vectors(unseen).items() if "estimate" in name}
    whole = metrics.of_vectors({"ids": ids, "mse": mse})
    first, second = (10 + 30 + 40) / 3, 20.0
    assert values["psnr_estimate_db"] == pytest.approx((first + second) / 2)
    assert values.pop("psnr_estimate_signals") == 2.0
    assert values == {
        name.replace("psnr_", "psnr_estimate_"): pytest.approx(whole[name])
        for name in ("psnr_db", "psnr_db_low", "psnr_db_high")
    }


def test_the_interval_of_a_reconstruction_is_over_signals_and_not_over_episodes() -> None:
    values = metrics.of_vectors({"ids": np.full(5, 4), "mse": np.full(5, 1e-2)})
    assert values["psnr_db"] == pytest.approx(20.0)
    assert math.isnan(values["psnr_db_low"])


def test_cross_entropy_and_accuracy_of_a_case_worked_by_hand() -> None:
    logits = np.array([[0.0, math.log(3.0)], [0.0, 0.0], [math.log(4.0), 0.0]], dtype=np.float32)
    values, correct = metrics.classification(logits, np.array([1, 0, 1]))
    expected = -(math.log(3 / 4) + math.log(1 / 2) + math.log(1 / 5)) / 3
    assert values["cross_entropy"] == pytest.approx(expected, rel=1e-6)
    assert correct.tolist() == [True, True, False]
    assert values["accuracy"] == pytest.approx(2 / 3)
    assert (values["accuracy_low"], values["accuracy_high"]) == metrics.wilson_interval(2, 3)


def test_cross_entropy_survives_large_logits() -> None:
    values, _ = metrics.classification(np.array([[1e4, 0.0]]), np.array([1]))
    assert values["cross_entropy"] == pytest.approx(1e4)


def test_the_wilson_interval_is_that_of_scipy() -> None:
    for successes, trials in [(0, 10), (7, 10), (10, 10), (9500, 10000)]:
        expected = stats.binomtest(successes, trials).proportion_ci(0.95, method="wilson")
        assert metrics.wilson_interval(successes, trials) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_the_wilson_interval_of_no_success_in_ten_is_the_published_one() -> None:
    low, high = metrics.wilson_interval(0, 10)
    assert low == pytest.approx(0.0, abs=1e-12)
    assert high == pytest.approx(0.2775, abs=1e-4)  # z^2 / (n + z^2)


def test_an_interval_of_no_trials_is_refused() -> None:
    with pytest.raises(ValueError, match="needs at least one trial, given 0"):
        metrics.wilson_interval(0, 0)


def test_the_interval_of_a_mean_is_that_of_students_t() -> None:
    values = np.random.default_rng(0).normal(size=7)
    expected = stats.t.interval(0.95, df=6, loc=values.mean(), scale=stats.sem(values))
    assert metrics.mean_interval(values) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("count", [0, 1])
def test_a_mean_of_fewer_than_two_values_has_no_interval(count: int) -> None:
    assert all(math.isnan(end) for end in metrics.mean_interval(np.ones(count)))
