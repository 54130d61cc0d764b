"""Keys: a stage's key is a hash of all that could change its result, so that a stale answer is impossible.

That is: its settings, the key of the stage before, the seed, the data's checksum, the source of every module that is
statically reachable from its code, the frameworks' versions and the kind of device.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import importlib.metadata
import importlib.util
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from inrbench.cells import Cell
from inrbench.plugin import KINDS, Plugin
from inrbench.registry import registry
from inrbench.settings import Settings, Stage, stage_of
from inrbench.trees import flatten

__all__ = [
    "STAGES",
    "Codes",
    "fingerprint",
    "reading_ingredients",
    "reading_keys",
    "source_of",
    "stage_ingredients",
    "stage_keys",
    "stages_of",
]

STAGES: tuple[Stage, ...] = ("train", "fit", "read", "score")
#: The module whose code decides how the parts of a cell are put together.
PIPELINE = "inrbench.pipeline"
#: The same for a reader on a neural data set that lies on a disk.
READING = "inrbench.artefacts.reading"
#: Hashes of modules by the parts that they were asked for: what the cells of one planning share, read once.
Codes = dict[tuple[str, ...], dict[str, str]]
FRAMEWORKS = {"numpy": ("numpy",), "torch": ("numpy", "torch"), "jax": ("numpy", "jax", "jaxlib", "equinox", "optax")}


def stage_keys(cell: Cell, checksum: str, device_kind: str, codes: Codes | None = None) -> dict[str, str]:
    """The key of each stage of ``cell`` on data with ``checksum``; the last one is the cell's.

    ``codes`` is filled, and looked into first: hand the same one over for many cells, never for longer than a planning.
    """
    return {
        stage: key for stage, (_, key) in stages_of(cell, checksum, device_kind, {} if codes is None else codes).items()
    }


def stage_ingredients(
    cell: Cell, checksum: str, device_kind: str, codes: Codes | None = None
) -> dict[str, dict[str, Any]]:
    """What each stage's key is made of, readable: settings by dotted name, code by module, versions by name."""
    found = stages_of(cell, checksum, device_kind, {} if codes is None else codes)
    return {stage: ingredients for stage, (ingredients, _) in found.items()}


def stages_of(cell: Cell, checksum: str, device_kind: str, codes: Codes) -> dict[str, tuple[dict[str, Any], str]]:
    """Each stage's ingredients, as `stage_ingredients`, and its key; ``codes`` as in `stage_keys`."""
    own: dict[str, dict[str, Any]] = {stage: {} for stage in STAGES}
    first: dict[str, Stage] = {"data": "train", "inr": "train", "fitter": "train", "joint": "train"}
    first["reader"] = "read" if cell.joint is None else "train"
    for part, model in cell.settings.items():
        plugin = cell.plugins.get(part)
        if plugin is not None:
            own[first[part]][part] = f"{plugin.name} ({plugin.backend})"
        if model is not None:
            for key, value in flatten(model.model_dump()):
                own[_stage_of(type(model), key, first[part])][f"{part}.{key}"] = value
    result: dict[str, tuple[dict[str, Any], str]] = {}
    before = ""
    for stage in STAGES:
        plugins = [p for part, p in cell.plugins.items() if p is not None and _from(first[part], stage)]
        ingredients = {
            "stage": stage,
            "before": before,
            "settings": own[stage],
            "seed": cell.seed,
            "data": checksum,
            "device": device_kind,
            "code": _code(PIPELINE, plugins, _plugins(cell), codes),
            "versions": _versions(plugins),
        }
        before = _digest(ingredients)
        result[stage] = ingredients, before
    return result


def reading_ingredients(
    reader: Plugin, settings: Settings, seed: int, artefact: str, device_kind: str, scored: str
) -> dict[str, dict[str, Any]]:
    """The same for the stages read and score of ``reader`` on the neural data set with the key ``artefact``."""
    own: dict[str, dict[str, Any]] = {"read": {"reader": f"{reader.name} ({reader.backend})"}, "score": {}}
    for key, value in flatten(settings.model_dump()):
        own[stage_of(type(settings), key.split("."), "read")][f"reader.{key}"] = value
    own["score"]["scored"] = scored
    result: dict[str, dict[str, Any]] = {}
    before = artefact
    for stage in ("read", "score"):
        result[stage] = {
            "stage": stage,
            "before": before,
            "settings": own[stage],
            "seed": seed,
            "data": artefact,
            "device": device_kind,
            "code": _code(READING, [reader], [reader], {}),
            "versions": _versions([reader]),
        }
        before = _digest(result[stage])
    return result


def reading_keys(ingredients: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """The keys of the stages of `reading_ingredients`."""
    return {stage: _digest(own) for stage, own in ingredients.items()}


def _code(base: str, plugins: Sequence[Plugin], used: Sequence[Plugin], codes: Codes) -> dict[str, str]:
    """The hashes of all modules that ``base`` and the code of ``plugins`` reach, in a cell of the plugins ``used``."""
    modules = [base, *(plugin.target.partition(":")[0] for plugin in plugins)]
    own = [plugin.target.partition(":")[0] for plugin in used]
    asked = (*modules, "", *own)
    if asked not in codes:
        listing = {entry.module for kind in KINDS for entry in registry().entries(kind)}
        codes[asked] = fingerprint(modules, frozenset(_packages()), frozenset(listing - {*own}))
    return codes[asked]


def fingerprint(
    modules: Iterable[str], packages: frozenset[str], records: frozenset[str] = frozenset()
) -> dict[str, str]:
    """A hash of the source of each module reachable from ``modules`` by imports within ``packages``.

    Docstrings, comments and layout do not count; imports inside functions do. What a package of ``records`` imports is
    not followed from there: what it says is in the settings.
    """
    found: dict[str, str] = {}
    todo = list(modules)
    while todo:
        name = todo.pop()
        if name in found or name.partition(".")[0] not in packages:
            continue
        path = source_of(name)
        if path is None:
            continue
        found[name], imports = _read(path, path.stat().st_mtime_ns, name)
        if (
            name != "inrbench" and name not in records
        ):  # what code uses of what such a package imports, it imports by its own name
            todo.extend(imports)
        parent = name.rpartition(".")[0]
        if parent:
            todo.append(parent)
    return dict(sorted(found.items()))


def _dumped(tree: ast.AST) -> str:
    """``ast.dump`` as Python 3.11 writes it, whichever Python this is."""
    more: dict[str, Any] = {"show_empty": True} if sys.version_info >= (3, 13) else {}
    return ast.dump(tree, **more).replace(", type_params=[]", "")


def _plugins(cell: Cell) -> list[Plugin]:
    return [plugin for plugin in cell.plugins.values() if plugin is not None]


def _packages() -> Iterable[str]:
    yield "inrbench"
    for kind in ("inr", "fitter", "reader", "dataset"):
        for entry in registry().entries(kind):
            yield entry.module.partition(".")[0]
            if isinstance(entry.record, Plugin):
                yield entry.record.target.partition(".")[0].partition(":")[0]


@functools.cache
def source_of(name: str) -> Path | None:
    """The file of a module, found without importing anything; None for what is no module of source code."""
    parent, _, leaf = name.rpartition(".")
    if parent:
        package = source_of(parent)
        if package is None or package.name != "__init__.py":
            return None
        files = (package.parent / leaf / "__init__.py", package.parent / f"{leaf}.py")
        return next((file for file in files if file.is_file()), None)
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, AttributeError, ValueError):
        return None
    return Path(spec.origin) if spec and spec.origin and spec.origin.endswith(".py") else None


@functools.cache
def _read(path: Path, _mtime_ns: int, module: str) -> tuple[str, tuple[str, ...]]:
    tree = ast.parse(path.read_bytes())
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    imports: list[str] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            imports += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                stem = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*stem, *([base] if base else [])])
            imports += [base, *(f"{base}.{alias.name}" for alias in node.names)]
        body = getattr(node, "body", None)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and body:
            head = body[0]
            if (
                isinstance(head, ast.Expr)
                and isinstance(head.value, ast.Constant)
                and isinstance(head.value.value, str)
            ):
                node.body = body[1:] or [ast.Pass()]
    return hashlib.sha256(_dumped(tree).encode()).hexdigest()[:16], tuple(imports)


def _versions(plugins: Iterable[Plugin]) -> dict[str, str]:
    names: dict[str, None] = dict.fromkeys(name for plugin in plugins for name in FRAMEWORKS.get(plugin.backend, ()))
    names |= dict.fromkeys(name for plugin in plugins for name in plugin.uses)
    return {name: _version(name) for name in names}


@functools.cache
def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name).partition("+")[0]  # 2.13.0+cpu is 2.13.0
    except importlib.metadata.PackageNotFoundError:
        return "none"


@functools.cache
def _stage_of(model: type[Settings], key: str, first: Stage) -> Stage:
    return stage_of(model, key.split("."), first)


def _from(first: Stage, stage: Stage) -> bool:
    return STAGES.index(first) <= STAGES.index(stage)


def _digest(value: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()[:32]
