"""Shapes. This module holds their records alone; what reads the meshes is imported when it is used."""

from __future__ import annotations

from collections.abc import Iterable

from inrbench.plugin import Plugin, hookimpl
from inrbench_shapes.citations import MODELNET

__all__ = ["inrbench_datasets"]


@hookimpl
def inrbench_datasets() -> Iterable[Plugin]:
    """List the data sets of shapes of this package."""
    return [
        Plugin(
            kind="dataset",
            api_version=1,
            name="modelnet40",
            summary="12,311 CAD models of 40 classes, as unsigned distance functions",
            target="inrbench_shapes.modelnet:ModelNet40",
            settings="inrbench_shapes.modelnet:ModelNet40Settings",
            gives=("points",),
            uses=("scipy", "trimesh"),
            source="arXiv:1406.5670",
            citation=MODELNET,
        )
    ]
