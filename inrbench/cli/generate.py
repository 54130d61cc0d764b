"""``inrbench generate``: new representations from a neural data set, as pictures and distances."""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from inrbench.cli.lazy import say
from inrbench.cli.options import DATA_ROOT, JSON, PROFILE, assignments
from inrbench.cli.tables import show_table, title

if TYPE_CHECKING:
    from inrbench.generation.planned import Generation

__all__ = ["generate"]


def _numbers(kind: type[float] | type[int]) -> Any:
    def read(ctx: click.Context, param: click.Parameter, text: str | None) -> list[Any] | None:
        if text is None:
            return None
        try:
            return [kind(one) for one in text.split(",")]
        except ValueError:
            word = "numbers" if kind is float else "whole numbers"
            raise click.BadParameter(f"{text!r}: allowed are {word} with commas", ctx, param) from None

    return read


@click.command()
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path, file_okay=False))
@PROFILE
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="KEY=VALUE",
    help="Change a setting, as in --set reader.scale=2.5; `inrbench show ddpm` lists them.",
)
@click.option("--samples", type=int, metavar="N", help="How many to draw, with each guidance.")
@click.option("--guidance", metavar="G[,G...]", callback=_numbers(float), help="Guidance, or several values of it.")
@click.option(
    "--classes", metavar="C[,C...]", callback=_numbers(int), help="Draw these classes alone, as many of each."
)
@click.option(
    "--extractor",
    metavar="inception:FILE",
    help="Take distances on Inception-v3 too: a safetensors file of its weights.",
)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, metavar="N", help="The seed.")
@click.option(
    "-o", "--out", type=click.Path(path_type=Path, file_okay=False), help="The folder; generated/DIR if not given."
)
@click.option(
    "--records", type=click.Path(path_type=Path, file_okay=False), help="Leave a record of each guidance there too."
)
@click.option("--device", default="auto", show_default=True, metavar="auto|cpu|cuda[:i]", help="Where it computes.")
@click.option("--threads", type=click.IntRange(min=1), help="CPU threads; all of this process's cores if not given.")
@click.option("--rerun", is_flag=True, help="Train also a generator that was trained before.")
@DATA_ROOT
@JSON
def generate(
    folder: Path,
    profile: str | None,
    settings: Sequence[str],
    samples: int | None,
    guidance: list[float] | None,
    classes: list[int] | None,
    extractor: str | None,
    seed: int,
    out: Path | None,
    records: Path | None,
    device: str,
    threads: int | None,
    rerun: bool,
    data_root: Path | None,
    as_json: bool,
) -> None:
    """Train a generator on a neural data set, and draw from it.

    DIR holds a neural data set, as `inrbench fit METHOD+DATASET -o DIR` makes it.

    \b
      inrbench generate latents/ --profile laptop
      inrbench generate latents/ --guidance 1,2,5        trained once, drawn three times
      inrbench generate latents/ --classes 3,8 --samples 200
      inrbench generate latents/ --set reader.conditional=false -o samples/
      inrbench generate latents/ --extractor inception:weights.safetensors

    Writes the samples, a picture of the first ones drawn, uncurated, one of samples above their nearest training
    images, and tables: Fréchet distances of samples, of Gaussians fitted to the training rows and of training rows, in
    the space of representations and on a small classifier that is trained here; and how many distinct training images
    are nearest to samples. A second command with the same settings samples only. The profile is the one of DIR if none
    is given.
    """  # noqa: D301
    from inrbench.analysis import Context
    from inrbench.artefact import open_artefact
    from inrbench.cell_run import CellRun, stop_on_signals
    from inrbench.findings import cell_text, document_of, write_findings
    from inrbench.generation.generated import generate as run_generation
    from inrbench.generation.generated import save_samples
    from inrbench.generation.planned import plan_generation
    from inrbench.progress import Progress
    from inrbench.runner import check_folder, num_threads

    artefact = open_artefact(folder)
    one = plan_generation(
        artefact,
        overrides=assignments(settings),
        profile=profile,
        seed=seed,
        samples=samples,
        guidances=guidance or (),
        classes=classes,
        extractor=extractor,
    )
    place = out or Path("generated") / folder.resolve().name
    for written in (place, records):
        if written is not None:
            check_folder(written)
    used, cores = _engine(one), num_threads(threads)
    where = used.resolve_device(device)
    used.prepare(where, cores)
    stop = threading.Event()
    quicker = {"paper": "`--profile laptop` takes less", "laptop": "`--profile smoke` takes seconds"}.get(
        one.profile, ""
    )
    run = CellRun(seed, device=where, threads=cores, progress=Progress(quicker=quicker), stop=stop)
    with stop_on_signals(stop):
        generated = run_generation(one, Context(artefact, run, data_root=data_root), run, rerun=rerun)
    paths = write_findings(generated.findings, generated.about, place, "generation")
    paths += save_samples(generated, place)
    if records is not None:
        from inrbench.generation.records import write_records

        paths += write_records(one, generated, records)
    if as_json:
        click.echo(json.dumps(document_of(generated.findings, generated.about), indent=2))
        return
    for number, (table, rows) in enumerate(generated.findings.tables.items()):
        title(("\n" if number else "") + table)
        show_table([{key: cell_text(value) for key, value in row.items()} for row in rows], indent="  ")
    click.echo(f"\n{generated.findings.note}")
    say(f"written to {', '.join(map(str, paths))}")


def _engine(one: Generation) -> Any:
    """The engines of the generator and of the fitter that made the rows, together."""
    from inrbench.backends import engine_of
    from inrbench.errors import Refused

    backends = [one.plugin.backend]
    try:
        fitter = one.artefact.cell().plugins["fitter"]
        backends += [] if fitter is None else [fitter.backend]
    except Refused:  # imported: there is no fitter to load
        pass
    return engine_of(tuple(dict.fromkeys(backends)))
