"""Generation: a reader that draws new representations, on a neural data set; what it draws, as scores and pictures."""

from __future__ import annotations

import io
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from inrbench.analysis import Context
from inrbench.arrays import save_arrays
from inrbench.artefact import Artefact
from inrbench.cell_run import CellRun
from inrbench.domains import Array
from inrbench.errors import NotFinite
from inrbench.generation.frechet import gaussian_rows
from inrbench.generation.planned import Generation
from inrbench.generation.scores import Scores, quota
from inrbench.interfaces import Findings, Generator, Trained
from inrbench.render import picture
from inrbench.representations import Representations
from inrbench.stages import Stages, cache_folder

__all__ = ["ROWS_OF", "Generated", "generate", "samples_picture", "save_samples"]

COLUMNS, LINES = 10, 8
#: Columns of the table: a metric and its heading.
HEADINGS = {
    "frechet_latent": "latents, test",
    "frechet_latent_train": "latents, train",
    "frechet_latent_by_class": "latents by class, test",
    "frechet_classifier": "small classifier, test",
    "frechet_classifier_train": "small classifier, train",
    "fid": "FID, test",
    "fid_train": "FID, train",
    "frechet_inception": "Inception-v3, test",
    "frechet_inception_train": "Inception-v3, train",
    "asked_class": "asked class, %",
    "distinct_nearest": "distinct nearest",
    "distinct_expected": "expected",
    "distinct_expected_sd": "sd",
    "nearest_rmse": "median RMSE to nearest",
}
ROWS_OF = {
    "gaussian": "Gaussian, mean and covariance of train",
    "gaussian_independent": "Gaussian, mean and variances of train",
    "train": "training rows, drawn again",
}


@dataclass(frozen=True)
class Generated:
    """What a generation leaves; `drawn` has an entry for each guidance."""

    findings: Findings
    about: dict[str, Any]
    metrics: dict[str, dict[str, float]]  # of samples and baselines, by name
    drawn: dict[str, tuple[Representations, Array | None]]  # rows, and the classes that they were asked for
    guidances: dict[str, float | None] = field(default_factory=dict)


def generate(one: Generation, context: Context, run: CellRun, *, rerun: bool = False, keep: bool = True) -> Generated:
    """Train the generator unless that was kept, draw, render, score; the same for baselines of as many rows."""
    started = time.perf_counter()
    scores = Scores(context, run, classes=one.classes, classifier=one.classifier, extractor=one.extractor)
    state = _trained(one, run, rerun, keep)
    asked = _asked(one, one.build())
    metrics: dict[str, dict[str, float]] = {}
    drawn: dict[str, tuple[Representations, Array | None]] = {}
    guidances: dict[str, float | None] = {}
    tables: dict[str, list[dict[str, Any]]] = {}
    pictures: dict[str, bytes] = {}
    for guidance in one.guidances or (None,):
        name = "samples" if guidance is None else f"samples, guidance {guidance:g}"
        ending = "" if len(one.guidances) < 2 else f"guidance-{guidance:g}"
        generator = one.build(guidance)
        generator.load(state)
        stages = Stages(cache_folder() / "stages" if keep else None, one.keys(guidance, run.device))
        with run.clock("sample"), run.checkpoints_in(stages.path("score")):
            rows = generator.sample(one.samples, asked, run)
        if not all(np.isfinite(array).all() for array in rows.arrays.values()):
            raise NotFinite(f"{name}: there are values that are not finite")
        drawn[name], guidances[name] = (rows, asked), guidance
        images = scores.rendered(rows, name)
        metrics[name] = scores.of(rows, asked, images)
        if images is not None:
            place, counts, total = scores.memorised(images, asked)
            metrics[name] |= total
            tables[f"nearest training images {ending}".rstrip()] = counts
            if images.shape[-1] in (1, 3):
                pictures[ending or "samples"] = _png(samples_picture(images, asked))
                beside = _training_images(scores, place[:COLUMNS])
                key = f"nearest-{ending}" if ending else "nearest"
                pictures[key] = _png(picture(images[: len(beside)], [beside], 1))
    for name, rows, classes in _baselines(one, scores, asked, run):
        metrics[name] = scores.of(rows, classes, scores.rendered(rows, name))
    tables = {"Fréchet distances": _table(metrics), **tables}
    about = _about(one, scores, run, time.perf_counter() - started)
    findings = Findings(tables, _note(one, scores, asked), pictures)
    return Generated(findings, about, metrics, drawn, guidances)


def samples_picture(images: Array, asked: Array | None) -> Array:
    """The first samples drawn, uncurated: a line for each class, or lines of any; white where there are no more."""
    if asked is None:
        groups = [images[first : first + COLUMNS] for first in range(0, min(len(images), COLUMNS * LINES), COLUMNS)]
    else:
        groups = [images[np.flatnonzero(asked == c)[:COLUMNS]] for c in np.unique(asked)]
    width = max(len(group) for group in groups)
    full = [np.concatenate([g, np.ones((width - len(g), *g.shape[1:]), dtype=g.dtype)]) for g in groups]
    return picture(full[0], full[1:], 1)


def save_samples(generated: Generated, folder: Path) -> list[Path]:
    """The samples of each guidance as safetensors: the arrays of the layout, and the classes asked for."""
    paths = []
    for name, (rows, asked) in generated.drawn.items():
        guidance = generated.guidances[name]
        ending = "" if len(generated.drawn) < 2 else f"-guidance-{guidance:g}"
        path = folder / f"samples{ending}.safetensors"
        arrays = dict(rows.arrays) if asked is None else {**rows.arrays, "classes": asked}
        layout = {"kind": rows.layout.kind, "artefact": generated.about["key"]}
        save_arrays(path, arrays, layout)
        paths.append(path)
    return paths


# ------------------------------------------------------------------ the parts of a run


def _trained(one: Generation, run: CellRun, rerun: bool, keep: bool) -> Mapping[str, Array]:
    guidance = one.guidances[0] if one.guidances else None
    stages = Stages(cache_folder() / "stages" if keep else None, {"read": one.keys(guidance, run.device)["read"]})
    if rerun:
        stages.forget()
    state = stages.trained("read", run)
    if state is None:
        with run.clock("read_train"), run.checkpoints_in(stages.path("read")):
            state = Trained(one.build(guidance).train(one.artefact.neural_data_set(), run))
        stages.keep_trained("read", state, run)
    else:
        run.progress.say(f"{one.plugin.name} was trained before; it samples only")
    return state.shared


def _asked(one: Generation, generator: Generator) -> Array | None:
    """The classes to ask for: with the shares of the training rows, or each of those asked for equally."""
    labels = one.artefact.splits["train"].labels
    if not generator.conditional or labels is None:
        return None
    if one.classes is not None:
        return quota(dict.fromkeys(one.classes, 1.0), one.samples)
    own = np.asarray(labels)[np.asarray(one.artefact.splits["train"].copies) == 0]
    return quota({int(c): float((own == c).mean()) for c in np.unique(own)}, one.samples)


def _baselines(
    one: Generation, scores: Scores, asked: Array | None, run: CellRun
) -> Iterator[tuple[str, Representations, Array | None]]:
    """Draws from Gaussians fitted to the training rows, and training rows themselves, as many as samples."""
    train = scores.latents["train"]
    for independent, name in ((False, "gaussian"), (True, "gaussian_independent")):
        values = gaussian_rows(train, one.samples, run.rng("generation", name), independent=independent)
        yield ROWS_OF[name], _rows_like(one.artefact, values.astype(np.float32)), asked
    rng, labels = run.rng("generation", "train"), scores.labels["train"]
    chosen = rng.integers(0, len(train), one.samples)
    if asked is not None and labels is not None:
        for c in np.unique(asked):
            chosen[asked == c] = rng.choice(np.flatnonzero(labels == c), int((asked == c).sum()))
    yield ROWS_OF["train"], _rows_like(one.artefact, train[chosen]), asked


def _rows_like(artefact: Artefact, values: Array) -> Representations:
    arrays, first = {}, 0
    for name in sorted(artefact.layout.shapes):
        shape = artefact.layout.shapes[name]
        size = int(np.prod(shape))
        arrays[name] = values[:, first : first + size].reshape(len(values), *shape)
        first += size
    return Representations(artefact.layout, arrays, np.arange(len(values)), np.zeros(len(values), dtype=np.int64))


def _training_images(scores: Scores, places: Array) -> Array:
    return scores.originals("train")[places]


def _table(metrics: Mapping[str, Mapping[str, float]]) -> list[dict[str, Any]]:
    columns = [name for name in HEADINGS if any(name in found for found in metrics.values())]
    rows = []
    for what, found in metrics.items():
        row: dict[str, Any] = {"rows": what}
        for name in columns:
            value = found.get(name, float("nan"))
            row[HEADINGS[name]] = 100.0 * value if name == "asked_class" else value
        rows.append(row)
    return rows


def _note(one: Generation, scores: Scores, asked: Array | None) -> str:
    said = (
        f"{one.samples:,} rows each; test has {len(scores.places['test']):,}, train {len(scores.places['train']):,}. "
        "Squared Fréchet distances in float64, nothing added to covariances. In the latents no rows can be expected "
        "below the Gaussian with train's mean and covariance, which are all that this distance sees; by class, and on "
        "what the latents show, they can."
    )
    if scores.missing:
        return f"{said} No pixels: {scores.missing}."
    accuracy = scores.test_accuracy()
    if accuracy is not None:
        said += (
            f" Small classifier: {one.classifier[0].name!r}, trained here on the training images, "
            f"{100.0 * accuracy:.1f} % on the test images; this is no FID."
        )
    labels = scores.labels["test"] if asked is not None else None
    own = None if labels is None else labels[: one.samples]
    away = scores.memorised(scores.originals("test")[: one.samples], own)[2]["nearest_rmse"]
    said += f" Median RMSE of test images to their nearest training images: {away:.4g}."
    return said


def _about(one: Generation, scores: Scores, run: CellRun, seconds: float) -> dict[str, Any]:
    from inrbench.provenance import commit, versions

    extractor: Any = scores.readers["extractor"][0] if "extractor" in scores.readers else None
    return {
        "generator": one.plugin.name,
        "of": one.artefact.name,
        "key": one.artefact.key,
        "kind": one.artefact.layout.kind,
        "profile": one.profile,
        "seed": one.seed,
        "samples": one.samples,
        "guidance": list(one.guidances),
        "classes": None if one.classes is None else list(one.classes),
        "parameters": one.build().facts().parameters,
        "train_s": run.seconds.get("read_train", 0.0),
        "sample_s": run.seconds.get("sample", 0.0),
        "total_s": seconds,
        "device": run.device,
        "threads": run.threads,
        "commit": commit(),
        "settings": one.settings.model_dump(mode="json"),
        "classifier": one.classifier[1].model_dump(mode="json"),
        "extractor": dict(extractor.described()) if hasattr(extractor, "described") else None,
        "versions": versions(),
    }


def _png(pixels: Array) -> bytes:
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format="PNG")
    return file.getvalue()
