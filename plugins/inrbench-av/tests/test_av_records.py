"""The records of inrbench-av: cheap to list, and true."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import inrbench_av
import pytest

from inrbench.data import AboutData
from inrbench.errors import BadSetting
from inrbench.interfaces import WritingDataSet
from inrbench.plugin import Plugin
from inrbench.settings import DataSettings, load_target

RECORDS = list(inrbench_av.inrbench_datasets())


def build(record: Plugin, rest: str = "") -> Any:
    return load_target(record.target, record.name)(load_target(record.settings, record.name)(), rest)


def test_records_settings_and_specs_decode_nothing() -> None:
    code = (
        "import sys, inrbench_av; from inrbench.settings import load_target;"
        "records = list(inrbench_av.inrbench_datasets()); light = 'numpy' not in sys.modules;"
        "found = [(load_target(r.target, r.name), load_target(r.settings, r.name)(), r) for r in records];"
        "[target(settings).spec() for target, settings, r in found if not r.scheme];"
        "names = ('av', 'soundfile', 'PIL', 'matplotlib', 'torch', 'jax', 'pandas', 'httpx', 'rich');"
        "print(light, [name for name in names if name in sys.modules])"
    )
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert printed.strip() == "True []"


@pytest.mark.parametrize("record", [r for r in RECORDS if not r.scheme], ids=lambda record: record.name)
def test_every_record_leads_to_its_code(record: Plugin) -> None:
    assert issubclass(load_target(record.settings, record.name), DataSettings)
    assert (record.gives, record.citation[0], bool(record.summary), bool(record.source)) == (("grid",), "@", True, True)
    dataset = build(record)
    assert isinstance(dataset, WritingDataSet)
    assert dataset.name == record.name
    kinds = {"sound": ["audio"], "film": ["video"], "film with sound": ["video", "audio"]}
    assert [part.name for part in dataset.spec().parts] == kinds[record.summary.rpartition(": ")[2]]
    about = dataset.about()
    assert isinstance(about, AboutData)
    assert about.licence
    assert about.licence_source
    assert about.citation == record.citation
    assert about.download_bytes == sum(file.size_bytes for file in dataset.files)
    for file in dataset.files:
        assert file.source
        assert file.checksums
        assert all(url.startswith("https://") for url in file.urls)
    with pytest.raises(BadSetting, match=f"data set '{record.name}' takes nothing behind a colon; given: 'place'"):
        build(record, "place")


def test_a_file_of_ones_own_is_a_scheme() -> None:
    (record,) = [record for record in RECORDS if record.scheme]
    assert (record.name, record.uses) == ("file", ("pillow", "av", "soundfile"))
    assert isinstance(build(record, "clip.mp4"), WritingDataSet)
