"""Windows of photographs in their original size: where they are cut out, and that training sees them."""

from __future__ import annotations

import io
import tarfile
import time
from pathlib import Path

import numpy as np
import pytest
from inrbench_images.imagenette import CLASSES, Imagenette, ImagenetteSettings
from inrbench_images.originals import Originals, WindowedPhotographs
from PIL import Image

from inrbench import draws
from inrbench.backends.torch.joint import _observer
from inrbench.cell_run import CellRun
from inrbench.errors import Refused
from inrbench.settings import Augmentation
from inrbench.signals import GridSignals, WindowedSignals

WNIDS = list(CLASSES)


def ramp(width: int, height: int) -> bytes:
    """A photograph whose red tells the column and whose green tells the row."""
    pixels = np.zeros((height, width, 3), dtype=np.uint8)
    pixels[..., 0] = 4 * np.arange(width)
    pixels[..., 1] = 4 * np.arange(height)[:, None]
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, format="PNG")  # exact, whatever it is called
    return stream.getvalue()


#: In the archive in another order than by name; the sizes tell them apart.
SIZES = {"train/1/b": (40, 20), "train/0/a": (20, 50), "train/2/c": (6, 8), "val/0/d": (20, 20)}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("INRBENCH_CACHE", str(tmp_path / "cache"))
    place = tmp_path / "imagenette"
    place.mkdir()
    with tarfile.open(place / "imagenette2-320.tgz", "w:gz") as archive:
        for name, (width, height) in SIZES.items():
            split, number, stem = name.split("/")
            content = ramp(width, height)
            entry = tarfile.TarInfo(f"imagenette2-320/{split}/{WNIDS[int(number)]}/{stem}.JPEG")
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return place


def loaded(folder: Path) -> WindowedPhotographs:
    train = Imagenette(ImagenetteSettings(size=10, resize="crop")).load(folder)["train"]
    assert isinstance(train, WindowedPhotographs)
    return train


def places(windows: np.ndarray) -> list[tuple[int, int]]:
    """(first row, first column) of each window."""
    return [(int(window[0, 0, 1]) // 4, int(window[0, 0, 0]) // 4) for window in windows]


def test_a_window_is_cut_out_of_the_original_anywhere(folder: Path) -> None:
    train = loaded(folder)
    assert isinstance(train, WindowedSignals)
    found = set()
    for step in range(60):
        windows = train.windows(np.array([0, 1]), lambda one, step=step: draws.generator(0, "window", step, one))
        assert (windows.shape, windows.dtype) == ((2, 10, 10, 3), np.uint8)
        for window, (row, column) in zip(windows, places(windows), strict=True):
            assert np.array_equal(window[..., 0], np.tile(4 * np.arange(column, column + 10), (10, 1)))
            assert np.array_equal(window[..., 1], np.tile(4 * np.arange(row, row + 10)[:, None], (1, 10)))
        found.add(tuple(places(windows)))
    first, second = zip(*found, strict=True)
    assert {column for _, column in first} == set(range(11))  # 20 wide
    assert {row for row, _ in second} == set(range(11))  # 20 high
    assert max(row for row, _ in first) > 30  # 50 high
    assert max(column for _, column in second) > 20  # 40 wide


def test_windows_go_by_the_signals_id_whatever_is_taken(folder: Path) -> None:
    train = loaded(folder)

    def rngs(one: int) -> np.random.Generator:
        return draws.generator(0, "window", one)

    whole = train.windows(np.arange(2), rngs)
    taken = train.take(np.array([2, 1])).unlabelled()
    assert isinstance(taken, WindowedPhotographs)
    assert np.array_equal(taken.windows(np.array([1]), rngs)[0], whole[1])


def test_a_photograph_that_is_too_small_is_enlarged(folder: Path) -> None:
    (window,) = loaded(folder).windows(np.array([2]), lambda one: draws.generator(0, "window", one))
    assert window.shape == (10, 10, 3)
    assert np.all(np.diff(window[5, :, 0].astype(int)) >= 0)


def test_originals_are_kept_once(folder: Path, tmp_path: Path) -> None:
    train = loaded(folder)
    train.windows(np.array([0]), lambda one: draws.generator(0, one))
    (kept,) = (tmp_path / "cache" / "images").glob("imagenette-originals-*")
    changed = (kept / "ends.npy").stat().st_mtime_ns
    loaded(folder).windows(np.array([1]), lambda one: draws.generator(0, one))
    assert (kept / "ends.npy").stat().st_mtime_ns == changed
    (kept / "contents.npy").write_bytes(b"damaged")
    assert loaded(folder).windows(np.array([1]), lambda one: draws.generator(0, one)).shape == (1, 10, 10, 3)


def test_threads_that_ask_at_once_write_originals_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written, write = [], Originals._write

    def slowly(originals: Originals) -> None:
        written.append(originals.place)
        time.sleep(0.1)
        write(originals)

    monkeypatch.setattr(Originals, "_write", slowly)
    train = loaded(folder)
    found = train.windows(np.zeros(16, dtype=np.int64), lambda one: draws.generator(0, one))
    assert (found == found[0]).all()
    assert len(written) == 1


def test_training_sees_windows_that_change_with_the_step(folder: Path) -> None:
    observe = _observer(loaded(folder).unlabelled(), Augmentation(window=True), CellRun(0))
    one, other, again = (observe(step, np.array([0, 1])).whole()[1] for step in (0, 1, 0))
    assert one.shape == (2, 100, 3)
    assert (one == again).all()
    assert not (one == other).all()
    expected = loaded(folder).windows(np.array([1]), lambda name: CellRun(0).rng("window", 0, name))
    assert np.allclose(one[1].reshape(10, 10, 3), expected[0] / 255.0)


def test_a_data_set_without_originals_has_no_windows() -> None:
    signals = GridSignals(np.zeros((2, 4, 4, 3), dtype=np.uint8))
    with pytest.raises(Refused, match=r"augmentation\.window=true: this data set has no larger originals"):
        _observer(signals, Augmentation(window=True), CellRun(0))
