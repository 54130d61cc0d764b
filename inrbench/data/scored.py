"""The hash of signals: equal for equal values, labels and ids, wherever they came from."""

from __future__ import annotations

import hashlib
from typing import Protocol

import numpy as np

from inrbench.domains import Array, Domain, Grid, Points
from inrbench.signals import Signals

__all__ = ["signals_checksum"]

#: About so much is held at a time: values may lie on a disk, or be decoded where they are indexed.
_CHUNK_BYTES = 64 << 20


class _Hash(Protocol):
    def update(self, data: bytes, /) -> None: ...


def signals_checksum(signals: Signals) -> str:
    """SHA-256 in hex over all that is scored of ``signals``: domains, values, scale, labels and ids.

    Signals on one domain are hashed as one array, the others part by part.
    """
    whole = hashlib.sha256()
    _add(whole, "ids", np.asarray(signals.ids).astype(np.int64))
    labels = signals.labels
    if labels is not None:
        _add(whole, "labels", np.asarray(labels).astype(np.int64))
    stacked = signals.stacked()
    if stacked is not None:
        domain, values, to_unit = stacked
        _add_domain(whole, domain)
        _add(whole, f"values {to_unit[0]!r} {to_unit[1]!r}", values)
        return whole.hexdigest()
    for i in range(len(signals)):
        for part in signals.scored(i):
            _add_domain(whole, part.domain)
            scale, offset = part.to_unit
            channels = (part.channels.start, part.channels.stop, part.channels.step)
            _add(whole, f"values {i} {part.name} {channels} {scale!r} {offset!r}", part.values)
    return whole.hexdigest()


def _add_domain(whole: _Hash, domain: Domain) -> None:
    if isinstance(domain, Grid):
        whole.update(repr(domain).encode())
    elif isinstance(domain, Points):
        _add(whole, "points", domain.coords)
    else:
        whole.update(f"rays {domain.near!r} {domain.far!r} {domain.background!r}".encode())
        _add(whole, "origins", domain.origins)
        _add(whole, "directions", domain.directions)


def _add(whole: _Hash, title: str, values: Array) -> None:
    """Add an array as its title, type, shape and little-endian bytes, a few rows at a time (it may be on disk)."""
    little = values.dtype.newbyteorder("<")
    whole.update(f"\n{title} {little.str} {values.shape}\n".encode())
    if values.ndim == 0:
        whole.update(values.astype(little).tobytes())
    rows = max(1, _CHUNK_BYTES * len(values) // max(1, values.nbytes)) if values.ndim else 1
    for start in range(0, len(values) if values.ndim else 0, rows):
        whole.update(np.ascontiguousarray(values[start : start + rows], dtype=little).tobytes())
