"""Furniture made of a few coloured solids: chairs, tables and lamps, drawn from a generator.

z is up, and a chair looks along y. Sizes are relative: `inrbench_scenes.solids.placed` puts a piece within the unit
sphere.
"""

from __future__ import annotations

import colorsys
from collections.abc import Callable
from itertools import product

import numpy as np

from inrbench_scenes.solids import Box, Cylinder, Solid, Sphere, placed

__all__ = ["KINDS", "piece"]

Colour = tuple[float, float, float]


def piece(kind: str, rng: np.random.Generator) -> list[Solid]:
    """One piece of a ``kind``, within the unit sphere."""
    return placed(KINDS[kind](rng))


def chair(rng: np.random.Generator) -> list[Solid]:
    """A seat and a back of one colour on legs of another, perhaps with arms."""
    width, depth = rng.uniform(0.8, 1.2), rng.uniform(0.8, 1.1)
    height, seat, back = rng.uniform(0.7, 1.0), rng.uniform(0.1, 0.25), rng.uniform(0.7, 1.3)
    thick = rng.uniform(0.1, 0.2)
    cover, frame = _colour(rng), _colour(rng)
    x, y, top = width / 2, depth / 2, height + seat
    found: list[Solid] = [
        Box((-x, -y, height), (x, y, top), cover),
        Box((-x, -y, top), (x, thick - y, top + back), cover),
    ]
    found += _stand(rng, x, y, height, frame)
    if rng.random() < 0.5:
        arm, rise = rng.uniform(0.08, 0.14), rng.uniform(0.3, 0.5) * back
        for left, right in ((-x, arm - x), (x - arm, x)):
            found.append(Box((left, thick - y, top + rise), (right, y, top + rise + arm), frame))
            found.append(Box((left, y - arm, top), (right, y, top + rise), frame))
    return found


def table(rng: np.random.Generator) -> list[Solid]:
    """A board or a disc on legs, perhaps with a bowl on it."""
    width, depth = rng.uniform(1.2, 2.0), rng.uniform(0.9, 1.4)
    height, thick = rng.uniform(0.7, 1.1), rng.uniform(0.08, 0.2)
    board, frame = _colour(rng), _colour(rng)
    if rng.random() < 0.4:
        found: list[Solid] = [Cylinder((0.0, 0.0), width / 2, height, height + thick, board)]
        found += _stand(rng, 0.3 * width, 0.3 * width, height, frame)
    else:
        found = [Box((-width / 2, -depth / 2, height), (width / 2, depth / 2, height + thick), board)]
        found += _stand(rng, width / 2, depth / 2, height, frame)
    if rng.random() < 0.5:
        radius = rng.uniform(0.12, 0.22)
        x, y = rng.uniform(-0.25, 0.25, size=2).tolist()
        found.append(Sphere((x, y, height + thick + radius), radius, _colour(rng)))
    return found


def lamp(rng: np.random.Generator) -> list[Solid]:
    """A foot, a pole and a shade: a drum, a box or a ball."""
    height, pole, foot = rng.uniform(1.2, 2.0), rng.uniform(0.05, 0.1), rng.uniform(0.25, 0.45)
    thick, shade, tall = rng.uniform(0.08, 0.16), rng.uniform(0.3, 0.5), rng.uniform(0.4, 0.8)
    frame, cloth = _colour(rng), _colour(rng)
    found: list[Solid] = [
        Cylinder((0.0, 0.0), foot, 0.0, thick, frame),
        Cylinder((0.0, 0.0), pole, thick, height, frame),
    ]
    form = rng.integers(3)
    if form == 0:
        found.append(Cylinder((0.0, 0.0), shade, height, height + tall, cloth))
    elif form == 1:
        found.append(Box((-shade, -shade, height), (shade, shade, height + tall), cloth))
    else:
        found.append(Sphere((0.0, 0.0, height + 0.8 * shade), shade, cloth))
    return found


#: What can be drawn, in the order of the class numbers.
KINDS: dict[str, Callable[[np.random.Generator], list[Solid]]] = {"chair": chair, "table": table, "lamp": lamp}


def _stand(rng: np.random.Generator, x: float, y: float, height: float, colour: Colour) -> list[Solid]:
    """Four square or round legs at the corners (x, y), or one column on a foot."""
    form, thick = rng.integers(3), rng.uniform(0.1, 0.18)
    if form == 2:
        foot = rng.uniform(0.6, 0.9) * min(x, y)
        return [
            Cylinder((0.0, 0.0), foot, 0.0, 0.08, colour),
            Cylinder((0.0, 0.0), 0.7 * thick, 0.08, height, colour),
        ]
    corners = product((-x, x - thick), (-y, y - thick))
    if form == 0:
        return [Box((a, b, 0.0), (a + thick, b + thick, height), colour) for a, b in corners]
    return [Cylinder((a + thick / 2, b + thick / 2), thick / 2, 0.0, height, colour) for a, b in corners]


def _colour(rng: np.random.Generator) -> Colour:
    """Any hue, neither white, which is the background, nor black."""
    return colorsys.hsv_to_rgb(rng.uniform(0.0, 1.0), rng.uniform(0.4, 1.0), rng.uniform(0.5, 1.0))
