"""What all data sets of one clip share: what is used of it, its one split, and writing it beside a reconstruction."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from inrbench.data import OfficialFile
from inrbench.domains import Array
from inrbench.errors import BadSetting
from inrbench.signals import Part, Signals, SignalSpec
from inrbench_av.clips import ClipSignals
from inrbench_av.cuts import Cut, Facts, cut_of
from inrbench_av.settings import SoundSettings

__all__ = ["ClipData"]


class ClipData(ABC):
    """One clip in the split test. A subclass says what it is and reads it."""

    name = "clip"
    takes_place = False

    def __init__(self, settings: SoundSettings, rest: str = "") -> None:
        if rest and not self.takes_place:
            raise BadSetting(f"data set {self.name!r} takes nothing behind a colon; given: {rest!r}")
        self.settings = settings
        self.rest = rest

    @property
    def files(self) -> Sequence[OfficialFile]:
        """None, unless a publisher has some."""
        return ()

    @property
    @abstractmethod
    def facts(self) -> Facts:
        """The whole clip's frames and samples."""

    @property
    def where(self) -> str:
        """How errors name the clip."""
        return self.name

    @property
    def cut(self) -> Cut:
        """What the settings leave. Raises BadSetting where that is nothing or more than there is."""
        return cut_of(self.facts, self.settings, self.where)

    def spec(self) -> SignalSpec:
        """One clip of one or two parts."""
        return self.cut.spec()

    def load(self, folder: Path | None) -> Mapping[str, Signals]:
        """The split test. Raises BadData for a file that is damaged."""
        return {"test": self.read(folder)}

    @abstractmethod
    def read(self, folder: Path | None) -> ClipSignals:
        """What is used of the clip."""

    def write(
        self, parts: Sequence[Part], predicted: Sequence[Iterator[Array]], folder: Path, stem: str
    ) -> Sequence[Path]:
        """Original and reconstruction as WAV and MP4, frames of both as PNG, waveforms with the error as PNG."""
        from inrbench_av.writing import write_clip

        facts = self.facts
        rate = None if facts.film is None else facts.film.rate
        return write_clip(parts, predicted, folder, stem, rate, None if facts.sound is None else facts.sound.rate)
