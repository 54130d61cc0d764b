"""MWT on distance functions: whole cells on generated meshes in ModelNet40's layout (figure 3 of arXiv 2503.18123)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import inrbench
from inrbench.cells import resolve

trimesh = pytest.importorskip("trimesh", reason="needs the packages of inrbench-shapes")

SHAPES = {
    "bottle": lambda size: trimesh.creation.cylinder(radius=0.2 * size[0], height=2.0 * size[1], sections=12),
    "sofa": lambda size: trimesh.creation.box(extents=(2.0 * size[0], size[1], size[2])),
}


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data root with twelve slender cylinders and twelve boxes to train on, and four of each to test."""
    monkeypatch.setenv("INRBENCH_CACHE", str(tmp_path / "cache"))
    rng = np.random.default_rng(0)
    for split, count in (("train", 12), ("test", 4)):
        for label, shape in SHAPES.items():
            folder = tmp_path / "root" / "modelnet40" / "ModelNet40" / label / split
            folder.mkdir(parents=True)
            for i in range(count):
                shape(rng.uniform(0.8, 1.2, 3)).export(folder / f"{label}_{i:04d}.off")
    return tmp_path / "root"


def test_the_paper_profile_fits_distances_in_their_own_unit_with_fresh_points() -> None:
    cell = resolve("mwt-l", "modelnet40")
    built = cell.build()
    assert built.fitter.field.to_unit == (pytest.approx(1.0 / (2.0 * np.sqrt(3.0))), 0.0)  # type: ignore[attr-defined]
    tree = cell.tree()
    assert (tree["fitter"]["steps"], tree["fitter"]["train"]["epochs"], tree["inr"]["width"]) == (4, 150.0, 256)
    assert tree["fitter"]["train"]["augmentation"]["scale"] == 0.1
    assert tree["fitter"]["train"]["augmentation"]["jitter"] == 0.01


@pytest.mark.cells
def test_a_cell_on_meshes_learns_their_distances_and_their_classes(root: Path, tmp_path: Path) -> None:
    settings = {
        "inr": {"width": 32, "depth": 2},
        "fitter": {"steps": 3, "lr": 3e-3, "lr_rates": 3e-2, "subsample": 0.005, "train": {"steps": 120}},
        "reader": {"blocks": 1, "lr": 3e-3, "train": {"steps": 120}},
        "data": {"train_size": None, "test_size": None, "surface_points": 2048, "scored_points": 512},
    }
    untrained = {**settings, "fitter": {**settings["fitter"], "train": {"steps": 0}}}
    rows = [
        inrbench.run(
            "mwt+modelnet40",
            profile="smoke",
            settings=over,
            records=tmp_path / "records",
            data_root=root,
            unofficial_data=True,
            threads=1,
        )
        for over in (settings, untrained)
    ]
    trained, start = (row.iloc[0] for row in rows)
    assert trained["status"] == start["status"] == "ok"
    assert trained["dataset"].startswith("modelnet40~")
    assert trained["metrics.psnr_db"] > 30.0
    assert trained["metrics.psnr_db"] > start["metrics.psnr_db"] + 5.0
    assert trained["metrics.accuracy"] >= 0.75  # of eight shapes in two classes
    assert "metrics.psnr_estimate_db" not in trained or np.isnan(trained["metrics.psnr_estimate_db"])
