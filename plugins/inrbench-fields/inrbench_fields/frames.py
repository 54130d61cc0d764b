"""Where a field's coordinates lie and what its output means: the same for both frameworks."""

from __future__ import annotations

from typing import Literal, Protocol

from inrbench.errors import BadSetting
from inrbench.signals import PartSpec, SignalSpec
from inrbench_fields.settings import SirenSettings

__all__ = ["coordinate_counts", "frame", "to_unit"]


class Ranged(Protocol):
    """Settings that say what the output's range is."""

    @property
    def values(self) -> Literal["unit", "centred", "symmetric"]:
        """Its name."""
        ...


def coordinate_counts(settings: SirenSettings, spec: SignalSpec) -> tuple[int, ...] | None:
    """Cells along each axis, where the frame depends on them: on a grid whose cells do not lie at their centres.

    Raises BadSetting where each part of a signal would lie in a frame of its own.
    """
    if settings.coordinates != "centres" and len(spec.parts) > 1:
        raise BadSetting(
            f"setting inr.coordinates={settings.coordinates!r}: allowed is 'centres' for signals of several parts"
        )
    part = spec.parts[0]
    return part.shape if part.domain == "grid" and settings.coordinates != "centres" else None


def frame(settings: SirenSettings, spec: SignalSpec) -> list[tuple[float, float]] | None:
    """(a, b) for each axis: a centre x in [-1, 1] lies at a x + b. None: every centre lies where it is."""
    counts, time = coordinate_counts(settings, spec), settings.time_scale
    if settings.coordinates == "unit-corners":
        half = [0.0] * spec.coord_dim if counts is None else [0.5 / n for n in counts]
        lines = [(0.5, 0.5 - shift) for shift in half]  # the centre of cell i of n is (2 i + 1) / n - 1
    elif counts is not None:
        lines = [(n / max(1, n - 1), 0.0) for n in counts]
    elif time != 1.0:
        lines = [(1.0, 0.0)] * spec.coord_dim
    else:
        return None
    scale, shift = lines[0]
    return [(scale * time, shift * time), *lines[1:]]


def to_unit(settings: Ranged, part: PartSpec) -> tuple[float, float]:
    """(a, b) of ``a * output + b`` in [0, 1]."""
    if settings.values == "symmetric":
        return 0.5, 0.5
    return 1.0 / part.span, 0.5 if settings.values == "centred" else 0.0
