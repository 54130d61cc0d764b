"""CelebA's layout, on generated archives."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
from inrbench_images.celeba import Celeba, CelebaSettings
from PIL import Image

from inrbench.data import check_dataset
from inrbench.errors import BadData, BadSetting
from inrbench.signals import Signals

#: The part of each face in the official list: two train, one is validation, two test.
PARTS = (0, 2, 1, 0, 2)


def face(number: int) -> np.ndarray:
    """178 x 218 pixels; the rows that are cut off at the top and at the bottom are white."""
    pixels = np.full((218, 178, 3), 255, dtype=np.uint8)
    pixels[20:198] = np.random.default_rng(number).integers(0, 200, (178, 178, 3), dtype=np.uint8)
    return pixels


def jpeg(number: int) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(face(number)).save(stream, format="JPEG", quality=100, subsampling=0)
    return stream.getvalue()


def write(folder: Path, numbers: tuple[int, ...] = (5, 3, 1, 2, 4), method: int = zipfile.ZIP_DEFLATED) -> Path:
    """The two files; faces stand in the archive in another order than in the list."""
    place = folder / "celeba"
    place.mkdir(exist_ok=True)
    with zipfile.ZipFile(place / "img_align_celeba.zip", "w", method) as archive:
        archive.writestr("img_align_celeba/", b"")
        for number in numbers:
            archive.writestr(f"img_align_celeba/{number:06d}.jpg", jpeg(number))
        archive.writestr("elsewhere/000009.jpg", jpeg(9))
    lines = [f"{i:06d}.jpg {part}\n" for i, part in enumerate(PARTS, start=1)]
    (place / "list_eval_partition.txt").write_text("".join(lines))
    return place


def load(place: Path, **settings: int) -> dict[str, Signals]:
    return dict(Celeba(CelebaSettings(**settings)).load(place))  # type: ignore[arg-type]


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_the_list_says_the_splits_and_the_middle_square_is_cut_out_exactly(tmp_path: Path, method: int) -> None:
    splits = load(write(tmp_path, method=method))
    assert {name: signals.ids.tolist() for name, signals in splits.items()} == {"train": [0, 3], "test": [1, 4]}
    for signals, numbers in ((splits["train"], (1, 4)), (splits["test"], (2, 5))):
        assert signals.labels is None
        for i, number in enumerate(numbers):
            whole = np.asarray(Image.open(io.BytesIO(jpeg(number))).convert("RGB"))
            assert np.array_equal(signals.observed(i)[0].values, whole[20:198])


def test_several_faces_are_read_at_once_and_as_a_stack(tmp_path: Path) -> None:
    train = load(write(tmp_path))["train"]
    stacked = train.stacked()
    assert stacked is not None
    domain, values, to_unit = stacked
    assert (domain.shape, values.shape, to_unit) == ((178, 178), (2, 178, 178, 3), (1 / 255, 0.0))  # type: ignore[union-attr]
    assert np.array_equal(values[np.array([1, 0])][1], train.observed(0)[0].values)
    assert np.array_equal(train.take(np.array([1])).observed(0)[0].values, values[1])


def test_other_sizes_are_resized_from_the_middle_square(tmp_path: Path) -> None:
    found = load(write(tmp_path), size=89)["test"].observed(0)[0].values
    assert found.shape == (89, 89, 3)
    assert found.mean() < 150  # nothing of the white rows
    expected = face(2)[20:198].astype(np.float64).reshape(89, 2, 89, 2, 3).mean((1, 3))
    assert np.corrcoef(found.ravel(), expected.ravel())[0, 1] > 0.9


def test_the_published_facts_are_those_of_the_official_files() -> None:
    dataset = Celeba(CelebaSettings())
    spec = dataset.spec()
    assert spec.sizes == {"train": 162_770, "test": 19_962}
    assert (spec.parts[0].shape, spec.channels, spec.num_classes) == ((178, 178), 3, None)
    assert 202_599 * len("000001.jpg 0\r\n") == dataset.partition.size_bytes
    assert sum(dataset.sizes) == 202_599 - 19_867


def test_generated_files_are_not_official(tmp_path: Path) -> None:
    write(tmp_path)
    assert check_dataset("celeba", Celeba(CelebaSettings()), tmp_path).state == "unofficial"


@pytest.mark.parametrize(
    ("line", "said"), [("000001.jpg 3", "line 2: '000001.jpg 3'; expected"), ("000001.jpg 0", "lists a face twice")]
)
def test_a_list_that_is_none_is_refused_with_its_line(tmp_path: Path, line: str, said: str) -> None:
    place = write(tmp_path)
    (place / "list_eval_partition.txt").write_text(f"000001.jpg 0\n{line}\n")
    with pytest.raises(BadData, match=said):
        load(place)


def test_a_missing_face_and_a_missing_file_are_named(tmp_path: Path) -> None:
    place = write(tmp_path, numbers=(1, 2, 3, 5))
    with pytest.raises(BadData, match=r"lacks 000004\.jpg, which list_eval_partition\.txt lists"):
        load(place)
    (place / "list_eval_partition.txt").unlink()
    with pytest.raises(BadData, match=r"list_eval_partition\.txt missing in"):
        load(place)


def test_damage_is_said_with_the_face(tmp_path: Path) -> None:
    place = write(tmp_path, method=zipfile.ZIP_STORED)
    path = place / "img_align_celeba.zip"
    content = bytearray(path.read_bytes())
    content[content.index(b"img_align_celeba/000001.jpg") + 2000] ^= 255
    path.write_bytes(bytes(content))
    with pytest.raises(BadData, match=r"000001\.jpg is damaged"):
        load(place)["train"].observed(0)
    assert load(place)["train"].observed(1)[0].values.shape == (178, 178, 3)
    path.write_bytes(bytes(content[: len(content) // 2]))
    with pytest.raises(BadData, match="damaged archive"):
        load(place)


def test_nothing_stands_behind_a_colon() -> None:
    with pytest.raises(BadSetting, match="takes nothing behind a colon; given: 'x'"):
        Celeba(CelebaSettings(), "x")
