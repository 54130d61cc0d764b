"""Plots: the lines that records make against a setting, and the picture of them."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from inrbench.errors import InrbenchError, UnknownName, UsageError
from inrbench.plot import Line, Panel, Plot, Point, axis_of, draw, plot_of

SETTINGS = {"fitter": {"name": "meta-sgd", "steps": 4, "train": {"epochs": 10.0}}, "joint": {"share": 0.01}}


def record(seed: int = 0, accuracy: float = 0.5, **changes: Any) -> dict[str, Any]:
    settings = {part: dict(values) for part, values in SETTINGS.items()}
    for key in [key for key in changes if "." in key]:
        part, name = key.split(".")
        settings.setdefault(part, {})[name] = changes.pop(key)
    return {
        "method": "mwt",
        "label": "",
        "dataset": "digits",
        "profile": "paper",
        "seed": seed,
        "status": "ok",
        "metrics": {
            "accuracy": accuracy,
            "accuracy_low": accuracy - 0.1,
            "accuracy_high": accuracy + 0.1,
            "psnr_db": 30.0,
            "cross_entropy": 0.5,
        },
        "settings": settings,
        "finished": "2026-01-01",
        "facts": {
            "scored_checksum": "aa",
            "scope": "global",
            "shuffled_labels": False,
            "labels_shape_fit": True,
            "initialisation": "meta-learned",
            "copies": 1,
            "augmented": False,
        },
        **changes,
    }


def over(key: str, values: list[Any], seeds: int = 1, **changes: Any) -> list[dict[str, Any]]:
    return [record(seed, 0.5 + 0.1 * seed, **{key: value}, **changes) for value in values for seed in range(seeds)]


def the_line(plot: Plot, metric: str = "accuracy") -> Line:
    (panel,) = [panel for panel in plot.panels if panel.metric == metric]
    (line,) = panel.lines
    return line


# ------------------------------------------------------------------ lines


def test_a_point_is_the_mean_over_seeds_with_its_interval_in_percent() -> None:
    plot = plot_of(over("joint.share", [0.01, 0.0], seeds=2), "joint.share")
    first, second = the_line(plot).points
    assert (first.x, second.x) == plot.values == (0.0, 0.01)
    assert first.mean == pytest.approx(55.0)
    assert first.half_interval == pytest.approx(12.7062 * 5.0, rel=1e-4)  # t of 1 degree of freedom
    assert [panel.axis for panel in plot.panels] == ["accuracy, %", "PSNR, dB"]
    assert the_line(plot, "psnr_db").points[0].mean == 30.0


def test_samples_have_their_distances_where_nothing_else_was_measured() -> None:
    measured = {"frechet_latent": 1.0, "frechet_latent_by_class": 1.5, "frechet_classifier": 2.0, "asked_class": 0.8}
    drawn = over("reader.guidance", [0.0, 5.0, 1.0])
    records = [{**one, "metrics": {**measured, "fid": one["settings"]["reader"]["guidance"]}} for one in drawn]
    plot = plot_of(records, "reader.guidance")
    assert [panel.axis for panel in plot.panels] == [
        "FID",
        "Fréchet distance, small classifier",
        "Fréchet distance, latents by class",
    ]
    assert [(point.x, point.mean) for point in the_line(plot, "fid").points] == [(0.0, 0.0), (1.0, 1.0), (5.0, 5.0)]
    (panel,) = plot_of(records, "reader.guidance", ["asked_class"]).panels
    assert panel.axis == "samples of the class asked for, share"


def test_a_single_seed_has_the_interval_over_its_signals_or_none() -> None:
    plot = plot_of(over("joint.share", [0.0, 0.01]), "joint.share")
    assert the_line(plot).points[0].half_interval == pytest.approx(10.0)
    assert math.isnan(the_line(plot, "psnr_db").points[0].half_interval)


def test_labels_do_not_part_a_line_and_a_cell_of_two_labels_counts_once() -> None:
    records = [
        *over("joint.share", [0.0], label="share 0"),
        *over("joint.share", [0.01], label="share 0.01"),
        *over("joint.share", [0.01], label="k 4", finished="2026-02-01", metrics={"accuracy": 0.7}),
    ]
    plot = plot_of(records, "joint.share", ["accuracy"])
    assert [point.mean for point in the_line(plot).points] == [50.0, 70.0]
    assert plot.left_out == 0


@pytest.mark.parametrize(
    ("change", "names"),
    [
        ({"method": "wt"}, ["mwt, digits, paper", "wt, digits, paper"]),
        ({"dataset": "digits~1a2b3c4d"}, ["mwt, digits, paper", "mwt, digits~1a2b3c4d, paper"]),
        ({"profile": "laptop"}, ["mwt, digits, paper", "mwt, digits, laptop"]),
        ({"fitter.steps": 6}, ["mwt, digits, paper (fitter.steps=4)", "mwt, digits, paper (fitter.steps=6)"]),
    ],
)
def test_what_differs_besides_is_another_line_named_by_it(change: dict[str, Any], names: list[str]) -> None:
    plot = plot_of(over("joint.share", [0.0, 0.01]) + over("joint.share", [0.0, 0.01], **change), "joint.share")
    assert [line.name for line in plot.panels[0].lines] == names
    assert [line.name for line in plot.panels[1].lines] == names


def test_records_that_equal_no_other_are_left_out_and_counted() -> None:
    records = over("joint.share", [0.0, 0.01]) + over("fitter.steps", [1, 2, 8], seeds=2)
    plot = plot_of(records, "joint.share")
    assert len(the_line(plot).points) == 2
    assert plot.left_out == 6


def test_text_and_null_are_categories_and_numbers_stand_by_size() -> None:
    plot = plot_of(over("fitter.rates", ["shared", "per-step", None]), "fitter.rates")
    assert plot.values == (None, "per-step", "shared")
    assert not plot.numeric
    assert plot_of(over("fitter.steps", [10, 9, 2]), "fitter.steps").values == (2, 9, 10)


def test_a_parts_name_takes_that_parts_other_settings_with_it() -> None:
    records = [
        record(**{"reader.name": "mlp", "reader.width": 64}),
        record(**{"reader.name": "nfn-np", "reader.channels": 8}),
    ]
    plot = plot_of(records, "reader.name")
    assert [point.x for point in the_line(plot).points] == ["mlp", "nfn-np"]
    assert the_line(plot).name == "mwt, digits, paper"


def test_published_values_stand_at_their_points() -> None:
    published = {"table": "paper.table1", "metrics": {"accuracy": 0.5579}}
    records = [record(**{"joint.share": 0.0}), record(**{"joint.share": 0.01}, published=published)]
    plot = plot_of(records, "joint.share")
    assert [point.published for point in the_line(plot).points] == [None, pytest.approx(55.79)]
    assert [point.published for point in the_line(plot, "psnr_db").points] == [None, None]
    assert plot.tables == ("paper.table1",)


def test_metrics_are_those_asked_for_in_their_order() -> None:
    plot = plot_of(over("joint.share", [0.0, 0.01]), "joint.share", ["psnr_db", "cross_entropy", "psnr_db"])
    assert [panel.axis for panel in plot.panels] == ["PSNR, dB", "cross-entropy, nats"]
    assert Panel("psnr_global_db", ()).axis == "PSNR global, dB"


def test_what_was_not_measured_is_no_point_and_failures_are_none() -> None:
    records = over("joint.share", [0.0, 0.01]) + over("joint.share", [0.1], metrics={"accuracy": 0.6})
    records += over("joint.share", [0.5], status="crash", metrics={})
    plot = plot_of(records, "joint.share")
    assert [point.x for point in the_line(plot).points] == [0.0, 0.01, 0.1]
    assert [point.x for point in the_line(plot, "psnr_db").points] == [0.0, 0.01]


# ------------------------------------------------------------------ what cannot be drawn


@pytest.mark.parametrize(
    ("records", "against", "message"),
    [
        (
            over("joint.share", [0.0, 0.01]),
            "joint.shares",
            "no record holds a setting 'joint.shares'; did you mean 'jo",
        ),
        (over("joint.share", [0.01], 3), "joint.share", "joint.share has one value in all records, 0.01; a line needs"),
        (
            [record(**{"joint.share": 0.0, "fitter.steps": 1}), record(**{"fitter.rates": "shared"})],
            "joint.share",
            "no two records differ in joint.share alone; they differ in fitter.rates, fitter.steps too",
        ),
        (
            [record(**{"joint.share": 0.0}), record(method="wt")],
            "joint.share",
            "no two records differ in joint.share alone; they differ in method, data set, profile or scored signals",
        ),
    ],
)
def test_what_makes_no_line_is_refused_with_the_reason(
    records: list[dict[str, Any]], against: str, message: str
) -> None:
    with pytest.raises(UsageError) as caught:
        plot_of(records, against)
    assert str(caught.value).startswith(message)


def test_an_unknown_metric_is_answered_with_the_nearest() -> None:
    with pytest.raises(
        UnknownName, match=r"no record holds a metric 'acuracy'; did you mean 'accuracy'\? known: accur"
    ):
        plot_of(over("joint.share", [0.0, 0.01]), "joint.share", ["acuracy"])


def test_lines_without_any_measurement_are_refused() -> None:
    records = over("joint.share", [0.0, 0.01], metrics={"nats": 1.0})
    with pytest.raises(UsageError, match=r"nothing was measured over 'joint\.share'; known metrics: nats"):
        plot_of(records, "joint.share")


# ------------------------------------------------------------------ pictures


def example(*values: Any) -> Plot:
    points = tuple(Point(x, 50.0 + i, math.nan if i == 0 else 2.0, 51.0) for i, x in enumerate(values))
    panels = tuple(Panel(metric, (Line("a, digits, paper", points),)) for metric in ("accuracy", "psnr_db"))
    return Plot("joint.share", values, panels, ("paper.table1",), 0)


@pytest.mark.parametrize(
    ("values", "log"),
    [((0.0, 0.001, 10.0), True), ((1.0, 500.0), True), ((1, 2, 10), False), (("per-step", None), False)],
)
def test_a_plot_is_a_png_of_two_panels_and_equal_bytes(tmp_path: Path, values: tuple[Any, ...], log: bool) -> None:
    path = draw(example(*values), tmp_path / "deep" / "a.png", log=log)
    with Image.open(path) as picture:
        assert picture.format == "PNG"
        width, height = picture.size
    assert 1500 < width < 2500
    assert 500 < height < 900
    assert path.read_bytes() == draw(example(*values), tmp_path / "b.png", log=log).read_bytes()


def test_a_picture_does_not_depend_on_the_users_matplotlibrc(tmp_path: Path) -> None:
    import matplotlib

    first = draw(example(1, 2), tmp_path / "a.png").read_bytes()
    with matplotlib.rc_context({"lines.linewidth": 9.0, "font.size": 20.0}):
        assert draw(example(1, 2), tmp_path / "b.png").read_bytes() == first
        assert matplotlib.rcParams["font.size"] == 20.0


def test_categories_have_no_logarithm(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"--log needs numbers; joint\.share has per-step, null"):
        draw(example("per-step", None), tmp_path / "a.png", log=True)


def test_a_place_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InrbenchError, match=r"cannot write the plot .*a\.png: "):
        draw(example(1, 2), tmp_path / "file" / "a.png")


def test_an_axis_of_a_psnr_says_of_what() -> None:
    assert axis_of("psnr_audio_estimate_db") == "PSNR audio estimate, dB"
    assert axis_of("psnr_db") == "PSNR, dB"
    assert axis_of("asked_for") == "asked for"
