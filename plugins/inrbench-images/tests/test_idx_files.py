"""MNIST's format and its readers, on made-up and on real files."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest
from inrbench_images.idx import read_idx
from inrbench_images.mnist import FashionMnist, FashionMnistSettings, Mnist, MnistSettings

from inrbench.data import open_dataset
from inrbench.errors import BadData


def idx(values: np.ndarray) -> bytes:
    return bytes([0, 0, 8, values.ndim]) + struct.pack(f">{values.ndim}I", *values.shape) + values.tobytes()


def write(folder: Path, *, images: int = 4, labels: int = 4, side: int = 28, largest: int = 9) -> None:
    folder.mkdir(exist_ok=True)
    rng = np.random.default_rng(0)
    for prefix in ("train", "t10k"):
        pixels = rng.integers(0, 256, (images, side, side), dtype=np.uint8)
        (folder / f"{prefix}-images-idx3-ubyte").write_bytes(idx(pixels))
        classes = np.full(labels, largest, dtype=np.uint8)
        (folder / f"{prefix}-labels-idx1-ubyte.gz").write_bytes(gzip.compress(idx(classes)))


def test_compressed_and_plain_files_are_read_alike(tmp_path: Path) -> None:
    values = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    (tmp_path / "plain").write_bytes(idx(values))
    (tmp_path / "packed.gz").write_bytes(gzip.compress(idx(values)))
    assert np.array_equal(read_idx(tmp_path / "plain", 3), values)
    assert np.array_equal(read_idx(tmp_path / "packed.gz", 3), values)


GOOD = idx(np.zeros((2, 3, 4), dtype=np.uint8))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "no IDX file, it starts with nothing, not with 00 00"),
        (b"<html>", "no IDX file, it starts with 3c 68 74 6d"),
        (b"\0\0\x0d\x03" + GOOD[4:], "holds float32; allowed is uint8"),
        (b"\0\0\x77\x03" + GOOD[4:], "holds unknown type 0x77; allowed is uint8"),
        (idx(np.zeros(5, dtype=np.uint8)), "has 1 dimensions; expected 3"),
        (GOOD[:9], "truncated within its header"),
        (GOOD[:-1], r"23 bytes follow the header, which announces 24 for \(2, 3, 4\)"),
        (GOOD + b"x", r"more bytes follow the header, which announces 24 for \(2, 3, 4\)"),
        (b"\0\0\x08\x03" + b"\xff" * 12, r"its header announces .* bytes; at most 1,073,741,824 are read"),
    ],
)
def test_a_damaged_file_is_bad_data_that_says_what_is_wrong(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(BadData, match=f"file: {message}"):
        read_idx(tmp_path / "file", 3)


def test_a_truncated_gzip_file_is_bad_data(tmp_path: Path) -> None:
    (tmp_path / "file.gz").write_bytes(gzip.compress(GOOD)[:-12])
    with pytest.raises(BadData, match=r"file.gz: damaged gzip file"):
        read_idx(tmp_path / "file.gz", 3)


def test_images_keep_their_orientation_and_get_a_channel(tmp_path: Path) -> None:
    write(tmp_path / "mnist")
    pixels = np.zeros((4, 28, 28), dtype=np.uint8)
    pixels[1, 2, 3] = 7
    (tmp_path / "mnist" / "t10k-images-idx3-ubyte").write_bytes(idx(pixels))
    test = Mnist(MnistSettings()).load(tmp_path / "mnist")["test"]
    assert test.observed(1)[0].values[2, 3, 0] == 7
    assert test.observed(1)[0].values.shape == (28, 28, 1)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"labels": 3}, "4 images and .* 3 labels"),
        ({"images": 0, "labels": 0}, "0 images and .* 0 labels"),
        ({"side": 27}, "images of 27 x 27; expected 28 x 28"),
        ({"largest": 10}, "label 10; allowed are 0 to 9"),
    ],
)
def test_files_that_do_not_belong_together_are_bad_data(tmp_path: Path, wrong: dict[str, int], message: str) -> None:
    write(tmp_path / "mnist", **wrong)
    with pytest.raises(BadData, match=message):
        Mnist(MnistSettings()).load(tmp_path / "mnist")


def test_made_up_files_are_not_official_fashion_mnist(tmp_path: Path) -> None:
    write(tmp_path / "fashion-mnist")
    dataset = FashionMnist(FashionMnistSettings())
    with pytest.raises(BadData, match="no checksum of this form is published"):
        open_dataset("fashion-mnist", dataset, tmp_path, unofficial=False)
    assert open_dataset("fashion-mnist", dataset, tmp_path, unofficial=True).name.startswith("fashion-mnist~")


def test_recompressed_mnist_is_official_mnist(real_data_root: Path) -> None:
    dataset = Mnist(MnistSettings())
    found = open_dataset("mnist", dataset, real_data_root, unofficial=False, download=False)
    assert (found.name, found.official) == ("mnist", True)
    assert {name: len(signals) for name, signals in found.splits.items()} == dataset.spec().sizes
    labels = found.splits["test"].labels
    assert labels is not None
    assert labels[:5].tolist() == [7, 2, 1, 0, 4]
    assert np.bincount(labels).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
