"""Inception-v3: its size, the pools that tell FID's network from torchvision's, its input, files that are refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from inrbench_ddpm.inception import IMAGENET, Inception, InceptionV3, images_for
from inrbench_ddpm.settings import InceptionSettings
from safetensors.torch import save_file

from inrbench.cell_run import CellRun
from inrbench.errors import BadData, BadSetting
from inrbench.representations import Layout, Representations
from inrbench.signals import PartSpec, SignalSpec

LAYOUT = Layout("samples", {"values": (8, 8, 1)})
SPEC = SignalSpec((PartSpec("grid", (8, 8), 2, 1),))


def weights(classes: int, **more: torch.Tensor) -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    network = InceptionV3(of_fid=False)
    return {**network.state_dict(), "fc.weight": torch.zeros(classes, 2048), "fc.bias": torch.zeros(classes), **more}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    folder = tmp_path_factory.mktemp("weights")
    paths = {classes: folder / f"{classes}.safetensors" for classes in (1000, 1008)}
    for classes, path in paths.items():
        save_file(weights(classes, **{"AuxLogits.fc.weight": torch.zeros(1)}), path)
    return paths


def test_it_has_as_many_parameters_as_torchvisions() -> None:
    # torchvision: 27,161,264, less 3,326,696 of AuxLogits (98,560 + 2,459,136 + 769,000) and 2,049,000 of fc
    with torch.device("meta"):
        found = sum(p.numel() for p in InceptionV3(of_fid=False).parameters())
    assert found == 27_161_264 - 3_326_696 - 2_049_000


def test_fids_network_leaves_borders_out_of_averages_and_ends_in_a_largest_value() -> None:
    with torch.device("meta"):
        ours, of_fid = InceptionV3(of_fid=False), InceptionV3(of_fid=True)
    names = [name for name, block in of_fid.named_children() if hasattr(block, "pool")]
    assert len(names) == 9
    assert all(getattr(ours, name).pool.count_include_pad for name in names)
    assert not any(getattr(of_fid, name).pool.count_include_pad for name in names[:-1])
    assert names[-1] == "Mixed_7c"
    assert isinstance(of_fid.Mixed_7c.pool, torch.nn.MaxPool2d)


def test_a_distance_is_named_fid_on_its_own_network_alone(files: dict[int, Path]) -> None:
    one = Inception(InceptionSettings(file=str(files[1008])), LAYOUT, SPEC)
    other = Inception(InceptionSettings(file=str(files[1000])), LAYOUT, SPEC)
    assert (one.metric, other.metric) == ("FID", "Fréchet distance on torchvision's Inception-v3")
    assert one.described()["values"] == "[-1, 1]"
    assert one.described()["weights_sha256"] != other.described()["weights_sha256"]
    values = np.linspace(-0.2, 1.2, 128, dtype=np.float32).reshape(2, 8, 8, 1)
    rows = Representations(LAYOUT, {"values": values}, np.arange(2), np.zeros(2, dtype=np.int64))
    features = [reader.predict(rows, CellRun(0), tap=("features",))["features"] for reader in (one, other)]
    assert features[0].shape == (2, 2048)
    assert not np.allclose(features[0], features[1])
    clipped = Representations(LAYOUT, {"values": np.clip(values, 0.0, 1.0)}, rows.ids, rows.copies)
    np.testing.assert_array_equal(one.predict(clipped, CellRun(0))["features"], features[0])


def test_its_input_is_resized_rounded_and_moved_to_what_each_network_expects() -> None:
    pixels = torch.tensor([0.0, 1.0])[None, :, None, None].expand(1, 2, 2, 1)  # dark above, bright below
    fid = images_for(pixels, of_fid=True)
    assert fid.shape == (1, 3, 299, 299)
    assert fid[0, :, 0].unique().tolist() == [-1.0]
    assert fid[0, :, -1].unique().tolist() == pytest.approx([1.0] * len(fid[0, :, -1].unique()))
    assert float(fid[0, 0, 149, 0]) == pytest.approx(0.0, abs=1e-6)  # the middle
    own = images_for(pixels, of_fid=False)
    for channel, (mean, spread) in enumerate(zip(*IMAGENET, strict=True)):
        assert float(own[0, channel, 0, 0]) == pytest.approx(-mean / spread, rel=1e-5)
    assert images_for(torch.full((1, 2, 2, 3), 0.1234), of_fid=True)[0, 0, 0, 0] == pytest.approx(2 * 31 / 255 - 1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"fc.weight": torch.zeros(10, 2048)}, "it has 10"),
        ({"fc.weight": None}, "it has none"),
        ({"Mixed_5b.branch1x1.conv.weight": torch.zeros(1, 1, 1, 1)}, "Mixed_5b.branch1x1.conv.weight"),
        ({"Mixed_5b.branch1x1.bn.bias": None}, "Mixed_5b.branch1x1.bn.bias"),
    ],
)
def test_a_file_of_other_weights_is_refused_and_says_what_differs(change: Any, message: str, tmp_path: Path) -> None:
    found = {name: value for name, value in {**weights(1000), **change}.items() if value is not None}
    path = tmp_path / "weights.safetensors"
    save_file(found, path)
    with pytest.raises(BadSetting, match=message):
        Inception(InceptionSettings(file=str(path)), LAYOUT, SPEC)


def test_a_pickle_is_refused_with_the_way_to_a_file_that_cannot_run_code(tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    torch.save(weights(1000), path)
    with pytest.raises(BadData, match=r"no safetensors file .* weights_only=True"):
        Inception(InceptionSettings(file=str(path)), LAYOUT, SPEC)


def test_images_of_two_channels_are_refused(files: dict[int, Path]) -> None:
    layout = Layout("samples", {"values": (8, 8, 2)})
    reader = Inception(InceptionSettings(file=str(files[1000])), layout, SPEC)
    assert reader.refuses(layout) == "it reads images [height, width, 1 or 3]; given: [8, 8, 2]"
    assert Inception(InceptionSettings(file=str(files[1000])), LAYOUT, SPEC).refuses(LAYOUT) is None
