"""The method neomlp on single clips: the paper's settings, what profiles make of them, and whole cells."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from inrbench_neomlp.recipes import FOR_CLIP, LAPTOP_FOR_CLIP, SMOKE_FOR_CLIP

import inrbench
from inrbench.cells import resolve

pytest.importorskip("inrbench_av")

PROFILES = {"paper": FOR_CLIP, "laptop": LAPTOP_FOR_CLIP, "smoke": SMOKE_FOR_CLIP}
PATHS = ("file", "mesh")  # these take a place
CLIPS = [name for name in FOR_CLIP if name not in PATHS]


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("clip", CLIPS)
def test_a_clip_is_fitted_whole_by_gradient_descent_and_read_by_nothing(clip: str, profile: str) -> None:
    cell = resolve("neomlp", clip, profile=profile)
    tree = cell.tree()
    assert (tree["inr"]["name"], tree["fitter"]["name"], tree["reader"]) == ("neomlp", "gradient-descent", None)
    for part in ("inr", "fitter", "data"):
        wanted = {key: value for key, value in PROFILES[profile][clip][part].items() if key != "name"}
        assert {key: tree[part][key] for key in wanted} == wanted


@pytest.mark.parametrize("profile", ["laptop", "smoke"])
def test_fields_that_are_compared_see_the_same_of_a_clip_and_look_at_as_many_points(profile: str) -> None:
    for clip in CLIPS:
        trees = [resolve(method, clip, profile=profile).tree() for method in ("neomlp", "siren", "rffnet", "spder")]
        assert all(tree["data"] == trees[0]["data"] for tree in trees), clip
        assert len({tree["fitter"]["evaluate_points"] for tree in trees}) == 1, clip


def test_a_mesh_of_ones_own_has_settings_of_a_single_signal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trimesh = pytest.importorskip("trimesh")
    pytest.importorskip("inrbench_shapes")
    trimesh.creation.box().export(tmp_path / "box.obj")
    monkeypatch.setenv("INRBENCH_CACHE", str(tmp_path / "cache"))
    tree = resolve("neomlp", f"mesh:{tmp_path / 'box.obj'}", profile="smoke").tree()
    assert (tree["fitter"]["name"], tree["reader"], tree["data"]["test_size"]) == ("gradient-descent", None, None)


def test_the_papers_settings_are_those_of_its_table() -> None:
    keys = ("dim", "ffn_dim", "heads", "layers", "rff_dim", "hidden")
    table = {
        "bach": (64, 256, 4, 3, 512, 6),
        "bikes": (256, 1024, 8, 4, 128, 10),
        "bigbuckbunny": (256, 1024, 8, 4, 128, 4),
    }
    steps = {"bach": 5000 * 76, "bikes": 200 * 10_625, "bigbuckbunny": 400 * 7488}
    rates = {"bach": 5e-3, "bikes": 5e-4, "bigbuckbunny": 5e-4}
    parameters = {"bach": 182_017, "bikes": 3_189_249, "bigbuckbunny": 3_189_249}
    times = {"bach": 100.0, "bikes": 1.0, "bigbuckbunny": 100.0}
    for clip, sizes in table.items():
        cell = resolve("neomlp", clip)
        tree: dict[str, Any] = cell.tree()
        assert tuple(tree["inr"][key] for key in keys) == sizes
        assert (tree["inr"]["sigma"], tree["inr"]["time_scale"]) == (20.0, times[clip])
        assert (tree["inr"]["input_variance"], tree["inr"]["latent_variance"]) == (1.0, 1e-3)
        fitter = tree["fitter"]
        assert (fitter["steps"], fitter["lr"], fitter["batch_points"]) == (steps[clip], rates[clip], 4096)
        assert cell.build_fitter().facts().parameters == parameters[clip]


@pytest.mark.cells
@pytest.mark.parametrize("clip", ["chord", "beat"])
def test_a_cell_on_a_clip_learns_some_of_it(clip: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INRBENCH_CACHE", str(tmp_path / "cache"))
    row = inrbench.run(f"neomlp+{clip}", profile="smoke", records=tmp_path / "records", threads=1).iloc[0]
    assert row["status"] == "ok"
    assert row["metrics.psnr_db"] > 5.0
    assert row["costs.fitter_parameters"] == resolve("neomlp", clip, profile="smoke").build_fitter().facts().parameters
