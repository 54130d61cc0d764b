"""Reconstructions beside the originals, from what a cell keeps: pictures of images or views, files of sound or film."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from inrbench.cell_run import CellRun
from inrbench.cells import Cell, build_dataset, resolve
from inrbench.data import open_dataset
from inrbench.domains import Array, Grid, Rays
from inrbench.errors import BadData, BadSetting, InrbenchError, Refused
from inrbench.interfaces import Fitter, SteppingFitter, WritingDataSet
from inrbench.metrics import psnr_db, squared_error
from inrbench.representations import Representations
from inrbench.scoring import BLOCK_POINTS
from inrbench.selection import select
from inrbench.signals import GridSignals, Part, Signals
from inrbench.stages import Sample, Stages, cache_folder
from inrbench.views import ViewSignals

__all__ = ["LARGEST", "cell_of", "originals_of", "picture", "render", "write_files"]

GAP = 2
#: Pixels a pixel of an image, where nobody says; and at most.
SCALE, LARGEST = 4, 64
#: The shortest side of an original in the picture, in pixels; small images are enlarged to it without smoothing.
SMALLEST_SIDE = 64


def render(
    record: Mapping[str, Any],
    *,
    scale: int | None = None,
    steps: bool = False,
    out: Path,
    data_root: Path | None = None,
) -> Sequence[Path]:
    """Write originals and the cell's reconstructions of them; returns the files, the main one first.

    Of images it is a PNG: originals above, reconstructions below, queried at ``scale`` times the cells. Views are
    rendered from the held-out cameras, with ``scale`` times their pixels (1 where none is given; else 4); their images
    are read from the data. With ``steps`` there is a row for the reconstructions before the first step of the fit and
    after each. A data set that writes its signals itself, as sound and film, writes files that begin as ``out`` does.
    Raises Refused where the record is no reconstruction of images or its fitter takes no steps, InrbenchError where
    its sample is not kept or its data is not there.
    """
    if scale is not None and not 1 <= scale <= LARGEST:
        raise BadSetting(f"--size {scale}: allowed are 1x to {LARGEST}x")
    if record["status"] != "ok":
        raise Refused(f"cell {record['cell']} ended as {record['status']!r}: there is nothing to show")
    sample = Stages(cache_folder() / "stages", record["keys"]).sample()
    if sample is None:
        raise InrbenchError(
            f"the sample of {record['cell']} is not kept in {cache_folder()}; `inrbench run ... --rerun` makes it again"
        )
    cell = cell_of(record)
    built = cell.build()
    fitter = built.fitter
    fitter.load(sample.shared)
    run = CellRun(record["seed"])
    if isinstance(built.dataset, WritingDataSet):
        if steps or scale not in (None, 1):
            raise Refused(f"cell {record['cell']}: --{'steps' if steps else 'size'} is for images, not for its files")
        entries = originals_of(cell, record, sample, data_root)
        return write_files(built.dataset, fitter, sample.rows, entries, out, run)
    if built.spec.domains == ("rays",):
        if steps:
            raise Refused(f"cell {record['cell']}: --steps is for images, not for views")
        entries = originals_of(cell, record, sample, data_root)
        return [_write(*_views(fitter, sample.rows, entries, scale or 1, run), out)]
    if sample.originals is None or sample.originals.ndim != 4 or sample.originals.shape[-1] not in (1, 3):
        raise Refused(f"cell {record['cell']} holds no images")
    after = [sample.rows]
    if steps:
        if not isinstance(fitter, SteppingFitter):
            raise Refused(f"cell {record['cell']}: its fitter has no steps that can be looked at")
        signals = GridSignals(sample.originals, ids=sample.rows.ids, to_unit=(1.0, 0.0))
        after = list(fitter.trace(signals, run))
    return [_write(*_images(fitter, after, sample.originals, SCALE if scale is None else scale, run), out)]


def write_files(
    dataset: WritingDataSet, fitter: Fitter, rows: Representations, entries: Signals, out: Path, run: CellRun
) -> list[Path]:
    """What ``dataset`` writes of each entry and its reconstruction, queried in blocks; ids tell several apart."""
    written: list[Path] = []
    for i in range(len(rows)):
        row, parts = rows.take(slice(i, i + 1)), entries.scored(i)
        stem = out.stem if len(rows) == 1 else f"{out.stem}-{rows.ids[i]}"
        predicted = [_blocks(fitter, row, part, run) for part in parts]
        written += dataset.write(parts, predicted, out.parent, stem)
    return written


def _blocks(fitter: Fitter, row: Representations, part: Part, run: CellRun) -> Iterator[Array]:
    """The values of one row on the part's domain, [n, ..., channels], a large grid in blocks of whole planes."""
    domains = [part.domain]
    if isinstance(part.domain, Grid):
        domains = [block for _, block in part.domain.blocks(BLOCK_POINTS)]
    for domain in domains:
        yield np.concatenate(list(fitter.query(row, domain, run)))[0][..., part.channels]


def _images(
    fitter: Fitter, after: Sequence[Representations], originals: Array, scale: int, run: CellRun
) -> tuple[Array, str]:
    """The picture of ``originals`` with a row for each of the representations ``after`` some steps, and its note."""
    height, width = originals.shape[1:3]
    lines, notes = [], []
    for rows in after:
        wanted = np.concatenate(list(fitter.query(rows, Grid.of(height * scale, width * scale), run)))
        same = wanted if scale == 1 else np.concatenate(list(fitter.query(rows, Grid.of(height, width), run)))
        lines.append(wanted)
        notes.append(f"{psnr_db(squared_error(same, originals)).mean():.2f} dB")
    if len(after) > 1:
        notes = [f"step {step}: {note}" for step, note in enumerate(notes)]
    return picture(originals, lines, scale), f"PSNR {', '.join(notes)}"


def _views(fitter: Fitter, rows: Representations, entries: Signals, scale: int, run: CellRun) -> tuple[Array, str]:
    """The picture of the views that ``entries`` are scored on above those that their ``rows`` give, and its note."""
    originals, rendered, errors = [], [], []
    for i in range(len(rows)):
        row = rows.take(slice(i, i + 1))
        (part,) = entries.scored(i)
        assert isinstance(part.domain, Rays)
        if scale > 1 and not isinstance(entries, ViewSignals):
            raise BadSetting(f"--size {scale}x: allowed is 1x for cameras of which the data set tells the rays alone")
        wanted = entries.finer(i, scale) if isinstance(entries, ViewSignals) else part.domain
        values = part.unit_values()
        for view, (same, fine) in enumerate(zip(part.domain.by_view(), wanted.by_view(), strict=True)):
            image = np.concatenate(list(fitter.query(row, fine, run)))[0, 0]
            scored = image if scale == 1 else np.concatenate(list(fitter.query(row, same, run)))[0, 0]
            originals.append(values[view])
            rendered.append(image)
            errors.append(squared_error(scored[None], values[view][None])[0])
    return picture(np.stack(originals), [np.stack(rendered)], scale), f"PSNR {psnr_db(np.stack(errors)).mean():.2f} dB"


def originals_of(cell: Cell, record: Mapping[str, Any], sample: Sample, data_root: Path | None) -> Signals:
    """The scored signals of ``sample``: kept beside it, else from the data, which must be what it was."""
    if sample.originals is not None:
        return GridSignals(sample.originals, ids=sample.rows.ids, to_unit=(1.0, 0.0))
    plugin = cell.plugins["data"]
    assert plugin is not None
    dataset = build_dataset(plugin, cell.dataset, cell.data_settings)
    opened = open_dataset(cell.dataset, dataset, data_root, unofficial=True, download=False)
    if opened.checksum != record["data"]["checksum"]:
        raise BadData(f"the data of {opened.name} is not what it was")
    return select(opened.splits, cell.data_settings, cell.seed).scored.take(np.arange(len(sample.rows)))


def cell_of(record: Mapping[str, Any]) -> Cell:
    """The cell that a record is of, as what is installed has it. Raises UsageError where a part is not there."""
    official = record["data"]["official"]
    dataset = record["dataset"] if official else record["dataset"].rpartition("~")[0]
    overrides = [record["settings"]]
    return resolve(record["method"], dataset, profile=record["profile"], seed=record["seed"], overrides=overrides)


def picture(originals: Array, reconstructions: Sequence[Array], scale: int) -> Array:
    """Originals (enlarged without smoothing) above rows of reconstructions: [rows, columns, 3] in uint8, gaps white."""
    zoom = max(1, -(-SMALLEST_SIDE // (scale * min(originals.shape[1:3]))))
    upper = _enlarged(originals, scale * zoom)
    lower = [_enlarged(np.clip(line, 0.0, 1.0), zoom) for line in reconstructions]
    return np.concatenate([_strip(strip) for strip in (upper, *lower)], axis=0)


def _enlarged(images: Array, times: int) -> Array:
    return np.asarray(images.repeat(times, axis=1).repeat(times, axis=2))


def _strip(images: Array) -> Array:
    colour = images if images.shape[-1] == 3 else images.repeat(3, axis=-1)
    bordered = np.pad(colour, ((0, 0), (GAP, GAP), (GAP, GAP), (0, 0)), constant_values=1.0)
    row = np.concatenate(list(bordered), axis=1)
    return np.asarray(np.round(row * 255.0)).astype(np.uint8)


def _write(pixels: Array, note: str, out: Path) -> Path:
    from PIL import Image, PngImagePlugin

    information = PngImagePlugin.PngInfo()
    information.add_text("Description", f"originals above, reconstructions below; {note}")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(out, pnginfo=information)
    except (OSError, ValueError) as error:
        raise InrbenchError(f"cannot write the picture {out}: {error}") from error
    return out
