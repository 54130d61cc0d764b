"""CelebA-HQ's layout, on generated faces."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from inrbench_images import celeba_hq
from inrbench_images.celeba_hq import CelebaHq, CelebaHqSettings
from PIL import Image

from inrbench.data import check_dataset, open_dataset
from inrbench.errors import BadData

SHADES = (10, 60, 110, 160, 210, 250, 30, 90, 140, 190, 230, 50)


class Few(CelebaHq):
    """The data set with 9 training and 3 test faces."""

    sizes = (9, 3)


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("INRBENCH_CACHE", str(folder))
    return folder


def few(size: int = 4) -> Few:
    return Few(CelebaHqSettings(size=size))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A data root with 12 faces of 16 x 16, each of one shade: so 10.jpg comes behind 9.jpg, not behind 1.jpg."""
    place = tmp_path / "celeba-hq" / "CelebA-HQ-img"
    place.mkdir(parents=True)
    for number, shade in enumerate(SHADES):
        Image.new("RGB", (16, 16), (shade, shade, shade)).save(place / f"{number}.jpg", quality=95)
    return tmp_path


def shades(signals: object) -> list[int]:
    values = signals.stacked()[1]  # type: ignore[attr-defined]
    return [round(float(image.mean())) for image in values]


def test_the_first_numbers_train_and_the_last_test(root: Path) -> None:
    splits = few().load(root / "celeba-hq")
    assert shades(splits["train"]) == pytest.approx(SHADES[:9], abs=1)
    assert shades(splits["test"]) == pytest.approx(SHADES[9:], abs=1)
    assert splits["train"].ids.tolist() + splits["test"].ids.tolist() == list(range(12))
    assert splits["train"].labels is None
    assert splits["test"].labels is None


def test_the_published_sizes_are_functas() -> None:
    dataset = CelebaHq(CelebaHqSettings())
    spec = dataset.spec()
    assert (spec.sizes, spec.num_classes) == ({"train": 27_000, "test": 3_000}, None)
    assert (spec.parts[0].shape, spec.channels) == ((64, 64), 3)


def test_a_pixel_is_the_mean_of_those_it_covers(root: Path) -> None:
    path = root / "celeba-hq" / "CelebA-HQ-img" / "3.jpg"
    noise = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    Image.fromarray(noise).save(path, quality=95)
    stored = np.asarray(Image.open(path).convert("RGB")).astype(np.float64)
    expected = stored.reshape(4, 4, 4, 4, 3).mean(axis=(1, 3))
    found = few().load(root / "celeba-hq")["train"].observed(3)[0].values
    assert found.dtype == np.uint8
    np.testing.assert_allclose(found, expected, atol=0.51)


def test_faces_are_decoded_once_and_anew_when_they_change(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = root / "celeba-hq"
    few().load(folder)
    with monkeypatch.context() as patch:
        patch.setattr(celeba_hq, "open_picture", None)  # decoding would fail
        values = few().load(folder)["train"].stacked()[1]  # type: ignore[index]
        assert isinstance(values, np.memmap)
    assert few(8).load(folder)["train"].observed(0)[0].values.shape == (8, 8, 3)
    Image.new("RGB", (16, 16), (255, 255, 255)).save(folder / "CelebA-HQ-img" / "0.jpg")
    assert shades(few().load(folder)["train"])[0] == 255


def test_faces_never_count_as_official_and_are_marked(root: Path) -> None:
    assert check_dataset("celeba-hq", few(), root).state == "unofficial"
    with pytest.raises(
        BadData, match=r"CelebA-HQ-img is not the official file: .* no checksum of this form is publish"
    ):
        open_dataset("celeba-hq", few(), root, unofficial=False)
    opened = open_dataset("celeba-hq", few(), root, unofficial=True)
    assert opened.name.startswith("celeba-hq~")
    assert not opened.official


def test_missing_faces_say_where_to_get_them_and_which_are_missing(root: Path, tmp_path: Path) -> None:
    said = r"CelebA-HQ-img missing in .*; get what is missing at https://github.com/.* and put it there"
    with pytest.raises(BadData, match=said):
        open_dataset("celeba-hq", few(), tmp_path / "empty", unofficial=True)
    place = root / "celeba-hq" / "CelebA-HQ-img"
    (place / "7.jpg").unlink()
    with pytest.raises(BadData, match=r"holds no 7.jpg; it should hold 0.jpg to 11.jpg"):
        few().load(root / "celeba-hq")
    (place / "11.jpg").unlink()
    with pytest.raises(BadData, match=r"holds no 7.jpg and 1 more; it should"):
        few().load(root / "celeba-hq")


@pytest.mark.parametrize(("size", "shown"), [((16, 12), "12 x 16"), ((3, 3), "3 x 3"), ((18, 18), "18 x 18")])
def test_a_face_of_another_shape_is_named(root: Path, size: tuple[int, int], shown: str) -> None:
    Image.new("RGB", size).save(root / "celeba-hq" / "CelebA-HQ-img" / "5.jpg")
    with pytest.raises(BadData, match=rf"5.jpg: {shown} pixels; allowed are squares of a multiple of 4"):
        few().load(root / "celeba-hq")


def test_an_unreadable_face_is_named(root: Path) -> None:
    (root / "celeba-hq" / "CelebA-HQ-img" / "5.jpg").write_bytes(b"no image")
    with pytest.raises(BadData, match=r"5.jpg: not a readable image"):
        few().load(root / "celeba-hq")
