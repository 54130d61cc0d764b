"""From vectors to weights: groups by hand, norms, biases, any field."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from inrbench_trans_inr.hypernetwork import columns_of, groups_of
from torch import Tensor

from inrbench.cell_run import CellRun
from inrbench.cells import resolve


def test_a_small_matrix_by_hand() -> None:
    base = torch.tensor([[3.0, 4.0], [1.0, 1.0], [0.0, 2.0]])  # three columns of length 2
    vectors = torch.tensor([[[1.0, 1.0], [2.0, 0.0]], [[1.0, 0.0], [1.0, -1.0]]])  # of two signals, two tokens each
    first = [[0.6, 0.8], [1.0, 0.0], [0.0, 1.0]]  # columns 0 and 2 have token 0
    second = [[1.0, 0.0], [0.5**0.5, -(0.5**0.5)], [0.0, 0.0]]  # a column of zeros stays one
    torch.testing.assert_close(columns_of(base, vectors, "modulo"), torch.tensor([first, second]))


@pytest.mark.parametrize(
    ("columns", "tokens", "grouping", "expected"),
    [
        (6, 2, "modulo", [0, 1, 0, 1, 0, 1]),
        (6, 2, "blocks", [0, 0, 0, 1, 1, 1]),
        (6, 3, "blocks", [0, 0, 1, 1, 2, 2]),
        (5, 2, "modulo", [0, 1, 0, 1, 0]),
        (5, 2, "blocks", [0, 0, 0, 1, 1]),
        (3, 3, "blocks", [0, 1, 2]),
    ],
)
def test_tokens_of_columns(columns: int, tokens: int, grouping: str, expected: list[int]) -> None:
    assert groups_of(columns, tokens, grouping).tolist() == expected


def weights_of(fitter: Any, signals: Any, observe: Callable[..., Any]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """(vectors, the field's arrays) of ``signals``."""
    observed = observe(signals)
    vectors = fitter.network.vectors(fitter.tokenizer(fitter.images_of(observed)))
    return vectors, fitter.network.arrays(vectors)


@pytest.mark.parametrize("grouping", ["modulo", "blocks"])
@pytest.mark.parametrize("biases", ["learned", "generated"])
def test_every_generated_column_has_norm_one(
    grouping: str, biases: str, drawn: Callable[..., Any], images: Callable[..., Any], observe: Callable[..., Any]
) -> None:
    fitter = drawn(grouping=grouping, biases=biases)
    _, arrays = weights_of(fitter, images(3), observe)
    for layer in ("layers.0", "layers.1", "layers.2", "output"):
        weight, bias = arrays[f"{layer}.weight"], arrays[f"{layer}.bias"]
        assert weight.shape[0] == 3
        norms = weight.square().sum(-1)
        if biases == "generated":
            assert bias.shape == weight.shape[:2]
            norms = norms + bias.square()
        else:
            assert bias.shape == weight.shape[1:2]  # the same for all signals
        torch.testing.assert_close(norms, torch.ones_like(norms))


def test_columns_are_those_of_the_base_times_the_vector_of_their_group(
    drawn: Callable[..., Any], images: Callable[..., Any], observe: Callable[..., Any]
) -> None:
    fitter = drawn()
    vectors, arrays = weights_of(fitter, images(2), observe)
    for j in range(8):
        column = fitter.network.base["layers_1_weight"][j] * vectors["layers.1.tokens"][1, j % 4]
        torch.testing.assert_close(arrays["layers.1.weight"][1, j], column / column.norm())
    drawn_bias = fitter.network.shared["layers_1_bias"]
    assert arrays["layers.1.bias"] is drawn_bias


def test_each_matrix_has_a_head_of_its_own_behind_a_norm(drawn: Callable[..., Any]) -> None:
    heads = drawn().network.heads
    assert [tuple(type(part).__name__ for part in head) for head in heads] == [("LayerNorm", "Linear")] * 4
    assert [head[1].out_features for head in heads] == [12, 8, 8, 8]


def test_the_base_starts_as_the_field_does(drawn: Callable[..., Any]) -> None:
    base = drawn(inr={"width": 200}).network.base["layers_1_weight"]
    assert base.shape == (200, 200)
    assert float(base.detach().abs().max()) == pytest.approx(200**-0.5, rel=1e-3)
    assert float(base.detach().std()) == pytest.approx(200**-0.5 / 3**0.5, rel=0.02)


def test_the_norm_can_be_that_of_the_fields_own_initialisation(
    drawn: Callable[..., Any], images: Callable[..., Any], observe: Callable[..., Any]
) -> None:
    fitter = drawn(column_norm="initial", inr={"width": 100})
    _, arrays = weights_of(fitter, images(2), observe)
    norms = arrays["layers.1.weight"].norm(dim=-1)  # 100 values, uniform in ±1/10
    torch.testing.assert_close(norms, norms.flatten()[0].expand(norms.shape))
    assert float(norms[0, 0].detach()) == pytest.approx(3**-0.5, rel=0.02)


def test_any_field_of_weights_and_biases_is_generated(images: Callable[..., Any], observe: Callable[..., Any]) -> None:
    siren = {"name": "siren", "width": 6, "depth": 1, "output_scale": 0.1}
    small = {"width": 8, "blocks": 1, "heads": 1, "head_dim": 4, "feedforward": 8, "groups": 4, "patch": 2, "pad": 0}
    fitter: Any = resolve("trans-inr", "digits", overrides=[{"inr": siren, "fitter": small}]).build().fitter
    fitter.start(CellRun(0))
    _, arrays = weights_of(fitter, images(2), observe)
    shapes = {name: tuple(array.shape) for name, array in arrays.items()}
    assert shapes == {
        "layers.0.weight": (2, 6, 2),
        "layers.1.weight": (2, 6, 6),
        "output.weight": (2, 1, 6),
        "layers.0.bias": (6,),
        "layers.1.bias": (6,),
        "output.bias": (1,),
        "output.scale": (1,),
    }
    loss, _, _ = fitter.loss(observe(images(2)))
    loss.backward()
    assert all(parameter.grad is not None for parameter in fitter.network.parameters())
