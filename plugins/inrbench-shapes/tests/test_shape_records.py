"""The records of the data sets of shapes: cheap to list, and true."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from inrbench_shapes.modelnet import ModelNet40, ModelNet40Settings
from inrbench_shapes.own_meshes import Mesh, MeshSettings
from inrbench_shapes.shapenet10 import ShapeNet10, ShapeNet10Settings
from inrbench_shapes.solids import Solids, SolidsSettings

from inrbench.errors import BadSetting
from inrbench.registry import registry
from inrbench.settings import DataSettings, load_target


def imported(code: str, *modules: str) -> str:
    """Which of ``modules`` a fresh interpreter has imported after ``code``."""
    code = f"import sys; {code}; print([m for m in {modules!r} if m in sys.modules])"
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


def test_listing_the_record_imports_nothing_heavy() -> None:
    code = "import inrbench_shapes; list(inrbench_shapes.inrbench_datasets())"
    assert imported(code, "numpy", "scipy", "trimesh", "torch", "rich") == "[]"


@pytest.mark.parametrize("place", ["modelnet:ModelNet40", "shapenet10:ShapeNet10", "solids:Solids"])
def test_settings_and_spec_are_read_without_meshes_and_frameworks(place: str) -> None:
    module, _, name = place.partition(":")
    code = f"from inrbench_shapes.{module} import {name} as D, {name}Settings as S; D(S()).spec()"
    assert imported(code, "scipy", "trimesh", "torch", "rich") == "[]"


@pytest.mark.parametrize(
    ("name", "dataset", "settings"),
    [
        ("mesh:teapot.obj", Mesh, MeshSettings),
        ("modelnet40", ModelNet40, ModelNet40Settings),
        ("shapenet10", ShapeNet10, ShapeNet10Settings),
        ("solids", Solids, SolidsSettings),
    ],
)
def test_a_record_is_found_and_leads_to_its_code(name: str, dataset: type, settings: type[DataSettings]) -> None:
    record = registry().find("dataset", name)
    assert load_target(record.target, record.name) is dataset
    assert load_target(record.settings, record.name) is settings
    assert issubclass(settings, DataSettings)
    assert record.citation.startswith("@") or record.scheme


def test_a_mesh_is_counted_without_reading_it(tmp_path: Path) -> None:
    (tmp_path / "a.obj").write_bytes(b"")
    code = "from inrbench_shapes.own_meshes import Mesh as D, MeshSettings as S"
    assert imported(f"{code}; D(S(), {str(tmp_path)!r}).spec()", "scipy", "trimesh", "torch", "rich") == "[]"


def test_solids_are_listed_and_counted_as_they_are() -> None:
    dataset = Solids(SolidsSettings())
    spec = dataset.spec()
    assert {split: len(signals) for split, signals in dataset.load(None).items()} == spec.sizes
    (part,) = dataset.load(None)["test"].observed(0)
    assert (*spec.parts[0].shape, spec.parts[0].channels) == part.values.shape
    assert spec.num_classes == len(spec.class_names) == 10
    listed = subprocess.run([sys.executable, "-m", "inrbench", "data", "list"], capture_output=True, text=True)
    (line,) = [line for line in listed.stdout.splitlines() if line.startswith("solids ")]
    assert "2,000 + 500" in line
    assert "8192 x 1" in line
    assert "built in" in line


def test_the_official_file_has_a_source_for_all_that_is_said_of_it() -> None:
    dataset = ModelNet40(ModelNet40Settings())
    (file,) = dataset.files
    assert file.source
    assert file.checksums
    assert file.size_bytes == dataset.about().download_bytes
    assert "academic research" in dataset.about().licence


def test_a_name_that_takes_no_place_refuses_one() -> None:
    with pytest.raises(BadSetting, match="takes nothing behind a colon; given: 'place'"):
        ModelNet40(ModelNet40Settings(), "place")
