"""The records of inrbench-images: cheap to list, and true."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import inrbench_images
import numpy as np
import pytest

from inrbench.cells import build_dataset
from inrbench.data import AboutData, open_dataset
from inrbench.errors import BadSetting
from inrbench.plugin import Plugin
from inrbench.registry import registry
from inrbench.settings import DataSettings, load_target

RECORDS = list(inrbench_images.inrbench_datasets())


def build(record: Plugin, rest: str = "") -> object:
    return load_target(record.target, record.name)(load_target(record.settings, record.name)(), rest)


def test_listing_the_records_imports_nothing_heavy() -> None:
    code = (
        "import sys, inrbench_images; list(inrbench_images.inrbench_datasets()); import inrbench.data;"
        "print([m for m in ('numpy', 'PIL', 'sklearn', 'torch', 'jax', 'pandas', 'httpx', 'rich') if m in sys.modules])"
    )
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert printed.strip() == "[]"


def test_settings_are_read_without_decoders_and_frameworks() -> None:
    code = (
        "import sys, inrbench_images; from inrbench.settings import load_target;"
        "[load_target(r.settings, r.name) for r in inrbench_images.inrbench_datasets()];"
        "print([m for m in ('PIL', 'sklearn', 'torch', 'jax', 'pandas', 'httpx', 'rich') if m in sys.modules])"
    )
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert printed.strip() == "[]"


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: record.name)
def test_every_record_leads_to_its_code(record: Plugin) -> None:
    assert issubclass(load_target(record.settings, record.name), DataSettings)
    assert callable(load_target(record.target, record.name))
    assert record.summary
    if not record.scheme:
        assert record.source
        assert record.citation.startswith("@")


@pytest.mark.parametrize("record", [r for r in RECORDS if not r.scheme], ids=lambda record: record.name)
def test_the_spec_is_known_without_the_data(record: Plugin) -> None:
    dataset = build(record)
    spec = dataset.spec()  # type: ignore[attr-defined]
    assert len(spec.class_names) == len(set(spec.class_names))
    assert len(spec.class_names) in (spec.num_classes, 0)  # none where the names are in the data alone
    assert spec.num_classes is None or spec.num_classes > 1
    assert set(spec.sizes) == {"train", "test"}
    assert np.prod(spec.parts[0].shape) > 0
    about = dataset.about()  # type: ignore[attr-defined]
    assert isinstance(about, AboutData)
    assert about.licence
    assert about.homepage.startswith("http")
    for file in dataset.files:  # type: ignore[attr-defined]
        assert file.source
        assert file.checksums or not file.urls
        assert file.size_bytes or not file.urls
        assert all((part.checksums or not file.urls) and part.source for part in file.read_files())
        assert all(url.startswith(("https://", "http://fashion-mnist.s3-website")) for url in file.urls)


@pytest.mark.parametrize("record", [r for r in RECORDS if not r.scheme], ids=lambda record: record.name)
def test_a_name_that_takes_no_place_refuses_one(record: Plugin) -> None:
    with pytest.raises(BadSetting, match="takes nothing behind a colon; given: 'place'"):
        build(record, "place")


@pytest.mark.parametrize("name", ["mnist", "cifar10", "digits"])
def test_no_signal_of_test_has_the_id_of_one_of_train(name: str, real_data_root: Path) -> None:
    plugin = registry().find("dataset", name)
    dataset = build_dataset(plugin, name, load_target(plugin.settings, name)())
    splits = open_dataset(name, dataset, real_data_root, unofficial=True, download=False).splits
    together = np.concatenate([splits["train"].ids, splits["test"].ids])
    assert len(np.unique(together)) == len(together)
