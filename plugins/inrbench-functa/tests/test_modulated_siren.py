"""The modulated SIREN: counts and draws by hand, what a cell reaches, and every layout against a plain version."""

from __future__ import annotations

import importlib.util
import math
import sys
from pathlib import Path
from types import ModuleType
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from inrbench_functa.network import Network
from inrbench_functa.sampled import Folded, Mixed, Weighted
from inrbench_functa.settings import ModulatedSirenSettings
from inrbench_functa.siren import ModulatedSiren

from inrbench import draws
from inrbench.backends.jax.training import named
from inrbench.domains import Array, Grid, Points
from inrbench.errors import BadSetting
from inrbench.signals import PartSpec, SignalSpec

IMAGE = SignalSpec((PartSpec("grid", (32, 32), 2, 3),))
SMALL = SignalSpec((PartSpec("grid", (8, 8), 2, 3),))
TINY = {"width": 16, "depth": 4, "omega_0": 10.0}


def field(spec: SignalSpec = SMALL, **given: Any) -> ModulatedSiren:
    """A field of these settings."""
    return ModulatedSiren(ModulatedSirenSettings.model_validate(given), spec)


def spatial(spec: SignalSpec = SMALL, **given: Any) -> ModulatedSiren:
    """A field of 4 x 4 cells."""
    return field(spec, **{**TINY, "latent": "spatial", "cells": 4, "latent_channels": 3, **given})


def network(one: ModulatedSiren) -> Network:
    """Its parameters, with biases that are not 0 so that every term shows."""
    rng = draws.generator(0, "network")
    leaves, shape = jax.tree.flatten(one.init(rng))
    moved = [a if a.ndim > 1 else jnp.asarray(rng.normal(0.0, 0.3, a.shape), jnp.float32) for a in leaves]
    return cast(Network, jax.tree.unflatten(shape, moved))


def latents(one: ModulatedSiren, signals: int = 2) -> Array:
    """Latents large enough to matter."""
    shape = (signals, *one.latent_shape)
    return draws.generator(0, "latents").normal(0.0, 0.5, shape).astype(np.float32)


def values(one: ModulatedSiren, parameters: Network, rows: Array, shape: tuple[int, int] = (8, 8)) -> Array:
    """The picture of every row, [signals, *shape, channels]."""
    on = one.sampled(Grid.of(*shape))
    return np.asarray(on.unfold(on.values(parameters, jnp.asarray(rows)))).reshape(len(rows), *shape, -1)


@pytest.fixture(scope="module")
def plain() -> ModuleType:
    """The plain version, which the benchmarks compare with too."""
    path = Path(__file__).resolve().parents[3] / "benchmarks" / "functa_plain.py"
    spec = importlib.util.spec_from_file_location("functa_plain", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where Equinox looks a module's types up
    spec.loader.exec_module(module)
    return module


# ---------------------------------------------------------------------- counts and draws


def test_the_parameters_of_functa_by_hand() -> None:
    one = field(IMAGE, width=512, depth=15, latent_dim=512)
    layers = (2 + 1) * 512 + 13 * (512 + 1) * 512 + (512 + 1) * 3
    shifts = 14 * 512 * (512 + 1)
    assert one.num_parameters() == layers + shifts == 7_094_787
    assert one.num_parameters() == sum(array.size for array in named(one.init(draws.generator(0, "x"))).values())


@pytest.mark.parametrize(("kernel", "seen"), [(1, 16), (3, 9 * 16)])
def test_the_parameters_of_spatial_functa_by_hand(kernel: int, seen: int) -> None:
    one = field(IMAGE, latent="spatial", cells=8, latent_channels=16, kernel=kernel, width=256, depth=6, omega_0=10.0)
    layers = (2 + 1) * 256 + 4 * (256 + 1) * 256 + (256 + 1) * 3
    assert one.num_parameters() == layers + 5 * 256 * (seen + 1)
    assert one.latent_shape == (8, 8, 16)
    assert one.num_parameters() == sum(array.size for array in named(one.init(draws.generator(0, "x"))).values())


def test_binary_coordinates_widen_the_first_layer() -> None:
    one = field(IMAGE, latent="spatial", interpolation="linear", width=256, depth=6)
    assert named(one.init(draws.generator(0, "x")))["sines.0.weight"].shape == (256, 10)  # 2 x 5 digits of 32


def test_weights_are_drawn_as_the_paper_says() -> None:
    one = field(IMAGE, width=512, depth=15, latent_dim=256, omega_0=30.0)
    arrays = named(one.init(draws.generator(3, "x")))
    assert [name for name in arrays if name.endswith("bias") and arrays[name].any()] == []
    bound = math.sqrt(6 / 512) / 30
    for name, limit in [("sines.0.weight", 1 / 2), ("sines.7.weight", bound), ("output.weight", bound)]:
        largest = np.abs(arrays[name]).max()
        assert 0.97 * limit < largest <= limit * (1 + 1e-6), name
        assert arrays[name].std() == pytest.approx(limit / math.sqrt(3), rel=0.1), name
    shifts = arrays["shift.weight"]
    assert shifts.shape == (14 * 512, 256)
    assert np.abs(shifts).max() <= 2 / math.sqrt(256) * (1 + 1e-6)  # truncated at two deviations
    assert shifts.std() == pytest.approx(0.8796 / math.sqrt(256), rel=0.01)  # of a normal that is cut off there


def test_omega_multiplies_all_that_a_sine_takes_and_the_output_is_moved_by_a_half() -> None:
    one = field(SMALL, width=5, depth=3, latent_dim=4, omega_0=7.0)
    parameters, row = network(one), latents(field(SMALL, width=5, depth=3, latent_dim=4), 1)
    arrays = {name: array.astype(np.float64) for name, array in named(parameters).items()}
    shifts = (arrays["shift.weight"] @ row[0] + arrays["shift.bias"]).reshape(2, 5)
    hidden = (Grid.of(8, 8).coords().reshape(-1, 2) + 1) / 2
    for i in range(2):
        before = hidden @ arrays[f"sines.{i}.weight"].T + arrays[f"sines.{i}.bias"] + shifts[i]
        hidden = np.sin(7.0 * before)
    expected = hidden @ arrays["output.weight"].T + arrays["output.bias"] + 0.5
    assert values(one, parameters, row).reshape(-1, 3) == pytest.approx(expected, abs=2e-5)


# ---------------------------------------------------------------------- what a cell reaches


@pytest.mark.parametrize("coordinates", ["cell", "global", "binary"])
def test_changing_one_cell_changes_only_its_pixels(coordinates: str) -> None:
    one = spatial(coordinates=coordinates)
    parameters, rows = network(one), latents(one)
    before = values(one, parameters, rows)
    for row, column in [(0, 0), (1, 2), (3, 3)]:
        changed = rows.copy()
        changed[0, row, column] += 1.0
        moved = np.abs(values(one, parameters, changed) - before).max(axis=-1)
        inside = np.zeros((8, 8), dtype=bool)
        inside[2 * row : 2 * row + 2, 2 * column : 2 * column + 2] = True
        assert (moved[0][inside] > 1e-4).all()
        assert moved[0][~inside].max() == 0.0
        assert moved[1].max() == 0.0


def test_with_a_3x3_convolution_a_cell_reaches_its_neighbours_and_no_further() -> None:
    one = spatial(kernel=3)
    parameters, rows = network(one), latents(one)
    changed = rows.copy()
    changed[0, 1, 0] += 1.0
    moved = np.abs(values(one, parameters, changed) - values(one, parameters, rows)).max(axis=-1)[0]
    inside = np.zeros((8, 8), dtype=bool)
    inside[0:6, 0:4] = True  # cells 0 to 2 down, 0 and 1 across
    assert (moved[inside] > 1e-5).all()
    assert moved[~inside].max() == 0.0


def test_linear_interpolation_reaches_from_centre_to_centre() -> None:
    one = spatial(interpolation="linear")
    parameters, rows = network(one), latents(one)
    changed = rows.copy()
    changed[0, 1, 1] += 1.0
    moved = np.abs(values(one, parameters, changed) - values(one, parameters, rows)).max(axis=-1)[0]
    inside = np.zeros((8, 8), dtype=bool)
    inside[1:5, 1:5] = True  # its centre lies between pixels 2 and 3; those of its neighbours two pixels away
    assert (moved[inside] > 1e-5).all()
    assert moved[~inside].max() == 0.0


def test_equal_cells_give_equal_patches() -> None:
    one = spatial()
    rows = np.broadcast_to(latents(one)[:, :1, :1], (2, 4, 4, 3))
    picture = values(one, network(one), rows)
    assert np.array_equal(picture, np.tile(picture[:, :2, :2], (1, 4, 4, 1)))


def test_nearest_neighbour_with_one_cell_is_functa() -> None:
    alone, whole = spatial(cells=1, latent_channels=6), field(SMALL, **TINY, latent_dim=6)
    parameters, rows = network(whole), latents(whole)
    assert named(network(alone)).keys() == named(parameters).keys()
    of_one = values(alone, parameters, rows[:, None, None])
    assert of_one == pytest.approx(values(whole, parameters, rows), abs=1e-6)


# ---------------------------------------------------------------------- every layout is one function


WAYS: dict[str, dict[str, Any]] = {
    "global": {**TINY, "latent_dim": 6},
    "nearest": {**TINY, "latent": "spatial", "cells": 4, "latent_channels": 3},
    "nearest, 3x3": {**TINY, "latent": "spatial", "cells": 4, "latent_channels": 3, "kernel": 3},
    "nearest, global coordinates": {
        **TINY, "latent": "spatial", "cells": 4, "latent_channels": 3, "coordinates": "global"
    },
    "linear": {**TINY, "latent": "spatial", "cells": 4, "latent_channels": 3, "interpolation": "linear"},
    "linear, 3x3, cell": {
        **TINY, "latent": "spatial", "cells": 2, "latent_channels": 3, "interpolation": "linear", "kernel": 3,
        "coordinates": "cell",
    },
}  # fmt: skip


@pytest.mark.parametrize("way", WAYS)
def test_a_picture_is_the_plain_versions(way: str, plain: ModuleType) -> None:
    one = field(SMALL, **WAYS[way])
    parameters, rows = network(one), latents(one)
    settings = one.settings
    cells = settings.cells if settings.latent == "spatial" else None
    arrays = {**named(parameters), "rates": np.ones(one.latent_shape, np.float32)}
    places = plain.image_places((8, 8), cells, settings.interpolation, settings.coordinates)
    model = plain.Plain.of(arrays, settings.omega_0, cells, settings.kernel)
    expected = np.asarray(plain.reconstruct(model, places, rows)).reshape(2, 8, 8, 3)
    assert values(one, parameters, rows) == pytest.approx(expected, abs=1e-5)
    assert expected.std() > 0.05


@pytest.mark.parametrize("way", WAYS)
def test_free_points_and_grids_agree(way: str) -> None:
    one = field(SMALL, **WAYS[way])
    parameters, rows = network(one), latents(one)
    coords = Grid.of(8, 8).coords().reshape(-1, 2)
    expected = values(one, parameters, rows).reshape(2, 64, 3)
    assert np.asarray(one.apply(parameters, jnp.asarray(rows), coords)) == pytest.approx(expected, abs=1e-5)
    on = one.sampled(Points(coords[::3]))
    free = np.asarray(on.unfold(on.values(parameters, jnp.asarray(rows))))
    assert free == pytest.approx(expected[:, ::3], abs=1e-5)
    own = np.stack([coords[::3], coords[::-3]])  # each signal its own
    each = np.asarray(one.apply(parameters, jnp.asarray(rows), own))
    assert each[0] == pytest.approx(expected[0, ::3], abs=1e-5)
    assert each[1] == pytest.approx(expected[1, ::-3], abs=1e-5)


@pytest.mark.parametrize("way", WAYS)
def test_folding_is_undone(way: str) -> None:
    on = field(SMALL, **WAYS[way]).sampled(Grid.of(8, 8))
    picture = jnp.arange(2 * 64 * 3, dtype=jnp.float32).reshape(2, 64, 3)
    assert np.array_equal(on.unfold(on.fold(picture)), picture)


@pytest.mark.parametrize(
    ("way", "layout"), [("global", Folded), ("nearest", Folded), ("nearest, 3x3", Folded), ("linear", Mixed)]
)
def test_grids_have_layouts_of_their_own(way: str, layout: type) -> None:
    assert isinstance(field(SMALL, **WAYS[way]).sampled(Grid.of(8, 8)), layout)


def test_a_finer_grid_is_the_same_field() -> None:
    one = spatial(interpolation="linear", coordinates="global")
    parameters, rows = network(one), latents(one)
    coords = Grid.of(12, 20).coords().reshape(-1, 2)
    assert values(one, parameters, rows, (12, 20)).reshape(2, -1, 3) == pytest.approx(
        np.asarray(one.apply(parameters, jnp.asarray(rows), coords)), abs=1e-5
    )
    assert isinstance(spatial().sampled(Grid.of(9, 9)), Weighted)  # 4 cells do not share 9 pixels out evenly


# ---------------------------------------------------------------------- what is refused, and what is told


@pytest.mark.parametrize("side", [3, 5, 6])
def test_cells_that_do_not_divide_the_grid_are_refused_with_those_that_do(side: int) -> None:
    with pytest.raises(BadSetting, match=rf"inr.cells={side}: does not divide a grid of 8 x 8; allowed are 1, 2, 4, 8"):
        spatial(cells=side)


def test_a_global_latent_has_no_cells_to_stand_in() -> None:
    with pytest.raises(ValueError, match="needs latent='spatial'"):
        ModulatedSirenSettings(latent="global", coordinates="cell")


def test_free_points_need_a_number_of_digits() -> None:
    points = SignalSpec((PartSpec("points", (100,), 3, 1),))
    with pytest.raises(BadSetting, match=r"inr\.digits"):
        field(points, **TINY, coordinates="binary")
    assert field(points, **TINY, coordinates="binary", digits=4).sizes[0] == 12


def test_the_convention_says_how_to_read_a_latent() -> None:
    said = spatial(interpolation="linear").convention()
    assert (said["omega"], said["output_offset"], said["latent_start"]) == (10.0, 0.5, 0.0)
    assert (said["cells"], said["interpolation"], said["kernel"], said["digits"]) == (4, "linear", 1, 3)
    assert "binary digits" in said["coordinates"]
    assert "cells" not in field(SMALL, **TINY).convention()
