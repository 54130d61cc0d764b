"""The registry: finds plugins through entry points, one by one, and knows why each that is not used is not.

A plugin that cannot be imported, misspells a hook, lists something that is no record, or was written for another
version of the interfaces is *quarantined*: what it offers is refused with the reason, everything else works.
"""

from __future__ import annotations

import functools
import importlib.metadata
import logging
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import pluggy

from inrbench import __version__, hookspecs
from inrbench.errors import BrokenPlugin, UnknownName, nearest
from inrbench.plugin import API_VERSION, KINDS, Kind, Method, Plugin

__all__ = ["Entry", "Fault", "Registry", "registry"]

GROUP = "inrbench"
WORDS = {
    "method": "method",
    "dataset": "data set",
    "inr": "INR",
    "fitter": "fitter",
    "reader": "reader",
    "analysis": "analysis",
    "executor": "executor",
}
#: What the core itself offers by the hooks; known without an installation too.
OWN = importlib.metadata.EntryPoint("inrbench", "inrbench.execution.offered", GROUP)
Record = Plugin | Method


@dataclass(frozen=True)
class Entry:
    """A record with the distribution that it came from."""

    record: Record
    distribution: str
    version: str
    module: str


@dataclass(frozen=True)
class Fault:
    """Why a plugin, or one of its records, is not used; ``message`` is one line."""

    distribution: str
    module: str
    what: str  # import, hook, record, api-version, clash
    message: str


class Registry:
    """All records that entry points of the group ``inrbench`` offer, by kind and name."""

    def __init__(self, entry_points: Iterable[importlib.metadata.EntryPoint]) -> None:
        self.manager = pluggy.PluginManager("inrbench")
        self.manager.add_hookspecs(hookspecs)
        self.plugins: dict[str, tuple[str, str]] = {}  # entry point -> (distribution, version)
        self.faults: list[Fault] = []
        self._entries: dict[tuple[str, str, str], list[Entry]] = {}
        self._blocked: dict[tuple[str, str], Fault] = {}
        self._silenced: set[tuple[str, str | None]] = set()  # (plugin, a cell's key)
        for point in sorted(entry_points, key=lambda point: (point.dist.name if point.dist else "", point.name)):
            self._take_up(point)
        self._find_clashes()

    # ------------------------------------------------------------------ looking up

    def all(self, kind: Kind) -> list[Any]:
        """The records of a kind, by name."""
        return [entry.record for entry in self.entries(kind)]

    def entries(self, kind: Kind) -> list[Entry]:
        """The records of a kind with their distributions, by name."""
        found = [entries[0] for (k, _, _), entries in self._entries.items() if k == kind and len(entries) == 1]
        return sorted(found, key=lambda entry: entry.record.name)

    def find(self, kind: Kind, name: str, *, backend: str | None = None) -> Any:
        """The record called ``name``; of several backends the one asked for, else PyTorch before JAX.

        ``scheme:rest`` finds the data set that registered the scheme. Raises UnknownName with the nearest name, or
        BrokenPlugin where the name belongs to a plugin that is not used.
        """
        return self.entry(kind, name, backend=backend).record

    def entry(self, kind: Kind, name: str, *, backend: str | None = None) -> Entry:
        """As `find`, with the distribution."""
        base, colon, _ = name.partition(":") if kind == "dataset" else (name, "", "")
        found = [
            entries[0]
            for (k, n, _), entries in sorted(self._entries.items(), key=lambda item: item[0][2], reverse=True)
            if k == kind and n == base and len(entries) == 1
        ]
        for entry in found:
            record = entry.record
            if isinstance(record, Plugin) and record.kind == "dataset" and record.scheme != bool(colon):
                hint = "needs a place, as in" if record.scheme else "takes none, as in"
                example = f"{base}:PATH" if record.scheme else base
                raise UnknownName(f"data set {name!r}: {base!r} {hint} {example!r}")
        if backend is not None and found:
            fitting = [entry for entry in found if getattr(entry.record, "backend", None) == backend]
            if not fitting:
                has = ", ".join(str(getattr(entry.record, "backend", "")) for entry in found)
                raise UnknownName(f"{WORDS[kind]} {name!r} exists for {has}, but {backend} is needed here")
            found = fitting
        if found:
            return found[0]
        if (kind, base) in self._blocked:
            raise BrokenPlugin(f"{WORDS[kind]} {base!r} cannot be used: {self._blocked[kind, base].message}")
        known = [entry.record.name for entry in self.entries(kind)]
        message = f"no {WORDS[kind]} named {base!r}; {nearest(base, known)}"
        if self.faults:
            message += f" ({len(self.faults)} fault(s) in installed plugins: see `inrbench doctor`)"
        raise UnknownName(message)

    def listens(self, hook: str) -> bool:
        """Whether any plugin implements a hook."""
        return bool(getattr(self.manager.hook, hook).get_hookimpls())

    def notify(self, hook: str, **values: Any) -> None:
        """Call a life-cycle hook; what an implementation raises is logged and stops nothing.

        A plugin that failed is told no more of that cell, until it starts again: one warning a cell.
        """
        key = values.get("cell", values.get("record", {})).get("key")
        for implementation in getattr(self.manager.hook, hook).get_hookimpls():
            one = (implementation.plugin_name, key)
            if one in self._silenced and hook != "inrbench_cell_started":
                continue
            self._silenced.discard(one)
            try:
                implementation.function(*(values[name] for name in implementation.argnames))
            except (Exception, SystemExit) as error:
                self._silenced.add(one)
                log = logging.getLogger("inrbench")
                log.warning(
                    "plugin %s failed in %s: %s: %s", implementation.plugin_name, hook, type(error).__name__, error
                )
                log.debug("its traceback", exc_info=error)

    # ------------------------------------------------------------------ taking up plugins

    def _take_up(self, point: importlib.metadata.EntryPoint) -> None:
        distribution, version = (point.dist.name, point.dist.version) if point.dist else ("?", "?")
        if point is OWN:
            distribution, version = "inrbench", __version__
        self.plugins[f"{distribution}:{point.name}"] = (distribution, version)

        def fault(what: str, message: str) -> Fault:
            found = Fault(distribution, point.value, what, f"{distribution} {version}: {message}")
            self.faults.append(found)
            return found

        try:
            module = point.load()
        except (Exception, SystemExit) as error:
            fault("import", f"importing {point.value!r} failed: {type(error).__name__}: {error}")
            return
        hooks = [name for name in vars(module) if _marked(getattr(module, name))]
        misspelt = [name for name in hooks if not hasattr(hookspecs, name)]
        blocker = None
        if misspelt:
            blocker = fault("hook", f"no hook named {misspelt[0]!r}; {nearest(misspelt[0], _hook_names())}")
        listed: list[tuple[Kind, Any]] = []
        for kind in KINDS:
            if hookspecs.LISTING_HOOKS[kind] not in hooks:
                continue
            try:
                listed += [(kind, record) for record in getattr(module, hookspecs.LISTING_HOOKS[kind])()]
            except Exception as error:
                blocker = fault("hook", f"{hookspecs.LISTING_HOOKS[kind]} failed: {type(error).__name__}: {error}")
        if blocker is None:
            try:
                self.manager.register(module, name=f"{distribution}:{point.name}")
            except (pluggy.PluginValidationError, ValueError) as error:
                blocker = fault("hook", str(error).splitlines()[0])
        for kind, record in listed:
            problem = _problem(record, kind)
            if problem:
                self._blocked[kind, str(getattr(record, "name", "?"))] = fault(*problem)
            elif blocker is not None:
                self._blocked[kind, record.name] = blocker
            else:
                key = (kind, record.name, getattr(record, "backend", ""))
                self._entries.setdefault(key, []).append(Entry(record, distribution, version, point.value))

    def _find_clashes(self) -> None:
        for (kind, name, backend), entries in self._entries.items():
            if len(entries) > 1:
                owners = " and ".join(f"{entry.distribution} {entry.version}" for entry in entries)
                where = f" ({backend})" if backend else ""
                message = f"{WORDS[kind]} {name!r}{where} is offered by {owners}: uninstall one of them"
                found = Fault(owners, ", ".join(entry.module for entry in entries), "clash", message)
                self.faults.append(found)
                self._blocked[kind, name] = found


def _marked(value: object) -> bool:
    return callable(value) and getattr(value, "inrbench_impl", None) is not None


def _hook_names() -> list[str]:
    return [name for name in vars(hookspecs) if name.startswith("inrbench_")]


def _problem(record: object, kind: str) -> tuple[str, str] | None:
    if not isinstance(record, Plugin | Method) or record.kind != kind:
        return "record", f"{hookspecs.LISTING_HOOKS[kind]} lists {record!r}, which is no {WORDS[kind]} record"
    if record.api_version != API_VERSION:
        message = f"{WORDS[kind]} {record.name!r} is written for interface version {record.api_version}"
        return "api-version", f"{message}, this inrbench has {API_VERSION}: install a version that matches"
    return None


@functools.cache
def registry() -> Registry:
    """The registry of the core's own and of everything installed, made once for a process."""
    return Registry([OWN, *importlib.metadata.entry_points(group=GROUP)])
