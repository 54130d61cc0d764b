"""The reader ddpm: its loss, what it learns, how it samples, what is keyed, what it refuses."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from inrbench_ddpm.ddpm import BLOCK, DDPM, flattened, guided, statistics
from inrbench_ddpm.diffusion import time_step_probabilities
from inrbench_ddpm.settings import DDPMSettings

from inrbench import draws
from inrbench.cell_run import CellRun
from inrbench.cells import resolve
from inrbench.errors import BadSetting, Interrupted, Refused
from inrbench.interfaces import Generator
from inrbench.representations import Layout, NeuralDataSet, Representations
from inrbench.settings import TrainingSettings, validated
from inrbench.signals import PartSpec, SignalSpec

SPEC = SignalSpec((PartSpec("grid", (8, 8), 2, 1),), num_classes=2)
PLAIN = SignalSpec(SPEC.parts)
TWO = Layout("latent", {"latent": (2,)})
GRID = Layout("latent-grid", {"latent": (3, 3, 2)})


def rows_of(values: np.ndarray, layout: Layout) -> Representations:
    array = values.reshape(len(values), *layout.shapes["latent"]).astype(np.float32)
    return Representations(layout, {"latent": array}, np.arange(len(values)), np.zeros(len(values), dtype=np.int64))


def mixture(count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Two classes at (3, -1) and (-3, -1), long in one direction; the second axis is a tenth as wide."""
    rng = draws.generator(seed, "mixture")
    labels = rng.integers(0, 2, count)
    noise = rng.standard_normal((count, 2)) * [0.5, 0.1]
    return np.stack([3.0 - 6.0 * labels, np.full(count, -1.0)], axis=1) + noise, labels


def ddpm(layout: Layout = TWO, spec: SignalSpec = SPEC, **own: Any) -> DDPM:
    train = {"steps": 8, "batch_size": 16, **own.pop("train", {})}
    small = {"width": 32, "blocks": 1, "channels": 8, "channel_multiplier": [1], "res_blocks": 1, "attention_res": []}
    tree = {**small, "scale": 1.0, "dropout": 0.0, "guidance": 1.0, "train": train, **own}
    return DDPM(validated(DDPMSettings, tree, "reader"), layout, spec)


def trained(reader: DDPM, count: int = 64, seed: int = 0, labels: bool = True) -> dict[str, np.ndarray]:
    rng = draws.generator(3, "rows")
    size = reader.layout.num_values
    values, classes = mixture(count) if size == 2 else (rng.standard_normal((count, size)), rng.integers(0, 2, count))
    data = NeuralDataSet({}, {"train": (rows_of(values, reader.layout), classes if labels else None)}, {})
    return dict(reader.train(data, CellRun(seed)))


def test_it_is_a_generator() -> None:
    assert isinstance(ddpm(), Generator)
    assert ddpm().conditional
    assert not ddpm(conditional=False).conditional


# ---------------------------------------------------------------- learning and sampling


@pytest.fixture(scope="module")
def mixture_model() -> tuple[DDPM, dict[str, np.ndarray], float, float]:
    reader = ddpm(
        width=64,
        blocks=2,
        lr=3e-3,
        schedule="linear",
        time_step_ratio=1.0,
        sample_steps=50,
        train={"steps": 500, "batch_size": 128, "ema": 0.98, "schedule": "cosine"},
    )
    values, labels = mixture(2048)
    run = CellRun(0)
    state = dict(reader.train(NeuralDataSet({}, {"train": (rows_of(values, TWO), labels)}, {}), run))
    losses = [point["loss"] for point in run.history]
    return reader, state, float(np.mean(losses[:20])), float(np.mean(losses[-100:]))


def test_the_loss_falls(mixture_model: tuple[DDPM, dict[str, np.ndarray], float, float]) -> None:
    _, _, first, last = mixture_model
    assert first > 0.6
    assert last < 0.3


def test_samples_of_a_mixture_have_its_modes_and_spreads(mixture_model: Any) -> None:
    reader = mixture_model[0]
    labels = np.arange(400) % 2
    values = flattened(reader.sample(400, labels, CellRun(5)))
    for label, centre in ((0, 3.0), (1, -3.0)):
        own = values[labels == label]
        np.testing.assert_allclose(own.mean(axis=0), [centre, -1.0], atol=0.15)
        np.testing.assert_allclose(own.std(axis=0), [0.5, 0.1], rtol=0.35)


def test_without_classes_a_conditional_model_draws_of_both(mixture_model: Any) -> None:
    values = flattened(mixture_model[0].sample(300, None, CellRun(5)))
    assert 0.35 < (values[:, 0] > 0.0).mean() < 0.65
    assert (np.abs(values[:, 0]) > 1.5).mean() > 0.9


def test_guidance_of_nothing_ignores_the_class(mixture_model: Any) -> None:
    reader, state = mixture_model[:2]
    free = DDPM(reader.settings.model_copy(update={"guidance": 0.0}), TWO, SPEC)
    free.load(state)
    zeros, run = np.zeros(40, dtype=np.int64), CellRun(5)
    np.testing.assert_array_equal(flattened(free.sample(40, zeros, run)), flattened(free.sample(40, None, run)))


def test_guidance_is_from_the_answer_without_the_class_towards_that_with_it() -> None:
    one, free = torch.tensor([2.0, -1.0]), torch.tensor([1.0, 1.0])
    assert guided(one, free, 5.0).tolist() == [6.0, -9.0]
    assert torch.equal(guided(one, free, 1.0), one)
    assert torch.equal(guided(one, free, 0.0), free)


def test_a_guided_answer_is_made_of_the_network_asked_twice() -> None:
    reader = ddpm(guidance=2.5)
    trained(reader)
    z, t, classes = torch.randn(3, 2), torch.tensor([5, 50, 500]), torch.tensor([0, 1, 1])
    with torch.no_grad():
        one, free = reader.network(z, t, classes), reader.network(z, t, torch.full((3,), 2))
        torch.testing.assert_close(reader._noise(z, t, classes), free + 2.5 * (one - free))


def test_one_step_from_a_network_that_is_right_gives_the_data() -> None:
    """With a single step the sample is the predicted z_0, normalised back."""
    reader = ddpm(conditional=False, sample_steps=1)
    trained(reader)
    centre = torch.tensor([0.5, -0.25])
    alpha_bar = reader.diffusion.alpha_bars[-1]

    class Right(torch.nn.Module):
        def forward(self, z: torch.Tensor, t: torch.Tensor, classes: None, generator: None) -> torch.Tensor:
            return (z - float(np.sqrt(alpha_bar)) * centre) / float(np.sqrt(1.0 - alpha_bar))

    right: Any = Right()
    right.register_buffer("mean", reader.network.mean)
    right.register_buffer("spread", reader.network.spread)
    reader.network = right
    values = flattened(reader.sample(4, None, CellRun(0)))
    expected = reader.network.mean + reader.network.spread * centre
    np.testing.assert_allclose(values, np.tile(expected.numpy(), (4, 1)), rtol=0, atol=0.05)


def test_a_bound_keeps_predicted_values_within_it() -> None:
    reader = ddpm(clip=0.5, sample_steps=10)
    state = trained(reader)
    values = (flattened(reader.sample(50, None, CellRun(1))) - state["mean"]) / state["spread"]
    assert np.abs(values).max() <= 0.5 + 1e-6
    loose = ddpm(sample_steps=10)
    loose.load(state)
    assert np.abs((flattened(loose.sample(50, None, CellRun(1))) - state["mean"]) / state["spread"]).max() > 0.5


def test_the_loss_is_that_of_noise_at_its_time_step() -> None:
    """q(z_t | z_0): a network that returns its input shows what it was given."""
    reader = ddpm(conditional=False)
    seen: list[torch.Tensor] = []

    class Shown(torch.nn.Module):
        def forward(self, z: torch.Tensor, t: torch.Tensor, classes: None, generator: None) -> torch.Tensor:
            seen.append(z)
            return torch.zeros_like(z)

    reader.network = Shown()  # type: ignore[assignment]
    count = 20_000
    start = torch.tensor([[2.0, -1.0]]).expand(count, 2)
    noise = torch.randn(count, 2, generator=torch.Generator().manual_seed(0))
    for t in (1, 300, 1000):
        loss = reader.loss(start, torch.full((count,), t), noise, None)
        assert float(loss) == pytest.approx(float(noise.square().mean()), rel=1e-5)
        alpha_bar = reader.diffusion.alpha_bars[t - 1]
        expected = np.sqrt(alpha_bar) * np.array([2.0, -1.0])
        np.testing.assert_allclose(seen[-1].mean(dim=0).numpy(), expected, atol=0.03)
        np.testing.assert_allclose(seen[-1].var(dim=0).numpy(), 1.0 - alpha_bar, rtol=0.03, atol=1e-6)


@pytest.mark.parametrize("t", [1, 400, 1000])
def test_the_skip_is_the_best_linear_guess_of_the_noise(t: int) -> None:
    """A network that has learned nothing answers 0, so that the guess alone is left."""
    reader = ddpm(conditional=False, skip=True, scale=2.0)
    trained(reader, labels=False)
    torch.nn.init.zeros_(reader.network.outer.weight)
    torch.nn.init.zeros_(reader.network.outer.bias)
    generator = torch.Generator().manual_seed(0)
    start, noise = (torch.randn(500, 2, generator=generator) for _ in range(2))
    start = start / start.square().mean().sqrt()
    noise = noise - (noise * start).mean() * start  # as they are in the mean over all draws
    noise = noise / noise.square().mean().sqrt()
    alpha_bar = float(reader.diffusion.alpha_bars[t - 1])
    z = np.sqrt(alpha_bar) * start / 2.0 + np.sqrt(1.0 - alpha_bar) * noise
    with torch.no_grad():
        guess = reader._answer(z, torch.full((len(z),), t), None)
    slope = float((noise * z).sum() / z.square().sum())
    assert float((guess / z).mean()) == pytest.approx(slope, rel=1e-4)
    with torch.no_grad():
        loss = reader.loss(start / 2.0, torch.full((len(z),), t), noise, None)
    assert float(loss) == pytest.approx(float((noise - slope * z).square().mean()), rel=1e-4)
    reader.settings = reader.settings.model_copy(update={"skip": False})
    assert not reader._answer(z, torch.full((len(z),), t), None).any()


# ---------------------------------------------------------------- draws


def test_training_draws_are_keyed_by_their_step() -> None:
    reader, labels = ddpm(), np.arange(16) % 2
    one, again = (reader.draws(7, labels, 16, CellRun(0)) for _ in range(2))
    other = reader.draws(8, labels, 16, CellRun(0))
    for a, b, c in zip(one, again, other, strict=True):
        assert a is not None
        np.testing.assert_array_equal(a, b)
        assert not np.array_equal(a, c)


def test_time_steps_lie_in_one_to_t_and_follow_the_ratio() -> None:
    reader = ddpm(time_step_ratio=9.0, diffusion_steps=10)
    t = np.concatenate([reader.draws(step, None, 500, CellRun(0))[0] for step in range(40)])
    assert (t.min(), t.max()) == (1, 10)
    shares = np.bincount(t, minlength=11)[1:] / len(t)
    np.testing.assert_allclose(shares, time_step_probabilities(10, 9.0), atol=0.01)


def test_a_share_of_the_labels_is_withheld_and_the_others_are_kept() -> None:
    reader, labels = ddpm(label_dropout=0.2), np.arange(4000) % 2
    _, _, classes = reader.draws(0, labels, 4000, CellRun(0))
    assert classes is not None
    withheld = classes == 2
    assert withheld.mean() == pytest.approx(0.2, abs=0.02)
    np.testing.assert_array_equal(classes[~withheld], labels[~withheld])
    _, _, all_kept = ddpm(label_dropout=0.0).draws(0, labels, 4000, CellRun(0))
    np.testing.assert_array_equal(all_kept, labels)
    assert ddpm(conditional=False).draws(0, labels, 4000, CellRun(0))[2] is None


def test_a_sample_does_not_depend_on_how_many_are_drawn() -> None:
    reader = ddpm(sample_steps=4)
    trained(reader)
    many = flattened(reader.sample(BLOCK + 20, None, CellRun(2)))
    few = flattened(reader.sample(10, None, CellRun(2)))
    np.testing.assert_allclose(few, many[:10], rtol=0, atol=1e-5)
    assert not np.allclose(many[0], many[BLOCK], atol=1e-3)
    assert not np.allclose(few, flattened(reader.sample(10, None, CellRun(3))), atol=1e-3)


def test_every_block_and_every_step_of_sampling_has_noise_of_its_own() -> None:
    reader = ddpm(sample_steps=3)
    trained(reader)
    step, seen = reader._step, []

    def shown(diffusion: Any, index: int, z: torch.Tensor, noise: torch.Tensor, classes: Any) -> torch.Tensor:
        seen.append(float(noise[0, 0]))
        if index == 2:  # the first one: z is noise too
            seen.append(float(z[0, 0]))
        return step(diffusion, index, z, noise, classes)

    reader._step = shown  # type: ignore[method-assign]
    reader.sample(BLOCK + 1, None, CellRun(0))
    assert len(seen) == len(set(seen)) == 2 * (3 + 1)


def test_training_depends_on_the_seed_alone() -> None:
    def fresh(seed: int, torch_seed: int) -> dict[str, np.ndarray]:
        torch.manual_seed(torch_seed)
        return trained(ddpm(GRID, dropout=0.3), seed=seed)

    one, again, other = fresh(0, 1), fresh(0, 2), fresh(1, 1)
    assert all(np.array_equal(array, again[name]) for name, array in one.items())
    assert any(not np.array_equal(array, other[name]) for name, array in one.items())


def test_micro_batches_change_the_speed_and_not_the_draws() -> None:
    whole, parts = trained(ddpm(GRID)), trained(ddpm(GRID, train={"micro_batch": 5}))
    for name, array in whole.items():
        np.testing.assert_allclose(parts[name], array, rtol=0, atol=2e-4)


@pytest.mark.parametrize("layout", [TWO, GRID], ids=["residual-mlp", "unet"])
def test_interrupted_training_goes_on_to_the_same_result_bit_for_bit(layout: Layout, tmp_path: Any) -> None:
    own = {"dropout": 0.2, "train": {"steps": 6, "ema": 0.9}}
    expected = trained(ddpm(layout, **own))
    values = draws.generator(3, "rows").standard_normal((64, layout.num_values)) if layout is GRID else mixture(64)[0]
    rng = draws.generator(3, "rows")
    rng.standard_normal((64, layout.num_values))
    labels = rng.integers(0, 2, 64) if layout is GRID else mixture(64)[1]
    data = NeuralDataSet({}, {"train": (rows_of(values, layout), labels)}, {})
    run = CellRun(0, folder=tmp_path)
    log, run.log = run.log, lambda step, **values: run.stop.set() if step == 2 else None  # type: ignore[method-assign]
    with pytest.raises(Interrupted, match="step 3 of 6"):
        ddpm(layout, **own).train(data, run)
    run.stop.clear()
    run.log = log  # type: ignore[method-assign]
    found = ddpm(layout, **own).train(data, run)
    assert all(np.array_equal(array, found[name]) for name, array in expected.items())


def test_interrupted_sampling_goes_on_to_the_same_samples_bit_for_bit(tmp_path: Any) -> None:
    reader = ddpm(sample_steps=6)
    trained(reader)
    expected = flattened(reader.sample(5, None, CellRun(0)))
    run = CellRun(0, folder=tmp_path)
    step = reader._step

    def stopping(diffusion: Any, index: int, *rest: Any) -> Any:
        if index == 2:
            run.stop.set()
        return step(diffusion, index, *rest)

    reader._step = stopping  # type: ignore[method-assign]
    with pytest.raises(Interrupted, match="step 4 of 6"):
        reader.sample(5, None, run)
    run.stop.clear()
    reader._step = step  # type: ignore[method-assign]
    np.testing.assert_array_equal(flattened(reader.sample(5, None, run)), expected)


# ---------------------------------------------------------------- normalisation, layouts, state


def test_normalisation_shares_a_number_among_all_a_channel_or_an_element() -> None:
    rng = draws.generator(0, "values")
    values = rng.standard_normal((5000, 18)) * np.arange(1, 19) + np.arange(18)  # more than are read at once
    rows = rows_of(values, GRID)
    grid = rows.arrays["latent"].astype(np.float64)
    mean, spread = statistics(rows, "scalar")
    np.testing.assert_allclose(mean, grid.mean())
    np.testing.assert_allclose(spread, grid.std(), rtol=1e-6)
    mean, spread = statistics(rows, "channel")
    np.testing.assert_allclose(mean.reshape(3, 3, 2), np.broadcast_to(grid.mean(axis=(0, 1, 2)), (3, 3, 2)), rtol=1e-6)
    np.testing.assert_allclose(spread.reshape(3, 3, 2)[1, 2], grid.std(axis=(0, 1, 2)), rtol=1e-6)
    mean, spread = statistics(rows, "element")
    np.testing.assert_allclose(mean, grid.reshape(5000, -1).mean(axis=0), rtol=1e-6)
    np.testing.assert_allclose(spread, grid.reshape(5000, -1).std(axis=0), rtol=1e-6)
    np.testing.assert_array_equal(statistics(rows_of(np.ones((4, 18)), GRID), "element")[1], 1.0)


def test_what_shares_a_number_follows_the_kind() -> None:
    assert ddpm(TWO).normalisation == "element"
    assert ddpm(GRID).normalisation == "channel"
    assert ddpm(GRID, normalisation="scalar").normalisation == "scalar"


def test_the_network_sees_values_over_the_scale() -> None:
    state = trained(ddpm(scale=2.5))
    mean, spread = statistics(rows_of(mixture(64)[0], TWO), "element")
    np.testing.assert_allclose(state["mean"], mean, rtol=1e-6)
    np.testing.assert_allclose(state["spread"], 2.5 * spread, rtol=1e-6)


def test_samples_have_the_layout_of_what_was_learned() -> None:
    for layout in (TWO, GRID):
        reader = ddpm(layout, sample_steps=2)
        trained(reader)
        rows = reader.sample(3, np.array([0, 1, 0]), CellRun(0))
        assert rows.layout is layout
        assert rows.arrays["latent"].shape == (3, *layout.shapes["latent"])
        assert rows.arrays["latent"].dtype == np.float32
        assert (rows.ids.tolist(), rows.copies.tolist()) == ([0, 1, 2], [0, 0, 0])


def test_several_arrays_are_flattened_by_name_and_put_back() -> None:
    layout = Layout("latent", {"b": (2,), "a": (1, 3)})
    reader = ddpm(layout, sample_steps=1)
    rng = draws.generator(0, "rows")
    arrays = {"a": rng.standard_normal((40, 1, 3)) + 100.0, "b": rng.standard_normal((40, 2)) - 100.0}
    rows = Representations(layout, arrays, np.arange(40), np.zeros(40, dtype=np.int64))
    reader.train(NeuralDataSet({}, {"train": (rows, rng.integers(0, 2, 40))}, {}), CellRun(0))
    found = reader.sample(2, None, CellRun(0))
    assert found.arrays["a"].shape == (2, 1, 3)
    assert found.arrays["b"].shape == (2, 2)


def test_a_loaded_model_draws_what_the_trained_one_draws() -> None:
    reader, other = ddpm(GRID, sample_steps=3), ddpm(GRID, sample_steps=3)
    other.load(trained(reader))
    run = CellRun(0)
    np.testing.assert_array_equal(flattened(other.sample(4, None, run)), flattened(reader.sample(4, None, run)))


def test_facts_count_the_network_once_a_step() -> None:
    facts = ddpm(width=32, blocks=1).facts()
    assert facts.parameters == sum(p.numel() for p in ddpm(width=32, blocks=1).network.parameters())
    assert facts.flops == 2 * (2 * 32 + (128 * 32 + 32 * 32) + 3 * 32 * 32 + 32 * 2)


# ---------------------------------------------------------------- what is refused


def test_a_conditional_model_needs_classes() -> None:
    assert "reader.conditional=false" in str(ddpm(spec=PLAIN).refuses(TWO))
    assert ddpm(spec=PLAIN, conditional=False).refuses(TWO) is None
    with pytest.raises(ValueError, match="no labels"):
        trained(ddpm(), labels=False)
    trained(ddpm(spec=PLAIN, conditional=False), labels=False)


@pytest.mark.parametrize(
    ("classes", "message"),
    [([0, 2], "one of 0 to 1 for each sample; given: 2"), ([0], "given: 1 of them for 2 samples")],
)
def test_classes_that_there_are_not_are_refused(classes: list[int], message: str) -> None:
    reader = ddpm()
    with pytest.raises(BadSetting, match=message):
        reader.sample(2, np.array(classes), CellRun(0))


def test_a_model_without_classes_cannot_be_asked_for_one() -> None:
    with pytest.raises(BadSetting, match=r"reader\.conditional=false"):
        ddpm(conditional=False).sample(1, np.array([0]), CellRun(0))
    with pytest.raises(BadSetting, match="a whole number from 1 on; given: 0"):
        ddpm().sample(0, None, CellRun(0))


def test_a_unet_says_which_sides_it_has() -> None:
    seven = Layout("latent-grid", {"latent": (7, 7, 2)})
    with pytest.raises(BadSetting, match=r"attention_res=\[8\]: no resolution has side 8; here are 7, 4"):
        ddpm(seven, channel_multiplier=[1, 1], attention_res=[8])
    with pytest.raises(BadSetting, match=r"a grid of 3 x 3 has 3 resolutions at most \(3, 2, 1\)"):
        ddpm(GRID, channel_multiplier=[1, 1, 1, 1])
    with pytest.raises(Refused, match=r"one array \[side, side, channels\]; given: latent \[2\]"):
        ddpm(TWO, network="unet")
    assert ddpm(GRID, network="residual-mlp").network.inner.in_features == 18


def test_a_cell_with_a_generator_is_refused_with_the_command_that_runs_it() -> None:
    with pytest.raises(Refused, match=r"reader 'ddpm' generates .* `inrbench generate DIR`"):
        resolve("functa", "digits", overrides=[{"reader": "ddpm"}])


# ---------------------------------------------------------------- presets


def test_the_paper_warms_up_for_4000_of_a_million_steps() -> None:
    tree = DDPMSettings.preset("paper", Layout("latent", {"latent": (256,)}), {})
    settings = validated(DDPMSettings, tree, "reader")
    assert settings.train.warmup * settings.train.num_steps(1) == pytest.approx(4000)
    assert (settings.train.schedule, settings.train.batch_size, settings.lr) == ("inverse-sqrt", 128, 3e-4)
    assert (settings.width, settings.blocks) == (4096, 2)


@pytest.mark.parametrize("conditional", [True, False])
@pytest.mark.parametrize("interpolation", ["nearest", "linear"])
@pytest.mark.parametrize("shape", [(8, 8, 16), (4, 4, 64), (7, 7, 16), (32, 32, 64), (2, 2, 4)])
@pytest.mark.parametrize("profile", ["paper", "laptop", "smoke"])
def test_every_preset_is_a_model_that_can_be_built(
    profile: str, shape: tuple[int, ...], interpolation: str, conditional: bool
) -> None:
    layout = Layout("latent-grid", {"latent": shape}, None, {"interpolation": interpolation})
    tree = dict(DDPMSettings.preset(profile, layout, {"conditional": conditional}))
    settings = validated(DDPMSettings, {**tree, "conditional": conditional}, "reader")
    with torch.device("meta"):
        DDPM(settings, layout, SPEC)


def test_the_presets_of_the_paper_are_those_of_table_6() -> None:
    layout = Layout("latent-grid", {"latent": (4, 4, 64)}, None, {"interpolation": "linear"})
    one = validated(DDPMSettings, DDPMSettings.preset("paper", layout, {}), "reader")
    assert (one.res_blocks, one.channel_multiplier, one.attention_res, one.dropout) == (3, [2, 2, 2], [4, 2], 0.0)
    free = validated(DDPMSettings, DDPMSettings.preset("paper", layout, {"conditional": False}), "reader")
    assert (free.res_blocks, free.channel_multiplier, free.attention_res, free.dropout) == (2, [2, 2], [4], 0.4)
    assert (one.channels, one.lr, one.scale, one.guidance, one.schedule) == (320, 1e-4, 2.0, 5.0, "cosine")
    assert one.train == TrainingSettings(steps=500_000, batch_size=256)
