"""Parameters, adapted values and multiply-adds of Trans-INR, from its sizes and without data."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from inrbench.cells import resolve


def facts(dataset: str, **fitter: Any) -> Any:
    return resolve("trans-inr", dataset, overrides=[{"fitter": fitter}]).build().fitter.facts()


def test_the_papers_setting_has_the_papers_parameters() -> None:
    assert facts("imagenette").parameters == 44_462_851


def test_what_a_representation_holds_is_the_vectors_of_all_weight_tokens() -> None:
    found = resolve("trans-inr", "imagenette").build().fitter
    assert found.layout.kind == "tokens"
    assert dict(found.layout.shapes) == {
        **{f"layers.{i}.tokens": (64, 256) for i in range(4)},
        "output.tokens": (3, 256),
    }
    assert found.facts().adapted_values == (4 * 64 + 3) * 256


def test_steps_at_test_time_adapt_every_weight_and_bias() -> None:
    found = resolve("trans-inr", "imagenette", overrides=[{"fitter": {"test_steps": 5}}]).build().fitter
    assert found.layout.kind == "weights"
    assert found.layout.shapes["layers.0.weight"] == (256, 256)
    assert found.facts().adapted_values == 4 * (256 + 1) * 256 + (256 + 1) * 3


@pytest.mark.parametrize(
    ("groups", "tokens"), [(1, 5), (4, 4 * 4 + 3), (16, 4 * 16 + 3), (64, 259), (300, 4 * 256 + 3)]
)
def test_each_group_of_each_matrix_is_a_weight_token(groups: int, tokens: int) -> None:
    assert facts("imagenette", groups=groups).parameters == 44_462_851 + (tokens - 259) * 768


def test_positions_before_the_linear_map_have_the_size_of_a_patch() -> None:
    assert facts("imagenette", embedding="before").parameters == 44_462_851 - 400 * (768 - 243)


def test_generated_biases_are_a_value_more_of_each_column() -> None:
    more = 5 * (768 + 1)  # of each head; the bias itself moves from the shared arrays into the base
    found = facts("imagenette", biases="generated")
    assert (found.parameters, found.adapted_values) == (44_462_851 + more, (4 * 64 + 3) * 257)


def test_multiply_adds_follow_the_definition(build: Callable[..., Any]) -> None:
    found = build(test_steps=0).facts()
    tokens, data = 25 + 4 + 4 + 4 + 1, 25 * 4 * 12
    block = tokens * (4 * 12 * 10 + 2 * tokens * 10 + 2 * 12 * 14)
    heads = 12 * (4 * 12 + 4 * 8 + 4 * 8 + 1 * 8)
    field = 64 * (12 * 8 + 8 * 8 + 8 * 8 + 8)
    assert found.fit_flops == 2 * (data + 2 * block + heads)
    assert found.train_flops == 3 * (found.fit_flops + 2 * field)
    assert build(test_steps=7).facts().fit_flops == found.fit_flops + 3 * 7 * 2 * field
    assert build(test_steps=7, test_points=16).facts().fit_flops == found.fit_flops + 3 * 7 * 2 * field / 4
