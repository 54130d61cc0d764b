"""The weight transformer: its tokens, its symmetry, and its named stages."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from inrbench_mwt.settings import WeightTransformerSettings
from inrbench_mwt.weight_transformer import WeightTransformerReader, tokens_of

from inrbench import draws
from inrbench.cell_run import CellRun
from inrbench.cells import resolve
from inrbench.errors import BadSetting, Refused
from inrbench.representations import Layout, NeuralDataSet, Representations
from inrbench.settings import TrainingSettings
from inrbench.signals import PartSpec, SignalSpec

WIDTH, DEPTH, CLASSES = 6, 3, 4
SPEC = SignalSpec((PartSpec("grid", (8, 8), 2, 1),), num_classes=CLASSES)


def layout(width: int = WIDTH, depth: int = DEPTH) -> Layout:
    shapes: dict[str, tuple[int, ...]] = {"layers.0.weight": (width, 2), "layers.0.bias": (width,)}
    for i in range(1, depth + 1):
        shapes |= {f"layers.{i}.weight": (width, width), f"layers.{i}.bias": (width,)}
    return Layout("weights", shapes, "shared")


def rows_of(count: int, seed: int = 0, of: Layout | None = None) -> Representations:
    of = of or layout()
    rng = draws.generator(seed, "rows")
    arrays = {n: 0.01 * rng.standard_normal((count, *s)).astype(np.float32) for n, s in of.shapes.items()}
    return Representations(of, arrays, np.arange(count), np.zeros(count, dtype=np.int64))


def reader_of(beta: float = 0.0, **settings: Any) -> WeightTransformerReader:
    """A reader drawn with seed 0, every residual branch at full scale, β drawn with spread ``beta``."""
    settings = {"blocks": 2, "layer_scale": 1.0, **settings}
    reader = WeightTransformerReader(WeightTransformerSettings(**settings), layout(), SPEC)
    reader.start(CellRun(0))
    with torch.no_grad():
        reader.network.beta.copy_(beta * torch.randn(reader.network.beta.shape, generator=torch.manual_seed(1)))
    return reader


def predicted(reader: WeightTransformerReader, rows: Representations, **more: Any) -> Any:
    return reader.predict(rows, CellRun(0), **more)


STAGES = reader_of().stages


# ------------------------------------------------------------------ tokens


def test_tokens_are_the_neurons_of_the_hidden_layers_with_the_bias_last() -> None:
    rows = {name: torch.as_tensor(array) for name, array in rows_of(2).arrays.items()}
    tokens = tokens_of(rows, DEPTH)
    assert tokens.shape == (2, DEPTH * WIDTH, WIDTH + 1)
    for layer in range(1, DEPTH + 1):
        for neuron in range(WIDTH):
            token = tokens[:, (layer - 1) * WIDTH + neuron]
            torch.testing.assert_close(token[:, :-1], rows[f"layers.{layer}.weight"][:, neuron], rtol=0, atol=0)
            torch.testing.assert_close(token[:, -1], rows[f"layers.{layer}.bias"][:, neuron], rtol=0, atol=0)


def test_the_papers_field_makes_512_tokens_of_129_values() -> None:
    wide = layout(128, 4)
    rows = {name: torch.zeros(1, *shape) for name, shape in wide.shapes.items()}
    assert tokens_of(rows, 4).shape == (1, 512, 129)


def test_the_first_layer_is_left_out() -> None:
    reader, rows = reader_of(), rows_of(2)
    changed = {**rows.arrays, "layers.0.weight": 5.0 + rows.arrays["layers.0.weight"], "layers.0.bias": np.ones((2, 6))}
    other = Representations(rows.layout, changed, rows.ids, rows.copies)
    np.testing.assert_array_equal(predicted(reader, rows)["logits"], predicted(reader, other)["logits"])


def test_tokens_are_scaled_to_lambda_times_delta_plus_beta() -> None:
    reader, rows = reader_of(beta=0.02, token_scale=300.0), rows_of(2)
    found = predicted(reader, rows, tap=("tokens", "scaled", "embedded"))
    beta = reader.network.beta.detach().numpy()
    np.testing.assert_allclose(found["scaled"], 300.0 * (found["tokens"] + beta), rtol=1e-5, atol=1e-5)
    embed = reader.network.embed
    expected = found["scaled"] @ embed.weight.detach().numpy().T + embed.bias.detach().numpy()
    np.testing.assert_allclose(found["embedded"], expected, rtol=1e-4, atol=1e-4)


def test_beta_starts_at_zero_and_lambda_at_500() -> None:
    reader = WeightTransformerReader(WeightTransformerSettings(), layout(), SPEC)
    reader.start(CellRun(3))
    assert not reader.network.beta.detach().numpy().any()
    assert reader.network.token_scale == 500.0
    assert float(reader.network.blocks[0].scale_mlp.detach()[0]) == pytest.approx(0.1)  # type: ignore[union-attr,operator,index]


# ------------------------------------------------------------------ tokens, normalised


def scaled(rows: Representations, factor: float) -> Representations:
    arrays = {name: np.float32(factor) * array for name, array in rows.arrays.items()}
    return Representations(rows.layout, arrays, rows.ids, rows.copies)


def test_normalised_tokens_have_mean_zero_and_variance_one_over_the_whole_matrix() -> None:
    found = predicted(reader_of(token_norm="layernorm", beta=0.01), rows_of(3), tap=("tokens", "scaled"))
    np.testing.assert_allclose(found["scaled"].mean(axis=(1, 2)), 0.0, atol=1e-5)
    np.testing.assert_allclose(found["scaled"].var(axis=(1, 2)), 1.0, rtol=1e-5)
    assert np.abs(found["scaled"].mean(axis=2)).max() > 0.1  # of all tokens together, not of each
    assert np.abs(found["scaled"].mean(axis=1)).max() > 0.1


def test_normalised_tokens_are_those_of_delta_plus_beta_without_lambda() -> None:
    reader, rows = reader_of(token_norm="layernorm", beta=0.01, token_scale=300.0), rows_of(3)
    found = predicted(reader, rows, tap=("tokens", "scaled"))
    sums = found["tokens"] + reader.network.beta.detach().numpy()
    expected = (sums - sums.mean(axis=(1, 2), keepdims=True)) / sums.std(axis=(1, 2), keepdims=True)
    np.testing.assert_allclose(found["scaled"], expected, rtol=0, atol=1e-4)
    other = predicted(reader_of(token_norm="layernorm", beta=0.01, token_scale=7.0), rows)
    np.testing.assert_array_equal(predicted(reader, rows)["logits"], other["logits"])


@pytest.mark.parametrize("factor", [0.05, 0.5, 100.0])
def test_normalised_tokens_do_not_depend_on_how_large_the_rows_are(factor: float) -> None:
    rows = rows_of(3)
    one, other = (
        predicted(reader_of(token_norm="layernorm"), r, tap=("scaled",)) for r in (rows, scaled(rows, factor))
    )
    np.testing.assert_allclose(one["scaled"], other["scaled"], rtol=0, atol=1e-4)
    np.testing.assert_allclose(one["logits"], other["logits"], rtol=0, atol=1e-4)
    plain, larger = (predicted(reader_of(), r)["logits"] for r in (rows, scaled(rows, factor)))
    assert np.abs(plain - larger).max() > 1e-3  # as those scaled by λ do


def test_normalising_has_no_parameters_and_a_gradient_into_the_rows() -> None:
    plain, normed = reader_of(), reader_of(token_norm="layernorm")
    assert normed.facts() == plain.facts()
    assert {n: a.shape for n, a in normed.state().items()} == {n: a.shape for n, a in plain.state().items()}
    rows = {name: torch.tensor(array, requires_grad=True) for name, array in rows_of(2).arrays.items()}
    loss, _ = normed.loss(rows, torch.tensor([1, 3]), draws.generator(0, "step"))
    gradients = dict(zip(rows, torch.autograd.grad(loss, [*rows.values()], allow_unused=True), strict=True))
    for name, gradient in gradients.items():
        if name.startswith("layers.0."):
            assert gradient is None
        else:
            assert gradient is not None
            assert gradient.isfinite().all()
            assert gradient.abs().max() > 0.0
    along = sum((g * rows[n]).sum((1, 2) if g.dim() == 3 else 1) for n, g in gradients.items() if g is not None)
    assert isinstance(along, torch.Tensor)
    torch.testing.assert_close(along, torch.zeros(2), rtol=0, atol=1e-4)  # scaling the rows changes nothing


# ------------------------------------------------------------------ symmetry


def permuted(rows: Representations, order: np.ndarray) -> Representations:
    """The neurons of the last hidden layer in another order."""
    last = f"layers.{DEPTH}."
    arrays = {n: a[:, order] if n.startswith(last) else a for n, a in rows.arrays.items()}
    return Representations(rows.layout, arrays, rows.ids, rows.copies)


def test_without_beta_the_order_of_the_last_layers_neurons_does_not_matter() -> None:
    rows, order = rows_of(3), np.array([3, 0, 5, 1, 4, 2])
    reader = reader_of(beta=0.0)
    one, other = (predicted(reader, r, tap=(STAGES[-3],)) for r in (rows, permuted(rows, order)))
    np.testing.assert_allclose(one["logits"], other["logits"], rtol=0, atol=1e-5)
    # and the tokens go along with their neurons, through all blocks
    start = (DEPTH - 1) * WIDTH
    np.testing.assert_allclose(one[STAGES[-3]][:, start:][:, order], other[STAGES[-3]][:, start:], rtol=0, atol=1e-4)


def test_beta_tells_the_neurons_apart() -> None:
    rows, order = rows_of(3), np.array([3, 0, 5, 1, 4, 2])
    reader = reader_of(beta=0.02)
    difference = predicted(reader, rows)["logits"] - predicted(reader, permuted(rows, order))["logits"]
    assert np.abs(difference).max() > 1e-3


def test_a_row_is_read_alike_in_any_batch() -> None:
    reader, rows = reader_of(beta=0.02), rows_of(5)
    together = predicted(reader, rows)["logits"]
    for i in range(5):
        alone = predicted(reader, rows.take(slice(i, i + 1)))["logits"]
        np.testing.assert_allclose(alone, together[i : i + 1], rtol=0, atol=1e-5)


@pytest.mark.parametrize(("width", "heads"), [(16, 1), (64, 1), (100, 1), (128, 2), (256, 4)])
def test_heads_are_64_wide_and_a_narrow_field_has_one(width: int, heads: int) -> None:
    reader = WeightTransformerReader(WeightTransformerSettings(blocks=1), layout(width, 2), SPEC)
    assert reader.network.blocks[0].heads == heads  # type: ignore[union-attr,index]
    if width % heads == 0:
        assert predicted(reader, rows_of(1, of=layout(width, 2)))["logits"].shape == (1, CLASSES)


def test_attention_is_the_softmax_of_the_tokens_products() -> None:
    reader = reader_of()
    block = reader.network.blocks[0]
    found = predicted(reader, rows_of(1), tap=("embedded", "block.0.attention"))
    hidden = torch.as_tensor(found["embedded"][0])
    normed = torch.nn.functional.layer_norm(hidden, (WIDTH,))
    query, key, value = (normed @ part.T for part in block.query_key_value.weight.detach().chunk(3))  # type: ignore[union-attr,operator]
    mixed = torch.softmax(query @ key.T / WIDTH**0.5, dim=-1) @ value
    expected = hidden + block.out(mixed).detach()  # type: ignore[operator]
    np.testing.assert_allclose(found["block.0.attention"][0], expected.numpy(), rtol=0, atol=1e-4)


# ------------------------------------------------------------------ stages


def test_every_stage_has_a_name() -> None:
    assert STAGES == (
        "tokens",
        "scaled",
        "embedded",
        "block.0.attention",
        "block.0.mlp",
        "block.1.attention",
        "block.1.mlp",
        "pooled",
        "logits",
    )


def test_every_named_stage_can_be_tapped() -> None:
    found = predicted(reader_of(), rows_of(3), tap=STAGES)
    assert set(found) == set(STAGES)
    tokens = DEPTH * WIDTH
    shapes = {
        "tokens": (3, tokens, WIDTH + 1),
        "scaled": (3, tokens, WIDTH + 1),
        "pooled": (3, WIDTH),
        "logits": (3, 4),
    }
    for name in STAGES:
        assert found[name].shape == shapes.get(name, (3, tokens, WIDTH)), name
    np.testing.assert_allclose(found["pooled"], found["block.1.mlp"].mean(axis=1), rtol=0, atol=1e-5)


def test_tapping_changes_nothing() -> None:
    reader, rows = reader_of(), rows_of(3)
    np.testing.assert_array_equal(predicted(reader, rows)["logits"], predicted(reader, rows, tap=STAGES)["logits"])


@pytest.mark.parametrize("stage", STAGES)
def test_another_rows_stage_put_in_place_gives_that_rows_logits(stage: str) -> None:
    reader, one, other = reader_of(beta=0.02), rows_of(2), rows_of(2, seed=9)
    donor = predicted(reader, other, tap=(stage,))
    given = torch.as_tensor(donor[stage])
    edited = predicted(reader, one, edit={stage: lambda value: given})["logits"]
    np.testing.assert_allclose(edited, donor["logits"], rtol=0, atol=1e-5)
    assert np.abs(edited - predicted(reader, one)["logits"]).max() > 1e-4


def test_an_edit_of_the_pooled_stage_changes_the_logits_as_computed_by_hand() -> None:
    reader, rows = reader_of(), rows_of(2)
    found = predicted(reader, rows, tap=("pooled",), edit={"pooled": lambda value: 2.0 * value + 1.0})
    pooled = predicted(reader, rows, tap=("pooled",))["pooled"]
    np.testing.assert_allclose(found["pooled"], 2.0 * pooled + 1.0, rtol=0, atol=1e-5)  # a tap sees the edit
    head = reader.network.head
    expected = (2.0 * pooled + 1.0) @ head.weight.detach().numpy().T + head.bias.detach().numpy()
    np.testing.assert_allclose(found["logits"], expected, rtol=0, atol=1e-5)


def test_an_edit_of_the_tokens_stands_before_beta_and_lambda() -> None:
    reader = reader_of(beta=0.02)
    found = predicted(reader, rows_of(2), tap=("scaled",), edit={"tokens": torch.zeros_like})
    expected = 500.0 * reader.network.beta.detach().numpy()
    np.testing.assert_allclose(found["scaled"], np.stack([expected, expected]), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(found["logits"][0], found["logits"][1], rtol=0, atol=1e-6)


@pytest.mark.parametrize("how", [{"tap": ("poled",)}, {"edit": {"poled": lambda value: value}}], ids=["tap", "edit"])
def test_an_unknown_stage_is_an_error_that_names_them(how: dict[str, Any]) -> None:
    with pytest.raises(
        BadSetting, match=r"no stage 'poled'; its stages: tokens, scaled, embedded, .*, pooled, logits$"
    ):
        predicted(reader_of(), rows_of(1), **how)


# ------------------------------------------------------------------ what it refuses, and what it learns


def refusal(shapes: dict[str, tuple[int, ...]], spec: SignalSpec = SPEC) -> str:
    of = Layout("weights", shapes)
    reason = WeightTransformerReader(WeightTransformerSettings(), of, spec).refuses(of)
    assert reason is not None
    return reason


def test_it_reads_a_field_of_square_hidden_layers() -> None:
    assert WeightTransformerReader(WeightTransformerSettings(), layout(), SPEC).refuses(layout()) is None


def test_it_refuses_what_it_cannot_read_with_a_reason() -> None:
    first = {"layers.0.weight": (6, 2), "layers.0.bias": (6,)}
    assert refusal(first) == (
        "the field has no hidden layers layers.1.weight, ...; it has layers.0.weight, layers.0.bias"
    )
    assert "must all be D x D; they are (7, 6)" in refusal({**first, "layers.1.weight": (7, 6), "layers.1.bias": (7,)})
    uneven = {f"layers.{i}.weight": (n, n) for i, n in ((1, 6), (2, 8))}
    assert "must all be D x D; they are (6, 6), (8, 8)" in refusal({**first, **uneven})
    nameless = SignalSpec(SPEC.parts, num_classes=None)
    assert refusal(dict(layout().shapes), nameless) == "the data set has no classes"


def test_a_cell_with_a_field_without_hidden_layers_is_refused() -> None:
    cell = resolve("mwt", "digits", overrides=[{"inr": {"depth": 0, "width": 4}}])
    with pytest.raises(Refused, match="reader 'weight-transformer' cannot read this layout: the field has no hidden"):
        cell.build()


def test_it_learns_classes_on_its_own_and_is_loaded_back() -> None:
    rng, count = draws.generator(0, "classes"), 64
    labels = rng.integers(0, CLASSES, count)
    rows = rows_of(count)
    arrays = dict(rows.arrays)
    arrays["layers.2.bias"] = arrays["layers.2.bias"] + 0.02 * (labels[:, None] - 1.5).astype(np.float32)
    rows = Representations(rows.layout, arrays, rows.ids, rows.copies)
    reader = WeightTransformerReader(
        WeightTransformerSettings(blocks=1, lr=3e-3, train=TrainingSettings(steps=150, batch_size=32)), layout(), SPEC
    )
    state = reader.train(NeuralDataSet({}, {"train": (rows, labels)}, {}), CellRun(0))
    logits = predicted(reader, rows)["logits"]
    assert (logits.argmax(axis=1) == labels).mean() > 0.9
    other = reader_of(blocks=1)
    other.load(state)
    np.testing.assert_array_equal(predicted(other, rows)["logits"], logits)
