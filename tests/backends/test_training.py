"""The PyTorch engine: schedules, clipping, resumed runs and the scaled gradient."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from inrbench import draws
from inrbench.backends.torch.joint import scale_gradient
from inrbench.backends.torch.training import Group, Part, descend, micro_batch, with_gradient
from inrbench.cell_run import CellRun
from inrbench.errors import Interrupted, NotFinite
from inrbench.schedules import one_cycle, schedule
from inrbench.settings import TrainingSettings

ONE_CYCLE = TrainingSettings(schedule="one-cycle", clip_norm=1.0, weight_decay=1e-2)
AVERAGED = TrainingSettings(ema=0.9, clip_norm=1.0)

# ------------------------------------------------------------------ schedules


@pytest.mark.parametrize(
    ("total", "warmup"),  # PyTorch divides by zero where the warm-up is the first step alone
    [(21, 0.05), (50, 0.05), (100, 0.05), (137, 0.05), (1000, 0.05), (5, 0.3), (50, 0.3), (137, 0.3)],
)
def test_one_cycle_is_pytorchs(total: int, warmup: float) -> None:
    parameter = torch.zeros(1, requires_grad=True)
    optimiser = torch.optim.AdamW([parameter], lr=0.7)
    theirs = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, max_lr=0.7, total_steps=total, pct_start=warmup, div_factor=25, final_div_factor=1e4
    )
    for step in range(total):
        factor, beta_1 = one_cycle(step, total, warmup)
        assert 0.7 * factor == pytest.approx(optimiser.param_groups[0]["lr"], rel=1e-9), step
        assert beta_1 == pytest.approx(optimiser.param_groups[0]["betas"][0], rel=1e-9), step
        optimiser.step()
        if step < total - 1:
            theirs.step()


def test_one_cycle_ends_at_a_250000th() -> None:
    assert one_cycle(99, 100, 0.05)[0] == pytest.approx(1 / 2.5e5)
    assert one_cycle(0, 100, 0.05) == (pytest.approx(1 / 25), pytest.approx(0.95))
    assert one_cycle(4, 100, 0.05) == (pytest.approx(1.0), pytest.approx(0.85))


@pytest.mark.parametrize("total", [1, 2, 3, 10, 19])
def test_one_cycle_is_defined_for_a_few_steps(total: int) -> None:
    factors = [one_cycle(step, total, 0.05)[0] for step in range(total)]
    assert all(0.0 < factor <= 1.0 for factor in factors)
    assert factors == sorted(factors, reverse=True)


def test_a_constant_schedule_leaves_rate_and_moments_alone() -> None:
    assert schedule(TrainingSettings(), 3, 10) == (1.0, None)


# ------------------------------------------------------------------ the loop


def trained(
    settings: TrainingSettings, total: int, run: CellRun, groups: list[Group] | None = None
) -> dict[str, np.ndarray]:
    """Descends a quadratic with keyed noise in two groups of parameters."""
    start = draws.generator(0, "start")
    if groups is None:
        first = {name: torch.tensor(start.standard_normal(5), requires_grad=True) for name in ("a", "b")}
        second = {"a": torch.tensor(start.standard_normal((2, 3)), requires_grad=True)}
        groups = [Group("slow", first, 1e-2), Group("fast", second, 1e-1)]

    def losses(step: int) -> Iterator[Part]:
        noise = torch.tensor(run.rng("noise", step).standard_normal(1))
        values = [(p - noise).square().sum() for group in groups for p in group.parameters.values()]
        yield 1.0, torch.stack(values).sum(), {"first": values[0]}

    descend("train", groups, losses, total, settings, run)
    return {f"{g.name}/{n}": p.detach().numpy().copy() for g in groups for n, p in g.parameters.items()}


@pytest.mark.parametrize("settings", [ONE_CYCLE, TrainingSettings()], ids=["one-cycle", "constant"])
def test_the_loop_is_adamw_with_each_group_clipped_apart(settings: TrainingSettings) -> None:
    found = trained(settings, 30, CellRun(0))

    start, run = draws.generator(0, "start"), CellRun(0)
    slow = [torch.tensor(start.standard_normal(5), requires_grad=True) for _ in range(2)]
    fast = [torch.tensor(start.standard_normal((2, 3)), requires_grad=True)]
    optimiser = torch.optim.AdamW(
        [{"params": slow, "lr": 1e-2}, {"params": fast, "lr": 1e-1}], weight_decay=settings.weight_decay
    )
    cycle = None
    if settings.schedule == "one-cycle":
        cycle = torch.optim.lr_scheduler.OneCycleLR(
            optimiser, max_lr=[1e-2, 1e-1], total_steps=30, pct_start=0.05, div_factor=25, final_div_factor=1e4
        )
    for step in range(30):
        noise = torch.tensor(run.rng("noise", step).standard_normal(1))
        optimiser.zero_grad()
        sum((p - noise).square().sum() for p in [*slow, *fast]).backward()  # type: ignore[union-attr]
        if settings.clip_norm is not None:
            for group in (slow, fast):
                norm = torch.sqrt(sum((p.grad.square().sum() for p in group), start=torch.zeros(())))  # type: ignore[union-attr]
                for p in group:
                    p.grad *= min(1.0, 1.0 / (float(norm) + 1e-6))  # type: ignore[operator]
        optimiser.step()
        if cycle is not None and step < 29:
            cycle.step()
    for name, expected in (("slow/a", slow[0]), ("slow/b", slow[1]), ("fast/a", fast[0])):
        np.testing.assert_allclose(found[name], expected.detach().numpy(), rtol=1e-6, atol=1e-9)


def test_a_huge_gradient_of_one_group_does_not_shrink_anothers() -> None:
    def moments(huge: float) -> dict[str, np.ndarray]:
        small, large = torch.zeros(3, requires_grad=True), torch.zeros(3, requires_grad=True)
        kept: dict[str, np.ndarray] = {}

        class Keeping(CellRun):
            def steps(self, name: str, total: int, state: Any, restore: Any) -> Any:
                yield 0
                kept.update({key: array.copy() for key, array in state().items()})

        groups = [Group("small", {"x": small}, 1e-2), Group("large", {"x": large}, 1e-2)]
        settings = TrainingSettings(clip_norm=1.0)
        descend(
            "train", groups, lambda step: [(1.0, 0.1 * small.sum() + huge * large.sum(), {})], 1, settings, Keeping(0)
        )
        return kept

    calm, wild = moments(0.1), moments(1e6)
    np.testing.assert_allclose(wild["exp_avg/small/x"], calm["exp_avg/small/x"], rtol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(wild["exp_avg/large/x"]) / 0.1, 1.0, rtol=1e-4)


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


@pytest.mark.parametrize("settings", [ONE_CYCLE, TrainingSettings(), AVERAGED], ids=["one-cycle", "constant", "ema"])
@pytest.mark.parametrize("after", [1, 2, 17, 29])
def test_an_interrupted_run_goes_on_to_the_same_bits(tmp_path: Path, settings: TrainingSettings, after: int) -> None:
    whole = trained(settings, 30, CellRun(0))
    with pytest.raises(Interrupted, match=f"step {after} of 30 is kept"):
        trained(settings, 30, StoppedAfter(after, tmp_path))
    steps = CellRun(0, folder=tmp_path)
    resumed = trained(settings, 30, steps)
    assert len(steps.history) == 30 - after  # nothing was done twice
    for name, array in whole.items():
        np.testing.assert_array_equal(array, resumed[name])


@pytest.mark.parametrize("decay", [0.5, 0.9])
def test_training_ends_with_the_average_of_the_parameters(decay: float) -> None:
    expected = trained(TrainingSettings(), 0, CellRun(0))
    for total in range(1, 7):  # the parameters after each step, which the average does not change
        for name, array in trained(TrainingSettings(), total, CellRun(0)).items():
            expected[name] = decay * expected[name] + (1.0 - decay) * array
    averaged, last = trained(TrainingSettings(ema=decay), 6, CellRun(0)), trained(TrainingSettings(), 6, CellRun(0))
    for name, array in expected.items():
        np.testing.assert_allclose(averaged[name], array, rtol=1e-9, atol=1e-12)
        assert not np.allclose(averaged[name], last[name], rtol=1e-3)


@pytest.mark.parametrize("decay", [0.0, 1.0, -0.1])
def test_a_decay_lies_between_0_and_1(decay: float) -> None:
    with pytest.raises(ValidationError, match="ema"):
        TrainingSettings(ema=decay)


def test_a_loss_that_is_not_finite_ends_the_run_with_the_step() -> None:
    x = torch.zeros(1, requires_grad=True)

    def losses(step: int) -> Iterator[Part]:
        yield 1.0, x.sum() * (float("nan") if step == 3 else 1.0), {}

    said = r"^the loss of train is nan at step 4 of 10; a smaller rate may help$"
    with pytest.raises(NotFinite, match=said):
        descend("train", [Group("all", {"x": x}, 1e-3)], losses, 10, TrainingSettings(), CellRun(0))


def test_the_parts_of_a_batch_add_up_by_their_shares() -> None:
    def moments(parts: list[slice]) -> tuple[np.ndarray, dict[str, float]]:
        x = torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64, requires_grad=True)
        signals = torch.tensor(draws.generator(0, "signals").standard_normal((6, 3)))

        def losses(step: int) -> Iterator[Part]:
            for part in parts:
                errors = (signals[part] - x).square().sum(1)
                yield len(errors) / 6, errors.mean(), {"largest": errors.max()}

        run = CellRun(0)
        descend("train", [Group("all", {"x": x}, 1e-2)], losses, 3, TrainingSettings(), run)
        return x.detach().numpy(), run.history[-1]

    whole, logged = moments([slice(0, 6)])
    split, logged_split = moments([slice(0, 1), slice(1, 4), slice(4, 6)])
    np.testing.assert_allclose(split, whole, rtol=1e-12)
    assert logged_split["loss"] == pytest.approx(logged["loss"], rel=1e-12)


def test_a_part_may_bring_its_own_gradient_in_place_of_a_loss() -> None:
    """Of 4 Σ x² + Σ y², by its shares, with the loss that is logged left as it is given."""
    found = []
    for own in (False, True):
        x, y = (torch.tensor([1.0, -2.0, size], requires_grad=True) for size in (0.5, 5.0))

        def losses(step: int, own: bool = own, x: torch.Tensor = x, y: torch.Tensor = y) -> Iterator[Part]:
            for share in (0.25, 0.75):
                if own:
                    gradient = {"y": 2.0 * y, "x": 8.0 * x}
                    yield share, with_gradient(torch.tensor(3.0 + share), {"x": x, "y": y}, gradient), {}
                else:
                    yield share, 4.0 * x.square().sum() + y.square().sum(), {}

        run, groups = CellRun(0), [Group("first", {"x": x}, 1e-2), Group("second", {"y": y}, 1e-1)]
        descend("train", groups, losses, 4, TrainingSettings(clip_norm=1.0), run)
        found.append([x.detach().numpy(), y.detach().numpy()])
    np.testing.assert_allclose(found[1], found[0], rtol=1e-6)
    assert [entry["loss"] for entry in run.history] == [0.25 * 3.25 + 0.75 * 3.75] * 4


@pytest.mark.parametrize(
    ("most", "signals", "activation_bytes", "device", "size"),
    [
        (None, 16, 512 * 2**10, "cpu", 8),
        (None, 16, 401_408, "cpu", 8),  # ten would fit: two equal parts
        (None, 16, 64, "cpu", 16),
        (None, 16, 2**30, "cpu", 1),
        (None, 16, 512 * 2**10, "cuda:0", 16),
        (5, 16, 64, "cpu", 4),
        (64, 16, 2**30, "cpu", 16),
    ],
)
def test_a_micro_batch_is_what_a_cache_holds_in_equal_parts(
    most: int | None, signals: int, activation_bytes: int, device: str, size: int
) -> None:
    assert micro_batch(most, signals, activation_bytes, device) == size


def test_each_step_is_logged_with_its_values() -> None:
    run = CellRun(0)
    trained(TrainingSettings(), 5, run)
    assert [entry["step"] for entry in run.history] == [0.0, 1.0, 2.0, 3.0, 4.0]
    assert set(run.history[0]) == {"step", "loss", "first"}


# ------------------------------------------------------------------ steps


def test_steps_count_whole_batches() -> None:
    assert TrainingSettings(epochs=10.0, batch_size=16).num_steps(50_000) == 31_250
    assert TrainingSettings(epochs=2.0, batch_size=16).num_steps(33) == 4
    assert TrainingSettings(epochs=0.001, batch_size=16).num_steps(33) == 1
    assert TrainingSettings(epochs=1.0, batch_size=16).num_steps(3) == 1
    assert TrainingSettings(steps=7).num_steps(33) == 7


# ------------------------------------------------------------------ a share of a gradient


@pytest.mark.parametrize("share", [0.01, 0.5, 2.0])
def test_a_scaled_gradient_leaves_the_value_alone(share: float) -> None:
    x = torch.tensor([1.0, -2.0, 3.0], requires_grad=True)
    seen = scale_gradient(x, share)
    assert seen.equal(x)
    (gradient,) = torch.autograd.grad(seen.square().sum(), x)
    torch.testing.assert_close(gradient, share * 2.0 * x.detach())


def test_share_0_cuts_and_share_1_is_the_value_itself() -> None:
    x = torch.ones(3, requires_grad=True)
    assert not scale_gradient(x, 0.0).requires_grad
    assert scale_gradient(x, 0.0).equal(x)
    assert scale_gradient(x, 1.0) is x
