"""ModelNet40's layout, on generated archives and folders."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path

import inrbench_shapes
import numpy as np
import pytest
import trimesh
from inrbench_shapes.modelnet import CLASSES, ModelNet40, ModelNet40Settings

from inrbench.data import open_dataset
from inrbench.errors import BadData
from inrbench.signals import Signals

BOX = trimesh.creation.box(extents=(1.0, 2.0, 3.0)).export(file_type="off").encode()
SPHERE = trimesh.creation.icosphere(subdivisions=1).export(file_type="off").encode()
MESHES = {
    "ModelNet40/chair/train/chair_0002.off": SPHERE,
    "ModelNet40/chair/train/chair_0001.off": b"OFF" + BOX.removeprefix(b"OFF\n"),  # as many of ModelNet's begin
    "ModelNet40/airplane/train/airplane_0001.off": SPHERE,
    "ModelNet40/xbox/test/xbox_0105.off": BOX,
    "ModelNet40/xbox/test/README.txt": b"not a mesh",
    "ModelNet40/xbox/test/._xbox_0105.off": b"what macOS adds",
    "__MACOSX/ModelNet40/xbox/test/._xbox_0105.off": b"what macOS adds",
}


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("INRBENCH_CACHE", str(folder))
    return folder


def archive(root: Path, entries: Mapping[str, bytes] = MESHES) -> Path:
    """The data set's folder, with an archive of ``entries``."""
    folder = root / "modelnet40"
    folder.mkdir()
    with zipfile.ZipFile(folder / "ModelNet40.zip", "w", zipfile.ZIP_DEFLATED) as packed:
        for name, content in entries.items():
            packed.writestr(name, content)
    return folder


def dataset(**settings: object) -> ModelNet40:
    return ModelNet40(ModelNet40Settings(**{"surface_points": 50, "scored_points": 20, **settings}))  # type: ignore[arg-type]


def cloud(signals: Signals, i: int) -> np.ndarray:
    return np.array(signals.surfaces.clouds[signals.rows[i]])  # type: ignore[attr-defined]


def test_shapes_are_sorted_labelled_and_numbered_over_the_splits(tmp_path: Path) -> None:
    splits = dataset().load(archive(tmp_path))
    train, test = splits["train"], splits["test"]
    assert train.labels is not None
    assert test.labels is not None
    assert [CLASSES[label] for label in train.labels] == ["airplane", "chair", "chair"]
    assert [CLASSES[label] for label in test.labels] == ["xbox"]
    assert np.concatenate([train.ids, test.ids]).tolist() == [0, 1, 2, 3]
    extents = [np.ptp(cloud(train, i), axis=0) for i in range(3)]
    np.testing.assert_allclose(extents[0] / extents[0].max(), 1.0, atol=0.2)  # a sphere, a box, a sphere
    np.testing.assert_allclose(extents[1] / extents[1].max(), [1 / 3, 2 / 3, 1.0], atol=0.1)
    np.testing.assert_allclose(extents[2] / extents[2].max(), 1.0, atol=0.2)


def test_the_points_of_a_mesh_depend_on_its_name_and_content_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = dataset().load(archive(tmp_path))["train"]
    (tmp_path / "other").mkdir()
    monkeypatch.setenv("INRBENCH_CACHE", str(tmp_path / "other"))
    fewer = {name: content for name, content in reversed(MESHES.items()) if "chair_0001" not in name}
    second = dataset().load(archive(tmp_path / "other", fewer))["train"]
    np.testing.assert_array_equal(cloud(first, 0), cloud(second, 0))
    np.testing.assert_array_equal(cloud(first, 2), cloud(second, 1))
    assert not np.array_equal(cloud(first, 0), cloud(first, 2))  # one sphere under two names: two draws


def test_clouds_are_mapped_from_the_cache_and_drawn_once(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = archive(tmp_path)
    first = dataset().load(folder)["train"]
    monkeypatch.setattr("inrbench_shapes.modelnet.drawn_from", None)  # drawing again would fail
    second = dataset(scored_points=30).load(folder)["train"]
    assert isinstance(second.surfaces.clouds, np.memmap)  # type: ignore[attr-defined]
    np.testing.assert_array_equal(cloud(first, 1), cloud(second, 1))
    assert len(list((cache / "shapes").iterdir())) == 1


def test_another_number_of_surface_points_is_drawn_anew(tmp_path: Path, cache: Path) -> None:
    folder = archive(tmp_path)
    assert cloud(dataset().load(folder)["test"], 0).shape == (50, 3)
    assert cloud(dataset(surface_points=60).load(folder)["test"], 0).shape == (60, 3)
    assert len(list((cache / "shapes").iterdir())) == 2


@pytest.mark.parametrize("name", ["train.npy", "test-labels.npy"])
def test_damaged_clouds_in_the_cache_are_drawn_again(tmp_path: Path, cache: Path, name: str) -> None:
    folder = archive(tmp_path)
    expected = cloud(dataset().load(folder)["train"], 1)
    (place,) = (cache / "shapes").iterdir()
    (place / name).write_bytes((place / name).read_bytes()[:-7])
    np.testing.assert_array_equal(cloud(dataset().load(folder)["train"], 1), expected)
    assert [path.name for path in (cache / "shapes").iterdir()] == [place.name]
    names = ["test-labels.npy", "test.npy", "train-labels.npy", "train.npy"]
    assert sorted(path.name for path in place.iterdir()) == names


def test_another_archive_is_unofficial_and_an_unpacked_folder_is_read_too(tmp_path: Path) -> None:
    folder = archive(tmp_path)
    with pytest.raises(BadData, match="sha256 published 42dc3e656932e387f554e25a4eb2cc0e1a1bd3ab54606e2a9eae444c60e5"):
        open_dataset("modelnet40", dataset(), tmp_path, unofficial=False, download=False)
    packed = open_dataset("modelnet40", dataset(), tmp_path, unofficial=True, download=False)
    with zipfile.ZipFile(folder / "ModelNet40.zip") as opened:
        opened.extractall(folder)
    (folder / "ModelNet40.zip").unlink()
    unpacked = open_dataset("modelnet40", dataset(), tmp_path, unofficial=True, download=False)
    assert not unpacked.official
    for split, count in (("train", 3), ("test", 1)):
        assert len(packed.splits[split]) == len(unpacked.splits[split]) == count
        for i in range(count):
            np.testing.assert_array_equal(cloud(packed.splits[split], i), cloud(unpacked.splits[split], i))


def test_missing_data_says_how_it_is_fetched(tmp_path: Path) -> None:
    with pytest.raises(BadData, match=r"ModelNet40.zip missing in .*inrbench data fetch modelnet40"):
        open_dataset("modelnet40", dataset(), tmp_path, unofficial=True, download=False)


def test_a_split_without_meshes_is_bad_data(tmp_path: Path) -> None:
    only = {name: content for name, content in MESHES.items() if "/train/" in name}
    with pytest.raises(BadData, match=r"holds no meshes of the split 'test' \(ModelNet40/CLASS/test/NAME.off\)"):
        dataset().load(archive(tmp_path, only))


def test_a_folder_that_is_no_class_is_named_with_the_nearest_class(tmp_path: Path) -> None:
    wrong = MESHES | {"ModelNet40/airplan/train/airplan_0001.off": BOX}
    with pytest.raises(BadData, match=r"airplan_0001.off: no class is named 'airplan'; did you mean 'airplane'"):
        dataset().load(archive(tmp_path, wrong))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (SPHERE[:400], "not a readable OFF mesh"),
        (SPHERE[: SPHERE.rstrip().rindex(b"\n")], "cut off, it has 79 of 80 faces"),
        (b"OFF\n3 1 0\n0 0 0\n1 1 1\n2 2 2\n3 0 1 2\n", "its surface has no area"),
    ],
)
def test_a_damaged_mesh_is_named_and_leaves_no_cache(tmp_path: Path, cache: Path, content: bytes, reason: str) -> None:
    name = "ModelNet40/chair/train/chair_0002.off"
    with pytest.raises(BadData, match=f"ModelNet40.zip: {name}: .*{reason}"):
        dataset().load(archive(tmp_path, MESHES | {name: content}))
    assert list((cache / "shapes").iterdir()) == []


def test_an_archive_that_is_cut_off_is_bad_data(tmp_path: Path) -> None:
    path = archive(tmp_path) / "ModelNet40.zip"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(BadData, match=r"ModelNet40.zip: damaged archive \(File is not a zip file\); fetch it again"):
        dataset().load(path.parent)


def test_bytes_that_were_changed_in_an_archive_are_bad_data(tmp_path: Path) -> None:
    path = archive(tmp_path) / "ModelNet40.zip"
    content = bytearray(path.read_bytes())
    content[120] ^= 0xFF  # within the first entry's compressed bytes
    path.write_bytes(content)
    with pytest.raises(BadData, match=r"ModelNet40.zip: ModelNet40/chair/train/chair_0002.off: cannot be read"):
        dataset().load(path.parent)


def test_a_cache_that_cannot_be_written_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("INRBENCH_CACHE", str(tmp_path / "file" / "below"))
    with pytest.raises(BadData, match=r"cannot write the cache .*INRBENCH_CACHE"):
        dataset().load(archive(tmp_path))


def test_a_disk_that_is_too_full_is_noticed_before_anything_is_drawn(tmp_path: Path, cache: Path) -> None:
    with pytest.raises(BadData, match=r"surface points need 48,000,000 MB and the cache .* has .* MB free"):
        dataset(surface_points=10**12).load(archive(tmp_path))
    assert list((cache / "shapes").iterdir()) == []


def test_the_record_gives_what_the_spec_says() -> None:
    (record,) = [one for one in inrbench_shapes.inrbench_datasets() if one.name == "modelnet40"]
    spec = ModelNet40(ModelNet40Settings()).spec()
    assert record.gives == (spec.parts[0].domain,) == ("points",)
    assert (spec.coord_dim, spec.channels, spec.num_classes) == (3, 1, 40)
    assert sum(spec.sizes.values()) == 12_311
    assert list(spec.class_names) == sorted(set(spec.class_names))
