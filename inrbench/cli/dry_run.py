"""What `inrbench run` would do: the cells, what of them is done, and where their data stands. Downloads nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from inrbench.cells import Cell, build_dataset, resolve
from inrbench.cli.tables import shown
from inrbench.data import OpenedData, check_dataset, data_folder, open_dataset
from inrbench.data.opened import marked_name
from inrbench.runner import Options, Planned, devices_of, with_record
from inrbench.selection import select
from inrbench.settings import flatten

if TYPE_CHECKING:
    from inrbench.plugin import Plugin

__all__ = ["Data", "Foreseen", "foresee"]


@dataclass(frozen=True)
class Data:
    """Where the data of a cell stands; ``opened`` is without splits, and None where the data is missing."""

    state: str  # official, unofficial, missing, or "own" where nobody publishes files
    folder: Path | None
    download_bytes: int
    licence: str
    opened: OpenedData | None
    by_hand: str = ""  # where to get it, if inrbench may not download all of what is missing

    def line(self, accepted: bool) -> str:
        """What a reader must know of it before the run."""
        if self.state == "own":
            return "no files to download"
        if self.state == "missing":
            way = f"the run downloads {self.download_bytes / 1e6:,.0f} MB"
            if self.by_hand:
                way = f"the run cannot download it, get it at {self.by_hand}"
            return f"missing in {self.folder}; {way} (licence: {self.licence or 'not stated by the publisher'})"
        wanted = "" if self.state == "official" or accepted else "; the run needs --unofficial-data"
        return f"{self.state}, in {self.folder}{wanted}"


@dataclass(frozen=True)
class Foreseen:
    """A cell as it would be run."""

    cell: Cell
    data: Data
    unofficial: bool  # --unofficial-data was given
    planned: Planned | None  # None where its key depends on data that is missing
    rerun: bool
    differs: Mapping[str, Any]  # settings that are not those of the method's paper profile

    @property
    def before(self) -> str | None:
        """The status of the record that exists."""
        record = self.planned.record if self.planned else None
        return None if record is None else str(record["status"])

    @property
    def done(self) -> bool:
        """Whether nothing is left to do."""
        return self.before == "ok" and not self.rerun

    def lines(self) -> list[str]:
        """What is printed."""
        name = self.planned.name if self.planned else self.cell.name
        state = "done before" if self.done else "to do"
        if not self.done and self.before:
            state += f" (the record says: {self.before})"
        label = f" ({self.cell.label})" if self.cell.label else ""
        lines = [f"{name}{label}: {state}", f"  data: {self.data.line(self.unofficial)}"]
        if self.differs:
            values = "  ".join(f"{key}={shown(value)}" for key, value in self.differs.items())
            lines.append(f"  not as in the paper profile: {values}")
        return lines

    def document(self) -> dict[str, Any]:
        """The same for ``--json``."""
        return {
            "cell": self.planned.name if self.planned else self.cell.name,
            "label": self.cell.label,
            "method": self.cell.method.name,
            "dataset": self.cell.dataset,
            "profile": self.cell.profile,
            "seed": self.cell.seed,
            "key": self.planned.key if self.planned else None,
            "device": self.planned.device if self.planned else None,
            "done": self.done,
            "status": self.before,
            "data": {
                "state": self.data.state,
                "folder": None if self.data.folder is None else str(self.data.folder),
                "download_bytes": self.data.download_bytes if self.data.state == "missing" else 0,
                "licence": self.data.licence,
            },
            "settings": self.cell.tree(),
            "differs": dict(self.differs),
        }


def foresee(cells: Sequence[Cell], options: Options) -> list[Foreseen]:
    """Check the cells as a run would, but for what needs the data itself. Raises UsageError or BadData."""
    known: dict[str, Data] = {}
    found = []
    for cell, device in zip(cells, devices_of(cells, options), strict=True):
        source = str((cell.dataset, cell.data_settings))
        if source not in known:
            known[source] = _data(cell, options)
        data = known[source]
        if data.opened and data.opened.splits:
            select(data.opened.splits, cell.data_settings, cell.seed)
        planned = with_record(cell, data.opened, device, options) if data.opened else None
        found.append(Foreseen(cell, data, options.unofficial, planned, options.rerun, _differences(cell)))
    return found


def _data(cell: Cell, options: Options) -> Data:
    plugin: Plugin | None = cell.plugins["data"]
    assert plugin is not None
    dataset = build_dataset(plugin, cell.dataset, cell.data_settings)
    about = dataset.about() if hasattr(dataset, "about") else None
    download, licence = (about.download_bytes, about.licence) if about else (0, "")
    if not dataset.files:
        opened = open_dataset(cell.dataset, dataset, options.data_root, unofficial=True, download=False)
        return Data("own", None, 0, licence, opened)
    found = check_dataset(cell.dataset, dataset, options.data_root)
    folder = data_folder(cell.dataset, options.data_root)
    if found.state == "missing":
        downloaded = all(file.urls or file.is_there(folder) for file in dataset.files)
        return Data("missing", folder, download, licence, None, "" if downloaded or not about else about.homepage)
    official = found.state == "official"
    name = cell.dataset if official else marked_name(cell.dataset, found.checksum)
    return Data(found.state, folder, download, licence, OpenedData(name, {}, found.checksum, official))


def _differences(cell: Cell) -> dict[str, Any]:
    """The leaves of the cell's settings that are not those of the method's paper profile."""
    paper = dict(flatten(resolve(cell.method.name, cell.dataset).tree()))
    none = object()
    return {key: value for key, value in flatten(cell.tree()) if paper.get(key, none) != value}
