"""Neural functional networks: the published counts, the symmetry of neurons, the package's initialisation, stages."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from inrbench_readers.nfn import HNPReader, NFNReader, NPReader, init_nf_layer
from inrbench_readers.settings import NFNSettings
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

import inrbench
from inrbench import draws
from inrbench.backends.torch.reading import Stages
from inrbench.cell_run import CellRun
from inrbench.cells import resolve
from inrbench.errors import BadSetting
from inrbench.representations import Layout, NeuralDataSet, Representations
from inrbench.settings import TrainingSettings
from inrbench.signals import PartSpec, SignalSpec

WIDTH, DEPTH, CLASSES = 6, 3, 4
KINDS = pytest.mark.parametrize("kind", [NPReader, HNPReader])


def spec(channels: int = 1, classes: int | None = CLASSES) -> SignalSpec:
    return SignalSpec((PartSpec("grid", (8, 8), 2, channels),), num_classes=classes)


def layout(width: int = WIDTH, depth: int = DEPTH, output: int = 0) -> Layout:
    """A chain 2 → width, ``depth`` times width → width, and width → ``output`` where that is not 0."""
    shapes: dict[str, tuple[int, ...]] = {"layers.0.weight": (width, 2), "layers.0.bias": (width,)}
    for i in range(1, depth + 1):
        shapes |= {f"layers.{i}.weight": (width, width), f"layers.{i}.bias": (width,)}
    if output:
        shapes |= {"output.weight": (output, width), "output.bias": (output,)}
    return Layout("weights", shapes, "shared")


def rows_of(count: int, seed: int = 0, of: Layout | None = None) -> Representations:
    of = of or layout()
    rng = draws.generator(seed, "rows")
    arrays = {n: 0.01 * rng.standard_normal((count, *s)).astype(np.float32) for n, s in of.shapes.items()}
    return Representations(of, arrays, np.arange(count), np.zeros(count, dtype=np.int64))


def reader_of(kind: type[NFNReader], of: Layout | None = None, channels: int = 1, **settings: Any) -> NFNReader:
    """A reader drawn with seed 0, its parameters twice as large: then the logits of two fields lie well apart."""
    reader = kind(NFNSettings(**{"channels": 8, **settings}), of or layout(), spec(channels))
    reader.start(CellRun(0))
    with torch.no_grad():
        for parameter in reader.network.parameters():
            parameter.mul_(2.0)
    return reader


def predicted(reader: NFNReader, rows: Representations, **more: Any) -> Any:
    return reader.predict(rows, CellRun(0), **more)


def replaced(rows: Representations, **arrays: np.ndarray) -> Representations:
    return Representations(rows.layout, {**rows.arrays, **arrays}, rows.ids, rows.copies)


STAGES = reader_of(NPReader).stages


# ------------------------------------------------------------------ counts


@pytest.mark.parametrize(("kind", "parameters"), [(NPReader, 1_774_346), (HNPReader, 3_566_154)])
def test_the_counts_are_those_of_mwts_public_code(kind: type[NFNReader], parameters: int) -> None:
    ten = SignalSpec((PartSpec("grid", (32, 32), 2, 3),), num_classes=10)
    assert kind(NFNSettings(), layout(128, 4), ten).facts().parameters == parameters


@pytest.mark.parametrize(("name", "parameters"), [("nfn-np", 1_774_346), ("nfn-hnp", 3_566_154)])
def test_as_the_reader_of_mwt_on_cifar10_it_has_its_published_count(name: str, parameters: int) -> None:
    reader = resolve("mwt", "cifar10", overrides=[{"reader": name}]).build().reader
    assert reader is not None
    assert reader.facts().parameters == parameters


@pytest.mark.parametrize(("kind", "nf_layer", "means"), [(NPReader, 160, 6), (HNPReader, 226, 7)])
def test_a_small_count_is_that_worked_by_hand(kind: type[NFNReader], nf_layer: int, means: int) -> None:
    """One NF-layer of 2 channels on 2 → 3 → 3 → 1.

    NP, from 6 means (of 3 matrices and 3 biases), a map of c inputs having 2 c + 2 parameters. First matrix: entries 4,
    means 14, columns (of its own) 4, rows (its own, its bias, the next matrix's columns) 8; its bias 8 + 14. The second
    adds to its columns the matrix and the bias before: 4 + 14 + 8 + 8 + 8 + 14. The third has no next: 4 + 14 + 8 + 6
    + 6 + 14.

    HNP, from 6 means, 2 inputs' and 1 output's and the last bias: 10 values. First matrix, apart for both inputs: rows
    4 → 4 in 20, values 44; its bias 10 + 22. The second with inputs and output in its columns and rows: 4 + 22 + 12 +
    10, its bias 10 + 22. The third: columns 2 → 2 in 6, values 22; its bias 22.
    """
    reader = kind(NFNSettings(channels=2, layers=1), layout(3, 1), spec())
    assert reader.facts().parameters == nf_layer + (2 * means * 3 + 3) + (3 * 3 + 3) + (3 * CLASSES + CLASSES)


def test_the_number_of_the_fields_channels_counts_where_outputs_are_told_apart() -> None:
    np_counts = {reader_of(NPReader, channels=c).facts().parameters for c in (1, 3)}
    hnp_counts = {reader_of(HNPReader, channels=c).facts().parameters for c in (1, 3)}
    assert (len(np_counts), len(hnp_counts)) == (1, 2)


def test_the_classifiers_width_is_the_fields_unless_it_is_set() -> None:
    assert [tuple(p.weight.shape) for p in reader_of(NPReader).network.classifier] == [(6, 80), (6, 6), (4, 6)]  # type: ignore[union-attr]
    wide = reader_of(NPReader, width=11).network.classifier
    assert [tuple(p.weight.shape) for p in wide] == [(11, 80), (11, 11), (4, 11)]  # type: ignore[union-attr]


@KINDS
@pytest.mark.parametrize("depth", [1, 2, 3])
def test_multiply_adds_are_those_of_the_maps(kind: type[NFNReader], depth: int) -> None:
    reader = reader_of(kind, layout(depth=depth), channels=3)
    rows = {name: torch.as_tensor(array) for name, array in rows_of(1, of=layout(depth=depth)).arrays.items()}
    with FlopCounterMode(display=False) as counter:
        reader.network(rows, Stages())
    assert reader.facts().flops == counter.get_total_flops()


# ------------------------------------------------------------------ symmetry


def permuted(rows: Representations, *, ends: bool = False, seed: int = 1) -> Representations:
    """The same fields with every layer's neurons in another order; with ``ends`` the inputs and the outputs too."""
    rng = draws.generator(seed, "orders")
    arrays = dict(rows.arrays)
    names = list(dict.fromkeys(name.rpartition(".")[0] for name in arrays))
    order = rng.permutation(arrays["layers.0.weight"].shape[2]) if ends else slice(None)
    for name in names:
        size = arrays[f"{name}.bias"].shape[1]
        after = rng.permutation(size) if ends or name != "output" else slice(None)
        arrays[f"{name}.weight"] = arrays[f"{name}.weight"][:, :, order][:, after]
        arrays[f"{name}.bias"] = arrays[f"{name}.bias"][:, after]
        order = after
    return Representations(rows.layout, arrays, rows.ids, rows.copies)


def change(reader: NFNReader, rows: Representations, other: Representations) -> float:
    return float(np.abs(predicted(reader, rows)["logits"] - predicted(reader, other)["logits"]).max())


@KINDS
@pytest.mark.parametrize("hidden_only", [True, False])
def test_the_order_of_hidden_neurons_does_not_matter(kind: type[NFNReader], hidden_only: bool) -> None:
    of = layout(output=3)
    rows = rows_of(3, of=of)
    reader = reader_of(kind, of, channels=3, hidden_only=hidden_only)
    assert change(reader, rows, permuted(rows)) < 1e-5
    assert change(reader, rows, rows_of(3, seed=1, of=of)) > 1e-2  # while it tells fields apart,
    order = np.roll(np.arange(WIDTH), 1)
    torn = replaced(rows, **{"layers.1.weight": rows.arrays["layers.1.weight"][:, order]})  # and neurons from others
    assert change(reader, rows, torn) > 1e-3


def test_nfn_np_takes_inputs_and_outputs_as_interchangeable_too_and_nfn_hnp_does_not() -> None:
    of = layout(output=3)
    rows = rows_of(3, of=of)
    np_reader, hnp_reader = (reader_of(k, of, channels=3, hidden_only=False) for k in (NPReader, HNPReader))
    assert change(np_reader, rows, permuted(rows, ends=True)) < 1e-5
    assert change(hnp_reader, rows, permuted(rows, ends=True)) > 1e-3


@KINDS
def test_with_zeros_at_both_ends_the_outer_hidden_layers_may_be_reordered_alone(kind: type[NFNReader]) -> None:
    rows = rows_of(3)
    order, last = np.roll(np.arange(WIDTH), 1), f"layers.{DEPTH}"
    first = replaced(rows, **{"layers.1.weight": rows.arrays["layers.1.weight"][:, :, order]})
    both = replaced(first, **{f"{last}.{p}": rows.arrays[f"{last}.{p}"][:, order] for p in ("weight", "bias")})
    assert change(reader_of(kind), rows, both) < 1e-5


@KINDS
def test_the_first_and_the_output_layer_are_read_only_when_asked_for(kind: type[NFNReader]) -> None:
    of = layout(output=1)
    rows = rows_of(2, of=of)
    for name in ("layers.0.weight", "layers.0.bias", "output.weight", "output.bias"):
        other = replaced(rows, **{name: 1.0 + rows.arrays[name]})
        assert change(reader_of(kind, of), rows, other) == 0.0
        assert change(reader_of(kind, of, hidden_only=False), rows, other) > 1e-3, name


@KINDS
def test_an_output_that_the_rows_lack_is_zeros(kind: type[NFNReader]) -> None:
    of, rows = layout(output=1), rows_of(2)
    with_output = {f"output.{part}": np.zeros((2, *of.shapes[f"output.{part}"]), np.float32) for part in PARTS}
    full = Representations(of, {**rows.arrays, **with_output}, rows.ids, rows.copies)
    one, other = reader_of(kind, hidden_only=False), reader_of(kind, of, hidden_only=False)
    np.testing.assert_array_equal(predicted(one, rows)["logits"], predicted(other, full)["logits"])


PARTS = ("weight", "bias")


# ------------------------------------------------------------------ gradients and training


@KINDS
def test_a_gradient_reaches_every_hidden_weight_and_is_that_of_finite_differences(kind: type[NFNReader]) -> None:
    reader = reader_of(kind)
    reader.network.double()
    rows = {n: torch.as_tensor(a).double().requires_grad_() for n, a in rows_of(2).arrays.items()}
    labels = torch.tensor([1, 3])

    def loss() -> Tensor:
        return reader.loss(rows, labels, draws.generator(0, "step"))[0]

    loss().backward()  # type: ignore[no-untyped-call]
    for name, row in rows.items():
        if name.startswith("layers.0."):
            assert row.grad is None
            continue
        assert row.grad is not None
        assert (row.grad != 0.0).all(), name
        with torch.no_grad():
            flat, step = row.view(-1), 1e-7
            found = []
            for sign in (1, -1):
                flat[1] += sign * step
                found.append(float(loss()))
                flat[1] -= sign * step
        assert (found[0] - found[1]) / (2 * step) == pytest.approx(float(row.grad.view(-1)[1]), rel=1e-5), name


@KINDS
def test_it_learns_classes_and_is_loaded_back(kind: type[NFNReader]) -> None:
    def shifted(count: int, seed: int) -> tuple[Representations, np.ndarray]:
        rows, labels = rows_of(count, seed), np.arange(count) % CLASSES
        bias = rows.arrays["layers.2.bias"] + 0.03 * labels[:, None].astype(np.float32)
        return replaced(rows, **{"layers.2.bias": bias}), labels

    train = TrainingSettings(steps=60, batch_size=16, schedule="one-cycle", clip_norm=1.0)
    reader, other = (reader_of(kind, lr=1e-2, layers=2, width=32, train=train) for _ in range(2))
    state = reader.train(NeuralDataSet({}, {"train": shifted(64, 0)}, {}), CellRun(0))
    rows, labels = shifted(40, 5)
    logits = predicted(reader, rows)["logits"]
    assert (logits.argmax(axis=1) == labels).mean() > 0.8
    other.load(state)
    np.testing.assert_array_equal(predicted(other, rows)["logits"], logits)


# ------------------------------------------------------------------ initialisation


@KINDS
def test_the_initialisation_depends_on_the_seed_alone(kind: type[NFNReader]) -> None:
    states = []
    for global_seed, seed in ((1, 0), (2, 0), (1, 1)):
        torch.manual_seed(global_seed)
        reader = kind(NFNSettings(channels=8), layout(), spec())
        for parameter in reader.network.parameters():
            parameter.detach().fill_(float("nan"))
        before = torch.get_rng_state()
        reader.start(CellRun(seed))
        assert torch.equal(before, torch.get_rng_state())
        states.append(reader.state())
    one, again, other = states
    assert all(np.isfinite(array).all() and np.array_equal(array, again[name]) for name, array in one.items())
    assert not any(np.array_equal(array, other[name]) for name, array in one.items())


@KINDS
@pytest.mark.parametrize("depth", [1, 2, 3])
def test_the_bounds_of_the_initialisation_are_the_packages(
    kind: type[NFNReader], depth: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A uniform draw is replaced by its upper bound: what the constructor leaves is what the package would draw."""

    def bound(self: Tensor, low: float, high: float, generator: object = None) -> Tensor:
        assert low == -high
        with torch.no_grad():
            return self.fill_(high)

    monkeypatch.setattr(torch.Tensor, "uniform_", bound)
    for layer in kind(NFNSettings(channels=8), layout(depth=depth), spec(3)).network.layers:
        expected = {name: value.clone() for name, value in layer.state_dict().items()}
        for parameter in layer.parameters():
            parameter.detach().zero_()
        init_nf_layer(layer, torch.Generator())
        for name, value in layer.state_dict().items():
            torch.testing.assert_close(value, expected[name], rtol=1e-6, atol=0, msg=name)


# ------------------------------------------------------------------ stages


@KINDS
def test_the_stages_are_named_from_the_weights_to_the_logits(kind: type[NFNReader]) -> None:
    reader, rows = reader_of(kind, channels=3), rows_of(2)
    assert reader.stages == STAGES
    assert STAGES == ("weights", "layer.0", "layer.1", "layer.2", "pooled", "hidden.0", "hidden.1", "logits")
    found = predicted(reader, rows, tap=STAGES)
    ends = [np.zeros((2, 2 * WIDTH + WIDTH), np.float32), np.zeros((2, 3 * WIDTH + 3), np.float32)]
    hidden = [rows.arrays[f"layers.{i}.{part}"].reshape(2, -1) for i in range(1, DEPTH + 1) for part in PARTS]
    np.testing.assert_array_equal(found["weights"][..., 0], np.concatenate([ends[0], *hidden, ends[1]], axis=1))
    values = found["weights"].shape[1]
    assert found["layer.0"].shape == found["layer.2"].shape == (2, values, 8)
    assert found["layer.0"].min() == 0.0
    if kind is NPReader:  # a matrix's mean stands in its place
        own = found["layer.2"][:, 3 * WIDTH : 3 * WIDTH + WIDTH**2].mean(axis=1)
        np.testing.assert_allclose(found["pooled"].reshape(2, 8, -1)[:, :, 2], own, rtol=1e-5, atol=1e-6)
    state = reader.state()
    for i, (before, after) in enumerate((("pooled", "hidden.0"), ("hidden.0", "hidden.1"), ("hidden.1", "logits"))):
        expected = found[before] @ state[f"classifier.{i}.weight"].T + state[f"classifier.{i}.bias"]
        expected = expected if after == "logits" else np.maximum(expected, 0.0)
        np.testing.assert_allclose(found[after], expected, rtol=1e-4, atol=1e-5)


@KINDS
def test_the_weights_are_scaled_by_lambda_without_an_offset(kind: type[NFNReader]) -> None:
    rows = rows_of(2)
    double = replaced(rows, **{name: 2.0 * array for name, array in rows.arrays.items()})
    one, other = reader_of(kind), reader_of(kind, weight_scale=250.0)
    np.testing.assert_array_equal(predicted(one, rows)["logits"], predicted(other, double)["logits"])
    assert NFNSettings().weight_scale == 500.0


@KINDS
@pytest.mark.parametrize("stage", STAGES)
def test_another_rows_stage_put_in_place_gives_that_rows_logits(kind: type[NFNReader], stage: str) -> None:
    reader, one, other = reader_of(kind), rows_of(5, seed=1), rows_of(5, seed=2)
    reader.network.piece_rows = 2
    donor = predicted(reader, other, tap=(stage,))
    given = torch.as_tensor(donor[stage])
    edited = predicted(reader, one, edit={stage: lambda value: given})["logits"]
    np.testing.assert_allclose(edited, donor["logits"], rtol=0, atol=1e-5)
    assert np.abs(predicted(reader, one)["logits"] - edited).max() > 1e-3


@KINDS
def test_a_row_is_read_alike_in_any_batch_and_any_piece(kind: type[NFNReader], monkeypatch: pytest.MonkeyPatch) -> None:
    reader, rows = reader_of(kind), rows_of(7)
    together = predicted(reader, rows)["logits"]
    monkeypatch.setattr("inrbench_readers.nfn.PREDICT_ROWS", 3)
    for piece_rows in (1, 2, 5):
        reader.network.piece_rows = piece_rows
        np.testing.assert_allclose(predicted(reader, rows)["logits"], together, rtol=0, atol=1e-5)
    alone = predicted(reader, rows.take(slice(4, 5)))["logits"]
    np.testing.assert_allclose(alone, together[4:5], rtol=0, atol=1e-5)


def test_a_piece_of_a_batch_has_at_most_16_mib_in_an_array() -> None:
    pieces = [NPReader(NFNSettings(), layout(width, 2), spec()).network.piece_rows for width in (128, 64, 600)]
    assert pieces == [4, 16, 1]


def test_an_unknown_stage_is_an_error_that_names_them() -> None:
    with pytest.raises(BadSetting, match=r"no stage 'layer\.9'; its stages: weights, layer\.0, .*, logits"):
        predicted(reader_of(NPReader), rows_of(1), tap=("layer.9",))


# ------------------------------------------------------------------ what it takes


@KINDS
@pytest.mark.parametrize("channels", [1, 3])
def test_any_number_of_channels_is_read(kind: type[NFNReader], channels: int) -> None:
    reader = reader_of(kind, channels=channels)
    assert reader.refuses(layout()) is None
    logits = predicted(reader, rows_of(3))["logits"]
    assert logits.shape == (3, CLASSES)
    assert np.isfinite(logits).all()


def test_layers_may_differ_in_width() -> None:
    of = Layout("weights", {"layers.0.weight": (5, 2), "layers.0.bias": (5,)} | hidden({1: (7, 5), 2: (4, 7)}))
    for kind in (NPReader, HNPReader):
        reader = reader_of(kind, of)
        assert reader.refuses(of) is None
        assert predicted(reader, rows_of(2, of=of))["logits"].shape == (2, CLASSES)


def hidden(shapes: Mapping[int, tuple[int, ...]]) -> dict[str, tuple[int, ...]]:
    weights = {f"layers.{i}.weight": shape for i, shape in shapes.items()}
    return weights | {f"layers.{i}.bias": shape[:1] for i, shape in shapes.items()}


CHAIN = layout(depth=2, output=1).shapes
WITHOUT_BIAS = {name: shape for name, shape in CHAIN.items() if name != "layers.1.bias"}


@KINDS
@pytest.mark.parametrize(
    ("shapes", "hidden_only", "reason"),
    [
        ({"latent": (64,)}, True, "the field has no hidden layers layers.1.weight, ...; it has latent"),
        (layout(depth=0).shapes, True, "the field has no hidden layers layers.1.weight, ...; it has layers.0.weight, "),
        ({**CHAIN, "gates.1": (6,)}, True, "layers.0, layers.1, layers.2, output; it also has gates.1"),
        ({**CHAIN, **hidden({4: (6, 6)})}, True, "it also has layers.4.weight, layers.4.bias"),
        ({**CHAIN, "output.scale": (1,)}, False, "it also has output.scale"),
        ({**CHAIN, "layers.1.weight": (6, 5)}, True, "in a chain layers.1.weight must be (6, 6); it is (6, 5)"),
        ({**CHAIN, "layers.1.weight": (6, 6, 3)}, True, "layers.1.weight must be a matrix; it is (6, 6, 3)"),
        ({**CHAIN, "layers.1.bias": (1,)}, True, "in a chain layers.1.bias must be (6,); it is (1,)"),
        (WITHOUT_BIAS, True, "in a chain layers.1.bias must be (6,); it is absent"),
        ({**CHAIN, "output.weight": (2, 6)}, False, "in a chain output.weight must be (1, 6); it is (2, 6)"),
    ],
)
def test_what_is_no_chain_is_refused(
    kind: type[NFNReader], shapes: dict[str, tuple[int, ...]], hidden_only: bool, reason: str
) -> None:
    of = Layout("weights", shapes)
    found = kind(NFNSettings(hidden_only=hidden_only), of, spec()).refuses(of)
    assert found is not None
    assert reason in found


@KINDS
def test_an_output_that_is_not_read_may_be_of_any_kind(kind: type[NFNReader]) -> None:
    of = Layout("weights", {**CHAIN, "output.weight": (2, 6), "output.scale": (1,)})
    assert reader_of(kind, of).refuses(of) is None


@KINDS
def test_a_data_set_without_classes_is_refused(kind: type[NFNReader]) -> None:
    assert kind(NFNSettings(), layout(), spec(classes=None)).refuses(layout()) == "the data set has no classes"


# ------------------------------------------------------------------ whole cells


@pytest.mark.cells
@pytest.mark.parametrize(
    ("cell", "settings"),
    [
        ("mwt+digits", {"reader": {"name": "nfn-np"}}),
        ("mwt+digits", {"reader": {"name": "nfn-hnp", "train": {"steps": 5}}, "joint": None}),
    ],
    ids=["joint", "two-stage"],
)
def test_a_cell_with_it_is_run_and_recorded(
    cell: str, settings: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("inrbench.runner.num_threads", lambda asked=None: 1)
    frame = inrbench.run(cell, profile="smoke", settings=settings, device="cpu", records=tmp_path, quiet=True)
    assert frame["status"].tolist() == ["ok"]
    assert 0.0 <= frame["metrics.accuracy"].iloc[0] <= 1.0
