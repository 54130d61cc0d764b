"""Readers on neural data sets as requests that end in records, beside those of cells."""

from __future__ import annotations

import platform
import re
import threading
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import numpy as np

from inrbench import memory
from inrbench.artefacts.opened import RENDERED, Artefact
from inrbench.artefacts.reading import read_rows
from inrbench.backends import engine
from inrbench.cell_run import CellRun, logged, stop_on_signals
from inrbench.errors import (
    BadSetting,
    InrbenchError,
    Interrupted,
    OutOfMemory,
    RecordError,
    Refused,
    UsageError,
    nearest,
)
from inrbench.interfaces import Classifier
from inrbench.keys import reading_ingredients, reading_keys
from inrbench.plugin import Method, Plugin
from inrbench.progress import Progress, duration
from inrbench.provenance import commit, cpu_model, versions
from inrbench.records import SCHEMA, file_stem, now, read_record, write_record
from inrbench.registry import Registry, registry
from inrbench.settings import Settings, load_target, validated
from inrbench.stages import Stages, cache_folder
from inrbench.tracking import Tracking
from inrbench.trees import merge

__all__ = ["Reading", "plan_reading", "reader_settings", "run_readings"]

STARTED = ("cell", "key", "method", "dataset", "profile", "seed", "settings")


@dataclass(frozen=True)
class Reading:
    """A reader on a neural data set, checked."""

    artefact: Artefact
    plugin: Plugin
    settings: Settings
    seed: int
    label: str
    scored: str
    device: str
    ingredients: Mapping[str, Mapping[str, Any]]
    keys: Mapping[str, str]
    record: dict[str, Any] | None = field(default=None, compare=False)  # the one that exists

    @property
    def name(self) -> str:
        """``functa+mnist-laptop-s0-read-by-mlp``."""
        origin = self.artefact.manifest["origin"]
        label = re.sub(r"[^A-Za-z0-9.]+", "-", self.label).strip("-")
        dataset = self.artefact.manifest["dataset"]
        return f"{origin['method']}+{dataset}-{origin['profile']}-s{self.seed}-{label}"

    @property
    def key(self) -> str:
        """What the record is filed under."""
        return self.keys["score"]

    @property
    def done(self) -> bool:
        """Whether there is a good record."""
        return self.record is not None and self.record["status"] == "ok"

    def build(self) -> Classifier:
        """The reader. Raises Refused where it cannot read these rows."""
        try:
            made = load_target(self.plugin.target, f"reader {self.plugin.name!r}")(
                self.settings, self.artefact.layout, self.artefact.signal
            )
        except ValueError as error:
            raise Refused(f"reader {self.plugin.name!r} refuses its settings: {error}") from error
        reason = made.refuses(self.artefact.layout)
        if reason is None and not isinstance(made, Classifier):
            reason = "it is listed as giving classes, but lacks what interfaces.Classifier asks for"
        if reason:
            raise Refused(f"reader {self.plugin.name!r} cannot read {self.artefact.folder}: {reason}")
        return cast(Classifier, made)


def plan_reading(
    reader: str,
    artefact: Artefact,
    *,
    overrides: Sequence[Mapping[str, Any]] = (),
    seed: int | None = None,
    scored: str = "test",
    device: str = "auto",
    records: Path = Path("records"),
    known: Registry | None = None,
) -> Reading:
    """``reader`` on ``artefact``; the seed is the one that the rows were made with if None.

    Raises UsageError where something does not fit: the name, the kind, a setting, a split, labels, the device.
    """
    plugin = _reader(reader, artefact, known or registry())
    for split in ("train", scored):
        if split not in artefact.splits:
            raise UsageError(f"{artefact.folder} has no split {split!r}; {nearest(split, artefact.splits)}")
        if artefact.splits[split].labels is None:
            raise Refused(f"split {split!r} of {artefact.folder} has no labels, which reader {reader!r} needs")
    settings = reader_settings(plugin, artefact, overrides, known or registry())
    used = engine(plugin.backend).resolve_device(device)
    made_with = int(artefact.manifest["origin"]["seed"])
    label = f"read by {plugin.name}{_shown(artefact)}" + ("" if seed is None else f", fit with seed {made_with}")
    own_seed = made_with if seed is None else seed
    kind = used.partition(":")[0]
    ingredients = reading_ingredients(plugin, settings, own_seed, artefact.key, kind, scored)
    keys = {**artefact.manifest["origin"].get("keys", {}), **reading_keys(ingredients)}
    one = Reading(artefact, plugin, settings, own_seed, label, scored, used, ingredients, keys)
    one.build()
    return replace(one, record=_existing(records / f"{file_stem(one.name, one.key)}.json", one.key))


def _shown(artefact: Artefact) -> str:
    """What tells readings of rendered values from readings of the representations: `` on rendered pixels``."""
    rendered = artefact.manifest["origin"].get(RENDERED)
    if not rendered:
        return ""
    what = "pixels" if len(rendered["grid"]) == 2 else "samples"
    size = "" if rendered["grid"] == rendered["data_grid"] else f" at {' x '.join(map(str, rendered['grid']))}"
    return f" on rendered {what}{size}"


def _reader(name: str, artefact: Artefact, known: Registry) -> Plugin:
    plugin = cast(Plugin, known.find("reader", name))
    kind = artefact.layout.kind
    fitting = [one.name for one in known.all("reader") if "classes" in one.gives and one.reads(kind)]
    others = f"readers of {kind!r} that tell classes: {', '.join(fitting) or 'none installed'}"
    if not plugin.reads(kind):
        reads = ", ".join(plugin.takes)
        raise Refused(f"reader {name!r} reads {reads}, but {artefact.folder} holds {kind!r}; {others}")
    if "classes" not in plugin.gives:
        raise Refused(f"reader {name!r} gives {', '.join(plugin.gives) or 'nothing'}, not classes; {others}")
    return plugin


def reader_settings(
    plugin: Plugin, artefact: Artefact, overrides: Sequence[Mapping[str, Any]], known: Registry | None = None
) -> Settings:
    """The reader's settings: those of the method that made the rows where it is that method's reader, then overrides.

    A method's settings are for its representations, not for values that its fields were queried for: there the reader
    has its defaults. Raises BadSetting for a setting that is not the reader's.
    """
    origin = artefact.manifest["origin"]
    methods = {method.name: method for method in (known or registry()).all("method")}
    method: Method | None = methods.get(origin["method"])
    trees: list[Mapping[str, Any]] = []
    if method is not None and method.reader == plugin.name and RENDERED not in origin:
        dataset, profile = str(origin["dataset"]).partition(":")[0], origin["profile"]
        trees = [
            {"reader": method.reader},
            method.settings,
            method.for_dataset.get(dataset, {}),
            method.profiles.get(profile, {}),
            method.profiles_for_dataset.get(profile, {}).get(dataset, {}),
        ]
    asked = merge(*overrides)
    for key, value in asked.items():
        if key != "reader" or not isinstance(value, Mapping) or "name" in value:
            raise BadSetting(
                f"setting {key!r}: a neural data set is made, and its reader is named; only the reader's settings can "
                "be set, as in --set reader.lr=0.001"
            )
    values = merge(*trees, {"reader": plugin.name}, asked)["reader"]
    model = load_target(plugin.settings, f"reader {plugin.name!r}")
    own = {key: value for key, value in values.items() if key not in ("name", "backend")}
    return cast(Settings, validated(model, own, "reader"))


def run_readings(
    planned: Sequence[Reading],
    records: Path,
    *,
    threads: int,
    rerun: bool = False,
    keep: bool = True,
    report: Callable[[str], None] = lambda line: None,
    quiet: bool = True,
) -> list[dict[str, Any]]:
    """Read where there is no good record yet; returns the record of each, in order, failures too."""
    found: list[dict[str, Any]] = []
    stop = threading.Event()
    with stop_on_signals(stop):
        for number, one in enumerate(planned, 1):
            title = f"[{number}/{len(planned)}] {one.name}"
            if one.done and not rerun:
                report(f"{title}: done before")
                found.append(cast("dict[str, Any]", one.record))
                continue
            report(title)
            record = _run(one, records, threads, stop, quiet, rerun, keep)
            report(_summary(record))
            found.append(record)
            if record["status"] == Interrupted.status:
                break
    return found


def _run(
    one: Reading, records: Path, threads: int, stop: threading.Event, quiet: bool, rerun: bool, keep: bool
) -> dict[str, Any]:
    """One reading, ending in a written record whatever happens."""
    used = engine(one.plugin.backend)
    document = _described(one, threads)
    hooks = registry()
    started_with = {key: document[key] for key in STARTED}
    hooks.notify("inrbench_cell_started", cell=started_with)
    tracking = Tracking(hooks, started_with)
    run = CellRun(
        one.seed,
        device=one.device,
        threads=threads,
        progress=Progress(quiet=quiet),
        stop=stop,
        on_log=tracking.on_log,
    )
    stages = Stages(cache_folder() / "stages" if keep else None, one.keys)
    started = time.perf_counter()
    vectors: Mapping[str, Any] = {}
    try:
        used.prepare(one.device, threads)
        memory.reset_peak()
        if rerun:
            Stages(stages.folder, {"read": one.keys["read"]}).forget()
        outcome = read_rows(one.artefact.neural_data_set(), one.artefact.splits[one.scored], one.build(), run, stages)
        document |= {"status": "ok", "metrics": outcome.metrics, "facts": _facts(one)}
        document["costs"] = _fitter_costs(one.artefact) | outcome.costs
        vectors = outcome.vectors
    except InrbenchError as error:
        document |= {"status": error.status, "reason": str(error)}
    except KeyboardInterrupt:
        document |= {"status": Interrupted.status, "reason": "stopped at once; the last checkpoint is kept"}
    except Exception as error:
        memory_gone = isinstance(error, MemoryError) or used.is_out_of_memory(error)
        document |= {"status": OutOfMemory.status if memory_gone else "crash"}
        document |= {"reason": f"{type(error).__name__}: {error}", "traceback": traceback.format_exc()}
    document["costs"]["total_s"] = max(time.perf_counter() - started, sum(run.seconds.values()))
    device_peak = used.peak_memory_bytes(one.device)
    document["costs"]["peak_memory_bytes"] = memory.peak_bytes() if device_peak is None else device_peak
    document["finished"] = now()
    document["log"] = logged(run.history)
    tracking.tell()
    document = read_record(write_record(records, document, vectors))
    hooks.notify("inrbench_cell_finished", record=document)
    return document


def _described(one: Reading, threads: int) -> dict[str, Any]:
    """What a record holds whatever the outcome: all that repeats it, given the neural data set."""
    manifest, plugin = one.artefact.manifest, one.plugin
    origin = manifest["origin"]
    entry = registry().entry("reader", plugin.name, backend=plugin.backend)
    own = {"name": plugin.name, "backend": plugin.backend, **one.settings.model_dump(mode="json")}
    return {
        "schema": SCHEMA,
        "cell": one.name,
        "label": one.label,
        "key": one.key,
        "keys": dict(one.keys),
        "ingredients": dict(one.ingredients),
        "method": origin["method"],
        "dataset": manifest["dataset"],
        "profile": origin["profile"],
        "seed": one.seed,
        "settings": {**(origin.get("settings") or {}), "reader": own},
        "artefact": {
            "name": one.artefact.name,
            "key": one.artefact.key,
            "seed": origin["seed"],
            "kind": one.artefact.layout.kind,
            "commit": manifest["commit"],
            "versions": manifest["versions"],
        },
        "plugins": {**manifest["plugins"], "reader": f"{entry.distribution} {entry.version}"},
        "data": dict(manifest["data"]),
        "versions": versions(),
        "commit": commit(),
        "machine": {
            "device": one.device,
            "threads": threads,
            "cpu": cpu_model(),
            "system": platform.system(),
            **engine(plugin.backend).device_facts(one.device),
        },
        "started": now(),
        "status": "failed",
        "reason": "",
        "metrics": {},
        "costs": {},
    }


def _facts(one: Reading) -> dict[str, Any]:
    """The facts of the neural data set, scored on the split that was read."""
    facts = dict(one.artefact.manifest["facts"])
    if one.scored == "validation":
        facts["scored_checksum"] = facts["validation_checksum"]
    split = one.artefact.splits[one.scored]
    own = split.ids[split.copies == 0]
    counts = {"scored_signals": len(np.unique(own)), "scored_episodes": len(own)}
    return {**facts, "scored_split": one.scored, **counts}


def _fitter_costs(artefact: Artefact) -> dict[str, float]:
    """What is known of the fitter without its run."""
    fitter: Mapping[str, Any] = artefact.manifest.get("fitter") or {}
    known = {
        "fitter_parameters": fitter.get("parameters"),
        "adapted_values": fitter.get("adapted_values", artefact.layout.num_values),
        "bytes_per_signal": 4.0 * artefact.layout.num_values,
        "train_flops_per_signal": fitter.get("train_flops"),
        "fit_flops_per_signal": fitter.get("fit_flops"),
    }
    return {name: float(value) for name, value in known.items() if value is not None}


def _existing(path: Path, key: str) -> dict[str, Any] | None:
    if not path.exists():
        return None
    try:
        record = read_record(path)
    except RecordError:
        return None  # damaged: it is read again, which replaces it
    return record if record["key"] == key else None


def _summary(record: Mapping[str, Any]) -> str:
    spent = duration(record["costs"]["total_s"])
    if record["status"] != "ok":
        return f"  {record['status']} after {spent}: {record['reason']}"
    return f"  accuracy {100 * record['metrics']['accuracy']:.1f} %, in {spent}"
