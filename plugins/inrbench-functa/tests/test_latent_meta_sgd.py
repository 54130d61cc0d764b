"""Fitting by meta-SGD on a latent: the way of a latent, rows that are a signal's each, queries, and facts.

What is trained is in test_latent_training.py, and its gradient in test_outer_gradient.py.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from itertools import pairwise
from types import ModuleType
from typing import Any

import jax
import numpy as np
import pytest
from inrbench_functa import latent_meta_sgd
from inrbench_functa.latent_meta_sgd import LatentMetaSGD
from inrbench_functa.settings import LatentMetaSGDSettings

from inrbench import draws
from inrbench.backends.jax import training
from inrbench.backends.jax.fields import coords_of
from inrbench.cell_run import CellRun
from inrbench.domains import Array, Grid, Points
from inrbench.representations import Representations
from inrbench.signals import GridSignals

Build = Callable[..., LatentMetaSGD]
Images = Callable[..., GridSignals]


@pytest.fixture(scope="module")
def loaded(build: Build, shared: Any) -> Build:
    """``loaded(way, **settings)``: a fitter with arrays to fit with; the same one, compiled, for the same settings."""

    @cache
    def found(way: str, **given: Any) -> LatentMetaSGD:
        fitter = build(way, **{"shard": 4, **given})
        fitter.load(shared(fitter))
        return fitter

    return found


def fitted(fitter: LatentMetaSGD, signals: Any) -> Representations:
    return Representations.joined(fitter.fit(signals, CellRun(0)))


def distance(found: Any, expected: Any) -> float:
    """|found - expected| / |expected|."""
    one, other = np.asarray(found, np.float64), np.asarray(expected, np.float64)
    return float(np.linalg.norm(one - other) / np.linalg.norm(other))


# ------------------------------------------------------------------ the way of a latent


@pytest.mark.parametrize("way", ["global", "nearest, 3x3", "nearest, global coordinates", "linear"])
def test_a_fitted_latent_is_the_plain_versions(
    way: str, loaded: Build, images: Images, unit: Any, plain: ModuleType, plain_model: Any
) -> None:
    fitter = loaded(way)

    @jax.jit
    def encoded(arrays: dict[str, Array], values: Array) -> Any:
        return plain.encode(*plain_model(fitter, arrays), values, fitter.settings.rate_scale)

    found = fitted(fitter, images()).arrays["latent"]
    assert found.dtype == np.float32
    assert distance(found, encoded(fitter.shared, unit())) < 1e-5


def test_a_latent_starts_at_0_and_each_step_follows_its_own_gradient(
    loaded: Build, images: Images, unit: Any, plain: ModuleType, plain_model: Any
) -> None:
    fitter = loaded("nearest, 3x3")
    path = [rows.arrays["latent"] for rows in fitter.trace(images(), CellRun(0))]
    assert [latents.shape for latents in path] == [(7, *fitter.layout.shapes["latent"])] * 4
    assert not path[0].any()

    @jax.jit
    def slopes(arrays: dict[str, Array], latents: Array, values: Array) -> Any:
        model, places = plain_model(fitter, arrays)
        of_one = jax.grad(lambda latent, one: plain._error(latent, model, places, one))
        return jax.vmap(of_one)(latents, values)

    for before, after in pairwise(path):
        step = -fitter.settings.rate_scale * fitter.shared["rates"] * slopes(fitter.shared, before, unit())
        assert distance(after - before, step) < 1e-4
    assert distance(path[-1], fitted(fitter, images()).arrays["latent"]) < 1e-6


def test_fewer_steps_are_the_first_ones(loaded: Build, images: Images) -> None:
    path = loaded("global").trace(images(), CellRun(0))
    for steps in (1, 2):
        found = fitted(loaded("global", steps=steps), images())
        assert distance(found.arrays["latent"], path[steps].arrays["latent"]) < 1e-6


def test_the_scale_multiplies_the_rates(loaded: Build, build: Build, images: Images) -> None:
    given = loaded("global")
    assert given.settings.rate_scale == 1.0
    fourfold = build("global", rate_scale=4.0, shard=4)
    fourfold.load({**given.shared, "rates": given.shared["rates"] / 4.0})
    found, expected = (fitted(fitter, images()).arrays["latent"] for fitter in (fourfold, given))
    assert distance(found, expected) < 1e-6


# ------------------------------------------------------------------ rows


@pytest.mark.parametrize(
    ("way", "shard", "sizes"),
    [
        ("global", 1, [1] * 7),
        ("global", 3, [3, 3, 1]),
        ("global", 16, [7]),
        ("nearest, 3x3", 3, [3, 3, 1]),
        ("linear", 3, [3, 3, 1]),
    ],
)
def test_each_row_is_its_signals_whatever_the_shards_are(
    way: str, shard: int, sizes: list[int], loaded: Build, images: Images
) -> None:
    fitter = loaded(way, shard=shard)
    parts = list(fitter.fit(images(), CellRun(0)))
    assert [len(part) for part in parts] == sizes
    rows = Representations.joined(parts)
    assert rows.ids.tolist() == [20, 21, 22, 23, 24, 25, 26]
    assert rows.copies.tolist() == [0] * 7
    assert rows.layout == fitter.layout
    latents = rows.arrays["latent"]
    assert latents.shape == (7, *fitter.layout.shapes["latent"])
    assert np.abs(latents).reshape(7, -1).max(axis=1).min() > 1e-3  # no row that no signal made
    assert distance(latents, fitted(loaded(way), images()).arrays["latent"]) < 1e-5


def test_signals_that_are_worked_on_in_parts_have_the_same_rows(
    loaded: Build, build: Build, images: Images, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = loaded("nearest, 3x3")
    monkeypatch.setattr(training, "CACHED_BYTES", 2 * given.activation_bytes())
    fitter = build("nearest, 3x3", shard=4)  # one that has compiled nothing
    fitter.load(given.shared)
    rows = fitted(fitter, images())
    assert rows.ids.tolist() == [20, 21, 22, 23, 24, 25, 26]
    assert distance(rows.arrays["latent"], fitted(given, images()).arrays["latent"]) < 1e-5


@pytest.mark.parametrize("way", ["global", "nearest, 3x3", "linear"])
def test_a_row_depends_on_no_other_signal_and_on_no_label(way: str, loaded: Build, images: Images) -> None:
    fitter, signals = loaded(way), images()
    together = fitted(fitter, signals).arrays["latent"]
    order = np.array([5, 0, 6, 3])
    among_others = fitted(fitter, signals.take(order))
    assert among_others.ids.tolist() == [25, 20, 26, 23]
    np.testing.assert_array_equal(among_others.arrays["latent"], together[order])
    np.testing.assert_array_equal(fitted(fitter, signals.unlabelled()).arrays["latent"], together)


@pytest.mark.parametrize("way", ["global", "nearest, 3x3", "linear"])
def test_images_with_places_of_their_own_are_fitted_as_those_that_share_a_grid(
    way: str, loaded: Build, images: Images, apart: Callable[[GridSignals], Any]
) -> None:
    found, expected = (fitted(loaded(way), signals).arrays["latent"] for signals in (apart(images()), images()))
    assert distance(found, expected) < 1e-5


def test_signals_on_free_points_are_fitted_as_the_plain_version_does(
    build: Build, shared: Any, space: Any, balls: Any, plain: ModuleType, plain_model: Any
) -> None:
    fitter = build("global", space, shard=2)
    fitter.load(shared(fitter))
    rows = fitted(fitter, balls)
    assert rows.ids.tolist() == [3, 4, 5, 6, 7]

    @jax.jit
    def encoded(arrays: dict[str, Array], coords: Array, values: Array) -> Any:
        model, _ = plain_model(fitter, arrays)
        places = plain.Places((coords + 1.0) / 2.0)
        latents = plain.encode(model, places, values[None])
        return latents[0], plain.reconstruct(model, places, latents)

    for i in range(5):
        (part,) = balls.observed(i)
        latent, values = encoded(fitter.shared, part.domain.coords, part.unit_values())
        assert distance(rows.arrays["latent"][i], latent) < 1e-5
        (found,) = fitter.query(rows.take(slice(i, i + 1)), part.domain, CellRun(0))
        assert found == pytest.approx(np.asarray(values), abs=1e-5)


# ------------------------------------------------------------------ queries


@pytest.mark.parametrize(
    ("way", "shape"),
    [("global", (12, 20)), ("nearest", (12, 20)), ("nearest, 3x3", (9, 5)), ("linear", (16, 5))],
)
def test_a_query_is_the_field_on_the_grid_that_is_asked_for(
    way: str,
    shape: tuple[int, int],
    loaded: Build,
    plain: ModuleType,
    plain_model: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fitter, grid = loaded(way), Grid.of(*shape)
    latents = draws.generator(0, "latents").normal(0.0, 0.3, (7, *fitter.layout.shapes["latent"])).astype(np.float32)
    rows = Representations(fitter.layout, {"latent": latents}, np.arange(7), np.zeros(7, dtype=np.int64))

    @jax.jit
    def reconstructed(arrays: dict[str, Array], latents: Array) -> Any:
        return plain.reconstruct(*plain_model(fitter, arrays, shape), latents)

    chunks = list(fitter.query(rows, grid, CellRun(0)))
    assert [chunk.shape for chunk in chunks] == [(4, *shape, 3), (3, *shape, 3)]
    whole = np.concatenate(chunks)
    assert whole.reshape(7, -1, 3) == pytest.approx(np.asarray(reconstructed(fitter.shared, latents)), abs=1e-5)
    monkeypatch.setattr(latent_meta_sgd, "QUERY_BYTES", 3 * 4 * 12 * grid.num_points)  # of width 12
    chunks = list(fitter.query(rows, grid, CellRun(0)))
    assert [len(chunk) for chunk in chunks] == [3, 3, 1]
    assert np.concatenate(chunks) == pytest.approx(whole, abs=1e-6)
    free = list(fitter.query(rows, Points(coords_of(grid)[::3]), CellRun(0)))
    assert np.concatenate(free) == pytest.approx(whole.reshape(7, -1, 3)[:, ::3], abs=1e-5)


def test_another_grid_of_as_many_points_is_another_query(loaded: Build, build: Build) -> None:
    fitter = loaded("global")
    rows = Representations(fitter.layout, {"latent": np.ones((4, 6), np.float32)}, np.arange(4), np.zeros(4, np.int64))
    wide, tall = (next(iter(fitter.query(rows, Grid.of(*shape), CellRun(0)))) for shape in ((2, 6), (6, 2)))
    assert tall.shape == (4, 6, 2, 3)
    alone = build("global", shard=4)
    alone.load(fitter.shared)
    (expected,) = alone.query(rows, Grid.of(6, 2), CellRun(0))
    assert tall == pytest.approx(expected, abs=1e-6)
    assert np.abs(tall.reshape(4, -1) - wide.reshape(4, -1)).max() > 1e-3


def test_a_query_of_fitted_rows_is_nearer_to_the_signals_with_each_step(
    loaded: Build, images: Images, unit: Any
) -> None:
    fitter = loaded("nearest, 3x3")
    errors = []
    for rows in fitter.trace(images(), CellRun(0)):
        found = np.concatenate(list(fitter.query(rows, Grid.of(8, 8), CellRun(0))))
        errors.append(np.square(found.reshape(7, 64, 3) - unit()).mean(axis=(1, 2)))
    assert all((after < before).all() for before, after in pairwise(errors))


# ------------------------------------------------------------------ what is shared, and facts


@pytest.mark.parametrize("way", ["global", "nearest, 3x3"])
def test_what_is_shared_comes_back_from_its_arrays(way: str, build: Build, shared: Any) -> None:
    fitter = build(way)
    arrays = shared(fitter)
    assert {name.partition("/")[0] for name in arrays} == {"network", "rates"}
    fitter.load(dict(reversed(arrays.items())))  # by name, not by place
    again = fitter.state(*fitter._shared_parts())
    assert again.keys() == arrays.keys()
    for name, array in arrays.items():
        np.testing.assert_array_equal(again[name], array)
    assert sum(array.size for array in arrays.values()) == fitter.facts().parameters


def test_nothing_is_fitted_before_something_is_loaded(build: Build, images: Images) -> None:
    with pytest.raises(ValueError, match="call load first"):
        next(build("global").fit(images(), CellRun(0)))


def test_facts_of_a_global_latent_by_hand(build: Build) -> None:
    facts = build("global", inr={"width": 5, "depth": 3, "latent_dim": 4}).facts()
    layers, shifts = 2 * 5 + 5 * 5 + 5 * 3, 10 * 4  # multiply-adds of a point, and of a signal
    assert facts.parameters == layers + 5 + 5 + 3 + shifts + 10 + 4  # with all biases and the rates
    assert (facts.adapted_values, facts.initialisation, facts.scope) == (4, "meta-learned", "global")
    assert facts.fit_flops == 2 * (64 * layers + shifts) * 2 * 3
    assert facts.train_flops == 2 * (64 * layers + shifts) * (6 * 3 + 3)


def test_facts_of_cells_by_hand(build: Build) -> None:
    small = {"width": 5, "depth": 3, "cells": 2, "latent_channels": 2}
    facts = build("nearest, 3x3", inr=small, steps=2, first_order=True).facts()
    layers, shifts = 2 * 5 + 5 * 5 + 5 * 3, 10 * 9 * 2  # multiply-adds of a point, and of a cell
    assert facts.parameters == layers + 5 + 5 + 3 + shifts + 10 + 8
    assert (facts.adapted_values, facts.initialisation, facts.scope) == (8, "meta-learned", "spatial")
    assert facts.fit_flops == 2 * (64 * layers + 4 * shifts) * 2 * 2
    assert facts.train_flops == 2 * (64 * layers + 4 * shifts) * (2 * 2 + 3)


def test_facts_of_drawn_points_are_those_of_a_draw(build: Build, space: Any) -> None:
    facts = build("global", space, inr={"width": 5, "depth": 3, "latent_dim": 4}, subsample=0.3).facts()
    assert facts.train_flops == 2 * (12 * (3 * 5 + 5 * 5 + 5) + 10 * 4) * (6 * 3 + 3)  # 12 of 40 points


def test_the_defaults_are_the_papers() -> None:
    settings = LatentMetaSGDSettings()
    assert (settings.steps, settings.rate_low, settings.rate_high, settings.rate_scale) == (3, 0.005, 0.1, 1.0)
    assert (settings.lr, settings.lr_rates, settings.first_order) == (3e-6, None, False)
