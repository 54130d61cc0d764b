"""What the JAX engine observes: copies that are the PyTorch engine's, a step's signals, and shards for fitting."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from inrbench import draws
from inrbench.backends.jax import observed
from inrbench.backends.jax.copies import Moves, augment, check_augmentation, draw_moves
from inrbench.backends.jax.observed import Observer, num_drawn, observer, shards
from inrbench.backends.torch import copies as torch_copies
from inrbench.backends.torch import observed as torch_observed
from inrbench.cell_run import CellRun
from inrbench.domains import Array, Grid, Points
from inrbench.errors import Refused
from inrbench.settings import Augmentation
from inrbench.signals import GridSignals, Part

# ------------------------------------------------------------------ copies

SETTINGS = [
    Augmentation(pad=2),
    Augmentation(flip=True),
    Augmentation(pad=4, flip=True),
    Augmentation(pad=3, crop="centre", flip=True),
    Augmentation(),
]
WAYS = ["crop", "flip", "crop and flip", "centre and flip", "none"]


def pictures(count: int = 40, channels: int = 3) -> Array:
    """[count, 5, 7, channels]: the side of 5 is the least that a mirror of 4 pixels fits into."""
    return draws.generator(0, "pictures").random((count, 5, 7, channels), dtype=np.float32)


@pytest.mark.parametrize("settings", SETTINGS, ids=WAYS)
@pytest.mark.parametrize("channels", [1, 3])
def test_copies_are_the_pytorch_engines_to_the_last_bit(settings: Augmentation, channels: int) -> None:
    images = pictures(channels=channels)
    ours, theirs = (draws.generator(0, "copies", 3) for _ in range(2))
    moves = draw_moves(len(images), settings, ours)
    found = np.asarray(jax.jit(augment, static_argnums=1)(jnp.asarray(images), settings, moves))
    expected = torch_copies.augment(torch.as_tensor(images), settings, theirs).numpy()
    np.testing.assert_array_equal(found, expected)
    assert ours.random() == theirs.random()  # nothing was drawn that the other did not draw
    if settings != Augmentation():
        assert not np.array_equal(found, images)


@pytest.mark.parametrize(
    ("top", "left", "mirrored", "expected"),
    [
        (1, 1, False, [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11]]),
        (0, 1, False, [[4, 5, 6, 7], [0, 1, 2, 3], [4, 5, 6, 7]]),
        (1, 2, False, [[1, 2, 3, 2], [5, 6, 7, 6], [9, 10, 11, 10]]),
        (1, 2, True, [[2, 3, 2, 1], [6, 7, 6, 5], [10, 11, 10, 9]]),
    ],
)
def test_a_copy_is_that_made_by_hand(top: int, left: int, mirrored: bool, expected: list[list[int]]) -> None:
    image = jnp.arange(12.0).reshape(1, 3, 4, 1)
    moves = Moves(np.array([top]), np.array([left]), np.array([mirrored]))
    found = augment(image, Augmentation(pad=1, flip=True), moves)
    assert found[0, :, :, 0].astype(int).tolist() == expected


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [("rotate", 10.0, "0.0"), ("resized_crop", 0.5, "1.0"), ("scale", 0.1, "0.0"), ("jitter", 0.2, "0.0")],
)
def test_copies_that_move_no_whole_pixels_are_refused(name: str, value: float, allowed: str) -> None:
    said = (
        rf"^setting fitter\.train\.augmentation\.{name}={value}: the JAX engine has the copies pad, crop and flip; "
        rf"allowed is {allowed}$"
    )
    asked = Augmentation.model_validate({"pad": 2, name: value})
    with pytest.raises(Refused, match=said):
        check_augmentation(asked)
    with pytest.raises(Refused, match=said):
        observer(images(), asked, 1.0, CellRun(0))
    check_augmentation(Augmentation(pad=2, crop="centre", flip=True))


# ------------------------------------------------------------------ what a training step sees


def images(count: int = 5, channels: int = 2) -> GridSignals:
    values = draws.generator(0, "images").integers(0, 256, (count, 4, 5, channels), dtype=np.uint8)
    return GridSignals(values, np.arange(count), np.arange(count) + 10)


def seen(one: Observer, step: int, index: Sequence[int]) -> Array:
    """The values of a step, computed as a compiled step computes them."""
    batch = one.inputs(step, np.asarray(index))
    return np.asarray(jax.jit(one.values)(batch, one.constants))


@pytest.mark.parametrize("resident", [True, False])
@pytest.mark.parametrize("augmentation", [Augmentation(), Augmentation(pad=2, flip=True)], ids=["plain", "copies"])
def test_a_step_sees_its_signals_whole_wherever_they_lie(
    resident: bool, augmentation: Augmentation, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not resident:
        monkeypatch.setattr(observed, "RESIDENT_BYTES", 10)
    signals, index, run = images(), [3, 0, 4], CellRun(2)
    one = observer(signals, augmentation, 1.0, run)
    assert one.domain == Grid.of(4, 5)
    assert np.size(one.constants) == (signals.values.size if resident else 0)
    unit = torch.as_tensor(signals.values[index]).float() * (1.0 / 255.0)
    expected = torch_copies.augment(unit, augmentation, run.rng("copies", 7)).numpy()
    found = seen(one, 7, index)
    assert found.shape == (3, 20, 2)
    np.testing.assert_allclose(found, expected.reshape(3, 20, 2), rtol=0, atol=1e-7)
    if augmentation != Augmentation():
        assert not np.array_equal(found, seen(one, 8, index))


def test_signals_that_are_made_on_demand_are_asked_for_by_the_batch() -> None:
    class OnDemand:
        def __init__(self, values: Array) -> None:
            self.values, self.shape, self.asked = values, values.shape, list[Any]()

        def __len__(self) -> int:
            return len(self.values)

        def __getitem__(self, index: Any) -> Array:
            self.asked.append(np.asarray(index).tolist())
            return np.asarray(self.values[index])

    signals = images()
    values: Any = OnDemand(signals.values)
    one = observer(replace(signals, values=values), Augmentation(), 1.0, CellRun(0))
    assert values.asked == []
    np.testing.assert_array_equal(
        seen(one, 0, [4, 1]), seen(observer(signals, Augmentation(), 1.0, CellRun(0)), 0, [4, 1])
    )
    assert values.asked == [[4, 1]]


def test_a_share_of_a_grid_is_refused() -> None:
    with pytest.raises(Refused, match=r"^setting fitter\.subsample=0\.5: signals on a grid are seen whole; allowed is"):
        observer(images(), Augmentation(), 0.5, CellRun(0))


class OneByOne(GridSignals):
    """Signals that do not say that they share a grid."""

    def stacked(self) -> Any:
        return None


def test_signals_without_a_grid_that_cannot_be_drawn_are_refused() -> None:
    apart = OneByOne(images().values)
    with pytest.raises(
        Refused, match=r"^training takes signals that share one grid, or that have a value at any point"
    ):
        observer(apart, Augmentation(), 1.0, CellRun(0))


@dataclass(frozen=True)
class Ramps:
    """Signals with a value anywhere: signal i at (y, x) is (i + (y + 1) / 2) / 100; a copy is `scale` brighter."""

    ids: Array
    labels: Array | None = None
    counts: tuple[int, ...] = ()  # of points listed, where they differ
    num_points: int = 30

    def __len__(self) -> int:
        return len(self.ids)

    def value(self, i: int, coords: Array) -> Array:
        return np.asarray((self.ids[i] + (coords[..., :1] + 1.0) / 2.0) / 100.0, dtype=np.float32)

    def observed(self, i: int) -> Sequence[Part]:
        count = self.counts[i] if self.counts else self.num_points
        coords = draws.generator(7, "listed", int(self.ids[i])).uniform(-1.0, 1.0, (count, 2))
        return (Part(Points(coords.astype(np.float32)), self.value(i, coords)),)

    scored = observed

    def draw(
        self, i: int, sets: int, count: int, rng: np.random.Generator, augmentation: Augmentation | None = None
    ) -> tuple[Array, Array]:
        coords = rng.uniform(-1.0, 1.0, (sets, count, 2)).astype(np.float32)
        return coords, self.value(i, coords) + np.float32(augmentation.scale if augmentation else 0.0)

    def stacked(self) -> None:
        return None

    def take(self, indices: Array) -> Ramps:
        return replace(self, ids=self.ids[indices])

    def unlabelled(self) -> Ramps:
        return replace(self, labels=None)


def test_free_points_are_drawn_afresh_for_each_step_and_signal() -> None:
    run, signals = CellRun(0), Ramps(np.array([3, 8, 5]))
    one = observer(signals, Augmentation(), 0.5, run)
    assert one.domain is None
    batch = one.inputs(4, np.array([2, 0]))
    assert batch["coords"].shape == (2, 15, 2)
    for row, signal in enumerate((5, 3)):
        expected = run.rng("points", 4, signal).uniform(-1.0, 1.0, (1, 15, 2)).astype(np.float32)[0]
        np.testing.assert_array_equal(batch["coords"][row], expected)
    found = seen(one, 4, [2, 0])
    ids = np.array([5.0, 3.0])[:, None]
    np.testing.assert_allclose(found[..., 0], (ids + (batch["coords"][..., 0] + 1.0) / 2.0) / 100.0, rtol=1e-5)
    alone = one.inputs(4, np.array([0]))
    np.testing.assert_array_equal(alone["coords"][0], batch["coords"][1])  # whatever else is in the batch
    assert not np.array_equal(one.inputs(5, np.array([0]))["coords"], alone["coords"])


def test_copies_of_free_points_are_the_signals_own() -> None:
    plain, brighter = (observer(Ramps(np.arange(2)), Augmentation(scale=s), 0.5, CellRun(0)) for s in (0.0, 0.25))
    np.testing.assert_allclose(seen(brighter, 1, [0, 1]), seen(plain, 1, [0, 1]) + 0.25, atol=1e-6)


@pytest.mark.parametrize("points", [1, 7, 64, 100, 102_400])
def test_a_share_of_points_counts_as_in_the_pytorch_engine(points: int) -> None:
    shares = [0.0, 1e-4, 0.29, 0.57, 0.999, 1.0]
    assert [num_drawn(s, points) for s in shares] == [torch_observed.num_drawn(s, points) for s in shares]


# ------------------------------------------------------------------ shards


@pytest.mark.parametrize("size", [1, 2, 5, 8])
def test_shards_are_padded_by_their_last_signal_and_say_how_many_they_hold(size: int) -> None:
    signals = images()
    unit = signals.values.reshape(5, 20, 2) / np.float32(255.0)
    first = 0
    for shard in shards(signals, size):
        count = len(shard.ids)
        assert shard.ids.tolist() == signals.ids[first : first + size].tolist()
        assert (shard.domain, shard.coords, shard.values.shape) == (Grid.of(4, 5), None, (size, 20, 2))
        assert shard.values.dtype == np.float32
        np.testing.assert_allclose(shard.values[:count], unit[first : first + count], atol=1e-7)
        assert (shard.values[count:] == shard.values[count - 1]).all()
        first += count
    assert first == 5


def test_free_points_come_in_shards_of_equal_counts() -> None:
    signals = Ramps(np.array([4, 9, 2, 7, 1, 3]), counts=(6, 6, 6, 8, 6, 6))
    found = list(shards(signals, 2))
    assert [shard.ids.tolist() for shard in found] == [[4, 9], [2], [7], [1, 3]]
    first = 0
    for shard in found:
        assert shard.domain is None
        assert shard.coords is not None
        assert len(shard.coords) == len(shard.values) == 2  # the size, by repeating the last
        for row in range(2):
            (part,) = signals.observed(first + min(row, len(shard.ids) - 1))
            np.testing.assert_array_equal(shard.coords[row], part.domain.coords)  # type: ignore[union-attr]
            np.testing.assert_array_equal(shard.values[row], part.unit_values())
        first += len(shard.ids)


def test_signals_that_do_not_say_that_they_share_a_grid_come_with_their_places() -> None:
    stacked, apart = list(shards(images(), 3)), list(shards(OneByOne(images().values, None, images().ids), 3))
    assert [shard.ids.tolist() for shard in apart] == [[10, 11, 12], [13, 14]]
    for one, other in zip(apart, stacked, strict=True):
        np.testing.assert_allclose(one.values, other.values, atol=1e-7)
        assert one.coords is not None
        assert (one.coords == Grid.of(4, 5).coords().reshape(20, 2)).all()


def test_signals_of_two_parts_are_refused() -> None:
    class TwoParts(OneByOne):
        def observed(self, i: int) -> Sequence[Part]:
            (part,) = super().observed(i)
            return (part, part)

    with pytest.raises(Refused, match=r"^this fitter takes signals of one part; signal 10 has 2$"):
        list(shards(TwoParts(images().values, None, images().ids), 16))
