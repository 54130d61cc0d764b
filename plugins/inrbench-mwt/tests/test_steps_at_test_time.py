"""Other inner steps at test time than in training: one training, many fits; and the way that the steps take."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from inrbench_mwt.meta_sgd import MetaSGD

from inrbench import draws
from inrbench.cell_run import CellRun
from inrbench.cells import Cell, resolve
from inrbench.domains import Array
from inrbench.errors import BadSetting
from inrbench.interfaces import Head, Run, SteppingFitter, Trained
from inrbench.keys import STAGES, stage_ingredients, stage_keys
from inrbench.pipeline import Outcome, run_cell
from inrbench.representations import Representations
from inrbench.selection import Selected
from inrbench.signals import GridSignals, Signals
from inrbench.stages import Stages

TINY: dict[str, Any] = {
    "inr": {"width": 6, "depth": 2},
    "fitter": {"steps": 3, "rates": "shared", "shard": 2, "train": {"steps": 2, "batch_size": 4}},
    "reader": {"blocks": 1},
}


def cell_of(method: str = "mwt", **fitter: Any) -> Cell:
    return resolve(method, "digits", overrides=[TINY, {"fitter": fitter}])


def fitter_of(state: Mapping[str, Array] | None = None, **fitter: Any) -> MetaSGD:
    found = cell_of(**fitter).build().fitter
    assert isinstance(found, MetaSGD)
    found.start(CellRun(0))
    if state is not None:
        found.load(state)
    return found


def images(count: int = 5, first: int = 0) -> GridSignals:
    values = draws.generator(first, "images").integers(0, 256, (count, 8, 8, 1), dtype=np.uint8)
    return GridSignals(values, np.arange(count) % 10, np.arange(first, first + count))


def fitted(fitter: MetaSGD) -> Representations:
    return Representations.joined(fitter.fit(images().unlabelled(), CellRun(0)))


def traced(fitter: MetaSGD) -> Sequence[Representations]:
    assert isinstance(fitter, SteppingFitter)
    return fitter.trace(images().unlabelled(), CellRun(0))


def assert_same_rows(one: Representations, other: Representations) -> None:
    np.testing.assert_array_equal(one.ids, other.ids)
    assert one.layout == other.layout
    assert one.arrays.keys() == other.arrays.keys()
    for name, array in one.arrays.items():
        np.testing.assert_array_equal(array, other.arrays[name], err_msg=name)


SHARES = pytest.mark.parametrize("share", [1.0, 0.3])

# ------------------------------------------------------------------ the steps


@SHARES
@pytest.mark.parametrize("rates", ["shared", "per-step"])
def test_as_many_steps_as_in_training_are_the_plain_fit(share: float, rates: str) -> None:
    plain, asked = (fitter_of(subsample=share, rates=rates, test_steps=steps) for steps in (None, 3))
    assert_same_rows(fitted(plain), fitted(asked))


@SHARES
def test_more_steps_go_on_along_the_same_way(share: float) -> None:
    longer = traced(fitter_of(subsample=share, test_steps=7))
    assert len(longer) == 8
    for steps in range(1, 8):
        assert_same_rows(longer[steps], fitted(fitter_of(subsample=share, test_steps=steps)))
    assert_same_rows(longer[3], fitted(fitter_of(subsample=share)))
    assert (longer[7].arrays["layers.1.weight"] != longer[3].arrays["layers.1.weight"]).any()


def test_fewer_steps_stop_early() -> None:
    state = fitter_of().state()
    one = fitter_of(state, steps=1)
    assert_same_rows(fitted(fitter_of(state, test_steps=1)), fitted(one))


def test_more_steps_cost_more_in_fitting_alone() -> None:
    few, many = fitter_of().facts(), fitter_of(test_steps=12).facts()
    assert many.fit_flops == 4 * few.fit_flops  # type: ignore[operator]
    assert replace(many, fit_flops=few.fit_flops) == few


def test_rates_of_each_step_refuse_another_number_of_steps() -> None:
    said = (
        r"^settings of 'fitter': test_steps=8 with steps=6 needs one row of rates for all steps: fitter\.rates=shared$"
    )
    with pytest.raises(BadSetting, match=said):
        resolve("mwt", "digits", overrides=[{"fitter": {"test_steps": 8}}])
    with pytest.raises(BadSetting, match=r"^setting fitter\.test_steps=0: input should be greater than or equal to 1"):
        resolve("mwt", "digits", overrides=[{"fitter": {"test_steps": 0, "rates": "shared"}}])
    assert resolve("mwt", "digits", overrides=[{"fitter": {"test_steps": 6}}]).settings["fitter"] is not None


# ------------------------------------------------------------------ the way that they take


@SHARES
def test_a_trace_has_a_row_for_each_step_from_zero_on(share: float) -> None:
    fitter = fitter_of(subsample=share)
    rows = traced(fitter)
    assert len(rows) == 4
    assert all(list(row.ids) == [0, 1, 2, 3, 4] for row in rows)
    assert not any(array.any() for array in rows[0].arrays.values())
    assert_same_rows(rows[-1], fitted(fitter))
    for before, after in itertools.pairwise(rows):
        for name, array in after.arrays.items():
            assert array.shape == (5, *fitter.layout.shapes[name])
            assert array.dtype == before.arrays[name].dtype == np.float32
            assert (array != before.arrays[name]).any(), name


def test_the_first_of_a_trace_is_where_all_signals_start() -> None:
    fitter = fitter_of()
    start, *_, end = traced(fitter)
    (before,), (after,) = ([np.concatenate(list(fitter.query(r, images().domain, CellRun(0))))] for r in (start, end))
    assert np.abs(before - before[:1]).max() < 1e-6
    truth = images().values / 255.0
    assert np.square(after - truth).mean() < np.square(before - truth).mean()


# ------------------------------------------------------------------ one training, many fits


@pytest.mark.parametrize(
    ("method", "own"), [("mwt", ("fit", "read", "score")), ("wt-two-stage", ("fit", "read", "score"))]
)
def test_steps_at_test_time_change_no_key_of_training(method: str, own: tuple[str, ...]) -> None:
    plain, more = cell_of(method), cell_of(method, test_steps=9)
    one, other = (stage_keys(cell, "c", "cpu") for cell in (plain, more))
    assert tuple(stage for stage in STAGES if one[stage] != other[stage]) == own
    ingredients = stage_ingredients(more, "c", "cpu")
    assert ingredients["fit"]["settings"]["fitter.test_steps"] == 9
    assert "fitter.test_steps" not in ingredients["train"]["settings"]


@pytest.mark.parametrize("name", ["subsample", "steps", "recompute"])
def test_what_training_uses_changes_its_key(name: str) -> None:
    value: Any = {"subsample": 0.5, "steps": 4, "recompute": True}[name]
    assert stage_keys(cell_of(), "c", "cpu")["train"] != stage_keys(cell_of(**{name: value}), "c", "cpu")["train"]


def test_the_precision_of_fitting_changes_no_key_of_training() -> None:
    one, other = (stage_keys(cell_of(fit_precision=p), "c", "cpu") for p in ("float32", "bfloat16"))
    assert [stage for stage in STAGES if one[stage] != other[stage]] == ["fit", "read", "score"]


def test_a_second_cell_with_more_steps_does_not_train_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trainings = []
    plain = MetaSGD.train

    def counted(self: MetaSGD, train: Signals, validation: Signals, run: Run, heads: Sequence[Head] = ()) -> Trained:
        trainings.append(len(train))
        return plain(self, train, validation, run, heads)

    monkeypatch.setattr(MetaSGD, "train", counted)
    train, scored = images(6), images(4, first=50)
    data = Selected(train, train.take(np.arange(0)), scored, train.labels, "test")

    def outcome(**fitter: Any) -> Outcome:
        cell = cell_of(**fitter)
        built, stages = cell.build(), Stages(tmp_path, stage_keys(cell, "c", "cpu"))
        return run_cell(built.fitter, built.reader, 0.01, data, CellRun(0), stages)

    first, second, third = outcome(), outcome(test_steps=6), outcome()
    assert trainings == [6]
    assert first.metrics == third.metrics
    assert (first.vectors["mse"] != second.vectors["mse"]).all()
    assert second.costs["fit_flops_per_signal"] == 2 * first.costs["fit_flops_per_signal"]
    outcome(steps=2)
    assert trainings == [6, 6]
