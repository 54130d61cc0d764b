"""Sine and cosine in JAX: error bounds, what is not finite, derivatives of three orders, and each computed once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from inrbench.backends.jax.sine import sin, sin_cos

#: On a grid of floats as dense as these, and on all their neighbours at the ends of the reduction's intervals.
RANGES = [(-0.01, 0.01), (-10.0, 10.0), (-400.0, 400.0), (-4096.0, 4096.0)]


def errors(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """|sin_cos(x) - the double-precision sine and cosine of the same numbers|."""
    sine, cosine = jax.jit(sin_cos)(x)
    assert sine.dtype == cosine.dtype == jnp.float32
    exact = x.astype(np.float64)
    return np.abs(np.asarray(sine) - np.sin(exact)), np.abs(np.asarray(cosine) - np.cos(exact))


@pytest.mark.parametrize("ends", RANGES)
def test_the_error_is_at_most_what_is_stated(ends: tuple[float, float]) -> None:
    for error in errors(np.linspace(*ends, 1_000_001, dtype=np.float32)):
        assert error.max() < 1.5e-7


def test_the_error_is_at_most_what_is_stated_where_the_reduction_switches() -> None:
    near = np.float32(np.arange(-2607, 2608) * np.pi / 2)
    x = np.concatenate([np.nextafter(near, np.float32(-np.inf)), near, np.nextafter(near, np.float32(np.inf))])
    assert np.abs(x).max() < 4096
    for error in errors(x):
        assert error.max() < 1.5e-7


@pytest.mark.parametrize("largest", [1e4, 1e5, 1e6, 2.0**23 - 1])
def test_beyond_the_bound_the_error_is_that_of_the_next_float(largest: float) -> None:
    x = np.linspace(-largest, largest, 200_001, dtype=np.float32)
    for error in errors(x):
        assert (error <= np.maximum(np.spacing(np.abs(x)), 1.5e-7)).all()


def test_what_is_larger_still_is_taken_for_zero() -> None:
    sine, cosine = jax.jit(sin_cos)(np.float32([2.0**23, -1e10, 3e38]))
    assert np.array_equal(sine, np.zeros(3))
    assert np.array_equal(cosine, np.ones(3))


def test_zero_is_exact_and_small_numbers_are_their_own_sine() -> None:
    x = np.float32([0.0, -0.0, 1e-30, -1e-30, 1e-6, -1e-6])
    sine, cosine = jax.jit(sin_cos)(x)
    np.testing.assert_array_equal(sine, x)
    np.testing.assert_array_equal(cosine, np.ones(6))


def test_sine_is_odd_and_cosine_even() -> None:
    x = np.linspace(0.0, 50.0, 100_001, dtype=np.float32)
    for one, other, sign in zip(sin_cos(x), sin_cos(-x), (-1, 1), strict=True):
        np.testing.assert_allclose(other, sign * np.asarray(one), rtol=0, atol=1.5e-7)


def test_what_is_not_finite_gives_nan() -> None:
    x = np.float32([np.nan, np.inf, -np.inf, 1.0])
    for value in (*jax.jit(sin_cos)(x), jax.vmap(jax.grad(sin))(x)):
        assert np.array_equal(np.isnan(value), [True, True, True, False])


def orders(function: Callable[[Any], Any], count: int) -> list[Callable[[Any], Any]]:
    found = [function]
    for _ in range(count):
        found.append(jax.grad(found[-1]))
    return [jax.vmap(one) for one in found]


POINTS = np.linspace(-60.0, 60.0, 4001, dtype=np.float32)


@pytest.mark.parametrize("compiled", [True, False], ids=["jit", "eager"])
def test_derivatives_of_three_orders(compiled: bool) -> None:
    exact = POINTS.astype(np.float64)
    cycle = [np.sin(exact), np.cos(exact), -np.sin(exact), -np.cos(exact)]
    for place, function in enumerate((sin, lambda x: sin_cos(x)[1])):
        for order, derivative in enumerate(orders(function, 3)):
            found = jax.jit(derivative)(POINTS) if compiled else derivative(POINTS)
            np.testing.assert_allclose(found, cycle[(place + order) % 4], rtol=0, atol=1.5e-7)


def test_modes_can_be_nested_in_any_order() -> None:
    def square(x: Any) -> Any:
        return jnp.sum(sin(3.0 * x) ** 2)

    x, v = jnp.float32([0.3, -2.0, 40.0]), jnp.float32([1.0, -0.5, 0.25])
    expected = 18.0 * np.cos(6.0 * np.float64(x)) * np.float64(v)  # (sin² 3x)'' = 18 cos 6x
    forward_over_reverse = jax.jvp(jax.grad(square), (x,), (v,))[1]
    reverse_over_reverse = jax.grad(lambda x: jnp.vdot(jax.grad(square)(x), v))(x)
    reverse_over_forward = jax.grad(lambda x: jax.jvp(square, (x,), (v,))[1])(x)
    remat = jax.jvp(jax.grad(jax.checkpoint(square)), (x,), (v,))[1]
    for found in (forward_over_reverse, reverse_over_reverse, reverse_over_forward, remat):
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4)


def evaluations(text: str) -> int:
    """How many sines and cosines a program has: each flips signs once."""
    return text.count("stablehlo.xor") + text.count(" xor(")


def test_no_derivative_computes_anything_twice() -> None:
    """Value, gradient and a product with the Hessian of x sin x: one sine and one cosine."""

    def all_orders(x: Any, v: Any) -> Any:
        return jax.jvp(jax.value_and_grad(lambda x: jnp.sum(x * sin(x))), (x,), (v,))

    assert evaluations(jax.jit(all_orders).lower(POINTS, POINTS).as_text()) == 2


def test_an_inner_loop_under_a_gradient_has_one_pair_for_each_pass() -> None:
    """A loss behind two steps on z has three passes; all that is differentiated through them adds no pair."""

    def loss(w: Any, z: Any) -> Any:
        return jnp.sum(sin(w * POINTS + z) ** 2)

    def outer(w: Any) -> Any:
        z = jnp.float32(0.0)
        for _ in range(2):
            z = z - 1e-3 * jax.grad(loss, 1)(w, z)
        return loss(w, z)

    assert evaluations(jax.jit(jax.value_and_grad(outer)).lower(jnp.float32(0.5)).as_text()) == 2 * 3


def test_a_sine_alone_computes_no_cosine_and_calls_on_the_same_argument_are_merged() -> None:
    assert evaluations(jax.jit(sin).lower(POINTS).as_text()) == 1
    program = jax.jit(lambda x: sin(x) * (1.0 + sin_cos(x)[0])).lower(POINTS)
    assert evaluations(program.as_text()) == 2
    assert evaluations(program.compile().as_text()) == 1


def test_other_types_pass_through() -> None:
    with jax.enable_x64(True):
        x = np.linspace(-60.0, 60.0, 1001)
        sine, cosine = sin_cos(x)
        assert sine.dtype == cosine.dtype == jnp.float64
        np.testing.assert_allclose(sine, np.sin(x), rtol=0, atol=1e-14)
        np.testing.assert_allclose(cosine, np.cos(x), rtol=0, atol=1e-14)
        np.testing.assert_allclose(jax.vmap(jax.grad(jax.grad(sin)))(x), -np.sin(x), rtol=0, atol=1e-14)
    half = jnp.asarray([0.5, 2.0], jnp.bfloat16)
    assert sin(half).dtype == jnp.bfloat16
    assert np.array_equal(sin(half), jnp.sin(half))


def test_a_gpu_takes_its_own_sine_and_a_cpu_the_polynomial() -> None:
    derivative = jax.jit(lambda x: orders(sin, 2)[2](x) + orders(sin, 1)[1](x))
    texts = {name: derivative.trace(POINTS).lower(lowering_platforms=(name,)).as_text() for name in ("cpu", "cuda")}
    for name in ("stablehlo.sine", "stablehlo.cosine"):
        assert name in texts["cuda"]
        assert name not in texts["cpu"]
    assert "stablehlo.floor" in texts["cpu"]
    assert "stablehlo.floor" not in texts["cuda"]
