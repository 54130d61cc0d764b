"""Whole cells of learned-init on images and on views, and what it chooses for each data set."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import inrbench
from inrbench.cells import resolve


@pytest.mark.parametrize("profile", ["paper", "laptop", "smoke"])
def test_a_data_set_of_views_brings_its_own_fitter_and_field(profile: str) -> None:
    for dataset in ("learnit-chairs", "learnit-cars", "learnit-lamps", "shape-views"):
        tree = resolve("learned-init", dataset, profile=profile).tree()
        assert (tree["fitter"]["name"], tree["inr"]["name"]) == ("reptile", "nerf")
    tree = resolve("learned-init", "digits", profile=profile).tree()
    assert (tree["fitter"]["name"], tree["inr"]["name"]) == ("maml", "siren")


def test_the_methods_settings_for_views_are_the_papers() -> None:
    tree = resolve("learned-init", "learnit-chairs").tree()
    expected = {"views": 25, "steps": 32, "rays": 128, "inner_lr": 0.5, "lr": 5e-4}
    expected |= {"test_steps": 1000, "test_rays": 64, "test_lr": 0.5}
    assert {name: tree["fitter"][name] for name in expected} == expected
    assert (tree["fitter"]["train"]["steps"], tree["fitter"]["train"]["batch_size"]) == (100_000, 1)
    assert tree["inr"]["samples"] == 128
    assert resolve("learned-init", "learnit-chairs").build().fitter.facts().parameters == 295_172


@pytest.mark.cells
@pytest.mark.parametrize(("dataset", "control", "steps"), [("digits", "shuffled", 20), ("shape-views", "matched", 10)])
def test_a_control_takes_up_what_another_cell_learned(
    dataset: str, control: str, steps: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INRBENCH_CACHE", str(tmp_path / "cache"))

    def cell(initialisation: str) -> Any:
        table = inrbench.run(
            f"learned-init+{dataset}",
            profile="smoke",
            settings={"fitter": {"initialisation": initialisation}},
            records=tmp_path / "records",
            threads=1,
        )
        return table.iloc[0]

    learned, other = cell("learned"), cell(control)
    for row in (learned, other):
        assert row["status"] == "ok"
        assert row["metrics.psnr_db"] > 3.0
        assert row["costs.train_steps"] == steps
    assert learned["metrics.psnr_db"] != other["metrics.psnr_db"]
    assert learned["costs.train_s"] == other["costs.train_s"]
