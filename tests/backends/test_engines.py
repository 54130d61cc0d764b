"""Which engine a cell's parts run in; several frameworks as one."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

import pytest

from inrbench import backends
from inrbench.errors import Refused


class Framework:
    """An engine that has ``devices`` and remembers how it was prepared."""

    def __init__(self, name: str, devices: tuple[str, ...], peak: int | None = None) -> None:
        self.name, self.devices, self.peak = name, devices, peak
        self.prepared: list[tuple[str, int]] = []

    def resolve_device(self, name: str) -> str:
        if name == "auto":
            return self.devices[0]
        if name not in self.devices:
            raise Refused(f"{self.name} has no {name}")
        return name

    def prepare(self, device: str, threads: int) -> None:
        self.prepared.append((device, threads))

    def device_facts(self, device: str) -> dict[str, str]:
        return {self.name: device}

    def peak_memory_bytes(self, device: str) -> int | None:
        return self.peak

    def is_out_of_memory(self, error: BaseException) -> bool:
        return str(error) == f"{self.name} is full"


@pytest.fixture
def frameworks(monkeypatch: pytest.MonkeyPatch) -> dict[str, Framework]:
    """Two frameworks with a GPU each, and one without."""
    found = {
        "one": Framework("one", ("cuda:0", "cpu"), 5),
        "two": Framework("two", ("cuda:0", "cpu"), 7),
        "host": Framework("host", ("cpu",)),
    }
    for name, framework in found.items():
        monkeypatch.setitem(sys.modules, f"inrbench.backends.{name}", SimpleNamespace(**_methods(framework)))
    return found


def _methods(framework: Framework) -> dict[str, Any]:
    names = ("resolve_device", "prepare", "device_facts", "peak_memory_bytes", "is_out_of_memory")
    return {name: getattr(framework, name) for name in names}


def test_parts_in_numpy_need_no_framework() -> None:
    assert backends.engine_of(()).resolve_device("auto") == "cpu"
    with pytest.raises(Refused, match="NumPy"):
        backends.engine_of(("numpy",)).resolve_device("cuda")


def test_one_framework_is_its_own_engine(frameworks: dict[str, Framework]) -> None:
    assert backends.engine_of(("one",)) is sys.modules["inrbench.backends.one"]


@pytest.mark.parametrize(
    ("names", "expected"), [(("one", "two"), "cuda:0"), (("one", "host"), "cpu"), (("host", "one"), "cpu")]
)
def test_auto_is_a_device_that_all_frameworks_find(
    frameworks: dict[str, Framework], names: tuple[str, ...], expected: str
) -> None:
    assert backends.engine_of(names).resolve_device("auto") == expected


def test_a_device_that_one_of_them_lacks_is_refused_by_that_one(frameworks: dict[str, Framework]) -> None:
    with pytest.raises(Refused, match="host has no cuda:0"):
        backends.engine_of(("one", "host")).resolve_device("cuda:0")


def test_all_are_prepared_described_and_asked(frameworks: dict[str, Framework]) -> None:
    together = backends.engine_of(("one", "host", "two"))
    together.prepare("cpu", 3)
    assert [framework.prepared for framework in frameworks.values()] == [[("cpu", 3)]] * 3
    assert together.device_facts("cpu") == {"one": "cpu", "two": "cpu", "host": "cpu"}
    assert together.peak_memory_bytes("cpu") == 7
    assert backends.engine_of(("host", "host")).peak_memory_bytes("cpu") is None
    assert together.is_out_of_memory(RuntimeError("two is full"))
    assert not together.is_out_of_memory(RuntimeError("four is full"))


def test_a_framework_that_is_not_installed_is_named() -> None:
    with pytest.raises(Refused, match="needs other, which is not installed"):
        backends.engine_of(("other",))
