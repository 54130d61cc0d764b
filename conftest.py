"""What all tests share: a cache and a data root of their own, and a data root with real data where there is one."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from beartype import beartype
from jaxtyping import install_import_hook

#: Tests compute on small arrays, where threads that wait for each other cost far more than they bring.
os.environ.setdefault("OMP_NUM_THREADS", "1")

#: Shapes in annotations of these packages are checked in tests, never in timed runs.
SHAPES_CHECKED = [
    "inrbench.backends.jax",
    "inrbench.backends.torch",
    "inrbench_ddpm",
    "inrbench_fields",
    "inrbench_functa",
    "inrbench_learned_init",
    "inrbench_mwt",
    "inrbench_neomlp",
    "inrbench_readers",
    "inrbench_trans_inr",
]


def check_shapes(function: Any) -> Any:
    """``function`` with its array annotations checked, and these alone: beartype refuses the core's protocols."""
    arrays = {n: a for n, a in function.__annotations__.items() if "Float[" in str(a) or "Int[" in str(a)}
    function.__annotations__ = arrays
    return beartype(function) if arrays else function


def _install_shape_checks() -> None:
    """Before anything imports these packages; jaxtyping finds the checker by the name of a module."""
    module = ModuleType("inrbench_shape_checks")
    module.check_shapes = check_shapes  # type: ignore[attr-defined]
    sys.modules[module.__name__] = module
    install_import_hook(SHAPES_CHECKED, f"{module.__name__}.check_shapes")


_install_shape_checks()

TOOL = Path(__file__).resolve().parent.parent / "shared" / "tools" / "make-data-root"


@pytest.fixture(scope="session", autouse=True)
def _folders_of_the_tests(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep tests away from the user's cache and data: subprocesses inherit these variables too."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("INRBENCH_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setenv("INRBENCH_DATA", str(tmp_path_factory.mktemp("data")))
        yield


@pytest.fixture(scope="session")
def real_data_root() -> Path:
    """A data root that holds MNIST (official content) and CIFAR-10 (official format, other pixels).

    The folder that INRBENCH_TEST_DATA names, else one that the tool `make-data-root` builds, once for all sessions.
    """
    if named := os.environ.get("INRBENCH_TEST_DATA"):
        return Path(named)
    if not TOOL.is_file():
        pytest.skip("needs real data: name a data root in INRBENCH_TEST_DATA")
    user = os.getuid() if hasattr(os, "getuid") else 0
    place = Path(tempfile.gettempdir()) / f"inrbench-test-data-{user}-{TOOL.stat().st_mtime_ns}"
    if not place.exists():
        _build(place)
    return place


def _build(place: Path) -> None:
    """Build the data root once, however many test processes want it; it appears whole."""
    import fcntl

    with place.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if place.exists():
            return
        with tempfile.TemporaryDirectory(dir=place.parent, prefix=f"{place.name}-") as building:
            made = Path(building, "root")
            subprocess.run([sys.executable, str(TOOL), str(made)], check=True, capture_output=True)  # noqa: S603
            made.rename(place)
