"""Where a result came from: versions of what was installed, and the commit of this code."""

from __future__ import annotations

import contextlib
import functools
import importlib.metadata
import platform
import subprocess
from pathlib import Path

__all__ = ["commit", "cpu_model", "versions"]

NAMED = ("inrbench", "numpy", "torch", "jax", "jaxlib", "equinox", "optax", "scikit-learn", "pillow", "safetensors")


@functools.cache
def versions() -> dict[str, str]:
    """Versions of Python and of the packages that a result could depend on."""
    found = {"python": platform.python_version()}
    for name in NAMED:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


@functools.cache
def cpu_model() -> str:
    """The processor's name where the system tells it, else its architecture."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


@functools.cache
def commit() -> str:
    """The git commit of the checkout that this package runs from, with ``+changes`` where it differs; else empty."""
    here = Path(__file__).resolve().parent

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(here), *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout.strip()  # noqa: S603

    try:
        if not (Path(git("rev-parse", "--show-toplevel")) / "inrbench" / "provenance.py").samefile(__file__):
            return ""
        return git("rev-parse", "HEAD") + ("+changes" if git("status", "--porcelain", "--", ".") else "")
    except (OSError, subprocess.SubprocessError):
        return ""
