"""Scenes seen by cameras. This module holds their records alone; what reads or makes images is imported when used."""

from __future__ import annotations

from collections.abc import Iterable

from inrbench.plugin import Plugin, hookimpl
from inrbench_scenes.citations import CITATIONS

__all__ = ["inrbench_datasets"]


@hookimpl
def inrbench_datasets() -> Iterable[Plugin]:
    """List the data sets of views of this package."""
    learnit = [
        _dataset(
            f"learnit-{category}",
            f"{category} of ShapeNet seen by cameras, the renders of Learned Init",
            f"learnit:{category.capitalize()}",
            "learnit:LearnitSettings",
            "arXiv:2012.02189",
            CITATIONS["learnit"],
        )
        for category in ("chairs", "cars", "lamps")
    ]
    return [
        *learnit,
        _dataset(
            "nerf-lego",
            "100 views of one scene, every tenth of which is held out",
            "nerf_lego:NerfLego",
            "nerf_lego:NerfLegoSettings",
            "arXiv:2003.08934",
            CITATIONS["nerf"],
        ),
        _dataset(
            "shape-views",
            "procedural chairs, tables and lamps of coloured solids seen by cameras, embedded",
            "shape_views:ShapeViews",
            "shape_views:ShapeViewsSettings",
            "inrbench-scenes",
            CITATIONS["shape-views"],
        ),
    ]


def _dataset(name: str, summary: str, target: str, settings: str, source: str, citation: str) -> Plugin:
    return Plugin(
        kind="dataset",
        api_version=1,
        name=name,
        summary=summary,
        target=f"inrbench_scenes.{target}",
        settings=f"inrbench_scenes.{settings}",
        gives=("rays",),
        uses=() if name == "shape-views" else ("pillow",),
        source=source,
        citation=citation,
    )
