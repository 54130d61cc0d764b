"""What a mesh encloses: the mesh in a file of any usual format, moved into the cube, with occupancies at any points."""

from __future__ import annotations

import io
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from inrbench.domains import Array
from inrbench.errors import BadData
from inrbench_shapes.meshes import read_off
from inrbench_shapes.surfaces import drawn_from
from inrbench_shapes.winding import WindingNumbers

__all__ = ["SUFFIXES", "Enclosed", "read_enclosed"]

#: Of the files that are read.
SUFFIXES = (".obj", ".stl", ".ply", ".off", ".glb")


@dataclass(frozen=True)
class Enclosed:
    """The mesh of ``vertices`` [vertices, 3] and ``triangles`` [triangles, 3], and what is within it.

    That is where the winding number is above 1/2 or, of a mesh that is inside out, below -1/2. It closes the holes of
    a mesh that is not watertight; parts of a mesh that overlap are one solid.
    """

    vertices: Array
    triangles: Array

    def contains(self, points: Array) -> Array:
        """[points] whether ``points`` [points, 3] lie in it."""
        return np.asarray(np.abs(self._winding.at(points)) > 0.5)

    def surface(self, count: int, rng: np.random.Generator) -> Array:
        """``count`` uniform points of the mesh, [count, 3]."""
        return drawn_from(self.vertices, self.triangles, count, rng)

    @cached_property
    def _winding(self) -> WindingNumbers:
        return WindingNumbers(self.vertices, self.triangles)


def read_enclosed(path: Path, fill: float, *, watertight: bool) -> Enclosed:
    """The mesh in the file ``path``; the box around it has its centre at 0 and a longest side of 2 ``fill``.

    Raises BadData, naming the file, for one that cannot be read, and where ``watertight`` is asked for and not given.
    """
    vertices, triangles = _read(path)
    corners = vertices[np.unique(triangles)]
    middle = 0.5 * (corners.min(axis=0) + corners.max(axis=0))
    longest = np.ptp(corners, axis=0).max()
    if not longest > 0.0:
        raise BadData(f"{path}: its surface is a single point")
    if watertight and not _is_watertight(vertices, triangles):
        raise BadData(f"{path}: not watertight; setting data.open_meshes=winding closes its holes")
    return Enclosed(2.0 * fill * (vertices - middle) / longest, triangles)


def _read(path: Path) -> tuple[Array, Array]:
    """(vertices [vertices, 3] float64, triangles [triangles, 3]); of a scene, all meshes where they stand in it."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise BadData(f"{path}: cannot be read ({error.strerror or error})") from None
    kind = path.suffix.lower()
    if kind == ".off":
        return read_off(content, str(path))
    import trimesh  # takes a second, which listing data sets should not cost

    options = {"skip_materials": True} if kind == ".obj" else {}
    try:
        mesh = trimesh.load_mesh(io.BytesIO(content), file_type=kind[1:], process=False, **options)
        vertices, triangles = np.asarray(mesh.vertices, dtype=np.float64), np.asarray(mesh.faces, dtype=np.int64)
    except Exception as error:  # whatever a parser stumbles over in a damaged file
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise BadData(f"{path}: not a readable {kind[1:].upper()} mesh ({reason})") from None
    if len(triangles) == 0:
        raise BadData(f"{path}: has no faces")
    if triangles.min() < 0 or triangles.max() >= len(vertices):
        raise BadData(f"{path}: a face names a vertex that is not one of the {len(vertices)}")
    if not np.isfinite(vertices).all():
        raise BadData(f"{path}: has vertices that are not finite")
    return vertices, triangles


def _is_watertight(vertices: Array, triangles: Array) -> bool:
    """Whether every edge belongs to two triangles, once in each direction, vertices at one place being one."""
    _, place = np.unique(vertices, axis=0, return_inverse=True)
    corners = place.reshape(-1)[triangles]
    corners = corners[(corners != np.roll(corners, 1, axis=1)).all(axis=1)]  # without those that have no area
    edges = np.concatenate([corners[:, [k, (k + 1) % 3]] for k in range(3)])
    forth, count = np.unique(edges, axis=0, return_counts=True)
    back = np.unique(edges[:, ::-1], axis=0)
    return bool((count == 1).all() and np.array_equal(forth, back))
