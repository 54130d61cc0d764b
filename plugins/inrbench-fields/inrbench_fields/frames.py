"""Where a SIREN's coordinates lie and what its output means: the same for both frameworks."""

from __future__ import annotations

from inrbench.signals import PartSpec
from inrbench_fields.settings import SirenSettings

__all__ = ["coordinate_counts", "frame", "to_unit"]


def coordinate_counts(settings: SirenSettings, part: PartSpec) -> tuple[int, ...] | None:
    """Cells along each axis, where the frame depends on them: on a grid whose cells do not lie at their centres."""
    return part.shape if part.domain == "grid" and settings.coordinates != "centres" else None


def frame(settings: SirenSettings, part: PartSpec) -> list[tuple[float, float]] | None:
    """(a, b) for each axis: a centre x in [-1, 1] lies at a x + b. None: every centre lies where it is."""
    counts = coordinate_counts(settings, part)
    if settings.coordinates == "unit-corners":
        if counts is None:
            return [(0.5, 0.5)] * part.coord_dim
        return [(0.5, 0.5 - 0.5 / n) for n in counts]  # the centre of cell i is (2 i + 1) / n - 1
    return None if counts is None else [(n / max(1, n - 1), 0.0) for n in counts]


def to_unit(settings: SirenSettings, part: PartSpec) -> tuple[float, float]:
    """(a, b) of ``a * output + b`` in [0, 1]."""
    if settings.values == "symmetric":
        return 0.5, 0.5
    return 1.0 / part.span, 0.5 if settings.values == "centred" else 0.0
