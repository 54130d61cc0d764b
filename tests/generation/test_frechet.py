"""The Fréchet distance against its closed form, its invariances, and Gaussians fitted to rows."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.linalg import sqrtm

from inrbench import draws
from inrbench.generation.frechet import frechet_distance, gaussian_rows


def rows(count: int, size: int, seed: int = 0) -> np.ndarray:
    rng = draws.generator(seed, "rows")
    return rng.standard_normal((count, size)) @ rng.standard_normal((size, size)) + rng.standard_normal(size)


def whitened(count: int, size: int) -> np.ndarray:
    """Rows with mean 0 and covariance I exactly."""
    values = rows(count, size)
    values = values - values.mean(axis=0)
    return np.asarray(np.linalg.qr(values)[0] * np.sqrt(count - 1))


def test_of_gaussians_with_diagonal_covariances_it_is_the_sum_over_axes() -> None:
    base = whitened(50, 3)
    one, other = base * [1.0, 2.0, 3.0], base[::-1] * [4.0, 2.0, 0.5] + [1.0, -2.0, 0.0]
    assert frechet_distance(one, other) == pytest.approx(1 + 4 + (1 - 4) ** 2 + 0 + (3 - 0.5) ** 2, rel=1e-9)


def test_it_is_the_formula_of_fid_written_out() -> None:
    one, other = rows(60, 5, 1), rows(80, 5, 2)
    covariances = np.cov(one.T), np.cov(other.T)
    mixed = np.trace(sqrtm(covariances[0] @ covariances[1])).real
    means = np.square(one.mean(axis=0) - other.mean(axis=0)).sum()
    expected = means + np.trace(covariances[0]) + np.trace(covariances[1]) - 2.0 * mixed
    assert frechet_distance(one, other) == pytest.approx(expected, rel=1e-9)


def test_fewer_rows_than_values_give_the_same_by_the_other_way() -> None:
    few, others = rows(6, 20, 1)[:6], rows(9, 20, 2)[:9]
    wide = frechet_distance(few, others)  # by singular values
    again = np.concatenate([others, others, others])  # 27 rows: by eigenvalues; the covariance shrinks by 24 / 26
    centred = (again - again.mean(axis=0)) * np.sqrt(26 / 24) + again.mean(axis=0)
    assert frechet_distance(few, centred) == pytest.approx(wide, rel=1e-7)


def test_equal_rows_have_no_distance_and_the_order_does_not_matter() -> None:
    one, other = rows(40, 4), rows(30, 4, 1)
    assert frechet_distance(one, one) == pytest.approx(0.0, abs=1e-9)
    assert frechet_distance(one, one[::-1]) == pytest.approx(0.0, abs=1e-9)
    assert frechet_distance(one, other) == pytest.approx(frechet_distance(other, one), rel=1e-9)


def test_turning_and_shifting_both_changes_nothing_and_scaling_scales_its_square() -> None:
    one, other = rows(40, 4), rows(30, 4, 1)
    turn = np.linalg.qr(rows(4, 4, 9))[0]
    expected = frechet_distance(one, other)
    assert frechet_distance(one @ turn + 7.0, other @ turn + 7.0) == pytest.approx(expected, rel=1e-8)
    assert frechet_distance(3.0 * one, 3.0 * other) == pytest.approx(9.0 * expected, rel=1e-9)


def test_a_value_that_never_changes_is_no_trouble() -> None:
    one, other = rows(40, 4), rows(30, 4, 1)
    expected = frechet_distance(one, other)
    flat = [np.concatenate([values, np.full((len(values), 1), 2.0)], axis=1) for values in (one, other)]
    assert frechet_distance(*flat) == pytest.approx(expected, rel=1e-8)


@pytest.mark.parametrize("shapes", [((1, 3), (5, 3)), ((5, 3), (5, 4)), ((5,), (5, 3))])
def test_rows_that_have_no_distance_are_refused(shapes: tuple[tuple[int, ...], ...]) -> None:
    with pytest.raises(ValueError, match="two rows of equally many values at least"):
        frechet_distance(*(np.zeros(shape) for shape in shapes))


@pytest.mark.parametrize("count", [500, 8], ids=["more rows than values", "fewer"])
def test_a_fitted_gaussian_has_the_mean_and_the_covariance(count: int) -> None:
    train = rows(count, 12)
    drawn = gaussian_rows(train, 60_000, draws.generator(0, "gaussian"))
    np.testing.assert_allclose(drawn.mean(axis=0), train.mean(axis=0), atol=0.1)
    covariance = np.cov(train.T)
    np.testing.assert_allclose(np.cov(drawn.T), covariance, atol=0.03 * np.trace(covariance))
    if count == 8:  # seven directions alone
        assert np.linalg.matrix_rank(drawn[:40] - train.mean(axis=0)) == 7


def test_an_independent_gaussian_has_the_variances_alone() -> None:
    train = rows(500, 4)
    drawn = gaussian_rows(train, 60_000, draws.generator(0, "gaussian"), independent=True)
    found = np.cov(drawn.T)
    np.testing.assert_allclose(np.diag(found), train.var(axis=0, ddof=1), rtol=0.05)
    assert np.abs(found - np.diag(np.diag(found))).max() < 0.05 * found.max()
