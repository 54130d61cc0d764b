"""Quantisation: bins and centres by hand, the error's formula, and the limit of many bits."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from inrbench_analyses.quantisation import Quantisation, quantised
from inrbench_analyses.settings import QuantisationSettings

from inrbench import draws
from inrbench.errors import BadSetting, Refused
from inrbench.settings import validated

Make = Callable[..., Any]
ZERO, ONE = np.zeros(1), np.ones(1)
RNG = draws.generator(0, "quantisation")
VALUES = RNG.uniform(0.0, 1.0, (300, 16))


def image(latents: np.ndarray) -> np.ndarray:
    """The latent itself as a 4 x 4 image."""
    return latents.reshape(-1, 4, 4, 1)


@pytest.mark.parametrize(
    ("value", "bits", "centre"),
    [
        (0.2, 1, 0.25),
        (0.5, 1, 0.75),  # a border belongs to the bin above it
        (0.3, 2, 0.375),
        (0.0, 3, 1 / 16),
        (1.0, 3, 15 / 16),  # the range's end belongs to the last bin
        (-3.0, 2, 0.125),
        (7.0, 2, 0.875),
    ],
)
def test_a_value_becomes_the_centre_of_its_bin_and_what_lies_outside_that_of_the_last(
    value: float, bits: int, centre: float
) -> None:
    assert quantised(np.array([[value]]), ZERO, ONE, bits) == pytest.approx(centre)


def test_each_element_has_its_own_range() -> None:
    low, high = np.array([-1.0, 10.0, 4.0]), np.array([1.0, 14.0, 4.0])
    found = quantised(np.array([[0.3, 13.5, 9.0]]), low, high, 1)
    np.testing.assert_allclose(found, [[0.5, 13.0, 4.0]])  # the last one never varied: it is its only value


@pytest.mark.parametrize("bits", [1, 2, 5, 8])
def test_within_the_range_the_error_is_at_most_half_a_bin_and_there_are_2_to_the_bits_values(bits: int) -> None:
    found = quantised(VALUES, ZERO, ONE, bits)
    assert np.abs(found - VALUES).max() <= 0.5 / 2**bits
    assert len(np.unique(found)) == 2**bits


def test_uniform_values_lose_6_db_a_bit_and_at_32_bits_nothing(context_of: Make) -> None:
    context = context_of(image, VALUES)
    found = Quantisation(QuantisationSettings(bits=[2, 4, 6, 32], signals=300)).run(context)
    rows = {row["bits"]: row for row in found.tables["quantisation"]}
    for bits in (2, 4, 6):  # uniform in its bin: mse = width² / 12
        assert rows[bits]["psnr_db"] == pytest.approx(10 * math.log10(12 * 4.0**bits), abs=0.3)
    assert rows[32]["psnr_db"] == 100.0  # the cap of an exact reconstruction
    assert (rows[32]["change_db"], rows[32]["change_db_low"]) == (0.0, 0.0)
    assert [row["bits_per_signal"] for row in rows.values()] == [32, 64, 96, 512]


def test_psnr_is_the_protocols_by_hand_with_its_interval_and_the_paired_change(context_of: Make) -> None:
    noise = RNG.normal(0.0, 0.1, VALUES.shape)
    originals = np.clip(image(VALUES + noise), 0.0, 1.0).astype(np.float32)
    context = context_of(image, VALUES, originals=originals)
    found = Quantisation(QuantisationSettings(bits=[2, 16], signals=150)).run(context)
    two, sixteen = found.tables["quantisation"]

    def psnr(values: np.ndarray) -> np.ndarray:
        return -10.0 * np.log10(((image(values) - originals[:150]) ** 2).mean(axis=(1, 2, 3)))

    whole = VALUES[:150].astype(np.float32)
    low, high = VALUES.astype(np.float32).min(axis=0), VALUES.astype(np.float32).max(axis=0)
    coarse = psnr(quantised(whole, low, high, 2))
    assert two["psnr_db"] == pytest.approx(coarse.mean(), abs=1e-4)
    half = 1.976 * coarse.std(ddof=1) / math.sqrt(150)  # t of 149 degrees of freedom
    assert two["psnr_db_high"] - two["psnr_db"] == pytest.approx(half, rel=1e-3)
    assert two["change_db"] == pytest.approx((coarse - psnr(whole)).mean(), abs=1e-4)
    assert sixteen["psnr_db"] == pytest.approx(psnr(whole).mean(), abs=0.01)  # many bits: as it is
    assert abs(sixteen["change_db"]) < 0.01 < abs(two["change_db"])


def test_predictions_are_clamped(context_of: Make) -> None:
    originals = np.ones((4, 4, 4, 1), dtype=np.float32)
    context = context_of(image, np.full((4, 16), 3.0), originals=originals)
    (row,) = Quantisation(QuantisationSettings(bits=[4])).run(context).tables["quantisation"]
    assert row["psnr_db"] == 100.0


def test_the_range_is_that_of_the_training_signals(context_of: Make) -> None:
    train = RNG.uniform(0.0, 0.5, (50, 16))
    context = context_of(image, np.full((8, 16), 0.9), train=train)
    found = Quantisation(QuantisationSettings(bits=[1, 32])).run(context)
    ranges = train.astype(np.float32).min(axis=0), train.astype(np.float32).max(axis=0)
    last = ranges[0] + 0.75 * (ranges[1] - ranges[0])
    psnr = -10.0 * math.log10(((last - np.float32(0.9)) ** 2).mean())
    assert found.tables["quantisation"][0]["psnr_db"] == pytest.approx(psnr, abs=1e-4)
    assert found.tables["quantisation"][1]["psnr_db"] == 100.0  # 32 bits leave a value where it is
    assert "100 % of the values lie outside" in found.note


def test_more_signals_than_are_asked_for_at_once_come_in_order(context_of: Make) -> None:
    context = context_of(image, VALUES)
    found = Quantisation(QuantisationSettings(bits=[32], signals=1000)).run(context)
    assert found.tables["quantisation"][0]["psnr_db"] == 100.0  # each beside its own original
    assert context.fitter.largest == 64
    assert "300 signals" in found.note


def test_the_picture_is_a_png_and_equal_each_time(context_of: Make) -> None:
    context = context_of(image, VALUES)
    analysis = Quantisation(QuantisationSettings(signals=20))
    one, other = (analysis.run(context).pictures["psnr"] for _ in range(2))
    assert one.startswith(b"\x89PNG")
    assert one == other


def test_signals_without_a_common_grid_are_refused(context_of: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    class Ragged:
        def stacked(self) -> None:
            return None

    context = context_of(image, VALUES)
    context.signals = lambda rows: Ragged()
    with pytest.raises(Refused, match="analysis 'quantisation' takes signals that share one grid"):
        Quantisation(QuantisationSettings()).run(context)


@pytest.mark.parametrize(("bits", "allowed"), [([0], "greater than or equal to 1"), ([33], "32"), ([], "at least 1")])
def test_bits_are_1_to_32(bits: list[int], allowed: str) -> None:
    with pytest.raises(BadSetting, match=allowed):
        validated(QuantisationSettings, {"bits": bits}, "analysis")
