"""Devices: which there are, what they are called, and what a cell used of them."""

from __future__ import annotations

import re

import torch

from inrbench.errors import Refused
from inrbench.memory import keep_freed_memory

__all__ = ["device_facts", "is_out_of_memory", "peak_memory_bytes", "prepare", "resolve_device"]


def resolve_device(name: str) -> str:
    """``auto``, ``cpu``, ``cuda`` or ``cuda:1`` as the device to use. Raises Refused where it is not there."""
    if name == "auto":
        return "cuda:0" if torch.cuda.is_available() else "cpu"
    if name == "cpu":
        return name
    match = re.fullmatch(r"cuda(?::(\d+))?", name)
    if match is None:
        raise Refused(f"device {name!r}: allowed are auto, cpu, cuda and cuda:0, cuda:1, ...")
    index = int(match[1] or 0)
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if index >= count:
        there = "no CUDA device" if count == 0 else f"cuda:0 to cuda:{count - 1}"
        raise Refused(f"device {name!r}: this machine has {there}; --device cpu runs without one")
    return f"cuda:{index}"


def prepare(device: str, threads: int) -> None:
    """Set the number of threads and the matmul precision (fp32 stays fp32), and start counting peak memory."""
    torch.set_num_threads(threads)
    keep_freed_memory()
    torch.set_float32_matmul_precision("highest")
    if device != "cpu":
        torch.cuda.set_device(device)
        torch.cuda.reset_peak_memory_stats(device)


def device_facts(device: str) -> dict[str, str]:
    """The device's name and what it depends on."""
    if device == "cpu":
        return {}
    return {"gpu": torch.cuda.get_device_name(device), "cuda": str(torch.version.cuda)}


def peak_memory_bytes(device: str) -> int | None:
    """Peak memory on a CUDA device since `prepare`; None on the cpu, where the process's counts."""
    return None if device == "cpu" else int(torch.cuda.max_memory_allocated(device))


def is_out_of_memory(error: BaseException) -> bool:
    """Whether PyTorch says that memory did not suffice: its own error on CUDA, the CPU allocator's words."""
    if isinstance(error, torch.cuda.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and "can't allocate memory" in str(error)
