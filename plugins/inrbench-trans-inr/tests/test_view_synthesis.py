"""Fields from views: the error along rays, training, fitting in one forward pass, steps at test time, querying."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from inrbench_trans_inr import field_loss
from inrbench_trans_inr.ray_loss import ray_loss
from inrbench_trans_inr.seen_rays import SeenRays, Support

from inrbench.backends.torch.rendering import render
from inrbench.cell_run import CellRun
from inrbench.domains import Grid
from inrbench.errors import Interrupted, Refused
from inrbench.keys import stage_keys
from inrbench.representations import Representations
from inrbench.scoring import errors_of

Fixture = Callable[..., Any]


def fitted(fitter: Any, signals: Any, run: CellRun | None = None) -> Representations:
    return Representations.joined(fitter.fit(signals.unlabelled(), run or CellRun(0)))


def support_errors(fitter: Any, rows: Representations, signals: Any) -> np.ndarray:
    """Each entry's squared error on the views that it observes."""
    found = []
    for i in range(len(rows)):
        part = signals.observed(i)[0]
        (values,) = fitter.query(rows.take(slice(i, i + 1)), part.domain, CellRun(0))
        found.append(np.square(values[0] - part.unit_values()).mean())
    return np.array(found)


# ------------------------------------------------------------------ the error along rays


@pytest.mark.parametrize("chunk", [1, 4 * 8 * 6 * 45, 2**24])  # a ray, two objects and a bit, all
@pytest.mark.parametrize("jitter", [None, 5])
def test_the_error_and_its_gradient_are_those_of_rendering_all_at_once(
    drawn_views: Fixture, objects: Fixture, chunk: int, jitter: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    fitter = drawn_views()
    support, seen = fitter.drawn(objects()["train"], np.arange(3), 0, CellRun(0))
    seen = SeenRays(seen.origins.double(), seen.directions.double(), seen.values.double(), seen.bounds)
    with torch.no_grad():
        made = fitter.network.arrays(fitter.vectors(support))
    arrays = {name: array.double().requires_grad_() for name, array in made.items()}
    generator = None if jitter is None else torch.Generator().manual_seed(jitter)
    rays = (seen.origins, seen.directions, *seen.bounds, 6)
    colours = render(fitter.field, arrays, *rays, generator)
    expected = (colours - seen.values).square().mean((1, 2))
    weights = torch.tensor([1.0, 0.5, 2.0], dtype=torch.float64)
    gradients = torch.autograd.grad((weights * expected).sum(), list(arrays.values()))
    monkeypatch.setitem(field_loss.CHUNK_BYTES, "cpu", chunk)
    found = ray_loss(fitter.field, arrays, seen, jitter)
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=0.0)
    for one, other in zip(torch.autograd.grad((weights * found).sum(), list(arrays.values())), gradients, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-14)


# ------------------------------------------------------------------ training


def test_training_lowers_the_error_and_is_taken_up_again(build_views: Fixture, objects: Fixture) -> None:
    splits = objects()
    fitter = build_views(lr=3e-3, foreground_epochs=0.0, train={"steps": 60})
    run = CellRun(0)
    trained = fitter.train(splits["train"].unlabelled(), splits["train"], run)
    losses = [entry["loss"] for entry in run.history]
    assert (trained.steps, len(losses)) == (60, 60)
    assert np.mean(losses[-10:]) < 0.7 * np.mean(losses[:10])
    other = build_views()
    other.load(trained.shared)
    one, two = fitted(fitter, splits["test"]), fitted(other, splits["test"])
    assert all(np.array_equal(one.arrays[name], two.arrays[name]) for name in one.arrays)


def test_the_loss_is_the_mean_over_objects_however_they_are_parted(build_views: Fixture, objects: Fixture) -> None:
    train, found = objects()["train"], []
    for size in (1, 4):
        run = CellRun(0)
        build_views(train={"steps": 2, "micro_batch": size}).train(train, train, run)
        found.append([entry["loss"] for entry in run.history])
    assert found[0] == pytest.approx(found[1], rel=1e-4)


def test_a_plateau_of_the_validation_error_lowers_the_rate(
    build_views: Fixture, objects: Fixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    train, held_out, asked = objects()["train"].take(np.arange(5)), objects()["train"].take(np.arange(5, 8)), []
    settings = {"train": {"steps": 6, "batch_size": 2}, "shard": 2}
    fitter = build_views(plateau=1, **settings)
    plain = build_views(**settings).train(train, held_out, CellRun(0)).shared
    assert fitter.train(train, held_out, CellRun(0)).steps == 6
    first, again = (fitter._mean_error(held_out, CellRun(0)) for _ in range(2))
    alone = [fitter._mean_error(held_out.take(np.array([i])), CellRun(0)) for i in range(3)]
    assert first == again == pytest.approx(np.mean(alone), rel=1e-5)
    monkeypatch.setattr(type(fitter), "_mean_error", lambda self, signals, run: asked.append(len(signals)) or 1.0)
    slower = build_views(plateau=1, **settings).train(train, held_out, CellRun(0)).shared
    assert asked == [3, 3, 3]  # behind each of three epochs of two steps
    four = build_views(shard=2, train={"steps": 4, "batch_size": 2}).train(train, held_out, CellRun(0)).shared
    name = "transformer.weight_tokens"
    moved = [np.abs(shared[name] - four[name]).mean() for shared in (slower, plain)]
    assert moved[0] < 0.2 * moved[1]  # the last two steps were at a tenth of the rate
    with pytest.raises(Refused, match=r"fitter\.plateau=2 needs validation signals"):
        build_views(plateau=2).train(train, train.take(np.zeros(0, dtype=np.int64)), CellRun(0))


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


def test_training_resumes_bit_for_bit(build_views: Fixture, objects: Fixture, tmp_path: Path) -> None:
    train = objects()["train"]
    whole = build_views().train(train, train, CellRun(0)).shared
    with pytest.raises(Interrupted):
        build_views().train(train, train, Stopping(tmp_path, after=3))
    resumed = build_views().train(train, train, CellRun(0, folder=tmp_path)).shared
    assert set(whole) == set(resumed)
    assert all(np.array_equal(whole[name], resumed[name]) for name in whole)


# ------------------------------------------------------------------ fitting


def test_a_fit_is_the_vectors_of_one_forward_pass_over_the_observed_views(
    drawn_views: Fixture, objects: Fixture
) -> None:
    fitter, test = drawn_views(shard=3), objects()["test"]
    rows = fitted(fitter, test)
    assert (rows.layout.kind, rows.ids.tolist()) == ("tokens", test.ids.tolist())
    with torch.no_grad():
        expected = fitter.vectors(Support.of([test.observed(i)[0] for i in range(10)], "cpu"))
    for name, array in rows.arrays.items():
        np.testing.assert_allclose(array, expected[name].numpy(), rtol=1e-4, atol=1e-6)


def test_the_order_of_support_views_does_not_matter_but_which_they_are_does(
    drawn_views: Fixture, objects: Fixture
) -> None:
    fitter, train = drawn_views(), objects()["train"]

    def vectors(chosen: list[int]) -> dict[str, torch.Tensor]:
        with torch.no_grad():
            return fitter.vectors(Support.of([train.views(0, np.array(chosen))], "cpu"))

    first, turned, other = vectors([1, 2, 4]), vectors([4, 1, 2]), vectors([1, 2, 3])
    for name, array in first.items():
        torch.testing.assert_close(array, turned[name], rtol=1e-4, atol=1e-6)
        assert float((array - other[name]).abs().max()) > 1e-3


@pytest.mark.parametrize(
    "more", [{}, {"test_steps": 3, "test_lr": 0.01}, {"test_steps": 3, "test_lr": 0.01, "test_rays": 999}]
)
@pytest.mark.parametrize("views", [1, 2])
def test_an_object_does_not_depend_on_the_others_nor_on_the_shard(
    drawn_views: Fixture, objects: Fixture, more: dict[str, Any], views: int
) -> None:
    test = objects(support_views=views)["test"]
    whole = fitted(drawn_views(shard=4, **more), test)
    alone = fitted(drawn_views(shard=1, **more), test.take(np.array([6, 3])))
    for name, array in whole.arrays.items():
        np.testing.assert_allclose(array[[6, 3]], alone.arrays[name], rtol=1e-3, atol=1e-5)


class Mixed:
    """Entries of two data sets, which observe one view or two."""

    def __init__(self, *signals: Any) -> None:
        self.signals = signals
        self.ids = np.array([one.ids[i] for i, one in enumerate(signals)])

    def __len__(self) -> int:
        return len(self.signals)

    def observed(self, i: int) -> Any:
        return self.signals[i].observed(i)

    def unlabelled(self) -> Any:
        return self


def test_entries_may_observe_different_numbers_of_views(drawn_views: Fixture, objects: Fixture) -> None:
    fitter = drawn_views(shard=4)
    one, two = (objects(support_views=views)["test"] for views in (1, 2))
    rows, single, double = (fitted(fitter, signals) for signals in (Mixed(one, two, two, one, one), one, two))
    for name, array in rows.arrays.items():
        np.testing.assert_allclose(array[[0, 3, 4]], single.arrays[name][[0, 3, 4]], rtol=1e-3, atol=1e-5)
        np.testing.assert_allclose(array[[1, 2]], double.arrays[name][[1, 2]], rtol=1e-3, atol=1e-5)


def test_steps_at_test_time_start_from_the_generated_weights(drawn_views: Fixture, objects: Fixture) -> None:
    test = objects()["test"]
    rows = fitted(drawn_views(test_steps=1, test_lr=1e-3), test)
    assert rows.layout.kind == "weights"
    plain = drawn_views()
    start = plain.arrays_of(fitted(plain, test), "cpu")
    moved, sizes = 0, 0
    for name, array in rows.arrays.items():
        change = np.abs(array - start[name].detach().numpy())
        assert change.max() <= 1e-3 * (1 + 1e-3)  # Adam's first step: the rate, towards the sign of the gradient
        moved, sizes = moved + int((change > 0.9e-3).sum()), sizes + array.size
    assert moved > 0.5 * sizes


@pytest.mark.parametrize("rays", [24, 64])
def test_steps_at_test_time_lower_the_error_of_the_support_views(
    drawn_views: Fixture, objects: Fixture, rays: int
) -> None:
    test, found = objects()["test"].take(np.arange(4)), []
    for steps in (0, 10, 60):
        fitter = drawn_views(test_steps=steps, test_lr=1e-2, test_rays=rays)
        found.append(support_errors(fitter, fitted(fitter, test), test))
    assert (found[1] < found[0]).all()
    assert (found[2] < 0.8 * found[1]).all()


def test_rays_at_test_time_are_keyed_by_step_and_object(drawn_views: Fixture, objects: Fixture) -> None:
    test = objects()["test"]
    one, again, other = (fitted(drawn_views(test_steps=2), test, CellRun(seed)) for seed in (0, 0, 1))
    name = "layers.1.weight"
    assert np.array_equal(one.arrays[name], again.arrays[name])
    assert not np.array_equal(one.arrays[name], other.arrays[name])
    whole, more = (fitted(drawn_views(test_steps=2, test_rays=rays), test) for rays in (64, 1024))
    assert np.array_equal(whole.arrays[name], more.arrays[name])  # all that there are


def test_steps_at_test_time_resume_bit_for_bit(drawn_views: Fixture, objects: Fixture, tmp_path: Path) -> None:
    test = objects()["test"]
    whole = fitted(drawn_views(test_steps=4), test)
    with pytest.raises(Interrupted):
        fitted(drawn_views(test_steps=4), test, Stopping(tmp_path, after=6))
    resumed = fitted(drawn_views(test_steps=4), test, CellRun(0, folder=tmp_path))
    assert all(np.array_equal(whole.arrays[name], resumed.arrays[name]) for name in whole.arrays)


def test_other_steps_or_views_at_test_time_share_the_training(views_cell: Fixture) -> None:
    changes: list[dict[str, Any]] = [{}, {"test_steps": 9}, {"test_rays": 9}, {"data": {"support_views": 2}}]
    keys = [stage_keys(views_cell(**change), "data", "cpu") for change in changes]
    assert len({one["train"] for one in keys}) == 1
    assert len({one["fit"] for one in keys}) == 4
    assert stage_keys(views_cell(support_views=2), "data", "cpu")["train"] != keys[0]["train"]


def test_held_out_views_are_queried_by_rendering(drawn_views: Fixture, objects: Fixture) -> None:
    fitter, test = drawn_views(), objects(query_views=2)["test"]
    rows = fitted(fitter, test)
    errors = errors_of(fitter, rows, test, CellRun(0))
    assert errors.mse.shape == errors.unclamped.shape == (10, 2)
    part = test.scored(3)[0]
    domain = part.domain
    rays = [torch.as_tensor(array).reshape(-1, 3) for array in (domain.origins, domain.directions)]
    colours = render(fitter.field, fitter.arrays_of(rows.take(slice(3, 4)), "cpu"), *rays, 3.0, 5.0, 1.0, 6)
    expected = np.square(colours.detach().numpy().reshape(part.values.shape) - part.unit_values()).mean((1, 2, 3))
    np.testing.assert_allclose(errors.unclamped[3], expected, rtol=1e-4)
    with pytest.raises(Refused, match="represents scenes, which are seen along rays, not on a grid"):
        next(iter(fitter.query(rows, Grid.of(4, 4), CellRun(0))))
