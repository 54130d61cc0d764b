"""The records that a plugin's hooks return. They import no framework: listing plugins takes milliseconds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import pluggy

__all__ = ["API_VERSION", "KINDS", "Backend", "Kind", "Method", "Plugin", "hookimpl"]

#: The version of the interfaces in this package; a record that names another one is not used.
API_VERSION = 1

#: Marks a plugin's functions as hooks.
hookimpl = pluggy.HookimplMarker("inrbench")

Kind = Literal["inr", "fitter", "reader", "dataset", "method", "analysis", "executor"]
KINDS: tuple[Kind, ...] = ("method", "dataset", "inr", "fitter", "reader", "analysis", "executor")
Backend = Literal["numpy", "torch", "jax"]


@dataclass(frozen=True, kw_only=True)
class Plugin:
    """One INR, fitter, reader, data set, analysis or executor: a name, and where its code and its settings are.

    ``target`` and ``settings`` are ``"module:Name"`` and are imported only when a cell needs them; the module of
    ``settings`` must import no framework, since ``inrbench show`` reads it.
    """

    kind: Literal["inr", "fitter", "reader", "dataset", "analysis", "executor"]
    name: str  # unique per kind and backend
    summary: str  # one line
    api_version: int  # the API_VERSION that the package was written for, as a number
    target: str  # "module:Class"; interfaces.py says what it must offer; an executor's function: execution/executors.py
    settings: str  # "module:Model", a subclass of inrbench.settings.Settings
    backend: Backend = "numpy"
    #: A fitter's or an INR's domains (grid, points, rays); the kinds that a reader or an analysis reads (*: any).
    takes: tuple[str, ...] = ()
    #: A fitter's kinds of representation; a data set's domain; what a reader gives: classes, representations, features.
    gives: tuple[str, ...] = ()
    needs_inr: bool = False  # a fitter that adapts a field chosen by `--set inr=NAME`
    joint: bool = False  # a fitter that can train with heads; a reader that can be such a head
    uses: tuple[str, ...] = ()  # distributions, beside the framework, whose version could change a result
    scheme: bool = False  # a data set that answers to `name:rest`, as `folder:PATH`
    source: str = ""  # paper, arXiv id
    citation: str = ""  # BibTeX

    def reads(self, *kinds: str) -> bool:
        """Whether it takes one of ``kinds``, or any kind."""
        return bool({"*", *kinds} & {*self.takes})


@dataclass(frozen=True, kw_only=True)
class Method:
    """A named combination of INR, fitter, reader and how they train, with its paper's settings.

    Each mapping is a tree of settings as in a sweep file: ``{"fitter": {"steps": 6}, "joint": {"share": 0.01}}``.
    They apply in the order defaults < ``settings`` < ``for_dataset`` < ``profiles`` < ``profiles_for_dataset``.
    """

    name: str
    summary: str
    api_version: int
    fitter: str
    inr: str | None = None
    reader: str | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    for_dataset: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    profiles: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    profiles_for_dataset: Mapping[str, Mapping[str, Mapping[str, Any]]] = field(default_factory=dict)
    source: str = ""
    citation: str = ""
    kind: Literal["method"] = "method"
