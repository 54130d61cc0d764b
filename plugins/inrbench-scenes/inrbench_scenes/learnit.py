"""Renders of ShapeNet's chairs, cars and lamps as Learned Init published them (Tancik et al., 2021, arXiv:2012.02189).

A folder an object, named as in ShapeNet, with ``transforms.json`` and pictures of 128 x 128 with transparency; a file
beside the folders lists the objects of each split. As in Trans-INR's public code (Chen and Wang, 2022) the first 25
views of a training object are used and all of a test object; a listed object whose folder or cameras are missing is
left out and counted. The official split of a few objects named ``val`` is not used: validation is cut from train.

This reader is tested on generated folders of the same layout, not on the official ones.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from inrbench.data import AboutData, OfficialFile
from inrbench.errors import BadData, BadSetting
from inrbench.settings import setting
from inrbench.signals import Signals, SignalSpec
from inrbench.views import Cameras, DrawnEpisodes, EpisodeSettings, ViewSignals, view_spec
from inrbench_scenes.citations import CITATIONS
from inrbench_scenes.posed_pictures import PictureFiles, PosedFiles
from inrbench_scenes.transforms import read_json

__all__ = ["Cars", "Chairs", "Lamps", "LearnitSettings"]

log = logging.getLogger("inrbench")
SPLITS = ("train", "val", "test")
#: Between which all objects lie, and what is behind them: the public code of both papers.
NEAR, FAR, WHITE = 2.0, 6.0, 1.0
SOURCE = (
    "the folder shapenet on Google Drive (folders/1lRfg-Ov1dd3ldke9Gv9dyzGGTxiFOhIs) that matthewtancik.com/learnit "
    "links to, as yinboc/trans-inr, README.md, quotes it; names: sanowar-raihan/nerf-meta, configs/shapenet, and "
    "tancik/learnit, issue 13; no checksum is published"
)


class LearnitSettings(EpisodeSettings):
    """How large the views are, and how many of a training object are used."""

    size: int = setting(128, "height and width of a view in pixels", ge=1, le=128)
    views: int | None = setting(25, "views of a training object, the first of its file; all if empty", ge=2)


class Learnit:
    """Objects of one category of ShapeNet, [views, size, size, 3], uint8, without classes."""

    category: str
    synset: str  # ShapeNet's number of the category

    def __init__(self, settings: LearnitSettings, rest: str = "") -> None:
        if rest:
            raise BadSetting(f"data set {self.name!r} takes nothing behind a colon; given: {rest!r}")
        self.settings = settings
        needed = DrawnEpisodes.of(settings).needed
        if settings.validation > 0.0 and settings.views is not None and settings.views < needed:
            raise BadSetting(
                f"setting data.views={settings.views}: held-out training objects need {needed}, for data.support_views "
                "and data.query_views"
            )

    @property
    def name(self) -> str:
        """``learnit-chairs``."""
        return f"learnit-{self.category}"

    @property
    def files(self) -> Sequence[OfficialFile]:
        """The list of the splits and the folder of objects; nobody may offer them for download."""
        objects = f"{self.category}/{self.synset}"
        return (
            OfficialFile(path=f"{self.category.removesuffix('s')}_splits.json", source=SOURCE),
            OfficialFile(path=objects, source=SOURCE, alternatives=(self.synset, self.category)),
        )

    def about(self) -> AboutData:
        """Licence, homepage and citation."""
        return AboutData(
            licence="not stated by the publisher; the models are ShapeNet's",
            licence_source="matthewtancik.com/learnit and tancik/learnit, README.md, name none for the renders",
            homepage="https://www.matthewtancik.com/learnit",
            download_bytes=0,  # by hand; its size was found nowhere
            citation=CITATIONS["learnit"],
        )

    def spec(self) -> SignalSpec:
        """Square views of three channels, no classes; how many objects each split has was found nowhere."""
        return SignalSpec((view_spec((self.settings.size, self.settings.size), self.settings.query_views),))

    def load(self, folder: Path | None) -> Mapping[str, Signals]:
        """The splits train and test; pictures are decoded when they are asked for. Raises BadData for damaged files."""
        if folder is None:
            raise ValueError(f"data set {self.name!r} is read from a folder; none was given")
        lists, objects = (self._place(file, folder) for file in self.files)
        numbered = _listed(lists)
        missing: list[str] = []
        result: dict[str, Signals] = {}
        for split in ("train", "test"):
            first = self.settings.views if split == "train" else None
            there = []
            for number, name in numbered[split]:
                file = objects / name / "transforms.json"
                if file.is_file():
                    there.append((number, PictureFiles((file,), first, beside=True)))
                else:
                    missing.append(name)
            if not there:
                raise BadData(f"{objects}: holds none of the {len(numbered[split])} objects of the split {split!r}")
            result[split] = self._signals(there, split)
        if missing:
            listed = len(numbered["train"]) + len(numbered["test"])
            log.warning(
                "%s: %d of %d listed objects have no transforms.json and are left out: %s%s",
                self.name, len(missing), listed, ", ".join(missing[:3]), ", ..." if len(missing) > 3 else "",
            )  # fmt: skip
        return result

    def _signals(self, there: Sequence[tuple[int, PictureFiles]], split: str) -> ViewSignals:
        ids = np.array([number for number, _ in there], dtype=np.int64)
        objects = PosedFiles([files for _, files in there], self.settings.size)
        cameras = Cameras(NEAR, FAR, WHITE, self.settings.directions)
        signals = ViewSignals(objects, np.arange(len(ids)), ids, None, cameras, DrawnEpisodes.of(self.settings))
        if split == "test":
            signals = signals.as_episodes()
        signals.views(0, np.zeros(1, dtype=np.int64))  # too few views, or too small ones, are said before work starts
        return signals

    def _place(self, file: OfficialFile, folder: Path) -> Path:
        place = file.locate(folder)
        if place is None:
            raise BadData(f"{self.name}: {file.path} missing in {folder}")
        return place


class Chairs(Learnit):
    """Chairs."""

    category, synset = "chairs", "03001627"


class Cars(Learnit):
    """Cars, of which some of the official folders are empty."""

    category, synset = "cars", "02958343"


class Lamps(Learnit):
    """Lamps."""

    category, synset = "lamps", "03636649"


def _listed(path: Path) -> dict[str, list[tuple[int, str]]]:
    """(number, name) of the objects of each split; they are numbered over all splits, whether they are there or not."""
    document = read_json(path)
    found: dict[str, list[tuple[int, str]]] = {}
    number = 0
    for split in SPLITS:
        names = document.get(split, [] if split == "val" else None)
        if not isinstance(names, list) or not all(isinstance(name, str) and name.isalnum() for name in names):
            raise BadData(f"{path}: lists no objects of the split {split!r}")
        found[split] = list(enumerate(names, number))
        number += len(names)
    return found
