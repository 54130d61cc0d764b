"""The JAX engine around its loop: devices and threads, precision, compilation."""

from __future__ import annotations

import json
import logging
import math
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from inrbench import draws
from inrbench.backends.jax import compilation, device, is_out_of_memory, peak_memory_bytes, precision
from inrbench.backends.jax.compilation import Compiled
from inrbench.backends.jax.device import device_facts, resolve_device
from inrbench.backends.jax.precision import check_agreement, product
from inrbench.cell_run import CellRun
from inrbench.domains import Array
from inrbench.errors import Refused

# ------------------------------------------------------------------ a process of its own

PROGRAM = """
import glob, json, logging, os, sys
found = {}
class Kept(logging.Handler):
    def emit(self, record):
        found.setdefault("said", []).append(record.getMessage())
logging.getLogger("inrbench").addHandler(Kept())
import jax
from jax._src import xla_bridge
from inrbench.backends.jax import is_out_of_memory, prepare
found["started by importing"] = xla_bridge.backends_are_initialized()
found["preallocate"] = os.environ.get("XLA_PYTHON_CLIENT_PREALLOCATE")
if sys.argv[1] == "later":
    jax.devices("cpu")
prepare("cpu", 3)
found["started"] = xla_bridge.backends_are_initialized()
found["cores"] = os.environ.get("NPROC")
found["precision"] = jax.config.jax_default_matmul_precision
found["threads"] = [open(path).read().strip() for path in glob.glob("/proc/self/task/*/comm")].count("tf_XLAEigen")
prepare("cpu", 3)
prepare("cpu", 2)
try:
    jax.numpy.zeros(2**46).block_until_ready()
except Exception as error:
    found["too large"] = [is_out_of_memory(error), str(error)]
print(json.dumps(found))
"""


def process(when: str, **environment: str) -> dict[str, Any]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("XLA_", "NPROC"))}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, when], capture_output=True, text=True, check=True, env=kept | environment
    )
    return dict(json.loads(done.stdout.splitlines()[-1]))


@pytest.fixture(scope="module")
def fresh() -> dict[str, Any]:
    return process("first")


def test_importing_the_engine_starts_no_device_and_preparing_it_does(fresh: dict[str, Any]) -> None:
    assert not fresh["started by importing"]
    assert fresh["started"]


def test_a_gpus_memory_is_taken_as_it_is_needed(fresh: dict[str, Any]) -> None:
    assert fresh["preallocate"] == "false"


def test_float32_stays_float32(fresh: dict[str, Any]) -> None:
    assert fresh["precision"] == "highest"


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="threads are counted where Linux lists them")
def test_the_cpu_works_with_the_threads_asked_for(fresh: dict[str, Any]) -> None:
    assert fresh["threads"] == 3
    assert fresh["cores"] is None  # what tells XLA so is gone again


def test_another_number_of_threads_later_is_said_to_change_nothing(fresh: dict[str, Any]) -> None:
    assert fresh["said"] == ["JAX has started with 3 threads in this process and goes on so; asked for: 2"]


def test_an_array_that_no_machine_holds_is_out_of_memory(fresh: dict[str, Any]) -> None:
    found, said = fresh["too large"]
    assert found, said


def test_who_started_jax_or_set_its_memory_himself_is_left_alone() -> None:
    found = process("later", XLA_PYTHON_CLIENT_PREALLOCATE="true", NPROC="5")
    assert found["preallocate"] == "true"
    assert found["cores"] == "5"
    goes_on = "JAX has started with another number of threads in this process and goes on so; asked for: "
    assert found["said"] == [goes_on + "3", goes_on + "3", goes_on + "2"]


# ------------------------------------------------------------------ devices


def test_a_machine_without_a_gpu_runs_on_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "CUDA_PLUGINS", ("no_such_package",))
    assert resolve_device("auto") == resolve_device("cpu") == "cpu"
    for name in ("cuda", "cuda:0", "cuda:3"):
        with pytest.raises(Refused) as refused:
            resolve_device(name)
        said = f"device {name!r}: this machine has no CUDA device that JAX can use; --device cpu runs without one"
        assert str(refused.value) == said


def test_gpus_are_counted_from_0(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "_num_cuda_devices", lambda: 2)
    names = ("auto", "cpu", "cuda", "cuda:0", "cuda:1")
    assert [resolve_device(name) for name in names] == ["cuda:0", "cpu", "cuda:0", "cuda:0", "cuda:1"]
    with pytest.raises(Refused, match=r"^device 'cuda:2': this machine has cuda:0 to cuda:1; --device cpu runs"):
        resolve_device("cuda:2")


@pytest.mark.parametrize("name", ["gpu", "cuda:", "cuda:x", "CPU", "tpu", ""])
def test_another_name_is_refused_with_those_allowed(name: str) -> None:
    with pytest.raises(Refused, match=rf"^device '{name}': allowed are auto, cpu, cuda and cuda:0, cuda:1, \.\.\.$"):
        resolve_device(name)


def test_cuda_packages_without_a_gpu_are_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    def none(kind: str) -> list[Any]:
        raise RuntimeError(f"Unknown backend {kind}")

    monkeypatch.setattr(device, "CUDA_PLUGINS", ("json",))
    monkeypatch.setattr(jax, "devices", none)
    assert resolve_device("auto") == "cpu"


def test_the_cpu_has_no_facts_and_no_memory_of_its_own() -> None:
    assert device_facts("cpu") == {}
    assert peak_memory_bytes("cpu") is None


def test_only_jax_says_that_jax_is_out_of_memory() -> None:
    assert is_out_of_memory(jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 8 bytes."))
    assert not is_out_of_memory(jax.errors.JaxRuntimeError("INTERNAL: something else"))
    assert not is_out_of_memory(RuntimeError("RESOURCE_EXHAUSTED"))


# ------------------------------------------------------------------ precision


def normal(*shape: int) -> Array:
    return draws.generator(0, "normal", *shape).standard_normal(shape).astype(np.float32)


def test_a_product_in_bfloat16_is_that_of_rounded_factors_summed_up_in_float32() -> None:
    left, right = normal(3, 4, 400), normal(400, 5)
    rounded = [torch.as_tensor(one).bfloat16().double().numpy() for one in (left, right)]
    found = product(jnp.asarray(left), jnp.asarray(right), "bfloat16")
    assert found.dtype == jnp.float32
    np.testing.assert_allclose(found, rounded[0] @ rounded[1], rtol=1e-4, atol=1e-4)
    assert np.abs(found - left @ right).max() > 1e-2


def test_a_product_in_float32_is_that_of_the_arrays() -> None:
    left, right = normal(3, 40), normal(40, 5)
    found = product(jnp.asarray(left), jnp.asarray(right), "float32")
    np.testing.assert_allclose(found, left.astype(np.float64) @ right, rtol=1e-5, atol=1e-5)


class Two:
    """Two groups; in bfloat16 the gradient of each is (1 + its error) times what it is in float32."""

    def __init__(self, **errors: float) -> None:
        self.errors, self.asked = errors, list[str]()

    def __call__(self, kind: str) -> dict[str, Any]:
        self.asked.append(kind)
        factor = {
            name: 1.0 + (self.errors.get(name, 0.0) if kind == "bfloat16" else 0.0) for name in ("field", "rates")
        }
        field = {"a": jnp.arange(1.0, 4.0), "b": jnp.arange(1.0, 5.0).reshape(2, 2)}
        return {
            "field": jax.tree.map(lambda one: factor["field"] * one, field),
            "rates": [factor["rates"] * jnp.arange(1.0, 5.0)],
        }


def checked(two: Any) -> CellRun:
    run = CellRun(0)
    check_agreement(two, run, setting="some.train.precision")
    return run


def test_each_groups_difference_is_logged_relative_to_its_gradient(caplog: pytest.LogCaptureFixture) -> None:
    two = Two(field=0.03, rates=-0.007)
    with caplog.at_level(logging.INFO, logger="inrbench"):
        run = checked(two)
    assert two.asked == ["float32", "bfloat16"]
    (logged,) = run.history
    expected = {"step": 0.0, "bfloat16_difference_field": 0.03, "bfloat16_difference_rates": 0.007}
    assert logged == pytest.approx(expected, rel=1e-4)
    assert "relative: field 3.0e-02, rates 7.0e-03" in caplog.text


def test_a_difference_is_that_of_the_whole_group() -> None:
    def one_array_wrong(kind: str) -> dict[str, Any]:
        found = Two()(kind)
        if kind == "bfloat16":
            found["field"]["a"] = found["field"]["a"] + 0.1
        return found

    norm = math.sqrt(1 + 4 + 9 + 1 + 4 + 9 + 16)
    logged = checked(one_array_wrong).history[0]
    assert logged["bfloat16_difference_field"] == pytest.approx(0.1 * math.sqrt(3) / norm, rel=1e-4)


def test_a_group_without_any_gradient_agrees() -> None:
    logged = checked(lambda kind: {"idle": [jnp.zeros(3)]}).history[0]
    assert logged["bfloat16_difference_idle"] == 0.0


@pytest.mark.parametrize("name", ["field", "rates"])
def test_a_difference_beyond_the_limit_is_refused_with_what_to_do(name: str) -> None:
    said = (
        rf"^the gradient of '{name}' in bfloat16 differs from float32's by 25\.0% of its norm \(allowed: 10%\); "
        r"--set some\.train\.precision=float32$"
    )
    with pytest.raises(Refused, match=said):
        checked(Two(**{name: 0.25}))
    checked(Two(**{name: 0.09}))


def test_the_limit_is_that_of_the_module(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "LARGEST_DISAGREEMENT", 0.3)
    checked(Two(field=0.25))


@pytest.mark.parametrize("error", [math.nan, math.inf])
@pytest.mark.parametrize("name", ["field", "rates"])
def test_a_gradient_that_is_not_finite_is_refused(name: str, error: float) -> None:
    errors: dict[str, Any] = {"field": 0.05, "rates": 0.05, name: error}
    with pytest.raises(Refused, match=f"^the gradient of '{name}' in bfloat16 differs from float32's by (nan|inf)%"):
        checked(Two(**errors))


# ------------------------------------------------------------------ compilation


def test_a_function_is_compiled_once_for_arguments_of_equal_shapes(monkeypatch: pytest.MonkeyPatch) -> None:
    now, traced = [0.0], list[Any]()
    monkeypatch.setattr(compilation, "time", SimpleNamespace(perf_counter=lambda: now[0]))

    def doubled(tree: dict[str, Any]) -> dict[str, Any]:
        traced.append(jax.tree.map(jnp.shape, tree))
        now[0] += 3.0
        return {name: 2 * array for name, array in tree.items()}

    function = Compiled(doubled)
    assert function.seconds == 0.0
    for value in (1.0, 5.0):
        assert function({"a": np.full(2, value, np.float32)})["a"].tolist() == [2 * value] * 2
        assert (len(traced), function.seconds) == (1, 3.0)
    assert function({"a": np.ones(3, np.float32)})["a"].tolist() == [2.0] * 3  # another shape,
    assert function({"b": np.ones(2, np.float32)})["b"].tolist() == [2.0] * 2  # tree,
    assert function({"a": np.ones(2, np.int32)})["a"].dtype == np.int32  # or type
    assert (len(traced), function.seconds) == (4, 12.0)
    now[0] += 100.0
    function({"a": np.ones(2, np.float32)})
    assert (len(traced), function.seconds) == (4, 12.0)


def test_what_is_donated_is_worked_on_in_place() -> None:
    function = Compiled(lambda state, change: state + change, donate=(0,))
    state, change = jnp.zeros(1000), jnp.ones(1000)
    moved = function(state, change)
    assert state.is_deleted()
    assert not change.is_deleted()
    assert moved.tolist() == [1.0] * 1000
