"""Shapes. This module holds their records alone; what reads or makes them is imported when it is used."""

from __future__ import annotations

from collections.abc import Iterable

from inrbench.plugin import Plugin, hookimpl
from inrbench_shapes.citations import MODELNET, SHAPENET, SOLIDS

__all__ = ["inrbench_datasets"]


@hookimpl
def inrbench_datasets() -> Iterable[Plugin]:
    """List the data sets of shapes of this package."""
    return [
        Plugin(
            kind="dataset",
            api_version=1,
            name="mesh",
            summary="your own meshes (OBJ, STL, PLY, OFF, GLB), as occupancies",
            target="inrbench_shapes.own_meshes:Mesh",
            settings="inrbench_shapes.own_meshes:MeshSettings",
            gives=("points",),
            uses=("trimesh",),
            scheme=True,
        ),
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
        ),
        Plugin(
            kind="dataset",
            api_version=1,
            name="shapenet10",
            summary="35,984 shapes of ten categories of ShapeNet as occupancies, in fit-a-nef's point format",
            target="inrbench_shapes.shapenet10:ShapeNet10",
            settings="inrbench_shapes.shapenet10:ShapeNet10Settings",
            gives=("points",),
            source="arXiv:1512.03012",
            citation=SHAPENET,
        ),
        Plugin(
            kind="dataset",
            api_version=1,
            name="solids",
            summary="procedural solids of ten categories, as occupancies known in closed form, embedded",
            target="inrbench_shapes.solids:Solids",
            settings="inrbench_shapes.solids:SolidsSettings",
            gives=("points",),
            source="inrbench-shapes",
            citation=SOLIDS,
        ),
    ]
