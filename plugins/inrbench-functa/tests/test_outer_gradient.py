"""The outer gradient, through the inner loop: against the plain version and finite differences; its second order."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from types import ModuleType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from inrbench_functa.latent_meta_sgd import LatentMetaSGD

from inrbench import draws
from inrbench.backends.jax.observed import Observer
from inrbench.backends.jax.training import named
from inrbench.domains import Array, Grid

#: Compiling is what takes time here: XLA is told to do little of it.
QUICKLY = {"xla_backend_optimization_level": 0}
GRID = Grid.of(8, 8)
STEPS = 2  # the least with which a step differentiates another
Build = Callable[..., LatentMetaSGD]
Gradients = Callable[..., tuple[float, dict[str, Array]]]


def groups(fitter: LatentMetaSGD, arrays: Mapping[str, Array], dtype: Any = np.float32) -> dict[str, Any]:
    """The arrays as training has them."""
    fitter.load({name: array.astype(dtype) for name, array in arrays.items()})
    network, rates = fitter._shared_parts()
    return {"network": network, "rates": {"rates": rates}}


def outer(fitter: LatentMetaSGD, domain: Grid | None = GRID, parts: int = 1) -> Callable[..., Any]:
    """((outer loss, what is logged), its gradients by group) as a compiled function of (groups, batch)."""
    given = Observer(domain, (), lambda step, index: {}, lambda batch, constants: batch["values"])
    loss = fitter.loss_on(given, "float32", parts)
    return jax.jit(
        jax.value_and_grad(lambda groups, batch: loss(groups, batch, ()), has_aux=True), compiler_options=QUICKLY
    )


def by_name(slope: Mapping[str, Any]) -> dict[str, Array]:
    """Gradients of groups, named as the plain version's."""
    return {**named(slope["network"]), **named(slope["rates"])}


@pytest.fixture(autouse=True)
def _few_steps(monkeypatch: pytest.MonkeyPatch, plain: ModuleType) -> None:
    monkeypatch.setattr(plain, "STEPS", STEPS)


@pytest.fixture(scope="module")
def gradients(build: Build, shared: Any, unit: Any) -> Gradients:
    """``gradients(way)``: the outer loss of three images and its gradients by name."""

    @cache
    def found(way: str, first_order: bool = False, parts: int = 1) -> tuple[float, dict[str, Array]]:
        fitter = build(way, steps=STEPS, first_order=first_order)
        function = outer(fitter, parts=parts)
        (loss, _), slope = function(groups(fitter, shared(fitter)), {"values": unit(3)})
        return float(loss), by_name(slope)

    return found


def assert_close(found: Mapping[str, Any], expected: Mapping[str, Any]) -> None:
    """Each array to 1e-5 of its norm."""
    assert found.keys() == expected.keys()
    for name, gradient in expected.items():
        error = np.linalg.norm(np.asarray(found[name]) - np.asarray(gradient))
        assert error < 1e-5 * np.linalg.norm(gradient), name


@pytest.mark.parametrize("way", ["global", "nearest", "nearest, 3x3", "linear"])
def test_the_outer_loss_and_its_gradients_are_the_plain_versions(
    way: str, build: Build, shared: Any, unit: Any, plain: ModuleType, plain_model: Any, gradients: Gradients
) -> None:
    fitter = build(way, steps=STEPS)

    def plainly(arrays: dict[str, Array], values: Array) -> Any:
        model, places = plain_model(fitter, arrays)
        start = plain.reconstruct(model, places, jnp.zeros((3, *model.latent_shape())))
        loss, slope = plain.outer_gradients(model, places, values, fitter.settings.rate_scale)
        return loss, slope.arrays(), jnp.square(start - values).mean()

    expected_loss, expected, before = jax.jit(plainly, compiler_options=QUICKLY)(shared(fitter), unit(3))
    loss, found = gradients(way)
    assert loss == pytest.approx(float(expected_loss), rel=1e-5)
    assert_close(found, expected)
    assert loss < 0.9 * float(before)  # the inner loop does something


@pytest.mark.parametrize("way", ["global", "nearest, 3x3", "linear"])
def test_the_outer_gradient_is_that_of_finite_differences(way: str, build: Build, shared: Any, unit: Any) -> None:
    fitter = build(way, steps=STEPS)
    with jax.enable_x64(True):
        batch = {"values": jnp.asarray(unit(3), jnp.float64)}
        start = groups(fitter, shared(fitter), np.float64)
        function = outer(fitter)
        (loss, _), slope = function(start, batch)
        assert loss.dtype == jnp.float64
        leaves, shape = jax.tree.flatten(start)
        rng = draws.generator(0, "direction")
        for chosen in [*range(len(leaves)), None]:  # each array alone, and all together
            along = [rng.standard_normal(np.shape(a)) * (chosen in (i, None)) for i, a in enumerate(leaves)]
            h = 1e-6 / np.sqrt(sum(np.sum(one**2) for one in along))
            ends = [[a + sign * h * d for a, d in zip(leaves, along, strict=True)] for sign in (1, -1)]
            above, below = (function(jax.tree.unflatten(shape, end), batch)[0][0] for end in ends)
            expected = sum(float(np.sum(g * d)) for g, d in zip(jax.tree.leaves(slope), along, strict=True))
            assert float(above - below) / (2.0 * h) == pytest.approx(expected, rel=1e-6, abs=1e-10)


def test_the_second_order_matters_and_can_be_left_out(
    build: Build, shared: Any, unit: Any, plain: ModuleType, plain_model: Any, gradients: Gradients
) -> None:
    way = "nearest, 3x3"
    fitter = build(way, steps=STEPS)

    def plainly(arrays: dict[str, Array], values: Array) -> Any:
        model, places = plain_model(fitter, arrays)

        def one(values: Array) -> Any:
            latent = jnp.zeros(model.latent_shape())
            for _ in range(STEPS):
                slope = jax.grad(plain._error)(latent, model, places, values)
                latent = latent - fitter.settings.rate_scale * model.rates * jax.lax.stop_gradient(slope)
            return plain._error(latent, model, places, values)

        return jax.vmap(one)(values).mean()

    slope = jax.jit(jax.grad(plainly), compiler_options=QUICKLY)(shared(fitter), unit(3))
    expected = {name.removeprefix("network/"): array for name, array in slope.items()}
    (loss, found), (whole_loss, whole) = gradients(way, first_order=True), gradients(way)
    assert loss == pytest.approx(whole_loss, rel=1e-6)
    assert_close(found, expected)
    for name in ("shift.weight", "rates", "sines.0.weight"):
        assert np.linalg.norm(found[name] - whole[name]) > 0.02 * np.linalg.norm(whole[name]), name


def test_a_batch_in_parts_has_the_gradients_of_the_whole(gradients: Gradients) -> None:
    (loss, found), (whole_loss, whole) = gradients("global", parts=3), gradients("global")
    assert loss == pytest.approx(whole_loss, rel=1e-6)
    assert_close(found, whole)


def test_the_gradient_on_free_points_is_the_mean_of_the_signals_own(
    build: Build, shared: Any, space: Any, balls: Any, plain: ModuleType, plain_model: Any
) -> None:
    fitter = build("global", space, steps=STEPS)
    arrays = shared(fitter)
    parts = [balls.observed(i)[0] for i in range(3)]
    coords, values = np.stack([p.domain.coords for p in parts]), np.stack([p.unit_values() for p in parts])
    batch = {"values": values, "located": fitter.field.located(coords)}
    _, found = outer(fitter, None)(groups(fitter, arrays), batch)

    def plainly(arrays: dict[str, Array], coords: Array, values: Array) -> Any:
        model, _ = plain_model(fitter, arrays)
        return plain.outer_loss(model, plain.Places((coords + 1.0) / 2.0), values[None])

    of_one = jax.jit(jax.grad(plainly), compiler_options=QUICKLY)
    each = [of_one(arrays, *given) for given in zip(coords, values, strict=True)]
    expected = {name.removeprefix("network/"): np.mean([one[name] for one in each], axis=0) for name in each[0]}
    assert_close(by_name(found), expected)
