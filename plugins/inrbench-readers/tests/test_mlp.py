"""The MLP reader: standardised values, layers by hand, stages, and what it learns."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from inrbench_readers.mlp import MLPReader
from inrbench_readers.settings import MLPSettings

from inrbench import draws
from inrbench.backends.torch.reading import Stages, mixed_up
from inrbench.cell_run import CellRun
from inrbench.cells import resolve
from inrbench.errors import BadSetting
from inrbench.representations import Layout, NeuralDataSet, Representations
from inrbench.settings import TrainingSettings
from inrbench.signals import PartSpec, SignalSpec

LAYOUT = Layout("latent", {"b": (4,), "a": (2, 3)})
SPEC = SignalSpec((PartSpec("grid", (8, 8), 2, 1),), num_classes=3)


def rows_of(count: int, seed: int = 0) -> tuple[Representations, np.ndarray]:
    """Rows whose second array tells the class, on scales far apart."""
    rng = draws.generator(seed, "rows")
    labels = rng.integers(0, 3, count)
    arrays = {
        "a": (1000.0 + rng.standard_normal((count, 2, 3))).astype(np.float32),
        "b": (1e-3 * (labels[:, None] + 0.2 * rng.standard_normal((count, 4)))).astype(np.float32),
    }
    arrays["b"][:, 3] = 0.25  # a value that never changes
    return Representations(LAYOUT, arrays, np.arange(count), np.zeros(count, dtype=np.int64)), labels


def reader_of(**settings: Any) -> MLPReader:
    train = TrainingSettings(steps=100, batch_size=32, schedule="one-cycle", clip_norm=1.0)
    return MLPReader(MLPSettings(**{"width": 16, "lr": 1e-2, "train": train, **settings}), LAYOUT, SPEC)


def trained(reader: MLPReader, seed: int = 0) -> dict[str, np.ndarray]:
    rows, labels = rows_of(96)
    return dict(reader.train(NeuralDataSet({}, {"train": (rows, labels)}, {}), CellRun(seed)))


def test_its_parameters_are_those_of_the_linear_layers() -> None:
    facts = reader_of(width=16, depth=3).facts()
    assert facts.parameters == (10 * 16 + 16) + (16 * 16 + 16) + (16 * 3 + 3)
    assert facts.flops == 2 * (10 * 16 + 16 * 16 + 16 * 3)
    assert reader_of(depth=1).facts().parameters == 10 * 3 + 3


@pytest.mark.parametrize("dataset", ["digits", "mnist", "cifar10"])
def test_the_pixel_control_is_about_as_large_as_the_weight_transformer(dataset: str) -> None:
    control, mwt = (resolve(name, dataset).build().reader for name in ("pixels", "mwt"))
    assert control is not None
    assert mwt is not None
    assert control.facts().parameters == pytest.approx(mwt.facts().parameters, rel=0.05)


def test_values_are_standardised_by_the_training_split() -> None:
    reader = reader_of()
    state = trained(reader)
    rows, _ = rows_of(96)
    flat = np.concatenate([rows.arrays["a"].reshape(96, -1), rows.arrays["b"]], axis=1)  # arrays by name
    np.testing.assert_allclose(state["mean"], flat.mean(axis=0), rtol=1e-5, atol=1e-6)
    assert state["spread"][-1] == 1.0  # the one that never changes
    values = reader.predict(rows, CellRun(0), tap=("values",))["values"]
    np.testing.assert_allclose(values.mean(axis=0), 0.0, atol=1e-2)
    np.testing.assert_allclose(values[:, :-1].std(axis=0), 1.0, atol=1e-2)


def test_the_logits_are_those_of_the_layers_written_out() -> None:
    reader = reader_of(depth=2)
    state = trained(reader)
    rows, _ = rows_of(5, seed=3)
    found = reader.predict(rows, CellRun(0), tap=reader.stages)
    assert reader.stages == ("values", "layer.0", "logits")
    hidden = found["values"] @ state["layers.0.weight"].T + state["layers.0.bias"]
    hidden = hidden / (1.0 + np.exp(-hidden))
    np.testing.assert_allclose(found["layer.0"], hidden, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(
        found["logits"], hidden @ state["layers.1.weight"].T + state["layers.1.bias"], rtol=1e-4, atol=1e-4
    )


@pytest.mark.parametrize("stage", ["values", "layer.0", "layer.1", "logits"])
def test_another_rows_stage_put_in_place_gives_that_rows_logits(stage: str) -> None:
    reader = reader_of()
    trained(reader)
    (one, _), (other, _) = rows_of(4, seed=1), rows_of(4, seed=2)
    donor = reader.predict(other, CellRun(0), tap=(stage,))
    given = torch.as_tensor(donor[stage])
    edited = reader.predict(one, CellRun(0), edit={stage: lambda value: given})["logits"]
    np.testing.assert_allclose(edited, donor["logits"], rtol=0, atol=1e-5)


def test_an_unknown_stage_is_an_error_that_names_them() -> None:
    with pytest.raises(BadSetting, match=r"no stage 'layer\.9'; its stages: values, layer\.0, layer\.1, logits"):
        reader_of().predict(rows_of(1)[0], CellRun(0), tap=("layer.9",))


def test_it_learns_classes_and_is_loaded_back() -> None:
    reader, other = reader_of(), reader_of()
    state = trained(reader)
    rows, labels = rows_of(50, seed=5)
    logits = reader.predict(rows, CellRun(0))["logits"]
    assert (logits.argmax(axis=1) == labels).mean() > 0.9
    other.load(state)
    np.testing.assert_array_equal(other.predict(rows, CellRun(0))["logits"], logits)


def test_training_depends_on_the_seed_alone() -> None:
    one, again, other = trained(reader_of()), trained(reader_of()), trained(reader_of(), seed=1)
    assert all(np.array_equal(array, again[name]) for name, array in one.items())
    assert not np.array_equal(one["layers.0.weight"], other["layers.0.weight"])


def test_dropout_acts_in_training_alone() -> None:
    reader = reader_of(dropout=0.5)
    trained(reader)
    rows, _ = rows_of(20)
    one, again = (reader.predict(rows, CellRun(0))["logits"] for _ in range(2))
    np.testing.assert_array_equal(one, again)


def test_training_with_dropout_depends_on_the_seed_alone() -> None:
    torch.manual_seed(1)
    one = trained(reader_of(dropout=0.5))
    torch.manual_seed(2)
    again = trained(reader_of(dropout=0.5))
    assert all(np.array_equal(array, again[name]) for name, array in one.items())


def test_dropout_zeroes_its_share_and_keeps_the_mean() -> None:
    ones = torch.ones(200, 100)
    dropped = Stages(rng=draws.generator(0, "dropout")).dropout(ones, 0.3)
    assert dropped.unique().tolist() == pytest.approx([0.0, 1 / 0.7])
    assert float((dropped == 0.0).float().mean()) == pytest.approx(0.3, abs=0.01)
    assert Stages().dropout(ones, 0.3) is ones


def test_it_refuses_a_data_set_without_classes() -> None:
    nameless = SignalSpec(SPEC.parts, num_classes=None)
    assert MLPReader(MLPSettings(), LAYOUT, nameless).refuses(LAYOUT) == "the data set has no classes"
    assert reader_of().refuses(LAYOUT) is None


# ------------------------------------------------------------------ noise, Mixup, averages


def test_noise_has_its_spread_and_acts_in_training_alone() -> None:
    zeros = torch.zeros(300, 100)
    noisy = Stages(rng=draws.generator(0, "noise")).noise(zeros, 0.05)
    assert float(noisy.std()) == pytest.approx(0.05, rel=0.02)
    assert float(noisy.mean()) == pytest.approx(0.0, abs=1e-3)
    assert Stages().noise(zeros, 0.05) is zeros
    reader, rows = reader_of(noise=0.5), rows_of(20)[0]
    trained(reader)
    one, again = (reader.predict(rows, CellRun(0))["logits"] for _ in range(2))
    np.testing.assert_array_equal(one, again)


def test_noise_is_added_to_the_standardised_values() -> None:
    reader = reader_of(noise=0.2)
    trained(reader)
    rows = reader._tensors(rows_of(20)[0], "cpu")
    seen: list[torch.Tensor] = []
    reader.network.layers[0].register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    stages = Stages(tap=("values",), rng=draws.generator(0, "noise"))
    reader.network(rows, stages)
    torch.testing.assert_close(seen[0], Stages(rng=draws.generator(0, "noise")).noise(stages.tapped["values"], 0.2))


def test_mixup_worked_by_hand() -> None:
    rows = {"a": torch.tensor([[1.0, 0.0], [0.0, 1.0], [4.0, 4.0]])}
    labels = torch.tensor([0, 1, 2])
    mixed, targets = mixed_up(rows, labels, 0.4, draws.generator(5, "mixup"))
    rng = draws.generator(5, "mixup")
    share, order = rng.beta(0.4, 0.4), rng.permutation(3)
    for i in range(3):
        expected = share * rows["a"][i] + (1 - share) * rows["a"][order[i]]
        torch.testing.assert_close(mixed["a"][i], expected)
    (first, own), (second, others) = targets
    assert (first, second) == pytest.approx((share, 1 - share))
    assert own.tolist() == [0, 1, 2]
    assert others.tolist() == order.tolist()


def test_the_loss_with_mixup_is_that_of_both_labels_at_the_mixed_rows() -> None:
    reader = reader_of(mixup=0.4)
    trained(reader)
    rows, labels = rows_of(12)
    tensors, classes = reader._tensors(rows, "cpu"), torch.as_tensor(labels)
    loss, logs = reader.loss(tensors, classes, draws.generator(1, "batch"))
    mixed, ((share, _), (_, others)) = mixed_up(tensors, classes, 0.4, draws.generator(1, "batch"))
    log_likelihood = torch.log_softmax(reader.network(mixed, Stages()), dim=1)
    by_hand = share * log_likelihood[torch.arange(12), classes] + (1 - share) * log_likelihood[torch.arange(12), others]
    torch.testing.assert_close(loss, -by_hand.mean())
    told = log_likelihood.argmax(1)
    hits = share * (told == classes).float().mean() + (1 - share) * (told == others).float().mean()
    torch.testing.assert_close(logs["train_accuracy"], hits)
    assert 0.0 < share < 1.0


def test_the_average_of_the_parameters_is_what_is_kept() -> None:
    """e ← d e + (1 - d) p from the initial parameters: after one step e = d p₀ + (1 - d) p₁."""

    def after_one_step(ema: float | None) -> dict[str, np.ndarray]:
        return trained(reader_of(train=TrainingSettings(steps=1, batch_size=32, ema=ema)))

    start = trained(reader_of(train=TrainingSettings(steps=0, batch_size=32)))
    last, average = after_one_step(None), after_one_step(0.75)
    for name, array in average.items():
        np.testing.assert_allclose(array, 0.75 * start[name] + 0.25 * last[name], rtol=1e-5, atol=1e-6)
    assert not np.allclose(start["layers.0.weight"], last["layers.0.weight"])


def test_training_with_mixup_and_noise_learns_and_depends_on_the_seed_alone() -> None:
    reader = reader_of(mixup=0.2, noise=0.05, dropout=0.1)
    one, again = trained(reader), trained(reader_of(mixup=0.2, noise=0.05, dropout=0.1))
    assert all(np.array_equal(array, again[name]) for name, array in one.items())
    rows, labels = rows_of(50, seed=5)
    assert (reader.predict(rows, CellRun(0))["logits"].argmax(axis=1) == labels).mean() > 0.9
