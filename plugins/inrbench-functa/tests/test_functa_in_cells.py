"""functa and spatial functa as methods: every cell that they name, the paper's counts, and whole cells."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from math import prod
from pathlib import Path
from typing import Any

import pytest

from inrbench.cells import PROFILES, Cell, resolve
from inrbench.settings import load_target

IMAGES = ("mnist", "fashion-mnist", "cifar10", "imagenette", "digits", "celeba-hq")
CELLS = [(method, dataset) for method in ("functa", "spatial-functa") for dataset in IMAGES]


def fitter_of(cell: Cell) -> Any:
    """The fitter of a cell, without its reader, which may be large."""
    dataset, inr, fitter = (cell.plugins[part] for part in ("data", "inr", "fitter"))
    assert dataset is not None
    assert inr is not None
    assert fitter is not None
    spec = load_target(dataset.target, dataset.name)(cell.settings["data"], "").spec()
    field = load_target(inr.target, inr.name)(cell.settings["inr"], spec)
    return load_target(fitter.target, fitter.name)(cell.settings["fitter"], spec, field)


# ------------------------------------------------------------------ cells that are named


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize(("method", "dataset"), [*CELLS, ("spatial-functa", "imagenet")])
def test_every_data_set_has_its_cells(method: str, dataset: str, profile: str) -> None:
    cell = resolve(method, dataset, profile=profile)
    fitter = fitter_of(cell)
    facts = fitter.facts()
    spatial = method == "spatial-functa"
    assert facts.scope == ("spatial" if spatial else "global")
    assert fitter.layout.kind == ("latent-grid" if spatial else "latent")
    assert facts.adapted_values == prod(fitter.layout.shapes["latent"])
    assert facts.adapted_values <= prod(fitter.spec.parts[0].shape) * fitter.spec.channels  # no more than the samples
    assert cell.backends == (("jax",) if dataset == "celeba-hq" else ("jax", "torch"))  # faces have no classes


@pytest.mark.parametrize("profile", ["laptop", "smoke"])
@pytest.mark.parametrize(("method", "dataset"), CELLS)
def test_its_reader_reads_its_latents(method: str, dataset: str, profile: str) -> None:
    built = resolve(method, dataset, profile=profile).build()
    if dataset == "celeba-hq":
        assert built.reader is None
    else:
        assert built.reader is not None
        assert built.reader.facts().parameters > 0


# ------------------------------------------------------------------ counts by hand


def field(width: int, layers: int, channels: int, seen: int) -> int:
    """Sine layers of two coordinates, the output, and the map from ``seen`` values to the shifts of all sine layers."""
    sines = (2 + 1) * width + (layers - 1) * (width + 1) * width
    return sines + (width + 1) * channels + layers * width * (seen + 1)


@pytest.mark.parametrize(
    ("dataset", "channels", "latent"),
    [
        ("mnist", 1, 256),
        ("fashion-mnist", 1, 256),
        ("cifar10", 3, 256),
        ("imagenette", 3, 256),
        ("celeba-hq", 3, 256),
        ("digits", 1, 32),
    ],
)
def test_functas_parameters_at_the_papers_setting(dataset: str, channels: int, latent: int) -> None:
    facts = fitter_of(resolve("functa", dataset)).facts()
    assert facts.adapted_values == latent
    assert facts.parameters == field(512, 14, channels, latent) + latent


def test_functas_parameters_on_cifar10_are_these() -> None:
    assert fitter_of(resolve("functa", "cifar10")).facts().parameters == 5_260_035
    wider = resolve("functa", "cifar10", overrides=[{"inr": {"latent_dim": 1024}}])
    assert fitter_of(wider).facts().parameters == 5_260_035 + (14 * 512 + 1) * (1024 - 256)


@pytest.mark.parametrize(
    ("dataset", "channels", "layers", "cells", "latent"),
    [
        ("mnist", 1, 5, 7, 16),
        ("fashion-mnist", 1, 5, 7, 16),
        ("cifar10", 3, 5, 8, 16),
        ("celeba-hq", 3, 5, 8, 16),
        ("digits", 1, 5, 2, 8),
        ("imagenette", 3, 11, 16, 128),
        ("imagenet", 3, 11, 16, 128),
    ],
)
def test_spatial_functas_parameters_at_the_papers_setting(
    dataset: str, channels: int, layers: int, cells: int, latent: int
) -> None:
    facts = fitter_of(resolve("spatial-functa", dataset)).facts()
    assert facts.adapted_values == cells * cells * latent
    assert facts.parameters == field(256, layers, channels, latent) + cells * cells * latent


def test_spatial_functas_parameters_on_cifar10_are_these() -> None:
    assert fitter_of(resolve("spatial-functa", "cifar10")).facts().parameters == 287_491


# ------------------------------------------------------------------ whole cells


@pytest.mark.cells
@pytest.mark.parametrize("method", ["functa", "spatial-functa"])
def test_a_cell_crosses_from_jax_to_its_reader_in_pytorch(method: str, tmp_path: Path) -> None:
    environment = os.environ | {"OMP_NUM_THREADS": "1", "INRBENCH_CACHE": str(tmp_path / "cache")}
    options = (
        "--profile",
        "smoke",
        "--threads",
        "1",
        "--device",
        "cpu",
        "--records",
        str(tmp_path / "records"),
        "--json",
    )
    done = subprocess.run(
        [sys.executable, "-m", "inrbench", "run", f"{method}+digits", *options],
        capture_output=True,
        text=True,
        env=environment,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    (record,) = json.loads(done.stdout)
    assert record["status"] == "ok", record["reason"]
    assert 5.0 < record["metrics"]["psnr_db"] < 60.0
    assert 0.0 <= record["metrics"]["accuracy"] <= 1.0
    costs = record["costs"]
    assert 0.0 < costs["compile_s"] < 120.0
    assert costs["train_s"] > 0.0  # without compiling
    assert costs["train_steps"] == 20
    assert {"jax", "jaxlib", "equinox", "optax", "torch"} <= set(record["versions"])
    assert record["facts"]["initialisation"] == "meta-learned"
    assert record["facts"]["scope"] == ("global" if method == "functa" else "spatial")
    assert not record["facts"]["labels_shape_fit"]
