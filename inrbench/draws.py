"""Keyed draws: every random number is a function of (seed, purpose), never of a running stream.

Resume, sharding and pairing over methods are then one mechanism: whoever asks for the same key gets the same numbers.
"""

from __future__ import annotations

import hashlib

import numpy as np

__all__ = ["generator", "number"]


def number(seed: int, *purpose: object) -> int:
    """A 128-bit number that depends on ``seed`` and ``purpose`` alone (strings and integers)."""
    words = (_word(part) if isinstance(part, str) else f"#{_integer(part)}" for part in purpose)
    key = "\x1f".join([str(int(seed)), *words])
    return int.from_bytes(hashlib.blake2b(key.encode(), digest_size=16).digest(), "little")


def generator(seed: int, *purpose: object) -> np.random.Generator:
    """The generator of (``seed``, ``*purpose``): Philox, keyed by their hash."""
    return np.random.Generator(np.random.Philox(key=number(seed, *purpose)))


def _word(part: str) -> str:
    """``part``, written so that no other purpose reads the same: # marks an integer, U+001F parts the words."""
    if part[:1] not in ("#", "$") and "\x1f" not in part:
        return part
    return "$" + part.replace("$", "$$").replace("\x1f", "$_")


def _integer(part: object) -> int:
    if not isinstance(part, int | np.integer):
        raise TypeError(f"a draw is keyed by strings and integers, not {type(part).__name__} {part!r}")
    return int(part)
