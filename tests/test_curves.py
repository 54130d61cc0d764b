"""Curves of fits: points from logs, lines and panels, and the picture of them."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from inrbench.curves import Curve, CurvePanel, CurvePoint, Curves, curves_of, draw_curves
from inrbench.errors import InrbenchError, UnknownName, UsageError


def point(step: int, fit_s: float, **values: float) -> dict[str, float]:
    return {"step": float(step), "fit_s": fit_s, **values}


LOG = [point(1, 0.5, psnr_db=10.0), {"step": 5.0, "loss": 0.1}, point(10, 4.0, psnr_db=20.0)]


def record(method: str = "siren", log: Any = LOG, seed: int = 0, **changes: Any) -> dict[str, Any]:
    return {
        "method": method,
        "dataset": "bach",
        "profile": "laptop",
        "seed": seed,
        "status": "ok",
        "metrics": {"psnr_db": 20.0},
        "settings": {"fitter": {"name": "gradient-descent", "steps": 10}},
        "finished": "2026-01-01",
        "facts": {"scored_checksum": "aa"},
        "log": log,
        **changes,
    }


def the_curve(curves: Curves) -> Curve:
    (panel,) = curves.panels
    (curve,) = panel.curves
    return curve


def test_a_curve_holds_the_evaluations_of_a_log() -> None:
    curve = the_curve(curves_of([record()], ["step", "fit_s"]))
    assert curve.name == "siren, laptop"
    assert [(one.step, one.fit_s, one.mean) for one in curve.points] == [(1.0, 0.5, 10.0), (10.0, 4.0, 20.0)]
    assert all(math.isnan(one.half_interval) for one in curve.points)


def test_a_point_is_the_mean_over_seeds_after_equal_steps() -> None:
    other = [point(1, 1.5, psnr_db=12.0), point(10, 5.0, psnr_db=24.0), point(11, 9.0, psnr_db=30.0)]
    curve = the_curve(curves_of([record(), record(log=other, seed=1)], ["step"]))
    assert [(one.step, one.fit_s, one.mean) for one in curve.points] == [(1.0, 1.0, 11.0), (10.0, 4.5, 22.0)]
    assert curve.points[0].half_interval == pytest.approx(12.7062 * 1.0, rel=1e-4)  # t of 1 degree of freedom


def test_of_a_seed_that_was_run_twice_the_newest_counts() -> None:
    newer = record(log=[point(1, 1.0, psnr_db=50.0)], finished="2026-02-01")
    assert [one.mean for one in the_curve(curves_of([newer, record()], ["step"])).points] == [50.0]


def test_signals_that_were_fitted_one_after_the_other_are_one_curve() -> None:
    log = [point(1, 1.0, psnr_db=10.0), point(2, 2.0, psnr_db=20.0), point(1, 3.0, psnr_db=14.0)]
    curve = the_curve(curves_of([record(log=log)], ["step"]))
    assert [(one.step, one.fit_s, one.mean) for one in curve.points] == [(1.0, 2.0, 12.0), (2.0, 2.0, 20.0)]


def test_methods_share_the_panel_of_a_data_set_and_metrics_have_their_own() -> None:
    film = [point(1, 1.0, psnr_db=10.0, psnr_video_db=9.0), point(2, 2.0, psnr_db=11.0, psnr_video_db=8.0)]
    records = [record(), record("spder"), record(log=film, dataset="beat", facts={"scored_checksum": "bb"})]
    panels = curves_of(records, ["fit_s"]).panels
    found = [(panel.dataset, panel.metric, [curve.name for curve in panel.curves]) for panel in panels]
    assert found == [
        ("bach", "psnr_db", ["siren, laptop", "spder, laptop"]),
        ("beat", "psnr_db", ["siren, laptop"]),
        ("beat", "psnr_video_db", ["siren, laptop"]),
    ]
    (panel,) = curves_of(records, ["fit_s"], ["psnr_video_db"]).panels
    assert (panel.dataset, panel.metric) == ("beat", "psnr_video_db")


def test_other_scored_data_are_another_panel_and_other_settings_another_line() -> None:
    other = record(settings={"fitter": {"name": "gradient-descent", "steps": 20}})
    curves = curves_of([record(), other, record(facts={"scored_checksum": "bb"})], ["step"])
    assert [[curve.name for curve in panel.curves] for panel in curves.panels] == [
        ["siren, laptop (fitter.steps=10)", "siren, laptop (fitter.steps=20)"],
        ["siren, laptop"],
    ]


def test_records_without_a_curve_are_left_out_and_counted() -> None:
    plain = record("wt", log=[{"step": 1.0, "loss": 0.5, "psnr_db": 3.0}])
    failed = record(status="crash")
    curves = curves_of([record(), plain, failed, record("mwt", log=[])], ["step"])
    assert the_curve(curves).name == "siren, laptop"
    assert curves.left_out == 2


def test_what_is_no_curve_is_refused_with_the_reason() -> None:
    with pytest.raises(UsageError, match=r"no record holds a curve; a fit that is run with --set fitter\.evaluate=30"):
        curves_of([record(log=[])], ["step"])
    with pytest.raises(UsageError, match=r"against step and fit_s, not together with 'fitter\.steps'"):
        curves_of([record()], ["step", "fitter.steps"])
    with pytest.raises(UnknownName, match="no curve holds a metric 'psnr'; did you mean 'psnr_db'"):
        curves_of([record()], ["step"], ["psnr"])


# ------------------------------------------------------------------ pictures


def example(rows: int = 1) -> Curves:
    points = tuple(CurvePoint(k, 0.1 * k, 10.0 + k, math.nan if k == 1 else 1.0) for k in (1, 10, 100))
    panel = CurvePanel("bach", "psnr_db", (Curve("siren, laptop", points), Curve("spder, laptop", points[1:])))
    return Curves(("step", "fit_s"), (panel,) * rows, 0)


@pytest.mark.parametrize("log", [False, True])
def test_both_axes_stand_side_by_side_in_one_png(tmp_path: Path, log: bool) -> None:
    path = draw_curves(example(), tmp_path / "deep" / "a.png", log=log)
    with Image.open(path) as picture:
        assert picture.format == "PNG"
        width, height = picture.size
    with Image.open(draw_curves(example(2), tmp_path / "two.png", log=log)) as picture:
        assert picture.size[0] == width
        assert picture.size[1] > 1.7 * height
    assert 1500 < width < 2500
    assert path.read_bytes() == draw_curves(example(), tmp_path / "b.png", log=log).read_bytes()


def test_the_axes_say_what_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from matplotlib.axes import Axes

    said: list[tuple[str, str]] = []
    for name in ("set_xlabel", "set_ylabel", "set_title", "set_xscale"):
        monkeypatch.setattr(Axes, name, lambda self, text, name=name, **how: said.append((name, text)))
    draw_curves(example(), tmp_path / "a.png", log=True)
    assert said == [
        ("set_xscale", "log"),
        ("set_xlabel", "steps"),
        ("set_ylabel", "PSNR, dB"),
        ("set_title", "bach"),
        ("set_xscale", "log"),
        ("set_xlabel", "seconds of fitting"),
        ("set_ylabel", "PSNR, dB"),
        ("set_title", "bach"),
    ]


def test_a_place_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InrbenchError, match=r"cannot write the plot .*a\.png: "):
        draw_curves(example(), tmp_path / "file" / "a.png")
