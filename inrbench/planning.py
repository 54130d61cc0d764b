"""What a run would do: what of each cell is done or kept, where its data stands, how large it is. Downloads nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from inrbench.cell_run import CHECKPOINT
from inrbench.cells import Built, Cell, build_dataset, resolve
from inrbench.data import OpenedData, check_dataset, data_folder, open_dataset
from inrbench.data.opened import marked_name
from inrbench.gathered import IN_MEMORY_BYTES
from inrbench.keys import STAGES, Codes
from inrbench.pipeline import NUM_SAMPLES
from inrbench.runner import Options, Planned, num_threads, to_do, with_record
from inrbench.selection import select
from inrbench.settings import DataSettings
from inrbench.signals import Signals
from inrbench.stages import cache_folder
from inrbench.trees import flatten
from inrbench.views import EpisodeSettings

if TYPE_CHECKING:
    from inrbench.plugin import Plugin

__all__ = ["Counts", "Data", "Foreseen", "Size", "foresee"]

#: About what a record takes beside its vectors.
RECORD_BYTES = 40_000
#: What a stage leaves that is finished; where it checkpoints while it works.
FINISHED = {"train": "trained.safetensors", "read": "trained.safetensors"}
WORKING = {"train": ("train",), "read": ("fit", "read"), "score": ("score",)}
DONE_ELSEWHERE = ("kept", "shared")


@dataclass(frozen=True)
class Data:
    """Where the data of a cell stands; ``opened`` is None where it is missing, and has no splits where it has files."""

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
class Counts:
    """Entries that a cell uses: signals, each as often as it has episodes."""

    train: int
    validation: int
    scored: int

    @staticmethod
    def of(sizes: Mapping[str, int], settings: DataSettings) -> Counts | None:
        """As `inrbench.selection.select` cuts splits of ``sizes``; None where these are not known."""
        if "test" not in sizes:
            return None
        whole = sizes.get("train", 0)
        held_out = round(settings.validation * whole)
        train = min(whole - held_out, settings.train_size or whole)
        scored = held_out if settings.scored == "validation" else sizes["test"]
        episodes = settings.episodes if isinstance(settings, EpisodeSettings) else 1
        return Counts(train, held_out * episodes, min(scored, settings.test_size or scored) * episodes)

    @staticmethod
    def found(splits: Mapping[str, Signals], settings: DataSettings, seed: int) -> Counts:
        """Of what is there. Raises as `select`."""
        chosen = select(splits, settings, seed)
        return Counts(len(chosen.train), len(chosen.validation), len(chosen.scored))


@dataclass(frozen=True)
class Size:
    """What constructing the parts of a cell tells of them."""

    values: int  # of one representation
    parameters: int  # of fitter and reader
    train_flops: float | None  # for one signal
    fit_flops: float | None
    reader_flops: float | None
    classes: int
    counts: Counts | None  # as the publisher says; None for data of the user's own

    @staticmethod
    def of(built: Built, settings: DataSettings) -> Size:
        """The size of ``built``."""
        facts = built.fitter.facts()
        reader = None if built.reader is None else built.reader.facts()
        parameters = facts.parameters + (0 if reader is None else reader.parameters)
        flops = None if reader is None else reader.flops
        counts = Counts.of(built.spec.sizes, settings)
        values = built.fitter.layout.num_values
        classes = built.spec.num_classes or 0
        return Size(values, parameters, facts.train_flops, facts.fit_flops, flops, classes, counts)


@dataclass(frozen=True)
class Foreseen:
    """A cell as it would be run."""

    cell: Cell
    device: str
    threads: int
    data: Data
    size: Size
    counts: Counts | None
    unofficial: bool  # --unofficial-data was given
    planned: Planned | None  # None where its key depends on data that is missing
    to_do: bool
    stages: Mapping[str, str]  # of those it has: kept, shared (with a cell before it), interrupted, to do

    @property
    def name(self) -> str:
        """The cell's name, with that of its data where it is known."""
        return self.planned.name if self.planned else self.cell.name

    @property
    def before(self) -> str | None:
        """The status of the record that exists."""
        record = self.planned.record if self.planned else None
        return None if record is None else str(record["status"])

    @property
    def done(self) -> bool:
        """Whether nothing is left to do: there is a good record, or one of a failure that is not run again."""
        return not self.to_do

    @property
    def left(self) -> tuple[str, ...]:
        """The stages that it would go through itself."""
        return () if self.done else tuple(stage for stage, state in self.stages.items() if state not in DONE_ELSEWHERE)

    @property
    def kept_bytes(self) -> int:
        """About what it leaves on the disk: record, vectors, a sample of representations, what training learnt."""
        if self.done:
            return 0
        trained = 4 * self.size.parameters if {"train", "read"} & {*self.left} else 0
        vectors = 4 * (self.size.classes + 6) * (self.counts.scored if self.counts else 0)
        return RECORD_BYTES + vectors + 4 * NUM_SAMPLES * self.size.values + trained

    @property
    def passing_bytes(self) -> int:
        """What representations take on the disk while a reader trains on them; 0 where they fit into memory."""
        if "read" not in self.left or self.counts is None:
            return 0
        rows = self.counts.train * self.cell.data_settings.copies.count + self.counts.validation
        needed = 4 * self.size.values * rows
        return needed if needed > IN_MEMORY_BYTES else 0

    def differs(self, papers: dict[tuple[str, str], dict[str, Any]]) -> dict[str, Any]:
        """The settings that are not those of the method's paper profile; ``papers`` keeps these for the next cell."""
        place = self.cell.method.name, self.cell.dataset
        if place not in papers:
            papers[place] = dict(flatten(resolve(*place).tree()))
        none = object()
        return {key: value for key, value in flatten(self.cell.tree()) if papers[place].get(key, none) != value}


def foresee(cells: Sequence[Cell], options: Options) -> list[Foreseen]:
    """Check the cells as a run would, but for what needs the data itself. Raises UsageError or BadData."""
    threads = num_threads(options.threads)
    from inrbench.execution.executors import chosen

    _, executor = chosen(options)
    devices: dict[tuple[str, ...], str] = {}
    sizes: dict[str, Size] = {}
    texts: dict[int, str] = {}  # by id: the cells of all seeds share their settings
    for cell in cells:  # all parts before the first look at data
        if cell.backends not in devices:
            there = executor.device(cell, options.device)  # where that is not this machine
            devices[cell.backends] = there or cell.engine().resolve_device(options.device)
        if id(cell.settings) not in texts:
            text = texts[id(cell.settings)] = str((cell.method.name, cell.dataset, cell.tree()))
            if text not in sizes:
                sizes[text] = Size.of(cell.build(), cell.data_settings)
    known: dict[str, tuple[Data, Counts | None]] = {}
    codes: Codes = {}
    going: set[str] = set()  # keys of stages that a cell before does
    folder = cache_folder() / "stages"
    found = []
    for cell in cells:
        source, size, device = (
            str((cell.dataset, cell.data_settings)),
            sizes[texts[id(cell.settings)]],
            devices[cell.backends],
        )
        if source not in known:
            data, counts = _data(cell, options), size.counts
            if data.opened and data.opened.splits:
                counts = Counts.found(data.opened.splits, cell.data_settings, cell.seed)
            known[source] = data, counts
        data, counts = known[source]
        planned = with_record(cell, data.opened, device, options, codes) if data.opened else None
        stages = _stages(cell, planned, options.rerun, going, folder)
        left = planned is None or to_do(planned, options)
        one = Foreseen(cell, device, threads, data, size, counts, options.unofficial, planned, left, stages)
        if planned is not None and not one.done:
            going |= {planned.keys[stage] for stage in FINISHED if stage in stages}
        found.append(one)
    return found


def _stages(cell: Cell, planned: Planned | None, rerun: bool, going: set[str], folder: Path) -> dict[str, str]:
    """What of each stage of a cell is there. A reader that trains with the fitter has no stage of its own."""
    own = [stage for stage in STAGES if stage != "fit"]  # each fit belongs to what it is done for
    if cell.plugins["reader"] is None or cell.joint is not None:
        own.remove("read")
    if planned is None:
        return dict.fromkeys(own, "to do")
    states: dict[str, str] = {}
    for stage in own:
        key = planned.keys[stage]
        if stage in FINISHED and not rerun and key in going:
            states[stage] = "shared"
        elif stage in FINISHED and not rerun and (folder / key / FINISHED[stage]).exists():
            states[stage] = "kept"
        else:
            places = [folder / planned.keys[working] for working in WORKING[stage]]
            begun = any(any(place.glob(f"*{CHECKPOINT}")) for place in places)
            states[stage] = "interrupted" if begun else "to do"
    return states


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
