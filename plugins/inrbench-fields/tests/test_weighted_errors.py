"""Errors with a weight for each value: by hand, against autograd, masked channels, and many points in parts."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from inrbench_fields import points
from inrbench_fields.settings import SirenSettings
from inrbench_fields.siren import Siren
from torch import Tensor

from inrbench.backends.torch.fields import Field, loss_and_gradient
from inrbench.signals import PartSpec, SignalSpec

SIGNALS, POINTS, CHANNELS = 2, 13, 3
SPEC = SignalSpec((PartSpec("points", (POINTS,), 2, CHANNELS),))
Tensors = dict[str, Tensor]


class Plain:
    """A field with Field's methods alone, so that its gradient is autograd's."""

    def __init__(self, field: Field) -> None:
        self.to_unit, self.init, self.apply = field.to_unit, field.init, field.apply
        self.convention, self.flops = field.convention, field.flops


FIELD = Siren(SirenSettings(width=7, depth=2, omega_0=10.0, omega_hidden=2.0, output_scale=0.7), SPEC)


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(shape, generator=torch.manual_seed(seed), dtype=torch.float64)


def arrays_of(shared_output: bool = False) -> Tensors:
    drawn = [FIELD.init(torch.Generator().manual_seed(seed)) for seed in range(SIGNALS)]
    stacked = {name: torch.stack([one[name] for one in drawn]).double() for name in drawn[0]}
    return {n: a[0] if shared_output and n.startswith("output.") else a for n, a in stacked.items()}


COORDS, TARGET = 2.0 * random(SIGNALS, POINTS, 2, seed=1) - 1.0, random(SIGNALS, POINTS, CHANNELS, seed=2)
WEIGHTS = {"one for all": random(POINTS, CHANNELS, seed=3), "of each signal": random(SIGNALS, POINTS, CHANNELS, seed=4)}


def found(field: Any, weight: Tensor | None, arrays: Tensors | None = None, **how: Any) -> tuple[Tensor, Tensors]:
    arrays = arrays or arrays_of()
    return loss_and_gradient(field, arrays, COORDS, TARGET, list(arrays), weight=weight, **how)


@pytest.mark.parametrize("field", [FIELD, Plain(FIELD)], ids=["its own", "autograd's"])
@pytest.mark.parametrize("weight", WEIGHTS.values(), ids=WEIGHTS)
def test_the_error_is_the_weighted_mean(field: Any, weight: Tensor) -> None:
    loss, _ = found(field, weight)
    output = FIELD.apply(arrays_of(), COORDS)
    for i in range(SIGNALS):
        own = weight if weight.dim() == 2 else weight[i]
        expected = sum(
            float(own[p, c] * (output[i, p, c] - TARGET[i, p, c]) ** 2) for p in range(POINTS) for c in range(CHANNELS)
        )
        assert float(loss[i].detach()) == pytest.approx(expected / float(own.sum()), rel=1e-12)


@pytest.mark.parametrize("weight", WEIGHTS.values(), ids=WEIGHTS)
@pytest.mark.parametrize("shared_output", [False, True])
@pytest.mark.parametrize("recompute", [False, True])
def test_gradients_and_their_derivatives_are_autograds(weight: Tensor, shared_output: bool, recompute: bool) -> None:
    by_form = []
    for field in (FIELD, Plain(FIELD)):
        arrays = {name: array.requires_grad_() for name, array in arrays_of(shared_output).items()}
        adapted = [name for name in arrays if not (shared_output and name.startswith("output."))]
        loss, gradients = loss_and_gradient(field, arrays, COORDS, TARGET, adapted, weight=weight, recompute=recompute)
        along = torch.stack([(g * random(*g.shape, seed=5)).sum() for g in gradients.values()]).sum()
        products = torch.autograd.grad(along + loss @ random(SIGNALS, seed=6), list(arrays.values()))
        by_form.append([loss, *gradients.values(), *products])
    for one, other in zip(*by_form, strict=True):
        assert float(other.detach().norm()) > 1e-6
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("field", [FIELD, Plain(FIELD)], ids=["its own", "autograd's"])
def test_equal_weights_are_none(field: Any) -> None:
    plain = found(field, None)
    weighted = found(field, torch.full((POINTS, CHANNELS), 3.0, dtype=torch.float64))
    torch.testing.assert_close(weighted, plain, rtol=1e-12, atol=0)


@pytest.mark.parametrize("field", [FIELD, Plain(FIELD)], ids=["its own", "autograd's"])
def test_what_has_no_weight_gets_no_gradient_and_leaves_the_error_alone(field: Any) -> None:
    weight = torch.ones(POINTS, CHANNELS, dtype=torch.float64)
    weight[:, 2] = 0.0  # a channel of another part of the signal
    weight[5:] = 0.0  # and points of it
    loss, gradients = found(field, weight)
    for name in ("output.weight", "output.bias", "output.scale"):
        assert not gradients[name][:, 2].any()
        assert gradients[name][:, :2].abs().min() > 0.0
    other = TARGET.clone()
    other[:, 5:], other[:, :, 2] = -7.0, 9.0
    arrays = arrays_of()
    same, equal = loss_and_gradient(field, arrays, COORDS, other, list(arrays), weight=weight)
    assert torch.equal(loss, same)
    assert all(torch.equal(gradient, equal[name]) for name, gradient in gradients.items())


def test_products_in_bfloat16_take_weights_too() -> None:
    arrays = {name: array.float().requires_grad_() for name, array in arrays_of().items()}
    coords, target, weight = COORDS.float(), TARGET.float(), WEIGHTS["of each signal"].float()
    sums = []
    for precision in (torch.float32, torch.bfloat16):
        loss, gradients = loss_and_gradient(
            FIELD, arrays, coords, target, list(arrays), weight=weight, precision=precision
        )
        along = torch.stack([(g * random(*g.shape, seed=5).float()).sum() for g in gradients.values()]).sum()
        sums.append([loss, *gradients.values(), *torch.autograd.grad(along, list(arrays.values()))])
    for full, low in zip(*sums, strict=True):
        assert low.dtype == torch.float32
        assert 0.0 < float(((low - full).norm() / full.norm()).detach()) < 0.1


# ------------------------------------------------------------------ many points


@pytest.mark.parametrize("weight", [None, *WEIGHTS.values()], ids=["no weight", *WEIGHTS])
def test_points_that_are_too_many_at_once_are_added_up_in_parts(
    weight: Tensor | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    with torch.no_grad():
        whole = found(FIELD, weight)
    seen = []

    def watched(part: Any, coords: Tensor, target: Tensor, shares: Any, width: int) -> Any:
        def counted(coords: Tensor, target: Tensor, shares: Any) -> Any:
            seen.append(target.shape[1])
            return part(coords, target, shares)

        return over_points(counted, coords, target, shares, width)

    over_points = points.over_points
    monkeypatch.setattr("inrbench_fields.siren_gradient.over_points", watched)
    monkeypatch.setattr(points, "CPU_BYTES", 4 * SIGNALS * 7 * 8)  # of width 7 in float64: 4 points
    with torch.no_grad():
        parts = found(FIELD, weight)
    assert seen == [4, 4, 4, 1]
    torch.testing.assert_close(parts, whole, rtol=1e-12, atol=1e-15)
