"""Whole cells on views, by the command line: run, planned, verified, drawn, and kept as a neural data set."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from inrbench_scenes.shape_views import ShapeViews, ShapeViewsSettings
from PIL import Image

from inrbench import metrics
from inrbench.records import read_record, vectors_of

pytestmark = pytest.mark.cells

SMALL: dict[str, Any] = {"train_objects": 6, "test_objects": 5, "size": 8, "views": 6, "episodes": 3, "query_views": 2}
SETS = [word for key, value in SMALL.items() for word in ("--set", f"data.{key}={value}")]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder to run in, and the package of the mean colour beside the installed ones."""
    folder = tmp_path_factory.mktemp("views")
    shutil.copytree(Path(__file__).parent / "mean_colour", folder / "plugin")
    named = folder / "plugin" / "inrbench_mean_colour-0.1.0.dist-info"
    named.mkdir()
    (named / "METADATA").write_text("Metadata-Version: 2.1\nName: inrbench-mean-colour\nVersion: 0.1.0\n")
    (named / "entry_points.txt").write_text("[inrbench]\nmean_colour = inrbench_mean_colour\n")
    return folder


def inrbench(place: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(place / "plugin"), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": path, "INRBENCH_CACHE": str(place / "cache"), "COLUMNS": "200"}
    command = [sys.executable, "-m", "inrbench", *arguments]
    return subprocess.run(command, cwd=place, env=environment, text=True, capture_output=True, timeout=120)


@pytest.fixture(scope="module")
def cell(place: Path) -> dict[str, Any]:
    done = inrbench(place, "run", "mean-colour+shape-views", "--profile", "smoke", *SETS)
    assert done.returncode == 0, done.stderr
    (path,) = (place / "records").glob("*.json")
    return read_record(path)


def test_each_image_of_each_episode_is_scored(place: Path, cell: dict[str, Any]) -> None:
    arrays = vectors_of(place / "records", cell)
    scored = ShapeViews(ShapeViewsSettings(**SMALL)).load(None)["test"]
    errors = []
    for i in range(15):
        mean = scored.observed(i)[0].unit_values().mean((0, 1, 2))
        errors.append([((image - mean) ** 2).mean() for image in scored.scored(i)[0].unit_values()])
    np.testing.assert_allclose(arrays["mse"], errors, rtol=1e-4)
    assert arrays["ids"].tolist() == scored.ids.tolist()
    decibels = (-10 * np.log10(errors)).mean(axis=1).reshape(5, 3).mean(axis=1)
    assert cell["metrics"]["psnr_db"] == pytest.approx(decibels.mean(), abs=1e-3)
    low, high = metrics.mean_interval(decibels)  # over objects, not over episodes
    assert (cell["metrics"]["psnr_db_low"], cell["metrics"]["psnr_db_high"]) == pytest.approx((low, high), abs=1e-3)
    facts = cell["facts"]
    assert (facts["train_signals"], facts["scored_signals"], facts["scored_episodes"]) == (6, 5, 15)


def test_a_cell_on_views_verifies(place: Path, cell: dict[str, Any]) -> None:
    done = inrbench(place, "verify", cell["cell"], "--json")
    assert done.returncode == 0, done.stderr
    (document,) = json.loads(done.stdout)
    again = [check for check in document["checks"] if check["what"].startswith("root of squared error")]
    assert len(again) == 1
    assert again[0]["what"].endswith("(the furthest of 16)")  # eight episodes of two views are kept
    assert again[0]["holds"]
    sample = place / "cache" / "stages" / cell["keys"]["score"] / "sample.safetensors"
    from inrbench.arrays import load_arrays, save_arrays

    arrays, metadata = load_arrays(sample)
    try:
        changed = {**arrays, "rows/colour": arrays["rows/colour"] + np.float32(0.01)}
        save_arrays(sample, changed, metadata)
        assert inrbench(place, "verify", cell["cell"]).returncode == 1
    finally:
        save_arrays(sample, arrays, metadata)


@pytest.mark.parametrize(("options", "times"), [([], 1), (["--size", "2x"], 2)])
def test_held_out_views_are_drawn_above_the_rendered_ones(
    place: Path, cell: dict[str, Any], options: list[str], times: int
) -> None:
    done = inrbench(place, "render", cell["cell"], "-o", "views.png", *options)
    assert done.returncode == 0, done.stderr
    picture = Image.open(place / "views.png")
    pixels = np.asarray(picture)
    assert pixels.shape == (2 * 68, 16 * 68, 3)  # 64 pixels and a gap on either side
    scored = ShapeViews(ShapeViewsSettings(**SMALL)).load(None)["test"]
    for column, (entry, view) in enumerate([(0, 0), (0, 1), (3, 0)]):
        column = column if entry == 0 else 6
        left = 68 * column + 2
        upper = pixels[2:66, left : left + 64]
        np.testing.assert_array_equal(upper[::8, ::8], scored.scored(entry)[0].values[view])
        lower = pixels[70:134, left : left + 64].reshape(-1, 3)
        mean = scored.observed(entry)[0].values.mean((0, 1, 2))
        np.testing.assert_allclose(lower, np.broadcast_to(mean, lower.shape), atol=0.51)
    arrays = vectors_of(place / "records", cell)
    expected = metrics.psnr_db(arrays["mse"][:8]).mean()
    assert f"PSNR {expected:.2f} dB" in picture.info["Description"]


def test_steps_are_not_drawn_for_views(place: Path, cell: dict[str, Any]) -> None:
    done = inrbench(place, "render", cell["cell"], "--steps")
    assert done.returncode == 2
    assert "--steps is for images, not for views" in done.stderr


def test_more_support_views_keep_the_training_and_are_scored_on_the_same_images(
    place: Path, cell: dict[str, Any]
) -> None:
    two = [*SETS, "--set", "data.support_views=2", "--records", "two"]
    done = inrbench(place, "run", "mean-colour+shape-views", "--profile", "smoke", *two)
    assert done.returncode == 0, done.stderr
    (path,) = (place / "two").glob("*.json")
    record = read_record(path)
    assert record["keys"]["train"] == cell["keys"]["train"]
    assert record["keys"]["fit"] != cell["keys"]["fit"]
    assert record["facts"]["scored_checksum"] == cell["facts"]["scored_checksum"]
    assert record["metrics"]["psnr_db"] != cell["metrics"]["psnr_db"]


def test_views_become_a_neural_data_set_that_a_reader_reads(place: Path) -> None:
    classes = [*SETS, "--set", "data.category=all", "--set", "data.train_objects=30", "--set", "data.validation=0.2"]
    done = inrbench(place, "fit", "mean-colour+shape-views", "--profile", "smoke", *classes, "-o", "colours")
    assert done.returncode == 0, done.stderr
    for scored, entries in (("test", 15), ("validation", 18)):
        read = ("read", "knn", "colours", "--scored", scored, "--records", scored)
        done = inrbench(place, *read)
        assert done.returncode == 0, done.stderr
        (path,) = (place / scored).glob("*.json")
        record = read_record(path)
        assert vectors_of(place / scored, record)["mse"].shape == (entries, 2)
        assert record["facts"]["scored_signals"] == entries // 3
        assert record["facts"]["scored_episodes"] == entries
        assert 0.0 <= record["metrics"]["accuracy"] <= 1.0

    for split in ("test", "validation"):
        done = inrbench(place, "analyse", "quantisation", "colours", "--split", split)
        assert (done.returncode, done.stderr.count("colours lists signals as several episodes")) == (2, 1), done.stderr


def test_a_plan_counts_episodes_and_a_reader_of_classes_needs_some(place: Path) -> None:
    done = inrbench(place, "run", "mean-colour+shape-views", "--profile", "smoke", *SETS, "--dry-run")
    assert done.returncode == 0, done.stderr
    done = inrbench(place, "run", "mean-colour+shape-views", "--profile", "smoke", *SETS, "--set", "reader=knn")
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].endswith(
        "reader 'knn' tells classes, and data set 'shape-views' has none; --set reader=null scores the "
        "representations alone"
    )


def test_the_data_set_is_shown_as_views(place: Path) -> None:
    printed = inrbench(place, "show", "nerf-lego").stdout
    assert "  shape     views of 128 x 128 x 3, 10 of which are scored\n" in printed
    document = json.loads(inrbench(place, "show", "shape-views", "--json").stdout)
    assert document["parts"] == [{"name": "", "domain": "rays", "shape": [1, 32, 32], "channels": 3}]
