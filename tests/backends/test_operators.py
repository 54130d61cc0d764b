"""Observing a field on any domain: grids by their axes, places of a grid, chunks, rays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pytest
import torch
from torch import Tensor

from inrbench import draws
from inrbench.backends.torch import operators
from inrbench.backends.torch.fields import coords_of
from inrbench.backends.torch.operators import GridField, coords_at, observe, observer, rays_of, shape_of
from inrbench.backends.torch.rendering import render
from inrbench.domains import Grid, Points, Rays


class Linear:
    """f(x) = w · x + 0.1 for each of three channels; ``asked`` holds the points of each call."""

    to_unit = (0.5, 0.25)
    num_samples = 8
    takes_directions = False

    def __init__(self) -> None:
        self.asked: list[int] = []

    def init(self, generator: torch.Generator) -> dict[str, Tensor]:
        return {"w": torch.randn(3, 2, generator=generator)}

    def apply(self, arrays: Mapping[str, Tensor], coords: Tensor) -> Tensor:
        self.asked.append(coords.shape[-2])
        return coords @ arrays["w"].mT + 0.1

    def convention(self) -> dict[str, str]:
        return {}

    def flops(self, points: int) -> float:
        return 0.0


class ByAxis(Linear):
    """The same with a sum over the axes."""

    def encode_grid(self, lines: Sequence[Tensor]) -> Sequence[Tensor]:
        return lines

    def apply_grid(self, arrays: Mapping[str, Tensor], encoded: Sequence[Tensor]) -> Tensor:
        rows, columns = (line[:, None] * arrays["w"][:, None, :, axis] for axis, line in enumerate(encoded))
        return (rows[:, :, None] + columns[:, None] + 0.1).flatten(1, 2)


ARRAYS = {"w": torch.randn(2, 3, 2, generator=torch.manual_seed(0))}
GRID = Grid(((4, -1.0, 1.0), (5, -0.5, 0.25)))


def expected(coords: np.ndarray) -> np.ndarray:
    values = np.einsum("...d,scd->s...c", coords, ARRAYS["w"].numpy()) + 0.1
    return values * 0.5 + 0.25


@pytest.mark.parametrize("kind", [Linear, ByAxis])
def test_values_on_a_grid_have_its_shape_and_lie_in_the_unit(kind: type[Linear]) -> None:
    field = kind()
    assert isinstance(field, GridField) == (kind is ByAxis)
    found = observe(field, ARRAYS, GRID, "cpu")
    assert found.shape == (2, 4, 5, 3)
    np.testing.assert_allclose(found.numpy(), expected(GRID.coords()), rtol=0, atol=1e-6)
    assert bool(field.asked) == (kind is Linear)  # the other one is asked by its axes
    own = observer(field, GRID, "cpu")(ARRAYS)
    np.testing.assert_allclose(own.reshape(2, 4, 5, 3).numpy() * 0.5 + 0.25, found.numpy(), rtol=0, atol=1e-6)


def test_places_of_a_grid_are_its_cells_and_cost_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    for grid in (GRID, Grid(((308_207, -1.0, 1.0),)), Grid(((7, 0.25, 0.5), (1, -1.0, 1.0)))):
        index = draws.generator(0, "places").integers(0, grid.num_points, (3, 5))
        whole = coords_of(grid, "cpu")
        monkeypatch.setattr(Grid, "coords", None)
        assert torch.equal(coords_at(grid, index, "cpu"), whole[torch.as_tensor(index)])
        monkeypatch.undo()


def test_values_at_free_points() -> None:
    points = Points(draws.generator(0, "points").uniform(-1.0, 1.0, (7, 2)).astype(np.float32))
    found = observe(Linear(), ARRAYS, points, "cpu")
    np.testing.assert_allclose(found.numpy(), expected(points.coords), rtol=0, atol=1e-6)


@pytest.mark.parametrize("domain", [GRID, Points(GRID.coords().reshape(-1, 2))])
def test_a_large_domain_is_asked_for_in_chunks(domain: Grid | Points, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = observe(ByAxis(), ARRAYS, domain, "cpu")
    monkeypatch.setattr(operators, "CHUNK_POINTS", 7)
    field = ByAxis()
    torch.testing.assert_close(observe(field, ARRAYS, domain, "cpu"), whole, rtol=0, atol=1e-6)
    assert field.asked == [7, 7, 6]


@pytest.mark.parametrize("grid", [Grid.of(9), GRID, Grid.of(2, 3, 4)])
def test_coordinates_at_places_are_those_of_the_whole_grid(grid: Grid) -> None:
    index = draws.generator(0, "places").integers(0, grid.num_points, (2, 6))
    whole = coords_of(grid, "cpu")
    assert torch.equal(coords_at(grid, index, "cpu"), whole[torch.as_tensor(index)])
    listed = Points(whole.numpy())
    assert torch.equal(coords_at(listed, index, "cpu"), whole[torch.as_tensor(index)])


class Glow(Linear):
    """Colour and density from the place."""

    to_unit = (1.0, 0.0)

    def apply(self, arrays: Mapping[str, Tensor], coords: Tensor) -> Tensor:
        return torch.sin(coords @ arrays["w"].mT)

    def radiance(self, raw: Tensor) -> tuple[Tensor, Tensor]:
        return torch.sigmoid(raw[..., :3]), self.density(raw)

    def density(self, raw: Tensor) -> Tensor:
        return torch.relu(raw[..., 3])


def test_rays_are_rendered_with_what_the_domain_and_the_field_say() -> None:
    rng = draws.generator(0, "rays")
    origins, directions = (rng.standard_normal((2, 3, 4, 3)) for _ in range(2))
    domain = Rays(origins, directions, 0.5, 2.0, 0.25)
    assert shape_of(domain) == (2, 3, 4)
    arrays = {"w": torch.randn(2, 4, 3, generator=torch.manual_seed(0))}
    found = observe(Glow(), arrays, domain, "cpu")
    assert found.shape == (2, 2, 3, 4, 3)
    flat = [torch.tensor(array, dtype=torch.float32).reshape(-1, 3) for array in (origins, directions)]
    assert all(torch.equal(one, other) for one, other in zip(rays_of(domain, "cpu"), flat, strict=True))
    by_hand = render(Glow(), arrays, flat[0], flat[1], 0.5, 2.0, 0.25, 8)
    torch.testing.assert_close(found.reshape(2, -1, 3), by_hand)
    jittered = observer(Glow(), domain, "cpu", torch.Generator().manual_seed(1))(arrays)
    by_hand = render(Glow(), arrays, flat[0], flat[1], 0.5, 2.0, 0.25, 8, torch.Generator().manual_seed(1))
    assert torch.equal(jittered, by_hand)
    assert not torch.allclose(jittered, found.reshape(2, -1, 3))
