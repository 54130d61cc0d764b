"""file:PATH: one file of the user's own, sound, film or both."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path

from inrbench.data import AboutData
from inrbench.errors import BadSetting
from inrbench_av.clip_data import ClipData
from inrbench_av.clips import ClipSignals
from inrbench_av.cuts import Facts
from inrbench_av.files import probe, read
from inrbench_av.settings import ClipSettings

__all__ = ["File"]


class File(ClipData):
    """The first picture and the first sound of whatever libsndfile or FFmpeg decodes."""

    name = "file"
    takes_place = True
    settings: ClipSettings

    def __init__(self, settings: ClipSettings, rest: str = "") -> None:
        if not rest:
            raise BadSetting("data set 'file' needs a place, as in file:PATH; given: 'file'")
        super().__init__(settings, rest)
        self.place = Path(rest).expanduser()

    @property
    def where(self) -> str:
        """``file:PATH``, as it was asked for."""
        return f"file:{self.rest}"

    def own_files(self) -> Mapping[str, Path]:
        """The file, by its name."""
        return {self.place.name: self.place}

    @cached_property
    def facts(self) -> Facts:
        """What the file holds. Raises BadData where it is missing, empty, cut off or not decodable."""
        return probe(self.place, self.where)

    def read(self, folder: Path | None) -> ClipSignals:
        """What is used of the file."""
        return read(self.place, self.cut, self.where)

    def about(self) -> AboutData:
        """Nothing is known of the user's own data."""
        return AboutData(
            licence="your own data", licence_source="", homepage=str(self.place), download_bytes=0, citation=""
        )
