"""The engines: one module a framework, twins with the same settings and names, loaded only when a cell needs them."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Protocol, cast

from inrbench.errors import Refused

__all__ = ["Engine", "engine", "engine_of"]


class Engine(Protocol):
    """What the core asks of a framework; `inrbench.backends.torch` and `inrbench.backends.jax` are such modules."""

    def resolve_device(self, name: str) -> str:
        """``auto``, ``cpu``, ``cuda`` or ``cuda:1`` as the device to use. Raises Refused where it is not there."""
        ...

    def prepare(self, device: str, threads: int) -> None:
        """Set the number of threads, and start counting peak memory, before a cell."""
        ...

    def device_facts(self, device: str) -> dict[str, str]:
        """The device's name and what it depends on (driver, CUDA), for the record."""
        ...

    def peak_memory_bytes(self, device: str) -> int | None:
        """Peak memory on the device since `prepare`; None where the host's is what counts."""
        ...

    def is_out_of_memory(self, error: BaseException) -> bool:
        """Whether ``error`` is the framework's way to say that memory did not suffice."""
        ...


class _NumPy:
    """The engine of cells that need no framework."""

    def resolve_device(self, name: str) -> str:
        if name not in ("auto", "cpu"):
            raise Refused(f"device {name!r}: this cell runs in NumPy, on the cpu alone")
        return "cpu"

    def prepare(self, device: str, threads: int) -> None:
        pass

    def device_facts(self, device: str) -> dict[str, str]:
        return {}

    def peak_memory_bytes(self, device: str) -> int | None:
        return None

    def is_out_of_memory(self, error: BaseException) -> bool:
        return False


def engine(backend: str) -> Engine:
    """The engine of ``backend``. Raises Refused where the framework is not installed."""
    if backend == "numpy":
        return _NumPy()
    try:
        return cast(Engine, importlib.import_module(f"inrbench.backends.{backend}"))
    except ImportError as error:
        raise Refused(f"this cell needs {backend}, which is not installed here ({error})") from error


class _Together:
    """The engines of a cell whose parts come from several frameworks, in the order of its stages, as one."""

    def __init__(self, engines: Sequence[Engine]) -> None:
        self.engines = engines

    def resolve_device(self, name: str) -> str:
        """What all of them can use: ``auto`` is a GPU only where each finds the first one's."""
        first = self.engines[0].resolve_device(name)
        try:
            for other in self.engines[1:]:
                other.resolve_device(first)
        except Refused:
            if name != "auto":
                raise
            return "cpu"
        return first

    def prepare(self, device: str, threads: int) -> None:
        for one in self.engines:
            one.prepare(device, threads)

    def device_facts(self, device: str) -> dict[str, str]:
        return {key: value for one in self.engines for key, value in one.device_facts(device).items()}

    def peak_memory_bytes(self, device: str) -> int | None:
        peaks = [one.peak_memory_bytes(device) for one in self.engines]
        return max((peak for peak in peaks if peak is not None), default=None)

    def is_out_of_memory(self, error: BaseException) -> bool:
        return any(one.is_out_of_memory(error) for one in self.engines)


def engine_of(backends: Sequence[str]) -> Engine:
    """The engine of parts in ``backends``, each named once. Raises Refused where a framework is not installed."""
    found = [engine(backend) for backend in backends if backend != "numpy"] or [engine("numpy")]
    return found[0] if len(found) == 1 else _Together(found)
