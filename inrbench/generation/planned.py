"""A request to generate: which generator on which neural data set, with which settings, and how much it draws."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np

from inrbench.artefact import Artefact
from inrbench.cells import PROFILES
from inrbench.errors import BadSetting, Refused, UnknownName, UsageError, nearest
from inrbench.interfaces import Generator
from inrbench.keys import reading_ingredients, reading_keys
from inrbench.plugin import Plugin
from inrbench.registry import Registry, registry
from inrbench.settings import Settings, load_target, validated
from inrbench.trees import merge

__all__ = ["Generation", "plan_generation"]

SAMPLES = {"paper": 50_000, "laptop": 1_000, "smoke": 64}
#: The reader of pixels whose features and classes samples are scored with.
CLASSIFIER = "cnn"


@dataclass(frozen=True)
class Generation:
    """A request, checked: a generator with its settings on a neural data set, and how much it draws."""

    artefact: Artefact
    plugin: Plugin
    settings: Settings
    profile: str
    seed: int
    samples: int
    guidances: tuple[float, ...]  # none: what the settings say, once
    classes: tuple[int, ...] | None  # that are asked for; all if None
    classifier: tuple[Plugin, Settings]
    extractor: tuple[Plugin, Settings] | None

    def build(self, guidance: float | None = None) -> Generator:
        """The generator. Raises Refused where it cannot read these rows, BadSetting."""
        settings = self.settings_of(guidance)
        try:
            made = load_target(self.plugin.target, f"reader {self.plugin.name!r}")(
                settings, self.artefact.layout, self.artefact.signal
            )
        except ValueError as error:
            raise Refused(f"reader {self.plugin.name!r} refuses its settings: {error}") from error
        if reason := made.refuses(self.artefact.layout):
            raise Refused(f"reader {self.plugin.name!r} cannot read {self.artefact.folder}: {reason}")
        if not isinstance(made, Generator):
            raise Refused(f"reader {self.plugin.name!r} lacks what interfaces.Generator asks for")
        return made

    def settings_of(self, guidance: float | None) -> Settings:
        """The settings, with another guidance."""
        if guidance is None:
            return self.settings
        return validated(type(self.settings), {**self.settings.model_dump(), "guidance": guidance}, "reader")

    def keys(self, guidance: float | None, device: str) -> dict[str, str]:
        """Of its training (read) and of what it draws (score)."""
        drawn = json.dumps([self.samples, self.classes])
        kind = device.partition(":")[0]
        settings = self.settings_of(guidance)
        ingredients = reading_ingredients(self.plugin, settings, self.seed, self.artefact.key, kind, drawn)
        return {**self.artefact.manifest["origin"].get("keys", {}), **reading_keys(ingredients)}


def plan_generation(
    artefact: Artefact,
    *,
    overrides: Sequence[Mapping[str, Any]] = (),
    profile: str | None = None,
    seed: int = 0,
    samples: int | None = None,
    guidances: Sequence[float] = (),
    classes: Sequence[int] | None = None,
    extractor: str | None = None,
    known: Registry | None = None,
) -> Generation:
    """Check a request. The profile is the one that ``artefact`` was made with if None; ``extractor`` is ``NAME:FILE``.

    Raises UsageError with one line where something does not fit: names, settings, kinds, classes.
    """
    known = known or registry()
    profile = profile or str(artefact.manifest["origin"].get("profile", "paper"))
    if profile not in PROFILES:
        raise UnknownName(f"no profile named {profile!r}; {nearest(profile, PROFILES)}")
    for split in ("train", "test"):
        if split not in artefact.splits:
            raise UsageError(f"{artefact.folder} has no split {split!r}, which generation is scored on")
    given = merge({"reader": "ddpm"}, *overrides)
    if stray := [key for key in given if key != "reader"]:
        raise BadSetting(f"no setting {stray[0]!r} of a generation; {nearest(stray[0], ['reader'])}")
    plugin = _generator(str(given["reader"].get("name")), artefact, known)
    settings = _settings(plugin, profile, artefact, given["reader"])
    judge = cast(Plugin, known.find("reader", CLASSIFIER))
    one = Generation(
        artefact,
        plugin,
        settings,
        profile,
        seed,
        SAMPLES[profile] if samples is None else samples,
        tuple(dict.fromkeys(float(g) for g in guidances)),
        None if classes is None else tuple(dict.fromkeys(int(c) for c in classes)),
        (judge, _settings(judge, profile, artefact, {})),
        _extractor(extractor, known),
    )
    if one.samples < 2:
        raise UsageError(f"samples: a whole number from 2 on; given: {one.samples}")
    made = [one.build(guidance) for guidance in one.guidances or (None,)]
    if not made[0].conditional:
        for name, value in (("--guidance", one.guidances), ("--classes", one.classes)):
            if value:
                raise BadSetting(f"{name} needs a generator that is told the class; this one is not")
    labels = artefact.splits["train"].labels
    there = [] if labels is None else np.unique(labels).tolist()
    if wrong := [c for c in one.classes or () if c not in there]:
        raise BadSetting(f"--classes {wrong[0]}: the training rows have {', '.join(map(str, there)) or 'no classes'}")
    return one


def _generator(name: str, artefact: Artefact, known: Registry) -> Plugin:
    plugin = cast(Plugin, known.find("reader", name))
    kind = artefact.layout.kind
    fitting = [r.name for r in known.all("reader") if "representations" in r.gives and r.reads(kind)]
    if "representations" not in plugin.gives:
        raise Refused(f"reader {name!r} does not generate; readers that do: {', '.join(fitting) or 'none installed'}")
    if not plugin.reads(kind):
        raise Refused(
            f"reader {name!r} reads {', '.join(plugin.takes)}, but {artefact.folder} holds {kind!r}; generators of "
            f"{kind!r}: {', '.join(fitting) or 'none installed'}"
        )
    return plugin


def _settings(plugin: Plugin, profile: str, artefact: Artefact, given: Mapping[str, Any]) -> Settings:
    """What the reader's own preset for the profile says, and above it what was given."""
    model: type[Settings] = load_target(plugin.settings, f"reader {plugin.name!r}")
    own = {key: value for key, value in given.items() if key not in ("name", "backend")}
    preset = getattr(model, "preset", None)
    below = {} if preset is None else preset(profile, artefact.layout, own)
    return validated(model, merge({"reader": dict(below)}, {"reader": own})["reader"], "reader")


def _extractor(text: str | None, known: Registry) -> tuple[Plugin, Settings] | None:
    """``inception:FILE``: a reader that gives features, and the file of its weights."""
    if text is None or text == CLASSIFIER:
        return None
    name, colon, file = text.partition(":")
    names = [one.name for one in known.all("reader") if "features" in one.gives]
    if not colon or name not in names:
        allowed = ", ".join([CLASSIFIER, *(f"{one}:FILE" for one in names)])
        raise UsageError(f"--extractor {text!r}: allowed are {allowed}")
    plugin = cast(Plugin, known.find("reader", name))
    model: type[Settings] = load_target(plugin.settings, f"reader {name!r}")
    if not Path(file).is_file():
        raise UsageError(f"--extractor {text!r}: there is no file {file!r}")
    return plugin, validated(model, {"file": file}, "reader")
