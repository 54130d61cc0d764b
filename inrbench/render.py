"""Pictures: reconstructions beside the originals, at any resolution, from the sample that a cell keeps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from inrbench.cell_run import CellRun
from inrbench.cells import Cell, resolve
from inrbench.domains import Array, Grid
from inrbench.errors import BadSetting, InrbenchError, Refused
from inrbench.interfaces import SteppingFitter
from inrbench.metrics import psnr_db, squared_error
from inrbench.signals import GridSignals
from inrbench.stages import Stages, cache_folder

__all__ = ["cell_of", "picture", "render"]

GAP = 2
#: The shortest side of an original in the picture, in pixels; small images are enlarged to it without smoothing.
SMALLEST_SIDE = 64


def render(record: Mapping[str, Any], *, scale: int = 1, steps: bool = False, out: Path) -> Path:
    """Write a PNG: originals above, the cell's reconstructions of them below, queried at ``scale`` times the cells.

    With ``steps`` there is a row for the reconstructions before the first step of the fit and after each.
    Raises Refused where the record is no reconstruction of images or its fitter takes no steps, InrbenchError where
    its sample is not kept.
    """
    if scale < 1 or scale > 64:
        raise BadSetting(f"--size {scale}: allowed are 1x to 64x")
    if record["status"] != "ok":
        raise Refused(f"cell {record['cell']} ended as {record['status']!r}: there is nothing to show")
    sample = Stages(cache_folder() / "stages", record["keys"]).sample()
    if sample is None:
        raise InrbenchError(
            f"the sample of {record['cell']} is not kept in {cache_folder()}; `inrbench run ... --rerun` makes it again"
        )
    if sample.originals is None or sample.originals.ndim != 4 or sample.originals.shape[-1] not in (1, 3):
        raise Refused(f"cell {record['cell']} holds no images")
    fitter = cell_of(record).build().fitter
    fitter.load(sample.shared)
    height, width = sample.originals.shape[1:3]
    run = CellRun(record["seed"])
    after = [sample.rows]
    if steps:
        if not isinstance(fitter, SteppingFitter):
            raise Refused(f"cell {record['cell']}: its fitter has no steps that can be looked at")
        signals = GridSignals(sample.originals, ids=sample.rows.ids, to_unit=(1.0, 0.0))
        after = list(fitter.trace(signals, run))
    lines, notes = [], []
    for rows in after:
        wanted = np.concatenate(list(fitter.query(rows, Grid.of(height * scale, width * scale), run)))
        same = wanted if scale == 1 else np.concatenate(list(fitter.query(rows, Grid.of(height, width), run)))
        lines.append(wanted)
        notes.append(f"{psnr_db(squared_error(same, sample.originals)).mean():.2f} dB")
    if steps:
        notes = [f"step {step}: {note}" for step, note in enumerate(notes)]
    return _write(picture(sample.originals, lines, scale), out, f"PSNR {', '.join(notes)}")


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


def _write(pixels: Array, out: Path, note: str) -> Path:
    from PIL import Image, PngImagePlugin

    information = PngImagePlugin.PngInfo()
    information.add_text("Description", f"originals above, reconstructions below; {note}")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(out, pnginfo=information)
    except (OSError, ValueError) as error:
        raise InrbenchError(f"cannot write the picture {out}: {error}") from error
    return out
