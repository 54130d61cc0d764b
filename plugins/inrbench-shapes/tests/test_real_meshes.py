"""Five real meshes in the official layout, where they are to be had."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import trimesh
from inrbench_shapes.distances import SPAN, DistanceSignals
from inrbench_shapes.modelnet import ModelNet40, ModelNet40Settings

from inrbench.data import open_dataset
from inrbench.settings import Augmentation

ROOT = Path(__file__).resolve().parents[3]
MESHES = Path(os.environ.get("INRBENCH_TEST_MESHES", ROOT.parent / "shared" / "data" / "meshes"))
CLASSES = {"beetle": "car", "cow": "plant", "suzanne": "person", "teapot": "vase", "woody": "person"}


@pytest.fixture(scope="module")
def splits(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, DistanceSignals]]:
    """Three meshes to train on and two to test, opened as a cell opens them."""
    if not all((MESHES / f"{name}.obj").is_file() for name in CLASSES):
        pytest.skip("needs five .obj files (beetle, cow, suzanne, teapot, woody) in the folder INRBENCH_TEST_MESHES")
    root = tmp_path_factory.mktemp("root")
    for i, (name, label) in enumerate(CLASSES.items()):
        folder = root / "modelnet40" / "ModelNet40" / label / ("train" if i < 3 else "test")
        folder.mkdir(parents=True)
        trimesh.load_mesh(MESHES / f"{name}.obj").export(folder / f"{label}_{name}.off")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("INRBENCH_CACHE", str(tmp_path_factory.mktemp("cache")))
        dataset = ModelNet40(ModelNet40Settings(scored_points=512))
        opened = open_dataset("modelnet40", dataset, root, unofficial=True, download=False)
        yield dict(opened.splits)  # type: ignore[arg-type]


def test_real_meshes_fill_the_cube_and_are_centred(splits: dict[str, DistanceSignals]) -> None:
    assert (len(splits["train"]), len(splits["test"])) == (3, 2)
    for signals in splits.values():
        clouds = signals.surfaces.clouds
        assert clouds.shape[1:] == (32_768, 3)
        np.testing.assert_array_equal(np.abs(clouds).max(axis=(1, 2)), 1.0)
        np.testing.assert_allclose(clouds.mean(axis=1, dtype=np.float64), 0.0, atol=1e-6)


def test_what_is_drawn_and_scored_of_real_meshes_lies_in_the_unit_interval(splits: dict[str, DistanceSignals]) -> None:
    for signals in splits.values():
        for i in range(len(signals)):
            _, plain = signals.draw(i, 2, 300, np.random.default_rng(i))
            _, copy = signals.draw(i, 2, 300, np.random.default_rng(i), Augmentation(scale=0.1, jitter=0.01))
            (scored,) = signals.scored(i)
            for values in (plain, copy, scored.unit_values()):
                assert np.all((values >= 0.0) & (values <= 1.0))
            assert 0.01 < plain.mean() < 0.5
            # |d(x, S) - d(x, copy of S)| is at most how far the copy's points moved
            assert np.abs(SPAN * (plain - copy)).max() < 0.1 * np.sqrt(3.0) + 6 * 0.01


def test_distances_to_real_meshes_change_as_fast_as_one_moves(splits: dict[str, DistanceSignals]) -> None:
    step = 1e-4
    for signals in splits.values():
        for row in range(len(signals)):
            coords = np.random.default_rng(row).uniform(-1.0, 1.0, (400, 3))
            coords = coords[signals.surfaces.distances(row, coords) > 0.05]
            moves = step * np.concatenate([np.eye(3), -np.eye(3)])
            around = signals.surfaces.distances(row, (coords[:, None] + moves).reshape(-1, 3)).reshape(-1, 2, 3)
            gradient = (around[:, 0] - around[:, 1]) / (2 * step)
            assert np.abs(gradient).max() < 1.0 + 1e-6  # 1-Lipschitz
            off = np.abs(np.linalg.norm(gradient, axis=1) - 1.0) > 1e-3  # where two points are equally near
            assert off.mean() < 0.03
