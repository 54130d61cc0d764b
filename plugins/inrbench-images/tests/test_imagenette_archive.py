"""Imagenette's layout, on generated archives."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import numpy as np
import pytest
from inrbench_images.imagenette import CLASSES, Imagenette, ImagenetteSettings
from PIL import Image

from inrbench.data import open_dataset
from inrbench.data.unpack import unpack
from inrbench.errors import BadData

WNIDS = list(CLASSES)


def jpeg(width: int, height: int, colour: tuple[int, int, int]) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (width, height), colour).save(stream, format="JPEG", quality=95)
    return stream.getvalue()


PHOTOGRAPHS = {
    f"imagenette2-320/train/{WNIDS[1]}/b.JPEG": jpeg(40, 20, (200, 0, 0)),
    f"imagenette2-320/train/{WNIDS[0]}/a.JPEG": jpeg(20, 40, (0, 200, 0)),
    f"imagenette2-320/val/{WNIDS[9]}/c.JPEG": jpeg(20, 20, (0, 0, 200)),
    "imagenette2-320/noisy_imagenette.csv": b"path,label",
}


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("INRBENCH_CACHE", str(folder))
    return folder


def archive(root: Path, entries: dict[str, bytes]) -> Path:
    path = root / "imagenette" / "imagenette2-320.tgz"
    path.parent.mkdir()
    with tarfile.open(path, "w:gz") as tar:
        for name, content in entries.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return path


def dataset(**settings: object) -> Imagenette:
    return Imagenette(ImagenetteSettings(**{"size": 10, **settings}))  # type: ignore[arg-type]


def test_photographs_are_sorted_resized_and_labelled(tmp_path: Path) -> None:
    splits = dataset().load(archive(tmp_path, PHOTOGRAPHS).parent)
    train, test = splits["train"], splits["test"]
    assert train.labels is not None
    assert test.labels is not None
    assert (train.labels.tolist(), test.labels.tolist()) == ([0, 1], [9])
    greens = train.observed(0)[0].values
    assert greens.shape == (10, 10, 3)
    assert np.all(np.abs(greens.astype(int) - [0, 200, 0]) < 8)


def test_decoded_photographs_are_mapped_from_the_cache_and_decoded_once(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = archive(tmp_path, PHOTOGRAPHS).parent
    first = dataset().load(folder)["train"].stacked()
    monkeypatch.setattr("inrbench_images.imagenette.decode", None)  # a second decoding would fail
    second = dataset().load(folder)["train"].stacked()
    assert first is not None
    assert second is not None
    assert isinstance(second[1], np.memmap)
    assert np.array_equal(first[1], second[1])
    assert [path.name for path in (cache / "images").iterdir() if path.name.startswith(".")] == []


def test_damaged_arrays_in_the_cache_are_decoded_again(tmp_path: Path, cache: Path) -> None:
    folder = archive(tmp_path, PHOTOGRAPHS).parent
    expected = np.array(dataset().load(folder)["train"].observed(1)[0].values)
    (place,) = (cache / "images").iterdir()
    (place / "train.npy").write_bytes((place / "train.npy").read_bytes()[:-100])
    assert np.array_equal(dataset().load(folder)["train"].observed(1)[0].values, expected)
    assert [path.name for path in (cache / "images").iterdir()] == [place.name]
    assert sorted(path.name for path in place.iterdir()) == [
        "test-labels.npy",
        "test.npy",
        "train-labels.npy",
        "train.npy",
    ]


def test_cropping_and_distorting_differ(tmp_path: Path) -> None:
    halves = Image.new("RGB", (40, 20))
    halves.paste((255, 255, 255), (20, 0, 40, 20))
    stream = io.BytesIO()
    halves.save(stream, format="JPEG", quality=95)
    folder = archive(tmp_path, PHOTOGRAPHS | {f"imagenette2-320/val/{WNIDS[9]}/c.JPEG": stream.getvalue()}).parent
    crop = dataset(resize="crop").load(folder)["test"].observed(0)[0].values
    distorted = dataset(resize="distort").load(folder)["test"].observed(0)[0].values
    assert crop.shape == distorted.shape
    assert not np.array_equal(crop, distorted)
    assert abs(int(crop.mean()) - 127) < 12


def test_another_archive_is_unofficial_and_an_unpacked_folder_is_read_too(tmp_path: Path) -> None:
    path = archive(tmp_path, PHOTOGRAPHS)
    with pytest.raises(BadData, match="md5 published 3df6f0d01a2c9592104656642f5e78a3, found"):
        open_dataset("imagenette", dataset(), tmp_path, unofficial=False, download=False)
    with tarfile.open(path) as tar:
        names = tar.getnames()
    unpack(path, path.parent, names)
    packed = open_dataset("imagenette", dataset(), tmp_path, unofficial=True, download=False)
    path.unlink()
    unpacked = open_dataset("imagenette", dataset(), tmp_path, unofficial=True, download=False)
    assert not unpacked.official
    assert np.array_equal(packed.splits["train"].observed(1)[0].values, unpacked.splits["train"].observed(1)[0].values)


def test_a_photograph_that_cannot_be_decoded_is_named_and_leaves_no_cache(tmp_path: Path, cache: Path) -> None:
    name = f"imagenette2-320/val/{WNIDS[9]}/c.JPEG"
    folder = archive(tmp_path, PHOTOGRAPHS | {name: PHOTOGRAPHS[name][:200]}).parent
    with pytest.raises(BadData, match=rf"val/{WNIDS[9]}/c.JPEG: not a readable image"):
        dataset().load(folder)
    assert list((cache / "images").iterdir()) == []


def test_a_truncated_archive_is_bad_data(tmp_path: Path) -> None:
    path = archive(tmp_path, PHOTOGRAPHS)
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(BadData, match=r"imagenette2-320.tgz: damaged archive"):
        dataset().load(path.parent)


def test_an_archive_without_a_split_is_bad_data(tmp_path: Path) -> None:
    only = {name: content for name, content in PHOTOGRAPHS.items() if "/train/" in name}
    with pytest.raises(BadData, match="holds no photographs of the split 'test'"):
        dataset().load(archive(tmp_path, only).parent)


def test_a_cache_that_cannot_be_written_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("INRBENCH_CACHE", str(tmp_path / "file" / "below"))
    with pytest.raises(BadData, match=r"cannot write the cache .*INRBENCH_CACHE"):
        dataset().load(archive(tmp_path, PHOTOGRAPHS).parent)
