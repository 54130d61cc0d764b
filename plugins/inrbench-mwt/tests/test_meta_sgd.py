"""Meta-SGD: its steps by hand, its gradients against two passes, finite differences and the vector-Jacobian form."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from inrbench_mwt.meta_sgd import adapt
from torch import Tensor

from inrbench import draws
from inrbench.backends.torch.fields import coords_of
from inrbench.backends.torch.joint import scale_gradient, train_jointly
from inrbench.backends.torch.observed import GridOfSignals
from inrbench.cell_run import CellRun
from inrbench.cells import resolve
from inrbench.domains import Grid
from inrbench.interfaces import Head
from inrbench.representations import Representations
from inrbench.settings import SignalTrainingSettings
from inrbench.signals import GridSignals

SMALL: dict[str, Any] = {
    "inr": {"width": 5, "depth": 2},
    "fitter": {"steps": 3, "shard": 16},
    "reader": {"blocks": 2, "head_dim": 64},
}
GRID = Grid.of(8, 8)
Tensors = Mapping[str, Tensor]


def build(**fitter: Any) -> tuple[Any, Any]:
    """A small fitter and reader with MWT's settings, drawn with seed 0."""
    built = resolve("mwt", "digits", overrides=[SMALL, {"fitter": fitter}]).build()
    run = CellRun(0)
    built.fitter.start(run)  # type: ignore[attr-defined]
    built.reader.start(run)  # type: ignore[union-attr]
    return built.fitter, built.reader


def signals(count: int, seed: int = 0) -> GridSignals:
    rng = draws.generator(seed, "signals")
    return GridSignals(rng.integers(0, 256, (count, 8, 8, 1), dtype=np.uint8), np.arange(count) % 10)


def observed(values: Tensor, coords: Tensor) -> GridOfSignals:
    """Signals 0, 1, ... with all of their points."""
    return GridOfSignals(np.arange(len(values)), coords, values, lambda one: draws.generator(0, "points", one))


@dataclass
class Double:
    """The small fitter and reader in float64, with values, coordinates and labels of three signals."""

    fitter: Any
    reader: Any
    values: Tensor
    coords: Tensor
    labels: Tensor
    field: dict[str, Tensor]  # theta/..., shared/...
    rates: dict[str, Tensor]

    @property
    def observed(self) -> GridOfSignals:
        """The three signals as a fitter sees them."""
        return observed(self.values, self.coords)

    @property
    def parameters(self) -> dict[str, Tensor]:
        """All that the fitter learns."""
        return {**self.field, **{f"rates/{name}": value for name, value in self.rates.items()}}

    def losses(self, share: float | None = None) -> tuple[Tensor, Tensor]:
        """(reconstruction, cross-entropy); with ``share`` the second as joint training makes it."""
        rng = draws.generator(0, "step")
        loss, rows, _ = self.fitter.loss(self.observed)
        if share is not None:
            rows = {name: scale_gradient(row, share) for name, row in rows.items()}
        return loss, self.reader.loss(rows, self.labels, rng)[0]

    def part(self, prefix: str) -> dict[str, Tensor]:
        return {n.removeprefix(prefix): v for n, v in self.field.items() if n.startswith(prefix)}


@pytest.fixture(params=["per-step", "shared"])
def double(request: pytest.FixtureRequest) -> Double:
    fitter, reader = build(rates=request.param)
    fitter.load({name: array.astype(np.float64) for name, array in fitter.state().items()})
    field, rates = fitter.groups("cpu")
    reader.network.double()
    with torch.no_grad():  # a β that is not zero, and rates of both signs
        reader.network.beta.copy_(0.01 * torch.randn(reader.network.beta.shape, generator=torch.manual_seed(1)))
        for array in rates.parameters.values():
            array.flatten()[0] = -0.2
    values = torch.rand(3, 64, 1, generator=torch.manual_seed(2), dtype=torch.float64)
    coords = coords_of(GRID, "cpu").double()
    labels = torch.tensor([3, 1, 4])
    return Double(fitter, reader, values, coords, labels, dict(field.parameters), dict(rates.parameters))


def gradients(loss: Tensor, parameters: Tensors) -> dict[str, Tensor]:
    found = torch.autograd.grad(loss, list(parameters.values()), retain_graph=True, allow_unused=True)
    return {n: torch.zeros_like(p) if g is None else g for (n, p), g in zip(parameters.items(), found, strict=True)}


def assert_same(found: Tensors, expected: Tensors, *, tolerance: float) -> None:
    assert set(found) == set(expected)
    for name in expected:
        scale = max(1.0, float(expected[name].detach().abs().max()))
        assert (found[name] - expected[name]).abs().max() <= tolerance * scale, name


# ------------------------------------------------------------------ one plain signal, written out


def plain_field(arrays: Tensors, coords: Tensor) -> Tensor:
    """MWT's SIREN of one signal: ω = 10 in the first layer, 1 behind it; corners of an 8 x 8 grid lie at ±1."""
    hidden = torch.sin(10.0 * ((coords * 8.0 / 7.0) @ arrays["layers.0.weight"].T + arrays["layers.0.bias"]))
    for i in range(1, sum(name.startswith("layers.") for name in arrays) // 2):
        hidden = torch.sin(hidden @ arrays[f"layers.{i}.weight"].T + arrays[f"layers.{i}.bias"])
    return (hidden @ arrays["output.weight"].T + arrays["output.bias"]) * arrays["output.scale"]


def plain_phi(theta: Tensors, shared: Tensors, rates: Tensors, values: Tensor, coords: Tensor, steps: int) -> Tensors:
    """φ of one signal after the inner loop, by automatic differentiation of the plain field."""
    phi = dict(theta)
    for j in range(steps):
        inner = (plain_field({**phi, **shared}, coords) - (2.0 * values - 1.0)).square().mean()
        steepest = torch.autograd.grad(inner, list(phi.values()), create_graph=True)
        rate = {name: rates[name][j if len(rates[name]) > 1 else 0] for name in phi}
        phi = {name: phi[name] - rate[name] * g for name, g in zip(phi, steepest, strict=True)}
    return phi


# ------------------------------------------------------------------ the inner loop


def test_one_step_on_one_sine_layer_is_that_of_the_formula() -> None:
    built = resolve(
        "mwt", "digits", overrides=[SMALL, {"inr": {"width": 3, "depth": 0}, "reader": None, "joint": None}]
    )
    field = built.build().fitter.field  # type: ignore[attr-defined]
    draw = torch.manual_seed(0)

    def random(*shape: int) -> Tensor:
        return torch.rand(shape, generator=draw, dtype=torch.float64) - 0.5

    theta = {"layers.0.weight": random(3, 2), "layers.0.bias": random(3)}
    shared = {"output.weight": random(1, 3), "output.bias": random(1), "output.scale": random(1)}
    rates = {name: random(1, *value.shape) for name, value in theta.items()}
    coords, target = coords_of(GRID, "cpu").double(), random(2, 64, 1)
    (found,) = adapt(field, theta, shared, rates, [(coords, target)])

    x = coords * 8.0 / 7.0
    u = x @ theta["layers.0.weight"].T + theta["layers.0.bias"]
    f = (torch.sin(10.0 * u) @ shared["output.weight"].T + shared["output.bias"]) * shared["output.scale"]
    for signal in range(2):
        outer = 2.0 * (f - target[signal]) / 64.0 * shared["output.scale"]  # dL/d(W_out h + b_out)
        du = (outer @ shared["output.weight"]) * 10.0 * torch.cos(10.0 * u)
        expected = {
            "layers.0.weight": -rates["layers.0.weight"][0] * (du.T @ x),
            "layers.0.bias": -rates["layers.0.bias"][0] * du.sum(0),
        }
        assert_same({name: delta[signal] for name, delta in found.items()}, expected, tolerance=1e-13)


@pytest.mark.parametrize("recorded", [True, False])
def test_the_inner_loop_is_that_of_one_signal_at_a_time(double: Double, recorded: bool) -> None:
    theta, shared = double.part("theta/"), double.part("shared/")
    target = 2.0 * double.values - 1.0
    with torch.set_grad_enabled(recorded):
        *_, found = adapt(double.fitter.field, theta, shared, double.rates, [(double.coords, target)] * 3)
    for signal in range(3):
        phi = plain_phi(theta, shared, double.rates, double.values[signal], double.coords, 3)
        expected = {name: phi[name] - theta[name] for name in theta}
        assert_same({name: delta[signal] for name, delta in found.items()}, expected, tolerance=1e-11)


def test_the_adapted_arrays_are_the_sine_layers_alone() -> None:
    fitter, _ = build()
    assert set(fitter.layout.shapes) == {f"layers.{i}.{part}" for i in range(3) for part in ("weight", "bias")}
    assert fitter.layout.relative_to == "shared"
    state = fitter.state()
    assert {name for name in state if name.startswith("shared/")} == {
        "shared/output.weight",
        "shared/output.bias",
        "shared/output.scale",
    }
    assert np.all(state["shared/output.scale"] == np.float32(0.1))
    assert all(state[f"rates/{name}"].shape == (3, *shape) for name, shape in fitter.layout.shapes.items())
    rates = np.concatenate([array.ravel() for name, array in state.items() if name.startswith("rates/")])
    assert 0.1 <= rates.min() < 0.15
    assert 0.95 < rates.max() <= 1.0
    assert not any(state[f"theta/layers.{i}.bias"].any() for i in range(3))
    assert np.abs(state["theta/layers.0.weight"]).max() <= 0.5
    assert np.sqrt(6 / 5) * 0.8 < np.abs(state["theta/layers.1.weight"]).max() <= np.sqrt(6 / 5)


def test_a_row_of_rates_belongs_to_its_step() -> None:
    fitter, _ = build()
    state = dict(fitter.state())
    for name in fitter.layout.shapes:
        state[f"rates/{name}"] = state[f"rates/{name}"].copy()
        state[f"rates/{name}"][1:] = 0.0
    one, _ = build(steps=1)
    one.load(state | {f"rates/{n}": state[f"rates/{n}"][:1] for n in fitter.layout.shapes})
    fitter.load(state)
    assert_rows_equal(fitted(fitter, signals(2)), fitted(one, signals(2)), tolerance=1e-6)


def test_shared_rates_are_per_step_rates_that_agree() -> None:
    shared, _ = build(rates="shared")
    apart, _ = build(rates="per-step")
    state = dict(shared.state())
    assert all(state[f"rates/{name}"].shape == (1, *shape) for name, shape in shared.layout.shapes.items())
    shared.load(state)
    apart.load({n: np.repeat(a, 3, axis=0) if n.startswith("rates/") else a for n, a in state.items()})
    assert_rows_equal(fitted(shared, signals(2)), fitted(apart, signals(2)), tolerance=1e-6)


# ------------------------------------------------------------------ fitting and querying


def fitted(fitter: Any, these: GridSignals) -> Representations:
    return Representations.joined(fitter.fit(these.unlabelled(), CellRun(0)))


def assert_rows_equal(one: Representations, other: Representations, *, tolerance: float) -> None:
    assert list(one.ids) == list(other.ids)
    for name in one.arrays:
        np.testing.assert_allclose(one.arrays[name], other.arrays[name], rtol=0, atol=tolerance, err_msg=name)


def test_fit_gives_what_training_differentiates() -> None:
    fitter, _ = build()
    these = signals(3)
    rows = fitted(fitter, these)
    fitter.groups("cpu")
    values = torch.as_tensor(these.values).float().div(255).reshape(3, 64, 1)
    _, delta, _ = fitter.loss(observed(values, coords_of(GRID, "cpu")))
    for name, array in rows.arrays.items():
        np.testing.assert_allclose(array, delta[name].detach().numpy(), rtol=0, atol=2e-6)


def test_a_representation_does_not_depend_on_what_it_is_fitted_with() -> None:
    fitter, _ = build(shard=2)
    these = signals(5)
    together = fitted(fitter, these)
    assert list(together.ids) == [0, 1, 2, 3, 4]
    for i in range(5):
        assert_rows_equal(together.take(slice(i, i + 1)), fitted(fitter, these.take(np.array([i]))), tolerance=2e-6)
    mixed = fitted(fitter, these.take(np.array([3, 0, 4])))
    assert_rows_equal(mixed, together.take(np.array([3, 0, 4])), tolerance=2e-6)


def test_what_was_trained_is_loaded_back() -> None:
    fitter, _ = build()
    state = fitter.state()
    other, _ = build()
    other.load({name: np.zeros_like(array) for name, array in state.items()})
    other.load(state)
    assert_rows_equal(fitted(fitter, signals(2)), fitted(other, signals(2)), tolerance=0.0)
    assert {name: array.tolist() for name, array in other.state().items()} == {n: a.tolist() for n, a in state.items()}


def test_query_gives_the_field_of_theta_plus_delta_in_unit_range() -> None:
    fitter, _ = build(shard=2)
    rows = fitted(fitter, signals(3))
    state = {name: torch.as_tensor(array) for name, array in fitter.state().items()}
    (coords,) = [torch.as_tensor(Grid.of(5, 9).coords()).reshape(-1, 2)]
    found = np.concatenate(list(fitter.query(rows, Grid.of(5, 9), CellRun(0))))
    assert found.shape == (3, 5, 9, 1)
    for i in range(3):
        phi = {n: state[f"theta/{n}"] + torch.as_tensor(rows.arrays[n][i]) for n in rows.arrays}
        phi |= {n.removeprefix("shared/"): a for n, a in state.items() if n.startswith("shared/")}
        expected = plain_field(phi, coords).reshape(5, 9, 1) / 2.0 + 0.5
        np.testing.assert_allclose(found[i], expected.numpy(), atol=2e-5)


# ------------------------------------------------------------------ gradients


@pytest.mark.parametrize("share", [0.01, 0.5, 1.0])
def test_one_backward_pass_gives_the_two_passes_gradients(double: Double, share: float) -> None:
    network = dict(double.reader.network.named_parameters())
    reconstruction, cross_entropy = double.losses(share)
    one_pass = gradients(reconstruction + cross_entropy, double.parameters | network)

    reconstruction, cross_entropy = double.losses()
    first, second = (gradients(loss, double.parameters | network) for loss in (reconstruction, cross_entropy))
    expected = {name: first[name] + share * second[name] for name in double.parameters}
    expected |= {name: second[name] for name in network}
    assert max(float(second[name].abs().max()) for name in double.parameters) > 1e-6  # there is something to scale
    assert_same(one_pass, expected, tolerance=1e-10)


def test_the_outer_gradient_is_that_of_one_signal_at_a_time(double: Double) -> None:
    theta, shared = double.part("theta/"), double.part("shared/")
    loss = torch.zeros((), dtype=torch.float64)
    for values in double.values:
        phi = plain_phi(theta, shared, double.rates, values, double.coords, 3)
        loss = loss + (plain_field({**phi, **shared}, double.coords) - (2.0 * values - 1.0)).square().mean() / 3.0
    found, _ = double.losses()
    torch.testing.assert_close(found, loss, rtol=1e-12, atol=0)
    assert_same(gradients(found, double.parameters), gradients(loss, double.parameters), tolerance=1e-10)


def entries(parameters: Tensors) -> Iterator[tuple[str, Tensor, int]]:
    """A few places in each array."""
    for name, array in parameters.items():
        for place in sorted({0, array.numel() // 2, array.numel() - 1}):
            yield name, array, place


def difference(value: Callable[[], Tensor], array: Tensor, place: int, step: float = 1e-5) -> float:
    """The central difference of ``value`` in one entry of ``array``, of fourth order."""
    found = []
    with torch.no_grad():
        flat = array.view(-1)
        kept = float(flat[place])
        for factor in (1, -1, 2, -2):
            flat[place] = kept + factor * step
            found.append(float(value().detach()))
        flat[place] = kept
    return (8.0 * (found[0] - found[1]) - (found[2] - found[3])) / (12.0 * step)


def test_the_fitters_gradient_is_that_of_finite_differences(double: Double) -> None:
    share = 0.3

    def descended() -> Tensor:
        reconstruction, cross_entropy = double.losses()
        return reconstruction + share * cross_entropy

    reconstruction, cross_entropy = double.losses(share)
    found = gradients(reconstruction + cross_entropy, double.parameters)
    for name, array, place in entries(double.parameters):
        expected = difference(descended, array, place)
        assert float(found[name].flatten()[place]) == pytest.approx(expected, rel=1e-5, abs=1e-8), (name, place)


def test_the_readers_gradient_is_that_of_finite_differences(double: Double) -> None:
    network = dict(double.reader.network.named_parameters())
    found = gradients(sum(double.losses(0.01)), network)  # type: ignore[arg-type]
    _, rows, _ = double.fitter.loss(double.observed)
    rows = {name: row.detach() for name, row in rows.items()}

    def cross_entropy() -> Tensor:
        return double.reader.loss(rows, double.labels, draws.generator(0, "step"))[0]  # type: ignore[no-any-return]

    for name, array, place in entries(network):
        step = 1e-8 if name == "beta" else 1e-5  # β is scaled by λ = 500 behind
        expected = difference(cross_entropy, array, place, step)
        assert float(found[name].flatten()[place]) == pytest.approx(expected, rel=1e-4, abs=1e-7), (name, place)


def test_the_classifiers_gradient_into_theta_is_pulled_back_less_direct(double: Double) -> None:
    """dL_cls/dθ = Σ(v₀ − v_cls): the reader sees φ − θ, so θ enters through φ(θ) and, negative, by itself."""
    theta, shared = double.part("theta/"), double.part("shared/")
    _, rows, _ = double.fitter.loss(double.observed)
    seen = {name: row.detach().requires_grad_() for name, row in rows.items()}
    cross_entropy, _ = double.reader.loss(seen, double.labels, draws.generator(0, "step"))
    v_cls = gradients(cross_entropy, seen)
    assert not v_cls["layers.0.weight"].any()  # the reader leaves the first layer out

    names = list(theta)
    expected = {name: torch.zeros_like(value) for name, value in theta.items()}
    pulled_back = {name: torch.zeros_like(value) for name, value in theta.items()}
    for signal, values in enumerate(double.values):

        def phi_of(*arrays: Tensor, values: Tensor = values) -> tuple[Tensor, ...]:
            phi = plain_phi(dict(zip(names, arrays, strict=True)), shared, double.rates, values, double.coords, 3)
            return tuple(phi[name] for name in names)

        direct = tuple(v_cls[name][signal] for name in names)
        _, v_0 = torch.autograd.functional.vjp(phi_of, tuple(theta.values()), direct)
        for name, back, straight in zip(names, v_0, direct, strict=True):
            pulled_back[name] += back
            expected[name] += back - straight
    found = gradients(double.losses()[1], theta)
    assert_same(found, expected, tolerance=1e-10)
    # v₀ alone would be something else
    assert max(float((found[name] - pulled_back[name]).abs().max()) for name in names) > 1e-6


# ------------------------------------------------------------------ joint training


class Watching(CellRun):
    """A run that keeps the checkpoint behind each step; Adam's first moment in it tells the gradient."""

    def steps(self, name: str, total: int, state: Any, restore: Any) -> Iterator[int]:
        for step in range(total):
            yield step
            self.states = {key: array.copy() for key, array in state().items()}


def trained(share: float | None, steps: int, labels: np.ndarray | None = None) -> tuple[Watching, Any, Any]:
    these = signals(4)
    fitter, reader = build()
    run = Watching(0)
    heads = []
    if share is not None:
        heads = [Head("reader", reader, share, these.labels if labels is None else labels)]
    settings = SignalTrainingSettings(steps=steps, batch_size=4)
    return run, train_jointly(fitter, these, heads, settings, run), (fitter, reader)


@pytest.mark.parametrize("share", [0.0, 0.01, 1.0])
def test_joint_training_descends_the_two_passes_gradients(share: float) -> None:
    run, _, _ = trained(share, 1)
    fitter, reader = build()
    field, rates = fitter.groups("cpu")
    (network,) = reader.groups("cpu")
    order = run.rng("order", 0).permutation(4)
    these = signals(4)
    assert these.labels is not None
    values = torch.as_tensor(these.values[order]).float().div(255).reshape(4, 64, 1)
    loss, rows, _ = fitter.loss(observed(values, coords_of(GRID, "cpu")))
    cross_entropy, _ = reader.loss(rows, torch.as_tensor(these.labels[order]), draws.generator(0, "step"))
    for group, prefix in ((field, "field"), (rates, "rates"), (network, "reader.all")):
        first, second = gradients(loss, group.parameters), gradients(cross_entropy, group.parameters)
        for name in group.parameters:
            expected = second[name] if group is network else first[name] + share * second[name]
            found = run.states[f"exp_avg/{prefix}/{name}"] / 0.1
            scale = max(1e-3, float(expected.abs().max()))
            np.testing.assert_allclose(found, expected.numpy(), rtol=0, atol=2e-4 * scale, err_msg=name)


def test_at_share_0_nothing_of_the_reader_reaches_the_fitter() -> None:
    _, alone, _ = trained(None, 3)
    _, beside, _ = trained(0.0, 3)
    _, shuffled, _ = trained(0.0, 3, labels=np.array([9, 9, 2, 5]))
    _, joint, _ = trained(0.01, 3)
    for name, array in alone.shared.items():
        np.testing.assert_array_equal(array, beside.shared[name])
        np.testing.assert_array_equal(array, shuffled.shared[name])
    assert any((array != joint.shared[name]).any() for name, array in alone.shared.items())
    assert set(beside.heads) == {"reader"}
    assert any((a != shuffled.heads["reader"][n]).any() for n, a in beside.heads["reader"].items())


def test_the_rates_have_a_learning_rate_and_a_clip_of_their_own() -> None:
    fitter, _ = build(lr=1e-4, lr_rates=1e-2)
    field, rates = fitter.groups("cpu")
    assert (field.lr, rates.lr) == (1e-4, 1e-2)
    assert {name.partition("/")[0] for name in field.parameters} == {"theta", "shared"}
    assert set(rates.parameters) == set(fitter.layout.shapes)
    everything = [*field.parameters.values(), *rates.parameters.values()]
    assert all(array.is_leaf and array.requires_grad for array in everything)
    assert sum(array.numel() for array in everything) == fitter.facts().parameters
