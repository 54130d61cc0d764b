"""SPDER and RFFNet: values by hand, derivatives against finite differences, the draw of frequencies, time's scale."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from inrbench_fields.rffnet import RffNet
from inrbench_fields.settings import RffNetSettings, SirenSettings, SpderSettings
from inrbench_fields.siren import Siren
from inrbench_fields.spder import Spder
from torch import Tensor

from inrbench.backends.torch.fields import DifferentiatedField, autograd_loss_and_gradient, loss_and_gradient
from inrbench.errors import BadSetting
from inrbench.settings import validated
from inrbench.signals import PartSpec, SignalSpec

SPEC = SignalSpec((PartSpec("grid", (6, 5, 4), 3, 2),))
SIGNALS, POINTS = 2, 11


def spder(**settings: Any) -> Spder:
    return Spder(SpderSettings(**{"width": 7, "depth": 2, "omega_0": 9.0, "omega_hidden": 4.0, **settings}), SPEC)


def rffnet(spec: SignalSpec = SPEC, **settings: Any) -> RffNet:
    return RffNet(RffNetSettings(**{"width": 7, "depth": 2, "rff_dim": 10, "sigma": 0.5, **settings}), spec)


FIELDS = {
    "spder": spder(),
    "spder, arctan": spder(damping="arctan"),
    "spder, scaled": spder(output_scale=0.6),
    "rffnet": rffnet(),
}
each_field = pytest.mark.parametrize("field", FIELDS.values(), ids=FIELDS)


def arrays_of(field: Any, dtype: torch.dtype = torch.float64) -> dict[str, Tensor]:
    drawn = [field.init(torch.Generator().manual_seed(seed)) for seed in range(SIGNALS)]
    return {name: torch.stack([one[name] for one in drawn]).to(dtype) for name in drawn[0]}


def random(*shape: int, seed: int = 0) -> Tensor:
    return 2.0 * torch.rand(shape, generator=torch.manual_seed(seed), dtype=torch.float64) - 1.0


COORDS, TARGET = random(POINTS, 3), random(SIGNALS, POINTS, 2, seed=1)
WEIGHT = random(POINTS, 2, seed=2).abs()


def layer(arrays: dict[str, Tensor], name: str, hidden: np.ndarray, signal: int = 1) -> np.ndarray:
    weight, bias = (arrays[f"{name}.{kind}"][signal].numpy() for kind in ("weight", "bias"))
    return np.array([sum(w * h for w, h in zip(row, hidden, strict=True)) + b for row, b in zip(weight, bias)])  # noqa: B905


# ------------------------------------------------------------------ values


@pytest.mark.parametrize(("damping", "by_hand"), [("sqrt", lambda a: math.sqrt(abs(a))), ("arctan", math.atan)])
def test_a_spder_multiplies_each_sine_by_its_damping(damping: str, by_hand: Any) -> None:
    field = spder(damping=damping)
    arrays = arrays_of(field)
    found = field.apply(arrays, COORDS)
    assert found.shape == (SIGNALS, POINTS, 2)
    hidden = COORDS[3].numpy()
    for i, omega in enumerate([9.0, 4.0, 4.0]):
        hidden = np.array([math.sin(omega * a) * by_hand(omega * a) for a in layer(arrays, f"layers.{i}", hidden)])
    np.testing.assert_allclose(found[1, 3].numpy(), layer(arrays, "output", hidden), atol=1e-11)


def test_a_spder_starts_as_a_siren_does() -> None:
    """ω = 30, W_0 within ±1/in, others within ±√(6/in)/ω: the public code's, and this package's defaults."""
    settings = {"width": 64, "depth": 3}
    one = Spder(SpderSettings(**settings), SPEC).init(torch.Generator().manual_seed(3))
    other = Siren(SirenSettings(**settings), SPEC).init(torch.Generator().manual_seed(3))
    assert all(torch.equal(array, other[name]) for name, array in one.items())
    assert float(one["layers.0.weight"].abs().max()) == pytest.approx(1 / 3, rel=0.05)
    assert float(one["layers.2.weight"].abs().max()) == pytest.approx(math.sqrt(6 / 64) / 30, rel=0.01)


def test_an_rffnet_is_relu_layers_behind_cosines_and_sines() -> None:
    field = rffnet(sigma=1.7)
    arrays = arrays_of(field)
    found = field.apply(arrays, COORDS)
    assert found.shape == (SIGNALS, POINTS, 2)
    turns = 1.7 * np.random.RandomState(0).standard_normal((5, 3)) @ COORDS[3].numpy()
    hidden = np.array([f(2 * math.pi * each) for f in (math.cos, math.sin) for each in turns])
    for i in range(3):
        hidden = np.maximum(0.0, layer(arrays, f"layers.{i}", hidden))
    np.testing.assert_allclose(found[1, 3].numpy(), layer(arrays, "output", hidden), atol=1e-6)


def test_the_frequencies_come_from_the_settings_alone() -> None:
    one, same = rffnet(rff_dim=4096, sigma=20.0), rffnet(rff_dim=4096, sigma=20.0)
    other = rffnet(rff_dim=4096, sigma=20.0, feature_seed=1)
    assert torch.equal(one.turns, same.turns)
    assert not torch.equal(one.turns, other.turns)
    assert float(one.turns.std()) == pytest.approx(20.0, rel=0.02)
    assert abs(float(one.turns.mean())) < 1.0
    first = one.init(torch.Generator().manual_seed(0))
    assert sum(array.numel() for array in first.values()) == 4096 * 7 + 7 + 2 * (49 + 7) + 2 * 7 + 2  # B is not counted
    said = one.convention()
    assert (said["sigma"], said["rff_dim"], said["feature_seed"]) == (20.0, 4096, 0)
    assert "RandomState(feature_seed)" in said["frequencies"]


def test_an_odd_number_of_features_is_refused() -> None:
    with pytest.raises(BadSetting, match=r"setting inr\.rff_dim=7: input should be a multiple of 2"):
        validated(RffNetSettings, {"rff_dim": 7}, "inr")


def test_features_of_large_angles_keep_their_digits() -> None:
    field = rffnet(sigma=20.0, time_scale=100.0)
    coords = COORDS.float()
    expected = 2 * math.pi * (coords.double() @ field.turns.double().mT)
    assert float(expected.abs().max()) > 1e4
    error = field.encode(coords).double() - torch.cat([expected.cos(), expected.sin()], -1)
    assert float(error.abs().max()) < 3e-3  # half a digit of a float32 turn is 2π · 2000 · 6e-8


# ------------------------------------------------------------------ gradients


@each_field
@pytest.mark.parametrize("weight", [None, WEIGHT], ids=["mean", "weighted"])
@pytest.mark.parametrize("own", [True, False], ids=["coordinates of each signal", "of all"])
def test_the_written_out_gradient_is_autograds(field: Any, weight: Tensor | None, own: bool) -> None:
    assert isinstance(field, DifferentiatedField)
    coords = torch.stack([COORDS, -COORDS]) if own else COORDS
    arrays = arrays_of(field)
    names = list(reversed(arrays))
    with torch.no_grad():
        loss, expected = autograd_loss_and_gradient(
            lambda leaves: field.apply(leaves, coords), arrays, TARGET, names, weight=weight
        )
        same, found = loss_and_gradient(field, arrays, coords, TARGET, names, weight=weight)
    torch.testing.assert_close(same, loss, rtol=1e-12, atol=0)
    assert list(found) == names
    for name, gradient in expected.items():
        assert float(gradient.norm()) > 1e-6
        torch.testing.assert_close(found[name], gradient, rtol=1e-6, atol=1e-9, msg=name)


@each_field
def test_arrays_that_signals_share_have_a_gradient_for_each(field: Any) -> None:
    arrays = {name: array[0] for name, array in arrays_of(field).items()}
    copies = {name: array.expand(SIGNALS, *array.shape) for name, array in arrays.items()}
    with torch.no_grad():
        loss, found = loss_and_gradient(field, arrays, COORDS, TARGET, list(arrays))
        same, expected = loss_and_gradient(field, copies, COORDS, TARGET, list(arrays))
    torch.testing.assert_close(loss, same, rtol=1e-12, atol=0)
    for name, gradient in expected.items():
        assert gradient.shape == (SIGNALS, *arrays[name].shape)
        torch.testing.assert_close(found[name], gradient, rtol=1e-12, atol=1e-15)


@each_field
def test_a_gradient_is_the_slope_of_the_error(field: Any) -> None:
    arrays = arrays_of(field)
    with torch.no_grad():
        _, gradients = loss_and_gradient(field, arrays, COORDS, TARGET, list(arrays))
        for name, array in arrays.items():
            along, step = random(*array.shape, seed=7), 1e-6
            ends = [
                loss_and_gradient(field, {**arrays, name: array + sign * step * along}, COORDS, TARGET, [name])[0]
                for sign in (1.0, -1.0)
            ]
            expected = (gradients[name] * along).flatten(1).sum(1)
            torch.testing.assert_close((ends[0] - ends[1]) / (2 * step), expected, rtol=1e-5, atol=1e-7, msg=name)


@each_field
def test_recorded_gradients_can_be_differentiated(field: Any) -> None:
    arrays = {name: array.requires_grad_() for name, array in arrays_of(field).items()}
    _, gradients = loss_and_gradient(field, arrays, COORDS, TARGET, list(arrays))
    sum_of_squares = torch.stack([gradient.square().sum() for gradient in gradients.values()]).sum()
    products = torch.autograd.grad(sum_of_squares, list(arrays.values()))
    assert all(bool(product.isfinite().all()) for product in products)
    assert any(bool(product.any()) for product in products)


@pytest.mark.parametrize("damping", ["sqrt", "arctan"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_spders_derivative_is_finite_where_the_root_has_none(damping: str, dtype: torch.dtype) -> None:
    """At 0 the activation's derivative is 0; all arguments are 0 where weights and biases are."""
    field = spder(damping=damping)
    argument = torch.tensor([-1e-3, -1e-14, 0.0, 1e-30, 2e-6], dtype=dtype, requires_grad=True)
    (slope,) = torch.autograd.grad(field.activation(argument).sum(), [argument])
    x = argument.detach().double().abs()
    expected = 1.5 * x.sqrt() if damping == "sqrt" else 2.0 * argument.detach().double()
    torch.testing.assert_close(slope.double(), expected, rtol=1e-3, atol=2e-6)
    assert field.activation(torch.zeros(1, dtype=dtype)).item() == 0.0
    _, kept = field.written_out.forward(argument.detach().clone())
    torch.testing.assert_close(kept.double(), slope.double(), rtol=1e-5, atol=2e-6)
    arrays = {name: torch.zeros_like(array) for name, array in arrays_of(field, dtype).items()}
    for names in (torch.no_grad, torch.enable_grad):
        with names():
            _, gradients = loss_and_gradient(field, arrays, COORDS.to(dtype), TARGET.to(dtype), list(arrays))
        assert all(bool(gradient.isfinite().all()) for gradient in gradients.values())


# ------------------------------------------------------------------ time's scale


@pytest.mark.parametrize("coordinates", ["centres", "corners", "unit-corners"])
@pytest.mark.parametrize("kind", [Siren, Spder])
def test_the_time_scale_multiplies_the_first_coordinate_where_it_lies(kind: Any, coordinates: Any) -> None:
    settings = SirenSettings if kind is Siren else SpderSettings
    plain, scaled = (
        kind(settings(width=7, depth=1, omega_0=2.0, coordinates=coordinates, time_scale=scale), SPEC)
        for scale in (1.0, 50.0)
    )
    expected = plain.placed(COORDS) * torch.tensor([50.0, 1.0, 1.0], dtype=torch.float64)
    torch.testing.assert_close(scaled.placed(COORDS), expected, rtol=1e-12, atol=1e-12)
    arrays = arrays_of(plain)
    larger = {**arrays, "layers.0.weight": arrays["layers.0.weight"] * torch.tensor([50.0, 1.0, 1.0])}
    if coordinates == "centres":  # else shifts are scaled too
        torch.testing.assert_close(scaled.apply(arrays, COORDS), plain.apply(larger, COORDS), rtol=1e-9, atol=1e-9)
    assert scaled.convention()["time_scale"] == 50.0
    with torch.no_grad():
        one, _ = loss_and_gradient(scaled, arrays, COORDS, TARGET, [])
        other = (scaled.apply(arrays, COORDS) - TARGET).square().mean((1, 2))
    torch.testing.assert_close(one, other, rtol=1e-9, atol=0)


def test_an_rffnets_time_scale_multiplies_the_first_coordinate() -> None:
    plain, scaled = rffnet(), rffnet(time_scale=3.0)
    at = COORDS * torch.tensor([3.0, 1.0, 1.0])
    torch.testing.assert_close(scaled.encode(COORDS), plain.encode(at), rtol=0, atol=1e-5)
    assert scaled.convention()["time_scale"] == 3.0


def test_the_layers_cost_their_products() -> None:
    assert spder().flops(10) == 2 * 10 * (3 * 7 + 2 * 49 + 7 * 2)
    assert rffnet().flops(10) == 2 * 10 * (5 * 3 + 10 * 7 + 2 * 49 + 7 * 2)
