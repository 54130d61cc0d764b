"""NeRF: values by hand, counts, and what is refused."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from inrbench_fields.gradient_descent import GradientDescent
from inrbench_fields.nerf import Nerf
from inrbench_fields.settings import GradientDescentSettings, NerfSettings
from torch import Tensor

import inrbench
from inrbench import draws
from inrbench.backends.torch.draws import torch_generator
from inrbench.errors import BadSetting
from inrbench.signals import PartSpec, SignalSpec

SPEC = SignalSpec((PartSpec("rays", (2, 4, 4), 3, 3),))


def field_of(**settings: Any) -> Nerf:
    return Nerf(NerfSettings(**settings), SPEC)


def several(field: Nerf, signals: int) -> dict[str, Tensor]:
    drawn = [field.init(torch_generator(draws.generator(0, "init", i))) for i in range(signals)]
    return {name: torch.stack([one[name] for one in drawn]).double() for name in drawn[0]}


def plain(field: Nerf, arrays: dict[str, Tensor], point: np.ndarray) -> np.ndarray:
    """One signal at one point, written as the definition reads: no π, frequencies up to the highest."""
    count = field.settings.frequencies
    frequencies = [field.settings.highest ** (k / max(1, count - 1)) for k in range(count)]
    hidden = np.array([wave(w * x) for wave in (math.cos, math.sin) for x in point.tolist() for w in frequencies])
    for i in range(field.settings.depth + 1):
        hidden = np.maximum(arrays[f"layers.{i}.weight"].numpy() @ hidden + arrays[f"layers.{i}.bias"].numpy(), 0.0)
    return arrays["output.weight"].numpy() @ hidden + arrays["output.bias"].numpy()


@pytest.mark.parametrize("depth", [0, 2])
def test_a_batch_of_signals_is_a_loop_over_them_and_their_points(depth: int) -> None:
    field = field_of(width=7, depth=depth, frequencies=5, highest=16.0)
    arrays = several(field, 3)
    points = torch.randn(11, 3, generator=torch.manual_seed(0), dtype=torch.float64)
    found = field.apply(arrays, points)
    assert found.shape == (3, 11, 4)
    for signal in range(3):
        own = {name: array[signal] for name, array in arrays.items()}
        expected = np.stack([plain(field, own, point) for point in points.numpy()])
        np.testing.assert_allclose(found[signal].numpy(), expected, rtol=0, atol=2e-6)


def test_frequencies_are_those_of_the_papers_code() -> None:
    angular = field_of().network.angular.double().numpy()
    np.testing.assert_allclose(angular, 2.0 ** np.linspace(0.0, 8.0, 20), rtol=1e-6)


def test_parameters_and_multiply_adds_by_hand() -> None:
    """Trans-INR's field for views: 120 features, 6 linear layers of width 256, colour and density."""
    field = field_of()
    weights = 120 * 256 + 4 * 256 * 256 + 256 * 4
    assert sum(array.numel() for array in field.init(torch.manual_seed(0)).values()) == weights + 5 * 256 + 4 == 295_172
    assert field.flops(128) == 2 * 128 * weights


def test_directions_are_three_more_coordinates() -> None:
    field = field_of(directions=True, width=7, depth=1, frequencies=5, highest=16.0)
    assert field.init(torch.manual_seed(0))["layers.0.weight"].shape == (7, 6 * 2 * 5)
    arrays = several(field, 1)
    points = torch.randn(4, 6, generator=torch.manual_seed(0), dtype=torch.float64)
    own = {name: array[0] for name, array in arrays.items()}
    expected = np.stack([plain(field, own, point) for point in points.numpy()])
    np.testing.assert_allclose(field.apply(arrays, points)[0].numpy(), expected, rtol=0, atol=2e-6)
    assert field.convention()["coordinates"] == "scene units, then the ray's unit direction"
    assert field_of().convention()["coordinates"] == "scene units"


def test_raw_values_become_colour_and_density() -> None:
    raw = torch.tensor([[0.0, math.log(3.0), -math.log(3.0), 2.0], [0.0, 0.0, 0.0, -1.0]])
    colour, density = field_of().radiance(raw)
    assert colour[0].tolist() == pytest.approx([0.5, 0.75, 0.25])
    assert density.tolist() == [2.0, 0.0]
    _, soft = field_of(density="softplus").radiance(raw)
    assert soft.tolist() == pytest.approx([math.log(1.0 + math.exp(2.0)), math.log(1.0 + math.exp(-1.0))])


def test_the_densitys_bias_can_start_elsewhere() -> None:
    usual, moved = (field_of(density_bias=value).init(torch.manual_seed(0)) for value in (0.0, 0.5))
    for name, array in usual.items():
        change = torch.zeros_like(array)
        if name == "output.bias":
            change[3] = 0.5
        torch.testing.assert_close(moved[name] - array, change)


def test_the_convention_tells_how_rays_are_seen() -> None:
    found = field_of(samples=32, density="softplus").convention()
    assert found["samples"] == 32
    assert found["highest"] == 256.0
    assert "softplus(density)" in found["output"]


def test_other_signals_are_refused() -> None:
    with pytest.raises(ValueError, match="nerf renders 3 channels from 3 coordinates, not 1 from 2"):
        Nerf(NerfSettings(), SignalSpec((PartSpec("grid", (8, 8), 2, 1),)))


def test_rays_are_not_all_seen_at_once() -> None:
    with pytest.raises(BadSetting, match=r"fitter.batch_points is empty: rays need a number"):
        GradientDescent(GradientDescentSettings(), SPEC, field_of(width=4))


def test_facts_count_the_samples_of_a_steps_rays() -> None:
    field = field_of(width=8, depth=1, samples=16)
    fitter = GradientDescent(GradientDescentSettings(batch_points=10, steps=7), SPEC, field)
    assert fitter.facts().fit_flops == 3 * 7 * 10 * 16 * 2 * (120 * 8 + 8 * 8 + 8 * 4)
    fitter = GradientDescent(GradientDescentSettings(batch_points=1000, steps=7), SPEC, field)
    assert fitter.facts().fit_flops == 3 * 7 * 32 * 16 * 2 * (120 * 8 + 8 * 8 + 8 * 4)  # all of the 2 x 4 x 4


@pytest.mark.cells
@pytest.mark.parametrize("method", ["nerf", "trans-inr-nvs", "learned-init"])
def test_a_cell_fits_a_field_that_sees_directions(method: str, tmp_path: Path) -> None:
    settings: dict[str, Any] = {"inr": {"directions": True}, "data": {"test_size": 2, "episodes": 1}}
    if method == "learned-init":
        settings["fitter"] = {"initialisation": "matched", "match_steps": 5}
    frame = inrbench.run(
        f"{method}+shape-views", profile="smoke", settings=settings, device="cpu", records=tmp_path, quiet=True
    )
    assert list(frame["status"]) == ["ok"]
    assert 3.0 < float(frame["metrics.psnr_db"].iloc[0]) < 40.0


@pytest.mark.cells
def test_a_cell_fits_scenes_and_scores_views_that_it_never_saw(tmp_path: Path) -> None:
    settings = {"data": {"test_size": 2, "episodes": 1, "support_views": 4}, "fitter": {"steps": 10}}
    frame = inrbench.run(
        "nerf+shape-views", profile="smoke", settings=settings, device="cpu", records=tmp_path, quiet=True
    )
    assert list(frame["status"]) == ["ok"]
    assert 3.0 < float(frame["metrics.psnr_db"].iloc[0]) < 40.0
    assert int(frame["costs.adapted_values"].iloc[0]) == 120 * 16 + 16 + 16 * 16 + 16 + 16 * 4 + 4
