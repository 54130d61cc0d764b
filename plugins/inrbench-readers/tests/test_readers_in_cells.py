"""Every reader on every kind that it reads: as they are listed, on rows of each kind, and in whole cells."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import inrbench
from inrbench import draws
from inrbench.cell_run import CellRun
from inrbench.interfaces import Classifier
from inrbench.plugin import Plugin
from inrbench.registry import registry
from inrbench.representations import Layout, NeuralDataSet, Representations
from inrbench.settings import load_target
from inrbench.signals import PartSpec, SignalSpec

SPEC = SignalSpec((PartSpec("grid", (8, 8), 2, 1),), num_classes=2)
LAYOUTS = {
    "latent": Layout("latent", {"latent": (32,)}),
    "latent-grid": Layout("latent-grid", {"latent": (4, 4, 2)}),
    "samples": Layout("samples", {"values": (8, 8, 1)}),
    "weights": Layout(
        "weights",
        {
            "layers.0.weight": (6, 2),
            "layers.0.bias": (6,),
            "layers.1.weight": (6, 6),
            "layers.1.bias": (6,),
            "layers.2.weight": (6, 6),
            "layers.2.bias": (6,),
        },
    ),
    "tokens": Layout("tokens", {"tokens": (5, 3)}),
}
#: What makes a reader small enough for a test, where its defaults are not.
SMALL: dict[str, dict[str, Any]] = {
    "latent-mlp": {"width": 8, "depth": 1},
    "latent-transformer": {"width": 8, "blocks": 1, "heads": 2},
    "mlp": {"width": 8},
    "nfn-np": {"channels": 2, "layers": 1},
    "nfn-hnp": {"channels": 2, "layers": 1},
    "linear-probe": {},
    "knn": {},
}


def listed() -> list[tuple[Plugin, str]]:
    readers = [plugin for plugin in registry().all("reader") if plugin.target.startswith("inrbench_readers.")]
    return [(plugin, kind) for plugin in readers for kind in LAYOUTS if {kind, "*"} & set(plugin.takes)]


@pytest.mark.parametrize(("plugin", "kind"), listed(), ids=lambda value: getattr(value, "name", value))
def test_each_reader_reads_every_kind_that_it_lists(plugin: Plugin, kind: str) -> None:
    layout = LAYOUTS[kind]
    rng = draws.generator(0, "rows")
    arrays = {n: rng.standard_normal((24, *shape)).astype(np.float32) for n, shape in layout.shapes.items()}
    rows, labels = Representations(layout, arrays, np.arange(24), np.zeros(24, np.int64)), np.arange(24) % 2
    training = {"train": {"steps": 2, "batch_size": 8}} if plugin.backend == "torch" else {}
    settings = load_target(plugin.settings, plugin.name).model_validate({**SMALL[plugin.name], **training})
    reader = load_target(plugin.target, plugin.name)(settings, layout, SPEC)
    assert isinstance(reader, Classifier)
    assert reader.refuses(layout) is None
    splits = {"train": (rows.take(slice(0, 16)), labels[:16]), "validation": (rows.take(slice(16, 20)), labels[16:20])}
    state = reader.train(NeuralDataSet({}, splits, {}), CellRun(0))
    assert all(isinstance(array, np.ndarray) for array in state.values())
    reader.load(state)
    found = reader.predict(rows, CellRun(0), tap=reader.stages)
    assert found["logits"].shape == (24, 2)
    assert set(found) == {*reader.stages}
    assert all(len(array) == 24 and np.isfinite(array).all() for array in found.values())


@pytest.mark.cells
@pytest.mark.parametrize(
    ("cell", "reader", "joint"),
    [
        ("pixels+digits", "latent-mlp", False),
        ("pixels+digits", "latent-transformer", False),
        ("pixels+digits", "linear-probe", False),
        ("pixels+digits", "knn", False),
        ("wt+digits", "knn", False),
        ("wt+digits", "linear-probe", False),
        ("mwt+digits", "latent-mlp", True),
    ],
)
def test_a_cell_with_it_is_run_and_recorded(
    cell: str, reader: str, joint: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("inrbench.runner.num_threads", lambda asked=None: 1)
    training = {"train": {"steps": 5, "batch_size": 8}} if reader.startswith("latent") else {}
    settings: dict[str, Any] = {"reader": {"name": reader, **SMALL[reader], **training}, "data": {"validation": 0.25}}
    if cell != "pixels+digits" and not joint:
        settings["joint"] = None
    frame = inrbench.run(cell, profile="smoke", settings=settings, device="cpu", records=tmp_path, quiet=True)
    assert frame["status"].tolist() == ["ok"]
    assert 0.0 <= frame["metrics.accuracy"].iloc[0] <= 1.0
