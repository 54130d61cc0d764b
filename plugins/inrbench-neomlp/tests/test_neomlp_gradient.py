"""NeoMLP's outputs and its own loss and gradient: against a plain version, autograd, and each other."""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from inrbench_neomlp import field as field_module
from inrbench_neomlp.field import NeoMLP
from inrbench_neomlp.settings import NeoMLPSettings
from torch import Tensor

from inrbench.backends.torch.fields import autograd_loss_and_gradient, loss_and_gradient
from inrbench.signals import PartSpec, SignalSpec

SMALL: dict[str, Any] = {"dim": 8, "ffn_dim": 12, "heads": 2, "layers": 3, "hidden": 3, "rff_dim": 6, "sigma": 1.0}
POINTS, INPUTS, OUTPUTS = 23, 2, 3
OPTIONS: list[dict[str, Any]] = [
    {},
    {"layers": 1},
    {"hidden": 0},
    {"heads": 8},  # one feature a head: the other order of the products
    {"rff": False},
    {"activation": "relu"},
    {"activation": "silu"},
    {"attention": "softmax"},
    {"attention_scale": "none"},
    {"attention": "softmax", "attention_scale": "none", "layer_norm": True},
    {"layer_norm": True},
    {"time_scale": 5.0},
]
Tensors = dict[str, Tensor]


@pytest.fixture(scope="module")
def plain() -> ModuleType:
    """``benchmarks/neomlp_plain.py``."""
    path = Path(__file__).resolve().parents[3] / "benchmarks" / "neomlp_plain.py"
    spec = importlib.util.spec_from_file_location("neomlp_plain", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def field_of(**settings: Any) -> NeoMLP:
    spec = SignalSpec((PartSpec("grid", (4,) * INPUTS, INPUTS, OUTPUTS),))
    return NeoMLP(NeoMLPSettings(**{**SMALL, **settings}), spec)


def model_of(plain: ModuleType, field: NeoMLP, arrays: Tensors) -> Any:
    settings = field.settings
    angular = None if field.frequencies is None else 2.0 * math.pi * torch.as_tensor(field.frequencies).double()
    how = (settings.time_scale, settings.activation, settings.attention, settings.attention_scale == "head-width")
    dtype = arrays["hidden"].dtype
    return plain.Plain(arrays, None if angular is None else angular.to(dtype), settings.heads, *how)


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def drawn(field: NeoMLP, dtype: torch.dtype = torch.float64, seed: int = 0) -> Tensors:
    rng = generator(seed)
    return {n: (a + 0.3 * torch.randn(a.shape, generator=rng)).to(dtype) for n, a in field.init(rng).items()}


def points_of(*shape: int, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    """Coordinates and targets at so many points, perhaps of several signals."""
    coords = 2.0 * torch.rand(*shape, INPUTS, generator=generator(1)) - 1.0
    return coords.to(dtype), torch.rand(*shape, OUTPUTS, generator=generator(2)).to(dtype)


def small_blocks(monkeypatch: pytest.MonkeyPatch, points: int = 5) -> None:
    """Blocks of so many points in float64."""
    monkeypatch.setattr(field_module, "BLOCK_BYTES", points * 8 * 16 * 8)


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_outputs_loss_and_gradient_are_those_of_the_plain_version(
    options: dict[str, Any], plain: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_blocks(monkeypatch)
    field = field_of(**options)
    arrays, (coords, target) = drawn(field), points_of(POINTS)
    model = model_of(plain, field, arrays)
    expected = model(coords)
    loss = (expected - target).square().mean()
    loss.backward()
    with torch.no_grad():
        output = field.apply(arrays, coords)
        error, gradients = field.loss_and_gradient(arrays, coords, target[None], list(arrays))
    torch.testing.assert_close(output, expected, rtol=0, atol=1e-12)
    torch.testing.assert_close(error, loss[None], rtol=1e-12, atol=0)
    for name, gradient in gradients.items():
        reference = model.parameters[name].grad
        assert reference.numel() == 0 or reference.abs().max() > 1e-6, name
        torch.testing.assert_close(gradient[0], reference, rtol=0, atol=1e-10, msg=name)


@pytest.mark.parametrize("name", ["sound", "film"])
def test_in_float32_a_clips_field_is_the_plain_version_up_to_rounding(name: str, plain: ModuleType) -> None:
    settings = {"sound": {"time_scale": 100.0, "rff_dim": 512}, "film": {"dim": 64, "ffn_dim": 256, "heads": 8}}[name]
    field = field_of(**{"sigma": 20.0, **settings})
    arrays, (coords, target) = field.init(generator(0)), points_of(600, dtype=torch.float32)
    model = model_of(plain, field, arrays)
    expected = model(coords)
    (expected - target).square().mean().backward()
    with torch.no_grad():
        output = field.apply(arrays, coords)
        _, gradients = field.loss_and_gradient(arrays, coords, target[None], list(arrays))
    torch.testing.assert_close(output, expected, rtol=0, atol=1e-5)
    for key, gradient in gradients.items():
        reference = model.parameters[key].grad
        assert float((gradient[0] - reference).norm() / reference.norm()) < 1e-5, key


@pytest.mark.parametrize("layers", [1, 2])
def test_queries_keys_and_values_of_shared_tokens_are_computed_once(
    layers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    from inrbench_neomlp import network

    rows: list[tuple[int, int]] = []
    whole = network.linear

    def counted(tokens: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        rows.append((tokens.numel() // tokens.shape[-1], len(weight)))
        return whole(tokens, weight, bias)

    monkeypatch.setattr(network, "linear", counted)
    field = field_of(layers=layers)
    with torch.no_grad():
        field.apply(drawn(field), points_of(POINTS)[0])
    inputs, latents, outputs, every = 2 * POINTS, 6, 3 * POINTS, 8 * POINTS
    last = [(outputs, 8), (outputs, 8), (outputs, 12), (outputs, 8)]
    if layers == 2:
        assert rows == [(inputs, 24), (latents, 24), (every, 8), (every, 12), (every, 8), (every, 16), *last]
    else:
        assert rows == [(inputs, 16), (latents, 16), *last]


# ------------------------------------------------------------------ signals

OWN: dict[str, tuple[str, ...]] = {
    "nothing": (),
    "latents": ("hidden", "output"),
    "hidden alone": ("hidden",),
    "all": ("*",),
    "a layer": ("layers.1.ffn_in.weight", "readout.bias"),
}


def signals_of(field: NeoMLP, count: int, own: Sequence[str]) -> tuple[Tensors, list[Tensors]]:
    """(arrays of which some have signals in front, the same for each signal)."""
    several = [drawn(field, seed=seed) for seed in range(count)]
    chosen = list(several[0]) if "*" in own else own
    arrays = {n: torch.stack([one[n] for one in several]) if n in chosen else several[0][n] for n in several[0]}
    return arrays, [{n: array[i] if n in chosen else array for n, array in arrays.items()} for i in range(count)]


@pytest.mark.parametrize("own_coords", [False, True])
@pytest.mark.parametrize("own", OWN)
@pytest.mark.parametrize("points", [1, POINTS])
def test_signals_together_are_signals_one_by_one(
    own: str, own_coords: bool, points: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_blocks(monkeypatch)
    field = field_of()
    arrays, apart = signals_of(field, 7, OWN[own])
    coords, target = points_of(7, points)
    given = coords if own_coords else coords[0]
    adapted = [*OWN["latents"], *(() if own == "latents" else ["features.weight", "layers.0.ffn_out.bias", "input"])]
    with torch.no_grad():
        output = field.apply(arrays, given)
        error, gradients = field.loss_and_gradient(arrays, given, target, adapted)
    assert set(gradients) == set(adapted)
    for i, one in enumerate(apart):
        place = coords[i] if own_coords else coords[0]
        model = autograd_loss_and_gradient(
            lambda leaves, place=place: field.apply(leaves, place)[None], one, target[i : i + 1], adapted
        )
        if output.dim() == 3:
            torch.testing.assert_close(output[i], field.apply(one, place), rtol=0, atol=1e-12)
        torch.testing.assert_close(error[i : i + 1], model[0], rtol=1e-11, atol=0)
        for name in adapted:
            torch.testing.assert_close(gradients[name][i], model[1][name], rtol=0, atol=1e-11, msg=name)
    assert output.shape == ((points, OUTPUTS) if own == "nothing" and not own_coords else (7, points, OUTPUTS))


def test_pairs_of_a_point_and_its_signals_latents_are_a_batch() -> None:
    field = field_of()
    arrays, apart = signals_of(field, 4, OWN["latents"])
    coords, _ = points_of(4, 6)
    signal, point = torch.tensor([3, 0, 0, 2, 1]), torch.tensor([5, 0, 1, 1, 4])
    pairs = {**arrays, **{name: arrays[name][signal] for name in field.latents}}
    found = field.apply(pairs, coords[signal, point][:, None])
    expected = torch.stack([field.apply(apart[s], coords[s])[p] for s, p in zip(signal, point, strict=True)])
    torch.testing.assert_close(found[:, 0], expected, rtol=0, atol=1e-12)


# ------------------------------------------------------------------ weights, derivatives, precision


@pytest.mark.parametrize("shared", [True, False])
def test_what_has_no_weight_gives_no_gradient(shared: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    small_blocks(monkeypatch)
    field = field_of()
    arrays, (coords, target) = drawn(field), points_of(1, POINTS)
    weight = torch.zeros(POINTS, OUTPUTS, dtype=torch.float64)
    weight[:9, :2], weight[9:, 0] = 1.0, 2.0  # some points have two channels, the others one of them
    names = list(arrays)

    def found(values: Tensor) -> tuple[Tensor, Tensors]:
        with torch.no_grad():
            return loss_and_gradient(field, arrays, coords[0], values, names, weight=weight if shared else weight[None])

    loss, gradients = found(target)
    squares = (field.apply(arrays, coords[0]) - target[0]).square()
    torch.testing.assert_close(loss[0], (weight * squares).sum() / weight.sum(), rtol=1e-12, atol=0)
    other = torch.where(weight > 0, target, target + 100.0)
    assert all(torch.equal(found(other)[1][name], gradients[name]) for name in names)
    expected = autograd_loss_and_gradient(
        lambda leaves: field.apply(leaves, coords[0])[None], arrays, target, names, weight=weight
    )[1]
    for name in names:
        torch.testing.assert_close(gradients[name][0], expected[name], rtol=0, atol=1e-12, msg=name)
    first = found(torch.where(weight == 1.0, target, target + 100.0))[1]
    assert (first["output"] - gradients["output"]).abs().max() > 1e-4


@pytest.mark.parametrize("own", ["latents", "all"])
def test_where_gradients_are_recorded_both_results_can_be_differentiated(own: str) -> None:
    field = field_of(layers=2)
    arrays, _ = signals_of(field, 2, OWN[own])
    arrays = {name: array.requires_grad_() for name, array in arrays.items()}
    coords, target = points_of(2, 5)
    loss, gradients = field.loss_and_gradient(arrays, coords, target, ["hidden"])
    (loss.sum() + gradients["hidden"].square().sum()).backward()
    moved, step = {name: array.detach().clone() for name, array in arrays.items()}, 1e-5
    for name in ("hidden", "layers.0.query_key_value.weight"):
        place = (0,) * arrays[name].dim()
        found = []
        for sign in (1.0, -1.0):
            moved[name] = arrays[name].detach().clone()
            moved[name][place] += sign * step
            with torch.no_grad():
                error, gradient = field.loss_and_gradient(moved, coords, target, ["hidden"])
            found.append(float(error.sum() + gradient["hidden"].square().sum()))
            moved[name] = arrays[name].detach()
        assert arrays[name].grad is not None
        assert float(arrays[name].grad[place]) == pytest.approx((found[0] - found[1]) / (2 * step), rel=1e-5)


def test_bfloat16_is_asked_for_and_never_leaks_in_from_outside() -> None:
    field = field_of(dim=32, ffn_dim=64)
    arrays, (coords, target) = field.init(generator(0)), points_of(1, POINTS, dtype=torch.float32)
    with torch.no_grad():
        exact = field.loss_and_gradient(arrays, coords, target, ["hidden"])[1]["hidden"]
        rough = field.loss_and_gradient(arrays, coords, target, ["hidden"], precision=torch.bfloat16)[1]["hidden"]
        with torch.autocast("cpu", torch.bfloat16):
            inside = field.loss_and_gradient(arrays, coords, target, ["hidden"])[1]["hidden"]
    assert rough.dtype == torch.float32
    assert torch.equal(inside, exact)
    assert 1e-4 < float((rough - exact).norm() / exact.norm()) < 0.1
