"""The field NeoMLP: counts, definitions, symmetries, initial values and what its settings refuse."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from inrbench_neomlp.attention import linear_attention, softmax_attention
from inrbench_neomlp.field import NeoMLP, frequencies
from inrbench_neomlp.recipes import FOR_CLIP
from inrbench_neomlp.settings import NeoMLPSettings
from torch import Tensor

from inrbench.backends.torch.fields import DifferentiatedField, LatentField
from inrbench.errors import BadSetting
from inrbench.settings import validated
from inrbench.signals import PartSpec, SignalSpec

SMALL: dict[str, Any] = {"dim": 8, "ffn_dim": 12, "heads": 2, "layers": 2, "hidden": 3, "rff_dim": 6, "sigma": 1.0}


def field_of(inputs: int = 2, outputs: int = 3, **settings: Any) -> NeoMLP:
    spec = SignalSpec((PartSpec("grid", (4,) * inputs, inputs, outputs),))
    return NeoMLP(NeoMLPSettings(**{**SMALL, **settings}), spec)


def drawn(field: NeoMLP, seed: int = 0) -> dict[str, Tensor]:
    """An initialisation in float64 whose biases and embeddings are all in play."""
    generator = torch.Generator().manual_seed(seed)
    arrays = {name: array.double() for name, array in field.init(generator).items()}
    return {n: a + 0.3 * torch.randn(a.shape, generator=generator, dtype=a.dtype) for n, a in arrays.items()}


def points_of(count: int, inputs: int = 2) -> Tensor:
    return 2.0 * torch.rand(count, inputs, generator=torch.Generator().manual_seed(9), dtype=torch.float64) - 1.0


# ------------------------------------------------------------------ counts


def clip(name: str) -> tuple[NeoMLP, int]:
    inputs, outputs = {"bach": (1, 1), "bikes": (3, 3), "bigbuckbunny": (3, 9)}[name]
    own = {key: value for key, value in FOR_CLIP[name]["inr"].items() if key != "name"}
    field = field_of(inputs, outputs, **own)
    return field, sum(array.numel() for array in field.init(torch.Generator()).values())


@pytest.mark.parametrize(("name", "count"), [("bach", 182_017), ("bikes", 3_189_249), ("bigbuckbunny", 3_189_249)])
def test_a_clips_field_has_the_papers_parameters(name: str, count: int) -> None:
    assert clip(name)[1] == count


def test_a_points_multiply_adds_are_the_papers() -> None:
    field, _ = clip("bikes")
    assert field.flops(1) == 2 * 51_479_296
    assert field.flops(7) == 7 * field.flops(1)


@pytest.mark.parametrize("settings", [{}, {"attention": "softmax"}, {"rff": False}])
def test_multiply_adds_are_counted_layer_by_layer(settings: dict[str, Any]) -> None:
    field = field_of(**settings)
    tokens, dim, ffn, head = 2 + 3 + 3, 8, 12, 4
    mixing = tokens * dim * (2 * head if field.settings.attention == "linear" else 2 * tokens)
    features = 2 * dim * (6 if field.settings.rff else 1)
    layer = 4 * tokens * dim * dim + mixing + 2 * tokens * dim * ffn
    assert field.flops(5) == 2 * 5 * (features + 2 * layer + 3 * dim)


# ------------------------------------------------------------------ attention


@pytest.mark.parametrize(("queries", "tokens", "features"), [(3, 4, 16), (9, 9, 2)])
def test_linear_attention_is_its_definition(queries: int, tokens: int, features: int) -> None:
    generator = torch.Generator().manual_seed(1)
    query, key, value = (
        torch.randn(2, count, features, generator=generator, dtype=torch.float64) for count in (queries, tokens, tokens)
    )
    expected = np.zeros((2, queries, features))
    for head in range(2):
        for i in range(queries):
            over_features = np.exp(query[head, i].numpy()) / np.exp(query[head, i].numpy()).sum()
            for j in range(tokens):
                over_tokens = np.exp(key[head, j].numpy()) / np.exp(key[head].numpy()).sum(axis=0)
                expected[head, i] += over_features @ over_tokens * value[head, j].numpy()
    found = linear_attention(query, key, value)
    np.testing.assert_allclose(found.output.numpy(), expected, rtol=0, atol=1e-14)
    fewer = (queries, tokens) if features == 16 else (features, features)  # 2·3·4·16 against (3 + 4)·16·16
    assert found.between.shape[1:] == fewer


def test_softmax_attention_is_its_definition() -> None:
    generator = torch.Generator().manual_seed(1)
    query, key, value = (torch.randn(2, count, 5, generator=generator, dtype=torch.float64) for count in (3, 4, 4))
    scores = np.exp(0.7 * np.einsum("hif,hjf->hij", query.numpy(), key.numpy()))
    expected = np.einsum("hij,hjf->hif", scores / scores.sum(axis=2, keepdims=True), value.numpy())
    np.testing.assert_allclose(softmax_attention(query, key, value, 0.7).output.numpy(), expected, rtol=0, atol=1e-14)


# ------------------------------------------------------------------ symmetry


def permuted(arrays: dict[str, Tensor]) -> dict[str, Tensor]:
    return {**arrays, "hidden": arrays["hidden"][[2, 0, 1]]}


def test_permuting_hidden_tokens_leaves_the_output_as_it_was() -> None:
    field = field_of()
    arrays, coords = drawn(field), points_of(20)
    before = field.apply(arrays, coords)
    torch.testing.assert_close(field.apply(permuted(arrays), coords), before, rtol=0, atol=1e-13)
    other = field.apply({**arrays, "output": arrays["output"][[2, 0, 1]]}, coords)
    torch.testing.assert_close(other, before[:, [2, 0, 1]], rtol=0, atol=1e-13)
    assert (before - before[:, [2, 0, 1]]).abs().max() > 0.01


def test_a_twin_with_permuted_hidden_tokens_trains_to_the_same_model() -> None:
    field, coords = field_of(), points_of(30)
    target = torch.rand(1, 30, 3, generator=torch.Generator().manual_seed(2), dtype=torch.float64)

    def trained(arrays: dict[str, Tensor]) -> dict[str, Tensor]:
        own = {name: array.clone() for name, array in arrays.items()}
        optimiser = torch.optim.Adam(own.values(), lr=1e-2)
        for _ in range(25):
            with torch.no_grad():
                _, gradients = field.loss_and_gradient(own, coords, target, list(own))
            for name, gradient in gradients.items():
                own[name].grad = gradient[0]
            optimiser.step()
        return own

    arrays = drawn(field)
    model, twin = trained(arrays), trained(permuted(arrays))
    assert (model["hidden"] - arrays["hidden"]).abs().mean() > 0.02  # it did train
    for name, array in permuted(model).items():
        torch.testing.assert_close(twin[name], array, rtol=0, atol=1e-9)


# ------------------------------------------------------------------ what it starts from


def test_the_initial_values_have_the_variances_that_the_settings_say() -> None:
    wide = {"dim": 400, "hidden": 50, "rff_dim": 100, "heads": 4, "ffn_dim": 300, "layers": 1}
    arrays = field_of(40, 50, input_variance=1.0, latent_variance=1e-3, **wide).init(torch.Generator().manual_seed(0))
    for name, variance in {"input": 1.0, "hidden": 1e-3, "output": 1e-3, "features.weight": 2 / 100}.items():
        assert float(arrays[name].var()) == pytest.approx(variance, rel=0.05), name
        within = (arrays[name].abs() < variance**0.5).double().mean()
        assert float(within) == pytest.approx(0.6827, abs=0.02), name  # as of a normal distribution
    for name, fan_in in {"layers.0.query_key_value": 400, "layers.0.ffn_out": 300, "readout": 400}.items():
        weight = arrays[f"{name}.weight"]
        assert float(weight.abs().max()) <= fan_in**-0.5
        assert float(weight.var()) == pytest.approx(1 / (3 * fan_in), rel=0.15)
    assert float(arrays["readout.bias"]) == 0.0
    assert not arrays["features.bias"].any()


def test_the_frequencies_are_normal_and_of_their_seed_alone() -> None:
    settings = NeoMLPSettings(rff_dim=20_000, sigma=20.0)
    found = frequencies(settings)
    assert found.shape == (10_000,)
    assert abs(found.mean()) < 1.0
    assert found.std() == pytest.approx(20.0, rel=0.03)
    assert (np.abs(found) < 20.0).mean() == pytest.approx(0.6827, abs=0.02)
    np.testing.assert_array_equal(frequencies(settings), found)
    other = frequencies(NeoMLPSettings(rff_dim=20_000, sigma=20.0, rff_seed=1))
    assert abs(np.corrcoef(other, found)[0, 1]) < 0.05


def test_the_convention_says_all_that_querying_takes() -> None:
    field = field_of(time_scale=100.0)
    told = field.convention()
    assert told["frequencies"] == [float(one) for one in field.frequencies]  # type: ignore[union-attr]
    assert (told["time_scale"], told["heads"], told["activation"]) == (100.0, 2, "gelu")
    assert "frequencies" not in field_of(rff=False).convention()


def test_time_and_nothing_else_is_scaled() -> None:
    plain, scaled = field_of(), field_of(time_scale=3.0)
    arrays, coords = drawn(plain), points_of(20)
    expected = plain.apply(arrays, coords * torch.tensor([3.0, 1.0], dtype=torch.float64))
    torch.testing.assert_close(scaled.apply(arrays, coords), expected, rtol=0, atol=1e-12)
    assert (plain.apply(arrays, coords) - expected).abs().max() > 0.01


def test_the_features_are_turns_of_the_coordinate() -> None:
    field = field_of(1, 1)
    found = field._features(torch.tensor([[0.25]], dtype=torch.float64))[0, 0].tolist()
    angles = [2 * math.pi * float(one) * 0.25 for one in frequencies(field.settings)]
    assert found == pytest.approx([math.cos(a) for a in angles] + [math.sin(a) for a in angles], abs=1e-12)


def test_it_is_a_field_with_latents_and_a_gradient_of_its_own() -> None:
    field = field_of()
    assert isinstance(field, DifferentiatedField)
    assert isinstance(field, LatentField)
    assert field.latents == ("hidden", "output")
    assert {field_of(values=v).to_unit for v in ("symmetric", "centred", "unit")} == {(0.5, 0.5), (1, 0.5), (1, 0)}


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"dim": 10, "heads": 4}, "heads=4 must divide dim=10"),
        ({"rff_dim": 7}, "rff_dim=7 must be even"),
        ({"attention": "cosine"}, "inr.attention='cosine'"),
        ({"hidden": -1}, "inr.hidden=-1"),
        ({"sigma": -1.0}, "inr.sigma=-1.0"),
    ],
)
def test_settings_that_cannot_be_are_refused_in_one_line(values: dict[str, Any], told: str) -> None:
    with pytest.raises(BadSetting) as caught:
        validated(NeoMLPSettings, values, "inr")
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)
