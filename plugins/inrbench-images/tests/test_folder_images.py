"""folder:PATH on generated images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from inrbench_images.folder import Folder, FolderSettings
from PIL import Image

from inrbench.data import open_dataset
from inrbench.errors import BadData, BadSetting


def save(path: Path, *, size: tuple[int, int] = (6, 4), mode: str = "RGB", shade: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(shade)
    pixels = rng.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(pixels).convert(mode).save(path)


def folder(place: Path, **settings: object) -> Folder:
    return Folder(FolderSettings(**settings), str(place))  # type: ignore[arg-type]


def plain(place: Path, images: int = 10, mode: str = "RGB") -> Path:
    for name in ("cat", "dog"):
        for i in range(images):
            save(place / name / f"{i}.png", mode=mode, shade=i)
    return place


def test_class_folders_are_split_by_a_fixed_share_of_each_class(tmp_path: Path) -> None:
    dataset = folder(plain(tmp_path))
    spec = dataset.spec()
    assert (spec.class_names, spec.sizes) == (("cat", "dog"), {"train": 16, "test": 4})
    assert spec.parts[0].shape == (4, 6)
    splits = dataset.load(None)
    assert splits["test"].labels is not None
    assert splits["test"].labels.tolist() == [0, 0, 1, 1]
    again = folder(tmp_path).load(None)
    assert np.array_equal(splits["train"].observed(3)[0].values, again["train"].observed(3)[0].values)
    assert not set(splits["train"].ids) & set(splits["test"].ids)


def test_folders_train_and_test_are_the_splits(tmp_path: Path) -> None:
    save(tmp_path / "train" / "cat" / "a.png")
    save(tmp_path / "train" / "dog" / "deep" / "b.JPG")
    save(tmp_path / "test" / "dog" / "c.png")
    dataset = folder(tmp_path)
    splits = dataset.load(None)
    assert dataset.spec().sizes == {"train": 2, "test": 1}
    assert splits["test"].labels is not None
    assert splits["test"].labels.tolist() == [1]


@pytest.mark.parametrize(("mode", "channels"), [("L", 1), ("RGB", 3), ("1", 1), ("P", 3), ("RGBA", 3), ("LA", 1)])
def test_the_first_image_decides_on_colours(tmp_path: Path, mode: str, channels: int) -> None:
    dataset = folder(plain(tmp_path, mode=mode))
    assert dataset.spec().channels == channels
    assert dataset.load(None)["train"].observed(0)[0].values.shape == (4, 6, channels)


def test_colours_can_be_asked_for(tmp_path: Path) -> None:
    plain(tmp_path)
    assert folder(tmp_path, channels="grey").load(None)["test"].observed(0)[0].values.shape == (4, 6, 1)


def test_sixteen_bit_images_are_scaled_and_not_clipped(tmp_path: Path) -> None:
    for name in ("a", "b"):
        for i in range(5):
            (tmp_path / name).mkdir(exist_ok=True)
            deep = np.array([[0, 257], [257 * 128, 65535]], dtype=np.uint16)
            Image.fromarray(deep).save(tmp_path / name / f"{i}.png")
    values = folder(tmp_path).load(None)["train"].observed(0)[0].values
    assert values[..., 0].tolist() == [[0, 1], [128, 255]]


def test_an_image_of_another_size_is_named_and_resized_where_asked(tmp_path: Path) -> None:
    plain(tmp_path)
    save(tmp_path / "dog" / "odd.png", size=(9, 9))
    with pytest.raises(BadData, match=r"odd.png: 9 x 9 pixels, but the first image has 4 x 6; .*--set data.size=N"):
        folder(tmp_path).load(None)
    assert folder(tmp_path, size=5).load(None)["train"].observed(0)[0].values.shape == (5, 5, 3)


@pytest.mark.parametrize("content", [b"", b"not an image"])
def test_an_unreadable_image_is_named(tmp_path: Path, content: bytes) -> None:
    plain(tmp_path)
    (tmp_path / "dog" / "broken.png").write_bytes(content)
    with pytest.raises(BadData, match=r"dog/broken.png: not a readable image"):
        folder(tmp_path).load(None)


def test_a_truncated_image_is_named(tmp_path: Path) -> None:
    plain(tmp_path)
    path = tmp_path / "dog" / "3.png"
    path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(BadData, match=r"dog/3.png: not a readable image"):
        folder(tmp_path).load(None)


def test_places_without_images_have_clear_errors(tmp_path: Path) -> None:
    with pytest.raises(BadData, match=r"folder:.*nowhere: does not exist; expected PATH/<class>/\*.png"):
        folder(tmp_path / "nowhere").spec()
    with pytest.raises(BadData, match="holds no class folders"):
        folder(tmp_path).spec()
    (tmp_path / "cat").mkdir()
    (tmp_path / "cat" / "notes.txt").write_text("no image")
    with pytest.raises(BadData, match=r"no images for the split 'train'; looked for .png, .jpg"):
        folder(tmp_path).spec()
    with pytest.raises(BadData, match="is not a folder"):
        folder(tmp_path / "cat" / "notes.txt").spec()
    with pytest.raises(BadSetting, match="needs a place, as in folder:PATH"):
        Folder(FolderSettings(), "")


def test_the_users_own_images_are_never_marked_and_hashed_by_content(tmp_path: Path) -> None:
    name = f"folder:{plain(tmp_path)}"
    first = open_dataset(name, folder(tmp_path), None, unofficial=False)
    save(tmp_path / "cat" / "0.png", shade=99)
    (tmp_path / "cat" / ".DS_Store").write_text("stray")
    second = open_dataset(name, folder(tmp_path), None, unofficial=False)
    assert (first.name, first.official) == (name, True)
    assert first.checksum != second.checksum
    (tmp_path / "cat" / "other.txt").write_text("stray")
    assert open_dataset(name, folder(tmp_path), None, unofficial=False).checksum == second.checksum
