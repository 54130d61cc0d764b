"""inrbench compares methods that turn signals into implicit neural representations and work on those.

>>> import inrbench
>>> records = inrbench.run("mwt+digits", profile="smoke")  # doctest: +SKIP
>>> inrbench.load_records("records")[["cell", "metrics.accuracy"]]  # doctest: +SKIP
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from inrbench.api import run as run
    from inrbench.artefact import open_artefact as open_artefact
    from inrbench.comparing import compare as compare
    from inrbench.merging import merge as merge
    from inrbench.plugin import Method as Method
    from inrbench.plugin import Plugin as Plugin
    from inrbench.plugin import hookimpl as hookimpl
    from inrbench.records import load_records as load_records

__all__ = ["Method", "Plugin", "compare", "hookimpl", "load_records", "merge", "open_artefact", "run"]
__version__ = "0.1.0"

_HOMES = {
    "run": "inrbench.api",
    "open_artefact": "inrbench.artefact",
    "load_records": "inrbench.records",
    "merge": "inrbench.merging",
    "compare": "inrbench.comparing",
    "Plugin": "inrbench.plugin",
    "Method": "inrbench.plugin",
    "hookimpl": "inrbench.plugin",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'inrbench' has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_HOMES[name]), name)
