"""Nearest neighbours: against brute force and scikit-learn, with ties, copies, and a k that validation chooses."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from inrbench_readers import flat, knn
from inrbench_readers.knn import KNN
from inrbench_readers.settings import KNNSettings
from sklearn.neighbors import KNeighborsClassifier

from inrbench import draws
from inrbench.cell_run import CellRun
from inrbench.domains import Array
from inrbench.errors import BadSetting
from inrbench.interfaces import Classifier
from inrbench.representations import Layout, NeuralDataSet, Representations
from inrbench.signals import PartSpec, SignalSpec

LAYOUT = Layout("latent", {"b": (2,), "a": (2, 3)})
SPEC = SignalSpec((PartSpec("grid", (8, 8), 2, 1),), num_classes=4)


def rows_of(values: Array, ids: Array | None = None) -> Representations:
    """Rows whose flat values [rows, 8], arrays by name, are ``values``."""
    values = np.asarray(values, np.float32)
    arrays = {"a": values[:, :6].reshape(-1, 2, 3), "b": values[:, 6:]}
    ids = np.arange(len(values)) if ids is None else ids
    return Representations(LAYOUT, arrays, ids, np.zeros(len(values), dtype=np.int64))


def drawn(count: int, seed: int = 0) -> tuple[Array, Array]:
    rng = draws.generator(seed, "rows")
    labels = rng.integers(0, 4, count)
    values = rng.standard_normal((count, 8)) * np.geomspace(0.1, 10.0, 8) + 3.0
    values[:, 0] += 0.2 * labels
    return values.astype(np.float32), labels


def reader_of(**settings: Any) -> KNN:
    return KNN(KNNSettings(**{"k": 5, **settings}), LAYOUT, SPEC)


def trained(reader: KNN, values: Array, labels: Array, ids: Array | None = None, **splits: Any) -> KNN:
    reader.train(NeuralDataSet({}, {"train": (rows_of(values, ids), labels), **splits}, {}), CellRun(0))
    return reader


def predicted(reader: KNN, values: Array, *tap: str) -> dict[str, Array]:
    return dict(reader.predict(rows_of(values), CellRun(0), tap=tap))


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
@pytest.mark.parametrize("standardise", [True, False])
@pytest.mark.parametrize("k", [1, 3, 10])
def test_the_neighbours_are_those_of_brute_force(metric: str, standardise: bool, k: int) -> None:
    values, labels = drawn(150)
    queries, _ = drawn(40, seed=1)
    found = predicted(
        trained(reader_of(k=k, metric=metric, standardise=standardise), values, labels), queries, "neighbours"
    )
    gallery, asked = values.astype(np.float64), queries.astype(np.float64)
    if standardise:
        mean, spread = gallery.mean(axis=0), gallery.std(axis=0)
        gallery, asked = (gallery - mean) / spread, (asked - mean) / spread
    if metric == "euclidean":
        distances = np.square(asked[:, None] - gallery).sum(axis=-1)
    else:
        lengths = np.linalg.norm(asked, axis=1)[:, None] * np.linalg.norm(gallery, axis=1)
        distances = 1.0 - asked @ gallery.T / lengths
    near = np.argsort(distances, axis=1, kind="stable")[:, :k]
    np.testing.assert_array_equal(found["neighbours"], near)
    votes = (labels[near][..., None] == np.arange(4)).sum(axis=1)
    np.testing.assert_array_equal(np.floor(found["logits"]), votes)


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
def test_neighbours_closer_together_than_a_products_rounding_are_told_apart(metric: str) -> None:
    rng = draws.generator(0, "clusters")
    place = 1e4 * rng.choice([-1.0, 1.0], (300, 1)) * np.ones(8)  # |x|² is 8e8: float32 knows it to about 50
    values = (place + rng.standard_normal((300, 8))).astype(np.float32)
    reader = trained(reader_of(k=7, metric=metric, standardise=False), values, np.zeros(300, np.int64))
    gallery = reader.state["gallery"].astype(np.float64)
    found = predicted(reader, values, "neighbours")["neighbours"]
    for i in range(0, 300, 10):
        apart = np.square(gallery - gallery[i]).sum(1) if metric == "euclidean" else 1.0 - gallery @ gallery[i]
        np.testing.assert_array_equal(found[i], np.argsort(apart, kind="stable")[:7])


def test_its_classes_are_scikit_learns_where_no_vote_is_tied() -> None:
    values, labels = drawn(200)
    queries, _ = drawn(80, seed=1)
    spread = values.std(axis=0, dtype=np.float64)
    theirs = KNeighborsClassifier(n_neighbors=7, algorithm="brute").fit(values / spread, labels)
    chances = theirs.predict_proba(queries / spread)
    logits = predicted(trained(reader_of(k=7), values, labels), queries)["logits"]
    clear = np.diff(np.sort(chances, axis=1)[:, -2:], axis=1)[:, 0] > 0.0
    assert clear.sum() > 50
    np.testing.assert_array_equal(logits.argmax(axis=1)[clear], theirs.predict(queries / spread)[clear])
    np.testing.assert_allclose(np.floor(logits) / 7, chances)


def test_of_classes_with_as_many_votes_that_of_the_nearest_wins() -> None:
    values = np.zeros((5, 8))
    values[:, 0] = (1.0, 2.0, 3.0, 4.0, 9.0)
    reader = trained(reader_of(k=4, standardise=False), values, np.array([3, 1, 1, 3, 0]))
    logits = predicted(reader, np.zeros((1, 8)))["logits"]
    assert logits.tolist() == [[0.0, 2.0, 0.0, 2.5]]
    other = trained(reader_of(k=4, standardise=False), values, np.array([1, 3, 3, 1, 0]))
    assert predicted(other, np.zeros((1, 8)))["logits"].tolist() == [[0.0, 2.5, 0.0, 2.0]]


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
def test_equal_distances_are_taken_in_the_gallerys_order(metric: str) -> None:
    values = np.tile(np.arange(1.0, 9.0), (30, 1))
    values[20] *= -1.0
    reader = trained(reader_of(k=4, metric=metric, standardise=False), values, np.arange(30) % 4)
    near = predicted(reader, values[:3] * 1.0, "neighbours")["neighbours"]
    assert near.tolist() == [[0, 1, 2, 3]] * 3


def test_a_signal_of_many_copies_has_one_vote() -> None:
    values = np.zeros((7, 8))
    values[:, 0] = (5.0, 1.0, 6.0, 1.1, 3.0, 1.2, 4.0)  # the copies of signal 70 are the three nearest
    ids = np.array([50, 70, 50, 70, 80, 70, 90])
    labels = np.array([0, 2, 0, 2, 1, 2, 1])
    reader = trained(reader_of(k=3, standardise=False), values, labels, ids)
    found = predicted(reader, np.zeros((1, 8)), "neighbours")
    assert found["neighbours"].tolist() == [[70, 80, 90]]
    assert found["logits"].tolist() == [[0.0, 2.5, 1.0, 0.0]]
    every = trained(reader_of(k=100, standardise=False), values, labels, ids)
    assert predicted(every, np.zeros((1, 8)), "neighbours")["neighbours"].tolist() == [[70, 80, 90, 50]]


def test_copies_do_not_change_the_neighbours_of_the_signals() -> None:
    values, labels = drawn(60)
    queries, _ = drawn(30, seed=1)
    order = draws.generator(0, "order").permutation(180)
    many, ids = np.repeat(values, 3, axis=0)[order], np.repeat(np.arange(60), 3)[order]
    once = predicted(trained(reader_of(), values, labels), queries, "neighbours")["neighbours"]
    thrice = trained(reader_of(), many, labels[ids], ids)
    np.testing.assert_array_equal(predicted(thrice, queries, "neighbours")["neighbours"], once)


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
def test_the_result_does_not_depend_on_the_blocks(metric: str, monkeypatch: pytest.MonkeyPatch) -> None:
    values, labels = drawn(97)
    queries, _ = drawn(23, seed=1)
    queries[:5] = values[:5]
    far = values + 1000.0  # where float32's rounding of a product is as large as distances are
    for gallery, asked in ((values, queries), (far, queries + np.float32(1000.0))):
        whole = predicted(trained(reader_of(metric=metric, standardise=False), gallery, labels), asked, "neighbours")
        with monkeypatch.context() as patch:
            patch.setattr(knn, "DISTANCE_BYTES", 4 * 97 * 2)
            patch.setattr(flat, "BLOCK_BYTES", 8 * 8 * 7)
            patch.setattr(flat.blocks, "__defaults__", (8 * 8 * 7,))
            parts = predicted(
                trained(reader_of(metric=metric, standardise=False), gallery, labels), asked, "neighbours"
            )
        np.testing.assert_array_equal(parts["neighbours"], whole["neighbours"])
        np.testing.assert_array_equal(parts["logits"], whole["logits"])


def test_validation_chooses_k_and_of_equals_the_smallest() -> None:
    rng = draws.generator(0, "noisy")
    values, labels = np.zeros((400, 8)), rng.integers(0, 2, 400)
    values[:, 0] = labels + 0.8 * rng.standard_normal(400)  # classes overlap: one neighbour is too few
    train, held_out = slice(0, 300), slice(300, 400)
    validation = (rows_of(values[held_out]), labels[held_out])
    reader = trained(reader_of(k=None, standardise=False), values[train], labels[train], validation=validation)
    right = {}
    for k in knn.CANDIDATES:
        logits = predicted(trained(reader_of(k=k, standardise=False), values[train], labels[train]), values[held_out])
        right[k] = int((logits["logits"].argmax(axis=1) == labels[held_out]).sum())
    best = max(right.values())
    assert int(reader.state["k"]) == min(k for k, hits in right.items() if hits == best) > 1
    apart = values + 100.0 * labels[:, None]
    validation = (rows_of(apart[held_out]), labels[held_out])
    reader = trained(reader_of(k=None), apart[train], labels[train], validation=validation)
    assert int(reader.state["k"]) == 1
    assert int(trained(reader_of(k=None), values, labels).state["k"]) == 5


def test_statistics_are_those_of_the_training_rows() -> None:
    values, labels = drawn(80)
    far = (rows_of(values * 100.0), labels)
    reader = trained(reader_of(), values, labels, validation=far, test=far)
    np.testing.assert_allclose(reader.state["mean"], values.mean(axis=0, dtype=np.float64), rtol=1e-12)
    np.testing.assert_allclose(reader.state["spread"], values.std(axis=0, dtype=np.float64), rtol=1e-6)


def test_a_value_that_never_changes_is_left_as_it_is() -> None:
    values, labels = drawn(50)
    values[:, 3] = 0.1
    reader = trained(reader_of(), values, labels)
    assert reader.state["spread"][3] == 1.0
    assert np.isfinite(reader.state["gallery"]).all()


def test_it_is_a_classifier_that_is_loaded_back_tapped_and_edited() -> None:
    values, labels = drawn(60)
    queries, _ = drawn(9, seed=1)
    reader, other = trained(reader_of(), values, labels), reader_of()
    assert isinstance(reader, Classifier)
    other.load(reader.state)
    found = predicted(reader, queries, *reader.stages)
    np.testing.assert_array_equal(predicted(other, queries)["logits"], found["logits"])
    for stage in reader.stages:
        donor = found[stage][::-1]
        edited = reader.predict(rows_of(queries), CellRun(0), edit={stage: lambda value, donor=donor: donor})
        np.testing.assert_array_equal(edited["logits"], found["logits"][::-1])
    with pytest.raises(BadSetting, match=r"no stage 'layer'; its stages: values, neighbours, logits"):
        predicted(reader, queries, "layer")
    assert reader.facts().parameters == 0


def test_a_data_set_without_classes_is_refused() -> None:
    reader = KNN(KNNSettings(), LAYOUT, SignalSpec(SPEC.parts))
    assert reader.refuses(LAYOUT) == "the data set has no classes"
    assert reader_of().refuses(LAYOUT) is None
