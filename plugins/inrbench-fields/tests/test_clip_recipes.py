"""SIREN, SPDER and RFFNet on clips: the paper's sizes and counts, and cells from settings to a record's curve."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from inrbench_fields.gradient_descent import GradientDescent
from inrbench_fields.recipes import CLIPS
from inrbench_fields.rffnet import RffNet
from inrbench_fields.settings import GradientDescentSettings, RffNetSettings, SirenSettings, SpderSettings
from inrbench_fields.siren import Siren
from inrbench_fields.spder import Spder

import inrbench
from inrbench.cells import PROFILES
from inrbench.curves import curves_of
from inrbench.plugin import Method
from inrbench.records import read_records
from inrbench.registry import registry
from inrbench.settings import validated
from inrbench.signals import PartSpec, SignalSpec
from inrbench.trees import merge

SOUND = PartSpec("grid", (308_207,), 1, 1, "audio")
BIKES = PartSpec("grid", (250, 272, 640), 3, 3, "video")
BUNNY = PartSpec("grid", (132, 360, 640), 3, 3, "video"), PartSpec("grid", (254_976, 1, 1), 3, 6, "audio")
SPECS = {"bach": SignalSpec((SOUND,)), "bikes": SignalSpec((BIKES,)), "bigbuckbunny": SignalSpec(BUNNY)}
FIELDS: dict[str, tuple[Any, Any]] = {
    "siren": (Siren, SirenSettings),
    "spder": (Spder, SpderSettings),
    "rffnet": (RffNet, RffNetSettings),
}
each_method = pytest.mark.parametrize("name", FIELDS)


def tree_of(name: str, clip: str, profile: str) -> dict[str, Any]:
    """What a request for that clip resolves to, whether or not its data set is installed."""
    method = registry().find("method", name)
    assert isinstance(method, Method)
    return merge(
        {"inr": method.inr, "fitter": method.fitter},
        method.settings,
        method.for_dataset[clip],
        method.profiles.get(profile, {}),
        method.profiles_for_dataset.get(profile, {}).get(clip, {}),
    )


def fitter_of(name: str, clip: str, profile: str = "paper") -> GradientDescent:
    tree, (field, model), spec = tree_of(name, clip, profile), FIELDS[name], SPECS[clip]
    inr, fitter = ({k: v for k, v in tree[part].items() if k != "name"} for part in ("inr", "fitter"))
    settings = validated(GradientDescentSettings, fitter, "fitter")
    return GradientDescent(settings, spec, field(validated(model, inr, "inr"), spec))


@pytest.mark.parametrize("name", ["siren", "spder"])
@pytest.mark.parametrize(("clip", "count"), [("bach", 198_145), ("bikes", 3_155_971), ("bigbuckbunny", 3_162_121)])
def test_the_paper_counts_so_many_parameters(name: str, clip: str, count: int) -> None:
    facts = fitter_of(name, clip).facts()
    assert facts.parameters == facts.adapted_values == count


def test_an_rffnet_has_the_same_layers_behind_its_features() -> None:
    assert fitter_of("rffnet", "bach").facts().parameters == 198_145 + (512 - 1) * 256
    assert fitter_of("rffnet", "bikes").facts().parameters == 3_155_971 + (128 - 3) * 1024


@each_method
def test_batches_rates_and_the_scale_of_time_are_the_papers(name: str) -> None:
    found = {clip: tree_of(name, clip, "paper") for clip in SPECS}
    asked = [(tree["fitter"]["batch_points"], tree["fitter"]["lr"]) for tree in found.values()]
    assert asked == [(None, 5e-5), (262_144, 1e-4), (262_144, 1e-4)]
    assert [tree["inr"]["time_scale"] for tree in found.values()] == [100.0, 1.0, 100.0]
    assert fitter_of(name, "bikes").settings.steps == 16 * 200 * 167


@each_method
@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("clip", CLIPS)
def test_every_clip_has_settings_of_every_profile(name: str, profile: str, clip: str) -> None:
    """What a profile sets for images (a narrow field, a hundred signals) does not reach a clip."""
    tree = tree_of(name, clip, profile)
    assert tree["data"].get("test_size") is None
    sound = clip in ("bach", "chord")
    assert tree["inr"]["width"] == {"paper": 256 if sound else 1024, "laptop": 256, "smoke": 16}[profile]
    assert tree["fitter"].get("evaluate", 0) > 0 or profile == "paper"
    _, model = FIELDS[name]
    validated(model, {k: v for k, v in tree["inr"].items() if k != "name"}, "inr")
    validated(GradientDescentSettings, {k: v for k, v in tree["fitter"].items() if k != "name"}, "fitter")


@pytest.mark.cells
@each_method
def test_a_cell_leaves_a_curve_whose_end_is_its_score(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INRBENCH_CACHE", str(tmp_path / "cache"))
    settings = {"fitter": {"evaluate": 8, "lr": 1e-3, "steps": 200, "shard": 4}, "data": {"test_size": 4}}
    (row,) = inrbench.run(f"{name}+digits", profile="smoke", settings=settings, records=tmp_path, threads=1).to_dict(
        "records"
    )
    assert row["status"] == "ok"
    (record,) = read_records(tmp_path)
    (panel,) = curves_of([record], ["step", "fit_s"]).panels
    (curve,) = panel.curves
    assert [point.step for point in curve.points] == [3.0, 12.0, 28.0, 50.0, 78.0, 112.0, 153.0, 200.0]
    assert curve.points[-1].mean == pytest.approx(row["metrics.psnr_db"], abs=1e-2)
    assert curve.points[-1].mean > curve.points[0].mean + 1.0
    assert 0.0 < curve.points[-1].fit_s <= row["costs.fit_s"]
