"""ReLU layers behind Fourier features: values by hand, counts, batches of signals."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from inrbench_fields.relu_fourier import ReluFourier
from inrbench_fields.settings import ReluFourierSettings
from torch import Tensor

from inrbench import draws
from inrbench.backends.torch.draws import torch_generator
from inrbench.backends.torch.fields import coords_of
from inrbench.cells import resolve
from inrbench.domains import Grid
from inrbench.signals import PartSpec, SignalSpec


def spec_of(*shape: int, channels: int = 3, domain: Any = "grid", span: float = 1.0) -> SignalSpec:
    return SignalSpec((PartSpec(domain, shape, len(shape), channels, span=span),))


def field_of(*shape: int, channels: int = 3, **settings: Any) -> ReluFourier:
    return ReluFourier(ReluFourierSettings(**settings), spec_of(*(shape or (4, 5)), channels=channels))


def several(field: ReluFourier, signals: int) -> dict[str, Tensor]:
    drawn = [field.init(torch_generator(draws.generator(0, "init", i))) for i in range(signals)]
    return {name: torch.stack([one[name] for one in drawn]).double() for name in drawn[0]}


def plain(field: ReluFourier, arrays: dict[str, Tensor], point: np.ndarray) -> np.ndarray:
    """One signal at one point, written as the definition reads."""
    count, highest = field.settings.frequencies, field.settings.highest
    frequencies = [highest ** (k / max(1, count - 1)) for k in range(count)]
    hidden = np.array(
        [wave(math.pi * w * x) for wave in (math.cos, math.sin) for x in point.tolist() for w in frequencies]
    )
    for i in range(field.settings.depth + 1):
        before = arrays[f"layers.{i}.weight"].numpy() @ hidden + arrays[f"layers.{i}.bias"].numpy()
        hidden = np.maximum(before, 0.0)
    return arrays["output.weight"].numpy() @ hidden + arrays["output.bias"].numpy() + field.settings.output_offset


@pytest.mark.parametrize("depth", [0, 2])
@pytest.mark.parametrize("shape", [(7,), (4, 5), (2, 3, 2)])
def test_a_batch_of_signals_is_a_loop_over_them_and_their_points(shape: tuple[int, ...], depth: int) -> None:
    field = field_of(*shape, width=7, depth=depth, frequencies=5, highest=16.0)
    arrays, coords = several(field, 3), coords_of(Grid.of(*shape), "cpu").double()
    found = field.apply(arrays, coords)
    assert found.shape == (3, math.prod(shape), 3)
    for signal in range(3):
        own = {name: array[signal] for name, array in arrays.items()}
        expected = np.stack([plain(field, own, point) for point in coords.numpy()])
        np.testing.assert_allclose(found[signal].numpy(), expected, rtol=0, atol=2e-6)  # frequencies are float32


def test_frequencies_are_those_of_the_papers_code() -> None:
    angular = field_of().network.angular.double().numpy()
    assert len(angular) == 64
    np.testing.assert_allclose(angular / math.pi, np.exp(np.linspace(0.0, math.log(1024.0), 64)), rtol=1e-6)


def test_features_of_a_point_by_hand() -> None:
    field = field_of(frequencies=3, highest=4.0)  # 1, 2, 4
    found = field.network.encode(torch.tensor([[0.5, 0.25]], dtype=torch.float64))[0]
    half = math.sqrt(0.5)
    np.testing.assert_allclose(found, [0, -1, 1, half, 0, -1, 1, 0, 0, half, 1, 0], rtol=0, atol=1e-6)


def test_arrays_without_signals_in_front_are_shared_by_all() -> None:
    field = field_of(width=7, depth=1, frequencies=4)
    arrays, coords = several(field, 3), coords_of(Grid.of(4, 5), "cpu").double()
    for shared in (["output.weight", "output.bias"], ["layers.0.bias"], ["layers.1.weight", "output.bias"]):
        some = {n: a[0] if n in shared else a for n, a in arrays.items()}
        apart = {n: a[:1].expand_as(a) if n in shared else a for n, a in arrays.items()}
        torch.testing.assert_close(field.apply(some, coords), field.apply(apart, coords), rtol=0, atol=1e-12)
    alone = field.apply({name: array[1] for name, array in arrays.items()}, coords)
    torch.testing.assert_close(alone, field.apply(arrays, coords)[1], rtol=0, atol=1e-12)


@pytest.mark.parametrize("shape", [(7,), (4, 5), (2, 3, 2)])
def test_a_grid_by_its_axes_is_the_grid_point_by_point(shape: tuple[int, ...]) -> None:
    field = field_of(*shape, width=7, depth=1, frequencies=4)
    arrays, grid = several(field, 3), Grid.of(*shape)
    lines = [torch.as_tensor(Grid.of(count).coords()[:, 0]).double() for count in shape]
    for shared in ([], ["layers.0.weight"], ["layers.0.bias"], list(arrays)):
        given = {n: a[0] if n in shared else a for n, a in arrays.items()}
        leaves = {name: array.clone().requires_grad_() for name, array in given.items()}
        found = field.apply_grid(leaves, field.encode_grid(lines))
        expected = field.apply(leaves, coords_of(grid, "cpu").double())
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)
        weights = torch.rand(found.shape, generator=torch.manual_seed(0), dtype=torch.float64)
        one, other = (torch.autograd.grad((weights * out).sum(), list(leaves.values())) for out in (found, expected))
        for ours, theirs in zip(one, other, strict=True):
            torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-10)


def test_each_signal_may_have_points_of_its_own() -> None:
    field = field_of(width=7, depth=1, frequencies=4)
    arrays = several(field, 3)
    coords = torch.rand(3, 11, 2, generator=torch.manual_seed(0), dtype=torch.float64) * 2 - 1
    found = field.apply(arrays, coords)
    for signal in range(3):
        alone = field.apply({name: array[signal : signal + 1] for name, array in arrays.items()}, coords[signal])
        torch.testing.assert_close(found[signal], alone[0], rtol=0, atol=1e-12)


def test_the_output_is_in_the_datas_unit_with_an_offset() -> None:
    field = ReluFourier(ReluFourierSettings(output_offset=0.25), spec_of(4, 5, span=2.0))
    zeros = {name: torch.zeros_like(array) for name, array in field.init(torch.manual_seed(0)).items()}
    assert field.apply(zeros, coords_of(Grid.of(4, 5), "cpu")).unique().tolist() == [0.25]
    assert field.to_unit == (0.5, 0.0)


def test_layers_start_uniform_in_the_default_bounds() -> None:
    arrays = field_of().init(torch_generator(draws.generator(0, "init")))
    for name, array in arrays.items():
        bound = 1.0 / 16.0  # all layers have 256 inputs
        assert float(array.abs().max()) <= bound, name
        if array.numel() > 200:
            assert float(array.abs().max()) > 0.97 * bound, name
            assert float(array.var()) == pytest.approx(bound**2 / 3, rel=0.15), name


def test_parameters_and_multiply_adds_by_hand() -> None:
    """Trans-INR's image field: 256 features, 5 linear layers of width 256, 3 channels."""
    field = field_of(178, 178)
    weights = 256 * 256 * 4 + 256 * 3
    assert sum(array.numel() for array in field.init(torch.manual_seed(0)).values()) == weights + 4 * 256 + 3 == 263_939
    assert field.flops(178 * 178) == 2 * 178 * 178 * weights


def test_a_cell_can_take_it() -> None:
    cell = resolve("siren", "digits", profile="smoke", overrides=[{"inr": "relu-fourier"}, {"inr": {"width": 8}}])
    layout = cell.build().fitter.layout
    assert layout.shapes["layers.0.weight"] == (8, 256)
    assert layout.convention["field"] == "relu-fourier"
