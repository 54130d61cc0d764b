"""The records of inrbench-scenes: cheap to list, and true."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import inrbench_scenes
import pytest

from inrbench.cells import resolve
from inrbench.data import AboutData
from inrbench.errors import BadSetting, Refused
from inrbench.plugin import Plugin
from inrbench.settings import load_target
from inrbench.views import ViewSettings

RECORDS = list(inrbench_scenes.inrbench_datasets())


def build(record: Plugin, rest: str = "") -> Any:
    return load_target(record.target, record.name)(load_target(record.settings, record.name)(), rest)


def test_records_and_settings_import_nothing_heavy() -> None:
    code = (
        "import sys, inrbench_scenes; from inrbench.settings import load_target;"
        "records = list(inrbench_scenes.inrbench_datasets()); light = 'numpy' not in sys.modules;"
        "[load_target(r.settings, r.name) for r in records];"
        "print(light, [m for m in ('PIL', 'scipy', 'torch', 'jax', 'pandas', 'httpx', 'rich') if m in sys.modules])"
    )
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert printed.strip() == "True []"


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: record.name)
def test_every_record_leads_to_its_code(record: Plugin) -> None:
    assert issubclass(load_target(record.settings, record.name), ViewSettings)
    assert (record.gives, record.citation[0], bool(record.summary)) == (("rays",), "@", True)
    dataset = build(record)
    (part,) = dataset.spec().parts
    assert (part.domain, len(part.shape), part.coord_dim, part.channels) == ("rays", 3, 3, 3)
    about = dataset.about()
    assert isinstance(about, AboutData)
    assert about.licence
    assert about.licence_source
    assert all(file.source and not file.urls and not file.checksums for file in dataset.files)
    with pytest.raises(BadSetting, match=f"data set '{record.name}' takes nothing behind a colon; given: 'place'"):
        build(record, "place")


def test_what_takes_images_refuses_views_and_says_what_would_fit() -> None:
    with pytest.raises(Refused, match=r"fitter 'meta-sgd' takes .*, but data set 'shape-views' gives rays; fitters"):
        resolve("mwt", "shape-views")
