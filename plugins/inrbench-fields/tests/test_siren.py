"""SIREN: against a plain loop over signals, its initialisation, its coordinates, its counts."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from inrbench_fields.settings import SirenSettings
from inrbench_fields.siren import Siren
from torch import Tensor

from inrbench.backends.torch.fields import coords_of
from inrbench.cells import resolve
from inrbench.domains import Grid, Points
from inrbench.errors import BadSetting
from inrbench.signals import PartSpec, SignalSpec

PAPER: dict[str, Any] = {"omega_0": 30.0, "omega_hidden": 30.0}
MWT: dict[str, Any] = {
    "omega_0": 10.0,
    "omega_hidden": 1.0,
    "bias_init": "zero",
    "output_init": "default",
    "output_scale": 0.1,
    "coordinates": "corners",
}
LEARNED_INIT: dict[str, Any] = {
    "omega_0": 200.0,
    "omega_hidden": 200.0,
    "bias_init": "all-zero",
    "coordinates": "unit-corners",
    "values": "centred",
}


def spec_of(*shape: int, channels: int = 3, domain: Any = "grid") -> SignalSpec:
    return SignalSpec((PartSpec(domain, shape, len(shape), channels),))


def siren_of(spec: SignalSpec, **settings: Any) -> Siren:
    return Siren(SirenSettings(**settings), spec)


def init(field: Siren, seed: int = 0) -> dict[str, Tensor]:
    return field.init(torch.Generator().manual_seed(seed))


def several(field: Siren, signals: int) -> dict[str, Tensor]:
    drawn = [init(field, seed) for seed in range(signals)]
    return {name: torch.stack([one[name] for one in drawn]).double() for name in drawn[0]}


def plain(field: Siren, arrays: dict[str, Tensor], point: np.ndarray) -> np.ndarray:
    """One signal at one point, with NumPy and loops."""
    settings, hidden = field.settings, point.astype(np.float64)
    if settings.coordinates == "corners":
        hidden = np.array([x * n / (n - 1) for x, n in zip(hidden, field.counts or (), strict=True)])
    if settings.coordinates == "unit-corners":
        hidden = np.array([(x + 1) / 2 - 1 / (2 * n) for x, n in zip(hidden, field.counts or (), strict=True)])
    for i in range(settings.depth + 1):
        omega = settings.omega_0 if i == 0 else settings.omega_hidden
        weight, bias = arrays[f"layers.{i}.weight"].numpy(), arrays[f"layers.{i}.bias"].numpy()
        hidden = np.array([math.sin(omega * (float(row @ hidden) + b)) for row, b in zip(weight, bias, strict=True)])
    output = arrays["output.weight"].numpy() @ hidden + arrays["output.bias"].numpy()
    return np.asarray(output * arrays["output.scale"].numpy() if "output.scale" in arrays else output)


@pytest.mark.parametrize("settings", [PAPER, MWT, LEARNED_INIT], ids=["paper", "mwt", "learned-init"])
@pytest.mark.parametrize("depth", [0, 1, 3])
def test_a_batch_of_signals_is_a_loop_over_them(settings: dict[str, Any], depth: int) -> None:
    field = siren_of(spec_of(4, 5), width=7, depth=depth, **settings)
    arrays, coords = several(field, 3), coords_of(Grid.of(4, 5), "cpu").double()
    found = field.apply(arrays, coords)
    assert found.shape == (3, 20, 3)
    for signal in range(3):
        own = {name: array[signal] for name, array in arrays.items()}
        expected = np.stack([plain(field, own, point) for point in coords.numpy()])
        np.testing.assert_allclose(found[signal].numpy(), expected, atol=1e-10)


def test_arrays_without_signals_in_front_are_shared_by_all() -> None:
    field = siren_of(spec_of(4, 5), width=7, depth=1, **MWT)
    arrays, coords = several(field, 3), coords_of(Grid.of(4, 5), "cpu").double()
    shared = {name: array[0] if name.startswith("output.") else array for name, array in arrays.items()}
    apart = {n: a[:1].expand(3, *a.shape[1:]) if n.startswith("output.") else a for n, a in arrays.items()}
    torch.testing.assert_close(field.apply(shared, coords), field.apply(apart, coords), rtol=0, atol=1e-12)


def test_each_signal_may_have_points_of_its_own() -> None:
    field = siren_of(spec_of(4, 5), width=7, depth=1, **MWT)
    arrays = several(field, 3)
    coords = torch.rand(3, 11, 2, generator=torch.manual_seed(0), dtype=torch.float64) * 2 - 1
    found = field.apply(arrays, coords)
    for signal in range(3):
        alone = field.apply({name: array[signal : signal + 1] for name, array in arrays.items()}, coords[signal])
        torch.testing.assert_close(found[signal], alone[0], rtol=0, atol=1e-12)


def test_a_signals_output_does_not_depend_on_the_others() -> None:
    field = siren_of(spec_of(8, 8), width=16, depth=2, **PAPER)
    arrays, coords = several(field, 5), coords_of(Grid.of(8, 8), "cpu").double()
    together = field.apply(arrays, coords)
    for signal in range(5):
        alone = field.apply({name: array[signal : signal + 1] for name, array in arrays.items()}, coords)
        torch.testing.assert_close(together[signal : signal + 1], alone, rtol=0, atol=1e-11)


# ------------------------------------------------------------------ initialisation


def spread(array: Tensor) -> float:
    return float(array.abs().max())


@pytest.mark.parametrize("omega", [1.0, 30.0])
def test_layers_start_uniform_in_the_papers_bounds(omega: float) -> None:
    field = siren_of(spec_of(8, 8), width=128, depth=2, omega_hidden=omega)
    arrays = init(field)
    bounds = {
        "layers.0.weight": 1 / 2,
        "layers.1.weight": math.sqrt(6 / 128) / omega,
        "layers.2.weight": math.sqrt(6 / 128) / omega,
        "output.weight": math.sqrt(6 / 128) / omega,
        "layers.0.bias": 1 / math.sqrt(2),
        "layers.1.bias": 1 / math.sqrt(128),
    }
    for name, bound in bounds.items():
        assert 0.93 * bound < spread(arrays[name]) <= bound, name
        assert abs(float(arrays[name].mean())) < 0.15 * bound, name
        if arrays[name].numel() > 200:  # uniform: its variance is bound² / 3
            assert float(arrays[name].var()) == pytest.approx(bound**2 / 3, rel=0.15), name


def test_mwts_variant_has_no_biases_a_default_output_and_a_learned_scale() -> None:
    arrays = init(siren_of(spec_of(8, 8), width=128, depth=2, **MWT))
    assert not any(arrays[f"layers.{i}.bias"].any() for i in range(3))
    assert 0.93 / math.sqrt(128) < spread(arrays["output.weight"]) <= 1 / math.sqrt(128)
    assert arrays["output.scale"].tolist() == [pytest.approx(0.1)] * 3
    assert "output.scale" not in init(siren_of(spec_of(8, 8), **PAPER))


def test_learned_inits_variant_has_no_bias_at_all() -> None:
    arrays = init(siren_of(spec_of(8, 8), width=128, depth=2, **LEARNED_INIT))
    assert not any(array.any() for name, array in arrays.items() if name.endswith("bias"))
    for name in ("layers.1.weight", "output.weight"):
        bound = math.sqrt(6 / 128) / 200
        assert 0.93 * bound < spread(arrays[name]) <= bound
    assert 0.93 * 0.5 < spread(arrays["layers.0.weight"]) <= 0.5


def test_a_draw_comes_from_its_generator_alone() -> None:
    field = siren_of(spec_of(8, 8), width=8)
    torch.manual_seed(1)
    one = init(field)
    torch.manual_seed(2)
    assert all(torch.equal(one[name], array) for name, array in init(field).items())
    assert not torch.equal(one["layers.0.weight"], init(field, 1)["layers.0.weight"])


# ------------------------------------------------------------------ coordinates


def seen_by(field: Siren, domain: Any) -> Tensor:
    """What the first layer sees: with W = 1, ω = 1 and a linear range of the sine the output is the coordinate."""
    tiny = 1e-5
    arrays = {
        "layers.0.weight": tiny * torch.eye(2, dtype=torch.float64),
        "layers.0.bias": torch.zeros(2, dtype=torch.float64),
        "output.weight": torch.eye(2, dtype=torch.float64) / tiny,
        "output.bias": torch.zeros(2, dtype=torch.float64),
    }
    return field.apply({n: a[None] for n, a in arrays.items()}, coords_of(domain, "cpu").double())[0]


def identity(coordinates: str) -> Siren:
    return siren_of(spec_of(4, 8, channels=2), width=2, depth=0, omega_0=1.0, coordinates=coordinates)


def test_corners_put_the_outermost_cells_at_the_ends() -> None:
    found = seen_by(identity("corners"), Grid.of(4, 8)).reshape(4, 8, 2)
    rows, columns = torch.linspace(-1, 1, 4, dtype=torch.float64), torch.linspace(-1, 1, 8, dtype=torch.float64)
    torch.testing.assert_close(found[:, 0, 0], rows, rtol=0, atol=1e-6)
    torch.testing.assert_close(found[0, :, 1], columns, rtol=0, atol=1e-6)


def test_centres_leave_half_a_cell_at_the_ends() -> None:
    found = seen_by(identity("centres"), Grid.of(4, 8)).reshape(4, 8, 2)
    assert found[:, 0, 0].tolist() == pytest.approx([-0.75, -0.25, 0.25, 0.75], abs=1e-6)
    assert float(found[0, 0, 1]) == pytest.approx(-0.875, abs=1e-6)


def test_unit_corners_count_cells_from_0_up_to_1() -> None:
    found = seen_by(identity("unit-corners"), Grid.of(4, 8)).reshape(4, 8, 2)
    assert found[:, 0, 0].tolist() == pytest.approx([0.0, 0.25, 0.5, 0.75], abs=1e-7)
    assert found[0, :, 1].tolist() == pytest.approx([i / 8 for i in range(8)], abs=1e-7)


def test_unit_corners_put_free_points_from_0_to_1() -> None:
    field = siren_of(spec_of(3, channels=1, domain="points"), coordinates="unit-corners", width=1, depth=0, omega_0=1.0)
    arrays = {"layers.0.weight": 1e-4 * torch.ones(1, 1, 1), "layers.0.bias": torch.zeros(1, 1)}
    arrays |= {"output.weight": 1e4 * torch.ones(1, 1, 1), "output.bias": torch.zeros(1, 1)}
    assert field.apply(arrays, torch.tensor([[-1.0], [0.0], [1.0]])).flatten().tolist() == pytest.approx([0, 0.5, 1])


@pytest.mark.parametrize(
    ("values", "span", "expected"),
    [
        ("unit", 1.0, (1.0, 0.0)),
        ("centred", 1.0, (1.0, 0.5)),
        ("symmetric", 1.0, (0.5, 0.5)),
        ("unit", 4.0, (0.25, 0.0)),
        ("centred", 4.0, (0.25, 0.5)),
    ],
)
def test_the_outputs_range_is_that_of_the_settings(values: Any, span: float, expected: tuple[float, float]) -> None:
    spec = SignalSpec((PartSpec("grid", (4, 4), 2, 1, span=span),))
    assert siren_of(spec, values=values).to_unit == expected


@pytest.mark.parametrize("coordinates", ["corners", "centres", "unit-corners"])
def test_asking_at_another_resolution_stays_in_the_same_frame(coordinates: str) -> None:
    field = identity(coordinates)
    coarse = seen_by(field, Grid.of(4, 8)).reshape(4, 8, 2)
    fine = seen_by(field, Grid.of(12, 24)).reshape(12, 24, 2)
    # a cell's centre is the centre of the middle one of the 3 x 3 cells that it is cut into
    torch.testing.assert_close(fine[1::3, 1::3], coarse, rtol=0, atol=1e-6)
    free = seen_by(field, Points(Grid.of(4, 8).coords().reshape(-1, 2)))
    torch.testing.assert_close(free, coarse.reshape(-1, 2), rtol=0, atol=1e-6)


def test_corners_are_the_centres_of_free_points() -> None:
    field = siren_of(spec_of(100, domain="points"), coordinates="corners")
    assert field.counts is None  # there are no cells to have corners


def test_the_convention_tells_what_is_needed_to_read_the_arrays() -> None:
    found = siren_of(spec_of(4, 8), **MWT).convention()
    assert found["omega_0"] == 10.0
    assert found["omega_hidden"] == 1.0
    assert found["coordinates"] == "corners"
    assert found["coordinate_counts"] == [4, 8]
    assert found["to_unit"] == [0.5, 0.5]
    assert siren_of(spec_of(4, 8), values="unit").convention()["to_unit"] == [1.0, 0.0]


# ------------------------------------------------------------------ counts


@pytest.mark.parametrize(
    ("coord_dim", "channels", "width", "depth", "parameters"),
    [
        (1, 1, 256, 3, 198_145),  # NeoMLP's audio baseline
        (3, 3, 1024, 3, 3_155_971),  # and video
        (3, 9, 1024, 3, 3_162_121),  # and audio with video
        (2, 3, 256, 3, 198_915),  # Learned Init's images
        (2, 3, 128, 4, 66_432 + 387),  # MWT's adapted values and its output layer
    ],
)
def test_parameters_are_counted_as_the_papers_do(
    coord_dim: int, channels: int, width: int, depth: int, parameters: int
) -> None:
    field = siren_of(spec_of(*[8] * coord_dim, channels=channels), width=width, depth=depth, **PAPER)
    assert sum(array.numel() for array in init(field).values()) == parameters


def test_multiply_adds_are_those_of_the_linear_layers() -> None:
    assert siren_of(spec_of(32, 32), width=128, depth=4).flops(1024) == pytest.approx(135.5e6, rel=1e-3)
    assert siren_of(spec_of(8, 8, channels=1), width=5, depth=1).flops(1) == 2 * (2 * 5 + 5 * 5 + 5)


def test_the_method_siren_has_the_papers_settings() -> None:
    cell = resolve("siren", "cifar10")
    settings = cell.settings["inr"]
    assert isinstance(settings, SirenSettings)
    assert (settings.width, settings.depth, settings.omega_0, settings.omega_hidden) == (256, 3, 30.0, 30.0)
    assert cell.build().fitter.facts().parameters == 198_915


@pytest.mark.parametrize("coordinates", ["corners", "unit-corners"])
def test_parts_of_one_signal_share_no_frame_but_the_centres(coordinates: Any) -> None:
    spec = SignalSpec((PartSpec("grid", (4, 3, 5), 3, 3, "video"), PartSpec("grid", (30, 1, 1), 3, 1, "audio")))
    with pytest.raises(
        BadSetting, match=rf"setting inr\.coordinates='{coordinates}': allowed is 'centres' for signals"
    ):
        siren_of(spec, width=7, depth=1, coordinates=coordinates)
    assert siren_of(spec, width=7, depth=1).channels == 4
