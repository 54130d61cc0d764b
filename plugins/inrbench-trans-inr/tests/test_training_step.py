"""The training step against the plain version in float64: tokens, transformer, field, loss and every gradient."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest
import torch
from inrbench_trans_inr import field_loss as chunks
from inrbench_trans_inr.field_loss import GridOfPoints, field_loss, points_of
from torch import Tensor

Fixture = Callable[..., Any]


@pytest.fixture
def double(drawn: Fixture, plain: ModuleType) -> tuple[Any, Any]:
    """(a small fitter, the plain version) with the same parameters in float64."""
    fitter = drawn(inr={"frequencies": 64, "highest": 1024.0, "output_offset": 0.5})
    fitter.network.double()
    settings = fitter.settings
    return fitter, plain.Plain(fitter.state(), settings.patch, settings.pad, settings.heads)


def gradients(fitter: Any) -> dict[str, Tensor]:
    (group,) = fitter.groups("cpu")
    return {name: parameter.grad for name, parameter in group.parameters.items()}


def test_loss_and_gradients_are_the_plain_versions(double: tuple[Any, Any], images: Fixture, observe: Fixture) -> None:
    fitter, reference = double
    observed = observe(images(3), torch.float64)
    loss, vectors, logged = fitter.loss(observed)
    loss.backward()
    coords = observed.coords.reshape(8, 8, 2)
    expected = reference.loss(fitter.images_of(observed), coords)
    expected.backward()
    torch.testing.assert_close(loss, expected, rtol=1e-10, atol=0)
    for name, found in gradients(fitter).items():
        wanted = reference.parameters[name].grad
        assert float((found - wanted).norm()) <= 1e-10 * float(wanted.norm()) + 1e-16, name
    assert {name: tuple(array.shape) for name, array in vectors.items()} == {
        name: (3, *shape) for name, shape in fitter.layout.shapes.items()
    }
    pictures = fitter.images_of(observed)
    found = reference.values(reference.fields(reference.transformed(reference.tokens(pictures))), coords)
    each = -10 * torch.log10((found - pictures).square().mean((1, 2, 3)).detach())
    assert float(logged["psnr_db"]) == pytest.approx(float(each.mean()), abs=1e-9)


def test_positions_are_added_behind_the_linear_map_or_before_it(
    drawn: Fixture, images: Fixture, observe: Fixture
) -> None:
    for embedding in ("after", "before"):
        fitter = drawn(embedding=embedding)
        tokenizer, pictures = fitter.tokenizer, fitter.images_of(observe(images(2)))
        padded = torch.nn.functional.pad(pictures[1, :, :, 0], (1, 1, 1, 1))
        patch = padded[4:6, 2:4].flatten()  # the third row of five, the second column
        place = tokenizer.position[2 * 5 + 1]
        moved = patch + place if embedding == "before" else patch
        expected = tokenizer.linear(moved) + (place if embedding == "after" else 0.0)
        torch.testing.assert_close(tokenizer(pictures)[1, 11], expected)


def test_chunks_of_points_add_up(
    double: tuple[Any, Any], images: Fixture, observe: Fixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    fitter, _ = double
    observed = observe(images(2), torch.float64)
    found = []
    for size in (2**30, 4 * 8 * 2 * 8 * 3, 1):  # all at once, three rows of 8 points, one row
        monkeypatch.setitem(chunks.CHUNK_BYTES, "cpu", size)
        fitter.network.zero_grad()
        loss, _, _ = fitter.loss(observed)
        loss.backward()
        found.append([loss.detach(), *gradients(fitter).values()])
    for other in found[1:]:
        torch.testing.assert_close(other, found[0], rtol=1e-11, atol=1e-15)


@pytest.mark.parametrize("on_grid", [True, False])
def test_the_fields_gradient_is_that_of_finite_differences(
    on_grid: bool, drawn: Fixture, images: Fixture, observe: Fixture
) -> None:
    fitter = drawn()
    fitter.network.double()
    coords, target = observe(images(2), torch.float64).whole()
    points = points_of(fitter.field, fitter.grid, target) if on_grid else coords
    assert isinstance(points, GridOfPoints) == on_grid
    vectors = {name: torch.randn(2, *shape, dtype=torch.float64) for name, shape in fitter.layout.shapes.items()}
    arrays = {name: array.detach().requires_grad_() for name, array in fitter.network.arrays(vectors).items()}

    def loss(*values: Tensor) -> Tensor:
        return field_loss(fitter.field, dict(zip(arrays, values, strict=True)), points, target)

    assert torch.autograd.gradcheck(loss, tuple(arrays.values()))


def test_the_last_block_works_on_the_weight_tokens_alone_and_gives_what_all_tokens_would(drawn: Fixture) -> None:
    transformer = drawn().network.transformer.double()
    data = torch.randn(2, 25, 12, dtype=torch.float64)
    last = transformer.blocks[-1]
    hidden = torch.cat([data, transformer.weight_tokens.expand(2, -1, -1)], dim=1)
    hidden = transformer.blocks[0](hidden, 25 + 13)
    whole = last(hidden, 25 + 13)
    torch.testing.assert_close(last(hidden, 13), whole[:, -13:])
    torch.testing.assert_close(transformer(data), whole[:, -13:])


def test_training_in_bfloat16_stays_near(drawn: Fixture, images: Fixture, observe: Fixture) -> None:
    fitter = drawn()
    losses = []
    for enabled in (False, True):
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            loss, _, _ = fitter.loss(observe(images(3)))
        assert loss.dtype == torch.float32
        losses.append(float(loss.detach()))
    assert losses[0] != losses[1]
    assert losses[1] == pytest.approx(losses[0], rel=0.02)
