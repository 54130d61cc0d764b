"""functa's MLP and what all readers of latents share: normalisation, what is trained, what is resumed."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from inrbench_readers.latent_mlp import LatentMLPReader
from inrbench_readers.latent_transformer import LatentTransformerReader
from inrbench_readers.settings import LatentMLPSettings, LatentTransformerSettings

from inrbench import draws
from inrbench.backends.torch.reading import TorchClassifier
from inrbench.cell_run import CellRun
from inrbench.domains import Array
from inrbench.errors import Interrupted
from inrbench.representations import Layout, NeuralDataSet, Representations
from inrbench.settings import TrainingSettings
from inrbench.signals import PartSpec, SignalSpec

SPEC = SignalSpec((PartSpec("grid", (8, 8), 2, 1),), num_classes=3)
LATENT = Layout("latent", {"latent": (6,)})
GRID = Layout("latent-grid", {"latent": (2, 2, 3)})
SAMPLES = Layout("samples", {"values": (4, 4, 1)})
WEIGHTS = Layout("weights", {"layers.0.weight": (4, 2), "layers.0.bias": (4,)})
TRAIN = TrainingSettings(steps=60, batch_size=32, weight_decay=0.1, ema=0.8)


def rows_of(layout: Layout, count: int = 96, seed: int = 0, scale: float = 0.05) -> tuple[Representations, Array]:
    """Rows about 1, of a small spread, whose first values tell the class."""
    rng = draws.generator(seed, "rows")
    labels = rng.integers(0, 3, count)
    arrays = {}
    for name, shape in layout.shapes.items():
        values = rng.standard_normal((count, *shape))
        values.reshape(count, -1)[np.arange(count), labels] += 5.0
        arrays[name] = (1.0 + scale * values).astype(np.float32)
    return Representations(layout, arrays, np.arange(count), np.zeros(count, dtype=np.int64)), labels


def reader_of(layout: Layout, transformer: bool = False, **settings: Any) -> TorchClassifier:
    if transformer:
        small = {"width": 8, "blocks": 1, "heads": 2, "token_size": 3, "patch": 2, "lr": 1e-2, "train": TRAIN}
        return LatentTransformerReader(LatentTransformerSettings(**{**small, **settings}), layout, SPEC)
    small = {"width": 16, "depth": 2, "lr": 1e-2, "train": TRAIN}
    return LatentMLPReader(LatentMLPSettings(**{**small, **settings}), layout, SPEC)


def trained(reader: TorchClassifier, layout: Layout = LATENT, run: CellRun | None = None) -> dict[str, Array]:
    rows, labels = rows_of(layout)
    return dict(reader.train(NeuralDataSet({}, {"train": (rows, labels)}, {}), run or CellRun(0)))


# ------------------------------------------------------------------ the MLP


def test_its_parameters_are_those_of_the_maps() -> None:
    facts = reader_of(LATENT, width=16, depth=2).facts()
    assert facts.parameters == (6 * 16 + 16) + 2 * (16 * 16 + 16) + (16 * 3 + 3)
    assert facts.flops == 2 * (6 * 16 + 2 * 16 * 16 + 16 * 3)


def test_functas_best_on_512_latents_has_the_parameters_of_the_definition() -> None:
    layout = Layout("latent", {"latent": (512,)})
    reader = LatentMLPReader(LatentMLPSettings(), layout, SignalSpec(SPEC.parts, num_classes=10))
    assert reader.facts().parameters == 513 * 1024 + 3 * 1025 * 1024 + 1025 * 10 == 3_684_362


def test_the_logits_are_those_of_the_layers_written_out() -> None:
    reader = reader_of(LATENT, normalisation=0.5)
    state = trained(reader)
    rows, _ = rows_of(LATENT, 5, seed=3)
    found = reader.predict(rows, CellRun(0), tap=reader.stages)
    assert reader.stages == ("values", "embedded", "layer.0", "layer.1", "logits")
    hidden = rows.arrays["latent"] / 0.5 @ state["embed.weight"].T + state["embed.bias"]
    np.testing.assert_allclose(found["embedded"], hidden, rtol=1e-4, atol=1e-5)
    for i in range(2):
        inner = hidden @ state[f"layers.{i}.weight"].T + state[f"layers.{i}.bias"]
        hidden = hidden + inner / (1.0 + np.exp(-inner))
        np.testing.assert_allclose(found[f"layer.{i}"], hidden, rtol=1e-4, atol=1e-5)
    logits = hidden @ state["head.weight"].T + state["head.bias"]
    np.testing.assert_allclose(found["logits"], logits, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("transformer", [False, True])
def test_dropout_acts_in_training_alone_and_as_often_as_it_should(
    transformer: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    from inrbench.backends.torch.reading import Stages

    reader = reader_of(LATENT, transformer, dropout=0.5)
    calls: list[tuple[tuple[int, ...], bool]] = []
    real = Stages.dropout

    def counted(self: Stages, value: torch.Tensor, share: float) -> torch.Tensor:
        dropped = real(self, value, share)
        calls.append((tuple(value.shape), bool((dropped != value).any())))
        return dropped

    monkeypatch.setattr(Stages, "dropout", counted)
    rows, labels = rows_of(LATENT, 20)
    tensors = {"latent": torch.as_tensor(rows.arrays["latent"])}
    reader.start(CellRun(0))
    reader.loss(tensors, torch.as_tensor(labels), draws.generator(0, "dropout"))
    # the transformer: once, before the logits; the MLP: in each of its two residual layers
    assert calls == ([((20, 8), True)] if transformer else [((20, 16), True)] * 2)
    calls.clear()
    one, again = (reader.predict(rows, CellRun(0))["logits"] for _ in range(2))
    np.testing.assert_array_equal(one, again)
    assert calls
    assert not any(changed for _, changed in calls)


# ------------------------------------------------------------------ normalisation


@pytest.mark.parametrize("transformer", [False, True])
@pytest.mark.parametrize(("mode", "factor"), [("divide", 1 / 0.08), ("multiply", 0.08)])
def test_the_normalisation_scale_divides_or_multiplies(transformer: bool, mode: str, factor: float) -> None:
    reader = reader_of(GRID, transformer, normalisation=0.08, normalisation_mode=mode)
    rows, _ = rows_of(GRID, 4)
    values = reader.predict(rows, CellRun(0), tap=("values",))["values"]
    np.testing.assert_allclose(values, factor * rows.arrays["latent"].reshape(4, -1), rtol=1e-5)
    assert not [name for name in reader.state() if "spread" in name]


@pytest.mark.parametrize("transformer", [False, True])
def test_without_a_scale_values_are_standardised_by_the_training_rows_alone(transformer: bool) -> None:
    reader = reader_of(LATENT, transformer)
    rows, labels = rows_of(LATENT)
    far, _ = rows_of(LATENT, 50, seed=1, scale=10.0)
    splits = {"train": (rows, labels), "validation": (far, labels[:50]), "test": (far, labels[:50])}
    state = dict(reader.train(NeuralDataSet({}, splits, {}), CellRun(0)))
    values = rows.arrays["latent"].astype(np.float64)
    np.testing.assert_allclose(state["normalise.mean"], values.mean(axis=0), rtol=1e-6)
    np.testing.assert_allclose(state["normalise.spread"], values.std(axis=0), rtol=1e-5)
    seen = reader.predict(far, CellRun(0), tap=("values",))["values"]
    expected = (far.arrays["latent"] - values.mean(axis=0)) / values.std(axis=0)
    np.testing.assert_allclose(seen, expected, rtol=1e-3, atol=1e-3)


# ------------------------------------------------------------------ training


@pytest.mark.parametrize("transformer", [False, True])
@pytest.mark.parametrize("layout", [LATENT, GRID, SAMPLES], ids=lambda layout: layout.kind)
def test_it_learns_classes_and_is_loaded_back(transformer: bool, layout: Layout) -> None:
    reader, other = (reader_of(layout, transformer) for _ in range(2))
    state = trained(reader, layout)
    rows, labels = rows_of(layout, 60, seed=5)
    logits = reader.predict(rows, CellRun(0))["logits"]
    assert (logits.argmax(axis=1) == labels).mean() > 0.75
    other.load(state)
    np.testing.assert_array_equal(other.predict(rows, CellRun(0))["logits"], logits)


def test_the_mlp_reads_weights() -> None:
    reader = reader_of(WEIGHTS)
    trained(reader, WEIGHTS)
    rows, labels = rows_of(WEIGHTS, 60, seed=5)
    assert (reader.predict(rows, CellRun(0))["logits"].argmax(axis=1) == labels).mean() > 0.75


@pytest.mark.parametrize("transformer", [False, True])
def test_several_copies_of_a_signal_are_trained_on_like_any_rows(transformer: bool) -> None:
    rows, labels = rows_of(LATENT)
    copies = Representations(LATENT, rows.arrays, rows.ids // 3, rows.ids % 3)
    alone = trained(reader_of(LATENT, transformer))
    together = reader_of(LATENT, transformer).train(NeuralDataSet({}, {"train": (copies, labels)}, {}), CellRun(0))
    for name, array in alone.items():
        np.testing.assert_array_equal(together[name], array)


class StoppedAfter(CellRun):
    """A run that is asked to stop within its 21st step."""

    def steps(self, *arguments: Any) -> Any:
        for step in super().steps(*arguments):
            if step == 20:
                self.stop.set()
            yield step


@pytest.mark.parametrize("transformer", [False, True])
def test_an_interrupted_training_goes_on_to_the_same_bits(tmp_path: Path, transformer: bool) -> None:
    whole = trained(reader_of(LATENT, transformer))
    with pytest.raises(Interrupted):
        trained(reader_of(LATENT, transformer), run=StoppedAfter(0, folder=tmp_path, stop=threading.Event()))
    resumed = trained(reader_of(LATENT, transformer), run=CellRun(0, folder=tmp_path))
    for name, array in whole.items():
        np.testing.assert_array_equal(array, resumed[name])


@pytest.mark.parametrize("transformer", [False, True])
def test_training_depends_on_the_seed_alone(transformer: bool) -> None:
    torch.manual_seed(1)
    one = trained(reader_of(LATENT, transformer))
    torch.manual_seed(2)
    again, other = (trained(reader_of(LATENT, transformer), run=CellRun(seed)) for seed in (0, 1))
    assert all(np.array_equal(array, again[name]) for name, array in one.items())
    assert not np.array_equal(one["embed.weight"], other["embed.weight"])


@pytest.mark.parametrize("transformer", [False, True])
def test_a_data_set_without_classes_is_refused(transformer: bool) -> None:
    kind = LatentTransformerReader if transformer else LatentMLPReader
    settings = LatentTransformerSettings() if transformer else LatentMLPSettings()
    reader = kind(settings, GRID, SignalSpec(SPEC.parts))  # type: ignore[arg-type]
    assert reader.refuses(GRID) == "the data set has no classes"
    assert reader_of(GRID, transformer).refuses(GRID) is None
