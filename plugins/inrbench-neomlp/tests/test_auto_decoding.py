"""Auto-decoding: training against a plain version, counts of steps, a frozen backbone, and what a row depends on."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

from inrbench import metrics
from inrbench.cell_run import CellRun
from inrbench.domains import Grid
from inrbench.errors import BadSetting, Refused
from inrbench.representations import Representations
from inrbench.signals import PartSpec, SignalSpec


class Logged(CellRun):
    """A run that knows how many steps each loop had."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__(seed)
        self.totals: dict[str, int] = {}

    def steps(self, name: str, total: int, *more: Any) -> Any:
        self.totals[name] = total
        return super().steps(name, total, *more)


def same(one: Representations, other: Representations) -> bool:
    return bool(np.array_equal(one.arrays["latent"], other.arrays["latent"]) and np.array_equal(one.ids, other.ids))


def note_calls(monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, note: Callable[..., Any]) -> None:
    """Call ``note`` with the arguments of each call of the method, which works as before."""
    method = getattr(owner, name)

    def noted(*given: Any) -> Any:
        note(*given)
        return method(*given)

    monkeypatch.setattr(owner, name, noted)


# ------------------------------------------------------------------ training


def plain_training(double: ModuleType, steps: int, batch: int, lr: float = 5e-3) -> tuple[dict[str, Any], Any]:
    """The same in a few lines: pairs of a step are drawn among all, with replacement; dense Adam on everything."""
    signals, field, run = double.images(), double.Double(), CellRun(0)
    drawn = field.init(torch.Generator().manual_seed(int(run.rng("fitter", "initialisation").integers(2**63))))
    spread = np.sqrt(1e-3)
    rngs = [run.rng("latents in training", one) for one in signals.ids.tolist()]
    start = np.stack([rng.standard_normal((3, 4), dtype=np.float32) for rng in rngs])
    latents = torch.as_tensor((spread * start).astype(np.float32)).requires_grad_()
    backbone = {name: drawn[name].requires_grad_() for name in ("in", "mix", "bias", "head")}
    optimiser = torch.optim.Adam([*backbone.values(), latents], lr=lr)
    coords = torch.as_tensor(Grid.of(5, 4).coords().reshape(20, 2))
    values = torch.as_tensor(signals.values.reshape(6, 20, 1)).float() / 255
    for step in range(steps):
        numbers = run.rng("pairs", step).integers(0, 120, batch)
        i, j = numbers // 20, numbers % 20
        arrays = {**backbone, "hidden": latents[i][:, :2], "output": latents[i][:, 2:]}
        loss = (field.apply(arrays, coords[j][:, None])[:, 0] - (2 * values[i, j] - 1)).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return {name: array.detach().numpy() for name, array in backbone.items()}, latents.detach().numpy()


@pytest.mark.parametrize("micro_batch", [None, 5])
def test_training_is_adam_on_pairs_of_all_signals(double: ModuleType, micro_batch: int | None) -> None:
    fitter = double.trained(train={"steps": 7, "batch_size": 16, "micro_batch": micro_batch})
    expected, _ = plain_training(double, 7, 16)
    for name, array in expected.items():
        np.testing.assert_allclose(fitter.backbone[name], array, rtol=1e-4, atol=1e-6)


def test_latents_of_training_move_by_their_momentum_too(double: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch of 2 pairs leaves most signals out; in the end all that were drawn once have gone on moving."""
    fitter, seen = double.fitter_of(train={"steps": 5, "batch_size": 2}), []
    note_calls(monkeypatch, fitter, "_fit_psnr", lambda train, latents, run: seen.append(latents))
    fitter.train(double.images(), double.images(0), CellRun(0))
    _, expected = plain_training(double, 5, 2)
    np.testing.assert_allclose(seen[0].numpy(), expected, rtol=1e-4, atol=1e-6)
    _, before = plain_training(double, 4, 2)
    drawn_last = set((CellRun(0).rng("pairs", 4).integers(0, 120, 2) // 20).tolist())
    drawn_before = {int(n) // 20 for step in range(4) for n in CellRun(0).rng("pairs", step).integers(0, 120, 2)}
    assert (coasting := drawn_before - drawn_last)
    assert all(not np.array_equal(before[i], expected[i]) for i in coasting)


def test_what_training_leaves_is_the_backbone(double: ModuleType) -> None:
    fitter = double.fitter_of()
    left = fitter.train(double.images(), double.images(0), CellRun(0))
    assert set(left.shared) == {"backbone/in", "backbone/mix", "backbone/bias", "backbone/head"}
    assert left.steps == 4 * (120 // 16)


@pytest.mark.parametrize(
    ("batch", "epochs", "share", "steps"), [(16, 4.0, 1.0, 28), (7, 1.0, 1.0, 17), (7, 3.0, 0.1, 3), (500, 2.0, 1.0, 2)]
)
def test_an_epoch_of_training_has_the_whole_batches_that_its_pairs_fill(
    double: ModuleType, batch: int, epochs: float, share: float, steps: int
) -> None:
    run = Logged()
    double.trained(run=run, train={"batch_size": batch, "epochs": epochs, "share": share})
    assert run.totals == {"train": steps}


def test_a_backbone_is_learned_from_as_many_signals_as_are_asked_for(
    double: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    fitter, seen = double.fitter_of(train={"signals": 4, "epochs": 1.0, "batch_size": 10}), []
    note_calls(monkeypatch, fitter, "_fit_psnr", lambda train, latents, run: seen.append((train, latents)))
    left = fitter.train(double.images(), double.images(0), CellRun(0))
    assert left.steps == 8  # of 80 pairs
    ((train, latents),) = seen
    chosen = np.sort(CellRun(0).rng("training signals").choice(6, 4, replace=False))
    assert train.ids.tolist() == (10 + chosen).tolist()
    assert len(latents) == 4
    assert double.fitter_of(train={"signals": 9}).train(double.images(), double.images(0), CellRun(0)).steps == 28


@pytest.mark.parametrize("count", [None, 4])
def test_the_fit_psnr_is_that_of_the_latents_that_are_thrown_away(
    double: ModuleType, count: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    signals, seen = double.images(), []
    fitter = double.fitter_of(fit_psnr_signals=count)
    note_calls(monkeypatch, fitter, "_fit_psnr", lambda train, latents, run: seen.append(latents))
    left = fitter.train(signals, double.images(0), CellRun(0))
    rows = fitter._rows(signals.ids, seen[0])
    predicted = np.concatenate(list(fitter.query(rows, Grid.of(5, 4), CellRun(0))))
    db = -10 * np.log10(((np.clip(predicted, 0, 1) - signals.values / 255.0) ** 2).mean((1, 2, 3)))
    chosen = np.arange(6) if count is None else CellRun(0).rng("fit psnr").choice(6, 4, replace=False)
    assert left.metrics["fit_psnr_db"] == pytest.approx(db[chosen].mean(), abs=1e-4)
    low, high = metrics.mean_interval(db[chosen])
    assert (left.metrics["fit_psnr_db_low"], left.metrics["fit_psnr_db_high"]) == pytest.approx((low, high), abs=1e-3)


def test_the_fit_psnr_of_clouds_is_measured_on_their_own_points(double: ModuleType) -> None:
    clouds = double.Clouds([12, 9, 12])
    spec = SignalSpec((PartSpec("points", (12,), 2, 1),))
    left = double.fitter_of(spec).train(clouds, clouds.take([]), CellRun(0))
    assert 0.0 < left.metrics["fit_psnr_db"] < 40.0


# ------------------------------------------------------------------ fitting


@pytest.mark.parametrize("draws", ["per-signal", "pooled"])
def test_fitting_lowers_the_error_and_leaves_the_backbone(double: ModuleType, draws: str) -> None:
    fitter, signals = double.trained(train={"epochs": 40.0, "batch_size": 16}), double.images()
    before = {name: array.copy() for name, array in fitter.backbone.items()}

    def error(epochs: float) -> float:
        settings = {"draws": draws, "epochs": epochs, "lr": 2e-2, "batch_size": 16}
        other = double.fitter_of(fit=settings)
        other.load({f"backbone/{name}": array for name, array in fitter.backbone.items()})
        rows = double.fitted(other, signals)
        assert set(rows.arrays) == {"latent"}
        assert rows.arrays["latent"].shape == (6, 3, 4)
        for name, array in before.items():
            np.testing.assert_array_equal(other.backbone[name], array)
        predicted = np.concatenate(list(other.query(rows, Grid.of(5, 4), CellRun(0))))
        return float(metrics.squared_error(predicted, signals.values / np.float32(255)).mean())

    assert error(30.0) < 0.9 * error(1.0)


def test_a_fit_by_draws_per_signal_is_adam_on_each_signal_alone(double: ModuleType) -> None:
    """⌈20 / 6⌉ = 4 steps an epoch: the last has 2 points; each epoch is a permutation of the points."""
    fitter, signals = double.trained(), double.images()
    rows = double.fitted(fitter, signals)
    field, run = double.Double(), CellRun(0)
    backbone = {name: torch.as_tensor(array) for name, array in fitter.backbone.items()}
    coords = torch.as_tensor(Grid.of(5, 4).coords().reshape(20, 2))
    for k, one in enumerate(signals.ids.tolist()):
        start = np.sqrt(1e-3) * run.rng("latents", one).standard_normal((3, 4), dtype=np.float32)
        latent = torch.as_tensor(start.astype(np.float32)).requires_grad_()
        optimiser = torch.optim.Adam([latent], lr=5e-3)
        for epoch in range(3):
            order = run.rng("points", one, epoch).permutation(20)
            for points in (order[:6], order[6:12], order[12:18], order[18:]):
                arrays = {**backbone, "hidden": latent[:2], "output": latent[2:]}
                target = torch.as_tensor(signals.values[k].reshape(20, 1)[points]).float() / 127.5 - 1
                loss = (field.apply(arrays, coords[points]) - target).square().mean()
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
        np.testing.assert_allclose(rows.arrays["latent"][k], latent.detach().numpy(), rtol=2e-3, atol=2e-5)


@pytest.mark.parametrize("others", [[2], [4, 1, 2], [5, 2, 0, 3, 1, 4], [0, 1, 2]])
def test_by_draws_per_signal_latents_depend_on_no_other_bit_for_bit(double: ModuleType, others: list[int]) -> None:
    fitter, signals = double.trained(), double.images()
    whole = double.fitted(fitter, signals)
    part = double.fitted(fitter, signals.take(np.array(others)))
    assert same(part, whole.take(np.array(others)))


def test_by_pooled_draws_latents_depend_on_the_others(double: ModuleType) -> None:
    fitter, signals = double.trained(fit={"draws": "pooled", "batch_size": 16}), double.images()
    whole = double.fitted(fitter, signals)
    part = double.fitted(fitter, signals.take(np.array([2, 3])))
    assert not np.allclose(part.arrays["latent"], whole.arrays["latent"][[2, 3]], atol=1e-3)
    assert same(whole, double.fitted(fitter, signals))
    assert [len(rows) for rows in fitter.fit(signals, CellRun(0))] == [4, 2]  # shards of one fit


@pytest.mark.parametrize(("batch", "share", "per_epoch"), [(16, 1.0, 8), (120, 1.0, 1), (16, 0.2, 2), (500, 1.0, 1)])
def test_a_pooled_epoch_takes_each_pair_once(
    double: ModuleType, batch: int, share: float, per_epoch: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    fitter = double.trained(fit={"draws": "pooled", "batch_size": batch, "epochs": 2.0, "share": share})
    seen: list[Any] = []
    note_calls(monkeypatch, fitter, "_pair_losses", lambda *given: seen.append(20 * given[3] + given[4]))
    run = Logged()
    double.fitted(fitter, double.images(), run)
    assert run.totals == {"fit": 2 * per_epoch}
    for epoch in range(2):
        numbers = np.concatenate(seen[epoch * per_epoch : (epoch + 1) * per_epoch])
        assert len(numbers) == round(share * 120)
        assert len(set(numbers.tolist())) == len(numbers)
    if share < 1.0:  # drawn anew in each epoch
        assert set(np.concatenate(seen[:per_epoch]).tolist()) != set(np.concatenate(seen[per_epoch:]).tolist())


@pytest.mark.parametrize(
    ("points", "share", "steps"), [(6, 1.0, 12), (20, 1.0, 3), (50, 1.0, 3), (6, 0.5, 6), (1, 0.1, 6)]
)
def test_an_epoch_by_draws_per_signal_takes_each_point_once(
    double: ModuleType, points: int, share: float, steps: int
) -> None:
    run = Logged()
    double.fitted(double.trained(fit={"signal_points": points, "share": share}), double.images(), run)
    assert run.totals == {"shard 0": steps, "shard 1": steps}


def test_clouds_of_different_sizes_are_fitted_in_order_and_apart(double: ModuleType) -> None:
    clouds = double.Clouds([12, 12, 9, 12, 12])
    spec = SignalSpec((PartSpec("points", (12,), 2, 1),))
    fitter = double.fitter_of(spec)
    fitter.load(fitter.train(clouds, clouds.take([]), CellRun(0)).shared)
    whole = double.fitted(fitter, clouds)
    assert whole.ids.tolist() == [0, 1, 2, 3, 4]
    assert [len(rows) for rows in fitter.fit(clouds, CellRun(0))] == [2, 1, 1, 1]  # a shard of 4
    assert same(double.fitted(fitter, clouds.take([3, 2])), whole.take(np.array([3, 2])))


def test_no_signal_has_no_row(double: ModuleType) -> None:
    assert list(double.trained().fit(double.images(0), CellRun(0))) == []


def test_latents_start_from_their_variance_keyed_by_id(double: ModuleType) -> None:
    fitter = double.fitter_of(latent_variance=0.04)
    start = fitter._fresh("latents", np.arange(2000), CellRun(0)).numpy()
    assert start.std() == pytest.approx(0.2, rel=0.02)
    np.testing.assert_array_equal(fitter._fresh("latents", np.array([7]), CellRun(0)).numpy()[0], start[7])
    assert not np.array_equal(fitter._fresh("latents", np.array([7]), CellRun(1)).numpy()[0], start[7])


# ------------------------------------------------------------------ facts and refusals


def test_its_facts_are_those_of_the_backbone_and_the_latents(double: ModuleType) -> None:
    fitter = double.fitter_of(train={"epochs": 4.0, "share": 0.5}, fit={"epochs": 3.0})
    facts = fitter.facts()
    assert facts.parameters == 8 * 2 + 8 * 12 + 8 + 8
    assert facts.adapted_values == 12
    assert fitter.layout.kind == "latent"
    assert fitter.layout.shapes == {"latent": (3, 4)}
    forward = double.Double().flops(20)
    assert (facts.train_flops, facts.fit_flops) == (3 * forward, 2 * forward * 3)
    assert fitter.settings.train.presented(6) == 6 * 4 * 0.5  # as many pairs as those signals have
    assert double.fitter_of(train={"epochs": 4.0, "signals": 2}).settings.train.presented(6) == 2 * 4
    assert (facts.initialisation, facts.pooled) == ("auto-decoded", False)
    assert double.fitter_of(fit={"draws": "pooled"}).facts().pooled is True


def test_it_refuses_a_field_without_latents_and_latents_that_are_no_nodes(double: ModuleType) -> None:
    field = double.Double()
    field.latents = ()
    with pytest.raises(Refused, match=r"takes a field with latents, as --set inr=neomlp; this one has none"):
        double.fitter_of(field=field)
    field.latents = ("hidden", "bias")
    with pytest.raises(
        Refused, match=r"takes latents \[nodes, D\] of one D; this field has hidden \(2, 4\), bias \(8,\)"
    ):
        double.fitter_of(field=field)


def test_it_refuses_a_clip_before_any_work(double: ModuleType) -> None:
    (part,) = double.GRID.parts
    with pytest.raises(Refused, match="has none; a single signal is fitted by --set fitter=gradient-descent"):
        double.fitter_of(SignalSpec((part,), sizes={"test": 1}))
    with pytest.raises(Refused, match="takes signals of one part; these have 2"):
        double.fitter_of(SignalSpec((part, part)))


def test_copies_start_from_latents_of_their_own(double: ModuleType) -> None:
    fitter, signals, run = double.trained(), double.images(), CellRun(0)
    first = double.fitted(fitter, signals, run)
    with run.of_copy(1):
        other = double.fitted(fitter, signals, run)
    assert not same(first, other)


def test_it_refuses_to_train_on_nothing(double: ModuleType) -> None:
    with pytest.raises(Refused, match="there is no training signal"):
        double.fitter_of().train(double.images(0), double.images(0), CellRun(0))


def test_a_wrong_setting_names_what_is_allowed(double: ModuleType) -> None:
    with pytest.raises(BadSetting, match=r"fitter\.fit\.draws='split'.*'per-signal' or 'pooled'"):
        double.fitter_of(fit={"draws": "split"})
