"""Memory of this process: its peak, counted anew for each cell, and keeping what is freed for the next step."""

from __future__ import annotations

import contextlib
import ctypes
import resource
import sys
from pathlib import Path

__all__ = ["keep_freed_memory", "peak_bytes", "reset_peak"]


def reset_peak() -> None:
    """Start counting anew (Linux); elsewhere the peak is that of the whole process."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def peak_bytes() -> int:
    """The largest resident memory since `reset_peak`."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def keep_freed_memory() -> None:
    """Ask glibc's malloc to keep what is freed instead of giving it back to the system at every step.

    Tensors of a few megabytes are otherwise mapped afresh, and the first touch of each page costs more than the
    arithmetic on it. Elsewhere than on glibc this does nothing.
    """
    trim_threshold, mmap_threshold = -1, -3  # glibc's M_TRIM_THRESHOLD and M_MMAP_THRESHOLD
    with contextlib.suppress(OSError, AttributeError, TypeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(mmap_threshold, 32 * 2**20)  # the largest that glibc accepts
        mallopt(trim_threshold, 2**31 - 1)
