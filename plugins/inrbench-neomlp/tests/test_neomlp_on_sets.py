"""NeoMLP on data sets: rows that depend on no other signal, readers of its latents, and whole cells."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from inrbench_neomlp import inrbench_methods
from inrbench_neomlp.auto_decoding import AutoDecoding
from inrbench_neomlp.field import NeoMLP
from inrbench_neomlp.fitter_settings import AutoDecodingSettings
from inrbench_neomlp.settings import NeoMLPSettings

import inrbench
from inrbench import draws
from inrbench.cell_run import CellRun
from inrbench.cells import resolve
from inrbench.domains import Grid
from inrbench.records import read_record
from inrbench.rows import lane_of
from inrbench.settings import validated
from inrbench.signals import GridSignals, PartSpec, SignalSpec

LANE = "auto-decoded, global, fit without labels"
SPEC = SignalSpec((PartSpec("grid", (7, 7), 2, 3),), num_classes=2)


def images(count: int = 9) -> GridSignals:
    return GridSignals(draws.generator(0, "colours").integers(0, 256, (count, 7, 7, 3), dtype=np.uint8))


def fitter_of(**settings: Any) -> AutoDecoding:
    field = NeoMLP(NeoMLPSettings(dim=12, ffn_dim=20, heads=3, layers=2, hidden=2, rff_dim=10, sigma=2.0), SPEC)
    tree = {"train": {"steps": 10, "batch_size": 64}, "fit": {"signal_points": 13, "shard": 4, "epochs": 4.0}}
    return AutoDecoding(validated(AutoDecodingSettings, {**tree, **settings}, "fitter"), SPEC, field)


def trained(**settings: Any) -> AutoDecoding:
    fitter = fitter_of(**settings)
    fitter.load(fitter.train(images(), images(0), CellRun(0)).shared)
    return fitter


@pytest.mark.parametrize("others", [[3], [8, 3, 1], [0, 1, 2, 3, 4], [8, 7, 6, 5, 4, 3, 2, 1, 0]])
def test_a_signals_latents_are_its_own_bit_for_bit(double: ModuleType, others: list[int]) -> None:
    fitter = trained()
    whole = double.fitted(fitter, images())
    part = double.fitted(fitter, images().take(np.array(others)))
    np.testing.assert_array_equal(part.arrays["latent"], whole.arrays["latent"][others])


def test_a_row_holds_the_hidden_tokens_then_the_output_tokens(double: ModuleType) -> None:
    fitter = trained()
    assert fitter.layout.shapes == {"latent": (5, 12)}
    rows = double.fitted(fitter, images(2))
    split = fitter._split(torch.as_tensor(rows.arrays["latent"]))
    assert {name: tuple(array.shape) for name, array in split.items()} == {"hidden": (2, 2, 12), "output": (2, 3, 12)}
    np.testing.assert_array_equal(split["output"].numpy(), rows.arrays["latent"][:, 2:])
    # the output tokens carry the channels: exchanged, so are the channels
    swapped = rows.arrays["latent"][:, [0, 1, 4, 3, 2]]
    given = type(rows)(rows.layout, {"latent": swapped}, rows.ids, rows.copies)
    one, other = (np.concatenate(list(fitter.query(each, Grid.of(7, 7), CellRun(0)))) for each in (rows, given))
    np.testing.assert_allclose(other, one[..., ::-1], rtol=0, atol=1e-5)


def test_training_learns_the_backbone_and_the_count_is_without_latents() -> None:
    fitter = fitter_of()
    start = fitter.field.init(torch.Generator().manual_seed(0))
    whole = sum(array.numel() for array in start.values())
    assert fitter.facts().parameters == whole - 5 * 12
    assert fitter.facts().adapted_values == 5 * 12


@pytest.mark.parametrize(
    ("dataset", "fitter", "reader", "decay"),
    [("mnist", 1_708_033, 7_364_618, 0.2), ("cifar10", 3_609_985, 10_510_346, 0.05)],
)
def test_the_methods_parts_are_of_these_sizes(dataset: str, fitter: int, reader: int, decay: float) -> None:
    cell = resolve("neomlp", dataset)
    built = cell.build()
    assert built.reader is not None
    assert (built.fitter.facts().parameters, built.reader.facts().parameters) == (fitter, reader)
    assert built.fitter.facts().pooled is True  # as published
    assert cell.tree()["reader"]["train"]["weight_decay"] == decay
    assert resolve("neomlp", dataset, profile="laptop").build_fitter().facts().pooled is False


@pytest.mark.parametrize("profile", ["paper", "laptop", "smoke"])
def test_a_clip_has_its_own_fitter_and_no_reader_in_every_profile(profile: str) -> None:
    (method,) = inrbench_methods()
    for name in ("bach", "bikes", "bigbuckbunny", "file"):
        trees = [method.profiles_for_dataset.get(profile, {}).get(name, {}), method.for_dataset[name]]
        assert all(tree["fitter"]["name"] == "gradient-descent" for tree in trees if tree)
        assert all(tree["reader"] is None for tree in trees if tree)
        assert profile == "paper" or trees[0]


@pytest.mark.cells
@pytest.mark.parametrize(
    ("settings", "lane"),
    [
        ({}, "auto-decoded, global, fit without labels"),
        (
            {"fitter": {"fit": {"draws": "pooled", "batch_size": 256}}},
            "auto-decoded, global, fit without labels, pooled draws",
        ),
    ],
)
def test_a_whole_cell_has_three_metrics_and_its_lane(
    settings: dict[str, Any], lane: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INRBENCH_CACHE", str(tmp_path / "cache"))
    for _ in range(2):  # the second takes up what the first trained, what it measured among it
        inrbench.run("neomlp+digits", profile="smoke", settings=settings, records=tmp_path, threads=1)
        (path,) = tmp_path.glob("neomlp*.json")
        record = read_record(path)
        assert record["status"] == "ok"
        assert lane_of(record) == lane
        assert 3.0 < record["metrics"]["fit_psnr_db"] < 40.0
        assert 3.0 < record["metrics"]["psnr_db"] < 40.0
        assert 0.0 <= record["metrics"]["accuracy"] <= 1.0
        path.unlink()


@pytest.mark.cells
@pytest.mark.parametrize("reader", ["knn", "linear-probe", "latent-mlp", "latent-transformer"])
def test_readers_of_latents_read_nodes(reader: str, tmp_path: Path) -> None:
    more = {
        "latent-mlp": {"width": 8, "depth": 1},
        "latent-transformer": {"width": 8, "blocks": 1, "heads": 2, "token_size": 8},
    }
    settings = {"reader": {"name": reader, **more.get(reader, {})}}
    if reader in more:
        settings["reader"]["train"] = {"steps": 5, "batch_size": 16}
    table = inrbench.run("neomlp+digits", profile="smoke", settings=settings, records=tmp_path, threads=1)
    assert table.iloc[0]["status"] == "ok"
    assert 0.0 <= table.iloc[0]["metrics.accuracy"] <= 1.0
