"""Quantities as people write them: ``2h``, ``16G``."""

from __future__ import annotations

import math
import re

__all__ = ["num_bytes", "seconds"]

SECONDS = {"": 1.0, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
BYTES = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12, "ki": 2**10, "mi": 2**20, "gi": 2**30, "ti": 2**40}


def seconds(text: str) -> float:
    """``90``, ``90s``, ``10m``, ``1.5h``, ``2d`` as seconds. Raises ValueError with one line."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?) *([a-z]*)", text.strip().lower())
    if match is None or match[2] not in SECONDS or not 0.0 < float(match[1]) < math.inf:
        raise ValueError(f"{text!r} is no time; allowed are 90s, 10m, 2h and 1d")
    return float(match[1]) * SECONDS[match[2]]


def num_bytes(text: str) -> int:
    """``800M``, ``16G``, ``16GiB`` as bytes. Raises ValueError with one line."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?) *([a-z]*)", text.strip().lower())
    unit = "" if match is None else match[2].removesuffix("b")
    if match is None or unit not in BYTES or not 0.0 < float(match[1]) < math.inf:
        raise ValueError(f"{text!r} is no size; allowed are 800M, 16G and 16GiB")
    return int(float(match[1]) * BYTES[unit])
