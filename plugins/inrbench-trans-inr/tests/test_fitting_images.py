"""Fitting in one forward pass, steps at test time, querying, resuming, and what does not fit."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from inrbench.cell_run import CellRun
from inrbench.cells import resolve
from inrbench.domains import Grid
from inrbench.errors import BadSetting, Interrupted, Refused
from inrbench.keys import stage_keys
from inrbench.representations import Representations
from inrbench.signals import GridSignals, PartSpec, SignalSpec

Fixture = Callable[..., Any]


def fitted(fitter: Any, signals: GridSignals, run: CellRun | None = None) -> Representations:
    return Representations.joined(fitter.fit(signals.unlabelled(), run or CellRun(0)))


def errors(fitter: Any, rows: Representations, signals: GridSignals) -> np.ndarray:
    values = np.concatenate(list(fitter.query(rows, signals.domain, CellRun(0))))
    return np.square(values - signals.values / 255.0).mean((1, 2, 3))


def test_a_fit_is_the_vectors_of_one_forward_pass_and_answers_query(
    drawn: Fixture, images: Fixture, observe: Fixture
) -> None:
    fitter, signals = drawn(shard=4), images(3)
    rows = fitted(fitter, signals)
    assert rows.layout.kind == "tokens"
    assert rows.ids.tolist() == [0, 1, 2]
    with torch.no_grad():
        loss, vectors, _ = fitter.loss(observe(signals))
    for name, array in rows.arrays.items():
        np.testing.assert_allclose(array, vectors[name].numpy(), rtol=1e-5, atol=1e-7)
    assert errors(fitter, rows, signals).mean() == pytest.approx(float(loss), rel=1e-5)


def test_a_signal_does_not_depend_on_the_others_nor_on_the_shard(drawn: Fixture, images: Fixture) -> None:
    for more in ({}, {"test_steps": 3, "test_lr": 0.01}, {"test_steps": 3, "test_lr": 0.01, "test_points": 10}):
        fitter, signals = drawn(shard=4, **more), images(6)
        whole = fitted(fitter, signals)
        alone = fitted(drawn(shard=1, **more), signals.take(np.array([5, 2])))
        for name, array in whole.arrays.items():
            np.testing.assert_allclose(array[[5, 2]], alone.arrays[name], rtol=1e-4, atol=1e-6)


def test_the_field_is_queried_on_any_grid(drawn: Fixture, images: Fixture) -> None:
    fitter, signals = drawn(), images(2)
    rows = fitted(fitter, signals)
    (fine,) = fitter.query(rows, Grid.of(24, 24), CellRun(0))
    (coarse,) = fitter.query(rows, Grid.of(8, 8), CellRun(0))
    assert fine.shape == (2, 24, 24, 1)
    np.testing.assert_allclose(fine[:, 1::3, 1::3], coarse, rtol=1e-4, atol=1e-5)  # the cell in the middle of nine


def test_steps_at_test_time_start_from_the_generated_weights(drawn: Fixture, images: Fixture, observe: Fixture) -> None:
    signals = images(2)
    fitter = drawn(test_steps=1, test_lr=1e-3)
    rows = fitted(fitter, signals)
    assert rows.layout.kind == "weights"
    with torch.no_grad():
        _, vectors, _ = fitter.loss(observe(signals))
        start = fitter.network.arrays(vectors)
    moved = 0
    for name, array in rows.arrays.items():
        change = np.abs(array - start[name].detach().numpy())
        assert change.max() <= 1e-3 * (1 + 1e-3)  # Adam's first step: the rate, towards the sign of the gradient
        moved += int((change > 0.9e-3).sum())
    assert moved > 0.5 * sum(array.size for array in rows.arrays.values())


@pytest.mark.parametrize("points", [None, 32])
def test_steps_at_test_time_lower_the_error(points: int | None, drawn: Fixture, images: Fixture) -> None:
    signals = images(3)
    found = []
    for steps in (0, 10, 60):
        fitter = drawn(test_steps=steps, test_lr=3e-3, test_points=points)
        found.append(errors(fitter, fitted(fitter, signals), signals))
    assert (found[1] < found[0]).all()
    assert (found[2] < 0.8 * found[1]).all()


def test_drawn_points_are_keyed_by_step_and_signal(drawn: Fixture, images: Fixture) -> None:
    few, all_but = (fitted(drawn(test_steps=2, test_points=n), images(2)) for n in (5, 63))
    again = fitted(drawn(test_steps=2, test_points=5), images(2))
    other = fitted(drawn(test_steps=2, test_points=5), images(2), CellRun(1))
    name = "layers.1.weight"
    assert np.array_equal(few.arrays[name], again.arrays[name])
    assert not np.array_equal(few.arrays[name], other.arrays[name])
    assert not np.array_equal(few.arrays[name], all_but.arrays[name])


def test_equal_images_of_two_signals_see_draws_of_their_own(drawn: Fixture, images: Fixture) -> None:
    one = images(1).values
    twins = GridSignals(np.concatenate([one, one]), None, np.array([3, 8]))
    for points, same in ((5, False), (None, True)):
        rows = fitted(drawn(test_steps=2, test_lr=0.01, test_points=points), twins)
        first, second = rows.arrays["layers.1.weight"]
        assert np.allclose(first, second, atol=1e-6) == same


def test_as_many_points_as_there_are_is_all_of_them(drawn: Fixture, images: Fixture) -> None:
    one, other = (fitted(drawn(test_steps=2, test_points=n), images(2)) for n in (64, None))
    assert all(np.array_equal(one.arrays[name], other.arrays[name]) for name in one.arrays)


def test_training_lowers_the_error_and_is_taken_up_again(drawn: Fixture, build: Fixture, images: Fixture) -> None:
    signals, none = images(8), images(0)
    fitter = build(lr=3e-3, train={"steps": 40, "batch_size": 4})
    run = CellRun(0)
    trained = fitter.train(signals.unlabelled(), none, run)
    assert trained.steps == 40
    losses = [entry["loss"] for entry in run.history]
    assert np.mean(losses[-4:]) < 0.7 * np.mean(losses[:4])
    other = build()
    other.load(trained.shared)
    one, two = fitted(fitter, signals), fitted(other, signals)
    assert all(np.array_equal(one.arrays[name], two.arrays[name]) for name in one.arrays)
    before = drawn()
    assert errors(other, two, signals).mean() < errors(before, fitted(before, signals), signals).mean()


class Stopping(CellRun):
    """A run that is stopped after some steps of its loops."""

    def __init__(self, folder: Path, after: int) -> None:
        super().__init__(0, folder=folder, checkpoint_every_s=0.0)
        self.after = after

    def log(self, step: int, **values: float) -> None:
        super().log(step, **values)
        self.after -= 1
        if self.after == 0:
            self.stop.set()


def test_training_resumes_bit_for_bit(build: Fixture, images: Fixture, tmp_path: Path) -> None:
    signals, none = images(8), images(0)
    whole = build().train(signals.unlabelled(), none, CellRun(0)).shared
    with pytest.raises(Interrupted):
        build().train(signals.unlabelled(), none, Stopping(tmp_path, after=2))
    resumed = build().train(signals.unlabelled(), none, CellRun(0, folder=tmp_path)).shared
    assert set(whole) == set(resumed)
    assert all(np.array_equal(whole[name], resumed[name]) for name in whole)


def test_steps_at_test_time_resume_bit_for_bit(drawn: Fixture, images: Fixture, tmp_path: Path) -> None:
    settings, signals = {"test_steps": 5, "test_points": 9}, images(3)
    whole = fitted(drawn(**settings), signals)
    with pytest.raises(Interrupted):
        fitted(drawn(**settings), signals, Stopping(tmp_path, after=2))
    resumed = fitted(drawn(**settings), signals, CellRun(0, folder=tmp_path))
    assert all(np.array_equal(whole.arrays[name], resumed.arrays[name]) for name in whole.arrays)


def test_other_steps_at_test_time_share_the_training() -> None:
    keys = []
    for steps in (0, 100):
        cell = resolve("trans-inr", "digits", overrides=[{"fitter": {"test_steps": steps}}])
        keys.append(stage_keys(cell, "data", "cpu"))
    assert keys[0]["train"] == keys[1]["train"]
    assert keys[0]["fit"] != keys[1]["fit"]


def test_patches_that_do_not_fill_the_image_are_refused(build: Fixture) -> None:
    with pytest.raises(BadSetting, match=r"fitter\.patch=3: with fitter\.pad=1 it must divide .* 8 x 8, padded: 10 is"):
        build(patch=3)


def test_what_is_no_image_is_refused(build: Fixture) -> None:
    made = build()
    for part, said in ((PartSpec("grid", (9,), 1, 1), "a grid of 9"), (PartSpec("points", (9,), 3, 1), "points")):
        with pytest.raises(Refused, match=f"takes images; this data set has signals on {said}"):
            type(made)(made.settings, SignalSpec((part,)), made.field)


def test_it_trains_no_reader() -> None:
    with pytest.raises(Refused, match="fitter 'trans-inr' cannot train jointly"):
        resolve("trans-inr", "digits", overrides=[{"reader": "mlp", "joint": {"share": 0.1}}])


def test_a_plateau_of_the_validation_error_lowers_the_rate(
    build: Fixture, images: Fixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def never_lower(self: Any, signals: GridSignals, run: CellRun) -> float:
        asked.append(len(signals))
        return 1.0

    settings = {"train": {"steps": 6, "batch_size": 4}}
    plain = build(**settings).train(images(8).unlabelled(), images(3, 8), CellRun(0)).shared
    fitter = build(plateau=1, **settings)
    assert fitter.train(images(8).unlabelled(), images(3, 8), CellRun(0)).steps == 6  # as it is, with its own measure
    monkeypatch.setattr(type(fitter), "_mean_error", never_lower)
    slower = build(plateau=1, **settings).train(images(8).unlabelled(), images(3, 8), CellRun(0)).shared
    assert asked == [3, 3, 3]  # behind each of three epochs of two steps
    name = "transformer.weight_tokens"
    start = build()
    start.start(CellRun(0))
    moved = [np.abs(shared[name] - start.state()[name]).mean() for shared in (slower, plain)]
    assert moved[0] < 0.9 * moved[1]


def test_a_plateau_without_validation_signals_is_refused(build: Fixture, images: Fixture) -> None:
    with pytest.raises(Refused, match=r"fitter\.plateau=2 needs validation signals"):
        build(plateau=2).train(images(4).unlabelled(), images(0), CellRun(0))


def test_the_mean_error_of_validation_is_that_of_all_its_signals(drawn: Fixture, images: Fixture) -> None:
    fitter, signals = drawn(shard=2), images(5)
    found = errors(fitter, fitted(fitter, signals), signals)
    assert fitter._mean_error(signals, CellRun(0)) == pytest.approx(found.mean(), rel=1e-5)
