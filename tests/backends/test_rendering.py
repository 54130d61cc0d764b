"""Volume rendering: closed forms, convergence, gradients, chunks, signals that do not see each other."""

from __future__ import annotations

import math
from collections.abc import Mapping

import pytest
import torch
from torch import Tensor

from inrbench.backends.torch import rendering
from inrbench.backends.torch.rendering import composite, depths_along, render

F64 = torch.float64


class Ball:
    """Raw colour and density inside a ball at the origin, raw density -1 outside; ``asked`` counts points."""

    num_samples = 64
    takes_directions = False
    to_unit = (1.0, 0.0)

    def __init__(self, radius: float = 1.0) -> None:
        self.radius, self.asked = radius, 0

    def init(self, generator: torch.Generator) -> dict[str, Tensor]:
        return {"raw": torch.randn(4, generator=generator, dtype=F64)}

    def apply(self, arrays: Mapping[str, Tensor], coords: Tensor) -> Tensor:
        self.asked += coords.shape[-2]
        inside = (coords.square().sum(-1, keepdim=True) < self.radius**2).to(coords)
        raw = arrays["raw"].unsqueeze(-2)
        outside = torch.tensor([0.0, 0.0, 0.0, -1.0], dtype=coords.dtype)
        return inside * raw + (1.0 - inside) * outside

    def radiance(self, raw: Tensor) -> tuple[Tensor, Tensor]:
        return torch.sigmoid(raw[..., :3]), self.density(raw)

    def density(self, raw: Tensor) -> Tensor:
        return torch.relu(raw[..., 3])

    def convention(self) -> dict[str, str]:
        return {}

    def flops(self, points: int) -> float:
        return 0.0


class Waves(Ball):
    """Two layers of sines with a density that is 0 in about half of space; per signal where its arrays are."""

    def init(self, generator: torch.Generator) -> dict[str, Tensor]:
        first = 2.0 * torch.randn(8, 3, generator=generator, dtype=F64)
        return {"first": first, "second": torch.randn(4, 8, generator=generator, dtype=F64)}

    def apply(self, arrays: Mapping[str, Tensor], coords: Tensor) -> Tensor:
        self.asked += coords.shape[-2]
        return torch.sin(coords @ arrays["first"].mT) @ arrays["second"].mT


def rays(count: int = 5, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.manual_seed(seed)
    origins = torch.tensor([0.0, 0.0, 4.0], dtype=F64) + 0.1 * torch.randn(count, 3, generator=generator, dtype=F64)
    directions = torch.tensor([0.0, 0.0, -1.0], dtype=F64) + 0.1 * torch.randn(count, 3, generator=generator, dtype=F64)
    return origins, directions


def several(field: Ball, signals: int) -> dict[str, Tensor]:
    drawn = [field.init(torch.manual_seed(seed)) for seed in range(signals)]
    return {name: torch.stack([one[name] for one in drawn]) for name in drawn[0]}


def logit(value: float) -> float:
    return math.log(value / (1.0 - value))


# ------------------------------------------------------------------ closed forms


@pytest.mark.parametrize("sigma", [0.3, 2.0])
def test_a_homogeneous_ball_dims_by_the_length_of_the_chord(sigma: float) -> None:
    """C = (1 - exp(-σ l)) c + exp(-σ l) b, where l is the chord in lengths of the ray's direction."""
    colour, background = [0.2, 0.5, 0.9], 0.75
    arrays = {"raw": torch.tensor([*map(logit, colour), sigma], dtype=F64)}
    offsets = torch.tensor([0.0, 0.3, 0.6, 0.9, 1.2], dtype=F64)
    origins = torch.stack([offsets, torch.zeros(5, dtype=F64), torch.full((5,), 4.0, dtype=F64)], dim=-1)
    directions = torch.tensor([0.0, 0.0, -1.0], dtype=F64).expand(5, 3)
    dimmed = torch.exp(-sigma * 2.0 * (1.0 - offsets.square()).clamp_min(0.0).sqrt()).unsqueeze(-1)
    expected = (1.0 - dimmed) * torch.tensor(colour, dtype=F64) + dimmed * background
    errors = []
    for samples in (64, 512, 4096):
        found = render(Ball(), arrays, origins, directions, 2.0, 6.0, background, samples)
        assert found.shape == (1, 5, 3)
        errors.append(float((found[0] - expected).abs().max()))
    assert errors[0] < 0.1
    assert errors[1] < errors[0] / 3
    assert errors[2] < min(errors[1] / 3, 2e-3)  # an edge is found to within a step: the error falls as 1 / samples


def test_lengths_count_in_those_of_the_direction() -> None:
    """Transmittance along a direction twice as long, from half as near to half as far, is that at half the density."""
    arrays = {"raw": torch.tensor([0.0, 0.0, 0.0, 2.0], dtype=F64)}
    half = {"raw": torch.tensor([0.0, 0.0, 0.0, 1.0], dtype=F64)}
    origins, directions = rays()
    long = render(Ball(), arrays, origins, 2.0 * directions, 1.0, 3.0, 1.0, 4096)
    short = render(Ball(), half, origins, directions, 2.0, 6.0, 1.0, 4096)
    torch.testing.assert_close(long, short, rtol=0, atol=2e-3)


def test_a_slab_between_two_samples_is_exact() -> None:
    """Density from depth 3 to 5 along the axis, samples at 2, 3, 4, 5, 6: two whole steps of length 1 see it."""

    class Slab(Ball):
        def apply(self, arrays: Mapping[str, Tensor], coords: Tensor) -> Tensor:
            depth = 4.0 - coords[..., 2:]
            inside = ((depth > 2.5) & (depth < 4.5)).to(coords)
            return torch.cat([coords.new_zeros(*coords.shape[:-1], 3), 0.7 * inside], dim=-1)

    origins = torch.tensor([[0.0, 0.0, 4.0]], dtype=F64)
    directions = torch.tensor([[0.0, 0.0, -1.0]], dtype=F64)
    found = render(Slab(), {}, origins, directions, 2.0, 6.0, 0.0, 5)
    assert found.flatten().tolist() == pytest.approx([0.5 * (1.0 - math.exp(-1.4))] * 3, abs=1e-12)


def test_the_sum_by_hand() -> None:
    """Three samples with steps 0.5, 2 and 1: weights T_i (1 - exp(-σ_i δ_i))."""
    density = torch.tensor([[1.0, 0.5, 3.0]], dtype=F64)
    colour = torch.tensor([[[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]], dtype=F64)
    found = composite(colour, density, torch.tensor([0.5, 2.0, 1.0], dtype=F64), 0.25)
    alphas = [1.0 - math.exp(-0.5), 1.0 - math.exp(-1.0), 1.0 - math.exp(-3.0)]
    through = [1.0, math.exp(-0.5), math.exp(-1.5), math.exp(-4.5)]
    expected = [t * a + 0.25 * through[3] for t, a in zip(through, alphas, strict=False)]
    assert found[0].tolist() == pytest.approx(expected, abs=1e-12)


def test_empty_space_is_the_background_exactly_and_an_opaque_field_hides_it() -> None:
    origins, directions = (one.float() for one in rays())
    empty = {"raw": torch.tensor([5.0, -5.0, 0.3, -2.0])}
    found = render(Ball(9.0), empty, origins, directions, 2.0, 6.0, 0.3, 64)
    assert torch.equal(found, torch.full((1, 5, 3), 0.3))
    opaque = {"raw": torch.tensor([logit(0.25)] * 3 + [1e4])}
    found = render(Ball(9.0), opaque, origins, directions, 2.0, 6.0, 1.0, 64)
    torch.testing.assert_close(found, torch.full_like(found, 0.25), rtol=0, atol=1e-6)


def test_a_field_of_the_backgrounds_colour_cannot_be_seen() -> None:
    arrays = several(Waves(), 1)
    origins, directions = rays()

    class Grey(Waves):
        def radiance(self, raw: Tensor) -> tuple[Tensor, Tensor]:
            return torch.full_like(raw[..., :3], 0.6), self.density(raw)

    found = render(Grey(), arrays, origins, directions, 2.0, 6.0, 0.6, 64)
    torch.testing.assert_close(found, torch.full_like(found, 0.6), rtol=0, atol=1e-12)


# ------------------------------------------------------------------ directions


class Headlight(Waves):
    """Its colour and density depend on the direction that it is seen in."""

    takes_directions = True

    def init(self, generator: torch.Generator) -> dict[str, Tensor]:
        arrays = super().init(generator)
        return {**arrays, "first": torch.cat([arrays["first"], arrays["first"].flip(-1)], dim=-1)}


@pytest.mark.parametrize("signals", [1, 3])
def test_a_field_that_takes_directions_is_given_those_of_length_one(signals: int) -> None:
    field = Headlight()
    arrays = several(field, signals)
    origins, directions = rays()
    found = render(field, arrays, origins, directions, 2.0, 6.0, 1.0, 16)
    depths = torch.linspace(2.0, 6.0, 16, dtype=F64)
    unit = directions / directions.square().sum(-1, keepdim=True).sqrt()
    for ray in range(len(origins)):
        places = origins[ray] + depths[:, None] * directions[ray]
        raw = field.apply(arrays, torch.cat([places, unit[ray].expand(16, 3)], dim=-1))
        steps = torch.full((16,), 4.0 / 15, dtype=F64)
        steps[-1] = 1e-3
        expected = composite(*field.radiance(raw.reshape(signals, 16, 4)), steps, 1.0)
        torch.testing.assert_close(found[:, ray], expected, rtol=0, atol=1e-12)
    leaves = {name: array.clone().requires_grad_() for name, array in arrays.items()}
    torch.testing.assert_close(
        render(field, leaves, origins, directions, 2.0, 6.0, 1.0, 16).detach(), found, rtol=0, atol=1e-12
    )


# ------------------------------------------------------------------ samples


def test_samples_lie_from_near_to_far_and_the_last_step_is_closed() -> None:
    depths, steps = depths_along(torch.zeros(2, 3), 2.0, 6.0, 5)
    assert depths.tolist() == [[2.0, 3.0, 4.0, 5.0, 6.0]] * 2
    assert steps.tolist() == [[1.0, 1.0, 1.0, 1.0, pytest.approx(1e-3)]] * 2
    fine, _ = depths_along(torch.zeros(1, 3, dtype=F64), 2.0, 6.0, 4)
    assert fine.tolist() == [pytest.approx([2.0, 10 / 3, 14 / 3, 6.0], abs=1e-12)]


def test_jitter_moves_each_sample_evenly_within_its_own_bin() -> None:
    depths, steps = depths_along(torch.zeros(4000, 3), 2.0, 6.0, 5, torch.manual_seed(0))
    moved = depths - torch.tensor([2.0, 3.0, 4.0, 5.0, 6.0])
    assert float(moved.min()) >= 0.0
    assert float(moved.max()) < 1.0
    torch.testing.assert_close(moved.mean(0), torch.full((5,), 0.5), rtol=0, atol=0.03)
    torch.testing.assert_close(moved.var(0), torch.full((5,), 1 / 12), rtol=0, atol=0.01)
    torch.testing.assert_close(steps[:, :-1], depths[:, 1:] - depths[:, :-1])
    assert steps[:, -1].unique().tolist() == [pytest.approx(1e-3)]


def test_jitter_comes_from_its_generator_alone_and_is_the_same_for_all_signals() -> None:
    field, (origins, directions) = Waves(), rays()
    arrays = several(field, 2)
    same = {name: array[:1].expand_as(array) for name, array in arrays.items()}

    def drawn(seed: int) -> Tensor:
        return render(field, same, origins, directions, 2.0, 6.0, 1.0, 64, torch.Generator().manual_seed(seed))

    torch.testing.assert_close(drawn(1)[0], drawn(1)[1], rtol=0, atol=1e-12)
    assert torch.equal(drawn(1), drawn(1))
    assert not torch.equal(drawn(1), drawn(2))


# ------------------------------------------------------------------ chunks and signals


def test_chunks_are_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    field, (origins, directions) = Waves(), rays(50)
    arrays = several(field, 3)
    monkeypatch.setitem(rendering.CHUNK_POINTS, "cpu", 10**9)
    whole = render(field, arrays, origins, directions, 2.0, 6.0, 1.0, 32, torch.manual_seed(0))
    for most in (1, 32, 700):
        monkeypatch.setitem(rendering.CHUNK_POINTS, "cpu", most)
        found = render(field, arrays, origins, directions, 2.0, 6.0, 1.0, 32, torch.manual_seed(0))
        torch.testing.assert_close(found, whole, rtol=0, atol=1e-12)


def test_memory_is_bounded_where_no_gradient_is_recorded() -> None:
    asked: list[int] = []

    class Watched(Waves):
        def apply(self, arrays: Mapping[str, Tensor], coords: Tensor) -> Tensor:
            result = super().apply(arrays, coords)
            asked.append(result.shape[0] * result.shape[1])
            return result

    origins, directions = rays(300)
    render(Watched(), several(Waves(), 2), origins, directions, 2.0, 6.0, 1.0, 64)
    assert sum(asked) == 2 * 300 * 64
    assert max(asked) <= 2 * rendering.CHUNK_POINTS["cpu"]
    assert max(asked[1:]) <= rendering.CHUNK_POINTS["cpu"]


@pytest.mark.parametrize("own_rays", [False, True])
@pytest.mark.parametrize("recorded", [False, True])
def test_a_batch_of_signals_is_each_of_them(own_rays: bool, recorded: bool) -> None:
    field = Waves()
    arrays = {name: array.requires_grad_(recorded) for name, array in several(field, 3).items()}
    each = [rays(7, seed) for seed in range(3)]
    origins, directions = (torch.stack([one[k] for one in each]) for k in (0, 1)) if own_rays else each[0]
    together = render(field, arrays, origins, directions, 2.0, 6.0, 1.0, 32)
    assert together.shape == (3, 7, 3)
    for i in range(3):
        own = each[i] if own_rays else each[0]
        for index in (i, slice(i, i + 1)):
            alone = render(field, {n: a[index] for n, a in arrays.items()}, *own, 2.0, 6.0, 1.0, 32)
            torch.testing.assert_close(alone[0], together[i], rtol=0, atol=1e-12)


def test_arrays_that_all_signals_share_have_no_signals_in_front() -> None:
    field, (origins, directions) = Waves(), rays()
    arrays = several(field, 3)
    mixed = {"first": arrays["first"][0], "second": arrays["second"]}
    apart = {"first": arrays["first"][:1].expand(3, -1, -1), "second": arrays["second"]}
    found, expected = (render(field, one, origins, directions, 2.0, 6.0, 1.0, 32) for one in (mixed, apart))
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)


# ------------------------------------------------------------------ gradients


def plainly(field: Ball, arrays: Mapping[str, Tensor], origins: Tensor, directions: Tensor, samples: int) -> Tensor:
    """As NeRF's eq. 3 reads, differentiated at every sample: products of transmittances."""
    depths, steps = depths_along(origins, 2.0, 6.0, samples)
    points = origins[:, None] + depths[..., None] * directions[:, None]
    raw = field.apply(arrays, points.reshape(-1, 3)).reshape(-1, len(origins), samples, 4)
    colour, density = field.radiance(raw)
    through = torch.exp(-density * steps)
    before = torch.cat([torch.ones_like(through[..., :1]), through.cumprod(-1)[..., :-1]], dim=-1)
    weights = before * (1.0 - through)
    return (weights[..., None] * colour).sum(-2) + (1.0 - weights.sum(-1, keepdim=True))


def dense(field: Ball) -> dict[str, Tensor]:
    """Two signals, of which the second is nearly opaque."""
    arrays = several(field, 2)
    arrays["second"][1, 3] *= 400.0
    return {name: array.requires_grad_() for name, array in arrays.items()}


@pytest.mark.parametrize("mostly", [0.0, 1.0])
def test_gradients_are_those_of_the_sum_at_every_sample(mostly: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rendering, "MOSTLY", mostly)
    field, (origins, directions) = Waves(), rays(40)
    arrays = dense(field)
    weights = torch.rand(2, 40, 3, generator=torch.manual_seed(1), dtype=F64)
    found, expected = (
        torch.autograd.grad((weights * image).sum(), list(arrays.values()))
        for image in (
            render(field, arrays, origins, directions, 2.0, 6.0, 1.0, 48),
            plainly(field, arrays, origins, directions, 48),
        )
    )
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-11)


def test_second_derivatives_are_those_of_the_sum_at_every_sample() -> None:
    field, (origins, directions) = Waves(), rays(20)
    arrays = dense(field)
    found, expected = [], []
    for image, into in (
        (render(field, arrays, origins, directions, 2.0, 6.0, 1.0, 24), found),
        (plainly(field, arrays, origins, directions, 24), expected),
    ):
        gradients = torch.autograd.grad(image.square().sum(), list(arrays.values()), create_graph=True)
        norm = sum(gradient.square().sum() for gradient in gradients)
        into += torch.autograd.grad(norm, list(arrays.values()))
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-10)


def test_gradients_are_finite_differences() -> None:
    field, (origins, directions) = Waves(), rays(3)
    arrays = several(field, 1)
    names = list(arrays)

    def image(*values: Tensor) -> Tensor:
        return render(field, dict(zip(names, values, strict=True)), origins, directions, 2.0, 6.0, 1.0, 16)

    leaves = tuple(arrays[name].requires_grad_() for name in names)
    assert torch.autograd.gradcheck(image, leaves, eps=1e-7, atol=1e-5)


def test_gradients_reach_the_rays() -> None:
    field, arrays = Waves(), several(Waves(), 1)
    origins, directions = (one.requires_grad_() for one in rays(3))

    def image(origins: Tensor, directions: Tensor) -> Tensor:
        return render(field, arrays, origins, directions, 2.0, 6.0, 1.0, 16)

    assert torch.autograd.gradcheck(image, (origins, directions), eps=1e-7, atol=1e-5)


def test_a_field_is_differentiated_only_where_samples_contribute() -> None:
    """Of 64 samples a ray those inside the ball have a density, and of an opaque one about one is seen."""
    recorded: list[int] = []

    class Watched(Ball):
        def apply(self, arrays: Mapping[str, Tensor], coords: Tensor) -> Tensor:
            result = super().apply(arrays, coords)
            if result.requires_grad:
                recorded.append(coords.shape[-2])
            return result

    origins, directions = rays(10)
    origins[:, :2], directions[:, :2] = 0.0, 0.0
    directions[:, 2] = -1.0
    for density, low, high in ((0.5, 300, 330), (1e3, 10, 20), (-1.0, 1, 1)):
        arrays = {"raw": torch.tensor([0.1, 0.2, 0.3, density], dtype=F64, requires_grad=True)}
        image = render(Watched(), arrays, origins, directions, 2.0, 6.0, 1.0, 64)
        (gradient,) = torch.autograd.grad(image.sum(), list(arrays.values()))
        assert gradient.isfinite().all()
        assert bool(gradient.any()) == (density > 0)
        assert low <= recorded.pop() <= high
        assert not recorded
