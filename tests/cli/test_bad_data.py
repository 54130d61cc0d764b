"""Data that is missing, damaged, malicious or not official: one clear line before any work, and no traceback.

The files are made up, in the official formats: IDX for MNIST, pickles for CIFAR-10.
"""

from __future__ import annotations

import os
import pickle
import struct
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from inrbench.cli import cli


def idx(values: np.ndarray) -> bytes:
    return bytes([0, 0, 8, values.ndim]) + struct.pack(f">{values.ndim}I", *values.shape) + values.tobytes()


@pytest.fixture
def mnist(tmp_path: Path) -> Path:
    folder = tmp_path / "root" / "mnist"
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for prefix in ("train", "t10k"):
        (folder / f"{prefix}-images-idx3-ubyte").write_bytes(idx(rng.integers(0, 256, (80, 28, 28), dtype=np.uint8)))
        (folder / f"{prefix}-labels-idx1-ubyte").write_bytes(idx(np.arange(80, dtype=np.uint8) % 10))
    return folder


@pytest.fixture
def cifar(tmp_path: Path) -> Path:
    folder = tmp_path / "root" / "cifar10" / "cifar-10-batches-py"
    folder.mkdir(parents=True)
    names = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
    batch = {b"data": np.zeros((20, 3072), dtype=np.uint8), b"labels": [1] * 20}
    for name in [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]:
        (folder / name).write_bytes(pickle.dumps(batch, protocol=2))
    (folder / "batches.meta").write_bytes(pickle.dumps({b"label_names": [name.encode() for name in names]}, protocol=2))
    return folder


@pytest.fixture(autouse=True)
def _no_work(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("work was started")

    monkeypatch.setattr("inrbench.execution.supervisor.Supervisor.run", refuse)


def refused(root: Path, cell: str, *more: str, unofficial: bool = True) -> str:
    arguments = ["run", cell, "--profile", "smoke", "--data-root", str(root), "--records", str(root / "records"), *more]
    arguments += ["--unofficial-data"] if unofficial else []
    result = CliRunner().invoke(cli, arguments, catch_exceptions=False)
    assert (result.exit_code, result.stdout) == (1, ""), result.output
    last = result.stderr.splitlines()[-1]  # a download's own lines may come before it
    assert last.startswith("error: ")
    assert "Traceback" not in result.stderr
    assert not list(root.glob("records/*"))
    return last.removeprefix("error: ")


def test_data_that_is_not_official_needs_a_flag(mnist: Path) -> None:
    message = refused(mnist.parent, "pixels+mnist", unofficial=False)
    assert "is not the official file: " in message
    assert "`--unofficial-data` runs it all the same and marks it mnist~" in message


def test_truncated_data_names_the_file(mnist: Path) -> None:
    path = mnist / "train-images-idx3-ubyte"
    path.write_bytes(path.read_bytes()[:-5])
    message = refused(mnist.parent, "pixels+mnist")
    assert "train-images-idx3-ubyte: 62,715 bytes follow the header, which announces 62,720" in message


@pytest.mark.parametrize("content", [b"", b"<html>404</html>", os.urandom(4000)])
def test_corrupt_data_names_the_file(mnist: Path, content: bytes) -> None:
    (mnist / "t10k-labels-idx1-ubyte").write_bytes(content)
    assert "t10k-labels-idx1-ubyte: " in refused(mnist.parent, "pixels+mnist")


def test_a_malicious_pickle_runs_nothing(cifar: Path, tmp_path: Path) -> None:
    class Harm:
        def __reduce__(self) -> tuple[object, ...]:
            return os.system, (f"touch {tmp_path / 'harm'}",)

    (cifar / "data_batch_2").write_bytes(pickle.dumps({b"data": Harm()}, protocol=2))
    message = refused(cifar.parent.parent, "pixels+cifar10")
    assert "data_batch_2: refused, the pickle names " in message
    assert not (tmp_path / "harm").exists()


def test_a_truncated_pickle_names_the_file(cifar: Path) -> None:
    path = cifar / "test_batch"
    path.write_bytes(path.read_bytes()[:1000])
    assert "test_batch: damaged pickle" in refused(cifar.parent.parent, "pixels+cifar10")


def test_missing_data_that_no_mirror_delivers_says_what_each_mirror_did(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from inrbench.data import download

    def silent(*_: object, **__: object) -> None:
        raise download._Failed("no network here")

    monkeypatch.setattr(download, "_transfer", silent)
    message = refused(tmp_path, "pixels+mnist", unofficial=False)
    assert message.startswith("cannot download ")
    assert message.count("no network here") >= 1


def test_a_data_root_that_cannot_be_written_is_found_out_before_the_first_byte(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a download was started")

    monkeypatch.setattr("inrbench.data.opened.download_file", refuse)
    (tmp_path / "file").write_text("")
    arguments = [
        "run",
        "pixels+mnist",
        "--data-root",
        str(tmp_path / "file" / "root"),
        "--records",
        str(tmp_path / "r"),
    ]
    result = CliRunner().invoke(cli, arguments, catch_exceptions=False)
    assert result.exit_code == 1
    assert result.stderr == (
        f"error: cannot write the data folder {tmp_path}/file/root/mnist (Not a directory); "
        "name another one with --data-root DIR or the environment variable INRBENCH_DATA\n"
    )


def test_parts_are_checked_before_data_is_downloaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a download was started")

    monkeypatch.setattr("inrbench.data.opened.download_file", refuse)
    cells = ["pixels+mnist", "mwt+digits", "--set", "reader=mlp", "--device", "cuda:7777"]
    arguments = ["run", *cells, "--data-root", str(tmp_path), "--records", str(tmp_path / "r")]
    result = CliRunner().invoke(cli, arguments, catch_exceptions=False)
    assert (result.exit_code, result.stderr.startswith("error: device 'cuda:7777'")) == (2, True)


def test_a_folder_without_images_says_what_is_expected(tmp_path: Path) -> None:
    message = refused(tmp_path, f"mwt+folder:{tmp_path / 'nowhere'}")
    assert (
        message == f"folder:{tmp_path}/nowhere: does not exist; expected PATH/<class>/*.png or PATH/train/<class>/*.png"
    )


def test_a_dry_run_says_what_would_be_downloaded_and_under_which_licence(tmp_path: Path) -> None:
    arguments = ["run", "pixels+cifar10", "--dry-run", "--data-root", str(tmp_path), "--records", str(tmp_path / "r")]
    result = CliRunner().invoke(cli, arguments, catch_exceptions=False)
    assert result.exit_code == 0
    assert f"data: missing in {tmp_path}/cifar10; the run downloads 170 MB (licence: not stated" in result.stdout
    assert not (tmp_path / "r").exists()


def test_a_dry_run_says_that_data_needs_the_flag_and_what_it_will_be_called(mnist: Path) -> None:
    arguments = ["run", "pixels+mnist", "--dry-run", "--data-root", str(mnist.parent), "--profile", "smoke"]
    result = CliRunner().invoke(cli, arguments, catch_exceptions=False)
    assert result.exit_code == 0
    assert result.stdout.startswith("pixels+mnist~")
    assert f"data: unofficial, in {mnist}; the run needs --unofficial-data" in result.stdout
    assert "not as in the paper profile: data.train_size=64  data.test_size=32" in result.stdout
