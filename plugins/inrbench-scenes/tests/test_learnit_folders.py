"""The layout of Learned Init's renders, on generated folders."""

from __future__ import annotations

import json
import logging
import math
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from inrbench_scenes.learnit import Cars, Chairs, LearnitSettings
from PIL import Image

from inrbench.data import check_dataset, open_dataset
from inrbench.domains import Rays
from inrbench.errors import BadData, BadSetting
from inrbench.signals import EpisodicSignals, PosedViews

TRAIN, VAL, TEST = ("a1", "b2", "c3"), ("d4",), ("e5", "f6")
ANGLE = 0.8


def pose(view: int) -> list[list[float]]:
    return [[1.0, 0.0, 0.0, float(view)], [0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 4.0], [0.0, 0.0, 0.0, 1.0]]


def render(folder: Path, views: int = 5, shade: int = 100, size: int = 8) -> None:
    """Views of one shade, darker from view to view, of which the upper half is transparent."""
    folder.mkdir(parents=True)
    for view in range(views):
        pixels = np.full((size, size, 4), shade - view, dtype=np.uint8)
        pixels[..., 3] = 255
        pixels[: size // 2, :, 3] = 0
        Image.fromarray(pixels).save(folder / f"r_{view:03d}.png")
    frames = [{"file_path": f"./somewhere/r_{view:03d}", "transform_matrix": pose(view)} for view in range(views)]
    (folder / "transforms.json").write_text(json.dumps({"camera_angle_x": ANGLE, "frames": frames}))


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data root with chairs as they are published: three to train on, one of val, two to test."""
    monkeypatch.setenv("INRBENCH_CACHE", str(tmp_path / "cache"))
    place = tmp_path / "root" / "learnit-chairs"
    for number, name in enumerate((*TRAIN, *VAL, *TEST)):
        render(place / "chairs" / "03001627" / name, shade=100 + 20 * number)
    (place / "chair_splits.json").write_text(json.dumps({"train": TRAIN, "val": VAL, "test": TEST}))
    return tmp_path / "root"


def load(root: Path, **settings: Any) -> Any:
    return Chairs(LearnitSettings(**{"size": 8, "views": 3, **settings})).load(root / "learnit-chairs")


def test_the_splits_are_those_of_the_list(root: Path) -> None:
    splits = load(root)
    assert set(splits) == {"train", "test"}
    assert (splits["train"].ids.tolist(), splits["test"].ids.tolist()) == ([0, 1, 2], [4, 5])
    assert splits["train"].labels is None
    assert isinstance(splits["train"], PosedViews)
    assert isinstance(splits["train"], EpisodicSignals)
    lowest = [int(splits["train"].observed(i)[0].values[0, 7, 0, 0]) for i in range(3)]
    assert lowest == [100, 120, 140]


def test_training_uses_the_first_views_and_tests_draw_from_all(root: Path) -> None:
    splits = load(root, episodes=40)
    assert splits["train"].observed(1)[0].values.shape == (3, 8, 8, 3)
    assert load(root, views=None)["train"].num_views(0) == 5
    drawn = {int(splits["test"].scored(i)[0].domain.origins[0, 0, 0, 0]) for i in range(40)}
    assert drawn == set(range(5))
    assert splits["test"].ids.tolist() == [4] * 40 + [5] * 40


def test_what_is_transparent_is_white(root: Path) -> None:
    values = load(root)["train"].observed(0)[0].values
    assert values.dtype == np.uint8
    assert (values[:, :4] == 255).all()
    assert values[:, 4:, 0, 0].tolist() == [[100] * 4, [99] * 4, [98] * 4]


def test_what_is_half_transparent_is_mixed_with_white(root: Path) -> None:
    pixels = np.zeros((8, 8, 4), dtype=np.uint8)
    pixels[..., :3], pixels[..., 3] = (10, 200, 90), np.arange(0, 256, 4).reshape(8, 8)
    Image.fromarray(pixels).save(root / "learnit-chairs" / "chairs" / "03001627" / "a1" / "r_000.png")
    alpha = pixels[..., 3:].astype(np.float64) / 255
    expected = pixels[..., :3] * alpha + 255 * (1 - alpha)
    np.testing.assert_allclose(load(root)["train"].observed(0)[0].values[0], expected, atol=0.5 + 1e-9)


def test_smaller_views_are_means_and_their_rays_of_the_same_cameras(root: Path) -> None:
    file = root / "learnit-chairs" / "chairs" / "03001627" / "a1" / "r_001.png"
    noise = np.random.default_rng(0).integers(0, 256, (8, 8, 4), dtype=np.uint8)
    noise[..., 3] = 255
    Image.fromarray(noise).save(file)
    assert load(root, size=3)["train"].observed(0)[0].values.shape == (3, 3, 3, 3)
    part = load(root, size=4)["train"].observed(0)[0]
    expected = noise[..., :3].astype(np.float64).reshape(4, 2, 4, 2, 3).mean(axis=(1, 3))
    np.testing.assert_allclose(part.values[1], expected, atol=0.51)
    for size in (4, 8):
        rays: Rays = load(root, size=size)["train"].observed(0)[0].domain
        edge = math.tan(ANGLE / 2) * (1 - 1 / size)
        np.testing.assert_allclose(rays.directions[1, 0, 0], [-edge, edge, -1.0], atol=1e-6)
        np.testing.assert_array_equal(rays.origins[1, 0, 0], [1.0, 0.0, 4.0])
        assert (rays.near, rays.far, rays.background) == (2.0, 6.0, 1.0)


def test_objects_that_are_missing_are_left_out_counted_and_keep_the_others_numbers(
    root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    place = root / "learnit-chairs"
    (place / "chairs").rename(place / "cars")
    (place / "cars" / "03001627").rename(place / "cars" / "02958343")
    (place / "chair_splits.json").rename(place / "car_splits.json")
    for file in (place / "cars" / "02958343" / "b2").iterdir():
        file.unlink()
    with caplog.at_level(logging.WARNING, "inrbench"):
        splits = Cars(LearnitSettings(size=8)).load(place)
    assert (splits["train"].ids.tolist(), splits["test"].ids.tolist()) == ([0, 2], [4, 5])
    assert caplog.messages == ["learnit-cars: 1 of 5 listed objects have no transforms.json and are left out: b2"]


@pytest.mark.parametrize("place", ["chairs/03001627", "03001627", "chairs"])
def test_objects_are_found_where_an_archive_unpacks_them(root: Path, place: str) -> None:
    own = root / "learnit-chairs"
    (own / "chairs" / "03001627").rename(own / "moved")
    (own / "chairs").rmdir()
    (own / place).parent.mkdir(exist_ok=True)
    (own / "moved").rename(own / place)
    assert len(load(root)["train"]) == 3


def test_renders_never_count_as_official_and_are_marked(root: Path) -> None:
    dataset = Chairs(LearnitSettings(size=8))
    assert check_dataset("learnit-chairs", dataset, root).state == "unofficial"
    opened = open_dataset("learnit-chairs", dataset, root, unofficial=True)
    assert opened.name.startswith("learnit-chairs~")
    said = r"chair_splits.json is not the official file: .* no checksum of this form is published"
    with pytest.raises(BadData, match=said):
        open_dataset("learnit-chairs", dataset, root, unofficial=False)
    said = r"chair_splits.json, chairs/03001627 missing in .*; get what is missing at https://www.matthewtancik.com"
    with pytest.raises(BadData, match=said):
        open_dataset("learnit-chairs", dataset, root / "empty", unofficial=True)


def test_signals_go_to_another_process(root: Path) -> None:
    whole = load(root)["train"]
    whole.observed(0)
    again = pickle.loads(pickle.dumps(whole))
    np.testing.assert_array_equal(again.observed(2)[0].values, whole.observed(2)[0].values)


# ------------------------------------------------------------------ what is wrong with the files


def objects(root: Path) -> Path:
    return root / "learnit-chairs" / "chairs" / "03001627"


def test_too_few_views_and_too_large_sizes_are_said_before_work_starts(root: Path) -> None:
    with pytest.raises(BadData, match="has 5 views, and an episode needs 5 to observe and 1 to be scored on"):
        load(root, support_views=5)
    with pytest.raises(BadSetting) as caught:
        load(root, size=16)
    assert str(caught.value) == "setting data.size=16: allowed are 1 to 8, as r_000.png is 8 x 8"
    with pytest.raises(
        BadSetting, match=r"setting data.views=3: held-out training objects need 4, for data.support_views"
    ):
        load(root, validation=0.5, query_views=3)


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({"train": ["a1"]}, "lists no objects of the split 'test'"),
        ({"train": ["../a1"], "test": ["e5"]}, "lists no objects of the split 'train'"),
        ({"train": ["a1"], "test": [5]}, "lists no objects of the split 'test'"),
        ({"train": ["zz"], "test": ["e5"]}, "holds none of the 1 objects of the split 'train'"),
        (["a1"], "holds no object"),
    ],
)
def test_a_list_of_splits_that_is_none_is_refused(root: Path, document: Any, message: str) -> None:
    (root / "learnit-chairs" / "chair_splits.json").write_text(json.dumps(document))
    with pytest.raises(BadData, match=message):
        load(root)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"camera_angle_x": 4.0}, "camera_angle_x is 4.0; allowed are radians between 0 and pi"),
        ({"camera_angle_x": "wide"}, "camera_angle_x is 'wide'"),
        ({"frames": []}, "holds no frames"),
        ({"frames": [{"transform_matrix": pose(0)}]}, "frame 0 names no file_path"),
        ({"frames": [{"file_path": "r_000", "transform_matrix": [[1.0, 2.0]]}]}, "of frame 0 is no 4 x 4 matrix"),
        ({"frames": [{"file_path": "r_000"}]}, "of frame 0 is no 4 x 4 matrix"),
    ],
)
def test_damaged_cameras_are_named(root: Path, change: dict[str, Any], message: str) -> None:
    file = objects(root) / "a1" / "transforms.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **change}))
    with pytest.raises(BadData, match=rf"a1.transforms.json: .*{message}"):
        load(root)["train"].observed(0)


def test_cameras_that_are_no_json_are_named(root: Path) -> None:
    (objects(root) / "b2" / "transforms.json").write_bytes(b"\xff{")
    with pytest.raises(BadData, match=r"b2.transforms.json: is no JSON"):
        load(root)["train"].observed(1)


def test_damaged_pictures_are_named(root: Path) -> None:
    (objects(root) / "b2" / "r_001.png").write_bytes(b"no picture")
    with pytest.raises(BadData, match=r"b2.r_001.png: not a readable image"):
        load(root)["train"].observed(1)
    (objects(root) / "b2" / "r_001.png").unlink()
    with pytest.raises(BadData, match=r"b2.r_001.png: not a readable image"):
        load(root)["train"].observed(1)
    Image.new("RGB", (8, 6)).save(objects(root) / "b2" / "r_001.png")
    with pytest.raises(BadData, match=r"b2.r_001.png: 6 x 8 pixels; allowed are squares"):
        load(root)["train"].observed(1)
