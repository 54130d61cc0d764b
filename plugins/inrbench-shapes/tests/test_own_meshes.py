"""mesh:PATH: occupancies of meshes with known volumes, in every format, and what is said of bad ones."""

from __future__ import annotations

import math
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trimesh
from inrbench_shapes.own_meshes import Mesh, MeshSettings, MeshSignals

from inrbench.data import open_dataset
from inrbench.domains import Points
from inrbench.errors import BadData, BadSetting

ROOT = Path(__file__).resolve().parents[3]
MESHES = Path(os.environ.get("INRBENCH_TEST_MESHES", ROOT.parent / "shared" / "data" / "meshes"))
SMALL = {"random_points": 2_000, "near_points": 500, "scored_points": 8_000}


def dataset(place: Path, **settings: Any) -> Mesh:
    return Mesh(MeshSettings(**SMALL | settings), str(place))


def signals(place: Path, **settings: Any) -> MeshSignals:
    return dataset(place, **settings).load(None)["test"]


def within_error(inside: np.ndarray[Any, Any], share: float) -> bool:
    return bool(abs(inside.mean() - share) < 4.5 * math.sqrt(share * (1 - share) / len(inside)))


def solids() -> dict[str, tuple[trimesh.Trimesh, float]]:
    """Meshes with their volume over that of the box around them, to the power of three of its longest side."""
    torus = trimesh.creation.torus(major_radius=0.7, minor_radius=0.3, major_sections=40, minor_sections=30)
    capsule = trimesh.creation.capsule(height=1.0, radius=0.4)
    box = trimesh.creation.box(extents=(1.0, 2.0, 3.0)).apply_translation([5.0, -3.0, 100.0])
    found = {"torus": torus, "capsule": capsule, "box": box}
    return {name: (mesh, abs(mesh.volume) / np.ptp(mesh.bounds, axis=0).max() ** 3) for name, mesh in found.items()}


@pytest.mark.parametrize("suffix", ["obj", "stl", "ply", "off", "glb"])
def test_occupancy_has_the_volume_of_the_mesh_in_every_format(tmp_path: Path, suffix: str) -> None:
    for name, (mesh, share) in solids().items():
        mesh.export(tmp_path / f"{name}.{suffix}")
        one = signals(tmp_path / f"{name}.{suffix}", open_meshes="refuse")  # all are watertight
        (scored,) = one.scored(0)
        assert within_error(scored.values, share * 0.9**3)  # of the cube: (2 · 0.9)³ / 2³


def test_the_box_around_a_mesh_is_in_the_middle_of_the_cube(tmp_path: Path) -> None:
    cone = trimesh.creation.cone(radius=1.0, height=4.0).apply_translation([5.0, -3.0, 100.0])
    cone.export(tmp_path / "cone.ply")
    (part,) = signals(tmp_path / "cone.ply", fill=0.8, scored_points=60_000).scored(0)
    inside = part.domain.coords[part.values[:, 0] == 1]  # type: ignore[union-attr]
    np.testing.assert_allclose(inside.min(axis=0), [-0.4, -0.4, -0.8], atol=0.04)
    np.testing.assert_allclose(inside.max(axis=0)[:2], [0.4, 0.4], atol=0.04)
    assert 0.5 < inside[:, 2].max() < 0.8  # few points are in the tip


def test_points_are_uniform_then_near_the_surface_and_the_same_each_time(tmp_path: Path) -> None:
    trimesh.creation.icosphere(subdivisions=4).export(tmp_path / "ball.off")
    one = signals(tmp_path / "ball.off", near_deviation=0.01)
    (observed,), (scored,) = one.observed(0), one.scored(0)
    assert isinstance(observed.domain, Points)
    assert observed.domain.coords.shape == (2_500, 3)
    assert observed.measure == scored.measure == "occupancy"
    assert observed.values.dtype == np.uint8
    away = np.linalg.norm(observed.domain.coords, axis=1)
    assert np.abs(away[2_000:] - 0.9).max() < 0.05
    assert within_error(observed.values[:2_000], math.pi / 6 * 0.9**3)
    clear = np.abs(away - 0.9) > 0.003  # the mesh is not quite round
    np.testing.assert_array_equal(observed.values[clear, 0], away[clear] < 0.9)
    again = pickle.loads(pickle.dumps(one)).take(np.array([0])).unlabelled()
    np.testing.assert_array_equal(again.observed(0)[0].values, observed.values)
    np.testing.assert_array_equal(again.observed(0)[0].domain.coords, observed.domain.coords)


def test_a_scene_is_one_solid_and_a_mesh_that_is_inside_out_is_one_too(tmp_path: Path) -> None:
    ball = trimesh.creation.icosphere(subdivisions=3, radius=0.5)
    other = ball.copy().apply_translation([2.0, 0.0, 0.0])
    trimesh.Scene([ball, other]).export(tmp_path / "two.glb")
    (scored,) = signals(tmp_path / "two.glb").scored(0)
    assert within_error(scored.values, 2 * ball.volume / 3.0**3 * 0.9**3)
    ball.invert()
    ball.export(tmp_path / "inverted.stl")
    (scored,) = signals(tmp_path / "inverted.stl").scored(0)
    assert within_error(scored.values, abs(ball.volume) * 0.9**3)


def test_a_mesh_with_a_hole_is_closed_or_refused(tmp_path: Path) -> None:
    ball = trimesh.creation.icosphere(subdivisions=4)
    ball.update_faces(ball.triangles_center[:, 2] < 0.9)
    ball.export(tmp_path / "open.obj")
    (scored,) = signals(tmp_path / "open.obj").scored(0)
    side = np.ptp(ball.bounds, axis=0).max()
    cap = math.pi * 0.1**2 * (3 - 0.1) / 3
    closed = 4 / 3 * math.pi - cap  # by a plane; the winding number bulges a little
    assert abs(scored.values.mean() * 8 / (2 * 0.9 / side) ** 3 - closed) < 0.12
    with pytest.raises(BadData, match=r"open\.obj: not watertight; setting data\.open_meshes=winding"):
        signals(tmp_path / "open.obj", open_meshes="refuse").scored(0)


def test_a_folder_of_meshes_is_a_test_split_without_labels(tmp_path: Path) -> None:
    for name, (mesh, _) in solids().items():
        mesh.export(tmp_path / f"{name}.ply")
    (tmp_path / ".hidden.ply").write_text("no mesh")
    (tmp_path / "notes.txt").write_text("no mesh")
    one = dataset(tmp_path)
    assert one.spec().sizes == {"test": 3}
    assert one.spec().num_classes is None
    assert sorted(one.own_files()) == ["box.ply", "capsule.ply", "torus.ply"]
    assert one.load(None)["test"].ids.tolist() == [0, 1, 2]
    opened = open_dataset(f"mesh:{tmp_path}", one, None, unofficial=False)
    assert opened.official
    solids()["torus"][0].export(tmp_path / "box.ply")
    assert open_dataset("mesh", dataset(tmp_path), None, unofficial=False).checksum != opened.checksum


def test_class_folders_give_labels_and_a_share_to_test(tmp_path: Path) -> None:
    for name in ("b", "a"):
        (tmp_path / name).mkdir()
        for i in range(5):
            trimesh.creation.box(extents=(1.0, 1.0, 1.0 + i)).export(tmp_path / name / f"{i}.off")
    (tmp_path / "empty").mkdir()
    one = dataset(tmp_path, test_share=0.4)
    splits = one.load(None)
    assert one.spec().class_names == ("a", "b")
    assert one.spec().sizes == {"train": 6, "test": 4} == {split: len(found) for split, found in splits.items()}
    ids = np.concatenate([found.ids for found in splits.values()])
    assert sorted(ids.tolist()) == list(range(10))
    for found in splits.values():
        assert found.labels is not None
        assert found.labels.tolist() == (found.ids // 5).tolist()
    held_out = [splits["test"].meshes.files[i] for i in splits["test"].ids]
    chosen = [path.relative_to(tmp_path).as_posix() for path in held_out]
    assert chosen == ["a/0.off", "a/2.off", "b/1.off", "b/2.off"]  # by a hash of their names, for ever
    sixth = trimesh.creation.box()
    sixth.export(tmp_path / "b" / "zz.off")  # one more changes no other's place but by its own
    more = {
        split: {f.meshes.files[i] for i in f.ids} for split, f in dataset(tmp_path, test_share=0.4).load(None).items()
    }
    before = {split: {found.meshes.files[i] for i in found.ids} for split, found in splits.items()}
    assert len(more["test"] ^ before["test"]) <= 2
    with pytest.raises(
        BadData, match=r"class 'a' has 5 meshes, of which .*test_share=0.01 holds out 0; allowed are 1 to 4"
    ):
        dataset(tmp_path, test_share=0.01).load(None)


BAD = {
    "word.obj": (b"hello", "has no faces"),
    "word.stl": (b"hello", "has no faces"),
    "word.ply": (b"ply\nhello", "not a readable PLY mesh"),
    "word.off": (b"hello", "not a readable OFF mesh"),
    "word.glb": (b"hello", "not a readable GLB mesh"),
    "empty.stl": (b"", "has no faces"),
    "wrong.obj": (b"v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 9\n", "wrong.obj"),
    "infinite.obj": (b"v 0 0 0\nv nan 0 0\nv 0 1 0\nf 1 2 3\n", "vertices that are not finite"),
    "point.obj": (b"v 1 1 1\nv 1 1 1\nv 1 1 1\nf 1 2 3\n", "a single point"),
    "flat.obj": (b"v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n", "encloses none of 2,500 points"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_files_are_named_in_one_line(tmp_path: Path, name: str) -> None:
    content, said = BAD[name]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(BadData) as raised:
        signals(tmp_path / name).observed(0)
    message = str(raised.value)
    assert said in message
    assert str(tmp_path / name) in message
    assert "\n" not in message


@pytest.mark.parametrize("suffix", ["stl", "ply", "off", "glb"])
def test_files_that_are_cut_off_are_noticed(tmp_path: Path, suffix: str) -> None:
    trimesh.creation.icosphere().export(tmp_path / f"cut.{suffix}")
    whole = (tmp_path / f"cut.{suffix}").read_bytes()
    (tmp_path / f"cut.{suffix}").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(BadData, match=rf"cut\.{suffix}: (not a readable|cut off)"):
        signals(tmp_path / f"cut.{suffix}").observed(0)


def test_places_without_meshes_are_named(tmp_path: Path) -> None:
    with pytest.raises(BadSetting, match="needs a place, as in mesh:PATH"):
        Mesh(MeshSettings())
    with pytest.raises(BadData, match="does not exist; expected a mesh or a folder of meshes"):
        dataset(tmp_path / "nowhere").spec()
    with pytest.raises(BadData, match=r"holds no meshes; looked for \.obj, \.stl"):
        dataset(tmp_path).spec()
    (tmp_path / "picture.png").write_bytes(b"")
    with pytest.raises(BadData, match=r"picture\.png: is no mesh; looked for"):
        dataset(tmp_path / "picture.png").spec()
    (tmp_path / "gone.obj").write_bytes(b"")
    found = signals(tmp_path)
    (tmp_path / "gone.obj").unlink()
    with pytest.raises(BadData, match=r"gone\.obj: cannot be read \(No such file"):
        found.scored(0)


@pytest.mark.parametrize("name", ["beetle", "cow", "suzanne", "teapot"])
def test_real_meshes_enclose_a_part_of_the_cube(name: str) -> None:
    if not (MESHES / f"{name}.obj").is_file():
        pytest.skip(f"needs {name}.obj in the folder INRBENCH_TEST_MESHES")
    one = signals(MESHES / f"{name}.obj")
    (observed,), (scored,) = one.observed(0), one.scored(0)
    assert 0.02 < scored.values.mean() < 0.2
    assert 0.3 < observed.values[2_000:].mean() < 0.7  # near the surface
    if name == "cow":  # watertight: its volume is known
        mesh = trimesh.load_mesh(MESHES / "cow.obj", skip_materials=True)
        assert within_error(scored.values, mesh.volume / np.ptp(mesh.bounds, axis=0).max() ** 3 * 0.9**3)


def test_a_flat_drawing_is_no_solid() -> None:
    if not (MESHES / "woody.obj").is_file():
        pytest.skip("needs woody.obj in the folder INRBENCH_TEST_MESHES")
    with pytest.raises(BadData, match=r"woody\.obj: encloses none of 8,000 points"):
        signals(MESHES / "woody.obj").scored(0)
