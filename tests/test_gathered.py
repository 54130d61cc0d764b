"""Representations of a whole split: in memory or in files, which are equal, and which leave nothing behind."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from inrbench import draws, gathered
from inrbench.errors import InrbenchError, OutOfMemory
from inrbench.gathered import room_for
from inrbench.representations import Layout, Representations

LAYOUT = Layout("weights", {"a.weight": (3, 2), "a.bias": (3,)}, "shared")
ROW = 4 * 9  # bytes


def rows(count: int = 7) -> Representations:
    rng = draws.generator(0, "rows")
    arrays = {name: rng.standard_normal((count, *shape)).astype(np.float32) for name, shape in LAYOUT.shapes.items()}
    return Representations(LAYOUT, arrays, np.arange(count) + 100, np.arange(count) % 2)


def shards(count: int = 7, size: int = 3) -> Iterator[Representations]:
    for first in range(0, count, size):
        yield rows(count).take(slice(first, first + size))


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


@pytest.fixture
def no_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is small enough for memory."""
    monkeypatch.setattr(gathered, "IN_MEMORY_BYTES", 0)


def assert_rows_equal(one: Representations, other: Representations) -> None:
    assert one.layout == other.layout
    np.testing.assert_array_equal(one.ids, other.ids)
    np.testing.assert_array_equal(one.copies, other.copies)
    assert one.arrays.keys() == other.arrays.keys()
    for name, array in one.arrays.items():
        assert array.dtype == other.arrays[name].dtype
        np.testing.assert_array_equal(array, other.arrays[name], err_msg=name)


# ------------------------------------------------------------------ in memory and in files


@pytest.mark.parametrize("size", [1, 3, 7, 100])
def test_rows_in_files_are_those_in_memory(tmp_path: Path, size: int) -> None:
    in_memory = gathered.gathered(shards(size=size), 7, None, "train")
    in_files = gathered.gathered(shards(size=size), 7, tmp_path, "train")
    assert_rows_equal(in_memory, rows())
    assert_rows_equal(in_files, rows())
    assert all(isinstance(array, np.memmap) for array in in_files.arrays.values())
    assert not any(isinstance(array, np.memmap) for array in in_memory.arrays.values())
    assert files(tmp_path) == ["train-0.npy", "train-1.npy"]
    assert_rows_equal(in_files.take(np.array([5, 0, 5])), rows().take(np.array([5, 0, 5])))


def test_splits_of_one_folder_do_not_overwrite_each_other(tmp_path: Path) -> None:
    train = gathered.gathered(shards(), 7, tmp_path, "train")
    validation = gathered.gathered(shards(2), 2, tmp_path, "validation")
    assert_rows_equal(train, rows())
    assert_rows_equal(validation, rows(2))


@pytest.mark.parametrize("num_rows", [8, 20])
def test_fewer_rows_than_signals_are_an_error(tmp_path: Path, num_rows: int) -> None:
    with pytest.raises(InrbenchError, match=rf"^the fitter gave 7 representations for {num_rows} train signals$"):
        gathered.gathered(shards(size=1), num_rows, tmp_path, "train")


@pytest.mark.parametrize("size", [1, 2, 3, 5])
def test_a_shard_that_runs_over_is_an_error(tmp_path: Path, size: int) -> None:
    with pytest.raises(InrbenchError, match=r"^the fitter gave more than 4 representations for the train signals$"):
        gathered.gathered(shards(size=size), 4, tmp_path, "train")


def test_no_shard_at_all_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InrbenchError, match=r"^the fitter gave 0 representations for 7 train signals$"):
        gathered.gathered(iter(()), 7, tmp_path, "train")
    with pytest.raises(ValueError, match="no representations to join"):
        gathered.gathered(iter(()), 7, None, "train")


# ------------------------------------------------------------------ where there is room


def test_small_representations_stay_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with room_for(LAYOUT, 7, tmp_path / "stage") as place:
        assert place is None
    monkeypatch.setattr(gathered, "IN_MEMORY_BYTES", 7 * ROW)
    with room_for(LAYOUT, 7, tmp_path / "stage") as place:
        assert place is None
    assert files(tmp_path) == []
    with room_for(LAYOUT, 8, tmp_path / "stage") as place:
        assert place is not None


@pytest.mark.usefixtures("no_memory")
def test_without_a_folder_everything_stays_in_memory() -> None:
    with room_for(LAYOUT, 10**12, None) as place:
        assert place is None


@pytest.mark.usefixtures("no_memory")
def test_files_are_there_within_the_block_and_gone_behind_it(tmp_path: Path) -> None:
    stage = tmp_path / "stages" / "fit"
    with room_for(LAYOUT, 7, stage) as place:
        assert place is not None
        assert place.parent == stage
        assert_rows_equal(gathered.gathered(shards(), 7, place, "train"), rows())
        assert len(files(stage)) == 3  # the folder and a file for each array
    assert files(stage) == []


@pytest.mark.usefixtures("no_memory")
@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_files_are_gone_after_an_error_too(tmp_path: Path, error: type[BaseException]) -> None:
    (tmp_path / "of another").touch()

    def failing() -> None:
        with room_for(LAYOUT, 7, tmp_path) as place:
            assert place is not None
            gathered.gathered(shards(), 7, place, "train")
            assert len(files(tmp_path)) == 4
            raise error

    with pytest.raises(error):
        failing()
    assert files(tmp_path) == ["of another"]


@pytest.mark.usefixtures("no_memory")
def test_two_cells_have_folders_of_their_own(tmp_path: Path) -> None:
    with room_for(LAYOUT, 7, tmp_path) as one, room_for(LAYOUT, 7, tmp_path) as other:
        assert one != other


@pytest.mark.usefixtures("no_memory")
def test_too_little_disk_says_how_much_is_needed_and_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gathered.shutil, "disk_usage", lambda folder: SimpleNamespace(free=2_500_000_000))
    large = Layout("weights", {"a": (1000, 1000)})
    said = (
        rf"^1,000 representations need 4\.0 GB and {tmp_path} has 2\.5 GB free; name another folder with the "
        r"environment variable INRBENCH_CACHE, or use fewer signals \(data\.train_size\)$"
    )
    with pytest.raises(OutOfMemory, match=said), room_for(large, 1000, tmp_path):
        pytest.fail("the block must not be entered")
    assert files(tmp_path) == []
    with room_for(large, 625, tmp_path) as place:  # exactly what is free
        assert place is not None
