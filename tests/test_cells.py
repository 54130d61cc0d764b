"""Cells: what a request resolves to, on plugins that live in memory alone."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest

from inrbench.cells import COPIES, Cell, _check_copies, parse_grid, resolve
from inrbench.errors import BadSetting, Refused, UnknownName, UsageError
from inrbench.plugin import Method, Plugin, hookimpl
from inrbench.registry import Registry
from inrbench.settings import Augmentation, DataSettings, Settings, SignalTrainingSettings, setting
from inrbench.signals import PartSpec, SignalSpec


class FitterSettings(Settings):
    steps: int = setting(1, "steps")
    lr: float = setting(0.1, "rate", gt=0.0)


class TrainedSettings(Settings):
    train: SignalTrainingSettings = SignalTrainingSettings()


class FieldSettings(Settings):
    width: int = setting(8, "width")


class ReaderSettings(Settings):
    depth: int = setting(2, "depth")


def plugin(kind: Any, name: str, settings: str = "", **more: Any) -> Plugin:
    model = settings or {"fitter": "FitterSettings", "inr": "FieldSettings", "reader": "ReaderSettings"}[kind]
    return Plugin(
        api_version=1,
        kind=kind,
        name=name,
        summary="",
        target="nowhere:Nothing",
        settings=f"fake_settings_of_cells:{model}",
        **more,
    )


FITTERS = [
    plugin("fitter", "descend", backend="torch", takes=("grid",), gives=("weights",), needs_inr=True, joint=True),
    plugin("fitter", "hyper", backend="torch", takes=("grid", "rays"), gives=("tokens",)),
    plugin("fitter", "copy", takes=("grid",), gives=("samples",)),
    plugin("fitter", "seen", backend="torch", takes=("rays",), gives=("weights",), needs_inr=True),
]
FIELDS = [
    plugin("inr", "siren", backend="torch"),
    plugin("inr", "flat", backend="torch", takes=("grid", "points")),
    plugin("inr", "radiance", backend="torch", takes=("rays",)),
    plugin("inr", "jaxy", backend="jax"),
    plugin("inr", "radiance", backend="jax", takes=("rays",)),
    plugin("inr", "cones", backend="jax", takes=("rays",)),
]
READERS = [
    plugin("reader", "transformer", backend="torch", takes=("weights",), joint=True),
    plugin("reader", "probe", takes=("weights", "tokens"), gives=("classes",), joint=True),
    plugin("reader", "sampler", takes=("tokens",), gives=("representations",)),
    plugin("reader", "frozen", backend="torch", takes=("weights",)),
    plugin("reader", "any", takes=("*",), gives=("classes",)),
]
DATASETS = [
    plugin("dataset", "images", "DataSettings", gives=("grid",)),
    plugin("dataset", "scenes", "DataSettings", gives=("rays",)),
    plugin("dataset", "clouds", "DataSettings", gives=("points",)),
    plugin("dataset", "folder", "DataSettings", gives=("grid",), scheme=True),
]
METHODS = [
    Method(
        api_version=1,
        name="joint",
        summary="",
        inr="siren",
        fitter="descend",
        reader="transformer",
        settings={"joint": {}},
    ),
    Method(api_version=1, name="two-stage", summary="", inr="siren", fitter="descend", reader="transformer"),
    Method(api_version=1, name="bare", summary="", inr="siren", fitter="descend"),
    Method(api_version=1, name="tokens", summary="", fitter="hyper", reader="any"),
    Method(api_version=1, name="views", summary="", inr="radiance", fitter="seen"),
    Method(
        api_version=1,
        name="layered",
        summary="",
        inr="siren",
        fitter="descend",
        settings={"fitter": {"steps": 10}},
        for_dataset={"images": {"fitter": {"steps": 20}}},
        profiles={"smoke": {"fitter": {"steps": 30}}},
        profiles_for_dataset={"smoke": {"images": {"fitter": {"steps": 40}}}},
    ),
]


class _Point:
    name, value, dist = "plugin", "fake_plugins_of_cells", None

    def __init__(self, module: ModuleType) -> None:
        self.module = module

    def load(self) -> ModuleType:
        return self.module


@pytest.fixture
def known(monkeypatch: pytest.MonkeyPatch) -> Registry:
    settings = ModuleType("fake_settings_of_cells")
    for model in (FitterSettings, FieldSettings, ReaderSettings, DataSettings):
        setattr(settings, model.__name__, model)
    monkeypatch.setitem(sys.modules, settings.__name__, settings)
    module = ModuleType("fake_plugins_of_cells")
    listed: dict[str, list[Any]] = {
        "inrs": FIELDS,
        "fitters": FITTERS,
        "readers": READERS,
        "datasets": DATASETS,
        "methods": METHODS,
    }
    for plural, records in listed.items():

        def hook(records: Any = tuple(records)) -> Any:
            return records

        hook.__name__ = f"inrbench_{plural}"
        setattr(module, hook.__name__, hookimpl(hook))
    return Registry([_Point(module)])  # type: ignore[list-item]


@pytest.fixture
def cell(known: Registry) -> Callable[..., Cell]:
    def make(method: str, dataset: str = "images", *overrides: dict[str, Any], **more: Any) -> Cell:
        return resolve(method, dataset, overrides=overrides, known=known, **more)

    return make


Resolve = Callable[..., Cell]


# ------------------------------------------------------------------ grids


@pytest.mark.parametrize(
    ("text", "pairs"),
    [
        ("mwt+mnist", [("mwt", "mnist")]),
        (
            "mwt,wt+mnist,cifar10",
            [("mwt", "mnist"), ("mwt", "cifar10"), ("wt", "mnist"), ("wt", "cifar10")],
        ),
        ("mwt , wt + mnist", [("mwt", "mnist"), ("wt", "mnist")]),
        ("siren+folder:/a,b/c+d", [("siren", "folder:/a,b/c+d")]),
        ("siren+mnist,folder:/a", [("siren", "mnist"), ("siren", "folder:/a")]),
    ],
)
def test_a_grid_is_every_method_on_every_data_set(text: str, pairs: list[tuple[str, str]]) -> None:
    assert parse_grid(text) == pairs


@pytest.mark.parametrize("text", ["mwt", "+mnist", "mwt+", "", "mwt,mnist"])
def test_what_is_no_grid_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_grid(text)
    assert str(caught.value) == f"a cell is METHOD+DATASET, as in mwt+cifar10; given: {text!r}"


# ------------------------------------------------------------------ settings in their order


def steps(made: Cell) -> int:
    settings = made.settings["fitter"]
    assert isinstance(settings, FitterSettings)
    return settings.steps


def test_settings_apply_in_their_order(cell: Resolve) -> None:
    assert steps(cell("bare")) == 1
    assert steps(cell("layered", "folder:/a")) == 10
    assert steps(cell("layered")) == 20
    assert steps(cell("layered", "folder:/a", profile="smoke")) == 30
    assert steps(cell("layered", profile="smoke")) == 40
    assert steps(cell("layered", "images", {"fitter": {"steps": 50}}, profile="smoke")) == 50
    over = [{"fitter": {"steps": count}} for count in (50, 60)]
    assert steps(cell("layered", "images", *over, profile="smoke")) == 60


def test_a_level_leaves_alone_what_it_does_not_name(cell: Resolve) -> None:
    tree = cell("layered", "images", {"fitter": {"lr": 0.5}}, {"inr": {"width": 3}}, profile="smoke").tree()
    assert (tree["fitter"]["steps"], tree["fitter"]["lr"], tree["inr"]["width"]) == (40, 0.5, 3)


def test_what_a_cell_resolved_to_resolves_to_the_same_cell(cell: Resolve) -> None:
    first = cell("joint", "images", {"fitter": {"steps": 7}, "data": {"test_size": 3}}, profile="smoke", seed=4)
    again = cell("joint", "images", first.tree(), profile="smoke", seed=4)
    assert again == first
    assert again.tree() == first.tree()


def test_a_tree_names_the_parts_and_what_is_not_there(cell: Resolve) -> None:
    tree = cell("bare").tree()
    assert tree["inr"] == {"name": "siren", "backend": "torch", "width": 8}
    assert (tree["reader"], tree["joint"]) == (None, None)
    assert tree["data"]["scored"] == "test"


def test_a_cell_is_named_for_what_it_is(cell: Resolve) -> None:
    assert cell("bare", "folder:/a", profile="smoke", seed=3).name == "bare+folder:/a-smoke-s3"
    assert cell("bare").backends == ("torch",)


def test_a_part_can_be_swapped(cell: Resolve) -> None:
    swapped = cell("two-stage", "images", {"reader": "any"})
    assert swapped.plugins["reader"] == READERS[-1]
    assert cell("two-stage", "images", {"reader": None}).plugins["reader"] is None
    assert cell("two-stage", "images", {"joint": {}}).joint is not None
    assert cell("joint", "images", {"joint": None}).joint is None


def test_an_inr_is_looked_for_in_the_fitters_framework(cell: Resolve) -> None:
    with pytest.raises(UnknownName, match="INR 'jaxy' exists for jax, but torch is needed here"):
        cell("bare", "images", {"inr": "jaxy"})


# ------------------------------------------------------------------ refusals


@pytest.mark.parametrize(
    ("method", "dataset", "overrides", "message"),
    [
        (
            "bare",
            "scenes",
            {},
            "fitter 'descend' takes grid, but data set 'scenes' gives rays; fitters that take rays: hyper, seen",
        ),
        (
            "bare",
            "clouds",
            {},
            "fitter 'descend' takes grid, but data set 'clouds' gives points; fitters that take points: none installed",
        ),
        (
            "views",
            "scenes",
            {"inr": "flat"},
            "INR 'flat' takes grid, points, but data set 'scenes' gives rays; INRs that take rays: radiance",
        ),
        (
            "bare",
            "images",
            {"inr": {"name": "jaxy", "backend": "jax"}},
            "INR 'jaxy' is jax, but fitter 'descend' is torch",
        ),
        (
            "tokens",
            "images",
            {"reader": "transformer"},
            "reader 'transformer' reads weights, but fitter 'hyper' gives tokens; "
            "readers of tokens that tell classes: any, probe",
        ),
        (
            "bare",
            "images",
            {"joint": {"share": 0.1}},
            "joint training needs a reader: say --set reader=NAME, or --set joint=null",
        ),
        (
            "tokens",
            "images",
            {"joint": {}},
            "fitter 'hyper' cannot train jointly; --set joint=null trains in two stages",
        ),
        (
            "joint",
            "images",
            {"reader": "frozen"},
            "reader 'frozen' cannot train jointly; --set joint=null trains in two stages",
        ),
        (
            "joint",
            "images",
            {"reader": "probe"},
            "joint training needs one framework: fitter 'descend' is torch, reader 'probe' is numpy; "
            "--set joint=null trains in two stages",
        ),
    ],
)
def test_parts_that_do_not_fit_are_refused(
    cell: Resolve, method: str, dataset: str, overrides: dict[str, Any], message: str
) -> None:
    with pytest.raises(Refused) as caught:
        cell(method, dataset, overrides)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"fiter": {"steps": 3}}, "no setting 'fiter'; did you mean 'fitter'? known: data, fitter, inr, joint, reader"),
        (
            {"fitter.steps": 3},
            "no setting 'fitter.steps'; did you mean 'fitter'? known: data, fitter, inr, joint, reader",
        ),
        ({"data": 5}, "'data' holds settings, as in --set data.train_size=1000; given: 5"),
        ({"joint": 0.1}, "'joint' holds settings, as in --set joint.share=0.01; given: 0.1"),
        ({"reader": 5}, "setting 'reader' takes a name, as in --set reader=NAME; given: 5"),
        ({"fitter": None}, "no fitter is chosen; say --set fitter=NAME with one of: copy, descend, hyper"),
        ({"inr": None}, "no inr is chosen; say --set inr=NAME with one of: cones, flat, jaxy, radiance, siren"),
        (
            {"reader": {"depth": 3, "lr": 1}},
            "no reader is chosen; settings were given for it: depth, lr; "
            "say --set reader=NAME with one of: any, frozen, probe, sampler, transformer",
        ),
        (
            {"fitter": {"stesp": 3}},
            "no setting 'fitter.stesp'; did you mean 'fitter.steps'? known: fitter.lr, fitter.steps",
        ),
        ({"fitter": {"steps": True}}, "setting fitter.steps=True: input should be a valid integer"),
        ({"inr": {"width": "8"}}, "setting inr.width='8': input should be a valid integer"),
        ({"data": {"name": "x"}}, "no setting 'data.name'; did you mean "),
    ],
    ids=repr,
)
def test_wrong_settings_are_refused(cell: Resolve, overrides: dict[str, Any], message: str) -> None:
    with pytest.raises(BadSetting) as caught:
        cell("bare", "images", overrides)
    assert str(caught.value).startswith(message)


def test_an_inr_is_refused_where_the_fitter_adapts_none(cell: Resolve) -> None:
    with pytest.raises(BadSetting, match="fitter 'hyper' adapts no INR, so 'inr' has no settings here"):
        cell("tokens", "images", {"inr": "siren"})


@pytest.mark.parametrize(
    ("method", "dataset", "message"),
    [
        (
            "bear",
            "images",
            "no method named 'bear'; did you mean 'bare'? known: bare, joint, layered, tokens, two-stage",
        ),
        ("bare", "image", "no data set named 'image'; did you mean 'images'? known: clouds, folder, images, scenes"),
        ("bare", "folder", "data set 'folder': 'folder' needs a place, as in 'folder:PATH'"),
        ("bare", "images:/a", "data set 'images:/a': 'images' takes none, as in 'images'"),
        ("bare", "file:/a", "no data set named 'file'; "),
    ],
)
def test_unknown_names_are_refused_with_the_nearest(cell: Resolve, method: str, dataset: str, message: str) -> None:
    with pytest.raises(UnknownName) as caught:
        cell(method, dataset)
    assert str(caught.value).startswith(message)


def test_an_unknown_profile_and_a_negative_seed_are_refused(cell: Resolve) -> None:
    with pytest.raises(
        UnknownName, match=r"no profile named 'laptob'; did you mean 'laptop'\? known: laptop, paper, smoke"
    ):
        cell("bare", profile="laptob")
    with pytest.raises(UsageError, match="a seed is an integer from 0 on; given: -1"):
        cell("bare", seed=-1)


def test_resolving_loads_no_part(cell: Resolve) -> None:
    """The fake plugins' targets do not exist: whatever resolves has not loaded them."""
    for method, dataset in itertools.product(["joint", "bare", "tokens"], ["images", "folder:/a"]):
        assert cell(method, dataset).settings["data"] == DataSettings()


# ------------------------------------------------------------------ augmented copies


def check_copies(domain: Any, shape: tuple[int, ...], **asked: Any) -> None:
    train = SignalTrainingSettings(augmentation=Augmentation(**asked))
    part = PartSpec(domain, shape, coord_dim=3 if domain != "grid" else len(shape), channels=1)
    _check_copies(TrainedSettings(train=train), SignalSpec((part,)))


@pytest.mark.parametrize(
    ("domain", "shape", "asked"),
    [
        ("grid", (28, 20), {"pad": 19, "rotate": 30.0, "crop": "centre", "resized_crop": 0.8, "flip": True}),
        ("points", (2048,), {"scale": 0.1, "jitter": 0.01}),
        ("grid", (4, 28, 28), {}),
        ("points", (2048,), {}),
        ("rays", (8, 16, 16), {}),
    ],
)
def test_signals_are_augmented_by_what_is_for_them(domain: str, shape: tuple[int, ...], asked: dict[str, Any]) -> None:
    check_copies(domain, shape, **asked)


@pytest.mark.parametrize(
    ("domain", "shape", "asked", "message"),
    [
        ("grid", (28, 20), {"pad": 20}, "pad=20: allowed are 0 to 19 for signals of 28 x 20"),
        (
            "grid",
            (28, 20),
            {"scale": 0.1},
            "scale=0.1: allowed is 0.0 for signals on a grid of 28 x 20, as it is for "
            "signals that are drawn at points alone",
        ),
        ("grid", (28, 20), {"jitter": 0.01, "pad": 20}, "jitter=0.01: allowed is 0.0 for signals on a grid of 28 x 20"),
        (
            "grid",
            (4, 28, 28),
            {"pad": 2},
            "pad=2: allowed is 0 for signals on a grid of 4 x 28 x 28, as it is for images alone",
        ),
        ("grid", (16000,), {"flip": True}, "flip=True: allowed is False for signals on a grid of 16000, as it is"),
        ("points", (2048,), {"rotate": 30.0}, "rotate=30.0: allowed is 0.0 for signals on points, as it is for images"),
        ("points", (2048,), {"crop": "centre"}, "crop=centre: allowed is random for signals on points"),
        ("points", (2048,), {"resized_crop": 0.8}, "resized_crop=0.8: allowed is 1.0 for signals on points"),
        ("rays", (8, 16, 16), {"jitter": 0.1}, "jitter=0.1: allowed is 0.0 for signals on rays"),
        ("rays", (8, 16, 16), {"flip": True}, "flip=True: allowed is False for signals on rays"),
    ],
)
def test_augmentations_for_other_signals_are_refused(
    domain: str, shape: tuple[int, ...], asked: dict[str, Any], message: str
) -> None:
    with pytest.raises(BadSetting) as caught:
        check_copies(domain, shape, **asked)
    assert str(caught.value).startswith(f"setting fitter.train.augmentation.{message}")
    assert "\n" not in str(caught.value)


def test_a_fitter_without_a_training_loop_of_ours_has_no_copies_to_check() -> None:
    part = PartSpec("rays", (8, 16, 16), 3, 3)
    _check_copies(None, SignalSpec((part,)))
    _check_copies(FitterSettings(), SignalSpec((part,)))


def test_every_augmentation_is_for_one_kind_of_signal() -> None:
    assert sorted(itertools.chain(*COPIES.values())) == sorted(Augmentation.model_fields)
