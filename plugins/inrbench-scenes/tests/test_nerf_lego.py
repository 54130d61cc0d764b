"""NeRF's scene lego: the official layout on generated views, and rays against the camera file of the real ones."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from inrbench_scenes.nerf_lego import NerfLego, NerfLegoSettings
from PIL import Image

from inrbench.cells import build_dataset
from inrbench.data import data_folder, open_dataset
from inrbench.errors import BadData, BadSetting
from inrbench.registry import registry

ANGLE = 0.6


class Few(NerfLego):
    """The scene with 25 training and 3 test views."""

    num_views = {"train": 25, "test": 3}  # noqa: RUF012 (as its own)


def turned(view: int) -> list[list[float]]:
    c, s = math.cos(view), math.sin(view)
    return [[c, -s, 0.0, float(view)], [s, c, 0.0, 0.0], [0.0, 0.0, 1.0, 4.0], [0.0, 0.0, 0.0, 1.0]]


def write(folder: Path, split: str, count: int, shade: int, order: list[int] | None = None) -> None:
    (folder / split).mkdir(parents=True)
    frames = []
    for view in order or range(count):
        pixels = np.full((6, 6, 4), shade + view, dtype=np.uint8)
        pixels[..., 3] = 255
        Image.fromarray(pixels).save(folder / split / f"r_{view}.png")
        frames.append({"file_path": f"./{split}/r_{view}", "rotation": 0.1, "transform_matrix": turned(view)})
    (folder / f"transforms_{split}.json").write_text(json.dumps({"camera_angle_x": ANGLE, "frames": frames}))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("INRBENCH_CACHE", str(tmp_path / "cache"))
    place = tmp_path / "root" / "nerf-lego"
    write(place, "train", 25, 50)
    write(place, "test", 3, 200)
    return place


def few(**settings: Any) -> Few:
    return Few(NerfLegoSettings(**{"size": 6, **settings}))


def shades(part: Any) -> list[int]:
    return [int(image.mean()) for image in part.values]


def test_every_tenth_view_is_scored_and_all_others_are_observed(folder: Path) -> None:
    splits = few().load(folder)
    assert set(splits) == {"test"}
    signals = splits["test"]
    assert (len(signals), signals.ids.tolist(), signals.labels) == (1, [0], None)
    assert shades(signals.scored(0)[0]) == [50, 60, 70]
    assert shades(signals.observed(0)[0]) == [50 + view for view in range(25) if view % 10]
    assert signals.num_views(0) == 22  # type: ignore[attr-defined]
    assert few().spec().parts[0].shape == (3, 6, 6)
    assert few().spec().sizes == {"test": 1}


def test_views_are_held_out_by_the_number_in_their_name(folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "shuffled"
    order = np.random.default_rng(0).permutation(25).tolist()
    write(other, "train", 25, 50, order)
    signals = few().load(other)["test"]
    assert sorted(shades(signals.scored(0)[0])) == [50, 60, 70]
    (part,) = signals.scored(0)
    np.testing.assert_allclose(part.domain.origins[:, 0, 0, 0], np.array(shades(part)) - 50)  # type: ignore[union-attr]


def test_the_official_protocol_scores_the_test_views(folder: Path) -> None:
    dataset = few(held_out="test")
    signals = dataset.load(folder)["test"]
    assert shades(signals.scored(0)[0]) == [200, 201, 202]
    assert shades(signals.observed(0)[0]) == [50 + view for view in range(25)]
    assert dataset.spec().parts[0].shape == (3, 6, 6)
    assert [file.path for file in dataset.files] == ["transforms_train.json", "train", "transforms_test.json", "test"]
    assert [file.path for file in few().files] == ["transforms_train.json", "train"]


def test_the_spec_of_the_whole_scene_is_known_without_it() -> None:
    assert NerfLego(NerfLegoSettings()).spec().parts[0].shape == (10, 128, 128)
    assert NerfLego(NerfLegoSettings(held_out="test", size=800)).spec().parts[0].shape == (200, 800, 800)


@pytest.mark.parametrize("directions", ["camera", "unit"])
def test_rays_of_a_generated_file(folder: Path, directions: Any) -> None:
    rays: Any = few(directions=directions).load(folder)["test"].scored(0)[0].domain
    edge = math.tan(ANGLE / 2) * (1 - 1 / 6)
    local = np.array([edge, -edge, -1.0])  # the last pixel: right and below
    local /= np.linalg.norm(local) if directions == "unit" else 1.0
    expected = np.array(turned(10))[:3, :3] @ local
    np.testing.assert_allclose(rays.directions[1, -1, -1], expected, atol=1e-6)
    np.testing.assert_allclose(rays.origins[1, 3, 3], [10.0, 0.0, 4.0])
    assert (rays.near, rays.far, rays.background) == (2.0, 6.0, 1.0)


def test_another_number_of_views_is_refused(folder: Path) -> None:
    with pytest.raises(BadData, match=r"transforms_train.json: lists 25 views; the scene has 100"):
        NerfLego(NerfLegoSettings(size=6)).load(folder)
    text = (folder / "transforms_train.json").read_text()
    (folder / "transforms_train.json").write_text(text.replace("r_20", "r_21"))
    with pytest.raises(BadData, match="its views are not numbered from r_0 on, each once"):
        few().load(folder)
    (folder / "transforms_train.json").write_text(text.replace("r_20", "front"))
    with pytest.raises(BadData, match=r"front.png: views are named r_0, r_1"):
        few().load(folder)


def test_a_size_beyond_the_files_is_refused(folder: Path) -> None:
    with pytest.raises(BadSetting, match=r"setting data.size=7: allowed are 1 to 6, as r_0.png is 6 x 6"):
        few(size=7).load(folder)


# ------------------------------------------------------------------ the real views


@pytest.fixture(scope="module")
def real(real_data_root: Path) -> Any:
    plugin = registry().find("dataset", "nerf-lego")
    assert data_folder("nerf-lego", real_data_root) == real_data_root / "nerf" / "lego"
    dataset = build_dataset(plugin, "nerf-lego", NerfLegoSettings())
    return open_dataset("nerf-lego", dataset, real_data_root, unofficial=True, download=False)


def test_the_real_views_are_90_and_10(real: Any) -> None:
    assert real.name.startswith("nerf-lego~")
    signals = real.splits["test"]
    assert signals.observed(0)[0].values.shape == (90, 128, 128, 3)
    assert signals.scored(0)[0].values.shape == (10, 128, 128, 3)
    assert (signals.scored(0)[0].values[:, 0, 0] == 255).all()  # white in front of nothing


def test_rays_against_the_real_camera_file(real: Any, real_data_root: Path) -> None:
    document = json.loads((real_data_root / "nerf" / "lego" / "transforms_train.json").read_text())
    poses = np.array([frame["transform_matrix"] for frame in document["frames"]])[::10]
    rays = real.splits["test"].scored(0)[0].domain
    middle = rays.directions[:, 63:65, 63:65].mean(axis=(1, 2))  # around the principal ray, which no pixel is on
    np.testing.assert_allclose(middle, -poses[:, :3, 2], atol=1e-6)
    np.testing.assert_allclose(rays.origins[:, 5, 9], poses[:, :3, 3], atol=1e-6)
    edge = math.tan(document["camera_angle_x"] / 2) * (1 - 1 / 128)
    corners = {(0, 0): (-edge, edge), (0, -1): (edge, edge), (-1, 0): (-edge, -edge), (-1, -1): (edge, -edge)}
    for (row, column), (x, y) in corners.items():
        expected = poses[:, :3, :3] @ np.array([x, y, -1.0])
        np.testing.assert_allclose(rays.directions[:, row, column], expected, atol=1e-6)


def test_the_real_cameras_see_the_scene_in_the_middle(real: Any) -> None:
    """All look at the origin from 4.03 away: the box [-1.3, 1.3]³ around the scene lies between near and far."""
    rays = real.splits["test"].observed(0)[0].domain
    centres = rays.origins[:, 0, 0].astype(np.float64)
    np.testing.assert_allclose(np.linalg.norm(centres, axis=1), 4.031, atol=1e-3)
    looks = rays.directions[:, 63:65, 63:65].mean(axis=(1, 2))
    np.testing.assert_allclose(centres + np.linalg.norm(centres, axis=1)[:, None] * looks, 0.0, atol=1e-3)
