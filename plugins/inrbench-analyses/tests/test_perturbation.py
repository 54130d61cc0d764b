"""Perturbation of a linear decoder, of which every effect is known in closed form."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from inrbench_analyses.perturbation import Perturbation, line_through_origin, repeating_share
from inrbench_analyses.settings import PerturbationSettings
from PIL import Image

from inrbench import draws

Make = Callable[..., Any]
RNG = draws.generator(0, "perturbation")
A = RNG.normal(0.0, 0.2, (48, 5)).astype(np.float32)  # of a latent of 5 to 4 x 4 x 3 values
B = RNG.normal(0.0, 0.2, (6, 3)).astype(np.float32)  # of a cell's 3 channels to its 3 x 2 pixels
LATENTS = RNG.normal(0.0, 1.0, (12, 5))
GRIDS = RNG.normal(0.0, 1.0, (9, 2, 4, 3))  # 2 x 4 cells: 6 x 8 pixels
GAINS = np.linspace(0.2, 1.6, 8).reshape(2, 4).astype(np.float32)


def decode(latents: np.ndarray) -> np.ndarray:
    return np.asarray((0.5 + latents @ A.T).reshape(-1, 4, 4, 3))


def decode_cells(grids: np.ndarray, gains: np.ndarray | float = 1.0) -> np.ndarray:
    tiles = (np.asarray(gains)[..., None] * (grids @ B.T)).reshape(-1, 2, 4, 3, 2)
    return np.asarray(0.5 + tiles.transpose(0, 1, 3, 2, 4).reshape(-1, 6, 8, 1))


def run(context: Any, **settings: Any) -> Any:
    return Perturbation(PerturbationSettings(**settings)).run(context)


def test_the_effect_of_a_dimension_is_delta_times_its_mean_absolute_weight(context_of: Make) -> None:
    found = run(context_of(decode, LATENTS), delta=0.3).tables["dimensions"]
    effects = 0.3 * np.abs(A).mean(axis=0)
    assert [row["dimension"] for row in found] == list(np.argsort(-effects))
    for row in found:
        assert row["effect"] == pytest.approx(effects[row["dimension"]], rel=1e-4)
        assert row["effect_low"] == pytest.approx(row["effect"], rel=1e-4)  # all signals change alike


def test_delta_can_be_in_the_training_signals_standard_deviations(context_of: Make) -> None:
    context = context_of(decode, LATENTS, train=LATENTS * np.arange(1.0, 6.0))
    effects = 2.0 * (LATENTS * np.arange(1.0, 6.0)).std(axis=0) * np.abs(A).mean(axis=0)
    for row in run(context, delta=2.0, unit="std").tables["dimensions"]:
        assert row["effect"] == pytest.approx(effects[row["dimension"]], rel=1e-4)


def test_values_are_not_clamped(context_of: Make) -> None:
    def bright(latents: np.ndarray) -> np.ndarray:
        return decode(latents) + 5.0

    one, other = (run(context_of(one, LATENTS)).tables["dimensions"] for one in (decode, bright))
    assert [row["effect"] for row in one] == pytest.approx([row["effect"] for row in other], rel=1e-3)


def test_a_move_goes_up_and_down(context_of: Make) -> None:
    def rectified(latents: np.ndarray) -> np.ndarray:
        return np.asarray(np.maximum(latents, 0.0)[:, :4].reshape(-1, 2, 2, 1))

    found = run(context_of(rectified, np.zeros((3, 5))), delta=0.2).tables["dimensions"]
    effects = {row["dimension"]: row["effect"] for row in found}
    assert effects[0] == pytest.approx(0.2 / 4 / 2)  # one of 4 pixels, one of 2 ways
    assert (found[-1]["dimension"], effects[4]) == (4, 0.0)


@pytest.mark.parametrize("rows", [1, 16, 1000])
def test_how_many_are_asked_for_at_once_changes_nothing(context_of: Make, rows: int) -> None:
    context = context_of(decode_cells, GRIDS, "latent-grid")
    found, other = run(context, rows=rows, signals=4), run(context, signals=4)
    for name, table in found.tables.items():
        assert [[*row.values()] for row in table] == [pytest.approx([*row.values()]) for row in other.tables[name]]


def test_a_query_holds_about_as_many_rows_as_the_setting_says(context_of: Make) -> None:
    context = context_of(decode, LATENTS)
    run(context, rows=30, signals=6)
    assert context.fitter.largest == 30
    assert run(context, rows=1, signals=6)
    assert context.fitter.largest == 30


def test_some_dimensions_can_be_drawn(context_of: Make) -> None:
    context = context_of(decode, LATENTS)
    whole = {row["dimension"]: row["effect"] for row in run(context).tables["dimensions"]}
    drawn = run(context, dimensions=2).tables["dimensions"]
    assert len({row["dimension"] for row in drawn}) == 2
    assert all(row["effect"] == pytest.approx(whole[row["dimension"]]) for row in drawn)
    assert len(run(context, dimensions=50).tables["dimensions"]) == 5


def test_rmse_of_a_linear_decoder_is_linear_in_the_move_and_repeats_with_the_cells(context_of: Make) -> None:
    found = run(context_of(decode_cells, GRIDS, "latent-grid"), delta=0.05, reach=0.2, steps=4)
    slopes = np.sqrt((B**2).mean(axis=0))
    for row in found.tables["channels"]:
        channel = row["channel"]
        assert row["effect"] == pytest.approx(0.05 * np.abs(B).mean(axis=0)[channel], rel=1e-4)
        assert (row["slope_down"], row["slope_up"]) == pytest.approx((slopes[channel],) * 2, rel=1e-4)
        assert (row["r2_down"], row["r2_up"], row["repeats"]) == pytest.approx((1.0, 1.0, 1.0), abs=1e-4)
    effects = [row["effect"] for row in found.tables["channels"]]
    assert effects == sorted(effects, reverse=True)
    curve = found.tables["rmse"]
    assert [row["delta"] for row in curve[:8]] == pytest.approx([-0.2, -0.15, -0.1, -0.05, 0.05, 0.1, 0.15, 0.2])
    for row in curve:
        assert row["rmse"] == pytest.approx(abs(row["delta"]) * slopes[row["channel"]], rel=1e-4)


def test_cells_of_unequal_gain_share_so_much_of_the_energy(context_of: Make) -> None:
    found = run(context_of(lambda grids: decode_cells(grids, GAINS), GRIDS, "latent-grid"))
    for row in found.tables["channels"]:
        assert row["repeats"] == pytest.approx(GAINS.mean() ** 2 / (GAINS**2).mean(), rel=1e-4)


def test_a_curve_that_is_no_line_has_a_smaller_r2(context_of: Make) -> None:
    def squared(grids: np.ndarray) -> np.ndarray:
        return decode_cells(grids**2)

    found = run(context_of(squared, np.zeros((3, 2, 4, 3)), "latent-grid"))
    row = found.tables["channels"][0]
    x = np.array([0.25, 0.5, 0.75, 1.0])
    assert row["r2_up"] == pytest.approx(line_through_origin(x, x**2)[1], abs=1e-4)
    assert row["r2_up"] < 0.9


def test_a_line_through_the_origin_by_hand() -> None:
    slope, r2 = line_through_origin(np.array([1.0, 2.0]), np.array([1.0, 4.0]))
    assert slope == pytest.approx(9 / 5)  # (1·1 + 2·4) / (1 + 4)
    assert r2 == pytest.approx(1 - (0.8**2 + 0.4**2) / (2 * 1.5**2))
    flat = line_through_origin(np.array([1.0, 2.0]), np.zeros(2))
    assert flat[0] == 0.0
    assert np.isnan(flat[1])


def test_where_the_grid_does_not_divide_into_the_cells_nothing_is_said_of_a_pattern(context_of: Make) -> None:
    change = np.ones((1, 6, 7, 1))
    assert np.isnan(repeating_share(change, (2, 4))).all()
    assert repeating_share(change, (2, 7)) == (42.0, 42.0)
    assert np.isnan(repeating_share(change, (2,))).all()

    def cut(grids: np.ndarray) -> np.ndarray:
        return decode_cells(grids)[:, :, :7]

    assert np.isnan(run(context_of(cut, GRIDS, "latent-grid")).tables["channels"][0]["repeats"])


def test_a_channel_without_effect_has_no_linearity_and_no_pattern(context_of: Make) -> None:
    def deaf(grids: np.ndarray) -> np.ndarray:
        return decode_cells(grids * np.array([1.0, 0.0, 1.0], dtype=np.float32))

    row = run(context_of(deaf, GRIDS, "latent-grid")).tables["channels"][-1]
    assert (row["channel"], row["effect"], row["slope_up"]) == (1, 0.0, 0.0)
    assert np.isnan([row["r2_up"], row["repeats"]]).all()


def size_of(png: bytes) -> tuple[int, int]:
    return Image.open(io.BytesIO(png)).size


def test_pictures_are_of_the_moved_signals_the_curve_and_the_effects(context_of: Make) -> None:
    vector, grid = run(context_of(decode, LATENTS)), run(context_of(decode_cells, GRIDS, "latent-grid"))
    assert list(vector.pictures) == ["moved", "effects"]
    assert list(grid.pictures) == ["moved", "rmse", "effects"]
    assert size_of(vector.pictures["moved"])[1] > size_of(vector.pictures["moved"])[0] > 600  # 10 rows of 6 images
    again = run(context_of(decode_cells, GRIDS, "latent-grid"))
    assert again.pictures == grid.pictures


def test_values_that_are_no_images_have_a_curve_alone(context_of: Make) -> None:
    def line(latents: np.ndarray) -> np.ndarray:
        return decode(latents).reshape(-1, 48, 1)

    assert list(run(context_of(line, LATENTS)).pictures) == ["effects"]
