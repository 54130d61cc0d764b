"""Every parameter count of MWT that the paper prints or implies, exactly, and its multiply-adds."""

from __future__ import annotations

from typing import Any

import pytest

from inrbench.cells import resolve
from inrbench.domains import Grid
from inrbench.settings import load_target
from inrbench.signals import PartSpec, SignalSpec


def counts(method: str, dataset: str, *overrides: dict[str, Any]) -> tuple[int, int]:
    """Parameters of the fitter (field, output, rates) and of the reader, without the data."""
    built = resolve(method, dataset, overrides=overrides).build()
    assert built.reader is not None
    return built.fitter.facts().parameters, built.reader.facts().parameters


def field(width: int = 128, depth: int = 4) -> dict[str, Any]:
    return {"inr": {"width": width, "depth": depth}}


def test_the_papers_default_has_its_printed_counts() -> None:
    assert counts("mwt", "cifar10") == (465_414, 1_078_538)
    assert counts("wt", "cifar10") == (465_414, 1_078_538)


def test_the_large_model_has_its_printed_counts() -> None:
    assert counts("mwt-l", "cifar10") == (1_848_326, 4_286_986)
    assert counts("mwt-l", "imagenette") == (1_320_454, 4_286_986)  # k = 4


@pytest.mark.parametrize(
    ("steps", "parameters"),
    [(1, 133_254), (2, 199_686), (4, 332_550), (6, 465_414), (8, 598_278), (10, 731_142)],
)
def test_each_inner_step_adds_a_row_of_rates(steps: int, parameters: int) -> None:
    assert counts("mwt", "cifar10", {"fitter": {"steps": steps}}) == (parameters, 1_078_538)


def test_shared_rates_count_once() -> None:
    assert counts("mwt", "cifar10", {"fitter": {"rates": "shared"}})[0] == 133_254


@pytest.mark.parametrize(
    ("depth", "fitter", "reader"),
    [(2, 234_246, 1_045_514), (4, 465_414, 1_078_538), (6, 696_582, 1_111_562), (8, 927_750, 1_144_586)],
)
def test_depth_changes_the_field_and_the_readers_tokens(depth: int, fitter: int, reader: int) -> None:
    assert counts("mwt", "cifar10", field(depth=depth)) == (fitter, reader)


@pytest.mark.parametrize(("width", "fitter", "reader"), [(64, 118_022, 273_034), (256, 1_848_326, 4_286_986)])
def test_width_changes_field_and_reader(width: int, fitter: int, reader: int) -> None:
    assert counts("mwt", "cifar10", field(width=width)) == (fitter, reader)


@pytest.mark.parametrize(("blocks", "reader"), [(5, 581_258), (10, 1_078_538), (15, 1_575_818), (20, 2_073_098)])
def test_blocks_change_the_reader_alone(blocks: int, reader: int) -> None:
    assert counts("mwt", "cifar10", {"reader": {"blocks": blocks}}) == (465_414, reader)


def test_the_reader_of_imagenet_has_a_head_of_a_thousand_classes() -> None:
    cell = resolve("mwt-l", "cifar10")
    plugin, settings = cell.plugins["reader"], cell.settings["reader"]
    assert plugin is not None
    spec = SignalSpec((PartSpec("grid", (32, 32), 2, 3),), num_classes=1000)
    reader = load_target(plugin.target, "test")(settings, cell.build().fitter.layout, spec)
    assert reader.facts().parameters == 4_541_416


def test_multiply_adds_are_those_of_the_definition() -> None:
    built = resolve("mwt", "cifar10").build()
    assert built.reader is not None
    facts, read = built.fitter.facts(), built.reader.facts().flops
    forward = built.fitter.field.flops(Grid.of(32, 32).num_points)  # type: ignore[attr-defined]
    assert forward == 2 * 1024 * (2 * 128 + 4 * 128 * 128 + 128 * 3)
    assert forward == pytest.approx(135.5e6, rel=1e-3)
    assert facts.train_flops == 57 * forward
    assert facts.fit_flops == 18 * forward
    assert read is not None
    assert 3 * read == pytest.approx(7.1e9, rel=0.01)
    assert facts.train_flops + 3 * read == pytest.approx(14.8e9, rel=0.01)
    assert facts.fit_flops + forward + read == pytest.approx(4.9e9, rel=0.01)  # fit, one pass of the result, read


@pytest.mark.parametrize("profile", ["paper", "laptop", "smoke"])
@pytest.mark.parametrize("dataset", ["cifar10", "digits"])
def test_mwt_l_is_twice_as_wide_as_mwt_in_every_profile(profile: str, dataset: str) -> None:
    wide, plain = (resolve(method, dataset, profile=profile).tree() for method in ("mwt-l", "mwt"))
    assert wide["inr"].pop("width") == 2 * plain["inr"].pop("width")
    assert wide == plain
