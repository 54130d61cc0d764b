"""The linear probe: scikit-learn's optimum, a C that validation chooses, and candidates that are not done twice."""

from __future__ import annotations

import logging
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from inrbench_readers import flat, linear_probe
from inrbench_readers.linear_probe import CANDIDATES, LinearProbe
from inrbench_readers.settings import LinearProbeSettings
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression

from inrbench import draws
from inrbench.cell_run import CellRun
from inrbench.domains import Array
from inrbench.errors import BadSetting, Interrupted
from inrbench.interfaces import Classifier
from inrbench.representations import Layout, NeuralDataSet, Representations
from inrbench.signals import PartSpec, SignalSpec

LAYOUT = Layout("samples", {"values": (8, 8, 1)})
SPEC = SignalSpec((PartSpec("grid", (8, 8), 2, 1),), num_classes=10)
SMALL = Layout("latent", {"b": (2,), "a": (2, 3)})


def digits() -> tuple[Representations, Array]:
    bunch = load_digits()
    values = (bunch.images[..., None] / 16.0).astype(np.float32)
    count = len(values)
    return Representations(LAYOUT, {"values": values}, np.arange(count), np.zeros(count)), bunch.target


def small(count: int = 90, seed: int = 0) -> tuple[Representations, Array]:
    """Three classes that overlap."""
    rng = draws.generator(seed, "rows")
    labels = rng.integers(0, 3, count)
    arrays = {
        "a": (50.0 + rng.standard_normal((count, 2, 3))).astype(np.float32),
        "b": (1e-3 * (labels[:, None] + 0.7 * rng.standard_normal((count, 2)))).astype(np.float32),
    }
    return Representations(SMALL, arrays, np.arange(count), np.zeros(count)), labels


def reader_of(**settings: Any) -> LinearProbe:
    return LinearProbe(LinearProbeSettings(**settings), SMALL, SignalSpec(SPEC.parts, num_classes=3))


def trained(reader: LinearProbe, run: CellRun | None = None, **splits: Any) -> dict[str, Array]:
    data = NeuralDataSet({}, {"train": small(), **splits}, {})
    return dict(reader.train(data, run or CellRun(0)))


def test_on_digits_pixels_it_finds_scikit_learns_optimum() -> None:
    rows, labels = digits()
    train, test = slice(0, 900), slice(900, None)
    reader = LinearProbe(LinearProbeSettings(c=0.1, tolerance=1e-7), LAYOUT, SPEC)
    reader.train(NeuralDataSet({}, {"train": (rows.take(train), labels[train])}, {}), CellRun(0))
    flat = rows.arrays["values"].reshape(len(rows), -1).astype(np.float64)
    mean, spread = flat[train].mean(axis=0), flat[train].std(axis=0)
    scaled = (flat - mean) / np.where(spread > 0.0, spread, 1.0)
    theirs = LogisticRegression(C=0.1, tol=1e-8, max_iter=5000).fit(scaled[train], labels[train])
    np.testing.assert_allclose(reader.state["weight"], theirs.coef_, atol=1e-4)
    logits = reader.predict(rows.take(test), CellRun(0))["logits"]
    log_p = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    np.testing.assert_allclose(log_p, theirs.predict_log_proba(scaled[test]), atol=2e-3)
    hits = (logits.argmax(axis=1) == labels[test]).mean()
    assert hits == pytest.approx(theirs.score(scaled[test], labels[test]), abs=0.002)
    assert hits > 0.9


def test_the_gradient_is_that_of_finite_differences() -> None:
    reader = reader_of()
    rows, labels = small(20)
    reader.state = {"mean": np.zeros(8), "spread": np.ones(8)}
    objective = reader._objective(rows, labels)
    weights = 0.1 * draws.generator(0, "weights").standard_normal((9, 3))
    _, gradient = objective(weights)
    for place in ((0, 0), (7, 2), (8, 1)):
        step = np.zeros_like(weights)
        step[place] = 1e-6
        slope = (objective(weights + step)[0] - objective(weights - step)[0]) / 2e-6
        assert gradient[place] == pytest.approx(slope, rel=1e-5)


def test_rows_that_are_read_anew_in_blocks_give_the_same_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = trained(reader_of(c=1.0))
    monkeypatch.setattr(linear_probe, "RESIDENT_BYTES", 0)
    monkeypatch.setattr(flat, "BLOCK_BYTES", 8 * 8 * 7)
    parts = trained(reader_of(c=1.0))
    for name in ("weight", "bias", "mean", "spread"):
        np.testing.assert_allclose(parts[name], whole[name], rtol=1e-6, atol=1e-5)


def test_values_are_standardised_by_the_training_rows_alone() -> None:
    far = small(50, seed=1)
    far[0].arrays["a"][...] += 1e4  # type: ignore[index]
    reader = reader_of()
    state = trained(reader, validation=far, test=far)
    rows, _ = small()
    flat = np.concatenate([rows.arrays["a"].reshape(90, -1), rows.arrays["b"]], axis=1).astype(np.float64)
    np.testing.assert_allclose(state["mean"], flat.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(state["spread"], flat.std(axis=0), rtol=1e-9)
    values = reader.predict(rows, CellRun(0), tap=("values",))["values"]
    np.testing.assert_allclose(values.std(axis=0), 1.0, rtol=1e-4)
    assert np.array_equal(trained(reader_of(standardise=False))["spread"], np.ones(8))


def test_validation_chooses_c_and_of_equals_the_smallest() -> None:
    held_out = small(60, seed=1)
    reader = reader_of()
    state = trained(reader, validation=held_out)
    right = {}
    for c in CANDIDATES:
        alone = reader_of(c=c)
        trained(alone)
        right[c] = int((alone.predict(held_out[0], CellRun(0))["logits"].argmax(axis=1) == held_out[1]).sum())
    best = max(right.values())
    assert float(state["c"]) == min(c for c, hits in right.items() if hits == best)
    assert min(right.values()) < best
    assert float(trained(reader_of())["c"]) == 1.0


class StoppedAfter(CellRun):
    """A run that is asked to stop within its fourth candidate."""

    def steps(self, *arguments: Any) -> Any:
        for step in super().steps(*arguments):
            if step == 3:
                self.stop.set()
            yield step


def test_an_interrupted_choice_goes_on_to_the_same_bits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    held_out = small(60, seed=1)
    whole = trained(reader_of(), validation=held_out)
    with pytest.raises(Interrupted):
        trained(reader_of(), StoppedAfter(0, folder=tmp_path, stop=threading.Event()), validation=held_out)
    done: list[float] = []
    minimum = LinearProbe._minimum

    def counted(self: LinearProbe, objective: Any, start: Array, c: float, num_rows: int) -> Array:
        done.append(c)
        return minimum(self, objective, start, c, num_rows)

    monkeypatch.setattr(LinearProbe, "_minimum", counted)
    resumed = trained(reader_of(), CellRun(0, folder=tmp_path), validation=held_out)
    assert done == list(CANDIDATES[4:])
    for name, array in whole.items():
        np.testing.assert_array_equal(array, resumed[name])


def test_too_few_iterations_are_said(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "inrbench"):
        trained(reader_of(c=1.0, iterations=2))
    assert "linear-probe: not done after 2 iterations at C = 1 (reader.iterations)" in caplog.text
    caplog.clear()
    trained(reader_of(c=1.0))
    assert not caplog.records


def test_it_is_a_classifier_that_is_loaded_back_tapped_and_edited() -> None:
    reader, other = reader_of(c=1.0), reader_of()
    other.load(trained(reader))
    assert isinstance(reader, Classifier)
    rows, labels = small(40, seed=2)
    found = reader.predict(rows, CellRun(0), tap=reader.stages)
    assert (found["logits"].argmax(axis=1) == labels).mean() > 0.6
    np.testing.assert_array_equal(other.predict(rows, CellRun(0))["logits"], found["logits"])
    for stage in reader.stages:
        donor = found[stage][::-1]
        edited = reader.predict(rows, CellRun(0), edit={stage: lambda value, donor=donor: donor})["logits"]
        np.testing.assert_allclose(edited, found["logits"][::-1], rtol=1e-6)
    with pytest.raises(BadSetting, match=r"no stage 'layer'; its stages: values, logits"):
        reader.predict(rows, CellRun(0), tap=("layer",))


def test_its_parameters_are_weights_and_offsets() -> None:
    assert reader_of().facts().parameters == 8 * 3 + 3
    assert reader_of().facts().flops == 2 * 8 * 3
    assert LinearProbe(LinearProbeSettings(), SMALL, SignalSpec(SPEC.parts)).refuses(SMALL) == (
        "the data set has no classes"
    )
