"""The record of modelnet40: cheap to list, and true."""

from __future__ import annotations

import subprocess
import sys

import pytest
from inrbench_shapes.modelnet import ModelNet40, ModelNet40Settings

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


def test_settings_and_spec_are_read_without_meshes_and_frameworks() -> None:
    code = "from inrbench_shapes.modelnet import ModelNet40, ModelNet40Settings as S; ModelNet40(S()).spec()"
    assert imported(code, "scipy", "trimesh", "torch", "rich") == "[]"


def test_the_record_is_found_and_leads_to_its_code() -> None:
    record = registry().find("dataset", "modelnet40")
    assert load_target(record.target, record.name) is ModelNet40
    assert load_target(record.settings, record.name) is ModelNet40Settings
    assert issubclass(ModelNet40Settings, DataSettings)
    assert record.citation.startswith("@")


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
