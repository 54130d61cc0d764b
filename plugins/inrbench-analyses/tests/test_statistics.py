"""Latent statistics against NumPy on all rows at once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from inrbench_analyses.channels import pooled
from inrbench_analyses.settings import StatisticsSettings
from inrbench_analyses.statistics import Statistics, leading_variances

from inrbench import draws
from inrbench.errors import Refused
from inrbench.representations import Layout

Make = Callable[..., Any]
RNG = draws.generator(0, "statistics")
GRIDS = (RNG.normal(0.0, 1.0, (40, 2, 2, 3)) * np.array([1.0, 2.0, 0.5]) + np.array([0.0, 3.0, -1.0])).astype("f4")


def nothing(latents: np.ndarray) -> np.ndarray:
    return np.zeros((len(latents), 2, 2, 1))


def run(context: Any, **settings: Any) -> Any:
    return Statistics(StatisticsSettings(**settings)).run(context)


def test_a_channel_is_pooled_over_signals_and_cells(context_of: Make) -> None:
    context = context_of(nothing, GRIDS, "latent-grid")
    flat = GRIDS.reshape(-1, 3).astype(np.float64)
    for what, values in pooled(context.statistics, "latent").items():
        np.testing.assert_allclose(values, getattr(flat, what)(axis=0), rtol=1e-6)
    rows = run(context).tables["channels"]
    assert [row["channel"] for row in rows] == [0, 1, 2]
    assert [row["std"] for row in rows] == pytest.approx(list(flat.std(axis=0)))


def test_a_latent_has_a_row_for_each_dimension(context_of: Make) -> None:
    latents = GRIDS.reshape(40, 12)
    rows = run(context_of(nothing, latents)).tables["dimensions"]
    assert [row["mean"] for row in rows] == pytest.approx(list(latents.mean(axis=0, dtype=np.float64)))
    assert [row["max"] for row in rows] == pytest.approx(list(latents.max(axis=0)))


def test_anything_else_has_a_row_for_each_array(context_of: Make) -> None:
    context = context_of(nothing, GRIDS, "weights")
    (row,) = run(context).tables["arrays"]
    assert row["array"] == "latent"
    assert (row["mean"], row["std"]) == pytest.approx((GRIDS.mean(dtype=np.float64), GRIDS.std(dtype=np.float64)))


def test_explained_variance_is_that_of_the_covariance(context_of: Make) -> None:
    flat = GRIDS.reshape(40, 12).astype(np.float64)
    variances = np.linalg.eigvalsh(np.cov(flat.T, bias=True))[::-1]
    found = run(context_of(nothing, GRIDS, "latent-grid")).tables["components"]
    assert [row["components"] for row in found] == [1, 2, 4, 8, 12]
    shares = np.cumsum(variances) / variances.sum()
    assert [row["explained_variance"] for row in found] == pytest.approx([shares[k - 1] for k in (1, 2, 4, 8, 12)])


def test_the_leading_variances_of_long_rows_are_found_in_a_few_passes() -> None:
    spectrum = np.arange(1, 401) ** -1.5
    rows = RNG.normal(size=(600, 400)) * np.sqrt(spectrum)
    rotation = np.linalg.qr(RNG.normal(size=(400, 400)))[0]
    rows = rows @ rotation + 2.0
    exact = np.linalg.eigvalsh(np.cov(rows.T, bias=True))[::-1]
    start = RNG.normal(size=(400, 36))
    shards = [rows[first : first + 100] for first in range(0, 600, 100)]
    found, total, norms = leading_variances(lambda: iter(shards), rows.mean(axis=0), start, 20, 4, range(4))
    assert total == pytest.approx(exact.sum())
    np.testing.assert_allclose(found[:10], exact[:10], rtol=1e-3)
    assert found.sum() == pytest.approx(exact[:20].sum(), rel=0.01)
    assert (found <= exact[:20] + 1e-12).all()  # from below
    np.testing.assert_allclose(norms, np.linalg.norm(rows, axis=1))


def test_norms_are_of_whole_rows(context_of: Make) -> None:
    norms = np.linalg.norm(GRIDS.reshape(40, -1).astype(np.float64), axis=1)
    found = {row["quantile"]: row["norm"] for row in run(context_of(nothing, GRIDS)).tables["norms"]}
    assert (found[0.0], found[0.5], found[1.0]) == pytest.approx((norms.min(), np.median(norms), norms.max()))


def test_few_signals_and_equal_ones_have_no_more_than_they_have(context_of: Make) -> None:
    found = run(context_of(nothing, GRIDS[:3]))
    assert [row["components"] for row in found.tables["components"]] == [1, 2]
    assert found.tables["components"][-1]["explained_variance"] == pytest.approx(1.0)
    same = run(context_of(nothing, np.repeat(GRIDS[:1], 5, axis=0)))
    assert np.isnan(same.tables["components"][0]["explained_variance"])
    assert run(context_of(nothing, GRIDS[:1])).tables["components"] == []


def test_without_training_signals_there_is_nothing_to_say(context_of: Make) -> None:
    context = context_of(nothing, GRIDS)
    context.num_signals = lambda split: 0
    with pytest.raises(Refused, match="needs training signals"):
        run(context)


def test_several_arrays_are_one_row(context_of: Make) -> None:
    context = context_of(nothing, GRIDS, "weights")

    class Two:
        layout = Layout("weights", {"b": (3,), "a": (2, 2, 3)})
        statistics = context.statistics | {
            f"{name}/{what}": values[0, 0] if name == "b" else values
            for name in "ab"
            for what, values in ((key.removeprefix("latent/"), value) for key, value in context.statistics.items())
        }

        def __getattr__(self, name: str) -> Any:
            return getattr(context, name)

        def shards(self, split: str) -> Any:
            for rows in context.shards(split):
                latents = rows.arrays["latent"]
                yield replace(rows, arrays={"a": latents, "b": latents[:, 0, 0]})

    found = run(Two())
    both = np.concatenate([GRIDS.reshape(40, -1), GRIDS[:, 0, 0]], axis=1).astype(np.float64)
    variances = np.linalg.eigvalsh(np.cov(both.T, bias=True))[::-1]
    assert found.tables["components"][0]["explained_variance"] == pytest.approx(variances[0] / variances.sum())
    assert [row["array"] for row in found.tables["arrays"]] == ["b", "a"]
    assert found.tables["norms"][-1]["norm"] == pytest.approx(np.linalg.norm(both, axis=1).max())
