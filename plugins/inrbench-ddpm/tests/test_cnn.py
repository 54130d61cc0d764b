"""The small classifier of pixels: sizes by hand, what it learns, its features."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from inrbench_ddpm.cnn import CNNReader
from inrbench_ddpm.settings import CNNSettings

from inrbench import draws
from inrbench.cell_run import CellRun
from inrbench.representations import Layout, NeuralDataSet, Representations
from inrbench.settings import TrainingSettings
from inrbench.signals import PartSpec, SignalSpec


def reader_of(height: int = 8, width: int = 8, channels: int = 1, classes: int | None = 3, **own: Any) -> CNNReader:
    layout = Layout("samples", {"values": (height, width, channels)})
    spec = SignalSpec((PartSpec("grid", (height, width), 2, channels),), num_classes=classes)
    train = TrainingSettings(steps=120, batch_size=32, schedule="one-cycle")
    return CNNReader(CNNSettings(**{"channels": 8, "features": 16, "train": train, **own}), layout, spec)


def images(count: int, seed: int = 0) -> tuple[Representations, np.ndarray]:
    """A bright row, whose place is the class."""
    rng = draws.generator(seed, "images")
    labels = rng.integers(0, 3, count)
    values = 0.3 * rng.random((count, 8, 8, 1))
    values[np.arange(count), 2 * labels + 1] += 0.5
    layout = Layout("samples", {"values": (8, 8, 1)})
    rows = Representations(layout, {"values": values.astype(np.float32)}, np.arange(count), np.zeros(count, dtype=int))
    return rows, labels


def test_its_parameters_are_those_of_its_layers() -> None:
    convolutions = (9 * 1 * 8 + 8) + 2 * 8 + (9 * 8 * 16 + 16) + 2 * 16  # 8 x 8, then 4 x 4
    linear = (4 * 4 * 16 * 16 + 16) + (16 * 3 + 3)
    assert reader_of().facts().parameters == convolutions + linear


@pytest.mark.parametrize("sides", [(28, 28), (7, 7), (3, 5), (32, 20)])
def test_it_takes_images_of_any_sides(sides: tuple[int, int]) -> None:
    reader = reader_of(*sides, channels=3)
    values = np.zeros((2, *sides, 3), dtype=np.float32)
    rows = Representations(
        Layout("samples", {"values": values.shape[1:]}), {"values": values}, np.arange(2), np.zeros(2)
    )
    found = reader.predict(rows, CellRun(0), tap=("features",))
    assert found["features"].shape == (2, 16)
    assert found["logits"].shape == (2, 3)


def test_it_learns_classes_and_depends_on_the_seed_alone() -> None:
    rows, labels = images(256)
    reader, again = reader_of(), reader_of()
    state = reader.train(NeuralDataSet({}, {"train": (rows, labels)}, {}), CellRun(0))
    others, truth = images(100, seed=1)
    assert (reader.predict(others, CellRun(0))["logits"].argmax(axis=1) == truth).mean() > 0.95
    same = again.train(NeuralDataSet({}, {"train": (rows, labels)}, {}), CellRun(0))
    assert all(np.array_equal(array, same[name]) for name, array in state.items())
    np.testing.assert_allclose(state["mean"], rows.arrays["values"].mean(axis=(0, 1, 2)), rtol=1e-5)


def test_it_refuses_what_is_no_image_and_what_has_no_classes() -> None:
    assert reader_of(classes=None).refuses(Layout("samples", {})) == "the data set has no classes"
    spec = SignalSpec((PartSpec("grid", (9,), 1, 1),), num_classes=2)
    layout = Layout("samples", {"values": (9, 1)})
    assert CNNReader(CNNSettings(), layout, spec).refuses(layout) == (
        "it reads images [height, width, channels]; given: [9, 1]"
    )
