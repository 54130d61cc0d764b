"""Readers that train on their own: in parts of a batch, in bfloat16, and on rows that lie in files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from inrbench import draws
from inrbench.backends.torch import precision
from inrbench.backends.torch.precision import precision_here
from inrbench.backends.torch.reading import Network, ReaderSettings, Stages, TorchClassifier
from inrbench.cell_run import CellRun
from inrbench.domains import Array
from inrbench.errors import Refused
from inrbench.gathered import gathered
from inrbench.representations import Layout, NeuralDataSet, Representations
from inrbench.settings import TrainingSettings

LAYOUT = Layout("latent", {"z": (5,)})


class Linear(Network):
    """Logits that are linear in the latent; the rows and the precision that it was given are kept."""

    stages = ("logits",)

    def __init__(self) -> None:
        super().__init__()
        self.map = nn.Linear(5, 3)
        self.given: list[tuple[int, torch.dtype | None]] = []

    def forward(self, rows: Mapping[str, Tensor], stages: Stages) -> Tensor:
        self.given.append((len(rows["z"]), precision_here(torch.device("cpu"))))
        return stages("logits", self.map(rows["z"]))


def rows_of(count: int = 12) -> tuple[Representations, Array]:
    values = draws.generator(0, "rows").standard_normal((count, 5)).astype(np.float32)
    return Representations(LAYOUT, {"z": values}, np.arange(count), np.zeros(count)), values.argmax(1) % 3


def trained(rows: Representations | None = None, **settings: Any) -> tuple[Mapping[str, Array], Linear, CellRun]:
    own, labels = rows_of()
    options = TrainingSettings(**{"steps": 6, "batch_size": 4, **settings})
    reader = TorchClassifier(ReaderSettings(lr=1e-2, train=options), network := Linear())
    run = CellRun(0)
    state = reader.train(NeuralDataSet({}, {"train": (own if rows is None else rows, labels)}, {}), run)
    return state, network, run


class Smoothed(ReaderSettings):
    """A reader's settings with label smoothing."""

    label_smoothing: float = 0.3


def test_label_smoothing_spreads_a_share_of_the_target_over_all_classes() -> None:
    rows, labels = rows_of()
    tensors = {name: torch.as_tensor(array) for name, array in rows.arrays.items()}
    classes = torch.as_tensor(labels)
    network = Linear()
    logits = network(tensors, Stages())
    log_p = (logits - logits.logsumexp(1, keepdim=True)).detach().numpy()
    target = 0.3 / 3 + 0.7 * np.eye(3)[labels]
    found, _ = TorchClassifier(Smoothed(), network).loss(tensors, classes, draws.generator(0))
    plain, _ = TorchClassifier(ReaderSettings(), network).loss(tensors, classes, draws.generator(0))
    assert found.item() == pytest.approx(-(target * log_p).sum(1).mean(), rel=1e-5)
    assert plain.item() == pytest.approx(-log_p[np.arange(len(labels)), labels].mean(), rel=1e-5)


def test_a_reader_keeps_the_average_of_its_parameters() -> None:
    averaged, last = trained(ema=0.9)[0], trained()[0]
    start = trained(steps=0)[0]
    for name, array in averaged.items():
        before, after = np.abs(array - start[name]).max(), np.abs(last[name] - start[name]).max()
        assert 0.0 < before < after


@pytest.mark.parametrize("micro_batch", [1, 2, 3])
def test_parts_of_a_batch_train_what_the_whole_batch_does(micro_batch: int) -> None:
    whole, network, run = trained()
    parts, parted, other = trained(micro_batch=micro_batch, clip_norm=None)
    assert [count for count, _ in network.given] == [4] * 6
    assert max(count for count, _ in parted.given) <= micro_batch
    for name, array in whole.items():
        np.testing.assert_allclose(parts[name], array, rtol=0, atol=1e-6)
    for one, same in zip(run.history, other.history, strict=True):
        assert one == {key: pytest.approx(value, rel=1e-5) for key, value in same.items()}
    assert run.history[-1]["loss"] < run.history[0]["loss"]


def test_rows_in_files_train_the_same_bits(tmp_path: Path) -> None:
    rows, _ = rows_of()
    mapped = gathered(iter([rows.take(slice(0, 7)), rows.take(slice(7, 12))]), 12, tmp_path, "train")
    assert isinstance(mapped.arrays["z"], np.memmap)
    one, other = trained()[0], trained(mapped)[0]
    for name, array in one.items():
        np.testing.assert_array_equal(array, other[name])


def test_a_reader_in_bfloat16_is_looked_at_first_and_keeps_float32() -> None:
    state, network, run = trained(precision="bfloat16")
    assert [kind for _, kind in network.given] == [None] + [torch.bfloat16] * 7
    assert 0.0 < run.history[0]["bfloat16_difference_all"] < 0.1
    assert {array.dtype for array in state.values()} == {np.dtype(np.float32)}
    full, _, _ = trained()
    for name, array in full.items():
        np.testing.assert_allclose(state[name], array, rtol=0, atol=0.01)
    assert any((array != state[name]).any() for name, array in full.items())


def test_a_disagreement_names_the_readers_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "LARGEST_DISAGREEMENT", 1e-9)
    with pytest.raises(Refused, match=r"^the gradient of 'all' .* --set reader\.train\.precision=float32$"):
        trained(precision="bfloat16")


def test_rows_that_may_not_be_written_to_are_read_as_any_others() -> None:
    rows, _ = rows_of()
    frozen = {name: array.copy() for name, array in rows.arrays.items()}
    for array in frozen.values():
        array.flags.writeable = False  # as another framework's are; PyTorch would warn
    state, network, run = trained(Representations(rows.layout, frozen, rows.ids, rows.copies))
    for name, array in trained()[0].items():
        np.testing.assert_array_equal(array, state[name])
    reader = TorchClassifier(ReaderSettings(), network)
    assert reader.predict(Representations(rows.layout, frozen, rows.ids, rows.copies), run)["logits"].shape == (12, 3)
