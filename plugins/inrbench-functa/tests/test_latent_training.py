"""Training of what latents share: where it starts, what a step descends, that it learns, and that it resumes."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import jax
import numpy as np
import pytest
import torch
from inrbench_functa.latent_meta_sgd import LatentMetaSGD

from inrbench.backends.jax import precision
from inrbench.backends.jax.training import named
from inrbench.backends.torch.copies import augment
from inrbench.cell_run import CellRun
from inrbench.domains import Array
from inrbench.errors import Interrupted, Refused
from inrbench.interfaces import Trained
from inrbench.schedules import batches
from inrbench.settings import Augmentation
from inrbench.signals import GridSignals

Build = Callable[..., LatentMetaSGD]
Images = Callable[..., GridSignals]
#: One inner step, which compiles faster, where any number would do.
QUICK: dict[str, Any] = {"steps": 1, "lr": 3e-3}
TRAIN: dict[str, Any] = {"steps": 8, "batch_size": 4}


def trained(fitter: LatentMetaSGD, signals: Any, run: CellRun) -> Trained:
    return fitter.train(signals, signals.take(np.arange(0)), run)


@pytest.fixture(scope="module")
def whole(build: Build, images: Images) -> Callable[..., tuple[Trained, CellRun]]:
    """``whole(**training)``: what a training of 8 steps leaves, and its run; once for equal settings."""

    @cache
    def found(**training: Any) -> tuple[Trained, CellRun]:
        run = CellRun(0)
        return trained(build("nearest", **QUICK, train=TRAIN | training), images(16).unlabelled(), run), run

    return found


# ------------------------------------------------------------------ where it starts


def test_rates_start_uniform_between_their_ends_and_are_keyed_by_the_seed(build: Build) -> None:
    fitter = build("nearest", inr={"latent_channels": 200}, rate_low=0.02, rate_high=0.5, rate_scale=7.0)
    network, rates = fitter.start(CellRun(0))
    assert rates.shape == (4, 4, 200)
    assert rates.dtype == np.float32
    assert 0.02 <= rates.min() < 0.021
    assert 0.499 < rates.max() <= 0.5  # the scale is no part of them
    assert rates.mean() == pytest.approx(0.26, abs=0.01)
    again, other = fitter.start(CellRun(0)), fitter.start(CellRun(1))
    for name, array in named((network, rates)).items():
        np.testing.assert_array_equal(named(again)[name], array)
        assert not array.any() or not np.array_equal(named(other)[name], array)


def test_without_a_training_signal_it_is_refused(build: Build, images: Images) -> None:
    with pytest.raises(Refused, match=r"^there is no training signal"):
        trained(build("global"), images().take(np.arange(0)), CellRun(0))


def test_no_steps_share_what_it_starts_with(build: Build, images: Images) -> None:
    fitter = build("global", train={"steps": 0, "precision": "bfloat16"})
    run = CellRun(3)
    done = trained(fitter, images(), run)
    assert (done.steps, done.heads, run.history) == (0, {}, [])
    for name, array in fitter.state(*fitter.start(CellRun(3))).items():
        np.testing.assert_array_equal(done.shared[name], array)


# ------------------------------------------------------------------ what a step descends


def test_the_first_step_is_adams_on_the_plain_versions_gradient_of_its_batch(
    build: Build, images: Images, plain: ModuleType, plain_model: Any
) -> None:
    augmentation = {"pad": 2, "flip": True}
    fitter = build("global", lr=1e-3, lr_rates=2e-2, train={"steps": 1, "batch_size": 4, "augmentation": augmentation})
    run, signals = CellRun(5), images(16)
    done = trained(fitter, signals, run)
    start = fitter.state(*fitter.start(run))
    index = batches(16, 4, run)(0)
    unit = torch.as_tensor(signals.values[index] / 255.0).float()
    seen = augment(unit, Augmentation.model_validate(augmentation), run.rng("copies", 0)).numpy().reshape(4, 64, 3)

    @jax.jit
    def plainly(arrays: dict[str, Array]) -> Any:
        model, places = plain_model(fitter, arrays)
        loss, slope = plain.outer_gradients(model, places, seen, fitter.settings.rate_scale)
        return loss, slope.arrays()

    loss, slope = plainly(start)
    (logged,) = run.history
    assert logged["loss"] == pytest.approx(float(loss), rel=1e-5)
    assert logged["psnr_db"] > -10.0 * np.log10(logged["loss"])  # of each signal, then averaged: Jensen
    rates = fitter.settings.rate_scale * start["rates"]
    assert (logged["rate_min"], logged["rate_max"]) == pytest.approx((rates.min(), rates.max()))
    assert logged["rate_negative_share"] == 0.0
    for name, before in start.items():
        gradient = np.asarray(slope[name.removeprefix("network/")])
        large = np.abs(gradient) > 1e-5  # where Adam's epsilon and rounding do not matter
        assert large.any(), name
        step = (2e-2 if name == "rates" else 1e-3) * np.sign(gradient)
        assert (done.shared[name] - before)[large] == pytest.approx(-step[large], rel=5e-3), name


def test_one_rate_is_for_all_unless_the_rates_have_their_own(whole: Any, build: Build) -> None:
    done, run = whole()
    start = build("nearest").start(run)[1]
    assert 0.0 < np.abs(done.shared["rates"] - start).max() <= 8 * 1.01 * QUICK["lr"]


# ------------------------------------------------------------------ that it learns


def test_training_reduces_the_loss(build: Build, images: Images) -> None:
    run = CellRun(0)
    done = trained(build("nearest", lr=3e-3, train={"steps": 60, "batch_size": 8}), images(16), run)
    losses = [entry["loss"] for entry in run.history]
    assert len(losses) == done.steps == 60
    assert np.mean(losses[-5:]) < 0.3 * np.mean(losses[:5])
    assert run.history[-1]["psnr_db"] > run.history[0]["psnr_db"] + 5.0
    assert done.compile_s > 0.0
    assert done.heads == {}


def test_training_on_free_points_reduces_the_loss(build: Build, space: Any, balls: Any) -> None:
    run = CellRun(0)
    fitter = build("global", space, **QUICK, subsample=0.5, train={"steps": 40, "batch_size": 4})
    done = trained(fitter, balls, run)
    losses = [entry["loss"] for entry in run.history]
    assert np.mean(losses[-5:]) < 0.5 * np.mean(losses[:5])
    fitter.load(done.shared)
    (rows,) = fitter.fit(balls, CellRun(0))
    errors = []
    for i in range(5):
        (part,) = balls.observed(i)
        (found,) = fitter.query(rows.take(slice(i, i + 1)), part.domain, CellRun(0))
        errors.append(np.square(found[0] - part.unit_values()).mean())
    assert np.mean(errors) < 2.0 * np.mean(losses[-5:])  # on points that no step saw


# ------------------------------------------------------------------ equal bits


def test_two_runs_with_one_seed_are_equal_bit_for_bit_whatever_the_labels(
    whole: Any, build: Build, images: Images
) -> None:
    done, run = whole()
    again = CellRun(0)
    found = trained(build("nearest", **QUICK, train=TRAIN), images(16), again)
    assert again.history == run.history
    for name, array in done.shared.items():
        np.testing.assert_array_equal(found.shared[name], array)


class StoppedAfter(CellRun):
    """A run that is asked to stop within its ``after``-th step."""

    def __init__(self, after: int, folder: Path) -> None:
        super().__init__(0, folder=folder, stop=threading.Event())
        self.after = after

    def steps(self, *arguments: Any) -> Any:
        for step in super().steps(*arguments):
            if step + 1 == self.after:
                self.stop.set()
            yield step


def test_an_interrupted_training_goes_on_to_the_same_bits(
    tmp_path: Path, whole: Any, build: Build, images: Images
) -> None:
    with pytest.raises(Interrupted, match="step 5 of 8 is kept"):
        trained(build("nearest", **QUICK, train=TRAIN), images(16), StoppedAfter(5, tmp_path))
    rest = CellRun(0, folder=tmp_path)
    resumed = trained(build("nearest", **QUICK, train=TRAIN), images(16), rest)
    done, run = whole()
    assert rest.history == run.history[5:]
    for name, array in done.shared.items():
        np.testing.assert_array_equal(resumed.shared[name], array)


def test_a_batch_worked_on_in_parts_trains_the_same(whole: Any) -> None:
    (found, run), (done, other) = whole(micro_batch=2), whole()
    for name, array in done.shared.items():
        np.testing.assert_allclose(found.shared[name], array, atol=1e-4)
    for one, two in zip(run.history, other.history, strict=True):
        assert one == pytest.approx(two, rel=1e-3)


# ------------------------------------------------------------------ bfloat16


def test_bfloat16_is_looked_at_before_it_trains(whole: Any) -> None:
    looked, first, *_ = whole(precision="bfloat16")[1].history
    differences = {name: looked.pop(f"bfloat16_difference_{name}") for name in ("network", "rates")}
    assert looked == {"step": 0.0}
    assert all(1e-4 < difference < precision.LARGEST_DISAGREEMENT for difference in differences.values())
    in_float32 = whole()[1].history[0]["loss"]
    assert first["loss"] == pytest.approx(in_float32, rel=1e-2)
    assert first["loss"] != pytest.approx(in_float32, rel=1e-6)


def test_bfloat16_is_refused_where_gradients_differ(
    build: Build, images: Images, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(precision, "LARGEST_DISAGREEMENT", 1e-5)
    run = CellRun(0)
    with pytest.raises(Refused, match=r"--set fitter\.train\.precision=float32$"):
        trained(build("nearest", **QUICK, train=TRAIN | {"precision": "bfloat16"}), images(16), run)
    assert len(run.history) == 1  # nothing was trained
