"""OFF files: what ModelNet's own look like, and what damaged ones say."""

from __future__ import annotations

import numpy as np
import pytest
from inrbench_shapes.meshes import read_off

from inrbench.errors import BadData

CORNERS = b"0 0 0\n1 0 0\n0 1 0\n0 0 1\n"
FACES = b"3 0 1 2\n3 0 1 3\n3 0 2 3\n3 1 2 3\n"


@pytest.mark.parametrize(
    "header",
    [b"OFF\n4 4 0\n", b"OFF4 4 0\n", b"OFF 4 4 0\n", b"# a comment\nOFF\n\n# another\n4 4 6\n", b"OFF\r\n4 4 0\r\n"],
)
def test_a_mesh_is_read_whatever_its_header_looks_like(header: bytes) -> None:
    vertices, triangles = read_off(header + CORNERS + FACES, "here")
    np.testing.assert_array_equal(vertices, [[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]])
    np.testing.assert_array_equal(triangles, [[0, 1, 2], [0, 1, 3], [0, 2, 3], [1, 2, 3]])


def test_a_quadrilateral_becomes_two_triangles_of_its_area() -> None:
    vertices, triangles = read_off(b"OFF\n4 1 0\n0 0 0\n2 0 0\n2 3 0\n0 3 0\n4 0 1 2 3\n", "here")
    sides = vertices[triangles]
    doubled = np.linalg.norm(np.cross(sides[:, 1] - sides[:, 0], sides[:, 2] - sides[:, 0]), axis=1)
    assert len(triangles) == 2
    assert doubled.sum() / 2 == pytest.approx(6.0)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "it has no header with counts"),
        (b"ply\nformat ascii 1.0\n", "it has no header with counts"),
        (b"OFF\n4 4", "not a readable OFF mesh"),
        (b"OFF\n4 4 0\n" + CORNERS[:14], "not a readable OFF mesh"),
        (b"OFF\n4 4 0\n" + CORNERS.replace(b"1", b"one") + FACES, "could not convert string to float"),
        (b"OFF\n4 4 0\n" + CORNERS + FACES[:20], "cut off, it has 2 of 4 faces"),
        (b"OFF\n4 4 0\n" + CORNERS, "cut off, it has 0 of 4 faces"),
        (b"OFF\n4 0 0\n" + CORNERS, "has no faces"),
        (b"OFF\n4 1 0\n" + CORNERS + b"3 0 1 4\n", "vert"),
        (b"OFF\n4 1 0\n" + CORNERS + b"3 0 1 -1\n", "vert"),
        (b"OFF\n4 1 0\n" + CORNERS.replace(b"1", b"nan") + b"3 0 1 2\n", "has vertices that are not finite"),
    ],
)
def test_a_damaged_mesh_is_named_with_its_reason(content: bytes, reason: str) -> None:
    with pytest.raises(BadData, match=f"^chair_0001.off: .*{reason}"):
        read_off(content, "chair_0001.off")
