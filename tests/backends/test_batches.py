"""Mini-batches gathered from signals as they are stored: values, shards, the foreground of views."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import torch

from inrbench import draws
from inrbench.backends.torch.batches import foreground, stored_parts, stored_shards
from inrbench.domains import Array, Grid, Points, Rays
from inrbench.errors import Refused
from inrbench.signals import GridSignals, Part


class Listed:
    """Signals that share nothing, each of the parts that are given."""

    def __init__(self, *entries: tuple[Part, ...]) -> None:
        self.entries, self.ids = entries, 10 + np.arange(len(entries))

    def __len__(self) -> int:
        return len(self.entries)

    def observed(self, i: int) -> tuple[Part, ...]:
        return self.entries[i]

    def stacked(self) -> None:
        return None


def images(count: int = 5) -> GridSignals:
    return GridSignals(draws.generator(0, "images").integers(0, 256, (count, 4, 6, 3), dtype=np.uint8))


def test_shards_hold_all_signals_in_order_as_they_are_stored() -> None:
    signals = images()
    shards = list(stored_shards(signals, 2, "cpu"))
    assert [list(shard.ids) for shard in shards] == [[0, 1], [2, 3], [4]]
    assert all(shard.domain == Grid.of(4, 6) and shard.num_points == 24 for shard in shards)
    for shard in shards:
        assert isinstance(shard.stored, np.ndarray)
        assert np.shares_memory(shard.stored, signals.values)
        expected = signals.values[shard.ids].reshape(-1, 24, 3) / 255.0
        np.testing.assert_allclose(shard.values().numpy(), expected, rtol=0, atol=1e-7)


def test_each_signal_is_looked_up_at_places_of_its_own() -> None:
    (shard,) = stored_shards(images(3), 3, "cpu")
    index = np.array([[0, 5], [7, 7], [23, 1]])
    whole = shard.values()
    expected = torch.stack([whole[i, torch.as_tensor(places)] for i, places in enumerate(index)])
    assert torch.equal(shard.values(index), expected)


def test_signals_that_share_nothing_come_one_by_one() -> None:
    parts = [Part(Points(np.zeros((n, 2), np.float32)), np.arange(2.0 * n).reshape(n, 2)) for n in (3, 4)]
    halves = Part(Points(np.zeros((3, 2), np.float32)), np.array([[2], [4], [6]], np.int16), to_unit=(0.5, -1.0))
    shards = list(stored_shards(Listed((parts[0],), (parts[1],), (halves,)), 16, "cpu"))  # type: ignore[arg-type]
    assert [list(shard.ids) for shard in shards] == [[10], [11], [12]]
    assert [shard.num_points for shard in shards] == [3, 4, 3]
    assert shards[2].values(np.array([[2, 0]])).tolist() == [[[2.0], [0.0]]]
    with pytest.raises(Refused, match="takes signals of one part; signal 10 has 2"):
        list(stored_shards(Listed((parts[0], parts[1])), 16, "cpu"))  # type: ignore[arg-type]


def test_parts_are_gathered_on_channels_of_their_own() -> None:
    """A film of 2 frames of 1 x 2 pixels and its 3 samples of sound, which lie at x = y = 0."""
    film = np.arange(0, 120, 10, dtype=np.uint8).reshape(2, 1, 2, 3)
    sound = np.array([[-200, 100], [0, 50], [200, -100]], dtype=np.int16)
    line = Grid(((3, -1.0, 1.0), (1, -1.0, 1.0), (1, -1.0, 1.0)))
    parts = (
        Part(Grid.of(2, 1, 2), film, slice(0, 3), (1 / 255, 0.0), "video"),
        Part(line, sound.reshape(3, 1, 1, 2), slice(3, 5), (0.5 / 200, 0.5), "audio"),
    )
    (signal,) = stored_parts(Listed(parts), 5, "cpu")  # type: ignore[arg-type]
    assert (signal.num_points, list(signal.ids)) == (7, [10])
    assert [part.name for part in signal.parts] == ["video", "audio"]
    assert all(np.shares_memory(one.stored, given) for one, given in zip(signal.parts, (film, sound), strict=True))
    coords, values, weights = signal.gathered(np.array([6, 0, 4, 3]))
    third = np.float32(2 / 3)
    assert coords.tolist() == [[-0.5, 0, -0.5], [0.5, 0, 0.5], [third, 0, 0], [-third, 0, 0]]
    expected = [[0, 10, 20, 0, 0], [90, 100, 110, 0, 0], [0, 0, 0, 1, 0.25], [0, 0, 0, 0, 0.75]]
    scaled = np.array(expected) / np.array([[255], [255], [1], [1]])
    np.testing.assert_allclose(values[0].numpy(), scaled, rtol=0, atol=1e-7)
    assert weights[0].tolist() == [[1, 1, 1, 0, 0]] * 2 + [[0, 0, 0, 1, 1]] * 2
    coords, values, weights = signal.gathered(np.array([5]))  # nothing of one of them
    assert coords.tolist() == [[0, 0, 0]]
    assert values[0].tolist() == [[0, 0, 0, 0.5, 0.625]]


def test_a_huge_signal_is_never_copied_nor_converted(tmp_path: Path) -> None:
    """48 MB on disk, read only: a batch of it takes as much as the batch."""
    np.save(tmp_path / "film.npy", np.zeros((1, 4000, 4000, 3), dtype=np.uint8))
    signals = GridSignals(np.load(tmp_path / "film.npy", mmap_mode="r"))
    tracemalloc.start()
    (shard,) = stored_shards(signals, 16, "cpu")
    values = shard.values(np.arange(1000)[None])
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert values.shape == (1, 1000, 3)
    assert peak < 2**20


def views(values: Array, background: float = 1.0) -> Listed:
    rays = np.zeros(values.shape, np.float32)
    return Listed((Part(Rays(rays, rays, 2.0, 6.0, background), values, to_unit=(1.0 / 255.0, 0.0)),))


def test_the_foreground_is_what_differs_from_the_background_in_a_channel(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.full((2, 3, 4, 3), 255, dtype=np.uint8)
    values[0, 1, 2, 1] = 254
    values[1, 2, 3] = 0
    for most in (5, 2**20):
        monkeypatch.setattr("inrbench.backends.torch.batches.CHUNK_VALUES", most)
        (shard,) = stored_shards(views(values), 1, "cpu")  # type: ignore[arg-type]
        assert foreground(shard, 0).tolist() == [6, 23]
    (black,) = stored_shards(views(values, 0.0), 1, "cpu")  # type: ignore[arg-type]
    assert foreground(black, 0).tolist() == list(range(23))
    (grid,) = stored_shards(images(1), 1, "cpu")
    with pytest.raises(Refused, match="only views have a foreground"):
        foreground(grid, 0)
