"""The facts that lanes and tables are computed from."""

from __future__ import annotations

from typing import Any

from inrbench.cells import Cell
from inrbench.data import signals_checksum
from inrbench.interfaces import FitterFacts
from inrbench.selection import Selected
from inrbench.settings import Augmentation
from inrbench.signals import PosedViews, Signals, num_signals

__all__ = ["facts_of"]


def facts_of(cell: Cell, fitter: FitterFacts, data: Selected) -> dict[str, Any]:
    """What a record says of ``cell`` for lanes and tables."""
    two_stage = cell.joint is None and cell.plugins["reader"] is not None
    return {
        "initialisation": fitter.initialisation,
        "scope": fitter.scope,
        "labels_shape_fit": cell.joint is not None and cell.joint.share > 0.0,
        "shuffled_labels": cell.data_settings.labels == "shuffled",
        "copies": data.copies.count if two_stage else 1,
        "train_signals": num_signals(data.train),
        "scored_signals": num_signals(data.scored),
        "scored_episodes": len(data.scored),  # as many as signals, but where these are listed several times
        "scored_split": data.scored_split,
        "scored_checksum": signals_checksum(data.scored),
        "validation_checksum": signals_checksum(data.validation) if len(data.validation) else "",
        "augmented": _augmented(cell),
        **({"pooled": True} if fitter.pooled else {}),
        **_views(data.scored),
    }


def _views(scored: Signals) -> dict[str, int]:
    """The fewest views that an entry's representation is made of; nothing for signals that are not seen by cameras."""
    if not isinstance(scored, PosedViews) or not len(scored):
        return {}
    return {"observed_views": min(scored.num_views(i) for i in range(len(scored)))}


def _augmented(cell: Cell) -> bool:
    asked = getattr(getattr(cell.settings["fitter"], "train", None), "augmentation", None)
    return isinstance(asked, Augmentation) and asked != Augmentation(crop=asked.crop)  # what is not padded has one crop
