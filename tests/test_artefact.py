"""Neural data sets on disk: mapped arrays, the folder, the manifest, and damage to any byte."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import inrbench
from inrbench.arrays import save_arrays
from inrbench.artefact import Artefact, open_artefact
from inrbench.artefacts.folder import ArtefactFolder, shard_rows, statistics
from inrbench.artefacts.manifest import MANIFEST
from inrbench.artefacts.mapped import ShardedArray, mapped_arrays
from inrbench.cell_run import CellRun
from inrbench.domains import Array
from inrbench.errors import BadData, Refused, UsageError
from inrbench.representations import Layout, Representations
from inrbench.signals import PartSpec, SignalSpec

LAYOUT = Layout("latent", {"latent": (3, 2), "bias": (4,)}, None, {"omega_0": 30.0, "first": "none"})
SIGNAL = SignalSpec((PartSpec("grid", (4, 4), 2, 1),), 3, ("a", "b", "c"), {"train": 10, "test": 5})
ORIGIN = {"method": "imported", "dataset": "made-up", "profile": "imported", "seed": 0, "settings": None}
FACTS: dict[str, Any] = {"copies": 2, "scope": "global"}


def rows(count: int, first: int = 0, copy: int = 0) -> Representations:
    rng = np.random.default_rng(first + 100 * copy)
    arrays = {name: rng.normal(2.0, 3.0, (count, *shape)).astype(np.float32) for name, shape in LAYOUT.shapes.items()}
    return Representations(LAYOUT, arrays, np.arange(first, first + count), np.full(count, copy))


def document(**changes: Any) -> dict[str, Any]:
    made = {"name": "made-up", "dataset": "made-up~12345678", "data": {"checksum": "0", "official": False}}
    more = {"layout": LAYOUT, "signal": SIGNAL, "facts": FACTS, "fitter": None, "plugins": {}}
    return {**made, **more, "versions": {}, "commit": "", **changes}


SHARDS = [(4, 0, 0), (3, 4, 0), (4, 0, 1), (3, 4, 1)]


def make(folder: Path, origin: Any = ORIGIN) -> Artefact:
    """Seven training signals with a copy each, in four shards, and five test signals."""
    making = ArtefactFolder(folder, origin)
    assert making.begin() is None
    for number, (count, first, copy) in enumerate(SHARDS):
        some = rows(count, first, copy)
        mse = np.full(count, np.nan) if copy else np.linspace(0.1, 0.2, count)
        making.write("train", number, some, {"labels": some.ids % 3, "mse": mse, "mse_unclamped": 2 * mse})
    making.write("test", 0, rows(5, 20), {"labels": np.arange(5) % 3})
    shared = {"theta/latent": np.ones((3, 2), np.float32)}
    return making.finish(document(), shared, {"train": [4, 3, 4, 3], "test": [5]})


@pytest.fixture
def artefact(tmp_path: Path) -> Artefact:
    return make(tmp_path / "made")


def train_arrays() -> dict[str, Array]:
    shards = [rows(*one) for one in SHARDS]
    return {name: np.concatenate([one.arrays[name] for one in shards]) for name in LAYOUT.shapes}


# ------------------------------------------------------------------ what is in it


def test_what_was_written_is_read_back(artefact: Artefact) -> None:
    assert list(artefact.splits) == ["train", "test"]
    assert artefact.layout == LAYOUT
    assert list(artefact.layout.shapes) == ["latent", "bias"]  # in the fitter's order
    assert artefact.signal == SIGNAL
    train, test = artefact.splits["train"], artefact.splits["test"]
    assert (len(train), len(test)) == (14, 5)
    for name, array in train_arrays().items():
        np.testing.assert_array_equal(np.asarray(train.rows.arrays[name]), array)
    np.testing.assert_array_equal(train.ids, [*range(7)] * 2)
    np.testing.assert_array_equal(train.copies, [0] * 7 + [1] * 7)
    np.testing.assert_array_equal(train.labels, train.ids % 3)  # type: ignore[arg-type]
    assert train.mse is not None
    assert np.isnan(train.mse[7:]).all()
    assert np.isfinite(train.mse[:7]).all()
    assert test.mse is None
    np.testing.assert_array_equal(artefact.shared["theta/latent"], np.ones((3, 2)))
    assert artefact.manifest["kind"] == "latent"
    assert artefact.manifest["layout"]["convention"] == {"omega_0": 30.0, "first": "none"}
    assert inrbench.open_artefact(artefact.folder).key == artefact.key


def test_picked_rows_are_copied_and_the_file_is_not_changed_by_writing_to_them(artefact: Artefact) -> None:
    chosen = np.array([12, 0, 5, 5])
    some = artefact.splits["train"].rows.take(chosen)
    np.testing.assert_array_equal(some.arrays["latent"], train_arrays()["latent"][chosen])
    np.testing.assert_array_equal(some.ids, [5, 0, 5, 5])
    artefact.splits["test"].rows.arrays["bias"][...] = 0.0
    np.testing.assert_array_equal(
        open_artefact(artefact.folder).splits["test"].rows.arrays["bias"], rows(5, 20).arrays["bias"]
    )


def test_a_reader_gets_all_copies_of_train_and_never_the_test_rows(artefact: Artefact) -> None:
    neural = artefact.neural_data_set()
    assert set(neural.splits) == {"train"}
    assert len(neural.splits["train"][0]) == 14
    assert neural.origin["artefact"] == artefact.key


def test_the_statistics_are_those_of_the_signals_without_their_copies(artefact: Artefact) -> None:
    for name, array in train_arrays().items():
        own = array[:7].astype(np.float64)
        for word, value in (("mean", own.mean(0)), ("std", own.std(0)), ("min", own.min(0)), ("max", own.max(0))):
            assert artefact.statistics[f"{name}/{word}"].dtype == np.float64
            np.testing.assert_allclose(artefact.statistics[f"{name}/{word}"], value, rtol=1e-12)


def test_statistics_hold_where_a_mean_is_large_against_the_spread(tmp_path: Path) -> None:
    """The naive sum of squares would lose all digits at 1e6 ± 1e-1 in single precision, and half in double."""
    values = 1e6 + np.random.default_rng(0).normal(0.0, 0.25, (300, 2))
    for i in range(3):
        arrays = {"rows/x": values[100 * i : 100 * (i + 1)], "copies": np.zeros(100, np.int64)}
        save_arrays(tmp_path / f"{i}", arrays)
    found = statistics({"x": (2,)}, [tmp_path / f"{i}" for i in range(3)])
    np.testing.assert_allclose(found["x/std"], values.std(axis=0), rtol=1e-9)


def test_shards_are_bounded_by_their_size_and_by_that_of_their_signals() -> None:
    assert shard_rows(256) == 4096
    assert shard_rows(16_832) == (1 << 26) // (4 * 16_832 + 48)
    assert shard_rows(256, 3 * 256**2) == (1 << 28) // (4 * 3 * 256**2)
    assert shard_rows(10**9) == 1


# ------------------------------------------------------------------ arrays over several files


@pytest.mark.parametrize(
    "key",
    [
        *(3, -1, 9, np.int64(6)),
        *(slice(None), slice(2, 4), slice(2, 9), slice(5, 5), slice(9, 1, -2), slice(-3, None)),
        *(np.array([8, 0, 3, 3]), [1, -2], np.array([], dtype=np.int64), np.array([[0, 9], [5, 5]])),
        *(np.arange(10) % 3 == 0, (slice(1, 7), 1), (np.array([7, 2]), slice(0, 1)), (4, 2), (..., 0), None),
    ],
    ids=str,
)
def test_arrays_of_several_files_are_indexed_like_one(key: Any) -> None:
    whole = np.arange(30.0).reshape(10, 3)
    sharded = ShardedArray([whole[:4], whole[4:5], whole[5:]])
    np.testing.assert_array_equal(sharded[key], whole[key])


def test_arrays_of_several_files_answer_to_what_arrays_are_asked() -> None:
    whole = np.arange(30.0, dtype=np.float32).reshape(10, 3)
    sharded = ShardedArray([whole[:4], whole[4:]])
    assert (len(sharded), sharded.shape, sharded.ndim, sharded.size, sharded.nbytes) == (10, (10, 3), 2, 30, 120)
    assert sharded.dtype == np.float32
    np.testing.assert_array_equal(np.asarray(sharded), whole)
    np.testing.assert_array_equal(sharded.reshape(5, -1), whole.reshape(5, -1))
    np.testing.assert_array_equal(sharded.mean(axis=0), whole.mean(axis=0))
    np.testing.assert_array_equal(2 * sharded - 1, 2 * whole - 1)
    np.testing.assert_array_equal(np.stack(list(sharded)), whole)
    for wrong in (10, np.array([0, 10]), np.array([-11]), np.ones(9, bool)):
        with pytest.raises(IndexError):
            sharded[wrong]
    with pytest.raises(ValueError, match="one shape and type"):
        ShardedArray([whole, whole[:, :2]])


def test_every_number_type_is_mapped_as_it_was_written(tmp_path: Path) -> None:
    types = (np.float64, np.float32, np.float16, np.int64, np.int32, np.int16, np.int8, np.uint8, np.bool_)
    arrays = {np.dtype(one).name: (np.arange(6).reshape(2, 3) % 2).astype(one) for one in types}
    save_arrays(tmp_path / "file", {**arrays, "none": np.zeros((0, 3), np.float32)})
    found = mapped_arrays(tmp_path / "file")
    assert found.pop("none").shape == (0, 3)
    assert {name: array.dtype for name, array in found.items()} == {name: a.dtype for name, a in arrays.items()}
    for name, array in arrays.items():
        np.testing.assert_array_equal(found[name], array)


# ------------------------------------------------------------------ damage


@pytest.mark.parametrize("name", [MANIFEST, "shared.safetensors", "statistics.safetensors", "train-00001.safetensors"])
@pytest.mark.parametrize("place", [0, 9, 0.3, 0.6, -2, -1], ids=str)
def test_a_changed_byte_is_found_and_its_file_named(artefact: Artefact, name: str, place: float) -> None:
    path = artefact.folder / name
    content = bytearray(path.read_bytes())
    content[int(place * len(content)) if isinstance(place, float) else place] ^= 0x10
    path.write_bytes(content)
    with pytest.raises(BadData, match=name):
        open_artefact(artefact.folder)


def test_every_single_byte_of_the_manifest_counts(artefact: Artefact) -> None:
    path = artefact.folder / MANIFEST
    content = path.read_bytes()
    for place in range(0, len(content), 7):
        path.write_bytes(content[:place] + bytes([content[place] ^ 0x01]) + content[place + 1 :])
        with pytest.raises(BadData, match=MANIFEST):
            open_artefact(artefact.folder)


def test_a_missing_a_short_and_a_strange_file_are_named(artefact: Artefact) -> None:
    path = artefact.folder / "train-00002.safetensors"
    content = path.read_bytes()
    path.write_bytes(content[:-1])
    with pytest.raises(BadData, match=r"train-00002\.safetensors is damaged"):
        open_artefact(artefact.folder)
    path.unlink()
    with pytest.raises(BadData, match=r"train-00002.safetensors is missing, which manifest.json lists"):
        open_artefact(artefact.folder)
    (artefact.folder / MANIFEST).unlink()
    with pytest.raises(BadData, match=r"holds no neural data set: it has no manifest.json"):
        open_artefact(artefact.folder)
    with pytest.raises(UsageError, match="there is no neural data set at"):
        open_artefact(artefact.folder / "nowhere")


def test_a_manifest_of_a_newer_inrbench_is_refused(artefact: Artefact) -> None:
    path = artefact.folder / MANIFEST
    path.write_text(json.dumps({**json.loads(path.read_text()), "schema": 2}))
    with pytest.raises(BadData, match="has schema 2, this inrbench reads up to 1"):
        open_artefact(artefact.folder)


def test_what_was_checked_once_is_not_read_again(artefact: Artefact, monkeypatch: pytest.MonkeyPatch) -> None:
    def read(path: Path) -> None:
        raise AssertionError(f"{path} is read again")

    monkeypatch.setattr("inrbench.data.check._file_digests", read)
    open_artefact(artefact.folder)
    path = artefact.folder / "test-00000.safetensors"
    path.write_bytes(path.read_bytes())
    with pytest.raises(AssertionError, match="test-00000"):
        open_artefact(artefact.folder)


# ------------------------------------------------------------------ the folder while it is made


def test_the_same_content_is_the_same_bytes_and_the_same_key(tmp_path: Path) -> None:
    one, other = make(tmp_path / "one"), make(tmp_path / "other")
    assert one.key == other.key
    files = sorted(path.name for path in one.folder.iterdir())
    assert files == sorted(path.name for path in other.folder.iterdir())
    assert all((one.folder / name).read_bytes() == (other.folder / name).read_bytes() for name in files)


def test_the_key_is_that_of_the_content(tmp_path: Path, artefact: Artefact) -> None:
    making = ArtefactFolder(tmp_path / "other", ORIGIN)
    making.begin()
    making.write("train", 0, rows(4), {"labels": np.arange(4)})
    assert making.finish(document(), artefact.shared, {"train": [4]}).key != artefact.key


def test_a_folder_that_holds_something_else_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "photo.png").write_bytes(b"x")
    with pytest.raises(UsageError, match="holds something else"):
        ArtefactFolder(tmp_path, ORIGIN).begin()
    assert [path.name for path in tmp_path.iterdir()] == ["photo.png"]
    with pytest.raises(UsageError, match="is a file"):
        ArtefactFolder(tmp_path / "photo.png", ORIGIN).begin()


def test_another_origin_is_refused_and_says_in_which_setting_it_differs(tmp_path: Path) -> None:
    settings = {"fitter": {"steps": 4, "rate": 0.1}, "reader": None}
    first = {**ORIGIN, "settings": settings, "keys": {"train": "a"}}
    other = {**first, "settings": {**settings, "fitter": {"steps": 6, "rate": 0.1}}, "keys": {"train": "b"}}
    ArtefactFolder(tmp_path / "begun", first).begin()
    with pytest.raises(UsageError, match=r"holds the beginning of .* with fitter.steps=4, not 6"):
        ArtefactFolder(tmp_path / "begun", other).begin()
    assert ArtefactFolder(tmp_path / "begun", first).begin() is None
    done = make(tmp_path / "done", first)
    with pytest.raises(UsageError, match=r"holds a neural data set with fitter\.steps=4, not 6"):
        ArtefactFolder(done.folder, other).begin()
    again = ArtefactFolder(done.folder, first).begin()
    assert again is not None
    assert again.key == done.key
    with pytest.raises(UsageError, match="made by other code or versions"):
        ArtefactFolder(done.folder, {**first, "keys": {"train": "c"}}).begin()


def test_a_damaged_shard_is_not_taken_for_a_whole_one(tmp_path: Path) -> None:
    making = ArtefactFolder(tmp_path / "new", ORIGIN)
    making.begin()
    making.write("train", 0, rows(4), {})
    assert making.has("train", 0)
    assert not making.has("train", 1)
    path = making.path("train", 0)
    path.write_bytes(path.read_bytes()[:-1] + b"\x7f")
    assert not making.has("train", 0)


def test_a_disk_without_room_is_said_before_work(tmp_path: Path) -> None:
    making = ArtefactFolder(tmp_path / "new", ORIGIN)
    making.begin()
    with pytest.raises(UsageError, match=r"needs 1,000,000\.00 GB and its disk has .* GB free"):
        making.room_for(10**15)
    making.room_for(1)


def test_an_imported_one_can_be_read_but_nobody_knows_its_fields(artefact: Artefact) -> None:
    with pytest.raises(Refused, match="was imported from elsewhere: no cell made it"):
        artefact.cell()
    with pytest.raises(Refused, match=r"nobody can say what values its rows have \(`query`\)"):
        artefact.fitter(CellRun(0))
