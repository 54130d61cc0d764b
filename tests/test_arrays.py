"""Arrays on disk: what is read is what was written, or an error."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from inrbench.arrays import digest_of, load_arrays, save_arrays, write_atomically
from inrbench.errors import BadData

ARRAYS = {
    "weights/w": np.arange(6, dtype=np.float32).reshape(2, 3),
    "ids": np.array([3, 1, 2]),
    "correct": np.array([True, False]),
    "bytes": np.arange(4, dtype=np.uint8).reshape(2, 2, 1),
    "half": np.array([1.5], dtype=np.float16),
    "empty": np.zeros((0, 4)),
}
METADATA = {"step": "15", "layout": '{"kind": "weights"}'}


def test_arrays_and_metadata_come_back_as_they_were(tmp_path: Path) -> None:
    save_arrays(tmp_path / "deep" / "a.safetensors", ARRAYS, METADATA)
    arrays, metadata = load_arrays(tmp_path / "deep" / "a.safetensors")
    assert metadata == METADATA
    assert arrays.keys() == ARRAYS.keys()
    for name, array in ARRAYS.items():
        assert arrays[name].dtype == array.dtype
        np.testing.assert_array_equal(arrays[name], array)
        assert arrays[name].shape == array.shape


def test_arrays_that_are_not_contiguous_come_back_as_they_were(tmp_path: Path) -> None:
    array = np.arange(24.0).reshape(4, 6)[::2, ::3].T
    save_arrays(tmp_path / "a.safetensors", {"a": array})
    np.testing.assert_array_equal(load_arrays(tmp_path / "a.safetensors")[0]["a"], array)


def test_a_number_without_axes_comes_back_without_axes(tmp_path: Path) -> None:
    save_arrays(tmp_path / "a.safetensors", {"a": np.array(3.0)})
    assert load_arrays(tmp_path / "a.safetensors")[0]["a"].shape == ()


def test_arrays_in_the_other_byte_order_come_back_with_the_same_values(tmp_path: Path) -> None:
    save_arrays(tmp_path / "a.safetensors", {"a": np.array([1.0, 2.0], dtype=">f4")})
    np.testing.assert_array_equal(load_arrays(tmp_path / "a.safetensors")[0]["a"], [1.0, 2.0])


def test_no_arrays_are_a_file_too(tmp_path: Path) -> None:
    save_arrays(tmp_path / "a.safetensors", {}, {"steps": "0"})
    assert load_arrays(tmp_path / "a.safetensors") == ({}, {"steps": "0"})


def test_damage_of_any_single_byte_is_found(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    save_arrays(path, {"w": np.arange(6, dtype=np.float32).reshape(2, 3), "ids": np.arange(2)}, METADATA)
    whole = path.read_bytes()
    unnoticed = []
    for position in range(len(whole)):
        damaged = bytearray(whole)
        damaged[position] ^= 0x01
        path.write_bytes(damaged)
        try:
            load_arrays(path)
        except BadData as error:
            assert str(path) in str(error)  # noqa: PT017
        else:
            unnoticed.append((position, bytes(damaged[max(0, position - 12) : position + 4])))
    assert unnoticed == []


@pytest.mark.parametrize("share", [0.0, 0.01, 0.2, 0.5, 0.9, 0.999])
def test_a_file_cut_short_is_found(tmp_path: Path, share: float) -> None:
    path = tmp_path / "a.safetensors"
    save_arrays(path, ARRAYS, METADATA)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(BadData, match="is damaged"):
        load_arrays(path)


def test_bytes_behind_the_end_are_found(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    save_arrays(path, ARRAYS)
    path.write_bytes(path.read_bytes() + b"\0")
    with pytest.raises(BadData, match="is damaged"):
        load_arrays(path)


def test_a_file_without_a_digest_is_not_believed(tmp_path: Path) -> None:
    from safetensors.numpy import save_file

    save_file({"a": np.ones(3)}, tmp_path / "a.safetensors")
    with pytest.raises(BadData, match="content does not match its digest"):
        load_arrays(tmp_path / "a.safetensors")


def test_the_digest_depends_on_names_types_shapes_and_bytes_and_not_on_their_order() -> None:
    one = {"a": np.arange(4.0), "b": np.ones(2)}
    assert digest_of(one) == digest_of(dict(reversed(one.items())))
    others: list[dict[str, np.ndarray]] = [
        {"a": np.arange(4.0), "c": np.ones(2)},
        {"a": np.arange(4.0).reshape(2, 2), "b": np.ones(2)},
        {"a": np.arange(4.0).astype(np.float32), "b": np.ones(2)},
        {"a": np.arange(4.0).view(np.int64), "b": np.ones(2)},
        {"a": np.arange(4.0), "b": np.zeros(2)},
        {"a": np.arange(4.0)},
        {"a": np.arange(4.0), "b": np.ones(2).reshape(2, 1)},
    ]
    assert len({digest_of(arrays) for arrays in [one, *others]}) == 1 + len(others)


def _full(_descriptor: int) -> None:
    raise OSError(28, "No space left on device")


def test_a_disk_that_refuses_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.safetensors"
    save_arrays(path, {"a": np.zeros(3)})
    monkeypatch.setattr(os, "fsync", _full)
    with pytest.raises(OSError, match="No space left"):
        save_arrays(path, {"a": np.ones(3)})
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.safetensors"]
    np.testing.assert_array_equal(load_arrays(path)[0]["a"], np.zeros(3))


def test_a_write_makes_its_folder_and_replaces_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "c.json"
    write_atomically(path, b"old")
    write_atomically(path, b"new")
    assert path.read_bytes() == b"new"
    assert [entry.name for entry in path.parent.iterdir()] == ["c.json"]
