"""Joint training: what a fitter and its heads are given, step by step, whatever holds the signals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from inrbench import draws
from inrbench.backends.torch import joint
from inrbench.backends.torch.copies import augment
from inrbench.backends.torch.joint import train_jointly
from inrbench.backends.torch.observed import DrawnSignals, GridOfSignals, Observed
from inrbench.backends.torch.precision import precision_here
from inrbench.backends.torch.training import Group
from inrbench.cell_run import CellRun
from inrbench.domains import Array, Grid, Points
from inrbench.errors import Refused
from inrbench.interfaces import Head, Run, Trained
from inrbench.settings import Augmentation, SignalTrainingSettings
from inrbench.signals import GridSignals, Part, Signals

COPIES = Augmentation(pad=1, flip=True)


class Slope:
    """Fits values by w · (y, x) + b, over all points or a share of them; what it was given is kept."""

    def __init__(self, share: float = 1.0) -> None:
        self.share = share
        self.given: list[tuple[Array, list[tuple[Tensor, Tensor]], torch.dtype | None]] = []
        self.kinds: set[type] = set()
        self.starts = 0

    def start(self, run: Run) -> None:
        self.starts += 1
        self.w = torch.tensor(run.rng("w").standard_normal(2), dtype=torch.float32)
        self.b = torch.zeros(1)

    def groups(self, device: str) -> Sequence[Group]:
        self.w.requires_grad_()
        self.b.requires_grad_()
        return [Group("slope", {"w": self.w, "b": self.b}, 5e-2)]

    def loss(self, observed: Observed) -> tuple[Tensor, dict[str, Tensor], dict[str, Tensor]]:
        samples = [observed.whole()] if self.share == 1.0 else observed.drawn(2, self.share)
        self.given.append((observed.ids, samples, precision_here(torch.device("cpu"))))
        self.kinds.add(type(observed))
        errors = torch.stack([((c @ self.w + self.b) - v[..., 0]).square().mean(-1) for c, v in samples]).sum(0)
        rows = {"ids": torch.as_tensor(observed.ids).float()[:, None] * self.w.sum()}
        return errors.mean(), rows, {"largest": errors.detach().max()}

    def activation_bytes(self) -> int:
        return 1

    def state(self) -> dict[str, np.ndarray]:
        return {"w": self.w.detach().numpy().copy(), "b": self.b.detach().numpy().copy()}


class Sum:
    """A head that learns a factor; the rows and labels that it was given are kept."""

    def __init__(self) -> None:
        self.given: list[tuple[Tensor, Tensor]] = []

    def start(self, run: Run) -> None:
        self.factor = torch.ones(1)

    def groups(self, device: str) -> Sequence[Group]:
        return [Group("all", {"factor": self.factor.requires_grad_()}, 1e-2)]

    def loss(
        self, rows: Mapping[str, Tensor], labels: Tensor, rng: np.random.Generator
    ) -> tuple[Tensor, dict[str, Tensor]]:
        self.given.append((rows["ids"].detach().clone(), labels))
        return 1e-3 * (self.factor * rows["ids"]).square().mean(), {"hits": torch.tensor(0.5)}

    def state(self) -> dict[str, np.ndarray]:
        return {"factor": self.factor.detach().numpy().copy()}


@dataclass(frozen=True)
class Ramps:
    """Signals with a value anywhere, that of signal i being i / 10 · x; a copy is `scale` brighter."""

    ids: Array
    labels: Array | None = None
    num_points: int = 20

    def __len__(self) -> int:
        return len(self.ids)

    def observed(self, i: int) -> Sequence[Part]:
        coords = np.linspace(-1.0, 1.0, 2 * self.num_points, dtype=np.float32).reshape(-1, 2)
        return (Part(Points(coords), self.ids[i] / np.float32(10.0) * coords[:, 1:]),)

    scored = observed

    def draw(
        self, i: int, sets: int, count: int, rng: np.random.Generator, augmentation: Augmentation | None = None
    ) -> tuple[Array, Array]:
        coords = rng.uniform(-1.0, 1.0, (sets, count, 2)).astype(np.float32)
        brighter = 0.0 if augmentation is None else 10.0 + augmentation.scale
        return coords, (self.ids[i] / 10.0 * coords[..., 1:] + brighter).astype(np.float32)

    def stacked(self) -> None:
        return None

    def take(self, indices: Array) -> Ramps:
        return replace(self, ids=self.ids[indices])

    def unlabelled(self) -> Ramps:
        return replace(self, labels=None)


class OnDemand:
    """Values that are computed when rows are asked for, and rows only by an array of integers."""

    def __init__(self, values: Array) -> None:
        self.values = values
        self.shape, self.dtype, self.ndim, self.nbytes = values.shape, values.dtype, values.ndim, values.nbytes
        self.asked: list[int] = []

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, index: Any) -> Array:
        assert isinstance(index, np.ndarray)
        assert index.dtype.kind == "i"
        assert index.ndim == 1
        self.asked.append(len(index))
        return self.values[index]


def images(count: int = 10) -> GridSignals:
    values = draws.generator(0, "images").integers(0, 256, (count, 4, 5, 1), dtype=np.uint8)
    return GridSignals(values, None, np.arange(count) + 100)


def trained(
    signals: Signals, fitter: Slope, heads: Sequence[Head] = (), seed: int = 0, **settings: Any
) -> tuple[Trained, CellRun]:
    run = CellRun(seed)
    options = SignalTrainingSettings(**{"steps": 5, "batch_size": 4, **settings})
    return train_jointly(fitter, signals, heads, options, run), run


def assert_same_bits(one: Trained, other: Trained) -> None:
    assert one.shared.keys() == other.shared.keys()
    for name, array in one.shared.items():
        np.testing.assert_array_equal(array, other.shared[name], err_msg=name)


# ------------------------------------------------------------------ what holds the signals


@pytest.mark.parametrize("share", [1.0, 0.3])
@pytest.mark.parametrize("augmentation", [Augmentation(), COPIES], ids=["plain", "copies"])
@pytest.mark.parametrize("held", ["mapped from a file", "too large to keep on the device", "made on demand"])
def test_signals_train_the_same_bits_wherever_they_are_kept(
    held: str, augmentation: Augmentation, share: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    signals = images()
    resident, first = trained(signals, Slope(share), augmentation=augmentation)
    assert not np.array_equal(resident.shared["w"], CellRun(0).rng("w").standard_normal(2).astype(np.float32))
    values: Any = signals.values
    if held == "mapped from a file":
        np.save(tmp_path / "values.npy", signals.values)
        values = np.load(tmp_path / "values.npy", mmap_mode="r")
    if held == "made on demand":
        values = OnDemand(signals.values)
    else:
        monkeypatch.setattr(joint, "RESIDENT_BYTES", 0)
    fitter = Slope(share)
    lazily, second = trained(replace(signals, values=values), fitter, augmentation=augmentation)
    assert_same_bits(resident, lazily)
    assert first.history == second.history
    assert fitter.kinds == {GridOfSignals}
    if isinstance(values, OnDemand):
        assert values.asked == [4] * 5  # a batch at a time


def test_a_read_only_array_that_is_kept_on_the_device_gives_no_warning(tmp_path: Path) -> None:
    signals = images()
    np.save(tmp_path / "values.npy", signals.values)
    mapped = np.load(tmp_path / "values.npy", mmap_mode="r")
    assert_same_bits(trained(replace(signals, values=mapped), Slope())[0], trained(signals, Slope())[0])


def test_each_step_gets_the_copies_of_its_batch() -> None:
    signals, fitter = images(), Slope()
    _, run = trained(signals, fitter, augmentation=COPIES)
    assert len(fitter.given) == 5
    for step, (ids, [(coords, values)], _) in enumerate(fitter.given):
        np.testing.assert_array_equal(coords, Grid.of(4, 5).coords().reshape(20, 2))
        plain = torch.as_tensor(signals.values[ids - 100]).float() * signals.to_unit[0]
        expected = augment(plain, COPIES, run.rng("copies", step))
        assert torch.equal(values, expected.reshape(4, 20, 1))
        assert not torch.equal(expected, plain)


# ------------------------------------------------------------------ signals that are drawn


@pytest.mark.parametrize("micro_batch", [1, 3, 4])
def test_drawn_signals_are_drawn_afresh_at_each_step_and_keyed_by_step_and_signal(micro_batch: int) -> None:
    fitter = Slope(0.5)
    result, run = trained(Ramps(np.arange(10) + 5), fitter, micro_batch=micro_batch)
    assert fitter.kinds == {DrawnSignals}
    parts = -(-4 // micro_batch)
    assert len(fitter.given) == 5 * parts
    for number, (ids, samples, _) in enumerate(fitter.given):
        assert len(samples) == 2
        for i, one in enumerate(ids):
            rng = run.rng("points", number // parts, int(one))
            coords = rng.uniform(-1.0, 1.0, (2, 10, 2)).astype(np.float32)
            for k in range(2):
                np.testing.assert_array_equal(samples[k][0][i], coords[k])
                np.testing.assert_allclose(samples[k][1][i], one / 10 * coords[k][:, 1:], atol=1e-6)
    whole, _ = trained(Ramps(np.arange(10) + 5), Slope(0.5), micro_batch=4)
    for name, array in whole.shared.items():
        np.testing.assert_allclose(result.shared[name], array, rtol=0, atol=1e-6)


def test_training_on_drawn_signals_learns_what_they_share() -> None:
    fitter = Slope(0.5)
    result, run = trained(Ramps(np.arange(4) + 5), fitter, steps=400)
    assert result.shared["w"] == pytest.approx([0.0, 0.65], abs=0.1)  # the mean of 0.5, 0.6, 0.7, 0.8
    assert run.history[-1]["loss"] < 0.1 * run.history[0]["loss"]


def test_copies_of_drawn_signals_are_asked_for_where_the_settings_name_some() -> None:
    plain, copied = Slope(0.5), Slope(0.5)
    trained(Ramps(np.arange(10)), plain)
    trained(Ramps(np.arange(10)), copied, augmentation=Augmentation(scale=0.5))
    for (_, samples, _), (_, brighter, _) in zip(plain.given, copied.given, strict=True):
        for (coords, values), (same, more) in zip(samples, brighter, strict=True):
            assert torch.equal(coords, same)
            torch.testing.assert_close(more, values + 10.5, rtol=0, atol=1e-5)


def test_signals_on_grids_of_their_own_are_refused() -> None:
    class Apart(GridSignals):
        def stacked(self) -> Any:
            return None

    said = r"^joint training takes signals that share one grid, or that have a value at any point$"
    with pytest.raises(Refused, match=said):
        trained(Apart(images().values), Slope())


def test_no_training_signal_is_refused_before_anything_starts() -> None:
    fitter = Slope()
    with pytest.raises(Refused, match="there is no training signal"):
        trained(images().take(np.arange(0)), fitter)
    assert fitter.starts == 0


# ------------------------------------------------------------------ parts of a batch


@pytest.mark.parametrize("micro_batch", [1, 2, 3, 4, 100, None])
def test_a_head_gets_the_labels_of_the_signals_that_it_reads(micro_batch: int | None) -> None:
    fitter, head, signals = Slope(), Sum(), images()
    labels = np.arange(10) * 7 + 3
    trained(signals, fitter, [Head("reader", head, 1.0, labels)], micro_batch=micro_batch)  # type: ignore[arg-type]
    assert len(head.given) == len(fitter.given) == 5 * (-(-4 // micro_batch) if micro_batch else 1)
    seen = []
    for (_, classes), (ids, _, _) in zip(head.given, fitter.given, strict=True):
        assert classes.tolist() == labels[ids - 100].tolist()
        seen += ids.tolist()
    assert len(seen) == 5 * 4
    assert sorted(seen[:8]) == sorted(set(seen[:8]))  # two batches an epoch, no signal twice


@pytest.mark.parametrize("micro_batch", [1, 2, 3])
def test_parts_of_a_batch_train_what_the_whole_batch_does(micro_batch: int) -> None:
    def go(size: int) -> tuple[Trained, CellRun, Sum]:
        head = Sum()
        heads = [Head("reader", head, 0.5, np.arange(10))]  # type: ignore[arg-type]
        return *trained(images(), Slope(0.3), heads, micro_batch=size, clip_norm=0.1), head

    (whole, first, _), (parts, second, _) = go(4), go(micro_batch)
    for name, array in whole.shared.items():
        np.testing.assert_allclose(parts.shared[name], array, rtol=0, atol=1e-6)
    np.testing.assert_allclose(parts.heads["reader"]["factor"], whole.heads["reader"]["factor"], atol=1e-6)
    for one, other in zip(first.history, second.history, strict=True):
        assert one.keys() == other.keys() == {"step", "loss", "largest", "hits"}
        assert one["loss"] == pytest.approx(other["loss"], rel=1e-5)


def test_a_heads_share_reaches_the_fitter_through_its_rows() -> None:
    def slopes(share: float) -> Array:
        heads = [Head("reader", Sum(), share, np.arange(10))]  # type: ignore[arg-type]
        return trained(images(), Slope(), heads, steps=1)[0].shared["w"]

    alone = trained(images(), Slope(), steps=1)[0].shared["w"]
    np.testing.assert_array_equal(slopes(0.0), alone)
    assert (slopes(50.0) != alone).any()


# ------------------------------------------------------------------ in bfloat16


def test_the_first_batch_is_looked_at_in_both_precisions_before_training() -> None:
    fitter = Slope(0.3)
    _, run = trained(images(), fitter, steps=3, precision="bfloat16", micro_batch=2)
    assert [kind for _, _, kind in fitter.given] == [None] * 2 + [torch.bfloat16] * (2 + 3 * 2)
    first, again, training = fitter.given[0:2], fitter.given[2:4], fitter.given[4:6]
    for other in (again, training):
        for (ids, samples, _), (same_ids, same, _) in zip(first, other, strict=True):
            np.testing.assert_array_equal(ids, same_ids)
            assert all(torch.equal(c, d) and torch.equal(v, w) for (c, v), (d, w) in zip(samples, same, strict=True))
    assert [entry["step"] for entry in run.history] == [0.0, 0.0, 1.0, 2.0]
    assert 0.0 < run.history[0]["bfloat16_difference_slope"] < 0.1
    assert precision_here(torch.device("cpu")) is None


def test_looking_leaves_nothing_behind_in_the_first_step(monkeypatch: pytest.MonkeyPatch) -> None:
    looked, _ = trained(images(), Slope(), precision="bfloat16")
    monkeypatch.setattr(joint, "check_agreement", lambda *arguments, **more: None)
    unlooked, _ = trained(images(), Slope(), precision="bfloat16")
    assert_same_bits(looked, unlooked)


def test_float32_is_not_looked_at() -> None:
    fitter = Slope()
    _, run = trained(images(), fitter)
    assert all(kind is None for _, _, kind in fitter.given)
    assert len(run.history) == 5


def test_without_a_step_nothing_is_looked_at() -> None:
    fitter = Slope()
    result, run = trained(images(), fitter, steps=0, precision="bfloat16")
    assert fitter.given == run.history == []
    assert (fitter.starts, result.steps) == (1, 0)


def test_a_disagreement_names_the_fitters_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("inrbench.backends.torch.precision.LARGEST_DISAGREEMENT", 1e-9)
    with pytest.raises(Refused, match=r"^the gradient of 'slope' .* --set fitter\.train\.precision=float32$"):
        trained(images(), Slope(), precision="bfloat16")
