"""The scene "lego" of NeRF's synthetic scenes (Mildenhall et al., 2020, arXiv:2003.08934).

800 x 800 pixels with transparency, 100 training, 100 validation and 200 test views. It is one signal. By default the
training views alone are used: every tenth, by the number in its name (r_0, r_10, ...), is held out and scored, and the
other 90 are observed. That is no published protocol; with ``held_out=test`` the 100 training views are observed and the
200 test views scored, as in the paper, at the size asked for.

This reader is tested on the official format, and on the 100 training views at 128 x 128 in front of white.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from inrbench.data import AboutData, OfficialFile
from inrbench.errors import BadData, BadSetting
from inrbench.settings import setting
from inrbench.signals import Signals, SignalSpec
from inrbench.views import Cameras, FixedEpisode, ViewSettings, ViewSignals, view_spec
from inrbench_scenes.citations import CITATIONS
from inrbench_scenes.posed_pictures import PictureFiles, PosedFiles

__all__ = ["NerfLego", "NerfLegoSettings"]

#: The bounds and the background that the paper's public code has for synthetic scenes.
NEAR, FAR, WHITE = 2.0, 6.0, 1.0
TENTH = 10
SOURCE = (
    "names: README.txt in nerf_synthetic.zip, in the folder on Google Drive that the paper's page links to "
    "(folders/128yBriW1IG_3NJ5Rp7APSTZsJqdJdfc1); no checksum is published"
)


class NerfLegoSettings(ViewSettings):
    """How large the views are, and which of them are scored."""

    size: int = setting(128, "height and width of a view in pixels, up to those of the files", ge=1)
    held_out: Literal["tenth", "test"] = setting(
        "tenth", "what is scored: every tenth training view, or the official test views"
    )


class NerfLego:
    """One scene, [views, size, size, 3], uint8; it has a test split alone."""

    num_views: Mapping[str, int] = {"train": 100, "test": 200}  # tests have fewer

    def __init__(self, settings: NerfLegoSettings, rest: str = "") -> None:
        if rest:
            raise BadSetting(f"data set 'nerf-lego' takes nothing behind a colon; given: {rest!r}")
        self.settings = settings

    @property
    def files(self) -> Sequence[OfficialFile]:
        """The transforms files and the folders of views that are read; nobody may offer them for download."""
        return tuple(
            OfficialFile(path=path, source=SOURCE)
            for split in self._splits
            for path in (f"transforms_{split}.json", split)
        )

    def about(self) -> AboutData:
        """Licence, homepage and citation."""
        return AboutData(
            licence="CC BY-NC (of the model, by Heinzelnisse)",
            licence_source="README.txt in the archive, as quoted on huggingface.co/datasets/wengflow/robust-e-nerf",
            homepage="https://www.matthewtancik.com/nerf",
            download_bytes=0,  # by hand
            citation=CITATIONS["nerf"],
        )

    def spec(self) -> SignalSpec:
        """Square views of three channels, no classes."""
        total = self.num_views[self._splits[-1]]
        scored = total if self.settings.held_out == "test" else -(-total // TENTH)
        return SignalSpec((view_spec((self.settings.size, self.settings.size), scored),), sizes={"test": 1})

    def load(self, folder: Path | None) -> Mapping[str, Signals]:
        """The test split. Raises BadData for files that are damaged or of another number of views."""
        if folder is None:
            raise ValueError("data set 'nerf-lego' is read from a folder; none was given")
        files = tuple(folder / f"transforms_{split}.json" for split in self._splits)
        pictures = PictureFiles(files).read()
        for split, file in zip(self._splits, files, strict=True):
            there, wanted = len(PictureFiles((file,)).read().paths), self.num_views[split]
            if there != wanted:
                raise BadData(f"{file}: lists {there} views; the scene has {wanted}")
        if self.settings.held_out == "test":
            scored = range(self.num_views["train"], len(pictures.paths))
            held_out = list(scored)
        else:
            held_out = [i for i, path in enumerate(pictures.paths) if _number(path) % TENTH == 0]
            if len(held_out) != self.spec().parts[0].shape[0]:
                raise BadData(f"{files[0]}: its views are not numbered from r_0 on, each once")
        cameras = Cameras(NEAR, FAR, WHITE, self.settings.directions)
        zero = np.zeros(1, dtype=np.int64)
        objects = PosedFiles([PictureFiles(files)], self.settings.size)
        signals = ViewSignals(objects, zero, zero, None, cameras, FixedEpisode(held_out))
        signals.views(0, zero)  # a size beyond that of the files is said before work starts
        return {"test": signals.as_episodes()}

    @property
    def _splits(self) -> tuple[str, ...]:
        return ("train", "test") if self.settings.held_out == "test" else ("train",)


def _number(path: Path) -> int:
    match = re.fullmatch(r"r_(\d{1,6})", path.stem)
    if match is None:
        raise BadData(f"{path}: views are named r_0, r_1, ...")
    return int(match[1])
