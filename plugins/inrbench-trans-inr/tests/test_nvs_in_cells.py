"""Trans-INR's view synthesis as a method: the paper's settings and counts, and whole cells."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from inrbench.cells import resolve
from inrbench.errors import InrbenchError
from inrbench.records import read_record

LEARNIT = ("learnit-chairs", "learnit-cars", "learnit-lamps")


def built(**fitter: Any) -> Any:
    return resolve("trans-inr-nvs", "learnit-chairs", overrides=[{"fitter": fitter}]).build().fitter


def test_the_papers_setting_has_the_public_codes_parameters() -> None:
    assert built().facts().parameters == 44_463_484
    assert built(support_views=2).facts().parameters == 44_463_484


def test_the_papers_64_groups_are_160_tokens_more() -> None:
    assert built(groups=64).facts().parameters == 44_463_484 + 5 * 32 * 768


def test_what_a_representation_holds() -> None:
    found = built()
    assert dict(found.layout.shapes) == {
        "layers.0.tokens": (32, 120),
        **{f"layers.{i}.tokens": (32, 256) for i in range(1, 5)},
        "output.tokens": (4, 256),
    }
    assert found.facts().adapted_values == 32 * (120 + 4 * 256) + 4 * 256
    assert built(test_steps=100).facts().adapted_values == 121 * 256 + 4 * 257 * 256 + 257 * 4


def test_multiply_adds_follow_the_definition(build_views: Callable[..., Any]) -> None:
    tokens, field = 2 * 4, 6 * (18 * 8 + 8 * 8 + 8 * 4)
    kept = 4 + 4 + 4
    block = (tokens + kept) * (4 * 12 * 10 + 2 * (tokens + kept) * 10 + 2 * 12 * 14)
    forward = tokens * 4 * 4 * 9 * 12 + 2 * block + 12 * (4 * 18 + 4 * 8 + 4 * 8)
    found = build_views(support_views=2, query_views=3).facts()
    assert found.fit_flops == 2 * forward
    assert found.train_flops == 3 * 2 * (forward + 3 * 20 * field)
    assert build_views(support_views=2, test_steps=7).facts().fit_flops == 2 * (forward + 3 * 7 * 24 * field)


@pytest.mark.parametrize(("dataset", "repeats"), [*zip(LEARNIT, (1, 2, 3), strict=True)])
def test_the_methods_settings_are_those_of_the_public_code(dataset: str, repeats: int) -> None:
    tree = resolve("trans-inr-nvs", dataset).tree()
    fitter, train = tree["fitter"], tree["fitter"]["train"]
    expected = {"patch": 8, "width": 768, "blocks": 6, "heads": 12, "head_dim": 64, "feedforward": 3072, "groups": 32}
    expected |= {"grouping": "modulo", "biases": "learned", "seen_directions": "given", "lr": 1e-4}
    expected |= {"support_views": 1, "query_views": 1, "rays": 128, "foreground_epochs": 1.0, "repeats": repeats}
    expected |= {"test_steps": 0, "test_lr": 1e-4, "test_rays": 1024}
    assert {key: fitter[key] for key in expected} == expected
    assert (train["epochs"], train["steps"], train["batch_size"], train["schedule"]) == (1000.0, None, 32, "step")
    assert (tree["data"]["episodes"], tree["data"]["directions"], tree["data"]["size"]) == (100, "camera", 128)
    field = {"width": 256, "depth": 4, "frequencies": 20, "highest": 256.0, "samples": 128, "density": "relu"}
    assert {key: tree["inr"][key] for key in field} == field


@pytest.mark.parametrize("dataset", ["digits", "modelnet40"])
def test_signals_without_views_are_refused(dataset: str) -> None:
    with pytest.raises(InrbenchError, match="trans-inr-nvs"):
        resolve("trans-inr-nvs", dataset).build()


def test_it_trains_no_reader() -> None:
    with pytest.raises(InrbenchError, match="fitter 'trans-inr-nvs' cannot train jointly"):
        resolve("trans-inr-nvs", "shape-views", overrides=[{"reader": "mlp", "joint": {"share": 0.1}}])


def inrbench(place: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "INRBENCH_CACHE": str(place / "cache"), "COLUMNS": "200"}
    command = [sys.executable, "-m", "inrbench", *arguments]
    return subprocess.run(command, cwd=place, env=environment, text=True, capture_output=True, timeout=120)


@pytest.mark.cells
@pytest.mark.parametrize("sets", [[], ["--set", "fitter.test_steps=3", "--set", "data.support_views=2"]])
def test_a_cell_runs_verifies_and_renders(sets: list[str], tmp_path: Path) -> None:
    options = ["--profile", "smoke", "--threads", "1", *sets]
    done = inrbench(tmp_path, "run", "trans-inr-nvs+shape-views", *options)
    assert done.returncode == 0, done.stderr
    (path,) = (tmp_path / "records").glob("*.json")
    record = read_record(path)
    assert (record["status"], record["facts"]["scored_episodes"]) == ("ok", 8)
    assert 3.0 < record["metrics"]["psnr_db"] < 30.0
    assert record["costs"]["train_steps"] == 10
    done = inrbench(tmp_path, "verify", record["cell"], "--json")
    assert done.returncode == 0, done.stdout
    (document,) = json.loads(done.stdout)
    assert all(check["holds"] for check in document["checks"])
    done = inrbench(tmp_path, "render", record["cell"], "-o", "views.png")
    assert done.returncode == 0, done.stderr
    with Image.open(tmp_path / "views.png") as picture:
        assert picture.size[0] > 100
