"""``inrbench render``: reconstructions of a cell beside the originals."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import click

from inrbench.cli import suggestions
from inrbench.cli.options import DATA_ROOT, RECORDS, records_folder

__all__ = ["record_of", "render"]

LARGEST = 64


def _scale(ctx: click.Context, param: click.Parameter, text: str | None) -> int | None:
    if text is None:
        return None
    match = re.fullmatch(r"(\d{1,4})x?", text)
    if match is None or not 1 <= int(match[1]) <= LARGEST:
        raise click.BadParameter(f"{text!r} is no magnification; allowed are 1x to {LARGEST}x", ctx, param)
    return int(match[1])


@click.command()
@click.argument("cell", shell_complete=suggestions.records)
@click.option(
    "--size", "scale", callback=_scale, help="Pixels a pixel of the data.  [default: 4x; 1x for views]", metavar="TIMES"
)
@click.option(
    "-o",
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The PNG, or what names of files of sound and film begin with; the cell's name if not given.",
)
@click.option("--steps", is_flag=True, help="A row for each step of the fit, from its start; for fitters with steps.")
@DATA_ROOT
@RECORDS
def render(cell: str, scale: int | None, out: Path | None, steps: bool, data_root: Path | None, records: Path) -> None:
    """Write reconstructions beside originals: PNG, WAV, MP4.

    CELL is the name of a cell as `inrbench results` prints it, its beginning, or the path of a record.

    \b
      inrbench render mwt+digits-laptop-s0
      inrbench render mwt+digits --size 8x -o digits.png
      inrbench render mwt+digits-laptop-s0 --steps
      inrbench render records/mwt+digits-laptop-s0-1a2b3c4d.json

    The field is queried on a finer grid: what stands between the pixels is its own answer, no interpolation. Views are
    those that it was scored on, seen by the same cameras; their images are read from the data. Of sound and film there
    are the files and the originals' beside them, frames of both, and waveforms with the error.
    """  # noqa: D301
    from inrbench.records import file_stem
    from inrbench.render import render as draw

    record = record_of(cell, records)
    ending = "-steps" if steps else ""
    size = "" if scale is None else f"-{scale}x"
    path = out or Path(f"{file_stem(record['cell'], record['key'])}{size}{ending}.png")
    for written in draw(record, scale=scale, steps=steps, out=path, data_root=data_root):
        click.echo(written)


def record_of(cell: str, folder: Path) -> dict[str, Any]:
    """The good record that ``cell`` names. Raises UsageError where none does, or more than one."""
    from inrbench.errors import UsageError, nearest
    from inrbench.records import file_stem, read_record

    if cell.endswith(".json"):
        path = Path(cell)
        if not path.is_file():
            raise UsageError(f"there is no record at {cell!r}")
        return _good(read_record(path))
    # a file's name begins with the cell's: records of other cells need not be read
    stems = {path.stem: path for path in sorted(records_folder(folder).glob("*.json"))}
    names = {stem: re.sub(r"-[0-9a-f]{8}(\.failed)?$", "", stem) for stem in stems}
    wanted = file_stem(cell, "")[:-1]  # file:clip.wav is written file_clip.wav there
    found = [s for s in stems if wanted in (s, names[s])] or [s for s in stems if s.startswith(wanted)]
    if not found:
        raise UsageError(f"no record of a cell {cell!r} in {str(folder)!r}; {nearest(cell, names.values())}")
    if len(found) > 1:
        good = [stem for stem in found if not stem.endswith(".failed")]
        if len({names[stem] for stem in good}) == 1 and (same := _newest_of_one([stems[stem] for stem in good])):
            return _good(same)
        if len(good) != 1:
            raise UsageError(f"{cell!r} is the beginning of {len(found)} records: {', '.join(sorted(found))}")
        found = good
    return _good(read_record(stems[found[0]]))


def _newest_of_one(paths: list[Path]) -> dict[str, Any] | None:
    """The newest of one cell's records, where other code or versions left several; None if their settings differ."""
    from inrbench.records import read_record

    known = sorted((read_record(path) for path in paths), key=lambda record: str(record.get("finished")))
    same = all(record["settings"] == known[-1]["settings"] for record in known)
    return known[-1] if same else None


def _good(record: dict[str, Any]) -> dict[str, Any]:
    from inrbench.errors import UsageError

    if record["status"] != "ok":
        raise UsageError(
            f"cell {record['cell']!r} has no reconstructions: {record['status']}, {record.get('reason') or 'no reason'}"
        )
    return record
