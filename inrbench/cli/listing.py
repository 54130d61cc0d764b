"""``inrbench list``: what is installed, by kind. Imports no framework."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from inrbench.cli.lazy import say
from inrbench.cli.options import JSON
from inrbench.cli.tables import show_table, title

if TYPE_CHECKING:
    from inrbench.plugin import Kind
    from inrbench.registry import Entry, Registry

__all__ = ["METRICS", "list_", "plugin_rows"]

#: What cells, readings and generations measure: name -> (unit, definition).
METRICS = {
    "psnr_db": ("dB", "-10 log10 of a signal's mean squared error, predictions clamped to [0, 1]; mean over signals"),
    "psnr_unclamped_db": ("dB", "the same, predictions as they are"),
    "psnr_global_db": ("dB", "-10 log10 of the mean squared error over all signals, which a few bad ones dominate"),
    "psnr_median_db": ("dB", "median over signals of what psnr_db averages"),
    "psnr_estimate_db": ("dB", "psnr_db of points that the fit never saw, over the signals that have such points"),
    "psnr_estimate_signals": ("signals", "how many those are"),
    "psnr_audio_db": ("dB", "psnr_db of the sound alone, over its samples and channels"),
    "psnr_video_db": ("dB", "psnr_db of the picture alone, over its pixels and channels"),
    "si_snr_db": ("dB", "scale-invariant signal-to-noise ratio of the sound; mean over channels, then over signals"),
    "iou": ("share", "intersection over union of what is occupied, above 0.5, on the scored points; mean over signals"),
    "fit_psnr_db": ("dB", "psnr_db of training signals by an auto-decoder's own latents, which end with its training"),
    "accuracy": ("share", "scored signals whose largest logit is their label's, in [0, 1]"),
    "cross_entropy": ("nats", "mean over scored signals of -log of the label's probability"),
    "frechet_latent": ("latents²", "samples: squared Fréchet distance of their representations to the test rows"),
    "frechet_latent_train": ("latents²", "the same to the training rows"),
    "frechet_latent_by_class": ("latents²", "to the test rows of the class asked for; mean over classes"),
    "frechet_classifier": ("features²", "to the test images, on features of a small classifier trained here"),
    "frechet_classifier_train": ("features²", "the same to the training images"),
    "frechet_inception": ("features²", "to the test images, on torchvision's Inception-v3 (--extractor)"),
    "frechet_inception_train": ("features²", "the same to the training images"),
    "fid": ("features²", "to the test images, on FID's own Inception-v3 (--extractor)"),
    "fid_train": ("features²", "the same to the training images"),
    "asked_class": ("share", "samples that the small classifier puts into the class asked for, in [0, 1]"),
    "distinct_nearest": ("images", "distinct training images that are nearest to a sample, by L2 of pixels"),
    "distinct_expected": ("images", "the mean of that for as many independent draws of training images"),
    "distinct_expected_sd": ("images", "and its standard deviation"),
    "nearest_rmse": ("in [0, 1]", "median over samples of the RMSE to the nearest training image"),
}
KIND_OF: dict[str, Kind] = {
    "methods": "method",
    "datasets": "dataset",
    "inrs": "inr",
    "fitters": "fitter",
    "readers": "reader",
    "analyses": "analysis",
    "executors": "executor",
}
WHAT = (*KIND_OF, "metrics", "plugins")


@click.command("list")
@click.argument("what", required=False, type=click.Choice(WHAT), metavar=f"[{'|'.join(WHAT)}]")
@JSON
def list_(what: str | None, as_json: bool) -> None:
    """List what is installed: methods, data sets, readers, ...

    \b
      inrbench list                     everything, by kind
      inrbench list methods
      inrbench list plugins --json      each distribution, and why one is not used
    """  # noqa: D301
    from inrbench.registry import registry

    known = registry()
    found = {kind: _rows(known, kind) for kind in ([what] if what else WHAT)}
    if as_json:
        click.echo(json.dumps(found[what] if what else found, indent=2))
    else:
        for number, (kind, rows) in enumerate(found.items()):
            if what is None:
                title(("\n" if number else "") + kind)
            if not rows:
                click.echo("  none installed")
            show_table([_shown(kind, row) for row in rows], indent="  " if what is None else "")
    if known.faults and what != "plugins":
        say(f"{len(known.faults)} fault(s) in installed plugins: see `inrbench doctor`")


def plugin_rows(known: Registry) -> list[dict[str, str]]:
    """Each distribution with plugins: name, version, and ``ok`` or why something of it is not used."""
    rows = []
    for distribution, version in dict.fromkeys(known.plugins.values()):
        owner = f"{distribution} {version}"
        faults = [
            fault.message
            for fault in known.faults
            if fault.distribution == distribution or owner in fault.distribution.split(" and ")
        ]
        rows.append({"name": distribution, "version": version, "state": "; ".join(faults) or "ok"})
    return rows


def _rows(known: Registry, kind: str) -> list[dict[str, Any]]:
    if kind == "metrics":
        return [{"name": name, "unit": unit, "summary": text} for name, (unit, text) in METRICS.items()]
    if kind == "plugins":
        return [*plugin_rows(known)]
    return [_row(entry) for entry in known.entries(KIND_OF[kind])]


def _row(entry: Entry) -> dict[str, Any]:
    from inrbench.plugin import Method

    record = entry.record
    row: dict[str, Any] = {"name": record.name, "summary": record.summary, "source": record.source}
    if isinstance(record, Method):
        row |= {"inr": record.inr, "fitter": record.fitter, "reader": record.reader}
    elif record.kind == "analysis":
        row |= {"takes": list(record.takes)}
    elif record.kind == "executor":
        pass
    elif record.kind == "dataset":
        row |= {"name": f"{record.name}:PATH" if record.scheme else record.name, "gives": list(record.gives)}
    else:
        row |= {
            "backend": record.backend,
            "takes": list(record.takes),
            "gives": list(record.gives),
            "joint": record.joint,
        }
    return row | {"distribution": entry.distribution, "version": entry.version}


def _shown(kind: str, row: dict[str, Any]) -> dict[str, str]:
    """The columns that fit on a terminal."""
    if kind == "methods":
        parts = " + ".join(name for name in (row["inr"], row["fitter"], row["reader"]) if name)
        return {"name": row["name"], "parts": parts, "summary": row["summary"]}
    if kind in ("fitters", "readers"):
        fits = f"{', '.join(row['takes']).replace('*', 'any')} -> {', '.join(row['gives'])}"
        return {"name": row["name"], "backend": row["backend"], "takes -> gives": fits, "summary": row["summary"]}
    if kind == "analyses":
        return {"name": row["name"], "takes": ", ".join(row["takes"]).replace("*", "any"), "summary": row["summary"]}
    if kind == "inrs":
        return {"name": row["name"], "backend": row["backend"], "summary": row["summary"]}
    if kind in ("datasets", "executors"):
        return {"name": row["name"], "summary": row["summary"]}
    return {key: str(value) for key, value in row.items()}
