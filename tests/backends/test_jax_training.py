"""The JAX engine's loop: the PyTorch engine's steps, one compiled call, parts of a batch, and resumed runs."""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from inrbench import draws
from inrbench.backends.jax import compilation
from inrbench.backends.jax.training import Descended, Group, descend, gradients, in_parts, named, num_parts
from inrbench.backends.torch import training as torch_training
from inrbench.cell_run import CellRun
from inrbench.errors import Interrupted, NotFinite
from inrbench.settings import TrainingSettings

PLAIN = TrainingSettings()
ONE_CYCLE = TrainingSettings(schedule="one-cycle", clip_norm=1.0, weight_decay=1e-2)
AVERAGED = TrainingSettings(ema=0.9, clip_norm=1.0, schedule="cosine", weight_decay=1e-1)
RATES = {"slow": 1e-2, "fast": 1e-1}


def start() -> dict[str, dict[str, np.ndarray]]:
    """Two groups of parameters."""
    rng = draws.generator(0, "start")
    shapes: dict[str, dict[str, tuple[int, ...]]] = {"slow": {"a": (5,), "b": (5,)}, "fast": {"a": (2, 3)}}
    return {
        group: {name: rng.standard_normal(shape).astype(np.float32) for name, shape in parts.items()}
        for group, parts in shapes.items()
    }


def noise(run: CellRun, step: int) -> np.ndarray:
    """[signals, 1]: where each signal's parabola has its foot."""
    return run.rng("noise", step).standard_normal((4, 1)).astype(np.float32)


class Watched(CellRun):
    """A run that keeps what could be checkpointed after each step."""

    def steps(self, name: str, total: int, state: Any, restore: Any) -> Iterator[int]:
        self.states: list[dict[str, np.ndarray]] = []
        for step in super().steps(name, total, state, restore):
            yield step
            self.states.append({key: np.array(array) for key, array in state().items()})


def loss(parameters: Mapping[str, Any], batch: Any, constants: Any) -> tuple[jax.Array, dict[str, jax.Array]]:
    """The mean of the signals' parabolas; ``constants`` lift it."""
    leaves = jax.tree.leaves(parameters)
    each = [jnp.square(leaf.ravel() - batch["noise"]).sum(1).mean() for leaf in leaves]
    return sum(each, start=jnp.zeros(())) + constants, {"first": each[0]}


def trained(settings: TrainingSettings, total: int, run: CellRun, parts: int = 1) -> Descended:
    """The two groups after ``total`` steps."""
    groups = [Group(name, parameters, RATES[name]) for name, parameters in start().items()]
    return descend(
        "train",
        groups,
        loss,
        lambda step: {"noise": noise(run, step)},
        total,
        settings,
        run,
        constants=np.float32(0.5),
        parts=parts,
    )


def trained_by_torch(settings: TrainingSettings, total: int, run: CellRun) -> dict[str, np.ndarray]:
    """The same in the PyTorch engine."""
    groups = [
        torch_training.Group(name, {n: torch.tensor(p, requires_grad=True) for n, p in parameters.items()}, RATES[name])
        for name, parameters in start().items()
    ]

    def losses(step: int) -> Iterator[torch_training.Part]:
        feet = torch.as_tensor(noise(run, step))
        # jax lists a tree's leaves by key
        leaves = [g.parameters[n] for g in sorted(groups, key=lambda g: g.name) for n in sorted(g.parameters)]
        each = [(leaf.ravel() - feet).square().sum(1).mean() for leaf in leaves]
        yield 1.0, torch.stack(each).sum() + 0.5, {"first": each[0]}

    torch_training.descend("train", groups, losses, total, settings, run)
    return {f"{g.name}.{n}": p.detach().numpy().copy() for g in groups for n, p in g.parameters.items()}


# ------------------------------------------------------------------ AdamW


@pytest.mark.parametrize(
    "settings",
    [
        PLAIN,
        ONE_CYCLE,
        AVERAGED,
        TrainingSettings(schedule="inverse-sqrt", warmup=0.3, weight_decay=0.5, clip_norm=1e6),
    ],
    ids=["constant", "one-cycle", "cosine, ema", "inverse-sqrt"],
)
def test_each_step_is_that_of_the_pytorch_engine(settings: TrainingSettings) -> None:
    ours, theirs = Watched(0), Watched(0)
    done = named(trained(settings, 30, ours).parameters)
    expected = trained_by_torch(settings, 30, theirs)
    assert len(ours.states) == len(theirs.states) == 30
    kinds = ("parameter",) if settings.ema is None else ("parameter", "average")
    for step, (mine, other) in enumerate(zip(ours.states, theirs.states, strict=True)):
        for kind in kinds:
            for name in expected:
                key, path = f"{kind}.{name}", f"{kind}/{name.replace('.', '/')}"
                np.testing.assert_allclose(mine[key], other[path], rtol=1e-5, atol=1e-5, err_msg=f"{key} at {step}")
    for one, two in zip(ours.history, theirs.history, strict=True):
        assert one == pytest.approx(two, rel=1e-4)
    assert done.keys() == expected.keys()
    for name, array in expected.items():
        np.testing.assert_allclose(done[name], array, rtol=1e-5, atol=1e-5)
        assert not np.allclose(array, named(start())[name], atol=1e-2)


def test_a_huge_gradient_of_one_group_does_not_shrink_anothers() -> None:
    def moments(huge: float) -> dict[str, np.ndarray]:
        run = Watched(0)
        groups = [Group(name, {"x": np.zeros(3, np.float32)}, 1e-2) for name in ("small", "large")]

        def slopes(parameters: Mapping[str, Any], batch: Any, constants: Any) -> tuple[jax.Array, dict[str, jax.Array]]:
            return 0.1 * parameters["small"]["x"].sum() + huge * parameters["large"]["x"].sum(), {}

        descend("train", groups, slopes, lambda step: {}, 1, TrainingSettings(clip_norm=1.0), run)
        return run.states[0]

    calm, wild = moments(0.1), moments(1e6)
    (small,) = (key for key in calm if "small" in key and "mu" in key)
    large = small.replace("small", "large")
    np.testing.assert_allclose(calm[small], 0.1 * 0.1, rtol=1e-5)  # (1 - β₁) times a gradient below the limit
    np.testing.assert_array_equal(wild[small], calm[small])
    assert np.linalg.norm(wild[large]) / 0.1 == pytest.approx(1.0, rel=1e-4)


@pytest.mark.parametrize("settings", [PLAIN, AVERAGED], ids=["plain", "ema"])
def test_no_steps_leave_the_parameters_as_they_were(settings: TrainingSettings) -> None:
    run = CellRun(0)
    done = trained(settings, 0, run)
    for name, array in named(start()).items():
        np.testing.assert_array_equal(named(done.parameters)[name], array)
    assert done.compile_s == 0.0
    assert run.history == []


def test_what_it_is_given_stays_as_it_was() -> None:
    given = jax.tree.map(jnp.asarray, start())
    groups = [Group(name, parameters, RATES[name]) for name, parameters in given.items()]
    descend(
        "train", groups, loss, lambda step: {"noise": noise(CellRun(0), step)}, 2, AVERAGED, CellRun(0), constants=0.0
    )
    for name, array in named(start()).items():  # the step works in place, on copies
        np.testing.assert_array_equal(named(given)[name], array)


def test_each_step_is_logged_with_its_values() -> None:
    run = CellRun(0)
    trained(PLAIN, 5, run)
    assert [entry["step"] for entry in run.history] == [0.0, 1.0, 2.0, 3.0, 4.0]
    assert set(run.history[0]) == {"step", "loss", "first"}


def test_a_loss_that_is_not_finite_ends_the_run_with_the_step() -> None:
    run = CellRun(0)
    groups = [Group("all", {"x": np.zeros(1, np.float32)}, 1e-3)]

    def sick(parameters: Mapping[str, Any], batch: Any, constants: Any) -> tuple[jax.Array, dict[str, jax.Array]]:
        return (parameters["all"]["x"] * batch["factor"]).sum(), {}

    def inputs(step: int) -> dict[str, np.ndarray]:
        return {"factor": np.full(1, math.nan if step == 3 else 1.0, np.float32)}

    said = r"^the loss of train is nan at step 4 of 10; a smaller rate may help$"
    with pytest.raises(NotFinite, match=said):
        descend("train", groups, sick, inputs, 10, PLAIN, run)
    assert len(run.history) == 3


# ------------------------------------------------------------------ parts of a batch


@pytest.mark.parametrize("parts", [2, 4])
def test_parts_of_a_batch_train_what_the_whole_batch_does(parts: int) -> None:
    whole, split = CellRun(0), CellRun(0)
    expected, found = (named(trained(ONE_CYCLE, 10, r, p).parameters) for r, p in ((whole, 1), (split, parts)))
    for name, array in expected.items():
        np.testing.assert_allclose(found[name], array, rtol=1e-5, atol=1e-6)
    for one, two in zip(split.history, whole.history, strict=True):
        assert one == pytest.approx(two, rel=1e-5)


def test_parts_take_the_signals_of_the_batch_in_turn() -> None:
    seen: list[Any] = []

    def of(parameters: Mapping[str, Any], batch: Any, constants: Any) -> tuple[jax.Array, dict[str, jax.Array]]:
        jax.debug.callback(lambda one: seen.append(one.tolist()), batch["index"], ordered=True)
        return (parameters["all"] * batch["index"]).mean() * constants, {}

    inputs = {"index": jnp.arange(6, dtype=jnp.float32)}
    found, logged = gradients(of, {"all": jnp.float32(2.0)}, inputs, jnp.float32(3.0), parts=3)
    jax.effects_barrier()  # type: ignore[no-untyped-call]
    assert seen == [[0.0, 1.0], [2.0, 3.0], [4.0, 5.0]]
    assert float(found["all"]) == pytest.approx(3.0 * 2.5)
    assert float(logged["loss"]) == pytest.approx(2.0 * 3.0 * 2.5)


@pytest.mark.parametrize("parts", [1, 3])
def test_a_mean_in_parts_has_the_gradients_of_the_whole(parts: int) -> None:
    rng = draws.generator(0, "mean")
    batch = {name: jnp.asarray(rng.standard_normal((6, 4)), jnp.float32) for name in ("x", "y")}
    shared = jnp.asarray(rng.standard_normal(4), jnp.float32)

    def means(shared: Any, batch: Any) -> tuple[jax.Array, dict[str, jax.Array]]:
        each = jnp.square(jnp.sin(shared * batch["x"]) - batch["y"]).sum(1)
        return each.mean(), {"of_x": batch["x"].mean()}

    def loss(function: Any) -> Any:
        def value(shared: Any, batch: Any) -> Any:
            first, more = function(2.0 * shared, batch)
            return 3.0 * first + jnp.square(shared).sum(), more

        return jax.value_and_grad(value, (0, 1), has_aux=True)(shared, batch)

    found, expected = loss(in_parts(means, parts)), loss(means)
    for one, two in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(one, two, rtol=1e-5, atol=1e-6)
    value, more = in_parts(means, parts)(shared, batch)  # without a gradient
    assert float(value) == pytest.approx(float(means(shared, batch)[0]), rel=1e-6)
    assert float(more["of_x"]) == pytest.approx(float(batch["x"].mean()), rel=1e-5)


@pytest.mark.parametrize(
    ("most", "signals", "activation_bytes", "device", "parts"),
    [
        (None, 16, 512 * 2**10, "cpu", 2),  # 8 fit
        (None, 16, 401_408, "cpu", 2),  # 10 would fit: equal parts
        (None, 16, 64, "cpu", 1),
        (None, 16, 2**30, "cpu", 16),
        (None, 16, 512 * 2**10, "cuda:0", 1),
        (5, 16, 64, "cpu", 4),  # 4 parts of 4, as 16 is not divisible by 5
        (64, 16, 2**30, "cpu", 1),
        (4, 6, 64, "cpu", 2),
        (6, 7, 64, "cpu", 7),  # a prime number has no parts but single signals
        (3, 12, 64, "cuda:0", 4),
    ],
)
def test_a_batch_is_worked_on_in_the_fewest_equal_parts_that_a_cache_holds(
    most: int | None, signals: int, activation_bytes: int, device: str, parts: int
) -> None:
    assert num_parts(most, signals, activation_bytes, device) == parts


# ------------------------------------------------------------------ resumed runs


class StoppedAfter(CellRun):
    """A run that is asked to stop within its ``after``-th step."""

    def __init__(self, after: int, folder: Path) -> None:
        super().__init__(0, folder=folder, stop=threading.Event())
        self.after = after

    def steps(self, *arguments: Any) -> Any:
        for step in super().steps(*arguments):
            if step + 1 == self.after:
                self.stop.set()
            yield step


@cache
def whole_run(settings: TrainingSettings) -> dict[str, np.ndarray]:
    return named(trained(settings, 12, CellRun(0)).parameters)


@pytest.mark.parametrize(
    ("settings", "after"),
    [(AVERAGED, 1), (AVERAGED, 7), (AVERAGED, 12), (ONE_CYCLE, 7), (PLAIN, 7)],
    ids=["ema, first", "ema", "ema, last", "one-cycle", "constant"],
)
def test_an_interrupted_run_goes_on_to_the_same_bits(tmp_path: Path, settings: TrainingSettings, after: int) -> None:
    with pytest.raises(Interrupted, match=f"step {after} of 12 is kept"):
        trained(settings, 12, StoppedAfter(after, tmp_path))
    rest = CellRun(0, folder=tmp_path)
    resumed = named(trained(settings, 12, rest).parameters)
    assert len(rest.history) == 12 - after  # nothing was done twice
    for name, array in whole_run(settings).items():
        np.testing.assert_array_equal(array, resumed[name])


# ------------------------------------------------------------------ compilation


def test_there_is_one_compilation_however_many_steps(caplog: pytest.LogCaptureFixture) -> None:
    class Counted(CellRun):
        def steps(self, *arguments: Any) -> Any:
            caplog.clear()  # what was compiled before the first step
            for step in super().steps(*arguments):
                yield step
                if step == 0:
                    caplog.clear()

    traced: list[int] = []

    def counted(*given: Any) -> tuple[jax.Array, Mapping[str, jax.Array]]:
        traced.append(1)
        return loss(*given)

    run = Counted(0)
    groups = [Group(name, parameters, RATES[name]) for name, parameters in start().items()]
    with jax.log_compiles(), caplog.at_level(logging.DEBUG):
        descend("train", groups, counted, lambda step: {"noise": noise(run, step)}, 6, ONE_CYCLE, run, constants=0.0)
    assert len(traced) == 1
    assert [entry.getMessage() for entry in caplog.records if "ompil" in entry.getMessage()] == []


def test_seconds_of_compiling_are_counted_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(compilation, "time", SimpleNamespace(perf_counter=lambda: now[0]))

    def slow_to_trace(*given: Any) -> tuple[jax.Array, Mapping[str, jax.Array]]:
        now[0] += 7.0
        return loss(*given)

    def slow_to_come(step: int) -> dict[str, np.ndarray]:
        now[0] += 100.0
        return {"noise": noise(CellRun(0), step)}

    groups = [Group(name, parameters, RATES[name]) for name, parameters in start().items()]
    done = descend("train", groups, slow_to_trace, slow_to_come, 3, PLAIN, CellRun(0), constants=0.0)
    assert done.compile_s == 7.0
    monkeypatch.undo()
    assert 0.0 < trained(PLAIN, 1, CellRun(0)).compile_s < 60.0


# ------------------------------------------------------------------ names


def test_arrays_are_named_by_the_path_to_them() -> None:
    tree = {"sines": ({"weight": jnp.ones(2)}, {"weight": jnp.zeros(3)}), "bias": jnp.full(1, 4.0)}
    found = named(tree)
    assert {name: array.tolist() for name, array in found.items()} == {
        "bias": [4.0],
        "sines.0.weight": [1.0, 1.0],
        "sines.1.weight": [0.0, 0.0, 0.0],
    }
    assert all(isinstance(array, np.ndarray) for array in found.values())
