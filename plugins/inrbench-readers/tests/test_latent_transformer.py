"""The transformer of latents: tokens, counts, symmetry, stages, and settings that do not fit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from inrbench_readers.latent_transformer import LatentTransformer, LatentTransformerReader, patches
from inrbench_readers.settings import LatentTransformerSettings
from torch import Tensor
from torch.nn import functional

from inrbench import draws
from inrbench.backends.torch.reading import Stages
from inrbench.cell_run import CellRun
from inrbench.cells import resolve
from inrbench.errors import BadSetting, Refused
from inrbench.representations import Layout, Representations
from inrbench.settings import validated
from inrbench.signals import PartSpec, SignalSpec

SPEC = SignalSpec((PartSpec("grid", (8, 8), 2, 1),), num_classes=3)
GRID = Layout("latent-grid", {"latent": (3, 3, 4)})


def reader_of(layout: Layout = GRID, classes: int = 3, **settings: Any) -> LatentTransformerReader:
    small = {"width": 8, "blocks": 2, "heads": 2, "normalisation": 1.0}
    options = LatentTransformerSettings(**{**small, **settings})
    reader = LatentTransformerReader(options, layout, SignalSpec(SPEC.parts, num_classes=classes))
    reader.start(CellRun(0))
    return reader


def values_of(layout: Layout, count: int = 5, seed: int = 0) -> dict[str, Tensor]:
    rng = draws.generator(seed, "values")
    return {
        name: torch.as_tensor(rng.standard_normal((count, *shape))).float() for name, shape in layout.shapes.items()
    }


# ------------------------------------------------------------------ tokens


def test_a_token_of_a_grid_is_a_cell_with_its_channels() -> None:
    rows = values_of(GRID)
    stages = Stages(tap=("tokens",))
    reader_of().network(rows, stages)
    tokens = stages.tapped["tokens"]
    assert tokens.shape == (5, 9, 4)
    for i in range(3):
        for j in range(3):
            assert tokens[:, 3 * i + j].equal(rows["latent"][:, i, j])


def test_a_token_of_a_latent_is_consecutive_values() -> None:
    layout = Layout("latent", {"latent": (12,)})
    rows, stages = values_of(layout), Stages(tap=("tokens",))
    reader_of(layout, token_size=4).network(rows, stages)
    assert stages.tapped["tokens"].equal(rows["latent"].view(5, 3, 4))


def test_a_token_of_samples_is_a_patch() -> None:
    layout = Layout("samples", {"values": (4, 6, 3)})
    rows, stages = values_of(layout), Stages(tap=("tokens",))
    reader_of(layout, patch=2).network(rows, stages)
    tokens = stages.tapped["tokens"]
    assert tokens.shape == (5, 6, 12)
    assert tokens[:, 4].equal(rows["values"][:, 2:4, 2:4].flatten(1))  # the second row of patches, the second of three


def test_patches_of_a_line_and_of_a_volume() -> None:
    line = torch.arange(24.0).view(1, 24)
    assert patches(line, (12,), 3).equal(line.view(1, 4, 6))
    volume = torch.arange(64.0).view(1, 4, 4, 4, 1)
    found = patches(volume.flatten(1), (4, 4, 4), 2)
    assert found.shape == (1, 8, 8)
    assert found[0, 5].equal(volume[0, 2:, :2, 2:].flatten())  # 5 is (1, 0, 1)


# ------------------------------------------------------------------ counts


def test_its_parameters_are_those_of_the_definition() -> None:
    facts = reader_of(width=8, feedforward=20, blocks=2, heads=2).facts()
    block = (2 * 8) + (8 * 24 + 24) + (8 * 8 + 8) + (2 * 8) + (8 * 20 + 20) + (20 * 8 + 8)
    assert facts.parameters == (4 * 8 + 8) + 9 * 8 + 2 * block + 2 * 8 + (8 * 3 + 3)
    attention = 2 * 9 * 9 * 8
    assert facts.flops == 2 * (9 * 4 * 8 + 2 * (9 * (8 * 24 + 8 * 8 + 2 * 8 * 20) + attention) + 8 * 3)
    assert reader_of(feedforward=16).facts() == reader_of().facts()  # twice the width is the default
    assert reader_of(pool="class-token").facts().parameters == reader_of().facts().parameters + 8


@pytest.mark.parametrize(
    ("shape", "width", "blocks", "expected"),
    [
        # (c + 1) w + s² w + blocks (4 w² + 4 w + 2 w f + f + w + 4 w) + 2 w + 10 (w + 1), by hand
        ((8, 8, 16), 128, 12, 2_176 + 8_192 + 12 * 132_480 + 256 + 1_290),
        ((4, 4, 64), 384, 12, 24_960 + 6_144 + 12 * 1_183_872 + 768 + 3_850),
        ((4, 4, 64), 384, 16, 24_960 + 6_144 + 16 * 1_183_872 + 768 + 3_850),
    ],
)
def test_the_papers_transformers_have_the_parameters_of_the_definition(
    shape: tuple[int, ...], width: int, blocks: int, expected: int
) -> None:
    layout = Layout("latent-grid", {"latent": shape})
    reader = reader_of(layout, classes=10, width=width, feedforward=2 * width, blocks=blocks, heads=16)
    assert reader.facts().parameters == expected


def test_imagenets_classifier_is_about_as_large_as_published_with_heads_of_24() -> None:
    layout = Layout("latent-grid", {"latent": (16, 16, 128)})
    spec = SignalSpec(SPEC.parts, num_classes=1000)
    counts = {}
    for head_dim in (24, None):
        options = LatentTransformerSettings(width=768, feedforward=1536, blocks=18, heads=16, head_dim=head_dim)
        with torch.device("meta"):
            counts[head_dim] = LatentTransformerReader(options, layout, spec).facts().parameters
    assert counts == {24: 64_898_536, None: 86_152_936}  # the paper: 64 million


# ------------------------------------------------------------------ what it computes


def test_without_positions_the_cells_order_does_not_matter() -> None:
    reader, rows = reader_of(), values_of(GRID)
    order = torch.as_tensor(draws.generator(0, "order").permutation(9))
    mixed = {"latent": rows["latent"].view(5, 9, 4)[:, order].view(5, 3, 3, 4)}
    apart = reader.network(rows, Stages()) - reader.network(mixed, Stages())
    assert apart.abs().max().item() > 1e-4  # positions tell cells apart
    with torch.no_grad():
        reader.network.position.zero_()
    torch.testing.assert_close(reader.network(rows, Stages()), reader.network(mixed, Stages()), rtol=0, atol=1e-5)


@pytest.mark.parametrize("pool", ["mean", "class-token"])
def test_the_logits_are_those_of_the_layers_written_out(pool: str) -> None:
    reader, rows = reader_of(blocks=1, heads=2, pool=pool), values_of(GRID)
    network = reader.network
    state = {name: value.detach() for name, value in network.state_dict().items()}
    hidden = rows["latent"].view(5, 9, 4) @ state["embed.weight"].T + state["embed.bias"] + state["position"]
    if pool == "class-token":
        hidden = torch.cat([state["class_token"].expand(5, 1, 8), hidden], dim=1)

    def norm(name: str, value: Tensor) -> Tensor:
        away = value - value.mean(-1, keepdim=True)
        scaled = away / (value.var(-1, unbiased=False, keepdim=True) + 1e-5).sqrt()
        return scaled * state[f"{name}.weight"] + state[f"{name}.bias"]

    def linear(name: str, value: Tensor) -> Tensor:
        return value @ state[f"{name}.weight"].T + state[f"{name}.bias"]

    query, key, value = linear("blocks.0.query_key_value", norm("blocks.0.norm_attention", hidden)).split(8, dim=-1)
    heads = []
    for head in (slice(0, 4), slice(4, 8)):
        scores = query[..., head] @ key[..., head].mT / 2.0  # √4
        heads.append(scores.softmax(-1) @ value[..., head])
    hidden = hidden + linear("blocks.0.out", torch.cat(heads, dim=-1))
    inner = functional.gelu(linear("blocks.0.mlp_in", norm("blocks.0.norm_mlp", hidden)))
    hidden = norm("norm", hidden + linear("blocks.0.mlp_out", inner))
    pooled = hidden.mean(1) if pool == "mean" else hidden[:, 0]
    torch.testing.assert_close(network(rows, Stages()), linear("head", pooled), rtol=1e-4, atol=1e-5)


def test_another_rows_stage_put_in_place_gives_that_rows_logits() -> None:
    reader = reader_of()
    inside = [f"block.{i}.{part}" for i in range(2) for part in ("attention", "mlp")]
    assert reader.stages == ("values", "tokens", "embedded", *inside, "pooled", "logits")
    one, other = (
        Representations(GRID, {"latent": values_of(GRID, seed=s)["latent"].numpy()}, np.arange(5), np.zeros(5))
        for s in (1, 2)
    )
    for stage in reader.stages:
        donor = reader.predict(other, CellRun(0), tap=(stage,))
        given = torch.as_tensor(donor[stage])
        edited = reader.predict(one, CellRun(0), edit={stage: lambda value, given=given: given})["logits"]
        np.testing.assert_allclose(edited, donor["logits"], rtol=0, atol=1e-5)
    with pytest.raises(BadSetting, match=r"no stage 'layer\.9'; its stages: values, tokens, embedded, block"):
        reader.predict(one, CellRun(0), tap=("layer.9",))


def test_positions_and_the_class_token_are_drawn_by_the_seed() -> None:
    layout = Layout("latent-grid", {"latent": (16, 16, 2)})

    def drawn(seed: int) -> LatentTransformer:
        reader = reader_of(layout, pool="class-token")
        reader.start(CellRun(seed))
        return reader.network

    one, again, other = drawn(0), drawn(0), drawn(1)
    for name in ("position", "class_token"):
        assert getattr(one, name).equal(getattr(again, name))
        assert not getattr(one, name).equal(getattr(other, name))
    assert one.position.std().item() == pytest.approx(0.02, rel=0.05)


# ------------------------------------------------------------------ settings that do not fit


def test_heads_that_do_not_divide_the_width_are_refused_in_one_line() -> None:
    said = (
        r"^settings of 'reader': heads=16 do not divide width=40; allowed are 1, 2, 4, 5, 8, 10, 20, 40, or a head_dim$"
    )
    with pytest.raises(BadSetting, match=said):
        validated(LatentTransformerSettings, {"width": 40}, "reader")
    assert validated(LatentTransformerSettings, {"width": 40, "head_dim": 8}, "reader").heads == 16


@pytest.mark.parametrize(
    ("layout", "settings", "said"),
    [
        (
            Layout("latent", {"latent": (12,)}),
            {"token_size": 5},
            "reader.token_size=5 does not divide a latent of 12 values; allowed are 1, 2, 3, 4, 6, 12",
        ),
        (
            Layout("samples", {"values": (28, 20, 1)}),
            {"patch": 8},
            "reader.patch=8 does not divide samples of 28 x 20; allowed are 1, 2, 4",
        ),
        (
            Layout("latent-grid", {"a": (4, 2), "b": (3,)}),
            {},
            "it needs one array [cells, ..., channels]; the rows have a (4, 2), b (3,)",
        ),
    ],
)
def test_layouts_that_do_not_divide_into_tokens_are_refused(
    layout: Layout, settings: dict[str, Any], said: str
) -> None:
    assert reader_of(layout, **settings).refuses(layout) == said


def test_a_patch_that_does_not_fit_the_images_is_refused_with_the_cell() -> None:
    cell = resolve("pixels", "digits", overrides=[{"reader": {"name": "latent-transformer", "patch": 3}}])
    said = (
        r"reader 'latent-transformer' cannot read this layout: reader.patch=3 does not divide samples of 8 x 8; allowed"
    )
    with pytest.raises(Refused, match=said):
        cell.build()
    assert resolve("pixels", "digits", overrides=[{"reader": "latent-transformer"}]).build().reader is not None


def test_weights_are_refused_with_the_readers_that_read_them() -> None:
    said = (
        r"reader 'latent-transformer' reads latent, latent-grid, samples, but fitter 'meta-sgd' gives weights; "
        r"readers of weights that tell classes: .*knn.*latent-mlp.*linear-probe.*mlp"
    )
    with pytest.raises(Refused, match=said):
        resolve("wt", "digits", overrides=[{"reader": "latent-transformer", "joint": None}])
