"""The sweeps of the papers' tables: every row resolves, has its published values, and the paper's parameter counts."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from inrbench.cells import Cell
from inrbench.published import SCALES, load_table
from inrbench.requests import cells_of
from inrbench.sweeps import load_sweep
from inrbench.trees import flatten

FOLDER = Path(__file__).parents[1] / "leaderboards" / "papers"
SWEEPS = sorted(path for path in FOLDER.glob("*.yaml") if path.stem != "published")
if not SWEEPS:
    pytest.skip("the sweeps are in a checkout alone", allow_module_level=True)

MWT = [path for path in SWEEPS if path.stem.startswith("mwt-")]
#: Figures that show some rows of a table with a sweep of its own, what no table prints, a table in two sweeps, and
#: those of runtimes.
OTHERS = (
    *("mwt-figure4", "mwt-figure5", "spatial-functa-coordinates"),
    *("neomlp-table2", "neomlp-table2-shapenet10", "neomlp-table6", "neomlp-table7"),
)
WHOLE = [path for path in SWEEPS if path.stem not in OTHERS]
PUBLISHED = yaml.safe_load((FOLDER / "published.yaml").read_text())
EXACT: Mapping[str, int] = PUBLISHED["mwt"]["exact_parameters"]
SPATIAL: Mapping[str, Any] = PUBLISHED["spatial-functa"]["tables"]
#: What a row of an ablation changes, and the entry that has its count.
BY_AXIS = {
    "k": ("field_k{}", "reader_default"),
    "siren_depth": ("field_depth{}", "reader_depth{}"),
    "siren_width": ("field_width{}", "reader_width{}"),
    "reader_blocks": ("field_default", "reader_blocks{}"),
}
#: Columns with the results of a row.
PRINTED = (
    *(
        "accuracy",
        "accuracy_aug",
        "psnr_db",
        "psnr_db_aug",
        "mnist",
        "fashion-mnist",
        "cifar10",
        "celeba",
        "imagenette",
    ),
    *("bach", "bikes", "bigbuckbunny_audio", "bigbuckbunny_video"),
    *("chairs", "cars", "lamps", "views1", "views1_tto", "views2", "views2_tto"),
    *("fit_psnr_db", "test_psnr_db_ft5", "accuracy_ft5", "test_psnr_db_ft10", "accuracy_ft10"),
    *("fit_psnr_db_fit20", "test_psnr_db_fit20", "accuracy_fit20"),
    *("fit_psnr_db_fit50", "test_psnr_db_fit50", "accuracy_fit50"),
)
PER_BLOCK = 395_520  # of width 256; the paper prints no sum for 20 of them


def entry(name: str) -> int:
    """An exact count; a value that has no entry of its own is the default one."""
    return EXACT.get(name, EXACT[f"{name.partition('_')[0]}_default"])


def expected(table: str, cell: Cell, row: Mapping[str, Any]) -> tuple[int, int]:
    """(field with its rates, reader) of a cell with ``row`` of ``table``."""
    wide = cell.method.name == "mwt-l"
    width = 256 if wide else 128
    if table in ("mwt.table4", "mwt.table6", "mwt.table7"):
        if row["axis"] == "shared_rates" and row["value"]:
            return EXACT["field_k1"], EXACT["reader_default"]
        field, reader = BY_AXIS.get(row["axis"], ("field_default", "reader_default"))
        return entry(field.format(row["value"])), entry(reader.format(row["value"]))
    if table == "mwt.table2":
        small = EXACT["field_k4"], EXACT["reader_default"]
        return (EXACT["field_width256_k4"], EXACT["reader_width256"]) if wide else small
    if table == "mwt.table3":
        return EXACT["field_width256_k4"], EXACT["reader_width256_1000classes"]
    if table == "mwt.table5":
        readers = {"wt": "reader_default", "nfn-np": "nfn_np", "nfn-hnp": "nfn_hnp"}
        return EXACT["field_default"], EXACT[readers[row["reader"]]]
    if table == "mwt.table8":
        return EXACT["field_k1"], EXACT["reader_default"]  # one row of rates, as with one step
    if table == "mwt.table1":
        fewer = 0 if cell.dataset == "cifar10" else 2 * (width + 2)  # one channel: weights, bias and scale of two less
        big = EXACT["field_width256"] - fewer, EXACT["reader_width256"]
        return big if wide else (EXACT["field_default"] - fewer, EXACT["reader_default"])
    if table == "mwt.figure3":
        more = 5 * width  # a third coordinate, and a rate for it in each of 4 steps
        classes = 30 * (width + 1)
        return EXACT["field_width256_k4"] - 2 * (width + 2) + more, EXACT["reader_width256"] + classes
    if table == "mwt.table1_with_augmentation_text":
        big = EXACT["field_width256"], EXACT["reader_width256"] + 10 * PER_BLOCK
        return big if wide else (EXACT["field_default"], EXACT["reader_blocks20"])
    raise AssertionError(f"no count is known for {table}")


def printed(count: int) -> str:
    """As the paper prints: thousands are cut off, millions rounded to one digit."""
    return f"{count // 1000}K" if count < 1_000_000 else f"{count / 1e6:.1f}M"


BUILT: dict[str, tuple[int, int]] = {}


def counted(cell: Cell) -> tuple[int, int]:
    """The parameters of the cell's field and reader; what differs in nothing that counts is built once."""
    parts = {part: values for part, values in cell.tree().items() if part in ("inr", "fitter", "reader")}
    for values in parts.values():
        values.pop("train", None)
    same = str((cell.dataset, parts))
    if same not in BUILT:
        made = cell.build()
        assert made.reader is not None
        BUILT[same] = made.fitter.facts().parameters, made.reader.facts().parameters
    return BUILT[same]


@cache
def cells_in(path: Path) -> list[Cell]:
    return cells_of([str(path)])


@pytest.mark.parametrize("path", SWEEPS, ids=lambda path: path.stem)
def test_a_sweep_is_of_the_papers_profile_and_says_how_many_cells_it_has(path: Path) -> None:
    sweep = load_sweep(path)
    assert (sweep.profile, bool(sweep.title)) == ("paper", True)
    text = path.read_text()
    assert f"inrbench run leaderboards/papers/{path.name} " in text
    counts = re.findall(r"^# (\d+) cells?[,;.]", text, re.MULTILINE)
    assert counts == [str(len(cells_in(path)))]


LARGE = {"fitter.steps": 4, "fitter.train.epochs": 40.0, "inr.omega_0": 30.0, "data.size": 320}
COPIES = {"pad": 40, "rotate": 30.0, "crop": "centre", "resized_crop": 0.8, "flip": True}
COPIED = {f"fitter.train.augmentation.{key}": value for key, value in COPIES.items()}
SMALL = {"fitter.train.epochs": 10.0, "inr.omega_0": 10.0, "fitter.train.batch_size": 16, "fitter.lr": 1e-4}
HELD_OUT = {**SMALL, "data.validation": 0.2, "data.scored": "validation", "fitter.train.augmentation.pad": 0}


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("table1", {**SMALL, "fitter.steps": 6, "data.scored": "test", "fitter.train.augmentation.pad": 0}),
        ("table1-augmented", {"reader.blocks": 20, "fitter.train.epochs": 40.0, "fitter.train.augmentation.pad": 4}),
        ("table2", LARGE),
        ("table3", {**LARGE, **COPIED, "inr.width": 256, "fitter.subsample": 0.01}),
        ("table4", HELD_OUT),
        ("table5", {**SMALL, "fitter.train.augmentation.pad": 4, "fitter.train.augmentation.flip": True}),
        ("table6", {**HELD_OUT, "joint.share": 0.0}),
        ("table7", {**HELD_OUT, "joint": None, "reader.train.epochs": 10.0}),
        ("table8", {**SMALL, "fitter.steps": 6, "fitter.rates": "shared", "data.scored": "test"}),
        (
            "figure3",
            {"fitter.steps": 4, "fitter.train.epochs": 150.0, "inr.width": 256}
            | {"fitter.train.augmentation.scale": 0.1, "fitter.train.augmentation.jitter": 0.01},
        ),
        ("figure4", HELD_OUT),
        ("figure5", {**LARGE, **COPIED, "inr.width": 256, "fitter.subsample": 0.1}),
    ],
)
def test_every_cell_has_the_settings_of_the_paper(name: str, settings: dict[str, Any]) -> None:
    for cell in cells_in(FOLDER / f"mwt-{name}.yaml"):
        own = dict(flatten(cell.tree()))
        assert {key: own.get(key) for key in settings} == settings, cell.label


@pytest.mark.parametrize("path", MWT, ids=lambda path: path.stem)
def test_every_row_has_the_papers_parameter_counts(path: Path) -> None:
    for cell in cells_in(path):
        if cell.published is None or cell.seed:
            continue
        table = cell.published["table"]
        row = load_table(FOLDER, table).row(cell.published["row"])
        count = expected(table, cell, row)
        assert counted(cell) == count, (cell.label, row)
        for ours, column in zip(count, ("field_params", "reader_params"), strict=True):
            assert row.get(column, printed(ours)) == printed(ours), (cell.label, row)


@pytest.mark.parametrize("path", WHOLE, ids=lambda path: path.stem)
def test_every_value_of_the_table_stands_beside_one_row(path: Path) -> None:
    sweep = load_sweep(path)
    table = load_table(FOLDER, sweep.published)
    shown = [cell.published for cell in cells_in(path) if cell.seed == 0 and cell.published is not None]
    values: dict[str, set[float]] = {str(table.row(one["row"])): set() for one in shown}
    for one in shown:
        metrics = one["metrics"]
        ours = {round(SCALES[metric] * metrics[metric], 2) for metric in SCALES if metric in metrics}
        assert path.stem == "mwt-table1-augmented" or not ours <= values[str(table.row(one["row"]))], one
        values[str(table.row(one["row"]))] |= ours
    others = [str(table.row(wanted)) for wanted in sweep.published_only]
    assert sorted([*values, *others]) == sorted(map(str, table.rows))
    for row in table.rows:
        if str(row) in values:
            prints = [row[column] for column in PRINTED if row.get(column) is not None]
            assert values[str(row)] == {one[0] if isinstance(one, list) else one for one in prints}


# ------------------------------------------------------------------ spatial functa


def spatial(name: str) -> list[Cell]:
    return [cell for cell in cells_in(FOLDER / f"spatial-functa-{name}.yaml") if cell.seed == 0]


def own(cell: Cell) -> dict[str, Any]:
    return dict(flatten(cell.tree()))


def holds(cell: Cell, settings: Mapping[str, Any]) -> None:
    found = own(cell)
    assert {key: found.get(key) for key in settings} == settings, cell.label


FEW = {"inr.depth": 6, "fitter.train.steps": 200_000}
MANY = {"inr.depth": 10, "fitter.train.steps": 500_000}


def test_spatial_functas_cells_have_the_settings_that_the_paper_lists() -> None:
    for cell in spatial("table2"):
        assert cell.published is not None
        wanted = cell.published["row"]
        (field,) = [row for row in SPATIAL["table4"]["rows"] if row | wanted == row]
        (reader,) = [row for row in SPATIAL["table5"]["rows"] if row | wanted == row]
        cells, _, channels = wanted["latent"]
        holds(cell, {"inr.cells": cells, "inr.latent_channels": channels, "inr.interpolation": wanted["interpolation"]})
        holds(cell, {"inr.width": field["width"], "inr.depth": field["depth"], "fitter.lr": field["outer_lr"]})
        holds(cell, {"inr.omega_0": 10.0, "fitter.train.batch_size": 128, **(FEW if cells == 8 else MANY)})
        named = {key: reader[key] for key in ("normalisation", "width", "blocks", "lr", "dropout")}
        holds(cell, {f"reader.{key}": value for key, value in named.items()})
        holds(cell, {"reader.feedforward": reader["ffw_width"], "reader.train.batch_size": reader["batch"]})
        holds(cell, {"reader.heads": 16, "reader.label_smoothing": 0.1, "reader.train.weight_decay": 0.1})
        holds(cell, {"reader.train.steps": 100_000, "data.copies.count": 50, "fitter.rate_scale": cells**2 / 2})


def test_functas_cells_have_the_settings_that_the_paper_lists() -> None:
    said = SPATIAL["text_settings"]["functa_cifar10"]
    *mlps, transformer = spatial("table1")
    assert [own(cell)["inr.latent_dim"] for cell in mlps] == [256, 512, 1024]
    for cell, best in (*((mlp, said["mlp_best"]) for mlp in mlps), (transformer, said["transformer_best"])):
        holds(cell, {"inr.width": said["width"], "inr.depth": said["depth"], "inr.omega_0": said["omega"]})
        holds(cell, {"fitter.lr": said["outer_lr"], "fitter.train.batch_size": said["batch"]})
        named = {key: best[key] for key in ("normalisation", "lr", "label_smoothing", "dropout", "width")}
        holds(cell, {f"reader.{key}": value for key, value in named.items()})
        depth = "reader.depth" if cell is not transformer else "reader.blocks"
        holds(cell, {depth: best["depth"], "reader.train.weight_decay": best["weight_decay"]})
        holds(cell, {"reader.train.steps": said["reader_steps"], "reader.train.batch_size": said["reader_batch"]})
        holds(cell, {"reader.train.ema": said["ema"], "data.copies.count": said["views"]})
    holds(transformer, {"reader.name": "latent-transformer", "inr.latent_dim": 256, "reader.feedforward": 512})


def test_the_cells_on_imagenet_have_the_settings_that_the_paper_lists() -> None:
    said, reader = SPATIAL["text_settings"], SPATIAL["text_settings"]["imagenet_classifier"]
    for cell in spatial("table3"):
        assert cell.published is not None
        cells, _, channels = cell.published["row"]["input"]
        best = "generation" if cells == 32 else "classification"
        field = said["imagenet_meta"][f"best_{best}"]
        holds(cell, {"inr.cells": cells, "inr.latent_channels": channels, "inr.interpolation": "nearest"})
        holds(cell, {"inr.kernel": int(cell.published["row"].get("conv", "1x1")[0]), "data.size": 256})
        holds(cell, {"inr.width": field["width"], "inr.depth": field["depth"], "inr.omega_0": float(field["omega"])})
        holds(cell, {"fitter.lr": field["outer_lr"], "fitter.train.steps": 500_000, "fitter.train.batch_size": 16})
        holds(cell, {"fitter.rate_scale": cells**2 / 2})
        if cells == 32:
            assert cell.plugins["reader"] is None
            continue
        named = {key: reader[key] for key in ("normalisation", "lr", "label_smoothing", "dropout", "width", "blocks")}
        holds(cell, {f"reader.{key}": value for key, value in named.items()})
        holds(cell, {"reader.train.epochs": float(reader["epochs"]), "reader.train.batch_size": reader["batch"]})
        holds(cell, {"reader.feedforward": reader["ffw_width"], "reader.heads": 16, "reader.train.weight_decay": 0.2})


def test_the_coordinates_are_all_that_a_pair_of_cells_differs_in() -> None:
    table = {own(cell)["inr.interpolation"]: own(cell) for cell in spatial("table2") if own(cell)["inr.cells"] == 8}
    found = []
    for cell in spatial("coordinates"):
        settings = own(cell)
        found.append((settings["inr.interpolation"], settings["inr.coordinates"]))
        paper = table[settings["inr.interpolation"]]
        assert {key for key in paper if paper[key] != settings[key]} == {"inr.coordinates"}
    assert found == [("nearest", "cell"), ("nearest", "global"), ("linear", "binary"), ("linear", "cell")]


@pytest.mark.parametrize("name", ["table1", "table2", "coordinates"])
def test_a_latent_of_the_paper_has_as_many_values_as_it_says(name: str) -> None:
    for cell in spatial(name):
        settings = own(cell)
        grid = settings["inr.cells"] ** 2 * settings["inr.latent_channels"]
        wanted = grid if settings["inr.latent"] == "spatial" else settings["inr.latent_dim"]
        assert cell.build().fitter.facts().adapted_values == wanted, cell.label


# ------------------------------------------------------------------ Trans-INR


def trans_inr(name: str) -> list[Cell]:
    return cells_in(FOLDER / f"trans-inr-{name}.yaml")


def test_trans_inrs_cells_on_images_have_the_papers_settings() -> None:
    for cell in (*trans_inr("table1"), *trans_inr("table2")):
        if cell.method.name != "trans-inr":
            continue
        epochs = {"celeba": 30.0, "imagenette": 400.0}[cell.dataset]
        holds(cell, {"data.size": 178, "fitter.train.epochs": epochs, "fitter.train.batch_size": 16, "fitter.lr": 1e-4})
        holds(cell, {"fitter.train.schedule": "step", "fitter.biases": "learned", "fitter.grouping": "modulo"})
    groups = [own(cell)["fitter.groups"] for cell in trans_inr("table2")]
    assert groups == [row["groups"] for row in PUBLISHED["trans-inr"]["tables"]["table2"]["rows"]]


def test_trans_inrs_field_has_the_parameters_of_the_paper_at_every_number_of_groups() -> None:
    for cell in trans_inr("table2"):
        tokens = 4 * own(cell)["fitter.groups"] + min(3, own(cell)["fitter.groups"])
        assert cell.build_fitter().facts().parameters == 44_462_851 + (tokens - 259) * 768


def test_trans_inrs_cells_on_views_have_the_papers_settings() -> None:
    for cell in (*trans_inr("table3"), *trans_inr("table4")):
        if cell.method.name == "trans-inr-nvs":
            holds(cell, {"data.size": 128, "data.episodes": 100, "fitter.groups": 32, "fitter.rays": 128})
            holds(cell, {"fitter.train.epochs": 1000.0, "fitter.train.batch_size": 32, "fitter.test_lr": 1e-4})
    for cell in trans_inr("table4"):
        assert cell.published is not None
        settings = own(cell)
        views, steps = settings["data.support_views"], settings["fitter.test_steps"]
        assert settings["fitter.support_views"] == views
        row = load_table(FOLDER, "trans-inr.table4").row(cell.published["row"])
        assert cell.published["metrics"]["psnr_db"] == row[f"views{views}" + ("_tto" if steps == 100 else "")]
        assert steps in (0, 100)
