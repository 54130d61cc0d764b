"""CIFAR's official layout, on made-up files and on a copy with other pixels."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import numpy as np
import pytest
from inrbench_images.cifar import Cifar10, Cifar10Settings, Cifar100, Cifar100Settings

from inrbench.data import open_dataset
from inrbench.errors import BadData


def batch(images: int = 2, *, key: bytes = b"labels", label: object = 1, columns: int = 3072) -> dict[bytes, object]:
    values = np.arange(images * columns, dtype=np.int64).astype(np.uint8).reshape(images, columns)
    return {b"data": values, key: [label] * images}


def write(root: Path) -> Path:
    folder = root / "cifar10" / "cifar-10-batches-py"
    folder.mkdir(parents=True)
    for name in [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]:
        (folder / name).write_bytes(pickle.dumps(batch(), protocol=2))
    names = {b"label_names": [name.encode() for name in Cifar10.class_names]}
    (folder / "batches.meta").write_bytes(pickle.dumps(names, protocol=2))
    return folder


def load(root: Path) -> None:
    Cifar10(Cifar10Settings()).load(root / "cifar10")


def test_planes_become_channels_and_batches_one_split(tmp_path: Path) -> None:
    write(tmp_path)
    splits = Cifar10(Cifar10Settings()).load(tmp_path / "cifar10")
    assert (len(splits["train"]), len(splits["test"])) == (10, 2)
    image = splits["test"].observed(1)[0].values
    planes = batch()[b"data"][1].reshape(3, 32, 32)  # type: ignore[index]
    assert image.shape == (32, 32, 3)
    assert np.array_equal(image[5, 7], planes[:, 5, 7])


def test_fine_labels_of_cifar100_are_read(tmp_path: Path) -> None:
    folder = tmp_path / "cifar-100-python"
    folder.mkdir()
    for name in ("train", "test"):
        content = batch(key=b"fine_labels", label=99) | {b"coarse_labels": [1, 1]}
        (folder / name).write_bytes(pickle.dumps(content, protocol=2))
    names = {b"fine_label_names": [name.encode() for name in Cifar100.class_names]}
    (folder / "meta").write_bytes(pickle.dumps(names, protocol=2))
    labels = Cifar100(Cifar100Settings()).load(tmp_path)["test"].labels
    assert labels is not None
    assert labels.tolist() == [99, 99]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([1], "holds a list, not a dict of data and labels"),
        ({}, r"'data' is NoneType; expected an array of shape \(images, 3072\)"),
        (batch(columns=3071), r"'data' is \(2, 3071\); expected"),
        (batch(key=b"coarse"), "2 images and no list of labels under 'labels'"),
        (batch() | {b"labels": [1]}, "2 images and 1 labels under 'labels'"),
        (batch(label=10), "label 10; allowed are 0 to 9"),
        (batch(label=-1), "label -1; allowed are 0 to 9"),
        (batch(label=True), "label True; allowed are 0 to 9"),
    ],
)
def test_another_layout_is_bad_data_that_names_the_file(tmp_path: Path, content: object, message: str) -> None:
    path = write(tmp_path) / "data_batch_3"
    path.write_bytes(pickle.dumps(content, protocol=2))
    with pytest.raises(BadData, match=f"data_batch_3: {message}"):
        load(tmp_path)


def test_other_class_names_are_bad_data(tmp_path: Path) -> None:
    path = write(tmp_path) / "batches.meta"
    path.write_bytes(pickle.dumps({b"label_names": [b"cat", b"dog"]}, protocol=2))
    with pytest.raises(BadData, match=r"batches.meta: other class names than the official ones: cat, dog"):
        load(tmp_path)


def test_a_truncated_batch_is_bad_data(tmp_path: Path) -> None:
    path = write(tmp_path) / "test_batch"
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(BadData, match=r"test_batch: damaged pickle \(ValueError: expected .* remain\)"):
        load(tmp_path)


def test_a_malicious_batch_runs_nothing_even_where_unofficial_data_is_accepted(tmp_path: Path) -> None:
    class Harm:
        def __reduce__(self) -> object:
            return os.system, (f"touch {tmp_path / 'harm'}",)

    path = write(tmp_path) / "data_batch_1"
    path.write_bytes(pickle.dumps({b"data": Harm()}, protocol=2))
    with pytest.raises(BadData, match=r"data_batch_1: refused, the pickle names \w+.system; allowed are"):
        open_dataset("cifar10", Cifar10(Cifar10Settings()), tmp_path, unofficial=True)
    assert not (tmp_path / "harm").exists()


def test_a_copy_with_other_pixels_is_marked_by_its_own_hash(real_data_root: Path) -> None:
    dataset = Cifar10(Cifar10Settings())
    with pytest.raises(BadData, match=r"md5 published c99cafc152244af753f735de768cd75f, found .*--unofficial-data"):
        open_dataset("cifar10", dataset, real_data_root, unofficial=False, download=False)
    found = open_dataset("cifar10", dataset, real_data_root, unofficial=True, download=False)
    assert found.name == f"cifar10~{found.checksum[:8]}"
    train = found.splits["train"]
    assert train.labels is not None
    assert set(train.labels.tolist()) == set(range(10))
    assert train.observed(0)[0].values.shape == (32, 32, 3)
    assert train.stacked()[1].dtype == np.uint8  # type: ignore[index]
