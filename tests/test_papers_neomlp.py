"""The sweeps of NeoMLP's tables on neural data sets: every cell has the settings that the paper lists."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from inrbench.cells import Cell
from inrbench.requests import cells_of
from inrbench.trees import flatten

FOLDER = Path(__file__).parents[1] / "leaderboards" / "papers"
if not (FOLDER / "neomlp-table2.yaml").exists():
    pytest.skip("the sweeps are in a checkout alone", allow_module_level=True)

TABLES: Mapping[str, Any] = yaml.safe_load((FOLDER / "published.yaml").read_text())["neomlp"]["tables"]
#: The field, the fitter and the reader of each data set.
RECIPES: Mapping[str, Mapping[str, Any]] = {
    "mnist": {
        "inr.dim": 256,
        "inr.ffn_dim": 512,
        "inr.rff_dim": 512,
        "inr.hidden": 5,
        "fitter.train.batch_size": 12_288,
        "fitter.train.epochs": 20.0,
        "fitter.train.share": 1.0,
        "fitter.fit.epochs": 10.0,
        "fitter.fit.share": 1.0,
        "reader.train.weight_decay": 0.2,
        "reader.train.epochs": 500.0,
        "data.copies.count": 1,
    },
    "cifar10": {
        "inr.dim": 512,
        "inr.ffn_dim": 128,
        "inr.rff_dim": 128,
        "inr.hidden": 3,
        "fitter.train.batch_size": 16_384,
        "fitter.train.epochs": 50.0,
        "fitter.train.share": 1.0,
        "fitter.fit.epochs": 20.0,
        "fitter.fit.share": 1.0,
        "reader.train.weight_decay": 0.05,
        "reader.train.epochs": 100.0,
        "data.copies.count": 50,
        "data.validation": 0.1,
    },
    "shapenet10": {
        "inr.dim": 256,
        "inr.ffn_dim": 512,
        "inr.rff_dim": 512,
        "inr.hidden": 12,
        "fitter.train.batch_size": 32_768,
        "fitter.train.epochs": 20.0,
        "fitter.train.share": 0.1,
        "fitter.fit.epochs": 2.0,
        "fitter.fit.share": 0.2,
        "reader.train.weight_decay": 0.25,
        "reader.train.epochs": 500.0,
        "data.copies.count": 1,
    },
}
#: What all have.
SHARED = {
    "inr.heads": 4,
    "inr.layers": 3,
    "inr.sigma": 20.0,
    "inr.input_variance": 1e-3,
    "fitter.latent_variance": 1e-3,
    "fitter.lr": 5e-3,
    "fitter.fit.lr": 5e-3,
    "fitter.fit.draws": "pooled",
    "fitter.train.schedule": "constant",
    "fitter.fit.schedule": "constant",
    "reader.name": "mlp",
    "reader.width": 2048,
    "reader.depth": 3,
    "reader.dropout": 0.3,
    "reader.noise": 0.05,
    "reader.lr": 8e-3,
    "reader.train.batch_size": 256,
    "reader.train.ema": 0.999,
    "reader.mixup": 0.2,
}


def cells(table: str) -> list[Cell]:
    return [cell for cell in cells_of([str(FOLDER / f"neomlp-{table}.yaml")]) if cell.seed == 0]


def holds(cell: Cell, settings: Mapping[str, Any]) -> None:
    found = dict(flatten(cell.tree()))
    assert {key: found.get(key) for key in settings} == settings, cell.label


def test_the_cells_of_table_2_have_the_settings_that_the_paper_lists() -> None:
    found = cells("table2") + cells("table2-shapenet10")
    assert [cell.dataset for cell in found] == ["mnist", "cifar10", "shapenet10"]
    (row,) = [row for row in TABLES["table2"]["rows"] if row["method"] == "neomlp"]
    for cell in found:
        holds(cell, {**SHARED, **RECIPES[cell.dataset]})
        assert cell.published is not None
        metrics = cell.published["metrics"]
        assert metrics["accuracy"] == pytest.approx(row[cell.dataset][0] / 100)
        if cell.dataset == "shapenet10":
            assert metrics["iou"] == row["shapenet10_iou"]
        else:
            assert metrics["psnr_db"] == row[f"{cell.dataset}_psnr_db"]


@pytest.mark.parametrize(
    ("dataset", "channels", "inputs", "nodes", "latents"),
    [("mnist", 1, 2, 8, 6), ("cifar10", 3, 2, 8, 6), ("shapenet10", 1, 3, 16, 13)],
)
def test_a_field_has_the_papers_nodes(dataset: str, channels: int, inputs: int, nodes: int, latents: int) -> None:
    hidden = RECIPES[dataset]["inr.hidden"]
    assert (inputs + hidden + channels, hidden + channels) == (nodes, latents)


@pytest.mark.parametrize(("table", "train", "fit"), [("table3", {50.0}, {5.0, 10.0}), ("table4", {20.0, 50.0}, {5.0})])
def test_the_cells_on_latents_have_the_papers_latents_and_epochs(
    table: str, train: set[float], fit: set[float]
) -> None:
    found = [dict(flatten(cell.tree())) for cell in cells(table)]
    latents = {(row["latents"], row["latent_dim"]) for row in TABLES[table]["rows"]}
    seen = {
        (own["inr.hidden"] + 3, own["inr.dim"], own["fitter.train.epochs"], own["fitter.fit.epochs"]) for own in found
    }
    assert seen == {(n, d, one, other) for n, d in latents for one in train for other in fit}
    assert len(found) == len(seen) == 16
    for cell in cells(table):
        holds(cell, {**SHARED, "data.copies.count": 1, "inr.ffn_dim": 128})
        assert cell.published is not None
        assert cell.published["metrics"].keys() == {"accuracy", "psnr_db", "fit_psnr_db"}


def test_the_cells_without_features_differ_in_nothing_else() -> None:
    one, other = (dict(flatten(cell.tree())) for cell in cells("table5b"))
    assert {key for key in one if one[key] != other[key]} == {"inr.rff"}
    assert (one["inr.rff"], other["inr.rff"]) == (True, False)


def test_the_cells_of_runtimes_have_the_epochs_of_the_table() -> None:
    rows = {row["dataset"]: row for row in TABLES["table7"]["rows"] if row["method"] == "neomlp"}
    for cell in cells("table7"):
        row = rows[cell.dataset]
        holds(cell, {"fitter.train.epochs": float(row["fit_epochs"])})
        holds(cell, {"fitter.fit.epochs": float(row["finetune_epochs"])})
        assert cell.plugins["reader"] is None


def test_the_cells_of_small_latents_have_as_many_values() -> None:
    for cell, row in zip(
        cells("table8"), sorted(TABLES["table8"]["rows"], key=lambda row: row["latents"]), strict=True
    ):
        assert cell.build_fitter().facts().adapted_values == row["latents"] * row["latent_dim"]
        assert cell.published is not None
        assert cell.published["metrics"]["fit_psnr_db"] == row["fit_psnr_db"]
