"""MWT in bfloat16: what is looked at before it trains, what stays in float32; and what is logged of the inner rates."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from inrbench_mwt.meta_sgd import MetaSGD

from inrbench import draws
from inrbench.backends.torch import precision
from inrbench.backends.torch.fields import coords_of
from inrbench.backends.torch.joint import train_jointly
from inrbench.backends.torch.observed import GridOfSignals
from inrbench.cell_run import CellRun
from inrbench.cells import resolve
from inrbench.domains import Array, Grid
from inrbench.errors import Refused
from inrbench.interfaces import Head, Trained
from inrbench.representations import Representations
from inrbench.settings import SignalTrainingSettings
from inrbench.signals import GridSignals

SMALL: dict[str, Any] = {"inr": {"width": 16, "depth": 2}, "fitter": {"steps": 2}, "reader": {"blocks": 1}}
GROUPS = ("field", "rates", "reader.all")


class Watching(CellRun):
    """A run that keeps the checkpoint behind its last step."""

    states: dict[str, Array]

    def steps(self, name: str, total: int, state: Any, restore: Any) -> Iterator[int]:
        for step in range(total):
            yield step
            self.states = {key: array.copy() for key, array in state().items()}


def images(count: int = 8) -> GridSignals:
    """Bright bars, each at a place of its own: something that a few steps can learn."""
    rows = np.arange(8)[None, :, None, None]
    places = (np.arange(count) * 3 % 8)[:, None, None, None]
    values = 255.0 * np.exp(-0.5 * (rows - places) ** 2) * np.ones((1, 1, 8, 1))
    return GridSignals(values.astype(np.uint8), np.arange(count) % 4)


def trained(kind: str, steps: int, **fitter: Any) -> tuple[Watching, Trained]:
    built = resolve("mwt", "digits", overrides=[SMALL, {"fitter": {"lr": 1e-3, **fitter}}]).build()
    run, signals, reader = Watching(0), images(), built.reader
    assert reader is not None
    assert signals.labels is not None
    settings = SignalTrainingSettings(steps=steps, batch_size=8, precision=kind)  # type: ignore[arg-type]
    heads = [Head("reader", reader, 0.01, signals.labels)]
    return run, train_jointly(built.fitter, signals, heads, settings, run)  # type: ignore[arg-type]


def gradients(run: Watching) -> dict[str, Array]:
    """Of each group, from Adam's first moment behind one step."""
    found = {}
    for group in GROUPS:
        prefix = f"exp_avg/{group}/"
        arrays = [array.ravel() for key, array in run.states.items() if key.startswith(prefix)]
        found[group] = np.concatenate(arrays).astype(np.float64) / 0.1
    return found


# ------------------------------------------------------------------ the look before training


def test_the_difference_of_each_groups_gradient_is_logged_before_training() -> None:
    low, _ = trained("bfloat16", 1)
    full, _ = trained("float32", 1)
    look, step = low.history
    assert look.keys() == {"step", *(f"bfloat16_difference_{group}" for group in GROUPS)}
    assert look["step"] == step["step"] == 0.0
    assert not any(key.startswith("bfloat16") for key in [*step, *full.history[0]])
    expected, found = gradients(full), gradients(low)
    for group in GROUPS:
        difference = np.linalg.norm(found[group] - expected[group]) / np.linalg.norm(expected[group])
        assert look[f"bfloat16_difference_{group}"] == pytest.approx(difference, rel=1e-3)
        assert 1e-4 < difference < 0.1, group


def test_gradients_that_differ_too_much_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "LARGEST_DISAGREEMENT", 1e-5)
    said = (
        r"^the gradient of '(field|rates|reader\.all)' in bfloat16 differs from float32's by \d+\.\d% of its norm "
        r"\(allowed: 0%\); --set fitter\.train\.precision=float32$"
    )
    with pytest.raises(Refused, match=said):
        trained("bfloat16", 1)
    assert len(trained("float32", 1)[0].history) == 1


def test_inner_rates_that_have_grown_are_refused() -> None:
    with pytest.raises(Refused, match=r"in bfloat16 differs from float32's by .* \(allowed: 10%\)"):
        trained("bfloat16", 1, rate_low=20.0, rate_high=40.0)


# ------------------------------------------------------------------ training


def test_parameters_and_the_optimisers_state_stay_in_float32() -> None:
    run, result = trained("bfloat16", 3)
    assert {key.partition("/")[0] for key in run.states} == {"parameter", "exp_avg", "exp_avg_sq", "step"}
    assert {array.dtype for array in run.states.values()} == {np.dtype(np.float32)}
    arrays = [*result.shared.values(), *result.heads["reader"].values()]
    assert {array.dtype for array in arrays} == {np.dtype(np.float32)}


def test_a_short_training_in_bfloat16_ends_near_float32s() -> None:
    low, full = (trained(kind, 60)[0].history for kind in ("bfloat16", "float32"))
    low = [entry for entry in low if "loss" in entry]
    assert len(low) == len(full) == 60
    for name in ("loss", "psnr_db"):
        one, other = (np.mean([entry[name] for entry in history[-5:]]) for history in (low, full))
        assert one == pytest.approx(other, rel=0.05), name
        assert one != other
    assert full[-1]["psnr_db"] > full[0]["psnr_db"] + 1.0  # it has learned something


# ------------------------------------------------------------------ fitting


def test_fits_in_bfloat16_are_float32s_up_to_its_digits() -> None:
    def fitted(kind: str) -> Representations:
        built = resolve("mwt", "digits", overrides=[SMALL, {"fitter": {"fit_precision": kind}}]).build()
        built.fitter.start(CellRun(0))  # type: ignore[attr-defined]
        return Representations.joined(built.fitter.fit(images().unlabelled(), CellRun(0)))

    full, low = fitted("float32"), fitted("bfloat16")
    for name, array in full.arrays.items():
        assert low.arrays[name].dtype == np.float32
        difference = np.linalg.norm(low.arrays[name] - array) / np.linalg.norm(array)
        assert 0.0 < difference < 0.05, name


# ------------------------------------------------------------------ the inner rates in numbers


def observed() -> GridOfSignals:
    values = torch.as_tensor(images().values).float().reshape(8, 64, 1) / 255.0
    return GridOfSignals(np.arange(8), coords_of(Grid.of(8, 8), "cpu"), values, lambda one: draws.generator(0, one))


def logged(change: Any) -> dict[str, float]:
    """What a step logs of the rates after ``change`` of them, flat."""
    fitter = resolve("mwt", "digits", overrides=[SMALL]).build().fitter
    assert isinstance(fitter, MetaSGD)
    fitter.start(CellRun(0))
    change({name: array.view(-1) for name, array in fitter.rates.items()})
    fitter.groups("cpu")
    _, _, logs = fitter.loss(observed())
    assert not any(value.requires_grad for value in logs.values())
    return {name: float(value) for name, value in logs.items() if name.startswith("alpha")}


def test_the_inner_rates_range_and_signs_are_logged() -> None:
    def change(rates: Any) -> None:
        rates["layers.0.weight"][3] = -0.25
        rates["layers.2.bias"][0] = -0.5
        rates["layers.1.weight"][7] = 1.75

    total = 2 * (16 * 2 + 16 + 2 * (16 * 16 + 16))
    found = logged(change)
    assert found == {
        "alpha_min": -0.5,
        "alpha_max": 1.75,
        "alpha_negative_share": pytest.approx(2 / total),
        "alpha_not_finite": 0.0,
    }


def test_inner_rates_as_they_are_drawn_are_positive() -> None:
    found = logged(lambda rates: None)
    assert 0.1 <= found["alpha_min"] < 0.11
    assert 0.99 < found["alpha_max"] <= 1.0
    assert found["alpha_negative_share"] == found["alpha_not_finite"] == 0.0


def test_inner_rates_that_are_not_finite_are_counted() -> None:
    def change(rates: Any) -> None:
        rates["layers.0.bias"][:2] = math.inf
        rates["layers.1.weight"][5] = -math.inf
        rates["layers.2.weight"][9] = math.nan

    assert logged(change)["alpha_not_finite"] == 4.0


def test_the_inner_rates_are_logged_at_every_step() -> None:
    run, _ = trained("float32", 4, lr_rates=0.2)
    assert [entry["step"] for entry in run.history] == [0.0, 1.0, 2.0, 3.0]
    assert all(
        entry.keys() >= {"alpha_min", "alpha_max", "alpha_negative_share", "alpha_not_finite"} for entry in run.history
    )
    assert run.history[0]["alpha_negative_share"] == 0.0 < run.history[-1]["alpha_negative_share"] < 1.0
