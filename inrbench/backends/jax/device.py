"""Devices: which there are, what they are called, and what a cell used of them.

JAX starts its devices once in a process, at the first use of any; memory and threads have to be settled before that.
"""

from __future__ import annotations

import importlib.util
import logging
import os
import re

# a GPU's memory is taken as it is needed; read when the devices start
os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")

import jax
from jax._src import xla_bridge  # nothing public says whether the devices have started

from inrbench.errors import Refused
from inrbench.memory import keep_freed_memory

__all__ = ["device_facts", "device_of", "is_out_of_memory", "peak_memory_bytes", "prepare", "resolve_device"]

log = logging.getLogger("inrbench")
#: The packages that bring JAX's CUDA devices.
CUDA_PLUGINS = ("jax_cuda13_plugin", "jax_cuda12_plugin")
#: What XLA takes for the number of cores when the CPU device starts; there is no other way to tell it.
THREADS_VARIABLE = "NPROC"
#: The threads that the CPU device was started with; None before that.
_started_with: int | None = None


def resolve_device(name: str) -> str:
    """``auto``, ``cpu``, ``cuda`` or ``cuda:1`` as the device to use. Raises Refused where it is not there."""
    if name == "cpu":
        return name
    match = re.fullmatch(r"cuda(?::(\d+))?", name)
    if match is None and name != "auto":
        raise Refused(f"device {name!r}: allowed are auto, cpu, cuda and cuda:0, cuda:1, ...")
    count = _num_cuda_devices()
    if match is None:
        return "cuda:0" if count else "cpu"
    index = int(match[1] or 0)
    if index >= count:
        there = "no CUDA device that JAX can use" if count == 0 else f"cuda:0 to cuda:{count - 1}"
        raise Refused(f"device {name!r}: this machine has {there}; --device cpu runs without one")
    return f"cuda:{index}"


def device_of(name: str) -> jax.Device:
    """The JAX device of a name that `resolve_device` gave."""
    kind, _, index = name.partition(":")
    return jax.devices(kind)[int(index or 0)]


def prepare(device: str, threads: int) -> None:
    """Set the number of threads and the matmul precision (fp32 stays fp32).

    The CPU device has one number of threads in a process: where it has started with another one, that is logged.
    """
    global _started_with
    keep_freed_memory()
    jax.config.update("jax_default_matmul_precision", "highest")  # type: ignore[no-untyped-call]
    if not xla_bridge.backends_are_initialized():
        before = os.environ.get(THREADS_VARIABLE)
        os.environ[THREADS_VARIABLE] = str(threads)
        try:
            jax.devices("cpu")
        finally:
            if before is None:
                del os.environ[THREADS_VARIABLE]
            else:
                os.environ[THREADS_VARIABLE] = before
        _started_with = threads
    elif _started_with != threads:
        had = "another number of" if _started_with is None else str(_started_with)
        log.warning("JAX has started with %s threads in this process and goes on so; asked for: %d", had, threads)


def device_facts(device: str) -> dict[str, str]:
    """The device's name and what it depends on."""
    if device == "cpu":
        return {}
    found = device_of(device)
    return {"gpu": found.device_kind, "cuda": " ".join(found.client.platform_version.split())}


def peak_memory_bytes(device: str) -> int | None:
    """Peak memory on a CUDA device; None on the cpu, where the process's counts.

    JAX cannot count anew: it is the peak since the process began to use the device, of all its cells so far.
    """
    if device == "cpu":
        return None
    stats = device_of(device).memory_stats() or {}
    return int(stats["peak_bytes_in_use"]) if "peak_bytes_in_use" in stats else None


def is_out_of_memory(error: BaseException) -> bool:
    """Whether JAX says that memory did not suffice, on the CPU or on CUDA."""
    return isinstance(error, jax.errors.JaxRuntimeError) and "RESOURCE_EXHAUSTED" in str(error)


def _num_cuda_devices() -> int:
    """CUDA devices that JAX can use. Without its CUDA package nothing is started to find out."""
    if not any(importlib.util.find_spec(name) for name in CUDA_PLUGINS):
        return 0
    try:
        return len(jax.devices("cuda"))
    except RuntimeError:
        return 0
