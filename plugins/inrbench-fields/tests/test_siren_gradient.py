"""A SIREN's own loss, gradient and Hessian product: against autograd, finite differences, and each other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import pytest
import torch
from inrbench_fields.settings import SirenSettings
from inrbench_fields.siren import Siren
from torch import Tensor

from inrbench.backends.torch.fields import DifferentiatedField, Field, loss_and_gradient
from inrbench.signals import PartSpec, SignalSpec

SIGNALS, POINTS, WIDTH = 3, 17, 7
Tensors = dict[str, Tensor]
Kind = Literal[
    "shared output", "own output", "own output and scale", "some arrays", "last layer", "no array", "no array at all"
]


class Plain:
    """A field with Field's methods alone, so that its gradient is autograd's."""

    def __init__(self, field: Siren) -> None:
        self.to_unit, self.init, self.apply = field.to_unit, field.init, field.apply
        self.convention, self.flops = field.convention, field.flops


@dataclass
class Case:
    """A field, its arrays, coordinates, targets, and a cotangent for the loss and each gradient, all in float64."""

    field: Siren
    arrays: Tensors
    own: list[str]  # the arrays that have signals in front
    adapted: list[str]  # the same, or arrays that are still the same for all signals
    coords: Tensor
    target: Tensor
    to_loss: Tensor
    direction: Tensors

    def found(
        self, dtype: torch.dtype, field: Field | None = None, adapted: Sequence[str] | None = None, **how: Any
    ) -> tuple[Tensor, Tensors, Tensors]:
        """(loss, gradients, the arrays that they were recorded for) in ``dtype``."""
        arrays = {name: array.to(dtype).requires_grad_() for name, array in self.arrays.items()}
        names = self.adapted if adapted is None else adapted
        given = dict(arrays)
        if field is not None:  # autograd tells the signals apart only where each has arrays of its own
            given |= {n: given[n].expand(len(self.target), *given[n].shape) for n in names if n not in self.own}
        loss, gradients = loss_and_gradient(
            field or self.field, given, self.coords.to(dtype), self.target.to(dtype), names, **how
        )
        return loss, gradients, arrays

    def scalar(self, loss: Tensor, gradients: Tensors, parts: str = "both") -> Tensor:
        """⟨to_loss, loss⟩, ⟨direction, gradients⟩, their sum, or what one array alone adds to it."""
        total = torch.zeros((), dtype=loss.dtype)
        if parts in ("both", "loss"):
            total = total + (loss * self.to_loss.to(loss.dtype)).sum()
        for name in gradients:
            if parts in ("both", "gradients", name):
                total = total + (gradients[name] * self.direction[name].to(loss.dtype)).sum()
        return total


def case_of(
    depth: int = 1,
    channels: int = 3,
    omegas: tuple[float, float] = (10.0, 1.0),
    kind: Kind = "shared output",
    own_coords: bool = False,
    coord_dim: int = 2,
    *,
    signals: int = SIGNALS,
    points: int = POINTS,
    width: int = WIDTH,
) -> Case:
    spec = SignalSpec((PartSpec("points", (points,), coord_dim, channels),))
    settings = SirenSettings(
        width=width,
        depth=depth,
        omega_0=omegas[0],
        omega_hidden=omegas[1],
        output_scale=None if kind == "own output" else 0.7,
    )
    field, draw = Siren(settings, spec), torch.Generator().manual_seed(depth + 10 * channels + coord_dim)
    drawn = [{name: array.double() for name, array in field.init(draw).items()} for _ in range(signals)]
    some = {"layers.0.weight", f"layers.{depth}.bias", "output.weight"}
    own = {
        "shared output": [name for name in drawn[0] if not name.startswith("output.")],
        "some arrays": [name for name in drawn[0] if name in some],
        "last layer": [f"layers.{depth}.weight", f"layers.{depth}.bias"],
        "no array": [],
        "no array at all": [],
    }.get(kind, list(drawn[0]))
    adapted = own or [name for name in drawn[0] if kind == "no array at all" or not name.startswith("output.")]

    def random(*shape: int) -> Tensor:
        return torch.rand(shape, generator=draw, dtype=torch.float64) * 2.0 - 1.0

    arrays = {name: torch.stack([one[name] for one in drawn]) if name in own else drawn[0][name] for name in drawn[0]}
    if "output.scale" in own:
        arrays["output.scale"] = 0.7 + 0.2 * random(signals, channels)
    coords = random(signals, points, coord_dim) if own_coords else random(points, coord_dim)
    direction = {name: random(signals, *drawn[0][name].shape) for name in adapted}
    return Case(field, arrays, own, adapted, coords, random(signals, points, channels), random(signals), direction)


OWN: tuple[Kind, ...] = ("shared output", "own output", "own output and scale", "some arrays", "last layer")
KINDS: tuple[Kind, ...] = (*OWN, "no array", "no array at all")
own_or_not = pytest.mark.parametrize("own_coords", [False, True], ids=["one set of points", "points of each signal"])


def derivatives(scalar: Tensor, arrays: Tensors) -> Tensors:
    found = torch.autograd.grad(scalar, list(arrays.values()), allow_unused=True, materialize_grads=True)
    return dict(zip(arrays, found, strict=True))


def distance(found: Tensor, expected: Tensor) -> float:
    """‖found − expected‖ / ‖expected‖."""
    assert found.shape == expected.shape
    scale = float(expected.detach().double().norm())
    assert scale > 1e-9  # there is something to compare
    return float((found.detach().double() - expected.detach().double()).norm()) / scale


def everything(case: Case, dtype: torch.dtype, field: Field | None = None, **how: Any) -> Tensors:
    """The loss, each gradient, and the derivatives of both to every array, by name."""
    loss, gradients, arrays = case.found(dtype, field, **how)
    found = derivatives(case.scalar(loss, gradients), arrays)
    return {
        "loss": loss,
        **{f"gradient {n}": g for n, g in gradients.items()},
        **{f"product {n}": d for n, d in found.items()},
    }


def test_a_siren_brings_its_own_gradient_and_a_wrapped_one_does_not() -> None:
    field = case_of().field
    assert isinstance(field, DifferentiatedField)
    assert not isinstance(Plain(field), DifferentiatedField)


# ------------------------------------------------------------------ against autograd


@pytest.mark.parametrize("depth", [0, 1, 4])
@pytest.mark.parametrize(("channels", "coord_dim"), [(3, 2), (1, 3)], ids=["colours", "distances"])
@pytest.mark.parametrize("omegas", [(10.0, 1.0), (30.0, 30.0)])
@pytest.mark.parametrize("kind", KINDS)
@own_or_not
def test_loss_gradient_and_their_derivatives_are_autograds(
    depth: int, channels: int, omegas: tuple[float, float], kind: Kind, own_coords: bool, coord_dim: int
) -> None:
    case = case_of(depth, channels, omegas, kind, own_coords, coord_dim)
    expected = everything(case, torch.float64, Plain(case.field))
    in_single = everything(case, torch.float32, Plain(case.field))
    for recompute in (False, True):
        double = everything(case, torch.float64, recompute=recompute)
        single = everything(case, torch.float32, recompute=recompute)
        assert double.keys() == single.keys() == expected.keys()
        for name, value in expected.items():
            assert distance(double[name], value) < 1e-10, name
            # sines of large arguments lose digits in any form; a few numbers that sum up all others lose most
            limit = 1e-5 if value.numel() > SIGNALS * channels else 1e-4
            assert distance(single[name], value) < max(limit, 2.0 * distance(in_single[name], value)), name


@pytest.mark.parametrize("kind", ["own output", "no array at all"])
def test_a_frequency_of_200_throughout_loses_nothing(kind: Kind) -> None:
    case = case_of(3, 3, (200.0, 200.0), kind)  # Learned Init's
    found, expected = (everything(case, torch.float64, field) for field in (None, Plain(case.field)))
    for name, value in expected.items():
        assert distance(found[name], value) < 1e-10, name


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("recompute", [False, True])
def test_each_cotangent_alone_gives_what_autograd_gives(kind: Kind, recompute: bool) -> None:
    case = case_of(2, 3, kind=kind, own_coords=True)
    for parts in ("loss", "gradients", *case.adapted):
        by_form = []
        for field in (case.field, Plain(case.field)):
            loss, gradients, arrays = case.found(torch.float64, field, recompute=recompute)
            by_form.append(derivatives(case.scalar(loss, gradients, parts), arrays))
        found, expected = by_form
        for name in case.arrays:
            assert distance(found[name], expected[name]) < 1e-10, (parts, name)


@pytest.mark.parametrize("kind", ["no array", "no array at all"])
def test_arrays_that_all_share_give_what_copies_of_them_give(kind: Kind) -> None:
    case = case_of(2, kind=kind)
    copies = {n: a.expand(SIGNALS, *a.shape).clone() if n in case.adapted else a for n, a in case.arrays.items()}
    apart = Case(case.field, copies, *[case.adapted] * 2, case.coords, case.target, case.to_loss, case.direction)
    shared, each = everything(case, torch.float64), everything(apart, torch.float64)
    for name, value in shared.items():
        of = each[name].sum(0) if name.startswith("product") and name.split()[1] in case.adapted else each[name]
        assert distance(value, of) < 1e-12, name


def test_only_what_is_adapted_comes_back_and_in_that_order() -> None:
    case = case_of(2, kind="own output and scale")
    names = ["output.scale", "layers.1.bias", "layers.0.weight"]
    loss, gradients, arrays = case.found(torch.float64, adapted=names)
    expected_loss, expected, plain_arrays = case.found(torch.float64, Plain(case.field), adapted=names)
    assert list(gradients) == list(expected) == names
    for name in names:
        assert distance(gradients[name], expected[name]) < 1e-12
    found = derivatives(case.scalar(loss, gradients), arrays)
    for name, product in derivatives(case.scalar(expected_loss, expected), plain_arrays).items():
        assert distance(found[name], product) < 1e-10, name


def test_the_loss_is_the_mean_over_points_and_channels() -> None:
    case = case_of(2)
    loss, _, _ = case.found(torch.float64)
    output = case.field.apply(case.arrays, case.coords)
    expected = (output - case.target).square().sum((1, 2)) / (POINTS * 3)
    torch.testing.assert_close(loss.detach(), expected, rtol=1e-13, atol=0)


@pytest.mark.parametrize(
    ("coordinates", "scale", "shift"),
    [("corners", (4 / 3, 5 / 4), (0.0, 0.0)), ("unit-corners", (0.5, 0.5), (0.5 - 1 / 8, 0.5 - 1 / 10))],
)
def test_coordinates_are_placed_in_the_frame_of_the_settings(
    coordinates: Any, scale: tuple[float, float], shift: tuple[float, float]
) -> None:
    spec = SignalSpec((PartSpec("grid", (4, 5), 2, 1),))
    field = Siren(SirenSettings(width=WIDTH, depth=1, coordinates=coordinates), spec)
    other = Siren(SirenSettings(width=WIDTH, depth=1), spec)
    case = case_of(1, 1)
    arrays = {n: a for n, a in case.arrays.items() if n != "output.scale"}
    placed = case.coords * torch.tensor(scale, dtype=torch.float64) + torch.tensor(shift, dtype=torch.float64)
    with torch.no_grad():
        one, _ = field.loss_and_gradient(arrays, case.coords, case.target, case.own)
        same, _ = other.loss_and_gradient(arrays, placed, case.target, case.own)
        centred, _ = other.loss_and_gradient(arrays, case.coords, case.target, case.own)
    torch.testing.assert_close(one, same, rtol=1e-6, atol=0)
    assert distance(centred, one) > 1e-3


# ------------------------------------------------------------------ against finite differences


def slope(value: Callable[[float], Tensor], step: float = 1e-4) -> Tensor:
    """The derivative of ``value`` at 0, by central differences of fourth order."""
    return (8.0 * (value(step) - value(-step)) - (value(2 * step) - value(-2 * step))) / (12.0 * step)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("depth", "omegas"), [(0, (10.0, 1.0)), (3, (10.0, 1.0)), (2, (5.0, 5.0))])
def test_gradient_and_product_are_those_of_finite_differences(
    kind: Kind, depth: int, omegas: tuple[float, float]
) -> None:
    case = case_of(depth, 2, omegas, kind)
    loss, gradients, arrays = case.found(torch.float64)
    products = derivatives(case.scalar(loss, gradients), arrays)

    def moved(name: str, along: Tensor, step: float) -> tuple[Tensor, Tensors]:
        there = {**case.arrays, name: case.arrays[name] + step * along}
        with torch.no_grad():
            return case.field.loss_and_gradient(there, case.coords, case.target, case.adapted)

    for name, array in case.arrays.items():
        along = torch.randn(array.shape, generator=torch.manual_seed(1), dtype=torch.float64)

        def losses(step: float, name: str = name, along: Tensor = along) -> Tensor:
            return moved(name, along, step)[0]

        def scalar(step: float, name: str = name, along: Tensor = along) -> Tensor:
            return case.scalar(*moved(name, along, step))

        if name in case.adapted:
            expected = (gradients[name].detach() * along).flatten(1).sum(1)
            torch.testing.assert_close(slope(losses), expected, rtol=1e-7, atol=1e-9, msg=name)
        expected = (products[name] * along).sum()
        assert float(expected.abs()) > 1e-5
        torch.testing.assert_close(slope(scalar), expected, rtol=1e-7, atol=1e-9, msg=name)


@pytest.mark.parametrize("kind", OWN)
@own_or_not
@pytest.mark.parametrize(("depth", "omegas"), [(0, (10.0, 1.0)), (4, (10.0, 1.0)), (2, (30.0, 30.0))])
def test_the_second_derivatives_are_symmetric(
    kind: Kind, own_coords: bool, depth: int, omegas: tuple[float, float]
) -> None:
    case = case_of(depth, 3, omegas, kind, own_coords)
    v = case.direction
    w = {n: torch.randn(a.shape, generator=torch.manual_seed(2), dtype=torch.float64) for n, a in v.items()}

    def product(direction: Tensors, against: Tensors) -> Tensor:
        _, gradients, arrays = case.found(torch.float64)
        along = torch.stack([(gradients[name] * direction[name]).sum() for name in case.own]).sum()
        found = derivatives(along, arrays)
        return torch.stack([(found[name] * against[name]).sum() for name in case.own]).sum()

    one, other = product(v, w), product(w, v)
    assert float(one.abs()) > 1e-9
    torch.testing.assert_close(one, other, rtol=1e-9, atol=0)


# ------------------------------------------------------------------ signals by themselves


@own_or_not
def test_a_signal_in_a_batch_is_that_signal_alone(own_coords: bool) -> None:
    case = case_of(2, kind="own output and scale", own_coords=own_coords)
    together = everything(case, torch.float64)
    for i in range(SIGNALS):
        one = slice(i, i + 1)
        alone = Case(
            case.field,
            {name: array[one] for name, array in case.arrays.items()},
            case.own,
            case.adapted,
            case.coords[one] if own_coords else case.coords,
            case.target[one],
            case.to_loss[one],
            {name: array[one] for name, array in case.direction.items()},
        )
        for name, value in everything(alone, torch.float64).items():
            assert distance(together[name][one], value) < 1e-12, name


def test_no_signal_influences_another() -> None:
    case = case_of(2, kind="own output and scale")
    case.to_loss[1:] = 0.0
    for array in case.direction.values():
        array[1:] = 0.0
    products = {n: value for n, value in everything(case, torch.float64).items() if n.startswith("product")}
    assert len(products) == len(case.arrays)
    for name, value in products.items():
        assert value[0].abs().max() > 1e-9, name
        assert not value[1:].any(), name


# ------------------------------------------------------------------ what is kept, and what is refused


@pytest.mark.parametrize("kind", KINDS)
@own_or_not
@pytest.mark.parametrize("depth", [0, 1, 4])
@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16], ids=["float32", "bfloat16"])
def test_recomputing_gives_the_same_bits(kind: Kind, own_coords: bool, depth: int, precision: torch.dtype) -> None:
    case = case_of(depth, kind=kind, own_coords=own_coords)
    stored = everything(case, torch.float32, precision=precision)
    again = everything(case, torch.float32, recompute=True, precision=precision)
    for name, value in stored.items():
        assert torch.equal(value, again[name]), name


def kept_bytes(work: Callable[[], Any]) -> int:
    """Bytes of all that autograd keeps for the backward passes of ``work``, each storage once."""
    storages: dict[int, int] = {}
    kept: list[Tensor] = []  # so that no address is used twice

    def pack(value: Tensor) -> Tensor:
        kept.append(value)
        storages[value.untyped_storage().data_ptr()] = value.untyped_storage().nbytes()
        return value

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda value: value):
        result = work()
    del result
    return sum(storages.values())


def test_recomputing_keeps_less_than_half_for_the_backward_pass() -> None:
    case = case_of(4, points=256, width=16)
    stored, again = (kept_bytes(lambda r=r: case.found(torch.float32, recompute=r)) for r in (False, True))  # type: ignore[misc]
    layer = 4 * SIGNALS * 256 * 16
    assert stored > 3 * 5 * layer  # sine, cosine and what is pulled back, of each of the five sine layers
    assert again < stored / 2
    assert again < 5 * layer


@pytest.mark.parametrize("form", ["its own", "autograd's"])
@pytest.mark.parametrize("recompute", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_without_recorded_gradients_the_values_are_the_same_and_nothing_is_kept(
    kind: Kind, form: str, recompute: bool
) -> None:
    case = case_of(2, kind=kind)
    field = None if form == "its own" else Plain(case.field)
    recorded_loss, recorded, _ = case.found(torch.float32, field, recompute=recompute)
    assert recorded_loss.requires_grad
    with torch.no_grad():
        loss, gradients, _ = case.found(torch.float32, field, recompute=recompute)
        if form == "its own":
            assert kept_bytes(lambda: case.found(torch.float32, field, recompute=recompute)) == 0
    assert torch.equal(loss, recorded_loss)
    assert list(gradients) == case.adapted
    for name in case.adapted:
        assert torch.equal(gradients[name], recorded[name])
        assert gradients[name].shape == case.direction[name].shape  # signals in front
    assert not any(value.requires_grad or value.grad_fn is not None for value in (loss, *gradients.values()))


def test_nothing_that_was_given_is_changed() -> None:
    case = case_of(2, kind="own output and scale")
    before = {"coords": case.coords.clone(), "target": case.target.clone()}
    before |= {f"array {n}": a.clone() for n, a in case.arrays.items()}
    before |= {f"direction {n}": a.clone() for n, a in case.direction.items()}
    loss, gradients, arrays = case.found(torch.float64)
    kept = {n: g.detach().clone() for n, g in gradients.items()}
    scalar = case.scalar(loss, gradients)
    first = torch.autograd.grad(scalar, list(arrays.values()), retain_graph=True)
    second = torch.autograd.grad(scalar, list(arrays.values()))
    assert all(torch.equal(one, other) for one, other in zip(first, second, strict=True))
    assert all(torch.equal(gradients[n], value) for n, value in kept.items())
    now = {"coords": case.coords, "target": case.target}
    now |= {f"array {n}": a for n, a in case.arrays.items()} | {f"direction {n}": a for n, a in case.direction.items()}
    assert all(torch.equal(now[name], value) for name, value in before.items())


def once_more(case: Case, parts: str, vary: bool) -> tuple[Tensor, Tensors]:
    """The squared norm of a derivative of ``parts``, made to be differentiated again; and of the arrays themselves."""
    loss, gradients, arrays = case.found(torch.float64)
    if vary:  # a direction that itself has gradients
        case.direction = {name: array.requires_grad_() for name, array in case.direction.items()}
    found = torch.autograd.grad(case.scalar(loss, gradients, parts), list(arrays.values()), create_graph=True)
    own = torch.stack([array.square().sum() for array in arrays.values()]).sum()
    return torch.stack([value.square().sum() for value in found]).sum() + own, arrays


@pytest.mark.parametrize("vary", [False, True], ids=["constant direction", "direction with gradients"])
@pytest.mark.parametrize("parts", ["loss", "gradients", "both"])
def test_a_derivative_that_is_not_written_out_is_refused(parts: str, vary: bool) -> None:
    scalar, arrays = once_more(case_of(1), parts, vary)
    with pytest.raises(RuntimeError, match="can be differentiated once, and not twice"):
        torch.autograd.grad(scalar, list(arrays.values()), allow_unused=True)


# ------------------------------------------------------------------ in bfloat16


@pytest.mark.parametrize("recompute", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_products_in_bfloat16_are_those_of_float32_up_to_its_digits(kind: Kind, recompute: bool) -> None:
    case = case_of(2, kind=kind, points=64, width=16)
    full = everything(case, torch.float32)
    low = everything(case, torch.float32, recompute=recompute, precision=torch.bfloat16)
    for name, value in full.items():
        assert low[name].dtype == torch.float32, name
        assert distance(low[name], value) < 0.1, name
    assert not torch.equal(low[f"gradient {case.adapted[0]}"], full[f"gradient {case.adapted[0]}"])


def test_autograds_form_takes_the_precision_too() -> None:
    case = case_of(2, points=64, width=16)
    full = everything(case, torch.float32, Plain(case.field))
    low = everything(case, torch.float32, Plain(case.field), precision=torch.bfloat16)
    for name, value in full.items():
        assert low[name].dtype == torch.float32, name
        assert 0.0 < distance(low[name], value) < 0.1, name


@pytest.mark.parametrize("form", ["its own", "autograd's"])
def test_an_autocast_around_it_does_not_choose_the_precision(form: str) -> None:
    case = case_of(2)
    field = None if form == "its own" else Plain(case.field)
    outside, gradients, _ = case.found(torch.float32, field)
    with torch.autocast("cpu", torch.bfloat16):
        inside, within, _ = case.found(torch.float32, field)
    assert torch.equal(outside, inside)
    assert all(torch.equal(gradients[name], within[name]) for name in case.own)
