"""Photographs that are decoded when they are asked for: they behave as the array of them would."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from inrbench_images import on_demand
from inrbench_images.on_demand import PictureSignals, TarPictures
from inrbench_images.tar_index import read_index
from PIL import Image

from inrbench.data import signals_checksum
from inrbench.errors import BadData
from inrbench.selection import select
from inrbench.settings import DataSettings
from inrbench.signals import GridSignals, Signals

COUNT, SIZE = 12, 6


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INRBENCH_CACHE", str(tmp_path_factory.mktemp("cache")))


def encoded(picture: Image.Image, kind: str = "JPEG", **more: Any) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, format=kind, **more)
    return stream.getvalue()


def photograph(number: int) -> bytes:
    pixels = np.random.default_rng(number).integers(0, 256, (5 + number, 9, 3), dtype=np.uint8)
    return encoded(Image.fromarray(pixels))


def pictures(place: Path, entries: dict[str, bytes] | None = None, **settings: Any) -> TarPictures:
    path = place / "val.tar"
    if entries is None:
        entries = {f"{i:02d}.JPEG": photograph(i) for i in range(COUNT)}
    with tarfile.open(path, "w") as archive:
        for name, content in entries.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    index = read_index(path, nested=False)
    return TarPictures(path, index, np.arange(len(index)), **{"size": SIZE, "resize": "distort", **settings})


def signals(place: Path) -> PictureSignals:
    return PictureSignals(pictures(place), np.arange(COUNT) % 3, np.arange(COUNT) + 100)


def in_memory(place: Path) -> GridSignals:
    lazy = signals(place)
    return GridSignals(np.asarray(lazy.pictures), lazy.labels, lazy.ids)


@pytest.fixture
def undecoded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(on_demand, "decode", None)  # decoding would fail


# ------------------------------------------------------------------ the array


def test_it_looks_like_an_array_of_the_pictures_and_decodes_nothing(tmp_path: Path, undecoded: None) -> None:
    found = pictures(tmp_path)
    assert (found.shape, found.dtype, found.ndim) == ((COUNT, SIZE, SIZE, 3), np.uint8, 4)
    assert (len(found), found.nbytes) == (COUNT, COUNT * SIZE * SIZE * 3)
    assert len(found.take(np.array([3, 1]))) == 2


def test_each_picture_is_the_photograph_resized_by_pillow(tmp_path: Path) -> None:
    found = pictures(tmp_path)
    for i in (0, 7):
        original = Image.open(io.BytesIO(photograph(i)))
        assert np.array_equal(found[i], np.asarray(original.resize((SIZE, SIZE), Image.Resampling.BICUBIC)))
    cropped = pictures(tmp_path, resize="crop")
    assert not np.array_equal(cropped[7], found[7])


@pytest.mark.parametrize(
    "index",
    [
        0,
        -1,
        np.int64(5),
        slice(None),
        slice(3, 9, 2),
        slice(8, 100),
        slice(4, 4),
        slice(None, None, -1),
        np.array([4, 1, 1, 11]),
        np.array([-2]),
        np.zeros(0, dtype=np.int64),
        np.arange(COUNT) % 2 == 0,
        [2, 0],
        [],
    ],
    ids=repr,
)
def test_rows_are_those_of_the_array(tmp_path: Path, index: Any) -> None:
    found = pictures(tmp_path)
    whole = np.stack([found[i] for i in range(COUNT)])
    rows = found[index]
    assert type(rows) is np.ndarray
    assert rows.dtype == np.uint8
    assert np.array_equal(rows, whole[index])
    assert np.array_equal(found.take(np.arange(COUNT)[::-1])[index], whole[::-1][index])


@pytest.mark.parametrize("index", [(0, 1), (slice(None), 0), ..., None, np.array([[0]]), COUNT, np.array([COUNT])])
def test_other_indices_are_refused(tmp_path: Path, index: Any) -> None:
    with pytest.raises(IndexError):
        pictures(tmp_path)[index]


def test_it_is_converted_as_a_whole(tmp_path: Path) -> None:
    found = pictures(tmp_path).take(np.array([5, 2]))
    assert np.array_equal(np.asarray(found), found[:])
    assert np.array_equal(np.ascontiguousarray(found), found[:])
    assert np.asarray(found, dtype=np.float32).dtype == np.float32
    assert np.array_equal(found.astype(np.float64), found[:].astype(np.float64))


@pytest.mark.parametrize(
    ("mode", "kind"),
    [("L", "JPEG"), ("CMYK", "JPEG"), ("RGB", "PNG"), ("RGBA", "PNG"), ("P", "PNG"), ("1", "PNG"), ("LA", "PNG")],
)
def test_every_kind_of_photograph_becomes_rgb(tmp_path: Path, mode: str, kind: str) -> None:
    grey = Image.new("RGB", (9, 7), (90, 90, 90))
    grey = grey.quantize(2) if mode == "P" else grey.convert(mode)  # without the dots of a fixed palette
    found = pictures(tmp_path, {"a.JPEG": encoded(grey, kind)})
    assert found.shape == (1, SIZE, SIZE, 3)
    if mode != "1":
        assert np.abs(found[0].astype(int) - 90).max() <= 3


@pytest.mark.parametrize("kind", ["GIF", "BMP", "TIFF", "PPM"])
def test_other_formats_are_not_tried(tmp_path: Path, kind: str) -> None:
    found = pictures(tmp_path, {"a.JPEG": encoded(Image.new("RGB", (9, 7)), kind)})
    with pytest.raises(BadData, match=r"val.tar: a.JPEG: not a readable image"):
        found[0]


def test_the_first_damaged_photograph_is_named(tmp_path: Path) -> None:
    entries = {f"{i:02d}.JPEG": photograph(i) for i in range(COUNT)}
    for name in ("03.JPEG", "07.JPEG"):
        entries[name] = entries[name][: len(entries[name]) // 2]
    found = pictures(tmp_path, entries)
    assert found[:3].shape == (3, SIZE, SIZE, 3)
    with pytest.raises(BadData, match=r"val.tar: 03.JPEG: not a readable image"):
        found[:]
    with pytest.raises(BadData, match=r"val.tar: 07.JPEG: not a readable image"):
        found[7]


def test_an_archive_that_went_away_is_bad_data(tmp_path: Path) -> None:
    found = pictures(tmp_path)
    found.archive.unlink()
    with pytest.raises(BadData, match=r"val.tar: 04.JPEG: cannot be read \(No such file or directory\)"):
        found[4]


# ------------------------------------------------------------------ the signals


def test_signals_are_those_of_the_decoded_array(tmp_path: Path) -> None:
    lazy, whole = signals(tmp_path), in_memory(tmp_path)
    (part,), (expected,) = lazy.observed(3), whole.observed(3)
    assert np.array_equal(part.values, expected.values)
    assert (part.domain, part.to_unit) == (expected.domain, expected.to_unit)
    assert part.unit_values().max() <= 1.0
    assert np.array_equal(lazy.scored(3)[0].values, part.values)
    (domain, values, to_unit), (expected_domain, array, expected_to_unit) = lazy.stacked(), whole.stacked()
    assert (domain, to_unit) == (expected_domain, expected_to_unit)
    assert np.array_equal(values[2:5], array[2:5])


def test_taken_signals_keep_ids_and_labels_and_lose_labels_where_asked(tmp_path: Path, undecoded: None) -> None:
    taken = signals(tmp_path).take(np.array([7, 2]))
    assert taken.labels is not None
    assert (taken.ids.tolist(), taken.labels.tolist(), len(taken)) == ([107, 102], [1, 2], 2)
    unlabelled = taken.unlabelled()
    assert unlabelled.labels is None
    assert unlabelled.take(np.array([1])).labels is None
    assert unlabelled.ids.tolist() == [107, 102]


def test_selecting_decodes_nothing_and_selects_the_same(tmp_path: Path, undecoded: None) -> None:
    lazy = signals(tmp_path)
    splits: dict[str, Signals] = {"train": lazy.take(np.arange(8)), "test": lazy.take(np.arange(8, COUNT))}
    empty = np.zeros((COUNT, 1, 1, 1), dtype=np.uint8)
    plain = GridSignals(empty, lazy.labels, lazy.ids)
    others: dict[str, Signals] = {"train": plain.take(np.arange(8)), "test": plain.take(np.arange(8, COUNT))}
    settings = DataSettings(validation=0.25, train_size=4, test_size=3)
    ours, theirs = select(splits, settings, seed=0), select(others, settings, seed=0)
    for one, other in ((ours.train, theirs.train), (ours.validation, theirs.validation), (ours.scored, theirs.scored)):
        assert isinstance(one, PictureSignals)
        assert one.ids.tolist() == other.ids.tolist()


def test_the_checksum_is_that_of_the_decoded_array(tmp_path: Path) -> None:
    assert signals_checksum(signals(tmp_path)) == signals_checksum(in_memory(tmp_path))
    assert signals_checksum(signals(tmp_path).take(np.arange(3))) != signals_checksum(signals(tmp_path))


def test_a_loop_over_shards_sees_the_decoded_array(tmp_path: Path) -> None:
    _, values, _ = signals(tmp_path).stacked()
    _, expected, _ = in_memory(tmp_path).stacked()
    for first in range(0, COUNT, 5):
        assert np.array_equal(np.ascontiguousarray(values[first : first + 5]), expected[first : first + 5])
