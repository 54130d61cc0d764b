"""Fixed splits: which entries are held out depends on their names alone, the same everywhere and for ever."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from inrbench.domains import Array
from inrbench.draws import number

__all__ = ["stratified_split"]


def stratified_split(labels: Array, names: Sequence[str], num_test: int, purpose: str) -> tuple[Array, Array]:
    """Indices of the training and the test entries, each ascending; every class gives its share of ``num_test``.

    Within a class the entries are ranked by a hash of (0, ``purpose``, name), so that adding one changes the place of
    no other. Shares are rounded by largest remainders. Raises ValueError where ``num_test`` is not in 0 .. entries.
    """
    if not 0 <= num_test <= len(labels):
        raise ValueError(f"a test split of {num_test} entries: allowed are 0 to {len(labels)}")
    classes, counts = np.unique(labels, return_counts=True)
    exact = counts * num_test
    shares = exact // max(1, len(labels))
    remainders = exact - shares * len(labels)
    for position in np.argsort(-remainders, kind="stable")[: num_test - int(shares.sum())]:
        shares[position] += 1
    test: list[int] = []
    for label, share in zip(classes, shares, strict=True):
        members = [int(i) for i in np.flatnonzero(labels == label)]
        members.sort(key=lambda i: number(0, purpose, names[i]))
        test += members[: int(share)]
    held_out = np.zeros(len(labels), dtype=bool)
    held_out[test] = True
    return np.flatnonzero(~held_out), np.flatnonzero(held_out)
