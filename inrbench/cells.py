"""Cells: one method on one data set with one seed and one set of settings, resolved and checked before any work."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

from inrbench.backends import Engine, engine_of
from inrbench.copied import check_copies
from inrbench.errors import BadSetting, InrbenchError, OutOfMemory, Refused, UnknownName, UsageError, nearest
from inrbench.interfaces import Classifier, DataSet, Fitter, Reader
from inrbench.plugin import Method, Plugin
from inrbench.registry import Registry, registry
from inrbench.settings import Augmentation, DataSettings, JointSettings, Settings, load_target, validated
from inrbench.signals import SignalSpec
from inrbench.trees import merge

__all__ = ["PROFILES", "Built", "Cell", "build_dataset", "parse_grid", "resolve"]

PROFILES = ("paper", "laptop", "smoke")
PARTS = ("data", "inr", "fitter", "reader", "joint")
EXAMPLES = {"data": "data.train_size=1000", "joint": "joint.share=0.01"}
#: What each augmentation is for.
COPIES = {"images": ("window", "pad", "rotate", "crop", "resized_crop", "flip"), "points": ("scale", "jitter")}


@dataclass(frozen=True)
class Built:
    """The parts of a cell, constructed: frameworks are loaded now, data is not."""

    dataset: DataSet
    spec: SignalSpec
    fitter: Fitter
    reader: Reader | None


@dataclass(frozen=True)
class Cell:
    """What a request resolves to: plugins, validated settings, profile and seed."""

    method: Method
    dataset: str  # as asked for, `folder:PATH` whole
    profile: str
    seed: int
    plugins: Mapping[str, Plugin | None]  # data, inr, fitter, reader
    settings: Mapping[str, Settings | None]  # data, inr, fitter, reader, joint
    label: str = ""  # a sweep's name for this row, where the method's does not do
    published: Mapping[str, Any] | None = None  # what a paper prints for it; part of the record and of no key

    @property
    def name(self) -> str:
        """``mwt+cifar10-laptop-s0``, with its label if it has one; a hash of the key behind it is the file's name."""
        label = "-" + re.sub(r"[^A-Za-z0-9.]+", "-", self.label).strip("-") if self.label else ""
        return f"{self.method.name}+{self.dataset}-{self.profile}-s{self.seed}{label}"

    @property
    def data_settings(self) -> DataSettings:
        """The settings of the data set."""
        return cast(DataSettings, self.settings["data"])

    @property
    def joint(self) -> JointSettings | None:
        """How fitter and reader train together; None where they do not."""
        return cast("JointSettings | None", self.settings["joint"])

    @property
    def backends(self) -> tuple[str, ...]:
        """The frameworks of its parts, each once, in the order of the stages; none where all are NumPy."""
        named = dict.fromkeys(plugin.backend for plugin in self.plugins.values() if plugin is not None)
        return tuple(backend for backend in named if backend != "numpy")

    def engine(self) -> Engine:
        """What runs its parts. Raises Refused where a framework is not installed."""
        return engine_of(self.backends)

    def tree(self) -> dict[str, Any]:
        """The resolved settings as plain values: what `show` prints and a record holds."""
        tree: dict[str, Any] = {}
        for part in PARTS:
            model = self.settings[part]
            plugin = self.plugins.get(part)
            if model is None:
                tree[part] = None
            else:
                named = {} if plugin is None or part == "data" else {"name": plugin.name, "backend": plugin.backend}
                tree[part] = named | model.model_dump(mode="json")
        return tree

    def build(self, fitter: Callable[[], Fitter] | None = None) -> Built:
        """Construct the parts, with ``fitter()`` for the fitter where it is given. Loads their frameworks.

        Raises Refused where a part refuses another, or settings that are no part's own; OutOfMemory where it is too
        large for this machine.
        """
        try:
            return self._built(fitter)
        except InrbenchError:
            raise
        except Exception as error:
            if isinstance(error, MemoryError) or self.engine().is_out_of_memory(error):
                raise OutOfMemory(f"{self.name}: its parts do not fit into memory: {error}") from error
            if isinstance(error, ValueError):
                raise Refused(f"{self.name}: a part refuses its settings: {error}") from error
            raise

    def build_fitter(self) -> Fitter:
        """The fitter alone, with its field. Raises as `build`."""
        alone = {"reader": None, "joint": None}
        return (
            replace(self, plugins={**self.plugins, "reader": None}, settings={**self.settings, **alone}).build().fitter
        )

    def _built(self, make: Callable[[], Fitter] | None) -> Built:
        dataset = build_dataset(cast(Plugin, self.plugins["data"]), self.dataset, self.data_settings)
        spec = dataset.spec()
        check_copies(self.data_settings.copies, spec)
        _check_copies(self.settings["fitter"], spec)
        inr = None
        fitter = None if make is None else make()
        if fitter is None:
            if self.plugins["inr"] is not None:
                inr = _target(self.plugins["inr"])(self.settings["inr"], spec)
            fitter = cast(Fitter, _target(self.plugins["fitter"])(self.settings["fitter"], spec, inr))
        reader = None
        if self.plugins["reader"] is not None:
            if "classes" in self.plugins["reader"].gives and spec.num_classes is None:
                alone = "--set reader=null" + (" --set joint=null" if self.joint is not None else "")
                raise Refused(
                    f"reader {self.plugins['reader'].name!r} tells classes, and data set {self.dataset!r} has none; "
                    f"{alone} scores the representations alone"
                )
            reader = cast(Reader, _target(self.plugins["reader"])(self.settings["reader"], fitter.layout, spec))
            reason = reader.refuses(fitter.layout)
            if reason is None and "classes" in self.plugins["reader"].gives and not isinstance(reader, Classifier):
                reason = "it is listed as giving classes, but lacks what interfaces.Classifier asks for"
            if reason:
                raise Refused(f"reader {self.plugins['reader'].name!r} cannot read this layout: {reason}")
        return Built(dataset, spec, fitter, reader)


def parse_grid(text: str) -> list[tuple[str, str]]:
    """``mwt,wt+mnist,cifar10`` as the four pairs of method and data set. Raises UsageError where it is none."""
    methods, plus, datasets = text.partition("+")
    if not plus or not methods or not datasets:
        raise UsageError(f"a cell is METHOD+DATASET, as in mwt+cifar10; given: {text!r}")
    places = [datasets] if ":" in datasets.split(",")[0] else datasets.split(",")
    return [(method.strip(), place.strip()) for method in methods.split(",") for place in places]


def resolve(
    method: str,
    dataset: str,
    *,
    profile: str = "paper",
    seed: int = 0,
    overrides: Sequence[Mapping[str, Any]] = (),
    label: str = "",
    known: Registry | None = None,
) -> Cell:
    """The cell of ``method`` on ``dataset``, checked: names, settings, and what fits what. Loads no framework.

    ``overrides`` are trees of settings, the later above the earlier: a sweep's, then ``--set``'s.
    Raises UnknownName, BadSetting or Refused.
    """
    known = known or registry()
    if seed < 0:
        raise UsageError(f"a seed is an integer from 0 on; given: {seed}")
    if profile not in PROFILES:
        raise UnknownName(f"no profile named {profile!r}; {nearest(profile, PROFILES)}")
    chosen = cast(Method, known.find("method", method))
    data = cast(Plugin, known.find("dataset", dataset))
    tree = merge(
        {"inr": chosen.inr, "fitter": chosen.fitter, "reader": chosen.reader, "joint": None},
        chosen.settings,
        chosen.for_dataset.get(data.name, {}),
        chosen.profiles.get(profile, {}),
        chosen.profiles_for_dataset.get(profile, {}).get(data.name, {}),
        merge(*overrides),  # together first: `reader.width=64` before `reader=mlp` is meant for the mlp
    )
    for key in tree:
        if key not in PARTS:
            raise BadSetting(f"no setting {key!r}; {nearest(key, PARTS)}")
    for key in ("data", "joint"):
        if tree.get(key) is not None and not isinstance(tree[key], Mapping):
            raise BadSetting(f"{key!r} holds settings, as in --set {EXAMPLES[key]}; given: {tree[key]!r}")
    fitter = _plugin(known, "fitter", tree)
    assert fitter is not None
    if not fitter.needs_inr and any(over.get("inr") is not None for over in overrides):
        raise BadSetting(f"fitter {fitter.name!r} adapts no INR, so 'inr' has no settings here")
    backend = fitter.backend if fitter.backend != "numpy" else None
    plugins = {
        "data": data,
        "inr": _plugin(known, "inr", tree, backend) if fitter.needs_inr else None,
        "fitter": fitter,
        "reader": _plugin(known, "reader", tree),
    }
    _check_fit(plugins, tree, known)
    settings: dict[str, Settings | None] = {}
    for part, plugin in plugins.items():
        if plugin is None:
            settings[part] = None
            continue
        model = load_target(plugin.settings, f"{plugin.kind} {plugin.name!r}")
        values = {k: v for k, v in (tree.get(part) or {}).items() if k not in ("name", "backend") or part == "data"}
        settings[part] = validated(model, values, part)
    settings["joint"] = None if tree.get("joint") is None else validated(JointSettings, tree["joint"], "joint")
    return Cell(chosen, dataset, profile, seed, plugins, settings, label)


def build_dataset(plugin: Plugin, name: str, settings: Settings) -> DataSet:
    """The data set that ``plugin`` describes; ``name`` may be ``scheme:rest``."""
    return cast(DataSet, _target(plugin)(settings, name.partition(":")[2]))


def _check_copies(fitter: Settings | None, spec: SignalSpec) -> None:
    """Refuse augmentations of another kind of signal, and to pad an image by more than a mirror of it holds."""
    asked = getattr(getattr(fitter, "train", None), "augmentation", None)
    if not isinstance(asked, Augmentation):
        return
    part = spec.parts[0]
    sides = " x ".join(map(str, part.shape))
    ours = "images" if part.domain == "grid" and len(part.shape) == 2 else part.domain
    none, shown = Augmentation(), f"a grid of {sides}" if part.domain == "grid" else part.domain
    for kind, names in COPIES.items():
        for name in names:
            value, allowed = getattr(asked, name), getattr(none, name)
            if kind != ours and value != allowed:
                raise BadSetting(
                    f"setting fitter.train.augmentation.{name}={value}: allowed is {allowed} for signals on {shown}, "
                    f"as it is for {'signals that are drawn at points' if kind == 'points' else kind} alone"
                )
    if ours == "images" and asked.pad >= min(part.shape):
        allowed = f"0 to {min(part.shape) - 1} for signals of {sides}"
        raise BadSetting(f"setting fitter.train.augmentation.pad={asked.pad}: allowed are {allowed}")


def _plugin(known: Registry, part: str, tree: Mapping[str, Any], backend: str | None = None) -> Plugin | None:
    value = tree.get(part)
    if value is None or (isinstance(value, Mapping) and value.get("name") is None):
        if part in ("reader",) and not value:
            return None
        stray = f"; settings were given for it: {', '.join(value)}" if value else ""
        names = [plugin.name for plugin in known.all(cast(Any, part))]
        raise BadSetting(f"no {part} is chosen{stray}; say --set {part}=NAME with one of: {_names(names)}")
    if not isinstance(value, Mapping):
        raise BadSetting(f"setting {part!r} takes a name, as in --set {part}=NAME; given: {value!r}")
    return cast(Plugin, known.find(cast(Any, part), str(value["name"]), backend=value.get("backend") or backend))


def _target(plugin: Plugin | None) -> Any:
    assert plugin is not None
    return load_target(plugin.target, f"{plugin.kind} {plugin.name!r}")


def _check_fit(plugins: Mapping[str, Plugin | None], tree: Mapping[str, Any], known: Registry) -> None:
    """Refuse parts that do not fit, saying which does not fit which, and what would."""
    data, inr, fitter, reader = (plugins[part] for part in ("data", "inr", "fitter", "reader"))
    assert data is not None
    assert fitter is not None
    if data.gives and fitter.takes and not fitter.reads(*data.gives):
        given = _names(data.gives)
        fitting = [f.name for f in known.all("fitter") if f.reads(*data.gives)]
        raise Refused(
            f"fitter {fitter.name!r} takes {_names(fitter.takes)}, but data set {data.name!r} gives {given}; "
            f"fitters that take {given}: {_names(fitting)}"
        )
    if inr is not None and data.gives and inr.takes and not inr.reads(*data.gives):
        given = _names(data.gives)
        fitting = [one.name for one in known.all("inr") if one.reads(*data.gives) and one.backend == fitter.backend]
        raise Refused(
            f"INR {inr.name!r} takes {_names(inr.takes)}, but data set {data.name!r} gives {given}; INRs that take "
            f"{given}: {_names(fitting)}"
        )
    if inr is not None and inr.backend != fitter.backend:
        raise Refused(f"INR {inr.name!r} is {inr.backend}, but fitter {fitter.name!r} is {fitter.backend}")
    if reader is not None and not reader.reads(*fitter.gives):
        given = _names(fitter.gives)
        fitting = [r.name for r in known.all("reader") if r.reads(*fitter.gives) and "classes" in r.gives]
        raise Refused(
            f"reader {reader.name!r} reads {_names(reader.takes)}, but fitter {fitter.name!r} gives "
            f"{given}; readers of {given} that tell classes: {_names(fitting)}"
        )
    if reader is not None and "representations" in reader.gives:
        raise Refused(
            f"reader {reader.name!r} generates and has nothing to score in a cell: `inrbench fit METHOD+DATASET -o "
            "DIR` makes a neural data set, and `inrbench generate DIR` trains it there and samples"
        )
    if tree.get("joint") is not None:
        if reader is None:
            raise Refused("joint training needs a reader: say --set reader=NAME, or --set joint=null")
        for plugin in (fitter, reader):
            if not plugin.joint:
                raise Refused(
                    f"{plugin.kind} {plugin.name!r} cannot train jointly; --set joint=null trains in two stages"
                )
        if reader.backend != fitter.backend:
            raise Refused(
                f"joint training needs one framework: fitter {fitter.name!r} is {fitter.backend}, "
                f"reader {reader.name!r} is {reader.backend}; --set joint=null trains in two stages"
            )


def _names(names: Iterable[str]) -> str:
    """Each once: twins of two backends share a name."""
    return ", ".join(dict.fromkeys(names)) or "none installed"
