"""SIREN and gradient descent in JAX: equal to the PyTorch twins, resumed fits, signals that do not see each other."""

from __future__ import annotations

import copy
import functools
import subprocess
import sys
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from inrbench_fields import gradient_descent, gradient_descent_jax, siren, siren_jax
from inrbench_fields.settings import GradientDescentSettings, SirenSettings

import inrbench
from inrbench import draws
from inrbench.backends.jax.training import named
from inrbench.backends.torch.draws import torch_generator
from inrbench.backends.torch.fields import coords_of
from inrbench.cell_run import CellRun
from inrbench.cells import resolve
from inrbench.domains import Grid, Points
from inrbench.errors import Interrupted, NotFinite
from inrbench.registry import registry
from inrbench.representations import Representations
from inrbench.signals import GridSignals, Part, PartSpec, SignalSpec

PAPER: dict[str, Any] = {"omega_0": 30.0, "omega_hidden": 30.0}
MWT: dict[str, Any] = {
    "omega_0": 10.0,
    "omega_hidden": 1.0,
    "bias_init": "zero",
    "output_init": "default",
    "output_scale": 0.1,
    "coordinates": "corners",
    "values": "unit",
}
LEARNED_INIT: dict[str, Any] = {
    "omega_0": 200.0,
    "omega_hidden": 200.0,
    "bias_init": "all-zero",
    "coordinates": "unit-corners",
    "values": "centred",
}
SOUND: dict[str, Any] = {"omega_0": 7.0, "omega_hidden": 30.0, "coordinates": "corners", "time_scale": 4.0}
CONVENTIONS = pytest.mark.parametrize(
    "settings", [PAPER, MWT, LEARNED_INIT, SOUND], ids=["paper", "mwt", "learned-init", "sound"]
)
SPEC = SignalSpec((PartSpec("grid", (6, 5), 2, 3),))
GRID = Grid.of(6, 5)


def twins(settings: dict[str, Any], **more: Any) -> tuple[siren.Siren, siren_jax.Siren]:
    chosen = SirenSettings(**{"width": 16, "depth": 2, **settings, **more})
    return siren.Siren(chosen, SPEC), siren_jax.Siren(chosen, SPEC)


def several(field: siren_jax.Siren, signals: int, dtype: Any = np.float32) -> siren_jax.SirenParameters:
    """Parameters of some signals, with noise on all arrays, so that none is 0."""
    drawn = [field.init(draws.generator(0, "init", i)) for i in range(signals)]
    rng = draws.generator(0, "noise")
    spread = 0.6 / max(30.0, field.settings.omega_hidden)  # sines of large arguments lose digits in float32
    return jax.tree.map(
        lambda *each: jnp.asarray(np.stack(each) + spread * rng.standard_normal((signals, *each[0].shape)), dtype),
        *drawn,
    )


def applied(field: siren_jax.Siren) -> Any:
    return jax.jit(lambda parameters, coords: field.apply(parameters, None, coords))


def as_torch(parameters: siren_jax.SirenParameters) -> dict[str, torch.Tensor]:
    return {name: torch.tensor(array) for name, array in named(parameters).items()}


@CONVENTIONS
def test_twins_draw_the_same_initial_values_under_the_same_names(settings: dict[str, Any]) -> None:
    ours, theirs = twins(settings)
    expected = ours.init(torch_generator(draws.generator(3, "initialisation", 7)))
    found = named(theirs.init(draws.generator(3, "initialisation", 7)))
    assert list(found) == list(expected)
    for name, array in expected.items():
        assert found[name].dtype == np.float32
        np.testing.assert_array_equal(found[name], array.numpy(), err_msg=name)


@CONVENTIONS
@pytest.mark.parametrize("depth", [0, 1, 3])
def test_twins_give_equal_values_for_copied_weights(settings: dict[str, Any], depth: int) -> None:
    ours, theirs = twins(settings, depth=depth)
    parameters, coords = several(theirs, 3), coords_of(GRID, "cpu")
    expected = ours.apply(as_torch(parameters), coords).numpy()
    found = np.asarray(applied(theirs)(parameters, coords.numpy()))
    assert found.shape == (3, 30, 3)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)
    assert theirs.to_unit == ours.to_unit
    assert theirs.convention() == ours.convention()
    assert theirs.flops(30) == ours.flops(30)


@CONVENTIONS
def test_twins_give_equal_values_and_gradients_in_double_precision(settings: dict[str, Any]) -> None:
    with jax.enable_x64(True):
        ours, theirs = twins(settings)
        parameters, coords = several(theirs, 2, np.float64), coords_of(GRID, "cpu").double()
        target = draws.generator(0, "target").uniform(-1.0, 1.0, (2, 30, 3))

        def errors(parameters: Any) -> Any:
            return jnp.square(theirs.apply(parameters, None, jnp.asarray(coords.numpy())) - target).mean((1, 2))

        arrays = as_torch(parameters)
        expected, gradients = ours.loss_and_gradient(arrays, coords, torch.tensor(target), list(arrays))
        found_errors, pull = jax.jit(lambda given: jax.vjp(errors, given))(parameters)
        np.testing.assert_allclose(found_errors, expected.numpy(), rtol=1e-12)
        (found,) = map(named, jax.jit(pull)(jnp.ones(2)))
        assert found.keys() == gradients.keys()
        for name, gradient in gradients.items():
            np.testing.assert_allclose(found[name], gradient.numpy(), rtol=1e-9, atol=1e-12, err_msg=name)


def test_arrays_without_signals_in_front_are_shared_by_all() -> None:
    _, theirs = twins(MWT)
    parameters, coords, apply = several(theirs, 3), coords_of(GRID, "cpu").numpy(), applied(theirs)
    alone = jax.tree.map(lambda array: np.asarray(array)[0], parameters)
    repeated = jax.tree.map(lambda array: np.stack([array] * 3), alone.output)
    shared = apply(siren_jax.SirenParameters(parameters.layers, alone.output), coords)
    apart = apply(siren_jax.SirenParameters(parameters.layers, repeated), coords)
    np.testing.assert_allclose(shared, apart, rtol=0, atol=1e-7)
    one = apply(alone, coords)
    assert one.shape == (30, 3)
    np.testing.assert_allclose(one, apply(parameters, coords)[0], rtol=0, atol=1e-6)


# ---------------------------------------------------------------------------------------------- gradient descent

IMAGES = GridSignals(draws.generator(0, "images").integers(0, 256, (5, 6, 5, 3), dtype=np.uint8))


@functools.cache
def built(optimiser: str, lr: float, convention: str) -> gradient_descent_jax.GradientDescent:
    """A fitter that has compiled its step for whoever wants it with other settings."""
    _, field = twins(PAPER if convention == "paper" else MWT, width=8, depth=1)
    return gradient_descent_jax.GradientDescent(GradientDescentSettings(optimiser=optimiser, lr=lr), SPEC, field)


def fitter_of(backend: str = "jax", convention: str = "paper", **settings: Any) -> Any:
    chosen = GradientDescentSettings(**{"steps": 20, "lr": 1e-3, **settings})
    if backend == "torch":
        field, _ = twins(PAPER if convention == "paper" else MWT, width=8, depth=1)
        return gradient_descent.GradientDescent(chosen, SPEC, field)
    fitter = copy.copy(built(chosen.optimiser, chosen.lr, convention))
    fitter.settings = chosen
    return fitter


def fitted(fitter: Any, signals: Any = IMAGES, run: CellRun | None = None) -> Representations:
    return Representations.joined(fitter.fit(signals.unlabelled(), run or CellRun(0)))


def assert_rows_close(one: Representations, other: Representations, tolerance: float) -> None:
    assert list(one.ids) == list(other.ids)
    assert one.layout == other.layout
    assert list(one.arrays) == list(other.arrays)
    for name, array in one.arrays.items():
        np.testing.assert_allclose(array, other.arrays[name], rtol=0, atol=tolerance, err_msg=name)


@pytest.mark.parametrize("convention", ["paper", "mwt"])
@pytest.mark.parametrize("steps", [0, 1, 2, 5, 20])
def test_sgd_takes_the_twins_steps(convention: str, steps: int) -> None:
    chosen: dict[str, Any] = {"convention": convention, "steps": steps, "optimiser": "sgd", "lr": 3e-3}
    assert_rows_close(fitted(fitter_of(**chosen)), fitted(fitter_of("torch", **chosen)), 1e-5 if steps else 0.0)


def test_these_steps_go_far() -> None:
    start = fitted(fitter_of(steps=0))
    for name, array in fitted(fitter_of(optimiser="sgd", lr=3e-3)).arrays.items():
        assert np.abs(array - start.arrays[name]).max() > 1e-4, name


def test_adam_takes_the_twins_steps() -> None:
    assert_rows_close(fitted(fitter_of()), fitted(fitter_of("torch")), 1e-5)


def test_query_is_the_twins() -> None:
    fitter, other = fitter_of(), fitter_of("torch")
    rows = Representations.joined([fitted(fitter)] * 4)  # more than are queried at once
    for domain, shape in ((Grid.of(12, 10), (12, 10)), (Points(np.float32([[0.1, 0.2], [-0.9, 1.0]])), (2,))):
        found, expected = (np.concatenate(list(one.query(rows, domain, CellRun(0)))) for one in (fitter, other))
        assert found.shape == (20, *shape, 3)
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)


def test_a_signals_result_does_not_depend_on_the_others() -> None:
    together = fitted(fitter_of())
    for order in ([2], [4, 1], [3, 0, 2, 4, 1]):
        part = fitted(fitter_of(shard=2), IMAGES.take(np.array(order)))
        assert_rows_close(part, together.take(np.array(order)), 2e-5)


def test_each_signal_starts_from_a_draw_of_its_own_or_all_from_one() -> None:
    own = fitted(fitter_of(steps=0)).arrays["layers.0.weight"]
    one = fitted(fitter_of(steps=0, initialisation="shared")).arrays["layers.0.weight"]
    assert not np.array_equal(own[0], own[1])
    assert np.array_equal(one, np.broadcast_to(one[:1], one.shape))


class StoppedAfter(CellRun):
    """A run that is asked to stop within its ``after``-th step."""

    def __init__(self, after: int, folder: Path) -> None:
        super().__init__(0, folder=folder)
        self.after = after

    def steps(self, *arguments: Any) -> Any:
        for step in super().steps(*arguments):
            self.after -= 1
            if self.after == 0:
                self.stop.set()
            yield step


@pytest.mark.parametrize(("optimiser", "after"), [("adam", 1), ("adam", 20), ("adam", 33), ("sgd", 7)])
def test_a_resumed_fit_is_that_of_one_go(tmp_path: Path, optimiser: Any, after: int) -> None:
    whole = fitted(fitter_of(optimiser=optimiser, shard=2))
    with pytest.raises(Interrupted, match="of 20 is kept: the same command goes on from there"):
        fitted(fitter_of(optimiser=optimiser, shard=2), run=StoppedAfter(after, tmp_path))
    assert list(tmp_path.glob("*.checkpoint.safetensors"))
    resumed = fitted(fitter_of(optimiser=optimiser, shard=2), run=CellRun(0, folder=tmp_path))
    assert_rows_close(resumed, whole, 0.0)


def test_a_fit_that_diverges_names_the_signal() -> None:
    with pytest.raises(NotFinite, match=r"^fitting diverged on signal [01234]$"):
        fitted(fitter_of(optimiser="sgd", lr=1e30, steps=5))


class Listed:
    """Two signals with points of their own, and of another number."""

    ids = np.array([3, 8])

    def __len__(self) -> int:
        return 2

    def observed(self, i: int) -> tuple[Part, ...]:
        coords = draws.generator(1, i).uniform(-1.0, 1.0, (20 + i, 2)).astype(np.float32)
        return (Part(Points(coords), np.repeat(0.5 + 0.25 * coords[:, :1], 3, axis=1)),)

    def stacked(self) -> None:
        return None

    def unlabelled(self) -> Listed:
        return self


def test_signals_on_points_of_their_own_are_fitted_as_by_the_twin() -> None:
    rows = fitted(fitter_of(), Listed())
    assert list(rows.ids) == [3, 8]
    assert_rows_close(rows, fitted(fitter_of("torch"), Listed()), 1e-5)


def test_facts_are_the_twins() -> None:
    for settings in ({}, {"initialisation": "shared", "steps": 7}):
        assert fitter_of(**settings).facts() == fitter_of("torch", **settings).facts()


def test_a_step_is_compiled_once_and_its_seconds_are_counted() -> None:
    built.cache_clear()
    fitter = fitter_of(shard=2)
    assert fitter.compile_s == 0.0
    fitted(fitter)  # three shards, the last of one signal
    assert len(fitter.step.done) == 1
    assert fitter.compile_s > 0.0


def test_a_method_takes_the_twin_when_it_is_asked_for() -> None:
    backends = {kind: [one.backend for one in registry().all(kind)] for kind in ("inr", "fitter")}
    assert {"torch", "jax"} <= set(backends["inr"]) & set(backends["fitter"])
    default = resolve("siren", "digits", profile="smoke")
    chosen = resolve("siren", "digits", profile="smoke", overrides=[{"fitter": {"backend": "jax"}}])
    for cell, backend in ((default, "torch"), (chosen, "jax")):
        assert [cell.plugins[part].backend for part in ("inr", "fitter")] == [backend, backend]
    assert default.settings == chosen.settings


@pytest.mark.cells
def test_the_cell_runs_with_the_twin_and_comes_to_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("inrbench.runner.num_threads", lambda asked=None: torch.get_num_threads())
    records = [
        inrbench.run(
            "siren+digits", profile="smoke", settings=settings, device="cpu", records=tmp_path / name, quiet=True
        )
        for name, settings in (("torch", {}), ("jax", {"fitter": {"backend": "jax"}}))
    ]
    assert [list(frame["status"]) for frame in records] == [["ok"], ["ok"]]
    ours, theirs = (float(frame["metrics.psnr_db"].iloc[0]) for frame in records)
    assert theirs == pytest.approx(ours, abs=1e-2)


def test_building_a_cell_starts_no_device() -> None:
    """Threads are settled afterwards, and JAX takes up their number when its devices start."""
    code = """
from jax._src import xla_bridge
from inrbench.cells import resolve
built = resolve("siren", "digits", profile="smoke", overrides=[{"fitter": {"backend": "jax"}}]).build()
assert built.fitter.layout.num_values > 0
assert not xla_bridge.backends_are_initialized()
"""
    subprocess.run([sys.executable, "-c", code], check=True)
