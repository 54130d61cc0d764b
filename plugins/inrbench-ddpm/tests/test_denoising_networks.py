"""The denoising networks: shapes, parameters by hand, what they are told, where attention stands."""

from __future__ import annotations

import math

import pytest
import torch
from inrbench_ddpm.denoising import Conditioning, Denoiser, dropout, init_network, sinusoidal
from inrbench_ddpm.presets import sides_of
from inrbench_ddpm.residual_mlp import ResidualMLP
from inrbench_ddpm.unet import Attention, ResBlock, UNet, _resized

from inrbench.backends.torch.draws import torch_generator
from inrbench.draws import generator


def unet(side: int = 8, *, multiplier: tuple[int, ...] = (1, 2), attention: tuple[int, ...] = (), **own: int) -> UNet:
    sides = sides_of(side, len(multiplier))
    return UNet(
        sides, own.get("latent", 3), own.get("channels", 8), multiplier, own.get("blocks", 1), attention, 0.0, 4
    )


def drawn(network: Denoiser) -> Denoiser:
    """With every parameter drawn, those that start at zero too, so that all of them count."""
    init_network(network, torch_generator(generator(0, "network")))
    with torch.no_grad():
        for parameter in network.parameters():
            if not parameter.any():
                parameter.normal_(std=0.1, generator=torch.Generator().manual_seed(1))
    return network


def told(network: Denoiser, values: int, count: int = 3) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    z = torch.randn(count, values, generator=torch.Generator().manual_seed(0))
    return z, torch.tensor([1, 500, 1000][:count]), torch.tensor([0, 3, 4][:count])


@pytest.mark.parametrize(("side", "sides"), [(8, [8, 4, 2]), (7, [7, 4, 2]), (4, [4, 2, 1]), (5, [5, 3, 2])])
def test_a_unet_takes_even_and_odd_sides(side: int, sides: list[int]) -> None:
    network = drawn(unet(side, multiplier=(1, 2, 2), attention=(sides[1],), blocks=2))
    seen: list[tuple[int, ...]] = []
    for block in network.shrink:
        block.register_forward_hook(lambda _m, _i, out: seen.append(tuple(out.shape[-2:])))
    z, t, classes = told(network, side * side * 3)
    assert network(z, t, classes).shape == z.shape
    assert seen == [(one, one) for one in sides[1:]]


def test_attention_stands_where_it_is_asked_for_and_there_alone() -> None:
    def counted(attention: tuple[int, ...]) -> int:
        network = unet(8, multiplier=(1, 1, 1), attention=attention, blocks=2)
        return sum(isinstance(module, Attention) for module in network.modules())

    assert counted(()) == 1  # the middle's, which is always there
    assert counted((8,)) == 1 + 2 + 3  # on the way down, and on the way up
    assert counted((8, 4, 2)) == 1 + 5 * 3


def test_the_unet_of_the_papers_imagenet_setting_has_as_many_parameters_as_the_paper_prints() -> None:
    with torch.device("meta"):
        network = UNet([32, 16, 8, 4], 64, 320, [1, 2, 2, 2], 2, [8, 16], 0.0, 1000)
    assert round(sum(p.numel() for p in network.parameters()) / 1e6) == 277


def test_the_parameters_of_a_residual_mlp_are_those_of_its_layers() -> None:
    values, width, blocks, classes = 6, 16, 2, 4
    network = ResidualMLP(values, width, blocks, 0.0, classes)
    conditioning = (128 * width + width) + (width * width + width) + (classes + 1) * width
    block = 3 * (width * width + width) + 2 * (2 * width)
    expected = (values * width + width) + conditioning + blocks * block + (width * values + values)
    assert sum(p.numel() for p in network.parameters()) == expected
    assert sum(p.numel() for p in ResidualMLP(values, width, blocks, 0.0, None).parameters()) == expected - 5 * width


def test_the_parameters_of_a_residual_block_are_those_of_its_layers() -> None:
    same = 2 * (8 * 8 * 9 + 8) + 2 * (2 * 8) + (32 * 16 + 16)
    assert sum(p.numel() for p in ResBlock(8, 8, 32, 0.0).parameters()) == same
    wider = (8 * 16 * 9 + 16) + (16 * 16 * 9 + 16) + 2 * 8 + 2 * 16 + (32 * 32 + 32) + (8 * 16 + 16)
    assert sum(p.numel() for p in ResBlock(8, 16, 32, 0.0).parameters()) == wider


@pytest.mark.parametrize("network", [ResidualMLP(48, 16, 2, 0.0, 4), unet(4, attention=(2,))])
def test_a_new_network_answers_zero(network: Denoiser) -> None:
    init_network(network, torch_generator(generator(0, "network")))
    z, t, classes = told(network, 48)
    assert not network(z, t, classes).any()


@pytest.mark.parametrize("network", [ResidualMLP(48, 16, 2, 0.0, 4), unet(4, attention=(2,))])
def test_the_answer_depends_on_the_row_its_time_step_and_its_class_alone(network: Denoiser) -> None:
    network = drawn(network)
    z, t, classes = told(network, 48)
    whole = network(z, t, classes)
    for i in range(3):
        torch.testing.assert_close(network(z[i : i + 1], t[i : i + 1], classes[i : i + 1]), whole[i : i + 1])
    assert not torch.allclose(network(z, t.flip(0), classes)[0], whole[0], atol=1e-4)
    assert not torch.allclose(network(z, t, classes.flip(0))[0], whole[0], atol=1e-4)


def test_the_residual_mlp_sees_how_long_a_row_is() -> None:
    network = drawn(ResidualMLP(48, 64, 2, 0.0, 4))
    z, t, classes = told(network, 48)
    small, large = network(z, t, classes), network(100.0 * z, t, classes)
    assert (large.norm(dim=1) > 20.0 * small.norm(dim=1)).all()


def test_moving_the_cells_of_a_unets_input_moves_those_of_its_answer() -> None:
    """Cells come first and channels last: a value's neighbours in a row are its own cell's."""
    network = drawn(unet(8, multiplier=(1,), blocks=1))
    z, t, classes = told(network, 192, 1)
    moved = z.reshape(8, 8, 3).clone()
    moved[0, 7] += 10.0  # the corner up on the right
    away = (network(moved.reshape(1, -1), t[:1], classes[:1]) - network(z, t[:1], classes[:1])).reshape(8, 8, 3).abs()
    norms = away.detach().sum(dim=-1)
    near = float(norms[:3, 5:].mean())
    assert near > 2.0 * float(norms[5:, 5:].mean())
    assert near > 2.0 * float(norms[:3, :3].mean())


def test_sinusoids_are_cosines_and_sines_of_falling_frequencies() -> None:
    found = sinusoidal(torch.tensor([0, 7]), 6)
    frequencies = [1.0, 1e-2, 1e-4]
    expected = [[math.cos(t * f) for f in frequencies] + [math.sin(t * f) for f in frequencies] for t in (0, 7)]
    torch.testing.assert_close(found, torch.tensor(expected))
    assert sinusoidal(torch.tensor([3]), 5).shape == (1, 5)


def test_a_conditioning_without_classes_asks_for_none() -> None:
    assert Conditioning(8, 16, None)(torch.tensor([1, 2]), None).shape == (2, 16)
    assert Conditioning(8, 16, 3).classes.num_embeddings == 4  # type: ignore[union-attr]  # one for the withheld


def test_dropout_is_drawn_from_its_generator_and_keeps_the_mean() -> None:
    ones = torch.ones(100, 200)
    assert dropout(ones, 0.4, None) is ones
    one = dropout(ones, 0.4, torch.Generator().manual_seed(3))
    assert one.unique().tolist() == pytest.approx([0.0, 1 / 0.6])
    assert float((one == 0).float().mean()) == pytest.approx(0.4, abs=0.01)
    assert torch.equal(one, dropout(ones, 0.4, torch.Generator().manual_seed(3)))


def test_the_initialisation_depends_on_its_generator_alone() -> None:
    def state(seed: int) -> list[torch.Tensor]:
        torch.manual_seed(seed)
        network = unet(4, attention=(4,))
        init_network(network, torch_generator(generator(0, "network")))
        return list(network.parameters())

    assert all(torch.equal(a, b) for a, b in zip(state(1), state(2), strict=True))


@pytest.mark.parametrize(("channels", "groups"), [(320, 32), (640, 32), (32, 8), (20, 5), (8, 2), (3, 1)])
def test_a_group_of_group_norm_has_four_channels_or_more(channels: int, groups: int) -> None:
    assert ResBlock(channels, channels, 8, 0.0).norm_first.num_groups == groups


def test_a_residual_block_is_told_by_a_scale_and_a_shift_behind_its_second_norm() -> None:
    torch.manual_seed(0)
    block = ResBlock(8, 16, 5, 0.0)
    grid, condition = torch.randn(2, 8, 3, 3), torch.randn(2, 5)
    scale, shift = block.condition(condition)[:, :, None, None].split(16, dim=1)
    silu = torch.nn.functional.silu
    inner = block.norm_second(block.first(silu(block.norm_first(grid))))
    expected = block.skip(grid) + block.second(silu((1.0 + scale) * inner + shift))
    torch.testing.assert_close(block(grid, condition, None), expected)


def test_halving_averages_cells_and_leaves_the_last_of_an_odd_number_alone() -> None:
    grid = torch.arange(9.0).reshape(1, 1, 3, 3)
    assert _resized(grid, 2).flatten().tolist() == [2.0, 3.5, 6.5, 8.0]
    assert _resized(torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]]), 3)[0, 0].tolist() == [[1, 1, 2], [1, 1, 2], [3, 3, 4]]
