"""What the command line loads: nothing that it does not use. Each case is a process of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

FRAMEWORKS = {"torch", "jax", "equinox", "optax", "pandas", "matplotlib", "sklearn", "scipy"}
LIBRARIES = {"numpy", "pydantic", "rich", "yaml", "pluggy", "httpx", "tabulate", "safetensors", "PIL"}
HELPED = (
    "run",
    "plan",
    "why",
    "schema",
    "fit",
    "read",
    "query",
    "export",
    "import",
    "data",
    "show",
    "leaderboard",
    "plot",
    "merge",
    "compare",
    "gc",
    "verify",
    "status",
    "stop",
)
PROGRAM = """
import runpy, sys
sys.argv = ["inrbench", *sys.argv[1:]]
try:
    runpy.run_module("inrbench", run_name="__main__")
except SystemExit as end:
    assert not end.code, end.code
print("loaded:", *sorted({name.partition(".")[0] for name in sys.modules}))
"""


def loaded_by(*arguments: str) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *arguments], capture_output=True, text=True, timeout=120, check=True
    )
    return set(done.stdout.rpartition("loaded:")[2].split())


@pytest.mark.parametrize(
    "arguments",
    [["--help"], *([name, "--help"] for name in HELPED), ["--version"]],
    ids=" ".join,
)
def test_help_loads_click_and_no_other_library(arguments: list[str]) -> None:
    assert not loaded_by(*arguments) & (FRAMEWORKS | LIBRARIES)


@pytest.mark.parametrize(
    "arguments",
    [
        ["list"],
        ["list", "--json"],
        ["show", "mwt"],
        ["show", "functa", "--json"],
        ["show", "latent-meta-sgd"],
        ["show", "cifar10"],
        ["show", "mlp"],
        ["list", "executors"],
        ["show", "slurm"],
        ["status", "--records", "."],
        ["stop", "--records", "."],
        ["schema"],
    ],
    ids=" ".join,
)
def test_listing_and_showing_load_no_framework(arguments: list[str]) -> None:
    assert not loaded_by(*arguments) & FRAMEWORKS


def test_listing_loads_no_validation_and_no_arrays() -> None:
    assert not loaded_by("list") & {"numpy", "pydantic", "yaml"}


@pytest.mark.parametrize(
    ("cell", "loaded"),
    [
        (["mwt+cifar10"], {"torch"}),
        (["functa+cifar10", "--set", "reader="], {"jax", "equinox", "optax"}),
        (["functa+cifar10", "--set", "reader=knn", "--profile", "smoke"], {"jax", "equinox", "optax"}),
        (["functa+cifar10"], {"torch", "jax", "equinox", "optax"}),
        (["pixels+digits", "--set", "reader=knn"], set()),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_showing_a_cell_loads_the_frameworks_of_its_parts_alone(cell: list[str], loaded: set[str]) -> None:
    assert loaded_by("show", *cell, "--json") & {"torch", "jax", "equinox", "optax"} == loaded


def test_a_neural_data_set_is_made_and_read_without_a_framework_that_nothing_in_it_needs(tmp_path: Path) -> None:
    made, records = str(tmp_path / "made"), ("--records", str(tmp_path / "records"))
    frameworks = {"torch", "jax", "equinox", "optax"}
    assert not loaded_by("fit", "pixels+digits", "-o", made, "--profile", "smoke") & frameworks
    assert not loaded_by("read", "knn", made, *records) & frameworks


@pytest.mark.parametrize("words", ["run mw", "run mwt+ci", "run mwt+cifar10 --set fitter.st", "show cif", "render m"])
def test_completing_loads_no_framework(words: str) -> None:
    program = f"""
import os, sys
os.environ.update(COMP_WORDS={f"inrbench {words}"!r}, COMP_CWORD={str(len(words.split()))!r})
os.environ["_INRBENCH_COMPLETE"] = "bash_complete"
from inrbench.cli import main
try:
    main()
except SystemExit:
    pass
print("loaded:", *sorted({{name.partition(".")[0] for name in sys.modules}}))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=True)
    assert not set(done.stdout.rpartition("loaded:")[2].split()) & FRAMEWORKS
